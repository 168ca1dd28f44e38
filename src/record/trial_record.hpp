// record: the files of a run directory, for the program that writes them (pgmpi) and the one that
// reads them (pgpost). May know base only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace pg::record {

enum class TrialStatus { finished, diverged, failed };
std::string to_string(TrialStatus status);
/// Throws InvalidInput (data) for an unknown word.
TrialStatus trial_status(const std::string& word);

/// One row of results.csv: what a trial was and how it ended. Losses in nats per token.
struct TrialSummary {
  std::string id;     ///< from the settings that vary: b0064_lr0.001_s42
  std::string stage;  ///< grid, refine or transfer
  TrialStatus status = TrialStatus::finished;
  std::string reason;  ///< why it diverged or failed; empty when finished

  /// Every setting that varies in the study, as (path, value), in the study's order.
  std::vector<std::pair<std::string, std::string>> varied;
  std::int64_t batch = 0;  ///< sequences per step
  double lr = 0;           ///< peak learning rate
  std::uint64_t seed = 0;

  std::int64_t n_parameters = 0;
  std::int64_t steps = 0;        ///< steps done
  std::int64_t tokens = 0;       ///< targets trained on
  double epochs = 0;             ///< tokens / tokens of the training split
  double final_val_loss = 0;     ///< mean over the validation losses of the tail (last 100 steps)
  double final_val_loss_se = 0;  ///< its standard error within the run; 0 below 3 evaluations
  std::int64_t n_tail_evals = 0;
  double best_val_loss = 0;     ///< lowest validation loss seen
  double final_train_loss = 0;  ///< mean training loss of the convergence window
  double train_loss_sd = 0;     ///< its standard deviation over the window
  double drift_per_step = 0;    ///< slope of the training loss over the window
  double drift_p = 1;           ///< two-sided p of that slope being 0, autocorrelation-aware
  bool converged = false;       ///< sd below the limit and no significant downward drift
  double clip_fraction = 0;     ///< share of steps whose gradient norm exceeded the limit
  double seconds = 0;           ///< wall time of training and evaluation
  double forward_flops = 0;  ///< of one target: matrix products; a training step has 3 times that
  double peak_fraction = 0;  ///< of the cores' multiply-add peak, in training; 0: not on a CPU
  /// Largest memory of a rank while it trained this: resident, or on a GPU that of its tensors.
  double peak_memory_mb = 0;
  double predicted_memory_mb = 0;  ///< what the ledger said that would be
  double inference_s = 0;          ///< of a forward pass over one sequence, the median
  /// Operators of a chunk's forward pass for which there was no fast path, and how often:
  /// "gate 8; linear 24".
  std::string plain_operators;
  std::int64_t team_size = 1;           ///< ranks that trained it together
  std::string reproducible = "strict";  ///< fast: the numbers depend on team_size
  std::string parameter_hash;           ///< SHA-256 over the final parameters, in order
  std::string launch;                   ///< id of the launch in provenance.json that trained it
};

enum class EventKind : std::int64_t { skip = 0, rollback = 1 };

/// Everything that metrics.h5 holds.
struct TrialRecord {
  TrialSummary summary;
  std::string settings_yaml;  ///< every resolved setting of the trial
  std::string corpus_sha256;
  std::vector<std::int64_t> train_step;  ///< 1-based: step t has seen t batches
  std::vector<double> train_loss;        ///< mean over the batch, before the update
  std::vector<double> grad_norm;         ///< before clipping
  std::vector<double> lr;
  std::vector<std::int64_t> val_step;
  std::vector<double> val_loss;  ///< mean over the fixed validation set
  /// Mixing parameters of the gates at each validation, one row after another: of each block's MLP,
  /// then, where attention is gated, of each block's attention. Empty without gates.
  std::vector<double> alpha;

  /// Estimates of the tails at steps that the settings ask for, one row after another. Of the
  /// gradient of a batch: Hill's alpha at 1, 5, 10 and 20 % of the coordinates, shape of the
  /// generalized Gaussian, excess kurtosis; of its noise, the gradient of the first chunk less that
  /// of the batch: the same, and the index of a stable law by log moments. NaN where data do not
  /// determine it.
  std::vector<std::int64_t> tails_step;
  std::vector<double> gradient_tails;  ///< (n, kGradientTails)
  std::vector<double> noise_tails;     ///< (n, kNoiseTails)

  /// What was done about anomalies, in order: at which step (1-based), what (EventKind), and the
  /// step of the generation that the trial went back to (0 for a skip).
  std::vector<std::int64_t> event_step;
  std::vector<std::int64_t> event_kind;
  std::vector<std::int64_t> event_target;
};

inline constexpr std::size_t kGradientTails = 6;
inline constexpr std::size_t kNoiseTails = 7;

inline constexpr std::int64_t kTrialFormatVersion = 6;

/// Writes metrics.h5 aside, re-reads it, renames it into place; then the trial counts. IoError.
void write_trial(const std::filesystem::path& file, const TrialRecord& record);

/// Throws InvalidInput (data) naming the file and what is wrong with it; a later format version is
/// refused by name.
TrialRecord read_trial(const std::filesystem::path& file);

}  // namespace pg::record
