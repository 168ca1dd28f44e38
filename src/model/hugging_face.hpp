#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "model/parameters.hpp"
#include "model/safetensors.hpp"

namespace pg::model {

/// A tensor as the published checkpoints name and lay it out: rows [first_row, first_row + n_rows)
/// of a parameter, transposed where the published layer keeps (n_in, n_out).
struct PublishedTensor {
  std::string name;
  std::size_t parameter;  ///< place in the list of specs
  std::int64_t first_row;
  std::int64_t n_rows;
  bool transposed;
};

/// The names of Hugging Face's GPT2LMHeadModel, LlamaForCausalLM and
/// T5ForConditionalGeneration. What these do not have (gates, and every tensor of another
/// architecture) is named "pgmpi." and its own name. In the order of `specs`.
std::vector<PublishedTensor> published_tensors(const config::ModelSettings& model,
                                               const std::vector<ParameterSpec>& specs);

/// The rows of the parameter, or their transpose; contiguous, on the host.
at::Tensor published(const PublishedTensor& tensor, const at::Tensor& parameter);

/// All parameters of a model, given by their own names and in its order, under their published
/// names, float32.
NamedTensors export_weights(const config::ModelSettings& model, const NamedTensors& own);

/// Puts published tensors into the parameters. A gate, which no published model has, may be absent:
/// it keeps its initial values. Throws InvalidInput (data) naming `origin` and the tensor that is
/// missing, of another shape, or without a place here.
void import_weights(const config::ModelSettings& model, const std::string& origin,
                    const NamedTensors& tensors, Parameters& parameters);

}  // namespace pg::model
