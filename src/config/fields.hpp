#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <string>
#include <vector>

#include "config/settings.hpp"

namespace pg::config {

/// One setting: its path ("train.batch"), what it means, and how to set and print it. The list of
/// fields is the only description of the settings: reading, printing, --set and the axes use it.
struct Field {
  std::string path;
  std::string meaning;
  /// Sets the value; returns what is wrong ("-3, expected an integer >= 1"), or nothing.
  std::function<std::string(const YAML::Node&)> set;
  std::function<YAML::Node()> get;
};

/// Fields that a trial's settings consist of; they refer to `settings`, which must outlive them.
std::vector<Field> settings_fields(Settings& settings);

/// All fields of a study but its axes: settings_fields(study.base) and the study's own.
std::vector<Field> study_fields(Study& study);

/// What is impossible in the combination of single values that are each possible; empty if nothing.
std::vector<std::string> contradictions(const Settings& settings);

}  // namespace pg::config
