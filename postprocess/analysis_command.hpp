#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"

// What `pgpost fit` does with a study whose analysis.kind is not batch_scaling, and `pgpost
// compare`.

namespace pg::post {

struct ComparisonRequest {
  std::vector<std::filesystem::path> runs;
  std::string kind;  ///< empty: analysis.kind of the first study.yaml
  bool allow_mixed = false;
  std::string format = "text";  ///< or json
};

/// analysis.kind of the run's study.yaml; batch_scaling where there is none.
std::string analysis_kind(const std::filesystem::path& run);

/// Analyses the runs together, writes <kind>.json and <kind>.txt to the first of them and prints
/// text or JSON. InvalidInput (settings) where the kind is none that compares arms.
ExitCode compare_runs(const ComparisonRequest& request);

}  // namespace pg::post
