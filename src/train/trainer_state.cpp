// What a generation of a trial holds, and how a trainer becomes what it was.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "config/study.hpp"
#include "train/trainer.hpp"

namespace pg::train {
namespace {

using checkpoint::Type;

constexpr const char* kParameters = "parameters/";
constexpr const char* kMoment1 = "moment1/";
constexpr const char* kMoment2 = "moment2/";

/// The series of a record, by the names they have in a generation.
template <typename Record, typename Visit>
void for_each_series(Record& record, const Visit& visit) {
  visit("log/train_step", Type::int64, record.train_step);
  visit("log/train_loss", Type::float64, record.train_loss);
  visit("log/grad_norm", Type::float64, record.grad_norm);
  visit("log/lr", Type::float64, record.lr);
  visit("log/val_step", Type::int64, record.val_step);
  visit("log/val_loss", Type::float64, record.val_loss);
  visit("log/alpha", Type::float64, record.alpha);
  visit("tails/step", Type::int64, record.tails_step);
  visit("tails/gradient", Type::float64, record.gradient_tails);
  visit("tails/noise", Type::float64, record.noise_tails);
  visit("events/step", Type::int64, record.event_step);
  visit("events/kind", Type::int64, record.event_kind);
  visit("events/target", Type::int64, record.event_target);
}

std::string alphabet_hash(const data::Corpus& corpus) {
  Sha256 hash;
  hash.add(std::as_bytes(std::span(corpus.alphabet)));
  return hash.hex();
}

std::span<const std::byte> bytes_of(const at::Tensor& host) {
  return {static_cast<const std::byte*>(host.data_ptr()), host.nbytes()};
}

/// What differs first, line by line.
std::string first_difference(const std::string& mine, const std::string& stored) {
  const auto a = split(mine, '\n');
  const auto b = split(stored, '\n');
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string left(i < a.size() ? trim(a[i]) : "nothing");
    const std::string right(i < b.size() ? trim(b[i]) : "nothing");
    if (left != right) return fmt::format("'{}' instead of '{}'", right, left);
  }
  return "other settings";
}

}  // namespace

void Trainer::save(checkpoint::Store& store, const record::TrialRecord& record) const {
  checkpoint::Content content;
  content.step = record.summary.steps;
  content.texts = {{"settings", record.settings_yaml},
                   {"corpus_sha256", corpus_.sha256},
                   {"alphabet_sha256", alphabet_hash(corpus_)}};
  content.integers = {{"n_clipped", n_clipped_},
                      {"data_shift", data_shift_},
                      {"n_skips", n_skips_},
                      {"n_rollbacks", n_rollbacks_},
                      {"loss_scale", static_cast<std::int64_t>(loss_scale_)},
                      {"n_good_steps", n_good_steps_},
                      {"elapsed_ms", std::llround(1e3 * seconds())}};
  std::vector<checkpoint::Share> data;
  // On the CPU these are the tensors themselves; the store copies its share before it returns.
  const at::Tensor values = parameters_.values().cpu();
  const at::Tensor moment1 = moment1_.cpu();
  const at::Tensor moment2 = moment2_.cpu();
  for (const auto& [prefix, flat] : {std::pair(kParameters, &values), std::pair(kMoment1, &moment1),
                                     std::pair(kMoment2, &moment2)}) {
    for (std::size_t i = 0; i < parameters_.specs().size(); ++i) {
      const model::ParameterSpec& spec = parameters_.specs()[i];
      const model::Slice& slice = parameters_.slices()[i];
      content.arrays.push_back({prefix + spec.name, Type::float32, spec.shape});
      data.push_back({slice.begin * checkpoint::size_of(Type::float32),
                      bytes_of(flat->narrow(0, slice.offset, slice.count))});
    }
  }
  for_each_series(record, [&](const char* name, Type type, const auto& series) {
    content.arrays.push_back({name, type, {static_cast<std::int64_t>(series.size())}});
    data.push_back({0, std::as_bytes(std::span(series))});
  });
  const std::vector<double> alpha_state = alpha_policy_.state();
  content.arrays.push_back(
      {kAlphaState, Type::float64, {static_cast<std::int64_t>(alpha_state.size())}});
  data.push_back({0, std::as_bytes(std::span(alpha_state))});
  store.begin(content, data);
}

void Trainer::restore(const checkpoint::Generation& generation, record::TrialRecord& record) {
  const checkpoint::Content& content = generation.content();
  const auto text = [&](const std::string& name) -> const std::string& {
    const auto found = content.texts.find(name);
    if (found != content.texts.end()) return found->second;
    throw_data(fmt::format("{}: lacks its {}", generation.path().string(), name),
               "a generation of a trial", "check which program wrote it");
  };
  const auto number = [&](const std::string& name) {
    const auto found = content.integers.find(name);
    return found != content.integers.end() ? found->second : 0;
  };
  const auto require_same = [&](const std::string& name, const std::string& mine) {
    if (text(name) == mine) return;
    throw_data(fmt::format("{}: its {} differ: {}", generation.path().string(), name,
                           first_difference(mine, text(name))),
               "a generation of this very trial",
               "remove the folder of generations to start this trial from zero");
  };
  require_same("settings", record.settings_yaml);
  require_same("corpus_sha256", corpus_.sha256);
  require_same("alphabet_sha256", alphabet_hash(corpus_));

  const auto load = [&](const std::string& prefix, at::Tensor& flat) {
    at::Tensor host = flat.is_cpu() ? flat : at::empty_like(flat, at::kCPU);
    for (std::size_t i = 0; i < parameters_.specs().size(); ++i) {
      const model::ParameterSpec& spec = parameters_.specs()[i];
      const model::Slice& slice = parameters_.slices()[i];
      const std::size_t array = content.index(prefix + spec.name);
      const checkpoint::ArraySpec& stored = content.arrays[array];
      if (stored.type != Type::float32 || stored.shape != spec.shape) {
        throw_data(fmt::format("{}: '{}' is {} ({}), not float32 ({})", generation.path().string(),
                               stored.name, checkpoint::name_of(stored.type),
                               fmt::join(stored.shape, ", "), fmt::join(spec.shape, ", ")),
                   "the shapes of this model", "check which trial the file belongs to");
      }
      const at::Tensor part = host.narrow(0, slice.offset, slice.count);
      checkpoint::as_seen_by_the_others([&] {
        generation.read(array, slice.begin * checkpoint::size_of(Type::float32),
                        {static_cast<std::byte*>(part.data_ptr()), part.nbytes()});
      });
    }
    if (!flat.is_cpu()) flat.copy_(host);
  };
  load(kParameters, parameters_.values());
  parameters_.values_changed();
  load(kMoment1, moment1_);
  load(kMoment2, moment2_);
  for_each_series(record, [&](const char* name, Type, auto& series) {
    using Value = typename std::remove_reference_t<decltype(series)>::value_type;
    series = checkpoint::as_seen_by_the_others([&] { return generation.values<Value>(name); });
  });
  record.summary.steps = content.step;
  alpha_policy_.set_state(
      checkpoint::as_seen_by_the_others([&] { return generation.values<double>(kAlphaState); }));
  loss_scale_ = static_cast<double>(number("loss_scale"));
  n_good_steps_ = number("n_good_steps");
  n_clipped_ = number("n_clipped");
  data_shift_ = number("data_shift");
  n_skips_ = number("n_skips");
  n_rollbacks_ = number("n_rollbacks");
  earlier_seconds_ = 1e-3 * static_cast<double>(number("elapsed_ms"));
}

}  // namespace pg::train
