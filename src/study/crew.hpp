#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/store.hpp"
#include "comm/board.hpp"
#include "comm/communicator.hpp"
#include "comm/flight_recorder.hpp"
#include "data/corpus.hpp"
#include "record/run_directory.hpp"
#include "record/trial_record.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/simulate.hpp"
#include "study/trial.hpp"
#include "train/trainer.hpp"

namespace pg::study {

/// What a stage took, and what was expected of it.
struct StageReport {
  bool complete = false;       ///< every trial has ended
  std::size_t n_left_out = 0;  ///< trials that could not end before the deadline
  double predicted_s = 0;
  double predicted_efficiency = 1;
  double makespan_s = 0;
  double efficiency = 1;  ///< one-rank seconds of all trials / (ranks * makespan)
  std::vector<scheduler::Timeline::Bar> bars;  ///< what ran where, as it was
};

/// All ranks, working through lists of trials in teams. Every rank holds a copy of the scheduler
/// and reads the same log of ended trials, so all know who does what next without asking anybody:
/// teams form and dissolve while the others train.
class Crew {
 public:
  struct Ranks {
    const comm::Communicator& world;
    const comm::Teams& teams;
    comm::FlightRecorder& recorder;
    train::Placement placement = {};
  };
  /// What a crew asks of the study around it. Called on every rank, often where it says so.
  struct Hooks {
    std::function<bool()> wants_stop;                 ///< often; of this rank
    std::function<void(const std::string&)> say;      ///< on the leader of a team: tell the user
    std::function<void(comm::Board&)> look_around;    ///< often: show progress
    std::function<void(record::TrialSummary)> ended;  ///< on the leader of the trial's team
  };

  Crew(Ranks ranks, const data::Corpus& corpus, const record::RunDirectory& run, std::string launch,
       checkpoint::Policy checkpoints, Hooks hooks);

  /// Trains these trials, each on a team and from its newest generation (of `steps_before`, for the
  /// times that are expected), and writes their results. `model` learns from them. In time before
  /// the deadline every running trial is saved and the crew stops; no trial starts that could not
  /// reach that. Collective; the same report on every rank.
  StageReport train(const std::vector<const Trial*>& trials,
                    const std::vector<std::int64_t>& steps_before, scheduler::CostModel& model,
                    std::optional<std::chrono::steady_clock::time_point> deadline);

 private:
  using Clock = std::chrono::steady_clock;
  struct Stage;

  [[nodiscard]] bool must_stop(const Stage& stage) const;
  void read_log(Stage& stage);
  void take(Stage& stage, const std::vector<scheduler::Start>& starts);
  void train_one(Stage& stage, const scheduler::Start& start);
  bool run_trial(Stage& stage, const scheduler::Start& start, const comm::Communicator& team,
                 record::TrialRecord& record, train::Timing& timing);

  Ranks ranks_;
  const data::Corpus& corpus_;
  const record::RunDirectory& run_;
  std::string launch_;
  checkpoint::Policy checkpoints_;
  Hooks hooks_;
};

}  // namespace pg::study
