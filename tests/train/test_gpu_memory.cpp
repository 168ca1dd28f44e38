// What a trial records of a GPU's memory: LibTorch's own count beside the ledger's prediction.
#define BOOST_TEST_MODULE gpu_memory
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "data/synthetic.hpp"
#include "support/gpu.hpp"
#include "train/memory.hpp"

namespace {

/// GPT-2 small with four layers: large beside the libraries' workspaces, small enough for any GPU.
pg::config::Settings gpt2(const char* precision, const char* checkpointing) {
  return pg::testing::short_run({{"model.arch", "gpt"},
                                 {"model.n_layers", "4"},
                                 {"model.d_model", "768"},
                                 {"model.n_heads", "12"},
                                 {"model.d_ff", "3072"},
                                 {"model.activation", "gelu_tanh"},
                                 {"model.positions", "learned"},
                                 {"model.vocab_size", "50257"},
                                 {"data.sequence_length", "512"},
                                 {"train.batch", "8"},
                                 {"train.chunk", "8"},
                                 {"train.precision", precision},
                                 {"model.activation_checkpointing", checkpointing}});
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_record_holds_the_peak_beside_the_prediction) {
  if (!pg::testing::has_gpu()) return;
  const auto corpus = pg::data::synthetic_corpus({.symbols = 52, .length = 20'000, .seed = 1}, 0.2);
  const auto alone = pg::comm::Communicator::alone();
  for (const char* precision : {"float32", "bfloat16"}) {
    for (const char* checkpointing : {"false", "true"}) {
      pg::train::Trainer trainer(gpt2(precision, checkpointing), corpus, alone,
                                 {.device = at::kCUDA});
      pg::record::TrialRecord record;
      trainer.run([](const pg::train::Progress&) { return true; }, record);
      const double measured = record.summary.peak_memory_mb;
      const double predicted = record.summary.predicted_memory_mb;
      std::cout << fmt::format("{}, checkpointing {}: {:.1f} MB, predicted {:.1f} ({:.3f})\n",
                               precision, checkpointing, measured, predicted, predicted / measured);
      BOOST_TEST(predicted > 0.9 * measured);
      BOOST_TEST(predicted < 1.1 * measured);
    }
  }
}
