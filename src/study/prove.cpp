#include "study/prove.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "checkpoint/store.hpp"
#include "study/launch_check.hpp"
#include "study/load_corpus.hpp"
#include "study/trial.hpp"
#include "train/large_blocks.hpp"

namespace pg::study {
namespace {

/// Of fewer chunks the plain sum, first to last, is the tree itself.
constexpr std::int64_t kFewestChunks = 4;

Trial widest_trial(const config::Study& study, const data::Corpus& corpus) {
  auto trials = grid_trials(study);
  std::erase_if(trials, [&](const Trial& t) {
    return !data::is_long_enough(corpus, t.settings.data.sequence_length);
  });
  const auto widest =
      std::max_element(trials.begin(), trials.end(), [](const Trial& a, const Trial& b) {
        return train::chunks_in_batch(a.settings) < train::chunks_in_batch(b.settings);
      });
  const std::int64_t n_chunks =
      widest == trials.end() ? 0 : train::chunks_in_batch(widest->settings);
  if (n_chunks < kFewestChunks) {
    throw_settings(
        fmt::format("--prove: the widest trial has {} chunk{} a batch", n_chunks,
                    n_chunks == 1 ? "" : "s"),
        "at least four: of fewer the plain sum is the tree, and the control shows nothing",
        "a smaller train.chunk or a larger train.batch, with --set");
  }
  return *widest;
}

std::string hash_of_losses(const record::TrialRecord& record) {
  Sha256 hash;
  for (const std::vector<double>* series :
       {&record.train_loss, &record.grad_norm, &record.val_loss}) {
    hash.add(std::as_bytes(std::span(*series)));
  }
  return hash.hex();
}

constexpr std::pair<ProofCase::Kind, const char*> kKinds[] = {
    {ProofCase::Kind::proof, "proof"},
    {ProofCase::Kind::plain_sums, "plain_sums"},
    {ProofCase::Kind::changed_bit, "changed_bit"}};

/// The generation again, with the lowest bit of its first parameter changed.
void change_a_bit(const std::filesystem::path& path) {
  const comm::Communicator alone = comm::Communicator::alone();
  checkpoint::Content content;
  std::vector<std::vector<std::byte>> bytes;
  {
    const checkpoint::Generation generation(path);
    content = generation.content();
    for (std::size_t i = 0; i < content.arrays.size(); ++i) {
      bytes.emplace_back(static_cast<std::size_t>(content.arrays[i].n_bytes()));
      generation.read(i, 0, bytes.back());
    }
  }
  bytes.front().front() ^= std::byte{1};
  checkpoint::CopyBuffer buffer;
  checkpoint::Save save(path, content, checkpoint::whole({bytes.begin(), bytes.end()}), alone,
                        buffer);
  save.wait_written();
  save.commit({});
  save.wait_committed();
}

nlohmann::json to_json(const ProofCase& c) {
  const char* kind = "";
  for (const auto& [value, name] : kKinds) {
    if (value == c.kind) kind = name;
  }
  nlohmann::json tensors = nlohmann::json::array();
  for (const train::TensorHash& t : c.tensors) {
    tensors.push_back(
        {{"name", t.name}, {"value", t.value}, {"moment1", t.moment1}, {"moment2", t.moment2}});
  }
  return {{"layout", c.layout},
          {"team_size", c.team_size},
          {"kind", kind},
          {"losses", c.losses},
          {"tensors", tensors}};
}

ProofCase case_from(const nlohmann::json& item) {
  ProofCase c;
  c.layout = item.at("layout");
  c.team_size = item.at("team_size");
  c.losses = item.at("losses");
  for (const auto& [value, name] : kKinds) {
    if (item.at("kind") == name) c.kind = value;
  }
  for (const auto& t : item.at("tensors")) {
    c.tensors.push_back({t.at("name"), t.at("value"), t.at("moment1"), t.at("moment2")});
  }
  return c;
}

/// One hash for a part of every tensor.
std::string joint_hash(const ProofCase& c, std::string train::TensorHash::*part) {
  Sha256 hash;
  for (const train::TensorHash& tensor : c.tensors) hash.add(tensor.*part);
  return hash.hex();
}

bool same_bits(const ProofCase& a, const ProofCase& b) {
  return a.losses == b.losses &&
         std::equal(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end(),
                    [](const train::TensorHash& x, const train::TensorHash& y) {
                      return x.name == y.name && x.value == y.value && x.moment1 == y.moment1 &&
                             x.moment2 == y.moment2;
                    });
}

/// The cases, one after the other, on all ranks.
class Prover {
 public:
  Prover(const config::Study& study, const data::Corpus& corpus, std::int64_t steps,
         std::filesystem::path scratch, const Crew::Ranks& ranks)
      : ranks_(ranks), corpus_(corpus), scratch_(std::move(scratch)) {
    const Trial trial = widest_trial(study, corpus);
    settings_ = trial.settings;
    settings_.train.steps = std::min(steps, settings_.train.steps);
    settings_.train.reproducible = "strict";
    settings_.anomaly.rollbacks = 0;  // needs generations, which only some of the cases write
    settings_.eval.interval = std::max<std::int64_t>(1, settings_.train.steps / 4);
    if (settings_.train.steps < 3) {
      throw_settings(fmt::format("--prove: {} steps", settings_.train.steps),
                     "at least three, to stop in between", "a larger --steps");
    }
    proof_.trial = trial.id;
    proof_.steps = settings_.train.steps;
    proof_.n_chunks = train::chunks_in_batch(settings_);
  }

  Proof run() {
    const int largest = comm::Teams::largest(ranks_.world.size());
    for (int size = 1; size <= largest; size *= 2) {
      on_team(size, 0, fmt::format("{} rank{}", size, size == 1 ? "" : "s"), settings_,
              Kind::proof);
    }
    after_and_beside_others(std::max(1, largest / 2));
    interrupted(largest, largest, Kind::proof);
    if (largest > 1) {
      interrupted(largest, 1, Kind::proof);
      interrupted(1, largest, Kind::proof);
    }
    interrupted(largest, largest, Kind::changed_bit);
    config::Settings plain = settings_;
    plain.train.reproducible = "fast";
    on_team(1, 0, "plain sums, 1 rank", plain, Kind::plain_sums);
    if (largest > 1) {
      on_team(largest, 0, fmt::format("plain sums, {} ranks", largest), plain, Kind::plain_sums);
    }
    return proof_;
  }

 private:
  using Kind = ProofCase::Kind;

  /// The block of `size` ranks from `first` on trains; the others wait.
  void on_team(int size, int first, const std::string& layout, const config::Settings& settings,
               Kind kind) {
    std::string mine;
    if (ranks_.world.rank() >= first && ranks_.world.rank() < first + size) {
      mine = train(size, layout, settings, kind);
    }
    collect(mine);
  }

  /// The last whole block of `size` ranks trains another trial first, while each other rank trains
  /// one of its own.
  void after_and_beside_others(int size) {
    const int first = (ranks_.world.size() / size - 1) * size;
    config::Settings other = settings_;
    other.train.seed += 1;
    other.train.steps = std::max<std::int64_t>(1, settings_.train.steps / 4);
    std::string mine;
    if (ranks_.world.rank() >= first && ranks_.world.rank() < first + size) {
      (void)train(size, "", other, Kind::proof);
      mine = train(size,
                   fmt::format("rank{} {}, after another trial, {}",
                               size == 1 ? fmt::format(" {}", first)
                                         : fmt::format("s {}-{}", first, first + size - 1),
                               size == 1 ? "alone" : "together",
                               first > 0 ? "others training beside" : "nobody beside"),
                   settings_, Kind::proof);
    } else {
      other.train.seed += static_cast<std::uint64_t>(ranks_.world.rank()) + 1;
      (void)train(1, "", other, Kind::proof);
    }
    collect(mine);
  }

  /// Stopped on the first `before` ranks, with a generation on disk; continued on the first
  /// `after`.
  void interrupted(int before, int after, Kind kind) {
    const std::int64_t stop = std::max<std::int64_t>(1, settings_.train.steps / 3);
    const int rank = ranks_.world.rank();
    const auto folder = scratch_ / fmt::format("{}", n_interrupted_++);
    const auto store = [&](int size) {
      return checkpoint::Store(folder, {}, ranks_.teams.of_size(size), [](const std::string&) {});
    };
    if (rank < before) {
      checkpoint::Store to = store(before);
      (void)train(before, "", settings_, kind, &to, stop);
    }
    ranks_.world.wait_for_all([&] { ranks_.recorder.progress(); });
    if (rank == 0 && kind == Kind::changed_bit) change_a_bit(folder / checkpoint::file_name(stop));
    ranks_.world.wait_for_all([&] { ranks_.recorder.progress(); });
    std::string mine;
    if (rank < after) {
      checkpoint::Store from = store(after);
      const auto ranks = [](int n) { return fmt::format("{} rank{}", n, n == 1 ? "" : "s"); };
      mine = train(after,
                   fmt::format("stopped at step {} on {}, continued on {}{}", stop, ranks(before),
                               ranks(after), kind == Kind::proof ? "" : ", a bit changed"),
                   settings_, kind, &from);
    }
    collect(mine);
  }

  /// The case as text on the leader of the team, nothing on its other ranks. Stops after
  /// `stop_after` steps if that is not 0.
  std::string train(int size, const std::string& layout, const config::Settings& settings,
                    Kind kind, checkpoint::Store* store = nullptr, std::int64_t stop_after = 0) {
    const comm::Communicator& team = ranks_.teams.of_size(size);
    record::TrialRecord record;
    ranks_.recorder.enter_trial(proof_.trial, settings.train.steps);
    train::Trainer trainer(settings, corpus_, team, ranks_.placement);
    trainer.run(
        [&](const train::Progress& progress) {
          ranks_.recorder.step(progress.step);
          return progress.step != stop_after - 1;
        },
        record, store);
    ranks_.recorder.leave_trial();
    const auto hashes = trainer.hashes();
    if (team.rank() != 0) return {};
    return to_json({layout, size, kind, hashes, hash_of_losses(record)}).dump();
  }

  void collect(const std::string& mine) {
    ranks_.world.wait_for_all([&] { ranks_.recorder.progress(); });
    for (const std::string& text : ranks_.world.all_gather(mine)) {
      if (!text.empty()) proof_.cases.push_back(case_from(nlohmann::json::parse(text)));
    }
  }

  Crew::Ranks ranks_;
  const data::Corpus& corpus_;
  config::Settings settings_;
  std::filesystem::path scratch_;
  int n_interrupted_ = 0;
  Proof proof_;
};

}  // namespace

bool Proof::holds() const {
  return std::all_of(cases.begin(), cases.end(), [&](const ProofCase& c) {
    return c.kind != ProofCase::Kind::proof || same_bits(c, cases.front());
  });
}

bool Proof::control_differs() const {
  std::vector<const ProofCase*> controls;
  for (const ProofCase& c : cases) {
    if (c.kind == ProofCase::Kind::plain_sums) controls.push_back(&c);
    if (c.kind == ProofCase::Kind::changed_bit && same_bits(c, cases.front())) return false;
  }
  // On one rank the control is the plain sum itself, against the tree.
  const ProofCase& other = controls.size() > 1 ? *controls[1] : cases.front();
  return !controls.empty() && !same_bits(*controls[0], other);
}

Proof prove(const config::Study& study, std::int64_t steps, const std::filesystem::path& scratch,
            const Crew::Ranks& ranks) {
  train::use_one_thread();
  train::keep_large_blocks();
  const data::Corpus corpus = load_corpus(study.base.data);
  require_same_on_all_ranks(ranks.world, study, describe_build(), corpus);
  Prover prover(study, corpus, steps, scratch, ranks);  // first: it may have nothing to prove
  if (ranks.world.rank() == 0) {
    std::filesystem::remove_all(scratch);
    make_writable_folder(scratch);
  }
  ranks.world.wait_for_all([&] { ranks.recorder.progress(); });
  const Proof proof = prover.run();
  if (ranks.world.rank() == 0) std::filesystem::remove_all(scratch);
  return proof;
}

std::string proof_text(const Proof& proof) {
  constexpr std::size_t kDigits = 12;
  const auto cut = [](const std::string& hash) { return hash.substr(0, kDigits); };
  std::string text = fmt::format("trial {}, {} steps, {} chunks a batch\n\n", proof.trial,
                                 proof.steps, proof.n_chunks);
  text += fmt::format("{:<58} {:<12} {:<12} {:<12} {:<12}\n", "trained by", "parameters", "moment1",
                      "moment2", "losses");
  for (const ProofCase& c : proof.cases) {
    text += fmt::format("{:<58} {} {} {} {}{}\n", c.layout,
                        cut(joint_hash(c, &train::TensorHash::value)),
                        cut(joint_hash(c, &train::TensorHash::moment1)),
                        cut(joint_hash(c, &train::TensorHash::moment2)), cut(c.losses),
                        c.kind != ProofCase::Kind::proof ? "  (control)" : "");
  }
  text += fmt::format("\n{:<58} {:<12} {:<12} {:<12}\n", "tensor, on one rank", "value", "moment1",
                      "moment2");
  for (const train::TensorHash& t : proof.cases.front().tensors) {
    text += fmt::format("{:<58} {} {} {}\n", t.name, cut(t.value), cut(t.moment1), cut(t.moment2));
  }
  text += proof.holds() ? "\nproven: every parameter, both moments and every logged loss have the "
                          "same bits in all layouts\n"
                        : "\nFAILED: the layouts above do not agree\n";
  text += proof.control_differs() ? "control: plain sums differ between layouts, and so does a run "
                                    "with one bit changed: the "
                                    "comparison can fail\n"
                                  : "FAILED: a control did not differ, so nothing is proven\n";
  return text;
}

std::string proof_json(const Proof& proof) {
  nlohmann::json cases = nlohmann::json::array();
  for (const ProofCase& c : proof.cases) cases.push_back(to_json(c));
  return nlohmann::json{{"trial", proof.trial},
                        {"steps", proof.steps},
                        {"n_chunks", proof.n_chunks},
                        {"holds", proof.holds()},
                        {"control_differs", proof.control_differs()},
                        {"cases", cases}}
             .dump(2) +
         "\n";
}

}  // namespace pg::study
