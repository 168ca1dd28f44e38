#include "study/runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "config/study.hpp"
#include "data/corpus.hpp"
#include "record/run_directory.hpp"
#include "study/load_corpus.hpp"
#include "study/progress.hpp"
#include "study/provenance.hpp"
#include "study/stages.hpp"
#include "study/stop_signal.hpp"
#include "study/trial.hpp"
#include "train/trainer.hpp"

namespace pg::study {
namespace {

/// How often a rank tells where it is and asks whether to stop; each may cost a round trip.
constexpr auto kPostPeriod = std::chrono::milliseconds(500);

using record::TrialStatus;
using record::TrialSummary;

void require_same_on_all_ranks(const comm::Communicator& world, const config::Study& study,
                               const Build& build, const data::Corpus& corpus) {
  const std::string mine =
      sha256_hex(config::print_study(study)) + build.program_sha256 + corpus.sha256;
  const auto all = world.all_gather(mine);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] != all[0]) {
      throw_settings(
          fmt::format("rank {} differs from rank 0 in its settings, program or corpus", rank),
          "the same on every rank", "one shared file system, or the same files on every node");
    }
  }
}

/// The study as one rank sees it. Every rank holds the same results and plans the same trials.
class Runner {
 public:
  Runner(const config::Study& study, const RunOptions& options, const comm::Communicator& world)
      : study_(study),
        world_(world),
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
    // Longest first, so that no rank is left alone with a long trial at the end.
    std::stable_sort(missing.begin(), missing.end(), [](const Trial* a, const Trial* b) {
      return train::tokens_in(a->settings) > train::tokens_in(b->settings);
    });
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
    comm::TicketBoard board(world_);
    if (report_) {
      std::vector<std::string> ids;
      std::int64_t tokens = 0;
      for (const Trial* trial : trials) {
        ids.push_back(trial->id);
        tokens += train::tokens_in(trial->settings);
      }
      report_->start_stage(stage, std::move(ids), tokens, tally());
    }
    comm::RankStatus status;
    nlohmann::json ended = nlohmann::json::array();
    const auto look_around = [&] {
      if (stop_.received()) board.request_stop();
      if (report_ && report_->due()) report_->update(board.statuses());
    };
    for (;;) {
      const std::int64_t ticket = board.take();
      if (ticket >= static_cast<std::int64_t>(trials.size()) || board.stop_requested()) break;
      const auto summary =
          train_one(*trials[static_cast<std::size_t>(ticket)], ticket, board, status, look_around);
      if (!summary) break;
      ended.push_back(to_json(*summary));
      if (world_.rank() == 0) write_results(std::chrono::seconds(10));
    }
    status.job = -1;
    board.post(status);
    world_.wait_for_all(look_around);
    for (const std::string& list : world_.all_gather(ended.dump())) {
      for (const auto& item : nlohmann::json::parse(list)) {
        TrialSummary summary = summary_from(item);
        finished_.insert_or_assign(summary.id, std::move(summary));
      }
    }
    const bool stopped = board.stop_requested();
    world_.wait_for_all([] {});  // nobody frees the board while another still reads it
    if (world_.rank() == 0) write_results(std::chrono::seconds(0));
    return !stopped;
  }

  /// Nothing if the run is to stop.
  std::optional<TrialSummary> train_one(const Trial& trial, std::int64_t ticket,
                                        comm::TicketBoard& board, comm::RankStatus& status,
                                        const std::function<void()>& look_around) {
    using Clock = std::chrono::steady_clock;
    const std::int64_t tokens_before = status.tokens_done;
    auto last_post = Clock::time_point{};
    const auto observer = [&](const train::Progress& progress) {
      const auto now = Clock::now();
      board.progress();
      if (now - last_post < kPostPeriod) return true;
      last_post = now;
      status.job = ticket;
      status.step = progress.step;
      status.steps = progress.steps;
      status.tokens_done = tokens_before + progress.tokens;
      board.post(status);
      look_around();
      return !board.stop_requested();
    };
    record::TrialRecord record;
    record.summary.id = trial.id;
    record.summary.stage = trial.stage;
    record.summary.varied = trial.varied;
    record.summary.launch = launch_;
    try {
      train::Trainer trainer(trial.settings, corpus_);
      if (!trainer.run(observer, record)) return std::nullopt;
    } catch (const IoError&) {
      throw;  // the disk will not be better for the next trial
    } catch (const std::exception&) {
      record.summary.status = TrialStatus::failed;
      record.summary.reason = describe_current_exception().message;
    }
    record::write_trial(run_.metrics_file(trial.id), record);
    switch (record.summary.status) {
      case TrialStatus::finished: ++status.n_finished; break;
      case TrialStatus::diverged: ++status.n_diverged; break;
      case TrialStatus::failed: ++status.n_failed; break;
    }
    // A trial that diverged early leaves no work behind, so that the time left stays right.
    status.tokens_done = tokens_before + train::tokens_in(trial.settings);
    return record.summary;
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
    const auto now = std::chrono::steady_clock::now();
    if (now - results_written_ < period) return;
    results_written_ = now;
    std::vector<TrialSummary> rows;
    for (const record::TrialRecord& record : record::scan_trials(run_).records) {
      rows.push_back(record.summary);
    }
    record::write_results_csv(run_.results_file(), rows);
  }

  ExitCode finish(bool complete) {
    const Tally total = tally();
    if (report_) {
      write_results(std::chrono::seconds(0));
      report_->close(complete ? "finished" : "stopped", total);
      report_->say(fmt::format("{} trials: {} finished, {} diverged, {} failed", total.planned,
                               total.finished, total.diverged, total.failed));
      for (const auto& [id, summary] : finished_) {
        if (summary.status == TrialStatus::failed) {
          report_->say(fmt::format("failed: {}: {}", id, summary.reason));
        }
      }
      report_->say(complete ? fmt::format("results: {}\nnext: pgpost fit {}",
                                          run_.results_file().string(), run_.root().string())
                            : "stopped early; every finished trial is saved, the others start "
                              "again: run the same command");
    }
    if (!complete) return ExitCode::stopped;
    return total.failed > 0 ? ExitCode::failed_trials : ExitCode::done;
  }

  const config::Study& study_;
  const comm::Communicator& world_;
  record::RunDirectory run_;
  data::Corpus corpus_;
  StopSignal stop_;
  std::string launch_;
  std::map<std::string, TrialSummary> finished_;  ///< on disk, by id; same on every rank
  std::vector<TrialSummary> results_;             ///< in the order of the plan
  std::set<std::string> planned_;                 ///< ids of all trials planned so far
  std::optional<ProgressReport> report_;          ///< rank 0 only
  std::chrono::steady_clock::time_point results_written_;
};

}  // namespace

ExitCode run_study(const config::Study& study, const RunOptions& options,
                   const comm::Communicator& world) {
  train::use_one_thread();
  return Runner(study, options, world).run();
}

}  // namespace pg::study
