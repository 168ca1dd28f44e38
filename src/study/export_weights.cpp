#include "study/export_weights.hpp"

#include <fmt/format.h>

#include "checkpoint/generation.hpp"
#include "model/hugging_face.hpp"
#include "model/safetensors.hpp"
#include "study/weights_of.hpp"

namespace pg::study {

std::string export_weights(const std::filesystem::path& generation,
                           const std::filesystem::path& output) {
  const checkpoint::Generation source(generation);
  const config::ModelSettings model = settings_of(source).model;
  const model::NamedTensors own = weights_of(source);
  std::vector<model::ParameterSpec> specs;
  for (const auto& [name, tensor] : own) specs.push_back({name, tensor.sizes().vec(), {}});
  model::NamedTensors published;
  for (const model::PublishedTensor& tensor : model::published_tensors(model, specs)) {
    published.emplace_back(tensor.name, model::published(tensor, own[tensor.parameter].second));
  }
  model::write_safetensors(output, published);
  return fmt::format("{}: {} tensors of step {}\n", output.string(), published.size(),
                     source.content().step);
}

}  // namespace pg::study
