#include "study/crew.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/exact_sum.hpp"
#include "base/text.hpp"
#include "study/workload.hpp"
#include "train/trainer.hpp"

namespace pg::study {
namespace {

/// How often a rank tells where it is and asks whether to stop; each may cost a round trip.
constexpr auto kPostPeriod = std::chrono::milliseconds(500);
/// How often a rank without work looks for some: soon at first, then less and less often, since
/// thousands may look at one rank's memory.
constexpr auto kShortestIdle = std::chrono::milliseconds(1);
constexpr auto kLongestIdle = std::chrono::milliseconds(64);
/// Until a generation has been written: what a disk surely does, and what files and folders take.
constexpr double kAssumedDiskBytesPerS = 100e6;
constexpr double kAssumedFileSeconds = 1;

using record::TrialStatus;

/// A trial that has ended, as an entry of the log.
struct Ended {
  std::int64_t job = 0;
  double time_s = 0;  ///< since the stage began
  scheduler::Measurement measurement;

  [[nodiscard]] comm::Board::Entry entry() const {
    const auto bits = [](double value) { return std::bit_cast<std::int64_t>(value); };
    const scheduler::Measurement& m = measurement;
    // The team's size is known from its start.
    return {job,
            m.steps_done,
            bits(time_s),
            bits(m.startup_s),
            bits(m.chunk_s),
            bits(m.eval_chunk_s),
            bits(m.step_s),
            bits(m.all_reduce_s)};
  }
  static Ended from(const comm::Board::Entry& entry) {
    const auto number = [&](std::size_t i) { return std::bit_cast<double>(entry[i]); };
    Ended ended;
    ended.job = entry[0];
    ended.time_s = number(2);
    ended.measurement = {.size = 1,
                         .steps_done = entry[1],
                         .startup_s = number(3),
                         .chunk_s = number(4),
                         .eval_chunk_s = number(5),
                         .step_s = number(6),
                         .all_reduce_s = number(7)};
    return ended;
  }
};

/// What the leader of a team saw; it has as many chunks as any of its ranks. The start is what is
/// left of `seconds` in all.
scheduler::Measurement measurement_of(const train::Timing& timing, const scheduler::Work& work,
                                      int size, double seconds) {
  const auto chunks = static_cast<double>(scheduler::max_chunks_per_rank(work.n_chunks, size));
  const double step_s = timing.chunk_s * chunks + timing.step_s + timing.all_reduce_s;
  const std::int64_t steps = timing.n_steps;
  return {.size = size,
          .steps_done = steps,
          .startup_s = std::max(0.0, seconds - static_cast<double>(steps) * step_s - timing.eval_s),
          .chunk_s = timing.chunk_s,
          .eval_chunk_s = timing.eval_chunk_s,
          .step_s = timing.step_s,
          .all_reduce_s = timing.all_reduce_s};
}

/// Value and two moments of every parameter, written and read once.
double assumed_save_s(const scheduler::Work& work) {
  return kAssumedFileSeconds +
         2 * 3 * static_cast<double>(work.gradient_bytes) / kAssumedDiskBytesPerS;
}

/// What is left after `steps` steps.
scheduler::Work remaining_work(scheduler::Work work, std::int64_t steps) {
  const std::int64_t left = std::max<std::int64_t>(1, work.steps - steps);
  work.eval_chunks = work.eval_chunks * left / work.steps;
  work.steps = left;
  return work;
}

double seconds_between(std::chrono::steady_clock::time_point from,
                       std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

/// A list of trials on its way.
struct Crew::Stage {
  const std::vector<const Trial*>& trials;
  const std::vector<std::int64_t>& steps_before;
  std::optional<Clock::time_point> deadline;
  double save_s;  ///< that writing a generation may take: assumed, then the slowest of this rank
  comm::Board board;
  scheduler::Scheduler scheduler;
  Clock::time_point began;
  std::int64_t n_read = 0;                          ///< entries of the log
  double now_s = 0;                                 ///< time of the last one
  std::optional<scheduler::Start> mine = {};        ///< what this rank is to do next
  std::vector<scheduler::Timeline::Bar> bars = {};  ///< by start
  comm::RankStatus status = {};
  double work_s = 0;  ///< of this rank
};

Crew::Crew(Ranks ranks, const data::Corpus& corpus, const record::RunDirectory& run,
           std::string launch, checkpoint::Policy checkpoints, Hooks hooks)
    : ranks_(ranks),
      corpus_(corpus),
      run_(run),
      launch_(std::move(launch)),
      checkpoints_(checkpoints),
      hooks_(std::move(hooks)) {}

StageReport Crew::train(const std::vector<const Trial*>& trials,
                        const std::vector<std::int64_t>& steps_before, scheduler::CostModel& model,
                        std::optional<Clock::time_point> deadline) {
  std::vector<scheduler::Work> works;
  double save_s = 0;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    works.push_back(remaining_work(work_of(trials[i]->settings, corpus_), steps_before[i]));
    works.back().smallest_team =
        train::degree_of(ranks_.placement.shard, comm::Teams::largest(ranks_.world.size()));
    save_s = std::max(save_s, assumed_save_s(works.back()));
  }
  // Clocks differ by microseconds between ranks of a node and more between nodes; what all must
  // agree on is rank 0's view.
  std::optional<double> deadline_s;
  if (deadline) {
    const std::string text = shortest(seconds_between(Clock::now(), *deadline));
    deadline_s = parse_real(ranks_.world.broadcast(text));
  }
  const scheduler::Scheduler scheduler(ranks_.world.size(), works, model, deadline_s,
                                       model.rates(works.front()).startup_s.value + 2 * save_s);
  StageReport report;
  const scheduler::Timeline predicted = scheduler::simulate(scheduler);
  report.predicted_s = predicted.makespan_s;
  report.predicted_efficiency = predicted.efficiency;

  Stage stage{.trials = trials,
              .steps_before = steps_before,
              .deadline = deadline,
              .save_s = save_s,
              .board = comm::Board(ranks_.world, static_cast<std::int64_t>(trials.size())),
              .scheduler = scheduler,
              .began = Clock::now()};
  take(stage, stage.scheduler.decide(0));
  auto idle = kShortestIdle;
  while (!stage.board.stop_requested()) {
    if (stage.mine) {
      train_one(stage, *std::exchange(stage.mine, std::nullopt));
      idle = kShortestIdle;
      continue;
    }
    read_log(stage);
    if (stage.mine) continue;
    if (stage.scheduler.done()) break;
    ranks_.recorder.progress();
    if (must_stop(stage)) stage.board.request_stop();
    hooks_.look_around(stage.board);
    std::this_thread::sleep_for(idle);
    idle = std::min(2 * idle, kLongestIdle);
  }
  stage.status.job = -1;
  stage.board.post(stage.status);
  ranks_.world.wait_for_all([&] {
    ranks_.recorder.progress();
    hooks_.look_around(stage.board);
  });

  read_log(stage);
  stage.mine.reset();
  model = stage.scheduler.cost_model();  // what it has learnt
  report.n_left_out = stage.scheduler.left_out().size();
  report.complete = stage.n_read == static_cast<std::int64_t>(trials.size());
  report.makespan_s = stage.now_s;
  report.bars = stage.bars;
  for (const scheduler::Slot& slot : stage.scheduler.running()) {  // interrupted
    for (auto& bar : report.bars) {
      if (bar.job == slot.job) bar.end_s = seconds_between(stage.began, Clock::now());
    }
  }
  ExactSum work;
  work.add(stage.work_s);
  auto words = work.words();
  ranks_.world.all_reduce(words);
  const double rank_seconds = stage.now_s * ranks_.world.size();
  if (rank_seconds > 0) report.efficiency = ExactSum::from_words(words).value() / rank_seconds;
  return report;
}

/// Told to, or it is time to save what runs before the deadline.
bool Crew::must_stop(const Stage& stage) const {
  if (hooks_.wants_stop()) return true;
  return stage.deadline && seconds_between(Clock::now(), *stage.deadline) < 2 * stage.save_s;
}

/// Feeds what has ended since to this rank's copy of the scheduler.
void Crew::read_log(Stage& stage) {
  for (const comm::Board::Entry& entry : stage.board.entries_from(stage.n_read)) {
    Ended ended = Ended::from(entry);
    const auto job = static_cast<std::size_t>(ended.job);
    const auto bar = std::find_if(stage.bars.begin(), stage.bars.end(),
                                  [&](const auto& b) { return b.job == job; });
    require(bar != stage.bars.end(), "an entry of a trial that has started");
    ended.measurement.size = bar->size;
    stage.now_s = std::max(stage.now_s, ended.time_s);
    bar->end_s = stage.now_s;
    stage.scheduler.finished(job, stage.now_s, ended.measurement);
    ++stage.n_read;
    take(stage, stage.scheduler.decide(stage.now_s));
  }
}

void Crew::take(Stage& stage, const std::vector<scheduler::Start>& starts) {
  const int rank = ranks_.world.rank();
  for (const scheduler::Start& start : starts) {
    stage.bars.push_back({start.job, start.first_rank, start.size, stage.now_s, stage.now_s});
    if (rank < start.first_rank || rank >= start.first_rank + start.size) continue;
    require(!stage.mine, "one trial at a time");
    stage.mine = start;
  }
}

void Crew::train_one(Stage& stage, const scheduler::Start& start) {
  const Trial& trial = *stage.trials[start.job];
  const comm::Communicator& team = ranks_.teams.of_size(start.size);
  const auto started = Clock::now();
  record::TrialRecord record;
  record.summary.id = trial.id;
  record.summary.stage = trial.stage;
  record.summary.varied = trial.varied;
  record.summary.launch = launch_;
  record.summary.team_size = team.size();
  record.summary.reproducible = trial.settings.train.reproducible;
  const std::int64_t tokens_before = stage.status.tokens_done;
  train::Timing timing;
  ranks_.recorder.enter_trial(trial.id, trial.settings.train.steps);
  if (!run_trial(stage, start, team, record, timing)) {
    ranks_.recorder.leave_trial();
    return;
  }
  // A trial that diverged early leaves no work behind, so that the time left stays right.
  const std::int64_t share = train::tokens_of_rank(trial.settings, team.rank(), team.size());
  const std::int64_t steps = trial.settings.train.steps;
  stage.status.tokens_done =
      tokens_before + share / steps * (steps - std::min(steps, stage.steps_before[start.job]));
  if (team.rank() == 0) {
    ranks_.recorder.state(comm::RankState::saving);
    record::write_trial(run_.metrics_file(trial.id), record);
    switch (record.summary.status) {
      case TrialStatus::finished: ++stage.status.n_finished; break;
      case TrialStatus::diverged: ++stage.status.n_diverged; break;
      case TrialStatus::failed: ++stage.status.n_failed; break;
    }
    const auto now = Clock::now();
    const scheduler::Measurement measurement = measurement_of(
        timing, stage.scheduler.works()[start.job], start.size, seconds_between(started, now));
    stage.board.append(
        Ended{static_cast<std::int64_t>(start.job), seconds_between(stage.began, now), measurement}
            .entry());
    hooks_.ended(record.summary);
  }
  ranks_.recorder.leave_trial();
}

/// False if the run is to stop. What goes wrong on one rank of a team alone cannot be said to the
/// others, who may be inside a message to it: it ends the program, and the next start goes on.
bool Crew::run_trial(Stage& stage, const scheduler::Start& start, const comm::Communicator& team,
                     record::TrialRecord& record, train::Timing& timing) {
  const Trial& trial = *stage.trials[start.job];
  const auto fail = [&] {
    record.summary.status = TrialStatus::failed;
    record.summary.reason = describe_current_exception().message;
    return true;
  };
  std::optional<train::Trainer> trainer;
  try {
    trainer.emplace(trial.settings, corpus_, team, ranks_.placement);
  } catch (const InvalidInput&) {  // a function of settings and corpus: the same on every rank
    return fail();
  }
  checkpoint::Store store(run_.generations_folder(trial.id), checkpoints_, team, hooks_.say);
  const std::int64_t tokens_before = stage.status.tokens_done;
  auto last_post = Clock::time_point{};
  const auto observer = [&](const train::Progress& progress) {
    const auto now = Clock::now();
    ranks_.recorder.step(progress.step);
    stage.board.progress();
    if (now - last_post < kPostPeriod) return true;
    last_post = now;
    if (store.slowest_seconds() > 0) stage.save_s = store.slowest_seconds();
    stage.status.job = static_cast<std::int64_t>(start.job);
    stage.status.step = progress.step;
    stage.status.steps = progress.steps;
    stage.status.tokens_done = tokens_before + progress.tokens;
    stage.board.post(stage.status);
    if (must_stop(stage)) stage.board.request_stop();
    hooks_.look_around(stage.board);
    return !stage.board.stop_requested();
  };
  try {
    if (!trainer->run(observer, record, &store)) return false;
  } catch (const IoError&) {
    throw;                         // the disk or the network will not be better for the next trial
  } catch (const InvalidInput&) {  // of its generations, and the same on every rank
    return fail();
  } catch (...) {
    if (team.size() > 1) throw;
    return fail();
  }
  timing = trainer->timing();
  stage.work_s += timing.work_s;
  return true;
}

}  // namespace pg::study
