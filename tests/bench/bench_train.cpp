// Times the training step of a model of configs/models, on as many ranks as it is started with:
//   [mpirun -n RANKS] bench_train MODEL BATCH SEQUENCE_LENGTH SECONDS [SETTING=VALUE ...]
// The trainer as it runs in a study, without validations, for SECONDS after two steps. Prints
// one line of key=value. A token is one of the batch x sequence length that a step reads, whatever
// of them an encoder reads and a decoder predicts.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/session.hpp"
#include "common.hpp"
#include "config/command_line.hpp"
#include "train/derived.hpp"
#include "train/large_blocks.hpp"
#include "train/peak_memory.hpp"

namespace {

using namespace pg;

/// Operations of a training step for each token, a backward pass taken as two forward passes: the
/// model's own count, of matrix products alone.
double flops_per_token(const config::Settings& settings, const data::Corpus& corpus) {
  const data::Objective objective = train::objective_of(settings);
  const double forward = train::network_of(settings, corpus.vocabulary())
                             .forward_flops(objective.n_targets(), objective.n_encoder());
  return 3 * forward / static_cast<double>(settings.data.sequence_length);
}

double largest(const comm::Communicator& world, double value) {
  double most = value;
  for (const std::string& text : world.all_gather(fmt::format("{}", value))) {
    most = std::max(most, parse_real(text).value_or(0));
  }
  return most;
}

void measure(const std::vector<std::string>& words, const comm::Communicator& world) {
  const auto seconds = parse_real(words[3]);
  if (!seconds || *seconds < 0) {
    throw_settings("SECONDS = " + words[3], "a number that is not negative", "3");
  }
  const auto [settings, shard] =
      bench::case_of(words[0], words[1], words[2], {words.begin() + 4, words.end()});
  const data::Corpus corpus = bench::corpus();
  train::use_one_thread();
  train::keep_large_blocks();
  train::Trainer trainer(settings, corpus, world, {.shard = shard});
  record::TrialRecord record;
  const auto steps = bench::time_steps(trainer, record, [&](const bench::StepSeconds& so_far) {
    return world.rank() == 0 && so_far.wall.sum() >= *seconds;
  });
  const double peak_mb = largest(world, train::peak_memory_mb());
  if (world.rank() != 0) return;
  const auto tokens = static_cast<double>(settings.train.batch * settings.data.sequence_length);
  const auto n_steps = static_cast<double>(steps.wall.values.size());
  fmt::print(
      "model={} precision={} ranks={} batch={} sequence_length={} parameters={} steps={} "
      "tokens_per_s={:.6g} step_s={:.6g} step_s_least={:.6g} step_s_most={:.6g} "
      "processor_s={:.6g} flops_per_token={:.8g} peak_mb={:.0f}\n",
      words[0], settings.train.precision, world.size(), settings.train.batch,
      settings.data.sequence_length, record.summary.n_parameters, n_steps,
      n_steps * tokens / steps.wall.sum(), steps.wall.at(0.5), steps.wall.at(0), steps.wall.at(1),
      steps.processor.at(0.5), flops_per_token(settings, corpus), peak_mb);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fmt::print(stderr,
               "usage: [mpirun -n RANKS] bench_train MODEL BATCH SEQUENCE_LENGTH SECONDS "
               "[SETTING=VALUE ...]\n");
    return 64;
  }
  comm::Session session;
  try {
    measure({argv + 1, argv + argc}, session.world());
  } catch (...) {
    comm::Session::abort(config::end_failure("bench_train"));
  }
  return 0;
}
