#include "record/trial_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/h5_file.hpp"

namespace pg::record {
namespace {

/// One list of (attribute name, member) for writing and reading, so that the two cannot disagree.
template <typename Summary, typename Visitor>
void visit_numbers(Summary& s, Visitor&& visit) {
  visit("batch", s.batch);
  visit("lr", s.lr);
  visit("n_parameters", s.n_parameters);
  visit("steps", s.steps);
  visit("tokens", s.tokens);
  visit("epochs", s.epochs);
  visit("final_val_loss", s.final_val_loss);
  visit("final_val_loss_se", s.final_val_loss_se);
  visit("n_tail_evals", s.n_tail_evals);
  visit("best_val_loss", s.best_val_loss);
  visit("final_train_loss", s.final_train_loss);
  visit("train_loss_sd", s.train_loss_sd);
  visit("drift_per_step", s.drift_per_step);
  visit("drift_p", s.drift_p);
  visit("clip_fraction", s.clip_fraction);
  visit("seconds", s.seconds);
}

/// Since version 4.
template <typename Summary, typename Visitor>
void visit_measurements(Summary& s, Visitor&& visit) {
  visit("forward_flops", s.forward_flops);
  visit("peak_fraction", s.peak_fraction);
  visit("peak_memory_mb", s.peak_memory_mb);
  visit("inference_s", s.inference_s);
}

template <typename Record, typename Visitor>
void visit_measured_series(Record& r, Visitor&& visit) {
  visit("gates/alpha", r.alpha);
  visit("tails/step", r.tails_step);
  visit("tails/gradient", r.gradient_tails);
  visit("tails/noise", r.noise_tails);
}

template <typename Summary, typename Visitor>
void visit_texts(Summary& s, Visitor&& visit) {
  visit("id", s.id);
  visit("stage", s.stage);
  visit("reason", s.reason);
  visit("parameter_hash", s.parameter_hash);
  visit("launch", s.launch);
}

template <typename Record, typename Visitor>
void visit_series(Record& r, Visitor&& visit) {
  visit("train/step", r.train_step);
  visit("train/loss", r.train_loss);
  visit("train/grad_norm", r.grad_norm);
  visit("train/lr", r.lr);
  visit("validation/step", r.val_step);
  visit("validation/loss", r.val_loss);
}

template <typename Record, typename Visitor>
void visit_events(Record& r, Visitor&& visit) {
  visit("events/step", r.event_step);
  visit("events/kind", r.event_kind);
  visit("events/target", r.event_target);
}

void read_into(const h5::Reader& file, const char* name, double& value) {
  value = file.real(name);
}
void read_into(const h5::Reader& file, const char* name, std::int64_t& value) {
  value = file.integer(name);
}
void read_into(const h5::Reader& file, const char* name, std::vector<double>& values) {
  values = file.reals(name);
}
void read_into(const h5::Reader& file, const char* name, std::vector<std::int64_t>& values) {
  values = file.integers(name);
}

}  // namespace

std::string to_string(TrialStatus status) {
  switch (status) {
    case TrialStatus::finished: return "finished";
    case TrialStatus::diverged: return "diverged";
    case TrialStatus::failed: return "failed";
  }
  throw InternalError({"unknown trial status", "", ""});
}

TrialStatus trial_status(const std::string& word) {
  for (const auto status : {TrialStatus::finished, TrialStatus::diverged, TrialStatus::failed}) {
    if (to_string(status) == word) return status;
  }
  throw_data("unknown trial status '" + word + "'", "finished, diverged or failed", "");
}

void write_trial(const std::filesystem::path& file, const TrialRecord& record) {
  PendingFile pending(file);
  {
    h5::Writer out(pending.path());
    out.attribute("format", std::string("pgmpi trial"));
    out.attribute("format_version", kTrialFormatVersion);
    const TrialSummary& s = record.summary;
    visit_numbers(s, [&](const char* name, const auto& value) { out.attribute(name, value); });
    visit_texts(s, [&](const char* name, const auto& value) { out.attribute(name, value); });
    out.attribute("status", to_string(s.status));
    out.attribute("converged", static_cast<std::int64_t>(s.converged));
    out.attribute("seed", static_cast<std::int64_t>(s.seed));
    out.attribute("team_size", s.team_size);
    out.attribute("reproducible", s.reproducible);
    out.attribute("varied", nlohmann::json(s.varied).dump());
    out.attribute("settings", record.settings_yaml);
    out.attribute("corpus_sha256", record.corpus_sha256);
    visit_series(record, [&](const char* name, const auto& values) { out.dataset(name, values); });
    visit_events(record, [&](const char* name, const auto& values) { out.dataset(name, values); });
    visit_measurements(s, [&](const char* name, double value) { out.attribute(name, value); });
    out.attribute("predicted_memory_mb", s.predicted_memory_mb);
    out.attribute("plain_operators", s.plain_operators);
    visit_measured_series(record,
                          [&](const char* name, const auto& values) { out.dataset(name, values); });
    out.close();
  }
  (void)read_trial(pending.path());  // what cannot be read back must not replace anything
  pending.commit();
}

TrialRecord read_trial(const std::filesystem::path& file) {
  const h5::Reader in(file);
  const std::int64_t version = in.integer("format_version");
  if (in.text("format") != "pgmpi trial" || version < 1 || version > kTrialFormatVersion) {
    throw_data(fmt::format("{}: format version {}", file.string(), version),
               fmt::format("a trial file of version 1 to {}", kTrialFormatVersion),
               "a newer pgpost or pgmpi");
  }
  TrialRecord record;
  TrialSummary& s = record.summary;
  visit_numbers(s, [&](const char* name, auto& value) { read_into(in, name, value); });
  visit_texts(s, [&](const char* name, std::string& value) { value = in.text(name); });
  s.status = trial_status(in.text("status"));
  s.converged = in.integer("converged") != 0;
  s.seed = static_cast<std::uint64_t>(in.integer("seed"));
  if (version >= 2) {  // before, a trial had one rank
    s.team_size = in.integer("team_size");
    s.reproducible = in.text("reproducible");
  }
  try {
    nlohmann::json::parse(in.text("varied")).get_to(s.varied);
  } catch (const nlohmann::json::exception& error) {
    throw_data(
        fmt::format("{}: the list of varied settings is damaged ({})", file.string(), error.what()),
        "JSON pairs", "run the study again");
  }
  record.settings_yaml = in.text("settings");
  record.corpus_sha256 = in.text("corpus_sha256");
  visit_series(record, [&](const char* name, auto& values) { read_into(in, name, values); });
  if (version >= 3) {
    visit_events(record, [&](const char* name, auto& values) { read_into(in, name, values); });
  }
  if (version >= 4) {
    visit_measurements(s, [&](const char* name, double& value) { read_into(in, name, value); });
    visit_measured_series(record,
                          [&](const char* name, auto& values) { read_into(in, name, values); });
  }
  if (version >= 5) s.predicted_memory_mb = in.real("predicted_memory_mb");
  if (version >= 6) s.plain_operators = in.text("plain_operators");
  const std::size_t steps = record.train_step.size();
  if (record.train_loss.size() != steps || record.grad_norm.size() != steps ||
      record.lr.size() != steps || record.val_loss.size() != record.val_step.size() ||
      record.event_kind.size() != record.event_step.size() ||
      record.alpha.size() % std::max<std::size_t>(1, record.val_step.size()) != 0 ||
      record.gradient_tails.size() != kGradientTails * record.tails_step.size() ||
      record.noise_tails.size() != kNoiseTails * record.tails_step.size() ||
      record.event_target.size() != record.event_step.size()) {
    throw_data(file.string() + ": its time series differ in length", "one value per step",
               "run the study again");
  }
  return record;
}

}  // namespace pg::record
