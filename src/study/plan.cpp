#include "study/plan.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "study/load_corpus.hpp"
#include "study/trial.hpp"
#include "train/trainer.hpp"

namespace pg::study {

double forward_flops_per_token(const config::Settings& s, std::int64_t vocabulary) {
  const auto d = static_cast<double>(s.model.d_model);
  const auto f = static_cast<double>(s.model.d_ff);
  const auto t = static_cast<double>(s.data.sequence_length);
  const auto layers = static_cast<double>(s.model.n_layers);
  const double weights = layers * (4 * d * d + 2 * d * f) + static_cast<double>(vocabulary) * d;
  const double visible = s.model.causal ? (t + 1) / 2 : t;
  return 2 * weights + layers * 4 * d * visible;
}

Plan make_plan(const config::Study& study) {
  const data::Corpus corpus = load_corpus(study.base.data);
  data::require_length(corpus, study.base.data.sequence_length);
  Plan plan{study.name, {}};
  for (const Trial& trial : grid_trials(study)) {
    const std::int64_t tokens = train::tokens_in(trial.settings);
    const double flops = 3 * forward_flops_per_token(trial.settings, corpus.vocabulary()) *
                         static_cast<double>(tokens);
    plan.rows.push_back({trial.id, train::count_parameters(trial.settings, corpus.vocabulary()),
                         trial.settings.train.steps, tokens, flops});
    plan.tokens += tokens;
    plan.flops += flops;
  }
  return plan;
}

std::string plan_text(const Plan& plan) {
  std::string text = fmt::format("{:<32} {:>12} {:>8} {:>12} {:>12}\n", "trial", "parameters",
                                 "steps", "tokens", "FLOPs");
  for (const Plan::Row& row : plan.rows) {
    text += fmt::format("{:<32} {:>12} {:>8} {:>12} {:>12.3g}\n", row.id, row.n_parameters,
                        row.steps, quantity(static_cast<double>(row.tokens)), row.flops);
  }
  return text + fmt::format(
                    "{}: {} trials in the grid, {} tokens, {:.3g} FLOPs; refine and "
                    "transfer add trials once its results are known\n",
                    plan.study, plan.rows.size(), quantity(static_cast<double>(plan.tokens)),
                    plan.flops);
}

std::string plan_json(const Plan& plan) {
  nlohmann::json trials = nlohmann::json::array();
  for (const Plan::Row& row : plan.rows) {
    trials.push_back({{"id", row.id},
                      {"n_parameters", row.n_parameters},
                      {"steps", row.steps},
                      {"tokens", row.tokens},
                      {"flops", row.flops}});
  }
  return nlohmann::json{{"study", plan.study},
                        {"n_trials", plan.rows.size()},
                        {"tokens", plan.tokens},
                        {"flops", plan.flops},
                        {"trials", trials}}
             .dump(2) +
         "\n";
}

}  // namespace pg::study
