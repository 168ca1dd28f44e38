#include "study/runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/files.hpp"
#include "base/text.hpp"
#include "checkpoint/store.hpp"
#include "config/study.hpp"
#include "data/corpus.hpp"
#include "record/run_directory.hpp"
#include "scheduler/cost_model.hpp"
#include "study/calibrate.hpp"
#include "study/crew.hpp"
#include "study/launch_check.hpp"
#include "study/load_corpus.hpp"
#include "study/progress.hpp"
#include "study/provenance.hpp"
#include "study/schedule_record.hpp"
#include "study/stages.hpp"
#include "study/stop_signal.hpp"
#include "study/trial.hpp"
#include "study/workload.hpp"
#include "train/large_blocks.hpp"
#include "train/trainer.hpp"

namespace pg::study {
namespace {

using record::TrialStatus;
using record::TrialSummary;

/// The study as one rank sees it. Every rank holds the same results and plans the same trials.
class Runner {
 public:
  Runner(const config::Study& study, const RunOptions& options, const Crew::Ranks& ranks)
      : study_(study),
        options_(options),
        machine_(ranks),
        world_(ranks.world),
        run_(options.run_directory),
        corpus_(load_corpus(study.base.data)) {
    const Build build = describe_build();
    require_same_on_all_ranks(world_, study_, build, corpus_);
    data::require_length(corpus_, study_.base.data.sequence_length);
    std::string known;
    if (world_.rank() == 0) {
      report_.emplace(run_, stderr_is_watched());
      open_run_directory();
      const auto floor = loss_floor(study_.base, corpus_);
      launch_ = record_launch(run_, corpus_, floor, build, world_.size(), options.command_line);
      known = scan_finished();
      announce(build, floor);
    }
    launch_ = world_.broadcast(launch_);
    const auto list = nlohmann::json::parse(world_.broadcast(known));
    for (const auto& item : list) {
      TrialSummary summary = summary_from(item);
      finished_.emplace(summary.id, std::move(summary));
    }
  }

  ExitCode run() {
    bool go_on = run_stage("grid", grid_trials(study_));
    if (study_.refine.enabled) {
      for (std::int64_t round = 0; go_on && round < study_.refine.max_rounds; ++round) {
        const auto trials = refine_trials(study_, results_);
        if (trials.empty()) break;
        go_on = run_stage("refine", trials);
      }
    }
    if (go_on && study_.transfer.enabled) go_on = run_transfer();
    return finish(go_on);
  }

 private:
  // What the planning of later stages needs of a trial travels as JSON; the rest stays in its file.
  static nlohmann::json to_json(const TrialSummary& s) {
    return {{"id", s.id},     {"stage", s.stage},   {"status", record::to_string(s.status)},
            {"lr", s.lr},     {"batch", s.batch},   {"varied", s.varied},
            {"seed", s.seed}, {"reason", s.reason}, {"loss", s.final_val_loss}};
  }
  static TrialSummary summary_from(const nlohmann::json& item) {
    TrialSummary s;
    s.id = item.at("id");
    s.stage = item.at("stage");
    s.status = record::trial_status(item.at("status"));
    s.lr = item.at("lr");
    s.batch = item.at("batch");
    s.seed = item.at("seed");
    s.final_val_loss = item.at("loss");
    s.reason = item.at("reason");
    item.at("varied").get_to(s.varied);
    return s;
  }

  void open_run_directory() {
    make_writable_folder(run_.root());
    record::remove_unfinished(run_);
    if (std::filesystem::exists(run_.study_file())) {
      const config::Study old = config::load_study(run_.study_file(), {});
      const auto changed = config::differences(study_, old);
      if (!changed.empty()) {
        throw_settings(fmt::format("{} holds another study:\n    {}", run_.root().string(),
                                   join(changed, "\n    ")),
                       "the settings it was started with",
                       "the same command line as before, or another --run-dir");
      }
    } else {
      write_file(run_.study_file(), config::print_study(study_));
    }
  }

  /// Reads every result there is; sets damaged ones aside. Returns the list as JSON.
  std::string scan_finished() {
    nlohmann::json list = nlohmann::json::array();
    const record::Scan scan = record::scan_trials(run_);
    for (const record::DamagedTrial& damaged : scan.damaged) {
      auto aside = damaged.file;
      aside += ".damaged";
      std::error_code failure;
      std::filesystem::rename(damaged.file, aside, failure);
      if (failure) {
        throw_io(fmt::format("cannot set the damaged {} aside", damaged.file.string()),
                 failure.value(), "write permission in the run directory");
      }
      report_->say(fmt::format("warning: {}\n  set aside as {}; the trial will be trained again",
                               damaged.reason, aside.string()));
    }
    for (const record::TrialRecord& record : scan.records) {
      if (record.summary.status != TrialStatus::failed) list.push_back(to_json(record.summary));
    }
    return list.dump();
  }

  void announce(const Build& build, std::optional<double> floor) {
    report_->say(fmt::format("pgmpi {} on {} rank{}, {}", build.version, world_.size(),
                             world_.size() == 1 ? "" : "s", build.instruction_set));
    report_->say(fmt::format("study {} in {}", study_.name, run_.root().string()));
    report_->say("corpus: " + corpus_.description);
    if (floor) {
      report_->say(fmt::format(
          "no model can expect a validation loss below {:.4f} nats per token: the language's own",
          *floor));
    }
    report_->say(fmt::format("model: {}, {} parameters", study_.base.model.arch,
                             train::count_parameters(study_.base, corpus_.vocabulary())));
    if (!study_.base.model.causal) {
      report_->say(
          "warning: model.causal = false lets every position see the token it is to predict; the "
          "loss says nothing about language modelling");
    }
    warn_of_repetition();
  }

  void warn_of_repetition() {
    constexpr double kMaxEpochs = 4;  // beyond, repeated data lose value fast (Muennighoff 2023)
    const auto trials = grid_trials(study_);
    const auto epochs = [&](const Trial& trial) {
      return static_cast<double>(train::tokens_in(trial.settings)) /
             static_cast<double>(corpus_.train.size());
    };
    const auto repeating = std::count_if(trials.begin(), trials.end(),
                                         [&](const Trial& t) { return epochs(t) > kMaxEpochs; });
    if (repeating == 0) return;
    const auto worst =
        std::max_element(trials.begin(), trials.end(),
                         [&](const Trial& a, const Trial& b) { return epochs(a) < epochs(b); });
    report_->say(fmt::format(
        "warning: {} of {} trials read the training text more than {} times, {} {:.0f} times: "
        "their losses measure repetition too",
        repeating, trials.size(), kMaxEpochs, worst->id, epochs(*worst)));
  }

  /// Trains what is missing of `trials` and adds all of them to the results, in the order given.
  /// Collective. Returns false if the run is to stop.
  bool run_stage(const std::string& stage, std::vector<Trial> trials) {
    std::vector<const Trial*> missing;
    for (const Trial& trial : trials) {
      if (!finished_.contains(trial.id)) missing.push_back(&trial);
    }
    for (const Trial& trial : trials) planned_.insert(trial.id);
    const bool complete = missing.empty() || train_all(stage, missing);
    for (const Trial& trial : trials) {
      const auto found = finished_.find(trial.id);
      if (found != finished_.end()) results_.push_back(found->second);
    }
    return complete;
  }

  bool run_transfer() {
    const auto planned = transfer_trials(study_, results_);
    std::vector<Trial> trials;
    for (const TransferTrial& t : planned) {
      const bool known = std::any_of(results_.begin(), results_.end(),
                                     [&](const TrialSummary& s) { return s.id == t.trial.id; }) ||
                         std::any_of(trials.begin(), trials.end(),
                                     [&](const Trial& other) { return other.id == t.trial.id; });
      if (!known) trials.push_back(t.trial);
    }
    if (world_.rank() == 0 && !planned.empty()) {
      write_file(run_.root() / "transfer.json", transfer_json(planned));
    }
    return trials.empty() || run_stage("transfer", std::move(trials));
  }

  bool train_all(const std::string& stage, const std::vector<const Trial*>& trials) {
    const auto steps_before = steps_on_disk(trials);
    if (report_) {
      std::vector<std::string> ids;
      std::int64_t tokens = 0;
      for (std::size_t i = 0; i < trials.size(); ++i) {
        const config::Settings& s = trials[i]->settings;
        ids.push_back(trials[i]->id);
        tokens += train::tokens_in(s) / s.train.steps *
                  (s.train.steps - std::min(s.train.steps, steps_before[i]));
      }
      say_what_goes_on(trials, steps_before);
      report_->start_stage(stage, std::move(ids), tokens, tally());
    }
    if (!cost_model_) {
      // A model that is shared out may not fit on the one rank that would be timed.
      cost_model_ = study_.shard.degree == 1
                        ? calibrate(trials, corpus_, machine_.world, machine_.teams,
                                    machine_.placement.device, calibration_budget(trials))
                        : scheduler::CostModel();
    }
    nlohmann::json ended = nlohmann::json::array();
    const checkpoint::Policy checkpoints{.interval_s = study_.checkpoint.interval_s,
                                         .interval = study_.checkpoint.interval,
                                         .keep_every = study_.checkpoint.keep_every,
                                         .restart_damaged = options_.restart_damaged};
    Crew crew(machine_, corpus_, run_, launch_, checkpoints,
              {.wants_stop = [&] { return wants_stop(); },
               .say = [&](const std::string& text) { say(text); },
               .look_around =
                   [&](comm::Board& board) {
                     if (report_ && report_->due()) report_->update(board.statuses());
                   },
               .ended =
                   [&](const TrialSummary& summary) {
                     ended.push_back(to_json(summary));
                     if (report_) write_results(std::chrono::seconds(10));
                   }});
    const StageReport outcome = crew.train(trials, steps_before, *cost_model_, options_.deadline);
    for (const std::string& list : world_.all_gather(ended.dump())) {
      for (const auto& item : nlohmann::json::parse(list)) {
        TrialSummary summary = summary_from(item);
        finished_.insert_or_assign(summary.id, std::move(summary));
      }
    }
    if (report_) {
      write_results();
      record_schedule(run_, launch_, stage, trials, world_.size(), outcome);
      report_->say(outcome_text(stage, outcome, world_.size()));
    }
    return outcome.complete;
  }

  /// Whether this rank was told to stop. A launcher sends SIGTERM to the rest when a rank has died:
  /// that is no polite stop, and the watchdog ends it.
  bool wants_stop() {
    if (options_.watchdog != nullptr && options_.watchdog->peer_lost()) return false;
    return stop_.received() || stop_file_is_there();
  }

  /// Looked for by rank 0, now and then.
  bool stop_file_is_there() {
    const auto now = std::chrono::steady_clock::now();
    if (world_.rank() == 0 && now - looked_for_stop_file_ > std::chrono::seconds(1)) {
      looked_for_stop_file_ = now;
      std::error_code failure;
      found_stop_file_ = found_stop_file_ || std::filesystem::exists(run_.stop_file(), failure);
    }
    return found_stop_file_;
  }

  /// Any rank may have something to say of the trial that it leads.
  void say(const std::string& text) {
    if (report_) {
      report_->say(text);
    } else {
      fmt::print(stderr, "{}\n", text);
    }
  }

  /// Steps that the newest generation of each trial has by its name. Collective: what rank 0 sees.
  std::vector<std::int64_t> steps_on_disk(const std::vector<const Trial*>& trials) const {
    std::vector<std::string> words;
    if (world_.rank() == 0) {
      for (const Trial* trial : trials) {
        const auto files = checkpoint::list(run_.generations_folder(trial->id));
        words.push_back(std::to_string(files.empty() ? 0 : files.front().step));
      }
    }
    std::vector<std::int64_t> steps;
    for (const std::string& word : split(world_.broadcast(join(words, " ")), ' ')) {
      steps.push_back(parse_integer(word).value_or(0));
    }
    require(steps.size() == trials.size(), "a step for every trial");
    return steps;
  }

  void say_what_goes_on(const std::vector<const Trial*>& trials,
                        const std::vector<std::int64_t>& steps_before) {
    constexpr std::size_t kMost = 5;
    std::vector<std::string> words;
    for (std::size_t i = 0; i < trials.size(); ++i) {
      if (steps_before[i] > 0)
        words.push_back(fmt::format("{} from step {}", trials[i]->id, steps_before[i]));
    }
    if (words.empty()) return;
    const std::size_t n = words.size();
    words.resize(std::min(n, kMost));
    report_->say(fmt::format("going on with {}{}", join(words, ", "),
                             n > kMost ? fmt::format(" and {} others", n - kMost) : ""));
  }

  /// A little of what the stage will take, so that a small study is not delayed by its own plan.
  [[nodiscard]] double calibration_budget(const std::vector<const Trial*>& trials) const {
    double flops = 0;
    for (const Trial* trial : trials) {
      const scheduler::Work work = work_of(trial->settings, corpus_);
      flops += work.chunk_flops * static_cast<double>(work.n_chunks * work.steps);
    }
    const double guess_s = flops / scheduler::Assumptions().flops_per_s / world_.size();
    return std::clamp(0.02 * guess_s, 0.05, 10.0);
  }

  /// Of all trials planned so far, as this rank knows them between stages.
  [[nodiscard]] Tally tally() const {
    Tally tally;
    tally.planned = static_cast<std::int64_t>(planned_.size());
    for (const auto& [id, summary] : finished_) {
      if (!planned_.contains(id)) continue;  // of a later stage, from an earlier launch
      switch (summary.status) {
        case TrialStatus::finished: ++tally.finished; break;
        case TrialStatus::diverged: ++tally.diverged; break;
        case TrialStatus::failed: ++tally.failed; break;
      }
    }
    return tally;
  }

  /// Rewrites results.csv from the files, unless that was done less than `period` ago.
  void write_results(std::chrono::seconds period) {
    if (std::chrono::steady_clock::now() - results_written_ >= period) write_results();
  }
  std::vector<TrialSummary> write_results() {
    results_written_ = std::chrono::steady_clock::now();
    std::vector<TrialSummary> rows;
    for (const record::TrialRecord& record : record::scan_trials(run_).records) {
      rows.push_back(record.summary);
    }
    record::write_results_csv(run_.results_file(), rows);
    return rows;
  }

  void say_what_was_slow(const std::vector<TrialSummary>& rows) {
    const auto is_slow = [](const TrialSummary& row) { return !row.plain_operators.empty(); };
    const auto n = std::count_if(rows.begin(), rows.end(), is_slow);
    if (n == 0) return;
    const auto first = std::find_if(rows.begin(), rows.end(), is_slow);
    report_->say(
        fmt::format("{} of {} trials used operators without a fast path here (in a forward "
                    "pass of {}: {}); results.csv counts them",
                    n, rows.size(), first->id, first->plain_operators));
  }

  ExitCode finish(bool complete) {
    const Tally total = tally();
    if (report_) {
      const std::vector<TrialSummary> rows = write_results();
      report_->close(complete ? "finished" : "stopped", total);
      report_->say(fmt::format("{} trials: {} finished, {} diverged, {} failed", total.planned,
                               total.finished, total.diverged, total.failed));
      say_what_was_slow(rows);
      for (const auto& [id, summary] : finished_) {
        if (summary.status == TrialStatus::failed) {
          report_->say(fmt::format("failed: {}: {}", id, summary.reason));
        }
      }
      report_->say(complete ? fmt::format("results: {}\nnext: pgpost fit {}",
                                          run_.results_file().string(), run_.root().string())
                            : "stopped early; every finished trial is saved, and the others as "
                              "far as they came: run the same command");
    }
    if (world_.rank() == 0 && found_stop_file_) std::filesystem::remove(run_.stop_file());
    if (!complete) return ExitCode::stopped;
    return total.failed > 0 ? ExitCode::failed_trials : ExitCode::done;
  }

  const config::Study& study_;
  const RunOptions& options_;
  Crew::Ranks machine_;
  const comm::Communicator& world_;
  std::optional<scheduler::CostModel> cost_model_;  ///< measured; the same on every rank
  record::RunDirectory run_;
  data::Corpus corpus_;
  StopSignal stop_;
  bool found_stop_file_ = false;
  std::chrono::steady_clock::time_point looked_for_stop_file_;
  std::string launch_;
  std::map<std::string, TrialSummary> finished_;  ///< on disk, by id; same on every rank
  std::vector<TrialSummary> results_;             ///< in the order of the plan
  std::set<std::string> planned_;                 ///< ids of all trials planned so far
  std::optional<ProgressReport> report_;          ///< rank 0 only
  std::chrono::steady_clock::time_point results_written_;
};

}  // namespace

ExitCode run_study(const config::Study& study, const RunOptions& options,
                   const Crew::Ranks& ranks) {
  train::use_one_thread();
  train::keep_large_blocks();
  return Runner(study, options, ranks).run();
}

}  // namespace pg::study
