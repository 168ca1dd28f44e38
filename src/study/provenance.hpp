#pragma once

#include <optional>
#include <string>

#include "data/corpus.hpp"
#include "record/run_directory.hpp"

namespace pg::study {

/// What this program is and runs on: part of every published number.
struct Build {
  std::string version;         ///< of the project, with the commit at configuration time
  std::string program_sha256;  ///< of the running executable
  std::string compiler;
  std::string libraries;  ///< MPI, LibTorch, HDF5, oneDNN with versions
  std::string processor;
  std::string instruction_set;  ///< that the operators run on
};
Build describe_build();

/// Checks a run directory's corpus against this one and adds this launch to provenance.json; makes
/// the file in a new directory; `loss_floor` (nats per token) where it is known. Returns the
/// launch's id ("launch-3"). Throws InvalidInput (data) if the text or its alphabet is not the one
/// the run was started with; IoError.
std::string record_launch(const record::RunDirectory& run, const data::Corpus& corpus,
                          std::optional<double> loss_floor, const Build& build, int n_ranks,
                          const std::string& command_line);

}  // namespace pg::study
