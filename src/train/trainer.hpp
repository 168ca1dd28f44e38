#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/store.hpp"
#include "comm/communicator.hpp"
#include "config/settings.hpp"
#include "data/corpus.hpp"
#include "data/objective.hpp"
#include "data/sampler.hpp"
#include "model/alpha_policy.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"
#include "record/trial_record.hpp"
#include "train/batch_gradient.hpp"
#include "train/chunk_reader.hpp"
#include "train/derived.hpp"
#include "train/placed_model.hpp"
#include "train/validation.hpp"

namespace pg::train {

/// What the caller learns while a trial runs, often: after each chunk of sequences on this rank.
struct Progress {
  std::int64_t step;    ///< steps done
  std::int64_t steps;   ///< steps in all
  std::int64_t tokens;  ///< targets that this rank has trained on
};

/// Called often and cheap to refuse work in; returns false to ask for a stop, which the team agrees
/// on at the end of the step.
using Observer = std::function<bool(const Progress&)>;

/// The array of a generation that holds AlphaPolicy::state().
inline constexpr const char* kAlphaState = "alpha_policy";

/// Where this rank's time went: means in seconds over what it did.
struct Timing {
  double chunk_s = 0;        ///< forward and backward pass of a chunk
  double eval_chunk_s = 0;   ///< forward pass of a chunk
  double step_s = 0;         ///< what every rank of a team does in a step: norm, optimizer
  double all_reduce_s = 0;   ///< messages of a step, waiting for others included
  double eval_s = 0;         ///< all validations
  std::int64_t n_steps = 0;  ///< of this launch
  /// In all: this rank's share of the time that the trial would take on one rank.
  double work_s = 0;
};

/// SHA-256 of a tensor's bytes: its values, and both moments of the optimizer.
struct TensorHash {
  std::string name;
  std::string value;
  std::string moment1;
  std::string moment2;
};

/// One trial on a team of ranks, which call the same methods at the same time.
class Trainer {
 public:
  /// Corpus and team must outlive the trainer. Throws InvalidInput (data) when the corpus is
  /// shorter than a sequence; sends nothing.
  Trainer(const config::Settings& settings, const data::Corpus& corpus,
          const comm::Communicator& team, const Placement& placement = {});

  /// Trains to the last step, from the newest good generation of `store` or from the first step;
  /// once. Collective over the team. The record, the same on every rank and the same whether the
  /// trial was interrupted or not, lacks what only the caller knows (id, stage, varied, launch). A
  /// non-finite loss or gradient ends the trial as `diverged`. Returns false on every rank if an
  /// observer asked to stop: a generation is then on disk, and the record is to be thrown away.
  /// Without a store nothing is written, and a stop loses the trial's work.
  bool run(const Observer& observer, record::TrialRecord& record,
           checkpoint::Store* store = nullptr);

  [[nodiscard]] const Timing& timing() const { return timing_; }
  /// Of every parameter, in the order of the model. Collective over the team.
  [[nodiscard]] std::vector<TensorHash> hashes() const;

  /// A part of the flat buffers that weight decay acts on, or does not.
  struct DecayRun {
    std::int64_t offset;
    std::int64_t length;
    bool decays;
  };

 private:
  [[nodiscard]] model::PassOptions pass_options(std::int64_t step) const;
  bool overflowed(double loss, double grad_norm);
  void log_alphas(const model::PassOptions& options, record::TrialRecord& record) const;
  void restore(const checkpoint::Generation& generation, record::TrialRecord& record);
  void save(checkpoint::Store& store, const record::TrialRecord& record) const;
  [[nodiscard]] double seconds() const;
  bool train_from(std::int64_t first_step, const Observer& observer, record::TrialRecord& record,
                  checkpoint::Store* store);
  enum class Outcome { done, skipped, went_back, diverged };
  Outcome act_on_anomaly(std::int64_t step, const std::string& what, record::TrialRecord& record,
                         checkpoint::Store* store);
  void compute_chunks(std::int64_t step, const Observer& observer);
  Outcome update(std::int64_t step, const BatchGradient::Sum& sum, record::TrialRecord& record,
                 checkpoint::Store* store);
  bool validate(std::int64_t step, const Observer& observer, record::TrialRecord& record);
  void tick(std::int64_t step, const Observer& observer);
  void measure(record::TrialRecord& record);
  [[nodiscard]] double inference_seconds() const;
  model::Example read_chunk(std::int64_t step, std::int64_t chunk);
  void add_tails(std::int64_t step, at::Tensor& gradient, record::TrialRecord& record);

  config::Settings settings_;
  config::ShardSettings shard_;
  const data::Corpus& corpus_;
  const comm::Communicator& team_;
  data::Objective objective_;
  model::Network model_;
  model::AlphaPolicy alpha_policy_;
  PlacedModel placed_;
  model::Parameters& parameters_;
  std::vector<DecayRun> decay_runs_;
  at::Tensor moment1_;
  at::Tensor moment2_;
  data::Sampler sampler_;
  ChunkReader reader_;
  Validation validation_;
  BatchGradient& batch_gradient_;

  bool wants_stop_ = false;
  std::int64_t tokens_ = 0;  ///< by this rank in this launch
  /// Step t trains on the batch of step t + this: what was passed over.
  std::int64_t data_shift_ = 0;
  std::int64_t n_skips_ = 0;  ///< in a row, up to now
  std::int64_t n_rollbacks_ = 0;
  double earlier_seconds_ = 0;  ///< of earlier launches
  std::chrono::steady_clock::time_point started_;
  std::vector<std::int64_t> positions_;  ///< of the chunk that was read last
  std::int64_t n_clipped_ = 0;           ///< steps
  double loss_scale_ = 1;                ///< of the gradients; above 1 with float16 only
  std::int64_t n_good_steps_ = 0;
  double chunk_seconds_ = 0;
  double update_seconds_ = 0;
  std::int64_t n_chunks_ = 0;    ///< by this rank
  std::string plain_operators_;  ///< of the last chunk
  std::int64_t n_updates_ = 0;
  Timing timing_;
};

/// Sets the libraries to one thread a rank, which all results here assume. Once per process.
void use_one_thread();

}  // namespace pg::train
