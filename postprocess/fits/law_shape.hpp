#pragma once

#include <string>
#include <vector>

#include "postprocess/fits/law.hpp"

// What the laws share: a law by least squares is a formula with its derivatives, starts and names;
// fitting, errors, criteria and warnings are the same for all.

namespace pg::post {

inline constexpr const char* kLnY = "ln y";
inline constexpr const char* kY = "y";

/// How a reported parameter follows from the optimised values.
struct Reported {
  std::string name;
  enum class Kind { same, negated, exponential, derived, exp_derived } kind = Kind::same;
  std::size_t index = 0;  ///< of the optimised value; not for the derived kinds
  /// The derived kinds only; of `exp_derived` the logarithm, on which its interval is made.
  std::function<double(std::span<const double>)> value = {};
};

struct Shape {
  std::string name;
  std::string formula;
  std::string about;
  std::vector<std::string> variables = {"x"};
  std::string response = kLnY;
  std::vector<std::string> internal_names;
  std::vector<Reported> reported;
  std::vector<std::string> rivals;
  std::size_t fewest_points = 0;    ///< below it: not_identifiable
  std::size_t fewest_distinct = 2;  ///< distinct values of each variable
  bool positive_x = true;
  bool linear = false;    ///< in the optimised values: `model`'s gradient is the design
  bool constant = false;  ///< the design spans the constant
  bool profile = false;   ///< profile intervals; else t with the delta method
  std::string label;      ///< "exploratory": a warning with every fit
  std::function<double(std::span<const double>, std::span<const double>, std::span<double>)> model;
  /// Not for linear laws. No start: the data contradict the law's form.
  std::function<std::vector<std::vector<double>>(const LawData&)> starts;
  /// Why the data do not determine a fit that converged; empty: they do.
  std::function<std::string(const LawFit&, const LawData&)> doubt;
  /// A warning of the law's own, or nothing.
  std::function<std::string(const LawFit&)> remark;
};

Law make_law(Shape shape);

/// Laws by topic; the registry is their union.
std::vector<Law> power_laws();  ///< and lines, and a power law with a break
std::vector<Law> batch_laws();
std::vector<Law> loss_laws();
std::vector<Law> chinchilla_laws();

/// Throws InvalidInput (data) naming the first point that a law of this response and these
/// variables cannot use: not finite, not positive where a logarithm is taken, a weight <= 0.
void check_domain(const LawData& data, const std::string& law, bool positive_x, bool positive_y);

/// The data's responses.
std::vector<double> responses(const LawData& data, const std::string& response);

std::size_t n_distinct(std::vector<double> values);

/// A fit with the names of the law filled in and a status that is not ok.
LawFit no_fit(const Law& law, const LawData& data, FitStatus status, std::string detail);

/// Everything that follows from the optimised values: fitted values, residuals, R^2, and, from the
/// law's derivatives there, covariance, leverage and Cook's distance; t intervals by the delta
/// method. `reported` as in Shape.
void complete_fit(const Law& law, const std::vector<Reported>& reported, const LawData& data,
                  LawFit& fit);

/// Gaussian log-likelihood and criteria; k counts sigma.
void set_gaussian_criteria(const LawData& data, LawFit& fit);

/// Warnings that hold for any law: curvature left in the residuals, lack of fit against repeated
/// points, influential points.
void add_warnings(const Law& law, const LawData& data, LawFit& fit);

}  // namespace pg::post
