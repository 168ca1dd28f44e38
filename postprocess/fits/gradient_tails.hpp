#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "measure/tails.hpp"
#include "postprocess/results/arms.hpp"

// The tails of gradients as trials recorded them (measure.gradient_tails), summarised over the
// steps of each trial and set beside what Laplace and Gaussian coordinates would give.

namespace pg::post {

inline constexpr std::size_t kHills = measure::kHillRatios.size();

/// One estimate over the recorded steps of a trial. Steps that did not determine it count for
/// nothing; NaN where none did.
struct TailSummary {
  std::size_t n = 0;  ///< steps that determined it
  double median = 0;
  double low = 0;
  double high = 0;
};

/// Columns of one table (the gradient's or its noise's) in the order of record::TrialRecord.
struct TailEstimate {
  std::array<TailSummary, kHills> hill;  ///< Hill's alpha at measure::kHillRatios
  TailSummary ggd_shape;
  TailSummary excess_kurtosis;
  TailSummary stable_index;  ///< of the noise only
};

/// What infinitely many Laplace and Gaussian coordinates give at measure::kHillRatios. Hill's alpha
/// depends on the share of coordinates for both: it is no index there and is read only beside them.
struct TailReference {
  std::array<double, kHills> laplace = {};
  std::array<double, kHills> gaussian = {};
};
TailReference tail_reference();

/// Where the medians of Hill's alpha lie, by ratio: a value is nearer to the curve from which the
/// smaller factor leads to it. Says nothing of the distribution: others share these values.
enum class NearerCurve { laplace, gaussian, mixed, not_determined };
std::string to_string(NearerCurve nearer);
struct TailPosition {
  NearerCurve nearer = NearerCurve::not_determined;
  std::array<NearerCurve, kHills> at;  ///< never mixed
  std::size_t n_determined = 0;        ///< of the shares in measure::kHillRatios
  /// Median / nearer curve, lowest and highest of the shares; NaN for mixed and not_determined.
  double ratio_low = 0;
  double ratio_high = 0;
};
TailPosition position_of(const TailEstimate& estimate, const TailReference& reference);

struct TrialTails {
  std::string id;
  std::vector<std::int64_t> step;
  std::vector<double> gradient_rows;  ///< as recorded: (n, record::kGradientTails)
  std::vector<double> noise_rows;     ///< (n, record::kNoiseTails)
  TailEstimate gradient;
  TailEstimate noise;
  TailPosition gradient_position;
  TailPosition noise_position;
};

struct TailAnalysis {
  std::string name;  ///< of the study
  std::string selection;
  TailReference reference;
  std::vector<TrialTails> trials;     ///< with estimates
  std::vector<std::string> without;   ///< ids of those that recorded none
  std::vector<LeftOut> left_out;      ///< damaged files
  std::vector<std::string> warnings;  ///< of mixed or unknown provenance
};

/// More lines in one picture cannot be told apart: the first so many are drawn.
inline constexpr std::size_t kMostTailsDrawn = 12;

/// The median and the range of column `column` of a table with `n_columns`.
TailSummary summarise_column(std::span<const double> rows, std::size_t n_columns,
                             std::size_t column);

/// Trials side by side, nothing pooled. Throws InvalidInput (data) where no trial has estimates.
TailAnalysis analyse_tails(const TrialTable& table);

}  // namespace pg::post
