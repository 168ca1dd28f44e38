#pragma once

#include <cstdint>
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
  bool is_control = false;  ///< plain sums: expected to differ from one rank's
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
  /// The two controls differ: the comparison can tell bits apart.
  [[nodiscard]] bool control_differs() const;
};

/// Trains the widest trial of the study's grid for `steps` steps (or fewer, if it has fewer): on
/// one rank, on teams of 2, 4, ... up to all ranks; after another trial, on other ranks, beside
/// others; and, as a control, with plain sums on one rank and on the largest team. Nothing is
/// written. Collective; the same proof on every rank. Throws InvalidInput (settings) where no trial
/// has four chunks: of three or fewer the plain sum is the tree, so the control could not differ.
Proof prove(const config::Study& study, std::int64_t steps, const Crew::Ranks& ranks);

std::string proof_text(const Proof& proof);
std::string proof_json(const Proof& proof);

}  // namespace pg::study
