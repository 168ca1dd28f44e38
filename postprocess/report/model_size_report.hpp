#pragma once

#include <string>
#include <vector>

#include "postprocess/fits/model_size.hpp"
#include "postprocess/report/document.hpp"
#include "postprocess/results/arms.hpp"

namespace pg::post {

/// model_size.json: everything, snake_case; null for what is unbounded or not known.
std::string model_size_json(const ModelSizeAnalysis& analysis, const TrialTable& table);

/// The same for people: laws and rivals, architectures side by side, width against depth,
/// predictions, configurations, what was left out, provenance, conventions.
Document model_size_document(const ModelSizeAnalysis& analysis, const TrialTable& table);

/// The files of model_size_scaling.md in its words: scaling_law.json, all_scaling_results.json and
/// one d64_l4_results.json for each finished configuration (gpt_d64_l4_results.json where several
/// architectures were run). Perplexities are held-out, exp of the mean loss over seeds;
/// total_training_flops counts matrix products, or is 6 N tokens where runs did not record them;
/// peak_memory_mb is the largest of the seeds, null where it was not recorded.
std::vector<NamedText> model_size_files(const ModelSizeAnalysis& analysis);

}  // namespace pg::post
