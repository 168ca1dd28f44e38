#include "study/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/exact_sum.hpp"
#include "base/text.hpp"
#include "comm/exchange.hpp"
#include "study/workload.hpp"
#include "train/trainer.hpp"

namespace pg::study {
namespace {

/// Beyond these the seconds come from FLOPs and from the shapes that were measured.
constexpr std::size_t kMostShapes = 6;
constexpr int kMostReductions = 20;
constexpr int kRounds = 5;
/// Small kernels and all: what is too slow to be timed on this GPU is left out.
constexpr double kLeastGpuFlopsPerS = 5e12;

double seconds_of(const std::function<void()>& action) {
  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  action();
  return std::chrono::duration<double>(Clock::now() - started).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// For each place of a round, the median over all rounds of all ranks: one rank's bad moment does
/// not count. Collective.
std::vector<double> medians_over_ranks(const std::vector<std::vector<double>>& my_rounds,
                                       const comm::Communicator& world) {
  const std::size_t width = my_rounds.front().size();
  if (width == 0) return {};  // on every rank
  std::vector<std::string> words;
  for (const auto& round : my_rounds) {
    for (const double value : round) words.push_back(shortest(value));
  }
  std::vector<std::vector<double>> columns(width);
  for (const std::string& line : world.all_gather(join(words, " "))) {
    const auto parts = split(line, ' ');
    require(parts.size() == words.size(), "as many figures from every rank");
    for (std::size_t i = 0; i < parts.size(); ++i) {
      columns[i % width].push_back(parse_real(parts[i]).value_or(0));
    }
  }
  std::vector<double> medians;
  for (const auto& column : columns) medians.push_back(median(column));
  return medians;
}

/// A short trial of one shape on this rank alone.
class ChunkTimer {
 public:
  /// Runs a step to warm up, and from a second one guesses how many steps take `budget_s`. Where
  /// that one took much longer, of which the initial weights are a large part, it is all there is.
  ChunkTimer(config::Settings settings, const data::Corpus& corpus, at::Device device,
             double budget_s)
      : settings_(std::move(settings)), corpus_(corpus), device_(device) {
    // As in most trials, several chunks for one optimizer step.
    constexpr std::int64_t kChunks = 8;
    settings_.train.batch = kChunks * settings_.train.chunk;
    settings_.eval.sequences = kChunks * settings_.train.chunk;
    (void)run(1);  // makes the kernels
    constexpr double kMuchLonger = 4;
    const double step_s = seconds_of([&] { timing_ = run(1); });
    is_over_ = step_s > kMuchLonger * budget_s;
    steps_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(budget_s / step_s), 1, 100);
  }

  std::vector<double> round() {
    if (!is_over_) timing_ = run(steps_);
    return {timing_.chunk_s, timing_.eval_chunk_s, timing_.step_s};
  }

 private:
  train::Timing run(std::int64_t steps) {
    settings_.train.steps = steps;
    settings_.anomaly = {};
    settings_.eval.interval = settings_.eval.tail_interval = steps;
    record::TrialRecord record;
    const auto alone = comm::Communicator::alone();
    train::Trainer trainer(settings_, corpus_, alone, {.device = device_});
    trainer.run([](const auto&) { return true; }, record);
    return trainer.timing();
  }

  config::Settings settings_;
  const data::Corpus& corpus_;
  at::Device device_;
  train::Timing timing_;
  bool is_over_ = false;
  std::int64_t steps_ = 1;
};

double time_reduction(const comm::Communicator& team, std::int64_t bytes, double budget_s) {
  const auto exchange = comm::make_mpi_exchange(team);
  const auto bounds =
      comm::equal_bounds(static_cast<std::size_t>(bytes) / sizeof(float), team.size());
  std::vector<float> values(static_cast<std::size_t>(bytes) / sizeof(float), 1e-3F);
  std::vector<std::int64_t> words(2 * ExactSum::kWords + 1, 0);
  const auto once = [&] {
    return seconds_of([&] {
      exchange->reduce_scatter(values, bounds, team.size(), comm::Exchange::Order::tree)->wait();
      team.all_reduce(words);
      exchange->all_gather(values, bounds)->wait();
    });
  };
  std::vector<double> times;
  double sum = 0;
  // The members must agree on when to stop: the longest time of a round is everybody's.
  for (int i = 0; i < kMostReductions; ++i) {
    times.push_back(once());
    sum += times.back();
    std::vector<std::int64_t> enough = {sum > budget_s ? 1 : 0};
    team.all_reduce(enough);
    if (enough[0] != 0) break;
  }
  return median(times);
}

}  // namespace

scheduler::CostModel calibrate(const std::vector<const Trial*>& trials, const data::Corpus& corpus,
                               const comm::Communicator& world, const comm::Teams& teams,
                               at::Device device, double budget_s) {
  scheduler::CostModel model;
  struct Shape {
    const Trial* trial;
    scheduler::Work work;
    double flops;
  };
  std::vector<Shape> shapes;
  std::map<std::string, std::size_t> known;
  for (const Trial* trial : trials) {
    if (!data::is_long_enough(corpus, trial->settings.data.sequence_length)) continue;
    scheduler::Work work = work_of(trial->settings, corpus);
    const double flops = work.chunk_flops * static_cast<double>(work.n_chunks * work.steps);
    const auto [place, is_new] = known.emplace(work.shape, shapes.size());
    if (is_new) {
      shapes.push_back({trial, std::move(work), flops});
    } else {
      shapes[place->second].flops += flops;
    }
  }
  std::stable_sort(shapes.begin(), shapes.end(),
                   [](const Shape& a, const Shape& b) { return a.flops > b.flops; });
  if (shapes.size() > kMostShapes) shapes.resize(kMostShapes);
  if (shapes.empty()) return model;

  const double share = budget_s / static_cast<double>(shapes.size() + 1);
  const double least_flops_per_s =
      device.is_cpu() ? scheduler::Assumptions().flops_per_s : kLeastGpuFlopsPerS;
  std::vector<std::pair<const scheduler::Work*, ChunkTimer>> timers;
  for (const Shape& shape : shapes) {
    // A model whose first step alone would outlast the budget many times stays an assumption.
    constexpr double kLongestWarmUp = 20;
    if (shape.work.chunk_flops / least_flops_per_s > kLongestWarmUp) continue;
    timers.emplace_back(&shape.work,
                        ChunkTimer(shape.trial->settings, corpus, device, share / kRounds));
  }
  // Round by round over all shapes: a machine's slow moments last for seconds.
  std::vector<std::vector<double>> rounds(kRounds);
  for (auto& round : rounds) {
    for (auto& [work, timer] : timers) {
      const auto seconds = timer.round();
      round.insert(round.end(), seconds.begin(), seconds.end());
    }
  }
  const auto seconds = medians_over_ranks(rounds, world);
  for (std::size_t i = 0; i < timers.size(); ++i) {
    const scheduler::Work& work = *timers[i].first;
    model.learn(work, {.size = 1,
                       .steps_done = work.steps,
                       .startup_s = 0,
                       .chunk_s = seconds[3 * i],
                       .eval_chunk_s = seconds[3 * i + 1],
                       .step_s = seconds[3 * i + 2],
                       .all_reduce_s = 0});
  }
  const scheduler::Work& work = shapes.front().work;
  for (int size = 2; size <= comm::Teams::largest(world.size()); size *= 2) {
    const bool member = (world.rank() / size + 1) * size <= world.size();
    // Two lengths tell latency from bandwidth.
    for (const std::int64_t bytes : {work.gradient_bytes, work.gradient_bytes / 16}) {
      const double mine = member ? time_reduction(teams.of_size(size), bytes, share / 8) : 0;
      scheduler::Work message = work;
      message.gradient_bytes = bytes;
      // Ranks beyond the last whole team have nothing to say: the largest figure, not the median.
      double slowest = 0;
      for (const std::string& text : world.all_gather(shortest(mine))) {
        slowest = std::max(slowest, parse_real(text).value_or(0));
      }
      model.learn(message, {.size = size, .steps_done = work.steps, .all_reduce_s = slowest});
    }
  }
  return model;
}

}  // namespace pg::study
