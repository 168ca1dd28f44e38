#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postprocess/fits/optimum.hpp"

namespace pg::post {

/// LR(B) = anchor_lr (B / anchor_batch)^beta, and where its losses come from.
struct TransferRule {
  std::string hypothesis;  ///< Laplace, Gaussian
  std::string anchor;      ///< given: the study's; optimum: LR* of the anchor batch
  double anchor_lr = 0;
  double beta = 0;
};

enum class TransferSource { run, interpolated, diverged, missing };
std::string to_string(TransferSource source);

/// e(B) = L(B, LR_rule) - L_opt(B), with its sign, in nats per token.
struct TransferError {
  std::int64_t batch = 0;
  double lr = 0;
  TransferSource source = TransferSource::missing;
  double loss = 0;   ///< run and interpolated only
  double error = 0;  ///< run and interpolated only
};

struct TransferResult {
  TransferRule rule;
  std::vector<TransferError> errors;  ///< one per batch, rising
  int n = 0;                          ///< errors with a number, the anchor batch left out
  double mean_error = 0;
  double max_error = 0;
};

/// Two rules from one anchor, over the batches where both have an error; the anchor batch, where
/// they coincide, is left out.
struct TransferComparison {
  std::string anchor;
  SignFlipTest test;         ///< of e_first - e_second
  double ratio_saved = 0;    ///< 1 - sum e_first / sum e_second; 0 when not defined
  Interval saved_ci95 = {};  ///< of ratio_saved, by Fieller over the batches; may be unbounded
  bool ratio_defined = false;
  bool diverged_pairs = false;  ///< a diverged rule stands in with the largest finite difference
  std::string conclusion;       ///< a sentence by rule on `test`
};

struct TransferTest {
  std::int64_t anchor_batch = 0;
  std::vector<TransferResult> results;
  std::vector<TransferComparison> comparisons;
  std::string status;  ///< "ok", or why there is no test
};

/// The source's step 4. Rules are the first two hypotheses of the analysis; anchors are the
/// study's ("given") and the optimum at the anchor batch ("optimum"): the one that the transfer
/// stage used, else this fit's own if it is bracketed.
TransferTest test_transfer(const RunResults& results, const std::vector<Optimum>& optima);

}  // namespace pg::post
