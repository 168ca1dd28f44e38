#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postprocess/fits/law.hpp"
#include "postprocess/stats/bootstrap.hpp"
#include "postprocess/stats/comparisons.hpp"
#include "postprocess/stats/inference.hpp"

// How the loss falls with the size of a model: the source's perplexity = a N^b, its rivals, the
// exponents of architectures side by side, width against depth, and the sources' predictions.

namespace pg::post {

/// The larger power of a difference of exponents that still counts as "the same": half the width of
/// the source's range of b, [-0.2, -0.1].
inline constexpr double kExponentMargin = 0.05;
/// Relative difference of a predicted loss ratio that counts as a match.
inline constexpr double kRatioMargin = 0.02;
/// Two sizes are the ones of a prediction when they agree to this relative tolerance.
inline constexpr double kSameSize = 0.15;

/// One trial as this analysis sees it. Losses are held-out, in nats per token.
struct SizeTrial {
  std::string name;  ///< for messages
  std::string arch;
  std::int64_t d_model = 0;
  std::int64_t n_layers = 0;
  /// (path, value) of all settings but the seed: what repetitions must share.
  std::vector<std::pair<std::string, std::string>> settings;
  std::uint64_t seed = 0;
  std::int64_t n_parameters = 0;
  std::optional<std::int64_t> n_non_embedding;
  bool finished = true;  ///< with a finite loss
  bool diverged = false;
  std::string reason;  ///< why it did not finish
  double loss = 0;
  double best_loss = 0;
  double epochs = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  double forward_flops = 0;          ///< of a target; 0: not recorded
  double peak_memory_mb = 0;         ///< likewise
  std::vector<double> epoch_losses;  ///< the last validation of each whole epoch; or empty
  std::vector<double> tail_losses;   ///< the validations behind `loss`; or empty
};

/// All seeds of one network: the unit of every fit here.
struct SizeConfiguration {
  std::string arch;
  std::int64_t d_model = 0;
  std::int64_t n_layers = 0;
  std::int64_t n_parameters = 0;
  std::optional<std::int64_t> n_non_embedding;
  std::vector<std::size_t> trials;  ///< finished ones: indices into ModelSizeAnalysis::trials
  std::size_t n_diverged = 0;
  std::size_t n_failed = 0;
  double loss = 0;  ///< mean over seeds
  /// Of `loss`: between seeds, or with one seed the autocorrelation-aware error of its tail, which
  /// knows nothing of other seeds. Infinite: neither is known.
  double loss_se = 0;
  std::string loss_se_source;
  double tokens = 0;   ///< mean over seeds
  double seconds = 0;  ///< mean over seeds
  [[nodiscard]] bool usable() const { return !trials.empty(); }
  [[nodiscard]] std::string label() const;  ///< "d64_l4": the source's file names
};

/// An F test; nothing behind it when d1 or d2 is 0.
struct FTest {
  double f = 0;
  int d1 = 0;
  int d2 = 0;
  double p = 1;
};

/// perplexity = a N^b of one architecture: ln perplexity is the loss, so this says that the loss is
/// linear in ln N. Least squares over configurations; t intervals of n - 2 degrees of freedom.
struct SizeLaw {
  std::string arch;
  std::string count;                        ///< "total" or "non_embedding"
  std::string status = "ok";                ///< or why there is no law
  std::vector<std::size_t> configurations;  ///< indices into ModelSizeAnalysis::configurations
  std::vector<double> n;                    ///< N of each
  std::vector<double> losses;               ///< their losses
  int df = 0;
  double ln_a = 0;
  double ln_a_se = 0;
  Interval ln_a_ci95 = {};
  double b = 0;
  double b_se = 0;
  Interval b_ci95 = {};
  double r2 = 0;  ///< of the loss; not evidence
  double s = 0;   ///< residual standard deviation, nats per token
  /// Coefficient of (ln N - mean)^2 beside the line, and its test: a line is the wrong shape.
  std::optional<double> curvature;
  Interval curvature_ci95 = {};
  FTest curvature_test;
  /// The line against one mean per configuration, by the spread between seeds.
  FTest lack_of_fit;
  /// Of weigh_size_laws: L = a + b ln N, (N_c / N)^alpha, E + A / N^alpha on the same data.
  std::vector<Rival> rivals;
  /// b when whole seeds are drawn anew within each configuration: what seeds alone contribute.
  std::optional<BootstrapInterval> b_seed_bootstrap;
  [[nodiscard]] bool ok() const { return status == "ok"; }
};

/// b_first - b_second, two architectures fitted apart (Welch's degrees of freedom).
struct ExponentDifference {
  std::string first;
  std::string second;
  std::string count;
  std::string status = "ok";
  double difference = 0;
  double se = 0;
  double df = 0;
  Interval ci95 = {};
  double p = 1;
  Equivalence equivalence;  ///< with kExponentMargin
  std::string word;         ///< same, different, indeterminate
};

/// loss = c + w ln d_model + l ln n_layers over the configurations of one architecture.
struct ShapeFit {
  std::string arch;
  std::string status = "ok";
  std::size_t n = 0;
  int df = 0;
  double width = 0;  ///< w: nats per token for a factor e of d_model
  double width_se = 0;
  Interval width_ci95 = {};
  double depth = 0;  ///< l
  double depth_se = 0;
  Interval depth_ci95 = {};
  double contrast = 0;  ///< l - w: above 0 when widening helps more than deepening
  double contrast_se = 0;
  Interval contrast_ci95 = {};
  double contrast_p = 1;
  [[nodiscard]] bool ok() const { return status == "ok"; }
};

/// A sentence of a source, judged by an interval.
struct SizePrediction {
  std::string name;    ///< snake_case, stable
  std::string source;  ///< the document
  std::string arch;    ///< or empty
  std::string claim;
  std::optional<double> estimate;
  Interval ci95 = {};
  std::string word;    ///< met, not_met, indeterminate, not_tested
  std::string detail;  ///< why this word, for people
};

struct ModelSizeAnalysis {
  std::vector<SizeTrial> trials;
  std::vector<SizeConfiguration> configurations;  ///< by architecture, then size
  std::vector<SizeLaw> laws;                      ///< one for each architecture and count of N
  std::vector<ExponentDifference> differences;
  std::vector<ShapeFit> shapes;  ///< one for each architecture
  std::vector<SizePrediction> predictions;
  std::vector<std::string> warnings;
  /// What the names of an architecture's files begin with: "gpt_", or nothing where it is the only
  /// one.
  [[nodiscard]] std::string prefix_of(const std::string& arch) const;
  /// The law of an architecture; nullptr where there is none.
  [[nodiscard]] const SizeLaw* law(const std::string& arch, const std::string& count) const;
};

/// Data that do not determine something give a status or a word, never a throw. Trials of one
/// configuration that differ in any setting but the seed are no repetitions: InvalidInput (data)
/// naming two of them and the setting.
ModelSizeAnalysis fit_model_size(std::vector<SizeTrial> trials);

/// Adds to each law its rivals and the bootstrap over seeds (`threads` 0: all processors; the
/// numbers do not depend on it).
void weigh_size_laws(ModelSizeAnalysis& analysis, std::uint64_t bootstrap_seed = 1,
                     std::size_t threads = 0);

/// What the sources predict, judged by the fits.
std::vector<SizePrediction> judge_size_predictions(const ModelSizeAnalysis& analysis);

/// Width against depth for one architecture.
ShapeFit fit_shape(const std::vector<SizeConfiguration>& configurations, const std::string& arch);

}  // namespace pg::post
