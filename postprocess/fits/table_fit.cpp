#include "postprocess/fits/table_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/text.hpp"
#include "postprocess/stats/comparisons.hpp"

namespace pg::post {
namespace {

void check_options(const Law& law, const TableRequest& request, const TableFitOptions& options) {
  const auto check_count = [&](std::size_t n, const std::string& what) {
    if (n == law.variables.size()) return;
    throw_settings(
        fmt::format("{} value{} in {}, but {} has {} variable{}", n, n == 1 ? "" : "s", what,
                    law.name, law.variables.size(), law.variables.size() == 1 ? "" : "s"),
        "one for each of: " + join(law.variables, ", "), "separate them by commas");
  };
  check_count(request.x.size(), "--x");
  for (const auto& x : options.predict) {
    check_count(x.size(), "--predict");
    if (law.positive_x && std::any_of(x.begin(), x.end(), [](double v) { return !(v > 0); })) {
      throw_settings("--predict asks for a value that is not above zero",
                     "numbers above zero: " + law.name + " takes their logarithm", "");
    }
  }
  for (const auto& [name, value] : options.hypotheses) {
    const auto& names = law.parameter_names;
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    const auto near = nearest_word(name, names);
    throw_settings("the law " + law.name + " has no parameter '" + name + "'",
                   "one of: " + join(names, ", "), near ? "'" + *near + "'" : "");
  }
}

LawData data_of(const Table& table, const TableGroup& group, bool weighted) {
  LawData data;
  data.x.resize(group.rows.front().x.size());
  for (const TableRow& row : group.rows) {
    for (std::size_t v = 0; v < row.x.size(); ++v) data.x[v].push_back(row.x[v]);
    data.y.push_back(row.y);
    if (weighted) data.weights.push_back(row.weight);
    data.labels.push_back(fmt::format("{}:{}", table.file, row.line));
  }
  return data;
}

std::vector<std::size_t> clusters_of(const TableGroup& group) {
  std::vector<std::string> names;
  std::vector<std::size_t> clusters;
  for (const TableRow& row : group.rows) {
    const auto at = std::find(names.begin(), names.end(), row.cluster);
    clusters.push_back(static_cast<std::size_t>(at - names.begin()));
    if (at == names.end()) names.push_back(row.cluster);
  }
  return clusters;
}

/// The law's rivals that can take the data. With weights (of the fitted response) only those of the
/// same response: elsewhere the weights would mean something else.
std::vector<std::string> rivals_for(const Law& law, const LawData& data) {
  const auto positive = [](const std::vector<double>& values) {
    return std::all_of(values.begin(), values.end(), [](double v) { return v > 0; });
  };
  std::vector<std::string> names;
  for (const std::string& name : law.rivals) {
    const Law& rival = find_law(name);
    if (rival.positive_x && !std::all_of(data.x.begin(), data.x.end(), positive)) continue;
    if (rival.fitted_response == "ln y" && !positive(data.y)) continue;
    if (!data.weights.empty() && rival.fitted_response != law.fitted_response) continue;
    names.push_back(name);
  }
  return names.size() > 1 ? names : std::vector<std::string>();
}

std::vector<LawHypothesis> test_hypotheses(const LawFit& fit, const TableFitOptions& options) {
  std::vector<LawHypothesis> tests;
  std::vector<double> p;
  for (const auto& [name, value] : options.hypotheses) {
    const LawParameter& parameter = fit.parameter(name);
    LawHypothesis test{name, value, 0, 1, 1, parameter.ci95.contains(value), std::nullopt};
    if (std::isfinite(parameter.se) && parameter.se > 0 && fit.df > 0) {
      test.t = (parameter.estimate - value) / parameter.se;
      // A positive parameter's error is one of its logarithm, as its interval is.
      if (parameter.ci_method.starts_with("exp of") && value > 0) {
        test.t = std::log(parameter.estimate / value) * parameter.estimate / parameter.se;
      }
      test.p = student_two_sided_p(test.t, fit.df);
      if (options.margin > 0) {
        test.equivalence_p =
            equivalence_test(parameter.estimate, parameter.se, fit.df, value, options.margin).p;
      }
    }
    p.push_back(test.p);
    tests.push_back(test);
  }
  const std::vector<double> adjusted = holm(p);
  for (std::size_t i = 0; i < tests.size(); ++i) tests[i].p_holm = adjusted[i];
  return tests;
}

LawPrediction predict_at(const GroupFit& group, const std::vector<double>& x) {
  LawPrediction prediction{x, band_at(group.fit, x), false};
  for (std::size_t v = 0; v < x.size(); ++v) {
    const auto [low, high] = std::minmax_element(group.data.x[v].begin(), group.data.x[v].end());
    if (x[v] < *low || x[v] > *high) prediction.extrapolated = true;
  }
  return prediction;
}

GroupFit fit_group(const Law& law, const Table& table, const TableGroup& rows,
                   const TableRequest& request, const TableFitOptions& options) {
  GroupFit group;
  group.name = rows.name;
  group.rows = rows.rows;
  group.data = data_of(table, rows, !request.weights.empty());
  group.fit = fit_law(law.name, group.data);
  const auto rivals = rivals_for(law, group.data);
  if (!rivals.empty()) group.rivals = compare_laws(rivals, group.data);
  if (law.name == kBrokenPower) {
    group.break_test = test_break(group.data, kBreakReplicates, options.seed, options.threads);
  }
  if (!group.fit.ok()) return group;
  const bool no_errors = group.fit.covariance.rows() == 0;
  const std::size_t replicates =
      options.bootstrap > 0 ? options.bootstrap : (no_errors ? kOwnBootstrap : 0);
  if (replicates > 0) {
    const auto clusters = request.cluster.empty() ? std::vector<std::size_t>() : clusters_of(rows);
    group.bootstrap =
        bootstrap_law(group.fit, group.data, replicates, options.seed, options.threads, clusters);
    if (no_errors) adopt_errors(*group.bootstrap, group.fit);
    if (group.bootstrap->n_degenerate * 100 > replicates) {
      group.fit.warnings.push_back(fmt::format("{} of {} bootstrap replicates have no fit",
                                               group.bootstrap->n_degenerate, replicates));
    }
  }
  group.held_out = hold_out(group.fit, group.data);
  for (const auto& x : options.predict) group.predictions.push_back(predict_at(group, x));
  group.hypotheses = test_hypotheses(group.fit, options);
  return group;
}

}  // namespace

bool TableFit::clean() const {
  return table.excluded.empty() &&
         std::all_of(groups.begin(), groups.end(), [](const GroupFit& group) {
           return group.fit.ok() && group.fit.warnings.empty();
         });
}

TableFit fit_table(const std::filesystem::path& file, const TableRequest& request,
                   const TableFitOptions& options) {
  const Law& law = find_law(options.law);
  check_options(law, request, options);
  TableFit result{read_table(file, request), request, options, {}};
  for (const TableGroup& group : result.table.groups) {
    result.groups.push_back(fit_group(law, result.table, group, request, options));
  }
  return result;
}

}  // namespace pg::post
