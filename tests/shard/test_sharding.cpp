// Promise P1: the same bits whether and how parameters are shared out.
#define BOOST_TEST_MODULE sharding
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "checkpoint/store.hpp"
#include "comm/communicator.hpp"
#include "comm/exchange.hpp"
#include "comm/session.hpp"
#include "data/synthetic.hpp"
#include "support/support.hpp"
#include "train/trainer.hpp"

namespace {

using pg::comm::Communicator;
using pg::comm::Exchange;
using pg::config::Settings;
using pg::train::Placement;

struct Mpi {
  pg::comm::Session session;
};

const Communicator& world() {
  static Mpi mpi;
  return mpi.session.world();
}

const pg::data::Corpus& corpus() {
  static const auto corpus =
      pg::data::synthetic_corpus({.symbols = 8, .length = 5000, .seed = 3}, 0.1);
  return corpus;
}

/// Widths that no number of ranks divides; fewer rows than eight ranks in some tensors.
Settings settings(std::int64_t batch, std::int64_t chunk) {
  Settings s;
  s.model.n_layers = 3;
  s.model.d_model = 14;
  s.model.n_heads = 7;
  s.model.d_ff = 11;
  s.gate.unit = "pagelu";
  s.data.sequence_length = 12;
  s.train.steps = 6;
  s.train.batch = batch;
  s.train.chunk = chunk;
  s.schedule.warmup_steps = 2;
  s.optimizer.lr = 1e-2;
  s.optimizer.clip = 0.5;
  s.optimizer.decays = "matrices";
  s.eval.interval = 3;
  s.eval.tail_steps = 2;
  s.eval.tail_interval = 1;
  s.eval.sequences = 11;
  return s;
}

/// Every number that a trial leaves behind, as text; nothing if it was stopped.
std::optional<std::string> numbers(const Settings& s, const Communicator& team,
                                   const Placement& placement = {},
                                   pg::checkpoint::Store* store = nullptr,
                                   std::int64_t stop_after = -1) {
  pg::train::use_one_thread();
  pg::record::TrialRecord record;
  pg::train::Trainer trainer(s, corpus(), team, placement);
  const auto observer = [&](const pg::train::Progress& p) { return p.step + 1 != stop_after; };
  if (!trainer.run(observer, record, store)) return std::nullopt;
  std::string text = record.summary.parameter_hash;
  for (const auto& tensor : trainer.hashes()) {
    text += " " + tensor.name + tensor.value + tensor.moment1 + tensor.moment2;
  }
  for (const auto* series :
       {&record.train_loss, &record.grad_norm, &record.val_loss, &record.alpha}) {
    text.append(reinterpret_cast<const char*>(series->data()), series->size() * sizeof(double));
  }
  // In float16 steps are skipped until the factor of the loss is small enough.
  const bool skips = s.train.precision == "float16" && record.train_loss.size() > 2;
  BOOST_TEST((skips || record.train_loss.size() == static_cast<std::size_t>(s.train.steps)));
  return text;
}

Placement over(std::int64_t degree, bool reshard = true, std::int64_t prefetch = 1) {
  Placement placement;
  placement.shard = {.degree = degree, .reshard_after_forward = reshard, .prefetch = prefetch};
  return placement;
}

std::vector<std::pair<std::string, Settings>> families() {
  std::vector<std::pair<std::string, Settings>> all;
  const auto add = [&](const std::string& name) -> Settings& {
    all.emplace_back(name, settings(19, 2));
    return all.back().second;
  };
  auto& gpt = add("gpt");
  gpt.model.arch = "gpt";
  gpt.model.positions = "learned";
  gpt.model.dropout = 0.1;
  auto& llama = add("llama");
  llama.model.arch = "llama";
  llama.model.gated_mlp = true;
  llama.model.n_kv_heads = 1;
  llama.model.tied_embeddings = false;
  llama.gate.form = "glu";
  llama.gate.gate_norm = true;
  const auto llama_model = llama.model;
  auto& t5 = add("t5");
  t5.model.arch = "t5";
  t5.model.positions = "relative";
  t5.model.dropout = 0.1;
  t5.data.objective = "span_corruption";
  const auto t5_model = t5.model;
  auto& vaswani = add("vaswani");  // its last unit has no parameter
  vaswani.model.arch = "vaswani";
  vaswani.model.positions = "sinusoidal";
  vaswani.data.objective = "prefix";
  auto& bk = add("resnet_bk");
  bk.model.arch = "resnet_bk";
  bk.model.positions = "learned";
  bk.model.tied_embeddings = false;
  auto& learned = add("learnable gates, bfloat16");
  learned.gate.policy = "learnable";
  learned.gate.attention = true;
  learned.train.precision = "bfloat16";
  auto& half = add("llama, bfloat16");  // its embedding is gathered in float32
  half.model = llama_model;
  half.train.precision = "bfloat16";
  auto& scaled = add("t5, float16");
  scaled.model = t5_model;
  scaled.data.objective = "span_corruption";
  scaled.train.precision = "float16";
  add("alpha of the token").gate.policy = "entropy";
  // Large enough to be exchanged where they stand, in parts that are not equal; one of them in
  // parts that end within a word, in half precision.
  auto& wide = add("wide");
  wide.model.n_layers = 1;
  wide.model.d_model = 126;
  wide.model.d_ff = 147;
  const auto wide_model = wide.model;
  auto& wide_half = add("wide, bfloat16");
  wide_half.model = wide_model;
  wide_half.train.precision = "bfloat16";
  return all;
}

/// Sleeps where messages start and end, longer on some ranks and at some times.
class Delayed final : public Exchange {
 public:
  explicit Delayed(std::unique_ptr<Exchange> inner, int rank)
      : inner_(std::move(inner)), rank_(rank) {}

  std::unique_ptr<Pending> all_gather(std::span<float> values,
                                      std::vector<std::size_t> bounds) override {
    sleep();
    return wrap(inner_->all_gather(values, std::move(bounds)));
  }
  std::unique_ptr<Pending> reduce_scatter(std::span<float> values, std::vector<std::size_t> bounds,
                                          int n_present, Order order) override {
    sleep();
    return wrap(inner_->reduce_scatter(values, std::move(bounds), n_present, order));
  }
  void progress() override {
    if (n_++ % 3 == 0) inner_->progress();  // nobody may count on it
  }

 private:
  class Late final : public Pending {
   public:
    Late(std::unique_ptr<Pending> inner, Delayed& delays)
        : inner_(std::move(inner)), delays_(delays) {}
    void wait() override {
      delays_.sleep();
      inner_->wait();
      delays_.sleep();
    }

   private:
    std::unique_ptr<Pending> inner_;
    Delayed& delays_;
  };
  std::unique_ptr<Pending> wrap(std::unique_ptr<Pending> inner) {
    return std::make_unique<Late>(std::move(inner), *this);
  }
  void sleep() {
    const pg::random::Stream stream(7, pg::random::Purpose::test,
                                    static_cast<std::uint64_t>(rank_));
    const auto us = stream.below(8, n_sleeps_++) == 0 ? stream.below(3000, n_sleeps_) : 0;
    std::this_thread::sleep_for(std::chrono::microseconds(us));
  }

  std::unique_ptr<Exchange> inner_;
  int rank_;
  std::uint64_t n_sleeps_ = 0;
  int n_ = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(every_family_gives_the_bits_of_one_rank) {
  const auto alone = Communicator::alone();
  for (auto [name, s] : families()) {
    for (const bool checkpointing : {false, true}) {
      s.model.activation_checkpointing = checkpointing;
      BOOST_TEST((numbers(s, world(), over(0)) == numbers(s, alone)),
                 name << (checkpointing ? ", checkpointed" : ""));
    }
  }
}

BOOST_AUTO_TEST_CASE(fifty_steps_with_and_without_accumulation) {
  const auto alone = Communicator::alone();
  for (auto [name, s] : families()) {
    if (name != "gpt" && name != "llama" && name != "t5") continue;
    for (const int turns : {1, 3}) {
      s.train.steps = 50;
      s.train.chunk = 1;
      s.train.batch = turns * world().size();
      s.model.activation_checkpointing = turns == 3;
      const bool reshard = turns == 3;
      BOOST_TEST((numbers(s, world(), over(0, reshard)) == numbers(s, alone)),
                 name << ", " << turns << " turns");
    }
  }
}

BOOST_AUTO_TEST_CASE(however_units_are_gathered_the_bits_are_the_same) {
  const auto alone = Communicator::alone();
  // Chunks: 1; 3, fewer than some teams; 8; 13: turns that not all ranks have.
  for (const auto& [batch, chunk] : {std::pair<int, int>{4, 4}, {6, 2}, {16, 2}, {13, 1}}) {
    auto s = settings(batch, chunk);
    const auto expected = numbers(s, alone);
    for (const bool reshard : {true, false}) {
      for (const std::int64_t prefetch : {0, 1, 2, 9}) {
        BOOST_TEST((numbers(s, world(), over(0, reshard, prefetch)) == expected),
                   batch << " in chunks of " << chunk << ", reshard " << reshard << ", prefetch "
                         << prefetch);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(shared_out_in_groups_and_replicated_between_them) {
  const auto alone = Communicator::alone();
  for (const auto& [batch, chunk] : {std::pair<int, int>{4, 4}, {6, 2}, {19, 2}}) {
    const auto s = settings(batch, chunk);
    const auto expected = numbers(s, alone);
    for (int degree = 1; degree <= world().size(); degree *= 2) {
      BOOST_TEST((numbers(s, world(), over(degree)) == expected),
                 batch << " in chunks of " << chunk << ", degree " << degree);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_rank_whose_chunk_does_not_count_is_heard) {
  const auto s = settings(4, 4);  // one chunk: all but one rank only take part
  pg::record::TrialRecord record;
  pg::train::Trainer trainer(s, corpus(), world(), over(0));
  const bool is_last = world().rank() == world().size() - 1;
  const auto observer = [&](const pg::train::Progress& p) { return !is_last || p.step < 1; };
  BOOST_TEST(!trainer.run(observer, record));
  BOOST_TEST(record.summary.steps == 2);
}

BOOST_AUTO_TEST_CASE(late_messages_change_nothing) {
  const auto alone = Communicator::alone();
  auto s = settings(19, 2);
  s.train.steps = 4;
  const auto expected = numbers(s, alone);
  for (const std::int64_t prefetch : {0, 2}) {
    Placement placement = over(0, true, prefetch);
    placement.make_exchange = [](const Communicator& group) {
      return std::make_unique<Delayed>(pg::comm::make_mpi_exchange(group), group.rank());
    };
    BOOST_TEST((numbers(s, world(), placement) == expected), "prefetch " << prefetch);
  }
}

BOOST_AUTO_TEST_CASE(plain_sums_are_near_and_differ) {  // so that equality says something
  auto s = settings(19, 2);
  const auto losses = [&] {
    pg::record::TrialRecord record;
    pg::train::Trainer trainer(s, corpus(), world(), over(0));
    BOOST_REQUIRE(trainer.run([](const auto&) { return true; }, record));
    return record.train_loss;
  };
  const auto strict = losses();
  const auto bits = numbers(s, world(), over(0));
  s.train.reproducible = "fast";
  const auto fast = losses();
  for (std::size_t i = 0; i < strict.size(); ++i)
    BOOST_TEST(std::abs(fast[i] / strict[i] - 1) < 1e-5);
  // A sum of two is the same in any order; of more it is luck.
  if (world().size() > 2) BOOST_TEST((numbers(s, world(), over(0)) != bits));
}

BOOST_AUTO_TEST_CASE(a_trial_goes_on_however_it_is_shared_out) {
  std::optional<pg::testing::ScratchFolder> mine;
  if (world().rank() == 0) mine.emplace();
  const std::filesystem::path folder = world().broadcast(mine ? mine->path().string() : "");
  const auto alone = Communicator::alone();
  const auto say = [](const std::string& text) { BOOST_TEST_MESSAGE(text); };
  for (const auto& [name, s] : families()) {
    BOOST_TEST_CONTEXT(name) {
      const auto expected = numbers(s, alone);
      const std::filesystem::path here = folder / name;
      {
        pg::checkpoint::Store store(here, {}, world(), say);
        BOOST_TEST(!numbers(s, world(), over(0), &store, 2));
      }
      world().wait_for_all([] {});
      {  // replicated
        pg::checkpoint::Store store(here, {}, world(), say);
        BOOST_TEST(!numbers(s, world(), over(1), &store, 3));
      }
      world().wait_for_all([] {});
      {  // in pairs
        pg::checkpoint::Store store(here, {}, world(), say);
        BOOST_TEST(!numbers(s, world(), over(2, false, 0), &store, 4));
      }
      world().wait_for_all([] {});
      if (world().rank() == 0) {
        pg::checkpoint::Store store(here, {}, alone, say);
        BOOST_TEST((numbers(s, alone, {}, &store) == expected));
      }
      world().wait_for_all([] {});
    }
  }
}
