#include "study/attention_maps.hpp"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/h5_file.hpp"
#include "checkpoint/generation.hpp"
#include "config/study.hpp"
#include "data/sampler.hpp"
#include "study/load_corpus.hpp"
#include "study/weights_of.hpp"
#include "train/chunk_reader.hpp"
#include "train/trainer.hpp"

namespace pg::study {

std::string write_attention_maps(const std::filesystem::path& generation,
                                 const std::filesystem::path& output) {
  const checkpoint::Generation source(generation);
  const config::Settings s = settings_of(source);
  if (s.model.arch == "resnet_bk") {
    throw_data(generation.string() + ": a resnet_bk has no attention", "another architecture", "");
  }
  const data::Corpus corpus = load_corpus(s.data);
  const auto trained_on = source.content().texts.find("corpus_sha256");
  if (trained_on == source.content().texts.end() || trained_on->second != corpus.sha256) {
    throw_data(
        fmt::format("{}: was trained on another corpus than {}", generation.string(), corpus.name),
        "the corpus of data.corpus as it was then", "look for the file that was trained on");
  }
  const model::Network network = train::network_of(s, corpus.vocabulary());
  model::ParameterSet parameters(network.parameter_specs(), s.train.seed);
  {
    const at::NoGradGuard no_grad;
    const auto tensors = weights_of(source);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      at::Tensor leaf = parameters[i];
      leaf.copy_(tensors[i].second);
    }
  }
  const auto positions = data::validation_positions(
      static_cast<std::int64_t>(corpus.validation.size()), s.data.sequence_length, 1);
  const train::ChunkReader reader(corpus.validation, corpus.vocabulary(), train::objective_of(s),
                                  data::Objective::Split::validation, s.data.sequence_length,
                                  at::kCPU);
  const model::Example example = reader.read(positions, 0);
  std::vector<at::Tensor> maps;
  model::AlphaPolicy policy(s.gate, network.n_blocks(), s.train.steps, s.schedule.warmup_steps);
  policy.set_state(source.values<double>(train::kAlphaState));
  model::PassOptions options =
      train::options_at(s, policy, std::max<std::int64_t>(0, source.content().step - 1));
  options.attention_maps = &maps;
  const at::NoGradGuard no_grad;
  (void)network.logits(parameters, example, options);

  std::vector<std::string> names;
  const bool encodes = s.model.has_encoder();
  for (std::int64_t l = 0; encodes && l < s.model.n_layers; ++l) {
    names.push_back(fmt::format("encoder/{}/self", l));
  }
  for (std::int64_t l = 0; l < s.model.n_layers; ++l) {
    names.push_back(fmt::format("decoder/{}/self", l));
    if (encodes) names.push_back(fmt::format("decoder/{}/cross", l));
  }
  require(names.size() == maps.size(), "one map for each attention");
  PendingFile pending(output);
  h5::Writer out(pending.path());
  out.attribute("format", std::string("pgmpi attention maps"));
  out.attribute("step", source.content().step);
  const auto integers = [](const at::Tensor& tokens) {
    return std::vector<std::int64_t>(tokens.data_ptr<std::int64_t>(),
                                     tokens.data_ptr<std::int64_t>() + tokens.numel());
  };
  out.dataset("tokens", integers(example.inputs_bt));
  if (encodes) out.dataset("encoder_tokens", integers(example.encoder_bs));
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const at::Tensor map = maps[i][0].to(at::kDouble).contiguous();
    out.attribute(names[i] + "/shape", fmt::format("{}", fmt::join(map.sizes(), " ")));
    const auto* values = map.data_ptr<double>();
    out.dataset(names[i], std::vector<double>(values, values + map.numel()));
  }
  out.close();
  pending.commit();
  return fmt::format("{}: {} maps of step {}\n", output.string(), maps.size(),
                     source.content().step);
}

}  // namespace pg::study
