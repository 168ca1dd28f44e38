#include "postprocess/fits/size_trials.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "config/study.hpp"
#include "record/run_directory.hpp"

namespace pg::post {
namespace {

namespace fs = std::filesystem;

struct CorpusSize {
  std::int64_t alphabet = 0;      ///< 0: not recorded
  std::int64_t train_tokens = 0;  ///< 0: not recorded
};

CorpusSize read_corpus_size(const fs::path& root, TrialTable& table) {
  const fs::path file = record::RunDirectory(root).provenance_file();
  if (!fs::exists(file)) return {};
  try {
    const nlohmann::json all = nlohmann::json::parse(read_file(file));
    const nlohmann::json corpus = all.value("corpus", nlohmann::json::object());
    return {corpus.value("alphabet_size", std::int64_t{0}),
            corpus.value("n_train_tokens", std::int64_t{0})};
  } catch (const nlohmann::json::exception& error) {
    table.warnings.push_back(file.string() + ": the corpus's size was not read: " + error.what());
    return {};
  }
}

std::optional<std::int64_t> non_embedding(const TrialRow& row, std::int64_t alphabet) {
  if (alphabet < 1) return std::nullopt;
  const config::ModelSettings& m = row.settings.model;
  std::int64_t embedding = alphabet * m.d_model * (m.tied_embeddings ? 1 : 2);
  if (m.positions == "learned") embedding += row.settings.data.sequence_length * m.d_model;
  return row.n_parameters - embedding;
}

/// The last validation within each whole epoch.
std::vector<double> epoch_losses(const TrialRow& row, std::int64_t train_tokens) {
  std::vector<double> losses;
  if (train_tokens < 1 || row.steps < 1) return losses;
  const double per_step = static_cast<double>(row.tokens) / static_cast<double>(row.steps);
  for (double epoch = 1;
       epoch * static_cast<double>(train_tokens) <= static_cast<double>(row.tokens) * (1 + 1e-12);
       ++epoch) {
    const double end = epoch * static_cast<double>(train_tokens);
    const double begin = end - static_cast<double>(train_tokens);
    std::optional<double> last;
    for (std::size_t i = 0; i < row.val_step.size(); ++i) {
      const double seen = per_step * static_cast<double>(row.val_step[i]);
      if (seen > begin && seen <= end * (1 + 1e-12)) last = row.val_loss[i];
    }
    if (last) losses.push_back(*last);
  }
  return losses;
}

SizeTrial to_size_trial(const TrialRow& row, const Arm& arm, const CorpusSize& corpus) {
  SizeTrial t;
  t.name = row.name();
  t.arch = row.settings.model.arch;
  t.d_model = row.settings.model.d_model;
  t.n_layers = row.settings.model.n_layers;
  t.settings = arm.settings;
  t.seed = row.seed;
  t.n_parameters = row.n_parameters;
  t.n_non_embedding = non_embedding(row, corpus.alphabet);
  t.finished = row.usable();
  t.diverged = row.diverged();
  t.reason = row.reason;
  t.tokens = row.tokens;
  t.seconds = row.seconds;
  if (corpus.train_tokens > 0) {
    t.epochs = static_cast<double>(row.tokens) / static_cast<double>(corpus.train_tokens);
  }
  if (!t.finished) return t;
  t.loss = row.loss;
  t.best_loss = row.loss;
  for (const double v : row.val_loss) t.best_loss = std::min(t.best_loss, v);
  t.epoch_losses = epoch_losses(row, corpus.train_tokens);
  for (std::size_t i = 0; i < row.val_step.size(); ++i) {
    if (row.val_step[i] > row.steps - row.settings.eval.tail_steps) {
      t.tail_losses.push_back(row.val_loss[i]);
    }
  }
  return t;
}

}  // namespace

std::vector<SizeTrial> size_trials(TrialTable& table) {
  std::map<fs::path, CorpusSize> sizes;
  for (const fs::path& root : table.roots) sizes[root] = read_corpus_size(root, table);
  const std::vector<Arm> arms = make_arms(table);
  std::vector<SizeTrial> trials;
  for (const Arm& arm : arms) {
    for (const std::size_t r : arm.rows) {
      const TrialRow& row = table.rows[r];
      trials.push_back(to_size_trial(row, arm, sizes[row.run]));
    }
  }
  return trials;
}

}  // namespace pg::post
