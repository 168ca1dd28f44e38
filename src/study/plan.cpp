#include "study/plan.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "data/corpus.hpp"
#include "scheduler/scheduler.hpp"
#include "study/calibrate.hpp"
#include "study/load_corpus.hpp"
#include "study/trial.hpp"
#include "study/workload.hpp"
#include "train/large_blocks.hpp"
#include "train/trainer.hpp"

namespace pg::study {
namespace {

constexpr double kCalibrationSeconds = 3;

Plan plan_of(const config::Study& study, const std::vector<Trial>& trials,
             const data::Corpus& corpus) {
  Plan plan;
  plan.study = study.name;
  plan.adds_trials = study.refine.enabled || study.transfer.enabled;
  for (const Trial& trial : trials) {
    const std::int64_t tokens = train::tokens_in(trial.settings);
    const double flops = 3 * forward_flops_per_token(trial.settings, corpus.vocabulary()) *
                         static_cast<double>(tokens);
    plan.rows.push_back({trial.id, train::count_parameters(trial.settings, corpus.vocabulary()),
                         trial.settings.train.steps, tokens, flops});
    plan.tokens += tokens;
    plan.flops += flops;
  }
  return plan;
}

data::Corpus corpus_of(const config::Study& study) {
  data::Corpus corpus = load_corpus(study.base.data);
  data::require_length(corpus, study.base.data.sequence_length);
  return corpus;
}

nlohmann::json figure_json(const scheduler::Figure& figure) {
  return {{"seconds", figure.value}, {"origin", scheduler::origin_name(figure.origin)}};
}

std::string schedule_text(const Schedule& s) {
  const auto figure = [](const scheduler::Figure& f) {
    return fmt::format("{:.3g} ms ({})", 1e3 * f.value, scheduler::origin_name(f.origin));
  };
  return fmt::format(
      "\non {} rank{}: {}, efficiency {:.3f}; one rank would take {}; no schedule ends before {}\n"
      "a chunk takes {}, one of a validation {}, the rest of a step {}\n"
      "a message takes {:.3g} us and {:.3g} s a gigabyte ({}{})\n{}",
      s.n_ranks, s.n_ranks == 1 ? "" : "s", duration(s.timeline.makespan_s), s.timeline.efficiency,
      duration(s.work_s), duration(s.bound_s), figure(s.rates.chunk_s),
      figure(s.rates.eval_chunk_s), figure(s.rates.step_s), 1e6 * s.communication.latency_s,
      1e9 * s.communication.seconds_per_byte, scheduler::origin_name(s.communication_origin),
      s.communication_origin == scheduler::Origin::assumed
          ? "; mpirun -n 2 pgmpi --plan measures it"
          : "",
      scheduler::timeline_text(s.timeline));
}

}  // namespace

Plan make_plan(const config::Study& study) {
  return plan_of(study, grid_trials(study), corpus_of(study));
}

Plan make_plan(const config::Study& study, int n_ranks, const comm::Communicator& world,
               const comm::Teams& teams) {
  train::use_one_thread();
  train::keep_large_blocks();  // as a run has it
  const data::Corpus corpus = corpus_of(study);
  const std::vector<Trial> trials = grid_trials(study);
  Plan plan = plan_of(study, trials, corpus);

  std::vector<const Trial*> all;
  std::vector<scheduler::Work> works;
  for (const Trial& trial : trials) {
    all.push_back(&trial);
    works.push_back(work_of(trial.settings, corpus));
    works.back().smallest_team = train::degree_of(study.shard, comm::Teams::largest(n_ranks));
  }
  const scheduler::CostModel model =
      study.shard.degree == 1 ? calibrate(all, corpus, world, teams, at::kCPU, kCalibrationSeconds)
                              : scheduler::CostModel();
  Schedule& schedule = plan.schedule.emplace();
  schedule.n_ranks = n_ranks;
  double most = 0;
  for (const scheduler::Work& work : works) {
    const double seconds = model.seconds(work, 1);
    schedule.work_s += seconds;
    if (seconds <= most) continue;
    most = seconds;
    schedule.rates = model.rates(work);
  }
  schedule.communication = model.communication();
  schedule.communication_origin = model.communication_origin();
  scheduler::Scheduler scheduler(n_ranks, works, model);
  schedule.bound_s = scheduler.remaining_bound().simple_s();
  schedule.timeline = scheduler::simulate(scheduler);
  schedule.team_sizes.assign(trials.size(), 1);
  for (const auto& bar : schedule.timeline.bars) schedule.team_sizes[bar.job] = bar.size;
  return plan;
}

std::string plan_text(const Plan& plan) {
  std::string text = fmt::format("{:<32} {:>12} {:>8} {:>12} {:>12}{}\n", "trial", "parameters",
                                 "steps", "tokens", "FLOPs", plan.schedule ? "   team" : "");
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    const Plan::Row& row = plan.rows[i];
    text += fmt::format("{:<32} {:>12} {:>8} {:>12} {:>12.3g}{}\n", row.id, row.n_parameters,
                        row.steps, quantity(static_cast<double>(row.tokens)), row.flops,
                        plan.schedule ? fmt::format(" {:>6}", plan.schedule->team_sizes[i]) : "");
  }
  text += fmt::format(
      "{}: {} trial{} in the grid, {} tokens, {:.3g} FLOPs{}\n", plan.study, plan.rows.size(),
      plan.rows.size() == 1 ? "" : "s", quantity(static_cast<double>(plan.tokens)), plan.flops,
      plan.adds_trials ? "; refine and transfer add trials once its results are known" : "");
  return plan.schedule ? text + schedule_text(*plan.schedule) : text;
}

std::string plan_json(const Plan& plan) {
  nlohmann::json trials = nlohmann::json::array();
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    const Plan::Row& row = plan.rows[i];
    trials.push_back({{"id", row.id},
                      {"n_parameters", row.n_parameters},
                      {"steps", row.steps},
                      {"tokens", row.tokens},
                      {"flops", row.flops}});
    if (plan.schedule) trials.back()["team_size"] = plan.schedule->team_sizes[i];
  }
  nlohmann::json json = {{"study", plan.study},
                         {"n_trials", plan.rows.size()},
                         {"tokens", plan.tokens},
                         {"flops", plan.flops},
                         {"trials", trials}};
  if (plan.schedule) {
    const Schedule& s = *plan.schedule;
    nlohmann::json placements = nlohmann::json::array();
    for (const scheduler::Timeline::Bar& bar : s.timeline.bars) {
      placements.push_back({{"id", plan.rows[bar.job].id},
                            {"first_rank", bar.first_rank},
                            {"team_size", bar.size},
                            {"start_s", bar.start_s},
                            {"end_s", bar.end_s}});
    }
    json["schedule"] = {{"n_ranks", s.n_ranks},
                        {"makespan_s", s.timeline.makespan_s},
                        {"efficiency", s.timeline.efficiency},
                        {"work_s", s.work_s},
                        {"bound_s", s.bound_s},
                        {"chunk", figure_json(s.rates.chunk_s)},
                        {"eval_chunk", figure_json(s.rates.eval_chunk_s)},
                        {"step", figure_json(s.rates.step_s)},
                        {"communication",
                         {{"latency_s", s.communication.latency_s},
                          {"seconds_per_byte", s.communication.seconds_per_byte},
                          {"origin", scheduler::origin_name(s.communication_origin)}}},
                        {"placements", placements}};
  }
  return json.dump(2) + "\n";
}

}  // namespace pg::study
