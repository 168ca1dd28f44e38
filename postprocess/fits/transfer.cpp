#include "postprocess/fits/transfer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/stats/ratio.hpp"

namespace pg::post {
namespace {

double rule_lr(const TransferRule& rule, std::int64_t batch, std::int64_t anchor_batch) {
  const double ratio = static_cast<double>(batch) / static_cast<double>(anchor_batch);
  return rule.anchor_lr * std::pow(ratio, rule.beta);
}

/// The parabola through the three usable cells nearest to ln LR, if it lies between them and no
/// diverged cell does; else nothing.
std::optional<double> interpolate(const BatchCells& row, double ln_lr) {
  std::vector<const Cell*> cells;
  for (const Cell& cell : row.cells) {
    if (cell.state == CellState::usable) cells.push_back(&cell);
  }
  std::size_t above = 0;
  while (above < cells.size() && std::log(cells[above]->lr) < ln_lr) ++above;
  if (above == 0 || above == cells.size() || cells.size() < 3) return std::nullopt;
  const double low = cells[above - 1]->lr;
  const double high = cells[above]->lr;
  const bool gap = std::any_of(row.cells.begin(), row.cells.end(), [&](const Cell& cell) {
    return cell.state == CellState::diverged && cell.lr > low && cell.lr < high;
  });
  if (gap) return std::nullopt;
  std::size_t first = above - 1;
  if (above + 1 == cells.size() || (above >= 2 && ln_lr - std::log(cells[above - 2]->lr) <
                                                      std::log(cells[above + 1]->lr) - ln_lr)) {
    first = above - 2;
  }
  // Lagrange's form: unlike an optimum, a value needs no upward curvature.
  double value = 0;
  for (std::size_t i = first; i < first + 3; ++i) {
    double weight = 1;
    for (std::size_t j = first; j < first + 3; ++j) {
      if (j == i) continue;
      weight *= (ln_lr - std::log(cells[j]->lr)) / std::log(cells[i]->lr / cells[j]->lr);
    }
    value += weight * cells[i]->loss;
  }
  return value;
}

TransferError transfer_error(const TransferRule& rule, const Optimum& optimum,
                             std::int64_t anchor_batch, const std::vector<BatchCells>& all,
                             const std::vector<BatchCells>& curves) {
  TransferError e;
  e.batch = optimum.batch;
  e.lr = rule_lr(rule, optimum.batch, anchor_batch);
  const Cell* cell = find_cell(all, optimum.batch, e.lr);
  if (cell != nullptr && cell->state == CellState::diverged) {
    e.source = TransferSource::diverged;
  } else if (cell != nullptr && cell->state == CellState::usable) {
    e.source = TransferSource::run;
    e.loss = cell->loss;
  } else {
    for (const BatchCells& row : curves) {
      if (row.batch != optimum.batch) continue;
      if (const auto loss = interpolate(row, std::log(e.lr))) {
        e.source = TransferSource::interpolated;
        e.loss = *loss;
      }
    }
  }
  e.error = e.loss - optimum.loss;
  return e;
}

bool has_number(const TransferError& e) {
  return e.source == TransferSource::run || e.source == TransferSource::interpolated;
}

void summarise(TransferResult& result, std::int64_t anchor_batch) {
  double sum = 0;
  for (const TransferError& e : result.errors) {
    if (!has_number(e) || e.batch == anchor_batch) continue;
    sum += e.error;
    result.max_error = result.n == 0 ? e.error : std::max(result.max_error, e.error);
    ++result.n;
  }
  if (result.n > 0) result.mean_error = sum / result.n;
}

std::string conclude(const TransferComparison& c, const std::string& first,
                     const std::string& second) {
  if (c.test.n == 0) return "no batch has both rules' losses: no comparison";
  if (c.test.smallest_p > 0.05) {
    return fmt::format(
        "no difference can be shown: with {} pairs the smallest possible p is {:.3g}", c.test.n,
        c.test.smallest_p);
  }
  if (c.test.p > 0.05) return fmt::format("no difference shown (p = {:.3g})", c.test.p);
  return fmt::format("the {} rule transfers better (p = {:.3g})",
                     c.test.mean_difference < 0 ? first : second, c.test.p);
}

TransferComparison compare(const TransferResult& first, const TransferResult& second,
                           std::int64_t anchor_batch) {
  TransferComparison c;
  c.anchor = first.rule.anchor;
  std::vector<double> differences;
  std::vector<int> infinite;  // the sign of a difference between a loss and a divergence
  std::vector<double> errors_first;
  std::vector<double> errors_second;
  double sum_first = 0;
  double sum_second = 0;
  double largest = 0;
  for (std::size_t i = 0; i < first.errors.size(); ++i) {
    const TransferError& a = first.errors[i];
    const TransferError& b = second.errors[i];
    if (a.batch == anchor_batch) continue;
    if (has_number(a) && has_number(b)) {
      differences.push_back(a.error - b.error);
      largest = std::max(largest, std::abs(differences.back()));
      errors_first.push_back(a.error);
      errors_second.push_back(b.error);
      sum_first += a.error;
      sum_second += b.error;
    } else if (a.source == TransferSource::diverged && has_number(b)) {
      infinite.push_back(1);
    } else if (b.source == TransferSource::diverged && has_number(a)) {
      infinite.push_back(-1);
    }
  }
  // A divergence is worse than any loss; for the test it counts as the largest difference seen.
  c.diverged_pairs = !infinite.empty();
  for (const int sign : infinite) differences.push_back(sign * (largest > 0 ? largest : 1));
  if (differences.size() > kMostPairs) {
    c.conclusion = fmt::format("not tested: the exact test takes at most {} batches", kMostPairs);
    return c;
  }
  c.test = sign_flip_test(differences);
  c.ratio_defined = !c.diverged_pairs && c.test.n > 0 && sum_second > 0;
  if (c.ratio_defined) {
    c.ratio_saved = 1 - sum_first / sum_second;
    const Interval ratio = mean_ratio_interval(errors_first, errors_second);
    c.saved_ci95 = {1 - ratio.high, 1 - ratio.low};
  }
  c.conclusion = conclude(c, first.rule.hypothesis, second.rule.hypothesis);
  return c;
}

}  // namespace

std::string to_string(TransferSource source) {
  switch (source) {
    case TransferSource::run: return "run";
    case TransferSource::interpolated: return "interpolated";
    case TransferSource::diverged: return "diverged";
    case TransferSource::missing: return "missing";
  }
  return "missing";
}

TransferTest test_transfer(const RunResults& results, const std::vector<Optimum>& optima) {
  TransferTest test;
  const auto& hypotheses = results.study.analysis.hypotheses;
  test.anchor_batch = results.study.transfer.anchor_batch;
  if (hypotheses.size() < 2) {
    test.status = "not possible: the analysis names fewer than two hypotheses";
    return test;
  }
  const std::vector<BatchCells> all = cell_table(results, Stages::all);
  const std::vector<BatchCells> curves = cell_table(results, Stages::grid_and_refine);
  std::vector<std::pair<std::string, double>> anchors = {
      {"given", results.study.transfer.anchor_lr}};
  if (results.transfer_optimum_lr) {
    anchors.emplace_back("optimum", *results.transfer_optimum_lr);
  } else {
    for (const Optimum& o : optima) {
      if (o.batch == test.anchor_batch && o.state == OptimumState::bracketed) {
        anchors.emplace_back("optimum", o.lr());
      }
    }
  }
  for (const auto& [name, lr] : anchors) {
    for (std::size_t h = 0; h < 2; ++h) {
      TransferResult result;
      result.rule = {hypotheses[h].name, name, lr, hypotheses[h].beta};
      for (const Optimum& optimum : optima) {
        if (optimum.state == OptimumState::no_data) continue;
        result.errors.push_back(
            transfer_error(result.rule, optimum, test.anchor_batch, all, curves));
      }
      summarise(result, test.anchor_batch);
      test.results.push_back(std::move(result));
    }
    test.comparisons.push_back(
        compare(test.results[test.results.size() - 2], test.results.back(), test.anchor_batch));
  }
  const bool any = std::any_of(test.results.begin(), test.results.end(),
                               [](const TransferResult& r) { return r.n > 0; });
  test.status = any ? "ok" : "not possible: no batch has a loss at a rule's learning rate";
  return test;
}

}  // namespace pg::post
