#include "postprocess/fits/gradient_tails.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/text.hpp"
#include "postprocess/stats/robust.hpp"

namespace pg::post {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
/// The places of the columns after Hill's.
constexpr std::size_t kShapeColumn = kHills;
constexpr std::size_t kKurtosisColumn = kHills + 1;
constexpr std::size_t kStableColumn = kHills + 2;
static_assert(record::kGradientTails == kKurtosisColumn + 1);
static_assert(record::kNoiseTails == kStableColumn + 1);

TailEstimate summarise(std::span<const double> rows, std::size_t n_columns) {
  TailEstimate e;
  for (std::size_t i = 0; i < kHills; ++i) e.hill[i] = summarise_column(rows, n_columns, i);
  e.ggd_shape = summarise_column(rows, n_columns, kShapeColumn);
  e.excess_kurtosis = summarise_column(rows, n_columns, kKurtosisColumn);
  e.stable_index = n_columns > kStableColumn ? summarise_column(rows, n_columns, kStableColumn)
                                             : TailSummary{0, kNaN, kNaN, kNaN};
  return e;
}

TrialTails to_tails(const TrialRow& row, const TailReference& reference) {
  TrialTails t;
  t.id = row.id;
  t.step = row.tails_step;
  t.gradient_rows = row.gradient_tails;
  t.noise_rows = row.noise_tails;
  t.gradient = summarise(t.gradient_rows, record::kGradientTails);
  t.noise = summarise(t.noise_rows, record::kNoiseTails);
  t.gradient_position = position_of(t.gradient, reference);
  t.noise_position = position_of(t.noise, reference);
  return t;
}

}  // namespace

TailReference tail_reference() {
  TailReference reference;
  for (std::size_t i = 0; i < kHills; ++i) {
    reference.laplace[i] = measure::hill_of_laplace(measure::kHillRatios[i]);
    reference.gaussian[i] = measure::hill_of_gaussian(measure::kHillRatios[i]);
  }
  return reference;
}

std::string to_string(NearerCurve nearer) {
  if (nearer == NearerCurve::laplace) return "laplace";
  if (nearer == NearerCurve::gaussian) return "gaussian";
  return nearer == NearerCurve::mixed ? "mixed" : "not_determined";
}

TailSummary summarise_column(std::span<const double> rows, std::size_t n_columns,
                             std::size_t column) {
  std::vector<double> values;
  for (std::size_t i = column; i < rows.size(); i += n_columns) {
    if (std::isfinite(rows[i])) values.push_back(rows[i]);
  }
  if (values.empty()) return {0, kNaN, kNaN, kNaN};
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {values.size(), median(values), *low, *high};
}

TailPosition position_of(const TailEstimate& estimate, const TailReference& reference) {
  TailPosition p;
  std::vector<double> ratios;
  p.at.fill(NearerCurve::not_determined);
  for (std::size_t i = 0; i < kHills; ++i) {
    const double alpha = estimate.hill[i].median;
    if (estimate.hill[i].n == 0) continue;
    // The geometric middle: there the ratios to both curves are inverse to each other.
    const double middle = std::sqrt(reference.laplace[i] * reference.gaussian[i]);
    p.at[i] = alpha < middle ? NearerCurve::laplace : NearerCurve::gaussian;
    p.nearer = p.n_determined == 0 || p.nearer == p.at[i] ? p.at[i] : NearerCurve::mixed;
    const bool is_laplace = p.at[i] == NearerCurve::laplace;
    ratios.push_back(alpha / (is_laplace ? reference.laplace[i] : reference.gaussian[i]));
    ++p.n_determined;
  }
  p.ratio_low = p.ratio_high = kNaN;
  if (p.nearer == NearerCurve::laplace || p.nearer == NearerCurve::gaussian) {
    p.ratio_low = *std::min_element(ratios.begin(), ratios.end());
    p.ratio_high = *std::max_element(ratios.begin(), ratios.end());
  }
  return p;
}

TailAnalysis analyse_tails(const TrialTable& table) {
  TailAnalysis a;
  a.name = table.name;
  a.selection = table.selection;
  a.reference = tail_reference();
  a.left_out = table.left_out;
  a.warnings = table.warnings;
  for (const TrialRow& row : table.rows) {
    if (row.tails_step.empty()) {
      a.without.push_back(row.id);
    } else {
      a.trials.push_back(to_tails(row, a.reference));
    }
  }
  if (a.trials.empty()) {
    throw_data(fmt::format("none of the {} trials{} recorded the tails of its gradient",
                           table.rows.size(), a.selection.empty() ? "" : " with " + a.selection),
               "estimates at some steps, as a study with measure.gradient_tails above 0 records",
               "set measure.gradient_tails: 100 (steps between estimates) in the study and run it "
               "in a new run directory");
  }
  return a;
}

}  // namespace pg::post
