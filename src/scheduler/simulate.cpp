#include "scheduler/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <utility>

#include "base/error.hpp"

namespace pg::scheduler {

namespace {

struct End {
  double at_s;
  std::size_t job;
  Measurement measurement;
  bool operator>(const End& other) const {
    return std::pair(at_s, job) > std::pair(other.at_s, other.job);
  }
};

}  // namespace

Truth truth_of_model(const CostModel& model, const Work& work, int size) {
  const Rates rates = model.rates(work);
  Measurement measurement;
  measurement.size = size;
  measurement.steps_done = work.steps;
  measurement.startup_s = rates.startup_s.value;
  measurement.chunk_s = rates.chunk_s.value;
  measurement.eval_chunk_s = rates.eval_chunk_s.value;
  measurement.step_s = rates.step_s.value;
  measurement.all_reduce_s = model.all_reduce_s(work.gradient_bytes, size);
  return {model.seconds(work, rates, size), measurement};
}

Timeline simulate(Scheduler scheduler, const TruthOf& truth,
                  const std::function<void(const Scheduler&, double now_s)>& observe) {
  const CostModel believed = scheduler.cost_model();
  const auto truth_about = [&](std::size_t job, int size) {
    return truth ? truth(job, size) : truth_of_model(believed, scheduler.works()[job], size);
  };
  Timeline timeline;
  timeline.n_ranks = scheduler.n_ranks();
  std::priority_queue<End, std::vector<End>, std::greater<>> ends;
  double now = 0;
  double work = 0;
  while (true) {
    for (const Start& start : scheduler.decide(now)) {
      const Truth about = truth_about(start.job, start.size);
      ends.push({now + about.seconds, start.job, about.measurement});
      timeline.bars.push_back({start.job, start.first_rank, start.size, now, now + about.seconds});
      work += truth_about(start.job, 1).seconds;
    }
    if (observe) observe(scheduler, now);
    if (ends.empty()) break;
    now = ends.top().at_s;
    for (; !ends.empty() && ends.top().at_s <= now; ends.pop())
      scheduler.finished(ends.top().job, now, ends.top().measurement);
  }
  require(scheduler.done(), "a study that is done when nothing runs any more");
  timeline.makespan_s = now;
  if (now > 0) timeline.efficiency = work / (timeline.n_ranks * now);
  timeline.n_plans = scheduler.n_plans();
  timeline.not_started = scheduler.out_of_time();
  std::sort(timeline.bars.begin(), timeline.bars.end(), [](const auto& a, const auto& b) {
    return std::pair(a.start_s, a.first_rank) < std::pair(b.start_s, b.first_rank);
  });
  return timeline;
}

std::string timeline_text(const Timeline& timeline, int columns, int max_lines) {
  require(columns > 0 && max_lines > 0, "room for a timeline");
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const int ranks_per_line = (timeline.n_ranks + max_lines - 1) / max_lines;
  std::string text;
  for (int rank = 0; rank < timeline.n_ranks; rank += ranks_per_line) {
    std::string line(static_cast<std::size_t>(columns), '.');
    for (const Timeline::Bar& bar : timeline.bars) {
      if (rank < bar.first_rank || rank >= bar.first_rank + bar.size) continue;
      const double per_second = columns / timeline.makespan_s;
      const auto first = static_cast<std::size_t>(bar.start_s * per_second);
      const auto last = static_cast<std::size_t>(bar.end_s * per_second);
      for (std::size_t column = first; column < std::min(last, line.size()); ++column)
        line[column] = kLetters[bar.job % kLetters.size()];
    }
    text += fmt::format("{:>6} {}\n", rank, line);
  }
  return text;
}

std::string timeline_csv(const Timeline& timeline) {
  std::string text = "job,first_rank,size,start_s,end_s\n";
  for (const Timeline::Bar& bar : timeline.bars)
    text += fmt::format("{},{},{},{:.3f},{:.3f}\n", bar.job, bar.first_rank, bar.size, bar.start_s,
                        bar.end_s);
  return text;
}

}  // namespace pg::scheduler
