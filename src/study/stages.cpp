#include "study/stages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.hpp"
#include "base/parabola.hpp"
#include "base/text.hpp"
#include "config/study.hpp"

namespace pg::study {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Loss by learning rate, ascending, for one combination of the other settings.
struct Curve {
  std::vector<std::string> values;  ///< axis values of one of its trials
  std::vector<double> lr;
  std::vector<double> loss;  ///< mean over seeds, +infinity where one diverged

  [[nodiscard]] std::size_t best() const {
    return static_cast<std::size_t>(std::min_element(loss.begin(), loss.end()) - loss.begin());
  }
  [[nodiscard]] bool bracketed() const { return best() > 0 && best() + 1 < lr.size(); }
};

std::vector<Curve> curves(const config::Study& study,
                          const std::vector<record::TrialSummary>& results) {
  const int lr_axis = axis_index(study, "optimizer.lr");
  const int seed_axis = axis_index(study, "train.seed");
  struct Cell {
    double sum = 0;
    int count = 0;
  };
  struct Group {
    std::vector<std::string> values;
    std::map<double, Cell> cells;
  };
  std::map<std::vector<std::string>, Group> groups;
  for (const record::TrialSummary& s : results) {
    if (s.stage == "transfer" || s.status == record::TrialStatus::failed) continue;
    std::vector<std::string> key;
    Group candidate;
    for (std::size_t i = 0; i < s.varied.size(); ++i) {
      candidate.values.push_back(s.varied[i].second);
      const bool other = static_cast<int>(i) != lr_axis && static_cast<int>(i) != seed_axis;
      if (other) key.push_back(s.varied[i].second);
    }
    Group& group = groups.try_emplace(key, candidate).first->second;
    Cell& cell = group.cells[s.lr];
    cell.sum += s.status == record::TrialStatus::finished ? s.final_val_loss : kInfinity;
    ++cell.count;
  }
  std::vector<Curve> result;
  for (const auto& [key, group] : groups) {
    Curve curve{group.values, {}, {}};
    for (const auto& [lr, cell] : group.cells) {
      curve.lr.push_back(lr);
      curve.loss.push_back(cell.sum / cell.count);
    }
    result.push_back(std::move(curve));
  }
  return result;
}

/// Four significant digits: the same new rate whichever way it was reached, and a readable id.
double rounded(double lr) {
  return *parse_real(fmt::format("{:.4g}", lr));
}

std::vector<double> wanted_rates(const Curve& curve, double resolution) {
  const std::size_t n = curve.lr.size();
  const std::size_t best = curve.best();
  if (n < 2 || !std::isfinite(curve.loss[best])) return {};
  if (best == 0) return {rounded(curve.lr[0] * curve.lr[0] / curve.lr[1])};
  if (best == n - 1) return {rounded(curve.lr[n - 1] * curve.lr[n - 1] / curve.lr[n - 2])};
  std::vector<double> wanted;
  for (const std::size_t left : {best - 1, best}) {
    const double ratio = curve.lr[left + 1] / curve.lr[left];
    if (ratio > resolution * 1.001)
      wanted.push_back(rounded(std::sqrt(curve.lr[left] * curve.lr[left + 1])));
  }
  return wanted;
}

/// The trials at `lr` with the other settings of `values`, one for each seed of the study.
std::vector<Trial> at_rate(const config::Study& study, const std::string& stage,
                           std::vector<std::string> values, double lr) {
  const int seed_axis = axis_index(study, "train.seed");
  values[static_cast<std::size_t>(axis_index(study, "optimizer.lr"))] = shortest(lr);
  if (seed_axis < 0) return {make_trial(study, stage, values)};
  std::vector<Trial> trials;
  for (const std::string& seed : study.axes[static_cast<std::size_t>(seed_axis)].values) {
    values[static_cast<std::size_t>(seed_axis)] = seed;
    trials.push_back(make_trial(study, stage, values));
  }
  return trials;
}

std::optional<double> optimum(const Curve& curve) {
  if (!curve.bracketed()) return std::nullopt;
  const std::size_t best = curve.best();
  double x[3];
  double y[3];
  for (std::size_t i = 0; i < 3; ++i) {
    x[i] = std::log(curve.lr[best - 1 + i]);
    y[i] = curve.loss[best - 1 + i];
  }
  const auto parabola = fit_parabola(x, y);
  return parabola ? std::optional(std::exp(parabola->x)) : std::nullopt;
}

}  // namespace

std::vector<Trial> refine_trials(const config::Study& study,
                                 const std::vector<record::TrialSummary>& results) {
  if (axis_index(study, "optimizer.lr") < 0) return {};
  std::set<std::string> known;
  for (const record::TrialSummary& s : results) known.insert(s.id);
  std::vector<Trial> trials;
  for (const Curve& curve : curves(study, results)) {
    for (const double lr : wanted_rates(curve, study.refine.resolution)) {
      for (Trial& trial : at_rate(study, "refine", curve.values, lr)) {
        if (known.insert(trial.id).second) trials.push_back(std::move(trial));
      }
    }
  }
  return trials;
}

std::vector<TransferTrial> transfer_trials(const config::Study& study,
                                           const std::vector<record::TrialSummary>& results) {
  const int batch_axis = axis_index(study, "train.batch");
  if (batch_axis < 0 || axis_index(study, "optimizer.lr") < 0) return {};
  const auto batch_of = [&](const Curve& curve) {
    return *parse_integer(curve.values[static_cast<std::size_t>(batch_axis)]);
  };
  const auto others_of = [&](Curve curve) {
    for (const char* path : {"train.batch", "optimizer.lr", "train.seed"}) {
      const int axis = axis_index(study, path);
      if (axis >= 0) curve.values[static_cast<std::size_t>(axis)].clear();
    }
    return curve.values;
  };
  const std::vector<Curve> all = curves(study, results);
  std::vector<TransferTrial> trials;
  for (const Curve& curve : all) {
    struct Anchor {
      std::string name;
      double lr;
    };
    std::vector<Anchor> anchors = {{"given", study.transfer.anchor_lr}};
    for (const Curve& other : all) {
      const bool is_anchor =
          batch_of(other) == study.transfer.anchor_batch && others_of(other) == others_of(curve);
      const auto lr = is_anchor ? optimum(other) : std::nullopt;
      if (lr && study.transfer.anchor_at_optimum) anchors.push_back({"optimum", *lr});
    }
    const double ratio =
        static_cast<double>(batch_of(curve)) / static_cast<double>(study.transfer.anchor_batch);
    const std::size_t n_rules = std::min<std::size_t>(2, study.analysis.hypotheses.size());
    for (const Anchor& anchor : anchors) {
      for (std::size_t i = 0; i < n_rules; ++i) {
        const config::Hypothesis& rule = study.analysis.hypotheses[i];
        const double lr = anchor.lr * std::pow(ratio, rule.beta);
        for (Trial& trial : at_rate(study, "transfer", curve.values, lr)) {
          trials.push_back({std::move(trial), rule.name, anchor.name, anchor.lr});
        }
      }
    }
  }
  return trials;
}

std::string transfer_json(const std::vector<TransferTrial>& trials) {
  nlohmann::json list = nlohmann::json::array();
  for (const TransferTrial& t : trials) {
    list.push_back({{"id", t.trial.id},
                    {"batch", t.trial.settings.train.batch},
                    {"seed", t.trial.settings.train.seed},
                    {"lr", t.trial.settings.optimizer.lr},
                    {"rule", t.rule},
                    {"anchor", t.anchor},
                    {"anchor_lr", t.anchor_lr}});
  }
  return nlohmann::json{{"format_version", 1}, {"trials", list}}.dump(2) + "\n";
}

}  // namespace pg::study
