#define BOOST_TEST_MODULE memory
#include <fmt/format.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <c10/core/CPUAllocator.h>
#include <array>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "config/study.hpp"
#include "data/synthetic.hpp"
#include "train/trainer.hpp"

// The ledger against the memory that training takes, each configuration in a process of its own.

namespace {

using pg::config::Settings;

struct Case {
  const char* name;
  std::vector<std::pair<const char*, const char*>> settings;
};

Settings settings_of(const Case& one) {
  Settings s;
  s.train.steps = 2;
  s.train.batch = 2;
  s.train.chunk = 2;
  s.eval.sequences = 1;
  s.eval.interval = 1000;
  s.eval.tail_steps = 1;
  s.schedule.warmup_steps = 0;
  for (const auto& [path, value] : one.settings) s = pg::config::with(s, path, value);
  return s;
}

double resident_bytes() {
  ::malloc_trim(0);
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// Largest resident memory while two steps are trained, less what the process had before.
double trained_bytes(const Settings& settings, const pg::data::Corpus& corpus) {
  const auto alone = pg::comm::Communicator::alone();
  const double before = resident_bytes();
  pg::train::Trainer trainer(settings, corpus, alone);
  pg::record::TrialRecord record;
  trainer.run([](const pg::train::Progress&) { return true; }, record);
  return 1e6 * record.summary.peak_memory_mb - before;
}

/// Counts what tensors take, in front of the library's own allocator.
class CountingAllocator : public at::Allocator {
 public:
  explicit CountingAllocator(at::Allocator* base) : base_(base) {}
  at::DataPtr allocate(std::size_t n) const override {
    now += static_cast<std::int64_t>(n);
    most = std::max(most, now);
    auto* held = new Held{base_->allocate(n), static_cast<std::int64_t>(n)};
    return {held->data.get(), held, &release, at::kCPU};
  }
  static inline std::int64_t now = 0;
  static inline std::int64_t most = 0;

 private:
  struct Held {
    at::DataPtr data;
    std::int64_t n;
  };
  static void release(void* context) {
    auto* held = static_cast<Held*>(context);
    now -= held->n;
    delete held;
  }
  at::Allocator* base_;
};

struct Figures {
  double live;
  double measured;
  double predicted;
  double base;
};

Figures in_this_process(const Settings& settings) {
  const auto corpus =
      pg::data::synthetic_corpus({.symbols = 52, .length = 20'000, .seed = 1}, 0.2);
  pg::train::use_one_thread();
  // Libraries load and compile what they need.
  Settings tiny = settings;
  tiny.model.n_layers = 1;
  tiny.model.d_model = 64;
  tiny.model.n_heads = 2;
  tiny.model.n_kv_heads = 0;
  tiny.model.d_ff = 64;
  tiny.model.d_head = 0;
  tiny.model.vocab_size = 0;
  tiny.data.sequence_length = 64;
  (void)trained_bytes(tiny, corpus);
  const double base = resident_bytes();
  static CountingAllocator counting(c10::GetDefaultCPUAllocator());
  c10::SetCPUAllocator(&counting, 1);
  auto job = pg::train::job_of(settings, corpus.vocabulary(), {}, 1);
  job.saves = false;
  double predicted = 0;
  for (const auto& line : pg::shard::memory_of(job, false)) {
    if (std::string(line.name) != "base_process") predicted += static_cast<double>(line.bytes);
    if (std::getenv("PG_LINES")) std::cout << line.name << " " << line.bytes / 1e6 << std::endl;
  }
  const std::int64_t before = CountingAllocator::now;
  CountingAllocator::most = before;
  const double measured = trained_bytes(settings, corpus);
  return {static_cast<double>(CountingAllocator::most - before), measured, predicted, base};
}

Figures in_another_process(const Settings& settings) {
  std::array<int, 2> ends{};
  BOOST_REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const Figures figures = in_this_process(settings);
    const bool written = ::write(ends[1], &figures, sizeof figures) == sizeof figures;
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  Figures figures{};
  const auto size = ::read(ends[0], &figures, sizeof figures);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  BOOST_REQUIRE(size == static_cast<ssize_t>(sizeof figures));
  BOOST_REQUIRE(status == 0);
  return figures;
}

using Pairs = std::vector<std::pair<const char*, const char*>>;
const Pairs kGpt2 = {{"model.arch", "gpt"},       {"model.n_layers", "2"},
                     {"model.d_model", "768"},    {"model.n_heads", "12"},
                     {"model.d_ff", "3072"},      {"model.activation", "gelu_tanh"},
                     {"model.positions", "learned"}, {"model.vocab_size", "50257"},
                     {"data.sequence_length", "256"}, {"train.batch", "4"}, {"train.chunk", "4"}};
const Pairs kLlama = {{"model.arch", "llama"},    {"model.n_layers", "2"},
                      {"model.d_model", "1024"},  {"model.n_heads", "16"}, {"model.n_kv_heads", "4"},
                      {"model.d_ff", "2816"},     {"model.activation", "silu"},
                      {"model.gated_mlp", "true"}, {"model.positions", "rope"},
                      {"model.tied_embeddings", "false"}, {"model.vocab_size", "8000"},
                      {"data.sequence_length", "512"}, {"train.batch", "6"}, {"train.chunk", "2"}};
const Pairs kT5 = {{"model.arch", "t5"},          {"model.n_layers", "3"},
                   {"model.d_model", "512"},      {"model.n_heads", "8"}, {"model.d_head", "64"},
                   {"model.d_ff", "1024"},        {"model.activation", "gelu_tanh"},
                   {"model.gated_mlp", "true"},   {"model.positions", "relative"},
                   {"model.tied_embeddings", "false"}, {"data.objective", "span_corruption"},
                   {"data.sequence_length", "512"}, {"train.batch", "8"}, {"train.chunk", "4"}};
const Pairs kResNetBk = {{"model.arch", "resnet_bk"}, {"model.n_layers", "4"},
                         {"model.d_model", "256"},    {"model.n_heads", "4"},
                         {"model.d_ff", "512"},       {"model.positions", "learned"},
                         {"model.tied_embeddings", "false"},
                         {"data.sequence_length", "512"}, {"train.batch", "16"}, {"train.chunk", "16"}};
const Pairs kNano = {{"model.d_model", "64"}, {"train.batch", "64"}, {"train.chunk", "64"}};

void check(const Case& one) {
  for (const char* checkpointing : {"false", "true"}) {
    Settings settings = settings_of(one);
    settings = pg::config::with(settings, "model.activation_checkpointing", checkpointing);
    const Figures f = in_another_process(settings);
    std::cout << fmt::format("{}, checkpointing {}: measured {:.1f} MB, predicted {:.1f} MB, "
                             "ratio {:.3f}; base {:.1f} MB; live {:.2f} MB\n",
                             one.name, checkpointing, f.measured / 1e6, f.predicted / 1e6,
                             f.predicted / f.measured, f.base / 1e6, f.live / 1e6);
    BOOST_TEST(f.predicted > 0.9 * f.measured);
    BOOST_TEST(f.predicted < 1.1 * f.measured);
  }
}

BOOST_AUTO_TEST_CASE(nano) { check({"nano", kNano}); }
BOOST_AUTO_TEST_CASE(gpt2) { check({"gpt2", kGpt2}); }
BOOST_AUTO_TEST_CASE(llama) { check({"llama", kLlama}); }
BOOST_AUTO_TEST_CASE(t5) { check({"t5", kT5}); }
BOOST_AUTO_TEST_CASE(resnet_bk) { check({"resnet_bk", kResNetBk}); }

}  // namespace
