#include "postprocess/fits/exponent_bootstrap.hpp"

#include <cmath>

#include "base/random.hpp"
#include "postprocess/fits/surface_design.hpp"
#include "postprocess/stats/linear_model.hpp"

namespace pg::post {
namespace {

/// Residuals with equal variances (divided by sqrt(1 - h)) and mean zero. A point that the fit
/// passes through whatever its value has no residual to give.
std::vector<double> fair_residuals(const std::vector<double>& residuals,
                                   const std::vector<double>& leverage) {
  constexpr double kLargestLeverage = 1 - 1e-9;
  std::vector<double> fair;
  double mean = 0;
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    if (leverage[i] < kLargestLeverage) fair.push_back(residuals[i] / std::sqrt(1 - leverage[i]));
  }
  for (const double e : fair) mean += e / static_cast<double>(fair.size());
  for (double& e : fair) e -= mean;
  return fair;
}

void set_intervals(const BootstrapSample& sample, double beta, double se,
                   const ResamplingPlan& plan, ExponentBootstrap& out) {
  out.status = "ok";
  out.n_replicates = plan.n_replicates;
  out.n_degenerate = sample.n_degenerate;
  out.seed = plan.seed;
  out.studentised = studentised_interval(sample, beta, se);
  out.percentile = percentile_interval(sample);
  if (!out.studentised.ok()) out.status = "not available: " + out.studentised.status;
}

/// A design with its least-squares operator, so that a replicate costs a few products.
struct Operator {
  Matrix solve;                  ///< p x n: (X'X)^-1 X'
  std::vector<double> variance;  ///< p x p: (X'X)^-1, row-major
  std::size_t n = 0;
  std::size_t p = 0;
};

Operator operator_of(const Matrix& design) {
  Operator op;
  op.n = design.rows();
  op.p = design.columns();
  op.solve = Matrix(op.p, op.n);
  std::vector<double> unit(op.n, 0.0);
  for (std::size_t i = 0; i < op.n; ++i) {
    unit[i] = 1;
    const auto fit = fit_linear(design, unit, Constant::absent);
    for (std::size_t j = 0; j < op.p; ++j) op.solve(j, i) = fit->coefficients[j];
    unit[i] = 0;
  }
  op.variance.assign(op.p * op.p, 0.0);
  for (std::size_t a = 0; a < op.p; ++a) {
    for (std::size_t b = 0; b < op.p; ++b) {
      for (std::size_t i = 0; i < op.n; ++i) {
        op.variance[a * op.p + b] += op.solve(a, i) * op.solve(b, i);
      }
    }
  }
  return op;
}

}  // namespace

ExponentBootstrap bootstrap_line(const ExponentEstimate& line, const std::vector<LinePoint>& points,
                                 const ResamplingPlan& plan) {
  ExponentBootstrap out;
  out.name = line.name;
  out.status = line.status;
  if (!line.ok()) return out;
  if (points.size() < 4) {
    out.status = "not possible: fewer than four batches";
    return out;
  }
  std::vector<double> x;
  std::vector<double> y;
  for (const LinePoint& point : points) {
    x.push_back(std::log(static_cast<double>(point.batch)));
    y.push_back(point.ln_lr);
  }
  const auto fit = fit_line(x, y);
  set_intervals(resample_slope(*fit, x, plan.n_replicates, plan.seed, plan.threads), line.beta,
                line.beta_se, plan, out);
  return out;
}

ExponentBootstrap bootstrap_surface(const SurfaceFit& surface, const std::vector<BatchCells>& table,
                                    const std::vector<Optimum>& optima,
                                    const ResamplingPlan& plan) {
  ExponentBootstrap out;
  out.name = surface.estimate.name;
  out.status = surface.estimate.status;
  if (!surface.estimate.ok()) return out;
  if (surface.between_batches) {
    out.status =
        "not used: the batches scatter about the line by more than the cells explain, and "
        "resampled cells would understate the error";
    return out;
  }
  const SurfaceDesign design = design_surface(table, optima, surface.window);
  const Matrix columns = design.line();
  const std::vector<double> losses = design.losses();
  const auto fit = fit_linear(columns, losses, Constant::present);
  const std::vector<double> fair = fair_residuals(fit->residuals, fit->leverage);
  const Operator op = operator_of(columns);
  const std::size_t k = design.batches.size();  // columns k, k + 1, k + 2: x^2, x, x ln B
  const double df = fit->df;

  const auto replicate = [&](std::uint64_t r) -> std::optional<Replicate> {
    const random::Stream stream(plan.seed, random::Purpose::bootstrap, r);
    std::vector<double> noise(op.n);
    for (std::size_t i = 0; i < op.n; ++i) noise[i] = fair[stream.below(fair.size(), i)];
    // The fit of (fitted + noise) is the old coefficients plus the fit of the noise.
    std::vector<double> shift(op.p, 0.0);
    for (std::size_t j = 0; j < op.p; ++j) {
      for (std::size_t i = 0; i < op.n; ++i) shift[j] += op.solve(j, i) * noise[i];
    }
    double rss = 0;
    for (std::size_t i = 0; i < op.n; ++i) {
      double rest = noise[i];
      for (std::size_t j = 0; j < op.p; ++j) rest -= columns(i, j) * shift[j];
      rss += rest * rest;
    }
    const double curvature = fit->coefficients[k] + shift[k];
    const double cross = fit->coefficients[k + 2] + shift[k + 2];
    if (curvature <= 0) return std::nullopt;
    const double beta = -cross / (2 * curvature);
    const auto v = [&](std::size_t a, std::size_t b) { return op.variance[a * op.p + b]; };
    const double variance = (beta * beta * v(k, k) + beta * v(k, k + 2) + v(k + 2, k + 2) / 4) /
                            (curvature * curvature) * rss / df;
    return Replicate{beta, std::sqrt(variance)};
  };
  set_intervals(run_bootstrap(plan.n_replicates, plan.threads, replicate), surface.estimate.beta,
                surface.pooled_beta_se, plan, out);
  return out;
}

}  // namespace pg::post
