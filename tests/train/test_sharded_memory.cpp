#define BOOST_TEST_MODULE sharded_memory
#include <fmt/format.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <iostream>
#include <vector>

#include "comm/session.hpp"
#include "config/study.hpp"
#include "data/synthetic.hpp"
#include "train/memory.hpp"

// The ledger against the memory of ranks that share out the parameters.

namespace {

using pg::config::Settings;
using pg::config::ShardSettings;

struct Mpi {
  pg::comm::Session session;
};

const pg::comm::Communicator& world() {
  static Mpi mpi;
  return mpi.session.world();
}

Settings model_of(const char* arch) {
  Settings s = pg::testing::short_run();
  s.model.arch = arch;
  s.model.n_layers = 4;
  s.model.d_model = 512;
  s.model.n_heads = 8;
  s.model.d_ff = 1536;
  s.model.vocab_size = 6000;
  s.data.sequence_length = 64;
  s.train.batch = 16;
  s.train.chunk = 2;
  return s;
}

/// Of all ranks: one alone may see what is fetched ahead arrive after its own peak.
double largest(double bytes) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(world().size()));
  all[static_cast<std::size_t>(world().rank())] = static_cast<std::int64_t>(bytes);
  world().all_reduce(all);
  return static_cast<double>(*std::max_element(all.begin(), all.end()));
}

void check(const char* name, const Settings& settings, const ShardSettings& shard) {
  const auto corpus = pg::data::synthetic_corpus({.symbols = 52, .length = 20'000, .seed = 1}, 0.2);
  pg::train::use_one_thread();
  (void)pg::testing::measure_memory(pg::testing::tiny(settings), corpus, world(), shard);
  auto f = pg::testing::measure_memory(settings, corpus, world(), shard);
  std::cout << fmt::format("  rank {}: {:.1f} MB\n", world().rank(), f.resident / 1e6);
  f.resident = largest(f.resident);
  if (world().rank() != 0) return;
  std::cout << fmt::format(
      "{} on {} ranks, degree {}, resharding {}, prefetch {}: resident {:.1f} MB, predicted {:.1f} "
      "({:.3f})\n",
      name, world().size(), shard.degree, shard.reshard_after_forward, shard.prefetch,
      f.resident / 1e6, f.predicted / 1e6, f.predicted / f.resident);
  BOOST_TEST(f.predicted > 0.87 * f.resident);  // as in test_memory
  BOOST_TEST(f.predicted < 1.1 * f.resident);
  BOOST_TEST(f.total_ratio() > 0.9);
}

BOOST_AUTO_TEST_CASE(all_ways_to_shard_a_network_with_a_tied_head) {
  Settings settings = model_of("gpt");
  settings.model.positions = "learned";
  check("GPT", settings, {.degree = 1});
  for (const bool reshard : {true, false}) {
    for (const std::int64_t prefetch : {0, 1, 2}) {
      check("GPT", settings, {0, reshard, prefetch});
    }
  }
  check("GPT", settings, {.degree = 2});
}

BOOST_AUTO_TEST_CASE(a_head_of_its_own_and_activation_checkpointing) {
  Settings settings = model_of("llama");
  settings.model.tied_embeddings = false;
  settings.model.gated_mlp = true;
  settings.model.activation = "silu";
  settings.model.activation_checkpointing = true;
  check("LLaMA", settings, {.degree = 0});
  settings.train.precision = "bfloat16";
  check("LLaMA in bfloat16", settings, {.degree = 0});
}

BOOST_AUTO_TEST_CASE(an_encoder_and_uneven_shards) {
  Settings settings = model_of("t5");
  settings.model.n_layers = 2;
  settings.model.vocab_size = 6001;
  settings.model.positions = "relative";
  settings.model.tied_embeddings = false;
  settings.data.objective = "span_corruption";
  check("T5", settings, {.degree = 0});
}

}  // namespace
