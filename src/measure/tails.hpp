// measure: what a gradient's coordinates look like, from plain numbers. Knows base only, neither
// tensors nor studies.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>

namespace pg::measure {

// All estimators here:
// - leave exact zeros out: they are coordinates without a gradient (tokens that did not occur,
//   units switched off), not small noise. "n" below counts what is left;
// - throw NumericalError when a coordinate is NaN or infinite;
// - return nothing where the data do not determine the answer, as said at each;
// - do not depend on the unit of x, except for a scale, which has it;
// - give standard errors that hold for independent, equally distributed coordinates. Those of one
//   gradient are neither: the real errors are larger, and pooling layers of different scale makes
//   heavy tails by itself.
// Work O(n); extra memory: Hill copies the magnitudes, the others copy nothing.

/// Tail index of |x| > u: P(|x| > t) ~ t^-alpha.
struct HillEstimate {
  double alpha = 0;
  double se = 0;      ///< alpha / sqrt(k), for an exact Pareto tail only
  std::size_t k = 0;  ///< how many of the largest magnitudes it rests on
};

/// Hill's estimator (B. M. Hill, Annals of Statistics 3, 1163, 1975)
///   alpha = [1/k sum_{i<=k} ln(X_(i) / X_(k+1))]^-1, X the magnitudes in descending order,
/// with k = floor(k_ratio n), at least 5; 0 < k_ratio < 1. Bit by bit independent of the order of
/// x. Nothing when n <= k or when the k+1 largest are equal.
///
/// Exponential and Gaussian tails have no index: there alpha grows without bound as k_ratio goes to
/// 0. Read a value beside hill_of_laplace and hill_of_gaussian at the same k_ratio, never alone.
std::optional<HillEstimate> hill(std::span<const float> x, double k_ratio);

/// What hill gives on infinitely many Laplace or Gaussian coordinates, 0 < k_ratio < 1: the inverse
/// of E[ln(|X|/u) given |X| > u] with P(|X| > u) = k_ratio. Relative error below 1e-10.
/// Laplace: e^-t / E1(t), t = -ln k_ratio (E1: the exponential integral).
double hill_of_laplace(double k_ratio);
/// Gaussian: by parts, E[...] = 1/k_ratio int_u^inf P(|X| > t) dt / t, integrated numerically.
double hill_of_gaussian(double k_ratio);

/// Zero-mean generalized Gaussian, density shape / (2 scale Gamma(1/shape)) exp(-|x/scale|^shape):
/// shape 1 is Laplace, 2 Gauss (scale: sqrt(2) standard deviations), infinity uniform.
struct GgdEstimate {
  double shape = 0;
  double shape_se = 0;  ///< from the expected information, the scale being estimated too
  double scale = 0;     ///< unit of x
};
constexpr double kGgdMinShape = 0.01;
constexpr double kGgdMaxShape = 100;

/// Maximum-likelihood shape and scale. The score equation of the shape (M. K. Varanasi and
/// B. Aazhang, J. Acoust. Soc. Am. 86, 1404, 1989; M. N. Do and M. Vetterli, IEEE Trans. Image
/// Processing 11, 146, 2002, eq. 17) is solved from the moment estimate by Newton steps kept in a
/// bracket, to 1e-10 relative. Nothing when n < 5, or when no maximum is found in
/// [kGgdMinShape, kGgdMaxShape]: equal magnitudes or uniform coordinates (above), coordinates over
/// tens of decades (below). A shape near 1 does not show a Laplace distribution: quantiles of
/// Student's t with 3 degrees of freedom give it too.
std::optional<GgdEstimate> ggd_shape(std::span<const float> x);

/// Index of a strictly stable distribution: sums of m coordinates have m^(1/alpha) times the size.
struct LogMomentEstimate {
  double alpha = 0;  ///< 2 for Gauss, below for heavier tails; not clamped, so noise may exceed 2
  double se = 0;     ///< from the scatter between blocks
  std::size_t block_size = 0;  ///< K1
  std::size_t n_blocks = 0;
};

/// 1/alpha = [mean_i ln|Y_i| - mean ln|X|] / ln K1, Y_i = sums of K1 consecutive coordinates
/// (M. Mohammadi, A. Mohammadpour and H. Ogata, Metrika 78, 549, 2015; used on gradient noise by
/// U. Simsekli, L. Sagun and M. Gurbuzbalaban, ICML 2019). `block_size` is K1 >= 2; 0 takes
/// floor(sqrt(n)). Coordinates after the last whole block are left out, and so is, whole, a block
/// whose sum is exactly 0. Nothing when fewer than 2 blocks remain or the bracket is not positive.
///
/// x must be noise, a gradient minus its mean: with an offset sums grow like K1 and alpha goes to 1
/// (equal coordinates: exactly 1, se 0). Neighbours must be independent, so the order of x matters.
/// Coordinates that are not stable are attracted to 2 with larger blocks, Laplace for instance.
std::optional<LogMomentEstimate> log_moment_alpha(std::span<const float> x,
                                                  std::size_t block_size = 0);

struct KurtosisEstimate {
  double excess = 0;  ///< m4 / m2^2 - 3 about the mean: 0 for Gauss, 3 for Laplace
  double se = 0;      ///< delta method; needs eight moments, means nothing where they do not exist
};

/// Nothing when n < 5 or when all are equal, to 1e-10 of their mean. Cannot exceed n, whatever the
/// tails.
std::optional<KurtosisEstimate> excess_kurtosis(std::span<const float> x);

constexpr std::array<double, 4> kHillRatios = {0.01, 0.05, 0.10, 0.20};

/// All of the above on one set of coordinates; the same values as from the single functions.
struct TailEstimates {
  std::size_t n = 0;                                                 ///< coordinates that are not 0
  std::size_t n_zeros = 0;                                           ///< those left out
  std::array<std::optional<HillEstimate>, kHillRatios.size()> hill;  ///< at kHillRatios
  std::optional<GgdEstimate> ggd;
  std::optional<LogMomentEstimate> log_moment;  ///< K1 = floor(sqrt(n))
  std::optional<KurtosisEstimate> kurtosis;
};
TailEstimates tail_estimates(std::span<const float> x);

}  // namespace pg::measure
