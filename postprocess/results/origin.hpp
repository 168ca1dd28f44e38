#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "record/trial_record.hpp"

// Where the numbers of a trial come from, and the rule that numbers of different origin are not
// mixed.

namespace pg::post {

/// A trial (or cell, arm, file) that no conclusion uses, and why.
struct LeftOut {
  std::string what;
  std::string reason;
};

/// "unknown" where provenance.json does not tell.
struct Origin {
  std::string trial;  ///< run/id
  std::string launch;
  std::string version;
  std::string program_sha256;
  std::string processor;
  std::string corpus_sha256;
  std::string reproducible;  ///< strict or fast
};

/// One for each record, in order, by provenance.json of the run directory. A missing or damaged
/// provenance.json is a warning.
std::vector<Origin> read_origins(const std::filesystem::path& root,
                                 std::span<const record::TrialRecord> records,
                                 std::vector<std::string>& warnings);

/// Trials of different programs, versions, processors, corpora or reproducible modes are not
/// comparable: InvalidInput (data) naming an example of each, or with `allow_mixed` a warning.
void require_one_origin(std::span<const Origin> origins, bool allow_mixed,
                        std::vector<std::string>& warnings);

/// (what, value) of all that is found, e.g. ("processor", "..."); several of a kind if mixed.
std::vector<std::pair<std::string, std::string>> origin_values(std::span<const Origin> origins);

/// A hash by its first twelve digits; anything else as it is.
std::string brief(const std::string& value);

}  // namespace pg::post
