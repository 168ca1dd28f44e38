// config: what the user asks for: from YAML, --set and command lines to typed, validated settings,
// and back to YAML. May know base only.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pg::config {

/// Shape of the network. Names as in the field's papers and libraries.
struct ModelSettings {
  std::string arch = "nano";
  std::int64_t n_layers = 4;  ///< of the encoder and of the decoder each, where there are both
  std::int64_t d_model = 64;
  std::int64_t n_heads = 4;
  std::int64_t n_kv_heads = 0;
  std::int64_t d_head = 0;
  std::int64_t d_ff = 128;
  std::string activation = "gelu";
  bool gated_mlp = false;
  std::string positions = "rope";
  double rope_theta = 10000;
  bool causal = true;
  bool tied_embeddings = true;
  std::int64_t vocab_size = 0;
  std::int64_t n_positions = 0;
  double norm_eps = 1e-6;
  double init_std = 0.02;
  double dropout = 0;
  std::int64_t n_experts = 4;
  std::string router = "probability";
  std::string resolvent_gradient = "exact";
  bool activation_checkpointing = false;
  std::string initial_weights = "seed";

  // What the zeros stand for.
  [[nodiscard]] std::int64_t mlp_width() const {
    return d_ff > 0 ? d_ff : (arch == "resnet_bk" ? 2 : 4) * d_model;
  }
  [[nodiscard]] std::int64_t head_size() const { return d_head > 0 ? d_head : d_model / n_heads; }
  [[nodiscard]] std::int64_t kv_heads() const { return n_kv_heads > 0 ? n_kv_heads : n_heads; }
  [[nodiscard]] bool has_encoder() const { return arch == "t5" || arch == "vaswani"; }
};

/// The paGating unit in the MLP, and how its alpha moves.
struct GateSettings {
  std::string unit = "vanilla";
  std::string form = "self_gate";
  double alpha = 0.5;
  std::string function = "normal_cdf";
  bool gate_norm = false;
  bool pre_norm = false;
  bool post_norm = false;
  bool attention = false;
  double attention_alpha = 0.5;
  std::string policy = "fixed";
  double alpha_start = 1;
  double alpha_end = 0;
  double alpha_ramp = 1;
  double alpha_scale = 1;
  double alpha_temperature = 1;

  [[nodiscard]] bool is_vanilla() const { return unit == "vanilla"; }
};

struct DataSettings {
  std::string corpus = "synthetic";
  double held_out = 0.1;
  std::int64_t sequence_length = 256;
  std::string objective = "next_token";
  double noise_density = 0.15;
  double noise_span = 3;
  std::int64_t synthetic_symbols = 32;
  std::int64_t synthetic_length = 1000000;
  std::uint64_t synthetic_seed = 1;
};

struct OptimizerSettings {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  double clip = 1.0;
  std::string decays = "all";
};

struct ScheduleSettings {
  std::string kind = "constant";
  std::int64_t warmup_steps = 100;
  double final_fraction = 0.0;
};

struct TrainSettings {
  std::int64_t steps = 5000;
  std::int64_t batch = 64;
  std::int64_t chunk = 8;
  double label_smoothing = 0;
  std::string precision = "float32";
  std::string reproducible = "strict";
  std::uint64_t seed = 42;
};

struct EvalSettings {
  std::int64_t interval = 250;
  std::int64_t tail_steps = 100;
  std::int64_t tail_interval = 10;
  std::int64_t sequences = 0;
  double converged_sd = 0.01;
};

/// What happens where a loss or a gradient is not finite or a loss leaps: skip the step, else go
/// back to a generation and pass over the batches since, else end the trial as diverged.
struct AnomalySettings {
  double spike = 0;
  std::int64_t skips = 0;
  std::int64_t rollbacks = 0;
  std::int64_t rollback_interval = 0;
};

struct MeasureSettings {
  std::int64_t gradient_tails = 0;
};

/// Every setting of one trial, resolved.
struct Settings {
  ModelSettings model;
  GateSettings gate;
  DataSettings data;
  OptimizerSettings optimizer;
  ScheduleSettings schedule;
  TrainSettings train;
  EvalSettings eval;
  AnomalySettings anomaly;
  MeasureSettings measure;
};

/// A setting that varies: its path and its values as they are written in the study.
struct Axis {
  std::string path;
  std::vector<std::string> values;
};

/// When generations (checkpoints) are written and which of them stay. Not part of the numbers.
struct CheckpointSettings {
  double interval_s = 600;
  std::int64_t interval = 0;
  std::int64_t keep_every = 0;
};

/// How the tensors of a trial are spread over its team. Not part of the numbers.
struct ShardSettings {
  std::int64_t degree = 1;
  bool reshard_after_forward = true;
  std::int64_t prefetch = 1;
};

struct RefineSettings {
  bool enabled = true;
  double resolution = 1.5;
  std::int64_t max_rounds = 6;
};

struct TransferSettings {
  bool enabled = true;
  std::int64_t anchor_batch = 256;
  double anchor_lr = 1e-3;
  bool anchor_at_optimum = true;
};

struct Hypothesis {
  std::string name;
  double beta = 0;
};

struct AnalysisSettings {
  std::string kind = "batch_scaling";
  std::vector<Hypothesis> hypotheses = {
      {"Laplace", 2.0 / 3.0}, {"Gaussian", 0.5}, {"heavy-tailed", 1.0 / 3.0}};
  std::vector<std::int64_t> small_batches = {8, 16};
  std::string anchor = "vanilla";
  double equivalence_margin = 0.02;
};

/// Settings that differ from the base together: (path, value) as axes have them.
using ArmSettings = std::vector<std::pair<std::string, std::string>>;

/// A study: base settings, arms and axes that vary around them (each arm at every point of the
/// axes), stages, and the analysis.
struct Study {
  std::string name = "study";
  std::string question = "What do these settings give?";
  Settings base;
  std::vector<Axis> axes;
  std::vector<ArmSettings> arms;
  CheckpointSettings checkpoint;
  ShardSettings shard;
  RefineSettings refine;
  TransferSettings transfer;
  AnalysisSettings analysis;
};

}  // namespace pg::config
