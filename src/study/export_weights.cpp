#include "study/export_weights.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "checkpoint/generation.hpp"
#include "config/study.hpp"
#include "model/hugging_face.hpp"
#include "model/safetensors.hpp"

namespace pg::study {

std::string export_weights(const std::filesystem::path& generation,
                           const std::filesystem::path& output) {
  constexpr std::string_view kParameters = "parameters/";
  const checkpoint::Generation source(generation);
  const checkpoint::Content& content = source.content();
  const auto settings = content.texts.find("settings");
  if (settings == content.texts.end()) {
    throw_data(fmt::format("{}: lacks its settings", generation.string()),
               "a generation of a trial", "name a file of trials/<id>/generations");
  }
  const config::ModelSettings model = config::read_settings(settings->second).model;
  std::vector<model::ParameterSpec> specs;
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < content.arrays.size(); ++i) {
    const checkpoint::ArraySpec& array = content.arrays[i];
    if (!array.name.starts_with(kParameters)) continue;
    specs.push_back({array.name.substr(kParameters.size()), array.shape, {}});
    at::Tensor tensor = at::empty(array.shape, at::kFloat);
    source.read(i, 0, {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()});
    tensors.push_back(tensor);
  }
  model::NamedTensors published;
  for (const model::PublishedTensor& tensor : model::published_tensors(model, specs)) {
    published.emplace_back(tensor.name, model::published(tensor, tensors[tensor.parameter]));
  }
  model::write_safetensors(output, published);
  return fmt::format("{}: {} tensors of step {}\n", output.string(), published.size(),
                     content.step);
}

}  // namespace pg::study
