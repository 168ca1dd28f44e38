#pragma once

#include <string>
#include <vector>

#include "config/settings.hpp"
#include "record/trial_record.hpp"
#include "study/trial.hpp"

// What to train next, as a pure function of the results so far: a continued study plans the same
// trials as an undisturbed one.

namespace pg::study {

/// Trials that the refine stage wants next: for each combination of the other settings, the best
/// learning rate (mean over seeds; diverged counts as infinitely bad) is bracketed by extending the
/// grid at the ratio of its last two points, then resolved by geometric means towards neighbours
/// that are further away than stages.refine.resolution. Empty when nothing is left to do.
/// Needs optimizer.lr among the axes; else empty.
std::vector<Trial> refine_trials(const config::Study& study,
                                 const std::vector<record::TrialSummary>& results);

/// One trial of the transfer test: a rule's learning rate at one batch.
struct TransferTrial {
  Trial trial;
  std::string rule;    ///< the hypothesis whose exponent was used
  std::string anchor;  ///< "given" or "optimum"
  double anchor_lr = 0;
};

/// The source's step 4: LR = anchor_lr * (batch / anchor_batch)^beta for the first two hypotheses,
/// from the given anchor and, if asked, from the optimum found at the anchor batch (vertex of the
/// parabola in ln lr through the best point and its neighbours; absent if it is not bracketed).
/// Needs train.batch and optimizer.lr among the axes; else empty.
std::vector<TransferTrial> transfer_trials(const config::Study& study,
                                           const std::vector<record::TrialSummary>& results);

/// transfer.json: which trial stands for which (rule, anchor, batch).
std::string transfer_json(const std::vector<TransferTrial>& trials);

}  // namespace pg::study
