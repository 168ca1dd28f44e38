#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "config/settings.hpp"

namespace pg::config {

struct LoadOptions {
  bool quick = false;                  ///< apply the study's `quick:` settings
  std::vector<std::string> overrides;  ///< "path=value" from the command line; they win
};

/// Reads a study: defaults, then its model preset, then the file, then `quick`, then overrides.
/// Throws one InvalidInput that lists every problem with file and line; IoError if unreadable.
Study load_study(const std::filesystem::path& file, const LoadOptions& options);

/// Every resolved value with its meaning as a comment; a file that load_study reads back.
std::string print_study(const Study& study);

/// Every resolved setting of one trial, as YAML.
std::string print_settings(const Settings& settings);

/// The settings that print_settings wrote, e.g. of a trial's record; what it does not name has its
/// default. Throws InvalidInput (data) for a setting or value that this version does not know.
Settings read_settings(const std::string& yaml);

/// (path, value) of every setting of a trial, one spelling per value.
std::vector<std::pair<std::string, std::string>> setting_values(const Settings& settings);

/// Settings that change nothing in this trial: form and alpha of a vanilla MLP, for instance.
std::vector<std::string> unused_paths(const Settings& settings);
/// Base settings that change nothing in any trial and are not what they are by default: no axis and
/// no arm varies their group.
std::vector<std::string> settings_without_effect(const Study& study);

/// Lines "path: this, not that" for every value in which the two studies differ, but for those of
/// `checkpoint` and `shard`, which may change between two launches.
std::vector<std::string> differences(const Study& a, const Study& b);

/// A copy of `settings` with the setting at `path` replaced. Throws InvalidInput.
Settings with(const Settings& settings, const std::string& path, const std::string& value);

/// The folder `configs`: under the working folder, beside the program's build tree, or installed.
/// Throws InvalidInput (settings) naming the places it looked at.
std::filesystem::path config_folder();

}  // namespace pg::config
