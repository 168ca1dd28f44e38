#include "postprocess/report/tails_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/report/json_values.hpp"
#include "postprocess/report/plain_text.hpp"

namespace pg::post {

const char* const kTailsCaveat =
    "Caveat: the estimators' standard errors assume independent coordinates, which those of a "
    "gradient are not; pooling tensors of different scale makes heavy tails by itself.";

namespace {

using measure::kHillRatios;

constexpr const char* kReading =
    "Hill's alpha at a share k of the largest coordinates depends on k for exponential and "
    "Gaussian tails: read it beside the curves at the same k, never alone.";

/// Written where there is no number.
constexpr const char* kNone = "-";

std::string brief_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.4g}", value) : kNone;
}

std::string range_text(const TailSummary& s) {
  return s.n == 0 ? kNone : fmt::format("{:.4g} to {:.4g}", s.low, s.high);
}

std::string percent(double ratio) {
  return fmt::format("{:g}", 100 * ratio);
}

/// "0.01, 0.05": the shares where the values are nearer to `curve`.
std::string shares_near(const TailPosition& p, NearerCurve curve) {
  std::vector<std::string> shares;
  for (std::size_t i = 0; i < kHills; ++i) {
    if (p.at[i] == curve) shares.push_back(shortest(kHillRatios[i]));
  }
  return join(shares, ", ");
}

std::string position_text(const TailPosition& p) {
  if (p.nearer == NearerCurve::not_determined) return "is not determined at any k";
  const std::string where = p.n_determined == kHills
                                ? "at all four k"
                                : fmt::format("at the {} of four k with a value", p.n_determined);
  if (p.nearer == NearerCurve::mixed) {
    return fmt::format("is mixed: nearer to the Laplace curve at k = {}, to the Gaussian at {}",
                       shares_near(p, NearerCurve::laplace), shares_near(p, NearerCurve::gaussian));
  }
  return fmt::format("is nearer to the {} curve {} ({:.2f} to {:.2f} times it)",
                     p.nearer == NearerCurve::laplace ? "Laplace" : "Gaussian", where, p.ratio_low,
                     p.ratio_high);
}

void add_rows(const std::string& of, const TailEstimate& e, const TailReference& reference,
              bool is_noise, DocumentTable& table) {
  const auto add = [&](const std::string& what, const TailSummary& s, std::vector<double> beside) {
    std::vector<std::string> row = {of, what, std::to_string(s.n), brief_number(s.median),
                                    range_text(s)};
    for (const double value : beside) row.push_back(brief_number(value));
    table.rows.push_back(std::move(row));
  };
  for (std::size_t i = 0; i < kHills; ++i) {
    const double laplace = reference.laplace[i];
    const double gaussian = reference.gaussian[i];
    const double alpha = e.hill[i].median;
    add("Hill, k = " + shortest(kHillRatios[i]), e.hill[i],
        {laplace, alpha / laplace, gaussian, alpha / gaussian});
  }
  // What the same estimators give on Laplace and on Gaussian coordinates; a ratio of these would
  // mean nothing.
  constexpr double kBlank = NAN;
  add("GGD shape", e.ggd_shape, {1, kBlank, 2, kBlank});
  add("excess kurtosis", e.excess_kurtosis, {3, kBlank, 0, kBlank});
  if (is_noise) add("stable index", e.stable_index, {kBlank, kBlank, 2, kBlank});
}

Section trial_section(const TrialTails& trial, const TailReference& reference) {
  DocumentTable table;
  table.columns = {"of",      "estimate",    "steps",    "median",     "lowest to highest",
                   "Laplace", "ratio to it", "Gaussian", "ratio to it"};
  add_rows("gradient", trial.gradient, reference, false, table);
  add_rows("noise", trial.noise, reference, true, table);
  return {fmt::format("{}: {} recorded steps, {} to {}", trial.id, trial.step.size(),
                      trial.step.front(), trial.step.back()),
          {table, Paragraph{tails_sentence(trial)}}};
}

std::string named(const std::vector<std::string>& ids) {
  return fmt::format("{} ({})", ids.size(), join(ids, ", "));
}

Json summary_json(const TailSummary& s) {
  return {{"n_steps", s.n},
          {"median", number(s.median)},
          {"low", number(s.low)},
          {"high", number(s.high)}};
}

Json estimate_json(const TailEstimate& e, const TailPosition& p, const TailReference& reference,
                   bool is_noise) {
  Json hill = Json::array();
  for (std::size_t i = 0; i < kHills; ++i) {
    Json entry = {{"k_ratio", kHillRatios[i]}};
    entry.update(summary_json(e.hill[i]));
    entry["ratio_to_laplace"] = number(e.hill[i].median / reference.laplace[i]);
    entry["ratio_to_gaussian"] = number(e.hill[i].median / reference.gaussian[i]);
    entry["nearer_to"] = to_string(p.at[i]);
    hill.push_back(std::move(entry));
  }
  Json out = {{"hill", hill},
              {"hill_nearer_to", to_string(p.nearer)},
              {"ggd_shape", summary_json(e.ggd_shape)},
              {"excess_kurtosis", summary_json(e.excess_kurtosis)}};
  if (is_noise) out["stable_index"] = summary_json(e.stable_index);
  return out;
}

void add_cells(const std::vector<double>& rows, std::size_t n_columns, std::size_t row,
               std::vector<std::string>& cells) {
  for (std::size_t i = 0; i < n_columns; ++i) {
    const double value = rows[row * n_columns + i];
    cells.push_back(std::isfinite(value) ? shortest(value) : "");
  }
}

std::size_t n_drawn(const TailAnalysis& a) {
  return std::min(a.trials.size(), kMostTailsDrawn);
}

}  // namespace

std::string tails_sentence(const TrialTails& trial) {
  return fmt::format("By its medians, Hill's alpha of the gradient {}; that of the noise {}.",
                     position_text(trial.gradient_position), position_text(trial.noise_position));
}

std::string tails_text(const TailAnalysis& a) {
  Document document;
  document.title =
      "Tails of the gradient" + (a.selection.empty() ? std::string() : ", " + a.selection);
  BulletList notes{{kReading, kTailsCaveat}};
  if (!a.without.empty()) {
    notes.items.push_back("Trials without estimates: " + named(a.without) + ".");
  }
  for (const std::string& warning : a.warnings) notes.items.push_back("Warning: " + warning);
  document.sections.push_back({"", {notes}});
  for (const TrialTails& trial : a.trials) {
    document.sections.push_back(trial_section(trial, a.reference));
  }
  if (n_drawn(a) < a.trials.size()) {
    std::vector<std::string> ids;
    for (std::size_t i = 0; i < n_drawn(a); ++i) ids.push_back(a.trials[i].id);
    document.sections.push_back(
        {"Picture",
         {Paragraph{fmt::format("Of {} trials, plots/gradient_tails shows the first {}.",
                                a.trials.size(), named(ids))}}});
  }
  return to_plain_text(document);
}

std::string tails_json(const TailAnalysis& a) {
  Json reference = Json::array();
  for (std::size_t i = 0; i < kHills; ++i) {
    reference.push_back({{"k_ratio", kHillRatios[i]},
                         {"laplace", a.reference.laplace[i]},
                         {"gaussian", a.reference.gaussian[i]}});
  }
  Json trials = Json::array();
  Json drawn = Json::array();
  for (const TrialTails& t : a.trials) {
    if (drawn.size() < n_drawn(a)) drawn.push_back(t.id);
    trials.push_back(
        {{"id", t.id},
         {"steps", t.step},
         {"gradient", estimate_json(t.gradient, t.gradient_position, a.reference, false)},
         {"noise", estimate_json(t.noise, t.noise_position, a.reference, true)},
         {"sentence", tails_sentence(t)}});
  }
  const Json out = {{"format_version", 1},    {"name", a.name},
                    {"where", a.selection},   {"reading", kReading},
                    {"caveat", kTailsCaveat}, {"hill_reference", reference},
                    {"trials", trials},       {"without_estimates", a.without},
                    {"in_picture", drawn},    {"left_out", left_out_json(a.left_out)},
                    {"warnings", a.warnings}};
  return out.dump(2) + "\n";
}

CsvTable tails_csv(const TailAnalysis& a) {
  CsvTable table;
  table.columns = {"trial", "step"};
  for (const bool noise : {false, true}) {
    const std::string of = noise ? "noise_" : "gradient_";
    for (const double k : kHillRatios) table.columns.push_back(of + "hill_" + percent(k) + "pct");
    table.columns.push_back(of + "ggd_shape");
    table.columns.push_back(of + "excess_kurtosis");
    if (noise) table.columns.push_back(of + "stable_index");
  }
  for (const TrialTails& t : a.trials) {
    for (std::size_t row = 0; row < t.step.size(); ++row) {
      std::vector<std::string> cells = {t.id, std::to_string(t.step[row])};
      add_cells(t.gradient_rows, record::kGradientTails, row, cells);
      add_cells(t.noise_rows, record::kNoiseTails, row, cells);
      table.rows.push_back(std::move(cells));
    }
  }
  return table;
}

}  // namespace pg::post
