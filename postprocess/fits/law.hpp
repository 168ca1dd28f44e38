#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "postprocess/stats/least_squares.hpp"

// Laws: y as a function of one or two variables with a few parameters, fitted to any table.

namespace pg::post {

/// Points of one fit; all vectors have the same length.
struct LawData {
  std::vector<std::vector<double>> x;  ///< one vector per variable
  std::vector<double> y;
  std::vector<double> weights;      ///< relative, 1 / variance of the fitted response; or empty
  std::vector<std::string> labels;  ///< names of the points, for messages; or empty
  [[nodiscard]] std::size_t size() const { return y.size(); }
};

/// A parameter as it is reported.
struct LawParameter {
  std::string name;
  double estimate = 0;
  double se = 0;  ///< infinite: not known
  Interval ci95 = {};
  std::string ci_method;  ///< "t", "profile", "delta", "exp of t", ...
};

/// A fitted law, or the reason why there is none.
struct LawFit {
  std::string law;       ///< its name in the registry
  std::string formula;   ///< for people: "y = C x^beta"
  std::string response;  ///< what the residuals are of: "ln y" or "y"
  FitStatus status = FitStatus::not_converged;
  std::string detail;  ///< of the status
  std::size_t n = 0;
  int df = 0;
  std::vector<LawParameter> parameters;
  Matrix covariance;  ///< of the parameters in `internal_names` order (as they were optimised)
  std::vector<double> internal;             ///< the optimised values (e.g. ln C, beta)
  std::vector<std::string> internal_names;  ///< e.g. "ln_C", "beta"
  double rss = 0;
  double s = 0;
  double r2 = 0;  ///< of the response; not evidence
  std::string objective_name = "sum of squares";
  double objective = 0;
  std::optional<double> log_likelihood;  ///< of the response; nothing where it has no density
  std::optional<double> aic;             ///< k counts sigma (R's convention)
  std::optional<double> aicc;            ///< nothing when n <= k + 1
  std::optional<double> bic;
  std::vector<double> fitted;  ///< of the response
  std::vector<double> residuals;
  std::vector<double> leverage;
  std::vector<double> cooks_distance;
  std::vector<std::string> warnings;
  [[nodiscard]] bool ok() const { return status == FitStatus::converged; }
  /// Throws InternalError for a name that the law does not have.
  [[nodiscard]] const LawParameter& parameter(const std::string& name) const;
};

/// A law of the registry. AICc compares laws only if they were fitted to the same response.
struct Law {
  std::string name;
  std::string formula;
  std::string about;                        ///< one line with the source
  std::vector<std::string> variables;       ///< what x stands for: {"x"}, {"N", "D"}
  std::string fitted_response;              ///< "ln y" or "y"
  std::vector<std::string> internal_names;  ///< of the optimised values
  std::vector<std::string> parameter_names;
  std::vector<std::string> rivals;  ///< laws for the same question, itself among them
  std::size_t fewest_points = 0;
  bool positive_x = true;  ///< takes logarithms or powers of x
  /// `start`: optimised values to begin at, e.g. those of the fit that a bootstrap repeats; empty:
  /// the law's own starts.
  std::function<LawFit(const LawData&, std::span<const double> start)> fit;
  /// The response ("ln y" or "y") at x and, unless `gradient` is empty, its derivatives by the
  /// optimised values.
  std::function<double(std::span<const double> internal, std::span<const double> x,
                       std::span<double> gradient)>
      response;
  /// The parameters' values as they are reported.
  std::function<std::vector<double>(std::span<const double> internal)> reported;
};

const std::vector<Law>& laws();
/// Throws InvalidInput (settings) naming the nearest law.
const Law& find_law(const std::string& name);

/// The law fitted to the data. Data that do not determine it give a status, never a throw; values
/// outside the law's domain (x <= 0 in a power law, NaN) throw InvalidInput (data) naming the
/// point.
LawFit fit_law(const std::string& name, const LawData& data);

/// Mean and prediction bands at x, on the scale of y (delta method with the full covariance).
struct LawBand {
  double y = 0;
  Interval mean95 = {};
  Interval prediction95 = {};
  Interval simultaneous95 = {};  ///< Scheffe (Working-Hotelling for two parameters)
};
LawBand band_at(const LawFit& fit, std::span<const double> x);

/// y at x: exp of the response where that is ln y. NaN outside the law's domain.
double predict(const LawFit& fit, std::span<const double> x);

/// Rivals on the same data, best AICc first, with differences and Akaike weights. Likelihoods of
/// ln y and of y are compared as densities of y (the Jacobian's term: minus sum ln y).
struct Rival {
  LawFit fit;
  std::optional<double> aicc;  ///< of the density of y; nothing unless the fit is ok
  double delta_aicc = 0;       ///< infinite where AICc is not defined, or for one law only
  double weight = 0;
};
std::vector<Rival> compare_laws(const std::vector<std::string>& names, const LawData& data);

/// Errors of prediction for points that the fit did not see, as ln(predicted / observed) where the
/// response is ln y, else predicted - observed. Nothing where the refit failed.
struct HeldOut {
  std::vector<std::optional<double>> errors;  ///< leave-one-out, one per point
  std::optional<double> rms;                  ///< of those that exist
  std::size_t n_failed = 0;
  /// The points with the largest product of the variables, predicted from all others.
  std::vector<std::size_t> largest;
  std::vector<double> largest_errors;  ///< empty: the others do not determine the law
  std::string largest_status = "ok";
};
HeldOut hold_out(const LawFit& fit, const LawData& data);

}  // namespace pg::post
