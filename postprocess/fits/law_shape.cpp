#include "postprocess/fits/law_shape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>

#include "base/error.hpp"
#include "base/text.hpp"

namespace pg::post {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> point(const LawData& data, std::size_t i) {
  std::vector<double> x;
  for (const auto& column : data.x) x.push_back(column[i]);
  return x;
}

double root_weight(const LawData& data, std::size_t i) {
  return data.weights.empty() ? 1.0 : std::sqrt(data.weights[i]);
}

double report(const Reported& r, std::span<const double> b) {
  switch (r.kind) {
    case Reported::Kind::same: return b[r.index];
    case Reported::Kind::negated: return -b[r.index];
    case Reported::Kind::exponential: return std::exp(b[r.index]);
    case Reported::Kind::derived: return r.value(b);
    case Reported::Kind::exp_derived: return std::exp(r.value(b));
  }
  return 0;
}

bool is_derived(const Reported& r) {
  return r.kind == Reported::Kind::derived || r.kind == Reported::Kind::exp_derived;
}

/// Derivatives of a derived parameter by central differences of fourth order.
std::vector<double> slopes_of(const Reported& r, std::span<const double> b) {
  std::vector<double> slopes(b.size());
  std::vector<double> at(b.begin(), b.end());
  for (std::size_t j = 0; j < b.size(); ++j) {
    const double h = 1e-3 * std::max(std::abs(b[j]), 1e-3);
    const auto value = [&](double steps) {
      at[j] = b[j] + steps * h;
      const double v = r.value(at);
      at[j] = b[j];
      return v;
    };
    slopes[j] = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * h);
  }
  return slopes;
}

/// Fills a parameter from the interval of its optimised value (or by the delta method).
LawParameter parameter_from(const Reported& r, const LawFit& fit, const Interval* internal_ci,
                            const std::string& method) {
  LawParameter p{r.name, report(r, fit.internal), kInfinity, {-kInfinity, kInfinity}, "none"};
  if (fit.covariance.rows() == 0 || fit.df < 1) return p;
  if (is_derived(r)) {
    const std::vector<double> g = slopes_of(r, fit.internal);
    double variance = 0;
    for (std::size_t i = 0; i < g.size(); ++i) {
      for (std::size_t j = 0; j < g.size(); ++j) variance += g[i] * fit.covariance(i, j) * g[j];
    }
    const double se = std::sqrt(std::max(0.0, variance));
    const double value = r.value(fit.internal);
    p.ci95 = student_interval(value, se, fit.df);
    p.se = se;
    p.ci_method = "delta";
    if (r.kind == Reported::Kind::exp_derived) {
      p.se = p.estimate * se;
      p.ci95 = {std::exp(p.ci95.low), std::exp(p.ci95.high)};
      p.ci_method = "exp of delta";
    }
    return p;
  }
  const double se = std::sqrt(fit.covariance(r.index, r.index));
  const Interval ci =
      internal_ci ? *internal_ci : student_interval(fit.internal[r.index], se, fit.df);
  p.ci_method = method;
  switch (r.kind) {
    case Reported::Kind::negated:
      p.se = se;
      p.ci95 = {-ci.high, -ci.low};
      break;
    case Reported::Kind::exponential:
      p.se = p.estimate * se;
      p.ci95 = {std::exp(ci.low), std::exp(ci.high)};
      p.ci_method = "exp of " + method;
      break;
    default: p.se = se; p.ci95 = ci;
  }
  return p;
}

/// The law's derivatives at all points, as a design.
Matrix design_of(const Law& law, const LawData& data, std::span<const double> b) {
  Matrix design(data.size(), b.size());
  std::vector<double> row(b.size());
  for (std::size_t i = 0; i < data.size(); ++i) {
    law.response(b, point(data, i), row);
    for (std::size_t j = 0; j < b.size(); ++j) design(i, j) = row[j];
  }
  return design;
}

LeastSquaresProblem problem_of(const Shape& shape, const LawData& data) {
  const std::vector<double> y = responses(data, shape.response);
  LeastSquaresProblem problem;
  problem.n = data.size();
  problem.p = shape.internal_names.size();
  problem.residuals = [&shape, &data, y](std::span<const double> b, std::span<double> r) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      r[i] = root_weight(data, i) * (y[i] - shape.model(b, point(data, i), {}));
    }
  };
  problem.jacobian = [&shape, &data](std::span<const double> b, Matrix& jacobian) {
    std::vector<double> row(b.size());
    for (std::size_t i = 0; i < data.size(); ++i) {
      shape.model(b, point(data, i), row);
      for (std::size_t j = 0; j < b.size(); ++j) jacobian(i, j) = -root_weight(data, i) * row[j];
    }
  };
  return problem;
}

std::string too_little(const Shape& shape, const LawData& data) {
  if (data.size() < shape.fewest_points) {
    return fmt::format("{} points, but {} needs at least {}", data.size(), shape.name,
                       shape.fewest_points);
  }
  for (std::size_t v = 0; v < data.x.size(); ++v) {
    const std::size_t distinct = n_distinct(data.x[v]);
    if (distinct < shape.fewest_distinct) {
      return fmt::format("{} has {} distinct value{}, but {} needs at least {}", shape.variables[v],
                         distinct, distinct == 1 ? "" : "s", shape.name, shape.fewest_distinct);
    }
  }
  return "";
}

void fit_linear_shape(const Shape& shape, const Law& law, const LawData& data, LawFit& fit) {
  const std::vector<double> zero(shape.internal_names.size(), 0.0);
  const auto line = fit_linear(design_of(law, data, zero), responses(data, shape.response),
                               shape.constant ? Constant::present : Constant::absent, data.weights);
  if (!line) {
    fit.status = FitStatus::rank_deficient;
    fit.detail = "a column of the design is a combination of the others";
    return;
  }
  fit.status = FitStatus::converged;
  fit.internal = line->coefficients;
}

void fit_curved_shape(const Shape& shape, const LawData& data, std::span<const double> start,
                      LawFit& fit) {
  std::vector<std::vector<double>> starts;
  if (!start.empty()) {
    starts.emplace_back(start.begin(), start.end());
  } else {
    starts = shape.starts(data);
  }
  if (starts.empty()) {
    fit.status = FitStatus::not_identifiable;
    fit.detail = "the data run against the form of the law";
    return;
  }
  const LeastSquaresProblem problem = problem_of(shape, data);
  const NonlinearFit found = fit_from_starts(problem, starts);
  fit.status = found.status;
  fit.detail = found.detail;
  fit.internal = found.b;
}

/// Profile intervals of the optimised values, where the shape asks for them.
void set_profiles(const Shape& shape, const LawData& data, LawFit& fit) {
  if (!shape.profile || fit.df < 1 || fit.covariance.rows() == 0 || fit.rss <= 0) return;
  const LeastSquaresProblem problem = problem_of(shape, data);
  const NonlinearFit found = fit_least_squares(problem, fit.internal);
  if (found.rss > fit.rss * (1 + 1e-6) || found.df < 1) return;
  NonlinearFit at = found;
  at.status = FitStatus::converged;
  for (LawParameter& p : fit.parameters) {
    for (const Reported& r : shape.reported) {
      if (r.name != p.name || is_derived(r)) continue;
      const Interval ci = profile_interval(problem, at, r.index);
      p = parameter_from(r, fit, &ci, "profile");
      for (const bool low : {true, false}) {
        const bool internal_low = low != (r.kind == Reported::Kind::negated);
        if (std::isfinite(internal_low ? ci.low : ci.high)) continue;
        fit.warnings.push_back(
            fmt::format("the points do not bound {} from {}: its profile has no end there", p.name,
                        low ? "below" : "above"));
      }
    }
  }
}

LawFit fit_shape(const Shape& shape, const Law& law, const LawData& data,
                 std::span<const double> start) {
  check_domain(data, shape.name, shape.positive_x, shape.response == kLnY);
  if (const std::string reason = too_little(shape, data); !reason.empty()) {
    return no_fit(law, data, FitStatus::not_identifiable, reason);
  }
  LawFit fit = no_fit(law, data, FitStatus::not_converged, "");
  if (shape.linear) {
    fit_linear_shape(shape, law, data, fit);
  } else {
    fit_curved_shape(shape, data, start, fit);
  }
  if (fit.internal.empty()) return fit;
  complete_fit(law, shape.reported, data, fit);
  if (fit.ok() && shape.doubt) {
    fit.detail = shape.doubt(fit, data);
    if (!fit.detail.empty()) fit.status = FitStatus::not_identifiable;
  }
  if (!fit.ok()) return fit;
  set_gaussian_criteria(data, fit);
  if (start.empty()) {  // a bootstrap's replicates need neither
    set_profiles(shape, data, fit);
    add_warnings(law, data, fit);
    if (!shape.label.empty()) fit.warnings.push_back(shape.label);
    if (shape.remark) {
      if (std::string remark = shape.remark(fit); !remark.empty()) {
        fit.warnings.push_back(std::move(remark));
      }
    }
  }
  return fit;
}

}  // namespace

void check_domain(const LawData& data, const std::string& law, bool positive_x, bool positive_y) {
  const auto name = [&](std::size_t i) {
    return i < data.labels.size() ? data.labels[i] : fmt::format("point {}", i + 1);
  };
  const auto refuse = [&](std::size_t i, const std::string& what, double value,
                          const std::string& expected) {
    throw_data(fmt::format("{}: {} is {}", name(i), what, shortest(value)), expected,
               "leave the point out, or choose another law than " + law);
  };
  for (std::size_t i = 0; i < data.size(); ++i) {
    for (std::size_t v = 0; v < data.x.size(); ++v) {
      const double x = data.x[v][i];
      const std::string what = data.x.size() == 1 ? "x" : fmt::format("x{}", v + 1);
      if (!std::isfinite(x)) refuse(i, what, x, "a finite number");
      if (positive_x && x <= 0) refuse(i, what, x, "a number above zero, for its logarithm");
    }
    if (!std::isfinite(data.y[i])) refuse(i, "y", data.y[i], "a finite number");
    if (positive_y && data.y[i] <= 0) {
      refuse(i, "y", data.y[i], "a number above zero, for its logarithm");
    }
    if (!data.weights.empty() && !(data.weights[i] > 0 && std::isfinite(data.weights[i]))) {
      refuse(i, "the weight", data.weights[i], "a finite number above zero");
    }
  }
}

std::vector<double> responses(const LawData& data, const std::string& response) {
  std::vector<double> y = data.y;
  if (response == kLnY) {
    for (double& value : y) value = std::log(value);
  }
  return y;
}

std::size_t n_distinct(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return static_cast<std::size_t>(std::unique(values.begin(), values.end()) - values.begin());
}

LawFit no_fit(const Law& law, const LawData& data, FitStatus status, std::string detail) {
  LawFit fit;
  fit.law = law.name;
  fit.formula = law.formula;
  fit.response = law.fitted_response;
  fit.internal_names = law.internal_names;
  fit.status = status;
  fit.detail = std::move(detail);
  fit.n = data.size();
  fit.df = static_cast<int>(data.size()) - static_cast<int>(law.internal_names.size());
  return fit;
}

void complete_fit(const Law& law, const std::vector<Reported>& reported, const LawData& data,
                  LawFit& fit) {
  const std::vector<double> y = responses(data, fit.response);
  fit.fitted.clear();
  for (std::size_t i = 0; i < y.size(); ++i) {
    fit.fitted.push_back(law.response(fit.internal, point(data, i), {}));
    fit.residuals.push_back(y[i] - fit.fitted[i]);
  }
  double weight_sum = 0;
  double mean = 0;
  fit.rss = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double w = root_weight(data, i) * root_weight(data, i);
    weight_sum += w;
    mean += w * y[i];
    fit.rss += w * fit.residuals[i] * fit.residuals[i];
  }
  mean /= weight_sum;
  double tss = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double w = root_weight(data, i) * root_weight(data, i);
    tss += w * (y[i] - mean) * (y[i] - mean);
  }
  fit.objective = fit.rss;
  fit.r2 = tss > 0 ? 1 - fit.rss / tss : 0;
  fit.s = fit.df > 0 ? std::sqrt(fit.rss / fit.df) : 0;
  // The residuals regressed on the derivatives: no step is left to take, and the covariance,
  // leverage and Cook's distance are those of the linearised law.
  const auto linear = fit_linear(design_of(law, data, fit.internal), fit.residuals,
                                 Constant::present, data.weights);
  if (!linear) {
    if (fit.ok()) {
      fit.status = FitStatus::rank_deficient;
      fit.detail = "the derivatives by the parameters are linearly dependent at the estimate";
    }
  } else {
    fit.leverage = linear->leverage;
    if (fit.df > 0) {
      fit.covariance = linear->covariance;
      fit.cooks_distance = linear->cooks_distance;
    }
  }
  fit.parameters.clear();
  for (const Reported& r : reported) {
    fit.parameters.push_back(parameter_from(r, fit, nullptr, "t"));
  }
}

void set_gaussian_criteria(const LawData& data, LawFit& fit) {
  if (fit.rss <= 0) return;  // an exact fit: the likelihood has no bound
  const double n = static_cast<double>(fit.n);
  double half_ln_weights = 0;
  for (const double w : data.weights) half_ln_weights += 0.5 * std::log(w);
  fit.log_likelihood = half_ln_weights - n / 2 * (std::log(2 * std::numbers::pi * fit.rss / n) + 1);
  const double k = static_cast<double>(fit.internal.size()) + 1;
  fit.aic = 2 * k - 2 * *fit.log_likelihood;
  fit.bic = k * std::log(n) - 2 * *fit.log_likelihood;
  if (n > k + 1) fit.aicc = *fit.aic + 2 * k * (k + 1) / (n - k - 1);
}

Law make_law(Shape given) {
  const auto shape = std::make_shared<const Shape>(std::move(given));
  Law law;
  law.name = shape->name;
  law.formula = shape->formula;
  law.about = shape->about;
  law.variables = shape->variables;
  law.fitted_response = shape->response;
  law.internal_names = shape->internal_names;
  for (const Reported& r : shape->reported) law.parameter_names.push_back(r.name);
  law.rivals = shape->rivals;
  law.fewest_points = shape->fewest_points;
  law.positive_x = shape->positive_x;
  law.response = shape->model;
  law.reported = [shape](std::span<const double> b) {
    std::vector<double> values;
    for (const Reported& r : shape->reported) values.push_back(report(r, b));
    return values;
  };
  law.fit = [shape](const LawData& data, std::span<const double> start) {
    return fit_shape(*shape, find_law(shape->name), data, start);
  };
  return law;
}

}  // namespace pg::post
