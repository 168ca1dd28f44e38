#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "study/crew.hpp"
#include "train/trainer.hpp"

namespace pg::study {

/// What one way of training a trial left behind.
struct ProofCase {
  std::string layout;  ///< who trained it, in words
  int team_size = 1;
  /// Expected to differ: plain sums between layouts, a changed bit from everything else.
  enum class Kind { proof, plain_sums, changed_bit };
  Kind kind = Kind::proof;
  std::vector<train::TensorHash> tensors;
  std::string losses;  ///< SHA-256 over the logged losses and gradient norms
};

/// Promise P1, shown on a trial of a study.
struct Proof {
  std::string trial;
  std::int64_t steps = 0;
  std::int64_t n_chunks = 0;
  std::vector<ProofCase> cases;  ///< the first is one rank alone

  /// All cases but the controls have the same bits.
  [[nodiscard]] bool holds() const;
  /// The controls differ: the comparison can tell bits apart.
  [[nodiscard]] bool control_differs() const;
};

/// Trains the widest trial of the study's grid for `steps` steps (or fewer, if it has fewer): on
/// one rank, on teams of 2, 4, ... up to all ranks; after another trial, on other ranks, beside
/// others; stopped and continued on the same, on more and on fewer ranks. The controls: plain sums
/// on one rank and on the largest team; continued from a generation in which one bit was changed.
/// `scratch` is a folder that all ranks see, for the generations; it is made and removed.
/// Collective; the same proof on every rank. Throws InvalidInput (settings) where no trial has four
/// chunks: of three or fewer the plain sum is the tree, so the control could not differ; or where
/// there are fewer than three steps to interrupt.
Proof prove(const config::Study& study, std::int64_t steps, const std::filesystem::path& scratch,
            const Crew::Ranks& ranks);

std::string proof_text(const Proof& proof);
std::string proof_json(const Proof& proof);

}  // namespace pg::study
