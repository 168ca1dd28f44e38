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
  const model::NamedTensors published =
      model::export_weights(settings_of(source).model, weights_of(source));
  model::write_safetensors(output, published);
  return fmt::format("{}: {} tensors of step {}\n", output.string(), published.size(),
                     source.content().step);
}

}  // namespace pg::study
