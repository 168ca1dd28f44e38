#define BOOST_TEST_MODULE ledger
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <map>
#include <string>
#include <vector>

#include "config/study.hpp"
#include "ledger/advice.hpp"
#include "ledger/ledger.hpp"
#include "study/device_plan.hpp"
#include "support/support.hpp"
#include "train/derived.hpp"

namespace {

using pg::ledger::Job;
using pg::testing::check_error;

constexpr double kGib = 1024.0 * 1024 * 1024;
constexpr std::int64_t kLlama7B = 6'738'415'616;  // published

pg::config::Study study_of(const std::string& file, const std::vector<std::string>& overrides) {
  return pg::config::load_study(std::string(PG_SOURCE_DIR) + "/configs/" + file,
                                {.quick = false, .overrides = overrides});
}

/// LLaMA-2 7B with as many chunks of one sequence as there are ranks.
Job llama(int team, std::int64_t degree) {
  const auto study = study_of(
      "models/llama2-7b.yaml",
      {"train.chunk=1", fmt::format("train.batch={}", team), fmt::format("shard.degree={}", degree),
       "train.precision=bfloat16", "model.activation_checkpointing=true"});
  return pg::train::job_of(study.base, 52, study.shard, team);
}

std::map<std::string, std::int64_t> lines_of(const Job& job, bool on_gpu) {
  std::map<std::string, std::int64_t> lines;
  for (const auto& line : pg::ledger::memory_of(job, on_gpu)) lines[line.name] = line.bytes;
  return lines;
}

/// A GPT whose tensors no number of ranks divides.
Job odd_job(int degree) {
  const auto study = study_of(
      "models/gpt2-small.yaml",
      {"model.d_model=15", "model.n_heads=3", "model.d_ff=17", "model.n_layers=2",
       "model.vocab_size=53", "data.sequence_length=7", fmt::format("shard.degree={}", degree)});
  return pg::train::job_of(study.base, 52, study.shard, degree);
}

BOOST_AUTO_TEST_CASE(shards_are_what_the_library_cuts_to_the_byte) {
  for (const int degree : {2, 4, 8, 16, 64}) {
    const Job job = odd_job(degree);
    std::int64_t sum = 0;
    std::int64_t n_empty = 0;
    for (int rank = 0; rank < degree; ++rank) {
      std::int64_t expected = 0;
      for (const auto& spec : job.shape.specs) {
        const auto chunks = at::empty(spec.shape).chunk(degree, 0);
        if (static_cast<std::size_t>(rank) < chunks.size()) {
          expected += chunks[static_cast<std::size_t>(rank)].numel();
        } else {
          ++n_empty;
        }
      }
      BOOST_TEST(pg::ledger::shard_elements(job.shape.specs, degree, rank) == expected);
      sum += expected;
      if (rank > 0) continue;
      const auto lines = lines_of(job, /*on_gpu=*/false);
      BOOST_TEST(lines.at("parameters") == 4 * expected);
      BOOST_TEST(lines.at("gradients") == 4 * expected);
      BOOST_TEST(lines.at("moments") == 8 * expected);
    }
    BOOST_TEST(sum == job.n_parameters());
    BOOST_TEST((n_empty > 0) == (degree > 4));
  }
}

BOOST_AUTO_TEST_CASE(states_of_llama_7b_are_the_published_ones) {
  const std::map<int, double> published = {{4, 25.1}, {8, 12.6}, {16, 6.3}, {32, 3.1}};
  for (const auto& [n, gib] : published) {
    const Job job = llama(n, 0);
    BOOST_TEST(job.n_parameters() == kLlama7B);
    BOOST_TEST(job.degree() == n);
    const auto lines = lines_of(job, /*on_gpu=*/true);
    const auto states = lines.at("parameters") + lines.at("gradients") + lines.at("moments");
    BOOST_TEST(std::abs(static_cast<double>(states) / kGib - gib) <= 0.05);
    BOOST_TEST(lines.at("partial_sums") == 0);  // one micro-step
  }
}

BOOST_AUTO_TEST_CASE(messages_follow_the_formulas) {
  const auto p = static_cast<double>(kLlama7B);
  const auto a100 = pg::ledger::device_named("a100-80g", 32);
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-9 * b; };
  // In bfloat16 the weights of products are gathered in two bytes each; embedding, head and norms,
  // two of them a block and the last one, in four.
  const double table = 32000.0 * 4096;
  const double norms = 65 * 4096.0;
  const double gathered = 2 * (p - 2 * table - norms) + 4 * (2 * table + norms);
  {  // a node
    const Job job = llama(8, 0);
    const auto wire = pg::ledger::wire_of(job, a100);
    BOOST_TEST(near(wire.gather_forward.in_node, gathered * 7 / 8));
    BOOST_TEST(near(wire.reduce.in_node, 4 * p * 7 / 8));
    // Embedding and head, with the last norm, are gathered still.
    const double kept = 4 * (2 * table + 4096);
    BOOST_TEST(near(wire.gather_backward.in_node, (gathered - kept) * 7 / 8));
    BOOST_TEST(wire.gather_forward.between_nodes == 0);
    BOOST_TEST(wire.across.total() == 0);
  }
  {  // four nodes
    const auto wire = pg::ledger::wire_of(llama(32, 0), a100);
    BOOST_TEST(near(wire.reduce.in_node, 4 * p * 7 / 32));
    BOOST_TEST(near(wire.reduce.between_nodes, 4 * p * 24 / 32));
  }
  {  // a node's shards, replicated over four
    const auto wire = pg::ledger::wire_of(llama(32, 8), a100);
    BOOST_TEST(near(wire.reduce.in_node, 4 * p * 7 / 8));
    BOOST_TEST(wire.reduce.between_nodes == 0);
    BOOST_TEST(near(wire.across.between_nodes, 2 * 4 * p / 8 * 3 / 4));
  }
  {  // everything on every rank: an all-reduce
    const auto wire = pg::ledger::wire_of(llama(4, 1), a100);
    BOOST_TEST(near(wire.across.in_node, 2 * 4 * p * 3 / 4));
    BOOST_TEST(wire.reduce.total() == 0);
  }
  {  // three micro-steps: the embedding is gathered once, the sums go three times
    Job job = llama(8, 0);
    job.n_chunks = 24;
    const double first = 4 * table;
    const auto wire = pg::ledger::wire_of(job, a100);
    BOOST_TEST(job.micro_steps() == 3);
    BOOST_TEST(near(wire.reduce.in_node, 3 * 4 * p * 7 / 8));
    BOOST_TEST(near(wire.gather_forward.in_node, (3 * gathered - 2 * first) * 7 / 8));
    job.shard.reshard_after_forward = false;
    const auto once = pg::ledger::wire_of(job, a100);
    BOOST_TEST(near(once.gather_forward.in_node, gathered * 7 / 8));
    BOOST_TEST(once.gather_backward.total() == 0);
    job.precision = "float32";
    BOOST_TEST(near(pg::ledger::wire_of(job, a100).gather_forward.in_node, 4 * p * 7 / 8));
  }
}

BOOST_AUTO_TEST_CASE(counters_of_partial_sums) {
  for (const auto& [n_chunks, buffers] :
       std::map<std::int64_t, std::int64_t>{{1, 0}, {2, 2}, {3, 2}, {4, 3}, {7, 3}, {8, 4}}) {
    Job job = odd_job(1);
    job.n_chunks = n_chunks;
    const auto lines = lines_of(job, /*on_gpu=*/false);
    BOOST_TEST(lines.at("partial_sums") == buffers * lines.at("parameters"));
  }
}

BOOST_AUTO_TEST_CASE(checkpointing_and_smaller_chunks_hold_less) {
  const auto activations = [](const std::vector<std::string>& settings) {
    const auto study = study_of("models/gpt2-small.yaml", settings);
    return lines_of(pg::train::job_of(study.base, 52, {}, 1), true).at("activations");
  };
  const auto whole = activations({"train.chunk=8"});
  const auto fewer = activations({"train.chunk=4"});
  BOOST_TEST(whole > 1.9 * static_cast<double>(fewer));
  BOOST_TEST(activations({"train.chunk=8", "model.activation_checkpointing=true"}) < whole / 3);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_names_what_does) {
  struct Case {
    const char* file;
    const char* device;
    int ranks;
    std::vector<std::string> settings;
  };
  const std::vector<Case> cases = {
      {"models/llama2-7b.yaml", "a100-80g", 32, {}},
      {"models/llama2-7b.yaml", "a100-40g", 1, {"train.chunk=1"}},
      {"models/llama2-13b.yaml", "h100-80g", 8, {"data.sequence_length=4096"}},
      {"models/gpt2-large.yaml", "a100-40g", 2, {"train.chunk=64", "data.sequence_length=1024"}},
      {"models/t5-xxl.yaml", "h200-141g", 16, {"data.objective=span_corruption"}},
      {"studies/tier2.yaml", "a100-40g", 1, {"model.activation_checkpointing=false"}},
  };
  for (const Case& one : cases) {
    const auto study = study_of(one.file, one.settings);
    const auto plan = pg::study::plan_for_device(study, one.ranks, one.device);
    BOOST_REQUIRE_MESSAGE(plan.warnings.size() == 1, one.file);
    const auto advice =
        pg::ledger::nearest_fit(plan.rows[plan.largest].ledger.job, one.ranks, plan.device);
    BOOST_REQUIRE_MESSAGE(advice, one.file);
    BOOST_TEST(plan.warnings[0].find(advice->words()) != std::string::npos);
    BOOST_TEST_MESSAGE(one.file << " on " << one.device << ": " << advice->words());
    // The words as they would be typed.
    std::vector<std::string> settings = one.settings;
    settings.insert(settings.end(), advice->settings.begin(), advice->settings.end());
    const int ranks = advice->n_ranks > 0 ? advice->n_ranks : one.ranks;
    const auto again = pg::study::plan_for_device(study_of(one.file, settings), ranks, one.device);
    BOOST_TEST(again.warnings.empty(), one.file << ": " << advice->words());
  }
}

BOOST_AUTO_TEST_CASE(nothing_helps_where_nothing_can) {
  auto device = pg::ledger::device_named("a100-40g", 1);
  device.memory_bytes = 1000;
  BOOST_TEST(!pg::ledger::nearest_fit(odd_job(1), 1, device));
}

BOOST_AUTO_TEST_CASE(a_step_takes_what_bounds_it) {
  const Job job = llama(8, 0);
  auto device = pg::ledger::device_named("a100-80g", 8);
  const auto time = pg::ledger::step_time(job, device);
  // 8 FLOPs for each parameter beside the embedding and token, attention and the head's pass apart.
  const double tokens = 256;
  const double least =
      8.0 * (kLlama7B - 2 * 32000 * 4096.0) * tokens / (312e12 * device.efficiency);
  BOOST_TEST(time.compute_s > least);
  BOOST_TEST(time.compute_s < 1.1 * least);
  device.half_flops *= 1000;
  const auto fast = pg::ledger::step_time(job, device);
  BOOST_TEST(std::string(fast.bound) == "the link inside a node");
  BOOST_TEST(fast.exposed_s > time.exposed_s);
  device.node_link_bytes_per_s *= 1e6;
  BOOST_TEST(std::string(pg::ledger::step_time(job, device).bound) == "memory bandwidth");
  Job apart = job;
  apart.shard.prefetch = 0;
  const auto waits = pg::ledger::step_time(apart, pg::ledger::device_named("a100-80g", 8));
  BOOST_TEST(waits.exposed_s == waits.messages_s);
}

BOOST_AUTO_TEST_CASE(an_unknown_device_is_told_the_known_ones) {
  const auto study = study_of("models/gpt2-small.yaml", {});
  check_error([&] { (void)pg::study::plan_for_device(study, 1, "a100-80"); }, pg::ExitCode::usage,
              {"a100-80", "a100-40g", "a100-80g", "h100-80g", "h200-141g", "cpu"});
}

}  // namespace
