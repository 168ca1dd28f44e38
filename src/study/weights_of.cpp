#include "study/weights_of.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "config/study.hpp"

namespace pg::study {

config::Settings settings_of(const checkpoint::Generation& generation) {
  const auto& texts = generation.content().texts;
  const auto settings = texts.find("settings");
  if (settings == texts.end()) {
    throw_data(fmt::format("{}: lacks its settings", generation.path().string()),
               "a generation of a trial", "name a file of trials/<id>/generations");
  }
  return config::read_settings(settings->second);
}

model::NamedTensors weights_of(const checkpoint::Generation& generation) {
  constexpr std::string_view kParameters = "parameters/";
  model::NamedTensors tensors;
  const auto& arrays = generation.content().arrays;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (!arrays[i].name.starts_with(kParameters)) continue;
    at::Tensor tensor = at::empty(arrays[i].shape, at::kFloat);
    generation.read(i, 0, {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()});
    tensors.emplace_back(arrays[i].name.substr(kParameters.size()), tensor);
  }
  return tensors;
}

}  // namespace pg::study
