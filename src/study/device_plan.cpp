#include "study/device_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "config/study.hpp"
#include "data/corpus.hpp"
#include "ledger/advice.hpp"
#include "study/load_corpus.hpp"
#include "study/trial.hpp"
#include "train/derived.hpp"

namespace pg::study {
namespace {

/// Trials that agree in this cost the same.
std::string cost_key(config::Settings s) {
  s.train.seed = 0;
  s.gate.alpha = s.gate.alpha == 0 ? 0 : 1;  // one branch of the gate is not computed at 0
  s.optimizer = {};
  s.schedule = {};
  s.eval = {};
  return config::print_settings(s);
}

double gib(double bytes) {
  return bytes / static_cast<double>(std::int64_t{1} << 30);
}

std::string gigabytes(const ledger::Traffic& traffic) {
  if (traffic.total() == 0) return "0 GB";
  return fmt::format("{:.2f} GB ({:.2f} inside the node, {:.2f} between nodes)",
                     traffic.total() / 1e9, traffic.in_node / 1e9, traffic.between_nodes / 1e9);
}

void add_warnings(DevicePlan& plan) {
  const DevicePlan::Row& row = plan.rows[plan.largest];
  const ledger::Job& job = row.ledger.job;
  if (!row.ledger.fits(plan.device)) {
    const auto advice = ledger::nearest_fit(job, plan.n_ranks, plan.device);
    plan.warnings.push_back(fmt::format(
        "{} needs {:.1f} GiB a rank, and {} has {:.1f}; {}", row.id,
        gib(static_cast<double>(row.ledger.memory_bytes)), plan.device.name,
        gib(static_cast<double>(plan.device.memory_bytes)),
        advice ? "what fits and is nearest: " + advice->words()
               : "no degree, chunk, checkpointing, precision or number of ranks up to 1024 fits"));
  }
  if (job.degree() > job.n_chunks) {
    plan.notes.push_back(fmt::format(
        "{} of the {} ranks that share {} have no chunk of their own in a step: a smaller "
        "train.chunk, a larger train.batch or --set shard.degree={} uses them",
        job.degree() - job.n_chunks, job.degree(), row.id, job.n_chunks));
  }
}

}  // namespace

DevicePlan plan_for_device(const config::Study& study, int n_ranks, const std::string& device) {
  DevicePlan plan;
  plan.study = study.name;
  plan.device = ledger::device_named(device, n_ranks);
  plan.n_ranks = n_ranks;
  const data::Corpus corpus = load_corpus(study.base.data);
  std::map<std::string, ledger::Ledger> known;
  for (const Trial& trial : grid_trials(study)) {
    auto [found, is_new] = known.try_emplace(cost_key(trial.settings));
    if (is_new) {
      const int team =
          ledger::team_of(train::chunks_in_batch(trial.settings), study.shard.degree, n_ranks);
      found->second = ledger::ledger_of(
          train::job_of(trial.settings, corpus.vocabulary(), study.shard, team), plan.device);
    }
    plan.rows.push_back({trial.id, found->second});
    plan.device_hours += found->second.device_hours;
    const std::size_t last = plan.rows.size() - 1;
    if (found->second.memory_bytes > plan.rows[plan.largest].ledger.memory_bytes) {
      plan.largest = last;
    }
  }
  plan.days = plan.device_hours / (24.0 * n_ranks);
  add_warnings(plan);
  return plan;
}

std::string device_plan_text(const DevicePlan& plan) {
  const DevicePlan::Row& row = plan.rows[plan.largest];
  const ledger::Ledger& l = row.ledger;
  const ledger::Job& job = l.job;
  const ledger::Device& device = plan.device;
  std::string text;
  if (plan.rows.size() > 1) {
    text += fmt::format("{}: of {} trials the one with the most memory, {}\n", plan.study,
                        plan.rows.size(), row.id);
  }
  text += fmt::format(
      "{} parameters on {} rank{} of {}: a team of {}, degree {}, {} replica{}; {} chunk{} of {} "
      "sequence{} a step, {} on the busiest rank\n",
      job.n_parameters(), plan.n_ranks, plan.n_ranks == 1 ? "" : "s", device.name, job.team,
      job.degree(), job.replicas(), job.replicas() == 1 ? "" : "s", job.n_chunks,
      job.n_chunks == 1 ? "" : "s", job.shape.sequences, job.shape.sequences == 1 ? "" : "s",
      job.micro_steps());
  text += fmt::format("{:<24} {:>10}\n", "memory of a rank", "GiB");
  for (const ledger::MemoryLine& line : l.memory) {
    const bool elsewhere = device.is_gpu && line.on_host;
    text +=
        fmt::format("  {:<22} {:>10.3f}   {}{}\n", line.name, gib(static_cast<double>(line.bytes)),
                    line.meaning, elsewhere ? " (in the host's memory)" : "");
  }
  text += fmt::format("  {:<22} {:>10.3f}   of {:.1f}\n", "total",
                      gib(static_cast<double>(l.memory_bytes)),
                      gib(static_cast<double>(device.memory_bytes)));
  text += fmt::format(
      "a rank receives in a step\n  all-gather forward     {}\n  all-gather backward    {}\n"
      "  reduce-scatter         {}\n  sum over replicas      {}\n",
      gigabytes(l.wire.gather_forward), gigabytes(l.wire.gather_backward), gigabytes(l.wire.reduce),
      gigabytes(l.wire.across));
  const bool half = job.precision != "float32";
  text += fmt::format(
      "a step: {:.3g} FLOPs, {:.3g} s, bound by {}\n"
      "  matrix products {:.3g} s ({:.3g} TFLOP/s in {} at an efficiency of {:.2g}: {})\n"
      "  optimizer {:.3g} s ({:.3g} GB/s), messages {:.3g} s, of which {:.3g} s are not hidden\n",
      l.flops, l.time.total_s(), l.time.bound, l.time.compute_s,
      (half ? device.half_flops : device.float32_flops) / 1e12, job.precision, device.efficiency,
      device.efficiency_source, l.time.optimizer_s, device.memory_bytes_per_s / 1e9,
      l.time.messages_s, l.time.exposed_s);
  text += fmt::format("{} steps: {}, {:.4g} device-hours; validations are not counted\n", job.steps,
                      duration(l.days * 86400), l.device_hours);
  text += fmt::format("a checkpoint: {:.1f} GiB, written and verified in {}\n",
                      gib(static_cast<double>(l.checkpoint_bytes)), duration(l.checkpoint_s));
  if (plan.rows.size() > 1) {
    text += fmt::format("all {} trials: {:.4g} device-hours, {} with all ranks busy\n",
                        plan.rows.size(), plan.device_hours, duration(plan.days * 86400));
  }
  for (const std::string& note : plan.notes) text += "note: " + note + "\n";
  for (const std::string& warning : plan.warnings) text += "warning: " + warning + "\n";
  return text;
}

std::string device_plan_json(const DevicePlan& plan) {
  using Json = nlohmann::json;
  const DevicePlan::Row& row = plan.rows[plan.largest];
  const ledger::Ledger& l = row.ledger;
  const auto traffic = [](const ledger::Traffic& t) {
    return Json{{"in_node_bytes", t.in_node}, {"between_nodes_bytes", t.between_nodes}};
  };
  Json memory = Json::array();
  for (const ledger::MemoryLine& line : l.memory) {
    memory.push_back({{"name", line.name},
                      {"bytes", line.bytes},
                      {"in_device_memory", !(plan.device.is_gpu && line.on_host)},
                      {"meaning", line.meaning}});
  }
  Json trials = Json::array();
  for (const DevicePlan::Row& each : plan.rows) {
    trials.push_back({{"id", each.id},
                      {"n_parameters", each.ledger.job.n_parameters()},
                      {"team_size", each.ledger.job.team},
                      {"degree", each.ledger.job.degree()},
                      {"memory_bytes", each.ledger.memory_bytes},
                      {"fits", each.ledger.fits(plan.device)},
                      {"step_s", each.ledger.time.total_s()},
                      {"device_hours", each.ledger.device_hours}});
  }
  const Json json = {{"study", plan.study},
                     {"device", plan.device.name},
                     {"n_ranks", plan.n_ranks},
                     {"n_trials", plan.rows.size()},
                     {"device_hours", plan.device_hours},
                     {"days", plan.days},
                     {"largest",
                      {{"id", row.id},
                       {"n_parameters", l.job.n_parameters()},
                       {"team_size", l.job.team},
                       {"degree", l.job.degree()},
                       {"replicas", l.job.replicas()},
                       {"n_chunks", l.job.n_chunks},
                       {"micro_steps", l.job.micro_steps()},
                       {"memory", memory},
                       {"memory_bytes", l.memory_bytes},
                       {"device_memory_bytes", plan.device.memory_bytes},
                       {"fits", l.fits(plan.device)},
                       {"wire",
                        {{"all_gather_forward", traffic(l.wire.gather_forward)},
                         {"all_gather_backward", traffic(l.wire.gather_backward)},
                         {"reduce_scatter", traffic(l.wire.reduce)},
                         {"sum_over_replicas", traffic(l.wire.across)}}},
                       {"step_flops", l.flops},
                       {"step",
                        {{"compute_s", l.time.compute_s},
                         {"optimizer_s", l.time.optimizer_s},
                         {"messages_s", l.time.messages_s},
                         {"exposed_messages_s", l.time.exposed_s},
                         {"total_s", l.time.total_s()},
                         {"bound", l.time.bound},
                         {"efficiency", plan.device.efficiency},
                         {"efficiency_source", plan.device.efficiency_source}}},
                       {"steps", l.job.steps},
                       {"days", l.days},
                       {"device_hours", l.device_hours},
                       {"checkpoint_bytes", l.checkpoint_bytes},
                       {"checkpoint_s", l.checkpoint_s}}},
                     {"trials", trials},
                     {"notes", plan.notes},
                     {"warnings", plan.warnings}};
  return json.dump(2) + "\n";
}

}  // namespace pg::study
