// Promise P1: the same bits on 1, 2, 4 and 8 ranks.
#define BOOST_TEST_MODULE team
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/exact_sum.hpp"
#include "checkpoint/store.hpp"
#include "comm/communicator.hpp"
#include "comm/session.hpp"
#include "data/synthetic.hpp"
#include "support/support.hpp"
#include "train/batch_gradient.hpp"
#include "train/trainer.hpp"

namespace {

struct Mpi {
  pg::comm::Session session;
};

const pg::comm::Communicator& world() {
  static Mpi mpi;
  return mpi.session.world();
}

const pg::data::Corpus& corpus() {
  static const auto corpus =
      pg::data::synthetic_corpus({.symbols = 8, .length = 5000, .seed = 3}, 0.1);
  return corpus;
}

pg::config::Settings settings(std::int64_t batch, std::int64_t chunk) {
  pg::config::Settings s;
  s.model.n_layers = 1;
  s.model.d_model = 16;
  s.model.n_heads = 2;
  s.model.d_ff = 16;
  s.gate.unit = "pagelu";
  s.data.sequence_length = 16;
  s.train.steps = 25;
  s.train.batch = batch;
  s.train.chunk = chunk;
  s.schedule.warmup_steps = 5;
  s.optimizer.lr = 1e-2;
  s.optimizer.clip = 0.5;
  s.eval.interval = 10;
  s.eval.tail_steps = 5;
  s.eval.tail_interval = 2;
  s.eval.sequences = 11;
  return s;
}

/// Every number that a trial leaves behind, as text.
std::string numbers(const pg::config::Settings& s, const pg::comm::Communicator& team,
                    pg::checkpoint::Store* store = nullptr) {
  pg::train::use_one_thread();
  pg::record::TrialRecord record;
  pg::train::Trainer trainer(s, corpus(), team);
  BOOST_REQUIRE(trainer.run([](const auto&) { return true; }, record, store));
  std::string text = record.summary.parameter_hash;
  for (const auto& tensor : trainer.hashes()) {
    text += " " + tensor.name + tensor.value + tensor.moment1 + tensor.moment2;
  }
  const auto add = [&](const std::vector<double>& series) {
    text.append(reinterpret_cast<const char*>(series.data()), series.size() * sizeof(double));
  };
  add(record.train_loss);
  add(record.grad_norm);
  add(record.val_loss);
  add(record.alpha);
  add(record.gradient_tails);
  add(record.noise_tails);
  return text;
}

/// Settings whose trials have a state of their own, or another network or objective.
std::vector<std::pair<std::string, pg::config::Settings>> variants() {
  std::vector<std::pair<std::string, pg::config::Settings>> all;
  const auto add = [&](const std::string& name) -> pg::config::Settings& {
    all.emplace_back(name, settings(19, 4));
    return all.back().second;
  };
  add("plain");
  for (const char* policy : {"adaptive_loss", "adaptive_gradient", "learnable", "cosine"}) {
    auto& s = add(policy);
    s.gate.policy = policy;
    s.gate.attention = true;
  }
  add("tails").measure.gradient_tails = 4;
  add("float16").train.precision = "float16";
  auto& span = add("span corruption");
  span.model.arch = "t5";
  span.model.positions = "relative";
  span.model.dropout = 0.1;
  span.data.objective = "span_corruption";
  span.train.label_smoothing = 0.1;
  auto& prefix = add("prefix");
  prefix.model.arch = "vaswani";
  prefix.model.positions = "sinusoidal";
  prefix.data.objective = "prefix";
  prefix.train.precision = "bfloat16";
  auto& bk = add("resnet_bk");
  bk.model.arch = "resnet_bk";
  bk.model.positions = "learned";
  bk.model.dropout = 0.1;
  bk.optimizer.decays = "matrices";
  auto& llama = add("llama");
  llama.model.arch = "llama";
  llama.model.gated_mlp = true;
  llama.model.n_kv_heads = 1;
  llama.model.activation_checkpointing = true;
  llama.gate.form = "glu";
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_chunk_belongs_to_one_rank_and_sub_trees_are_aligned) {
  for (std::int64_t n_chunks = 1; n_chunks <= 70; ++n_chunks) {
    for (int size = 1; size <= 128; size *= 2) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const auto range = pg::train::chunks_of_rank(n_chunks, rank, size);
        BOOST_TEST(range.first == next);
        const std::int64_t count = range.last - range.first;
        if (rank > 0 && count > 0) {
          const auto before = pg::train::chunks_of_rank(n_chunks, rank - 1, size);
          BOOST_TEST(count <= before.last - before.first);  // only the last sub-tree is incomplete
        }
        next = range.last;
      }
      BOOST_TEST(next == n_chunks);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_team_gives_the_bits_of_one_rank) {
  const auto alone = pg::comm::Communicator::alone();
  // Chunks: 8; 5, no power of two, the last one short; 1, so that most ranks have none.
  for (const auto& [batch, chunk] : {std::pair<int, int>{16, 2}, {19, 4}, {4, 4}}) {
    const auto s = settings(batch, chunk);
    BOOST_TEST((numbers(s, world()) == numbers(s, alone)), batch << " in chunks of " << chunk);
  }
}

BOOST_AUTO_TEST_CASE(plain_sums_do_not) {  // so that the equality above says something
  auto s = settings(16, 2);
  const auto alone = pg::comm::Communicator::alone();
  const auto strict = numbers(s, alone);
  s.train.reproducible = "fast";
  const auto fast = numbers(s, alone);
  BOOST_TEST((fast != strict));
  if (world().size() > 1) BOOST_TEST((numbers(s, world()) != fast));
}

BOOST_AUTO_TEST_CASE(one_rank_that_wants_to_stop_stops_the_team) {
  pg::record::TrialRecord record;
  pg::train::Trainer trainer(settings(16, 2), corpus(), world());
  const bool last = world().rank() == world().size() - 1;
  const bool ran =
      trainer.run([&](const pg::train::Progress& p) { return !(last && p.step == 7); }, record);
  BOOST_TEST(!ran);
  BOOST_TEST(record.train_step.size() == 8U);  // the step is finished first
}

BOOST_AUTO_TEST_CASE(a_team_diverges_together) {
  auto s = settings(16, 2);
  s.optimizer.lr = 1e30;
  s.optimizer.clip = 0;
  pg::record::TrialRecord record;
  pg::train::Trainer trainer(s, corpus(), world());
  BOOST_TEST(trainer.run([](const auto&) { return true; }, record));
  BOOST_TEST((record.summary.status == pg::record::TrialStatus::diverged));
  for (const std::string& reason : world().all_gather(record.summary.reason)) {
    BOOST_TEST(reason == record.summary.reason);
  }
}

namespace {

void goes_on_as_if_nothing_had_been(const pg::config::Settings& s) {
  const auto alone = pg::comm::Communicator::alone();
  const std::string straight = numbers(s, alone);
  std::optional<pg::testing::ScratchFolder> mine;
  if (world().rank() == 0) mine.emplace();
  const std::filesystem::path folder = world().broadcast(mine ? mine->path().string() : "");
  const auto say = [](const std::string& text) { BOOST_TEST_MESSAGE(text); };

  // Stopped twice on the team, at a step without and with a validation; ended by one rank alone.
  for (const std::int64_t stop : {7, 20}) {
    pg::checkpoint::Store store(folder, {}, world(), say);
    pg::record::TrialRecord record;
    pg::train::Trainer trainer(s, corpus(), world());
    const auto until = [&](const pg::train::Progress& p) { return p.step < stop - 1; };
    BOOST_TEST(!trainer.run(until, record, &store));
    BOOST_TEST(record.summary.steps == stop);
  }
  world().wait_for_all([] {});
  BOOST_TEST(pg::checkpoint::list(folder).size() == 2U);
  world().wait_for_all([] {});
  if (world().rank() == 0) {
    pg::checkpoint::Store store(folder, {}, alone, say);
    BOOST_TEST((numbers(s, alone, &store) == straight));
    // The last generation is the trial's end: going on from it changes nothing.
    BOOST_TEST(pg::checkpoint::list(folder).front().step == s.train.steps);
    pg::checkpoint::Store again(folder, {}, alone, say);
    BOOST_TEST((numbers(s, alone, &again) == straight));
    // It belongs to this trial.
    auto other = s;
    other.optimizer.lr = 2e-2;
    pg::checkpoint::Store wrong(folder, {}, alone, say);
    pg::record::TrialRecord record;
    pg::train::Trainer trainer(other, corpus(), alone);
    BOOST_CHECK_EXCEPTION(trainer.run([](const auto&) { return true; }, record, &wrong),
                          pg::InvalidInput, [](const auto& error) {
                            return std::string(error.what()).find("lr") != std::string::npos;
                          });
  }
  world().wait_for_all([] {});
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_trial_goes_on_as_if_nothing_had_been) {
  for (const auto& [name, s] : variants()) {
    BOOST_TEST_CONTEXT(name) {
      goes_on_as_if_nothing_had_been(s);
    }
  }
}

namespace {

/// Of a straight run by rank 0 and one that all ranks interrupt and continue.
void compare_anomalies(std::int64_t skips, std::int64_t rollbacks) {
  auto s = settings(19, 4);
  s.train.steps = 160;
  s.eval.interval = 40;
  s.optimizer.lr = 0.05;
  s.anomaly = {.spike = 1.5, .skips = skips, .rollbacks = rollbacks, .rollback_interval = 10};
  std::optional<pg::testing::ScratchFolder> mine;
  if (world().rank() == 0) mine.emplace();
  const std::filesystem::path folder = world().broadcast(mine ? mine->path().string() : "");
  const auto alone = pg::comm::Communicator::alone();
  const auto say = [](const std::string& text) { BOOST_TEST_MESSAGE(text); };
  struct Run {
    std::string numbers;
    pg::record::TrialRecord record;
  };
  const auto run = [&](const std::string& name, const pg::comm::Communicator& team,
                       std::vector<std::int64_t> stops) {
    for (stops.push_back(-1);; stops.erase(stops.begin())) {
      pg::checkpoint::Store store(folder / name, {}, team, say);
      Run r;
      pg::train::Trainer trainer(s, corpus(), team);
      std::int64_t calls = 0;  // not steps: a trial that went back meets the same step again
      const auto observer = [&](const pg::train::Progress&) { return ++calls != stops.front(); };
      if (trainer.run(observer, r.record, &store)) {
        r.numbers = r.record.summary.parameter_hash;
        for (const auto& t : trainer.hashes()) r.numbers += t.value + t.moment1 + t.moment2;
        return r;
      }
      world().wait_for_all([] {});
    }
  };
  std::optional<Run> straight;
  if (world().rank() == 0) straight = run("straight", alone, {});
  world().wait_for_all([] {});
  const Run cut = run("cut", world(), {31, 57, 111});
  world().wait_for_all([] {});
  if (world().rank() != 0) return;
  const auto& record = straight->record;
  const auto count = [&](pg::record::EventKind kind) {
    return std::count(record.event_kind.begin(), record.event_kind.end(),
                      static_cast<std::int64_t>(kind));
  };
  BOOST_TEST((record.summary.status == pg::record::TrialStatus::finished));
  BOOST_TEST((count(pg::record::EventKind::skip) > 0) == (skips > 0));
  BOOST_TEST((count(pg::record::EventKind::rollback) > 0) == (skips == 0));
  for (std::size_t i = 0; i < record.event_step.size(); ++i) {
    BOOST_TEST_MESSAGE("step " << record.event_step[i] << " kind " << record.event_kind[i] << " to "
                               << record.event_target[i]);
    if (record.event_kind[i] == 1) {
      BOOST_TEST(record.event_target[i] % 10 == 0);
      BOOST_TEST(record.event_target[i] < record.event_step[i]);
    }
  }
  BOOST_TEST((cut.numbers == straight->numbers));
  BOOST_TEST((cut.record.event_step == record.event_step));
  BOOST_TEST((cut.record.event_kind == record.event_kind));
  BOOST_TEST((cut.record.event_target == record.event_target));
  BOOST_TEST((cut.record.train_loss == record.train_loss));
  BOOST_TEST((cut.record.val_loss == record.val_loss));
  for (const double loss : record.train_loss) BOOST_TEST(std::isfinite(loss));
}

}  // namespace

BOOST_AUTO_TEST_CASE(skips_are_the_same_after_an_interruption) {
  compare_anomalies(20, 0);  // more in a row than there are, whatever the digits of the losses
}

BOOST_AUTO_TEST_CASE(going_back_is_the_same_after_an_interruption) {
  compare_anomalies(0, 50);
}

BOOST_AUTO_TEST_CASE(without_a_ladder_the_first_anomaly_ends_the_trial) {
  auto s = settings(19, 4);
  s.train.steps = 160;
  s.eval.interval = 40;
  s.optimizer.lr = 0.05;
  s.anomaly.spike = 1.5;
  pg::record::TrialRecord record;
  pg::train::Trainer trainer(s, corpus(), world());
  BOOST_TEST(trainer.run([](const auto&) { return true; }, record));
  BOOST_TEST((record.summary.status == pg::record::TrialStatus::diverged));
  BOOST_TEST(record.summary.reason.find("after a mean of") != std::string::npos);
  BOOST_TEST(record.event_step.empty());
}
