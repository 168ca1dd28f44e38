// The files that model_size_scaling.md names, in its words.
#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/report/json_values.hpp"
#include "postprocess/report/model_size_report.hpp"

namespace pg::post {
namespace {

Json integer_setting(const SizeTrial& trial, const std::string& path) {
  const auto value = parse_integer(value_at(trial.settings, path));
  return value ? Json(*value) : Json(nullptr);
}

/// Perplexity after each whole epoch: over the seeds that reached it, the mean in the loss.
Json epoch_perplexities(const ModelSizeAnalysis& a, const SizeConfiguration& c) {
  std::size_t epochs = a.trials[c.trials.front()].epoch_losses.size();
  for (const std::size_t i : c.trials) epochs = std::min(epochs, a.trials[i].epoch_losses.size());
  Json list = Json::array();
  for (std::size_t e = 0; e < epochs; ++e) {
    double sum = 0;
    for (const std::size_t i : c.trials) sum += a.trials[i].epoch_losses[e];
    list.push_back(number(std::exp(sum / static_cast<double>(c.trials.size()))));
  }
  return list;
}

Json result_json(const ModelSizeAnalysis& a, const SizeConfiguration& c) {
  const SizeTrial& first = a.trials[c.trials.front()];
  double best = 0;
  double memory_mb = 0;
  Json seeds = Json::array();
  for (const std::size_t i : c.trials) {
    best += a.trials[i].best_loss / static_cast<double>(c.trials.size());
    seeds.push_back(a.trials[i].seed);
    memory_mb = std::max(memory_mb, a.trials[i].peak_memory_mb);
  }
  return {
      {"config",
       {{"d_model", c.d_model},
        {"n_layers", c.n_layers},
        {"n_seq", integer_setting(first, "data.sequence_length")},
        {"batch_size", integer_setting(first, "train.batch")},
        {"epochs", first.epochs > 0 ? Json(first.epochs) : Json(nullptr)}}},
      {"arch", c.arch},
      {"d_model", c.d_model},
      {"n_layers", c.n_layers},
      {"num_params", c.n_parameters},
      {"num_params_non_embedding", c.n_non_embedding ? Json(*c.n_non_embedding) : Json(nullptr)},
      {"final_perplexity", number(std::exp(c.loss))},
      {"best_perplexity", number(std::exp(best))},
      {"final_loss", c.loss},
      {"final_loss_se", number(c.loss_se)},
      {"seeds", seeds},
      {"training_time", c.seconds},
      {"total_training_flops", (first.forward_flops > 0 ? 3 * first.forward_flops
                                                        : 6 * static_cast<double>(c.n_parameters)) *
                                   c.tokens},
      {"peak_memory_mb", memory_mb > 0 ? Json(memory_mb) : Json(nullptr)},
      {"epoch_perplexities", epoch_perplexities(a, c)}};
}

Json law_json(const SizeLaw& law) {
  Json out = {{"arch", law.arch}, {"status", law.status}};
  if (!law.ok()) return out;
  out["formula"] = "perplexity = a * (num_params)^b";
  out["a"] = number(std::exp(law.ln_a));
  out["a_ci95"] =
      Json::array({number(std::exp(law.ln_a_ci95.low)), number(std::exp(law.ln_a_ci95.high))});
  out["b"] = law.b;
  out["b_ci95"] = Json::array({number(law.b_ci95.low), number(law.b_ci95.high)});
  out["r_squared"] = law.r2;
  out["r_squared_of"] = "ln perplexity";
  out["n_configurations"] = law.losses.size();
  out["num_params"] = law.n;
  out["perplexities"] = Json::array();
  for (const double loss : law.losses) out["perplexities"].push_back(number(std::exp(loss)));
  return out;
}

}  // namespace

std::vector<NamedText> model_size_files(const ModelSizeAnalysis& analysis) {
  std::vector<NamedText> files;
  Json laws = Json::array();
  for (const SizeLaw& law : analysis.laws) {
    if (law.count == "total") laws.push_back(law_json(law));
  }
  files.push_back({"scaling_law.json",
                   (laws.size() == 1 ? laws[0] : Json{{"architectures", laws}}).dump(2) + "\n"});
  Json all = Json::array();
  std::vector<NamedText> single;
  for (const SizeConfiguration& c : analysis.configurations) {
    if (!c.usable()) continue;
    const Json result = result_json(analysis, c);
    single.push_back(
        {analysis.prefix_of(c.arch) + c.label() + "_results.json", result.dump(2) + "\n"});
    all.push_back(result);
  }
  files.push_back({"all_scaling_results.json", all.dump(2) + "\n"});
  files.insert(files.end(), single.begin(), single.end());
  return files;
}

}  // namespace pg::post
