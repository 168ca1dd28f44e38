#include "postprocess/fits/alpha_optimum.hpp"
#include "postprocess/fits/gating_arms.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/text.hpp"
#include "postprocess/stats/linear_model.hpp"
#include "postprocess/stats/ratio.hpp"

namespace pg::post {
namespace {

struct Point {
  double alpha = 0;
  std::uint64_t seed = 0;
  double loss = 0;
};

/// A column per seed (what a seed adds to all alphas alike), then the columns of `terms`.
template <typename Terms>
std::optional<LinearFit> fit_with_seeds(const std::vector<Point>& points, std::size_t n_terms,
                                        Terms terms) {
  std::map<std::uint64_t, std::size_t> seeds;
  for (const Point& p : points) seeds.emplace(p.seed, seeds.size());
  Matrix x(points.size(), seeds.size() + n_terms);
  std::vector<double> y;
  for (std::size_t i = 0; i < points.size(); ++i) {
    x(i, seeds.at(points[i].seed)) = 1;
    for (std::size_t k = 0; k < n_terms; ++k) {
      x(i, seeds.size() + k) = terms(points[i].alpha, k);
    }
    y.push_back(points[i].loss);
  }
  return fit_linear(x, y, Constant::present);
}

/// F test of the quadratic against a free value per alpha.
std::optional<double> misfit(const std::vector<Point>& points, const std::vector<double>& alphas,
                             const LinearFit& quadratic) {
  if (alphas.size() < 4) return std::nullopt;
  const auto free = fit_with_seeds(points, alphas.size() - 1, [&](double alpha, std::size_t k) {
    return alpha == alphas[k + 1] ? 1.0 : 0.0;
  });
  if (!free || free->df < 1 || !(free->rss > 0)) return std::nullopt;
  const double more = quadratic.df - free->df;
  if (more < 1) return std::nullopt;
  const double f = (quadratic.rss - free->rss) / more / (free->rss / free->df);
  return fisher_upper_p(std::max(0.0, f), more, free->df);
}

void locate(const std::vector<Point>& points, AlphaOptimum& o) {
  if (o.alphas.size() < 3) {
    o.detail = "fewer than three values of alpha: no curvature is known";
    return;
  }
  // Centred, so that the two columns are nearly independent.
  const double centre = (o.alphas.front() + o.alphas.back()) / 2;
  const auto fit = fit_with_seeds(points, 2, [&](double alpha, std::size_t k) {
    return k == 0 ? alpha - centre : (alpha - centre) * (alpha - centre);
  });
  if (!fit || fit->df < 1 || !(fit->s > 0)) {
    o.detail = "no degree of freedom is left: more seeds or more values of alpha";
    return;
  }
  const std::size_t at = fit->coefficients.size() - 2;
  const double b1 = fit->coefficients[at];
  const double b2 = fit->coefficients[at + 1];
  const double v11 = fit->covariance(at, at);
  const double v22 = fit->covariance(at + 1, at + 1);
  const double v12 = fit->covariance(at, at + 1);
  o.df = fit->df;
  double level = 0;
  for (std::size_t seed = 0; seed < at; ++seed) {
    level += fit->coefficients[seed] / static_cast<double>(at);
  }
  o.parabola = AlphaParabola{centre, level, b1, b2};
  o.curvature_p = student_upper_p(b2 / std::sqrt(v22), o.df);
  o.misfit_p = misfit(points, o.alphas, *fit);
  const double half = (o.alphas.back() - o.alphas.front()) / 2;
  // The slope at each end of the tested range decides whether the optimum lies inside.
  const auto slope_t = [&](double u) {
    return (b1 + 2 * b2 * u) / std::sqrt(v11 + 4 * u * u * v22 + 4 * u * v12);
  };
  if (slope_t(-half) > 0 && slope_t(half) > 0 &&
      student_upper_p(std::min(slope_t(-half), slope_t(half)), o.df) < 0.05) {
    o.status = "edge_low";
    o.alpha = o.alphas.front();
    o.detail = "the loss rises over the whole range: the optimum is at or below its lower end";
    return;
  }
  if (slope_t(-half) < 0 && slope_t(half) < 0 &&
      student_upper_p(-std::max(slope_t(-half), slope_t(half)), o.df) < 0.05) {
    o.status = "edge_high";
    o.alpha = o.alphas.back();
    o.detail = "the loss falls over the whole range: the optimum is at or above its upper end";
    return;
  }
  if (!(o.curvature_p < 0.05)) {
    o.detail = b2 > 0 ? "the loss is flat along alpha within its noise"
                      : "the loss is not convex along alpha";
    return;
  }
  const double u = -b1 / (2 * b2);
  const Interval ci = fieller_interval(-b1, 2 * b2, v11, 4 * v22, -2 * v12, o.df);
  o.alpha = centre + u;
  o.ci95 = {centre + ci.low, centre + ci.high};
  o.se = std::sqrt(v11 + 4 * u * u * v22 + 4 * u * v12) / std::abs(2 * b2);
  if (u <= -half || u >= half) {
    o.status = u < 0 ? "edge_low" : "edge_high";
    o.detail = "the vertex lies outside the tested range: a bound only";
    return;
  }
  o.status = "determined";
}

}  // namespace

double AlphaParabola::at(double alpha) const {
  const double u = alpha - centre;
  return level + slope * u + curvature * u * u;
}

std::vector<AlphaOptimum> find_alpha_optima(const GatingAnalysis& a) {
  std::vector<AlphaOptimum> optima;
  for (std::size_t block = 0; block < a.blocks.size(); ++block) {
    std::map<std::string, std::vector<Point>> points;
    for (const std::size_t i : a.blocks[block].arms) {
      const SettingValues& settings = a.arms[i].settings;
      const auto alpha = parse_real(value_at(settings, "gate.alpha"));
      const auto& rows = a.arms[i].rows;
      const bool diverged = std::any_of(rows.begin(), rows.end(),
                                        [&](std::size_t r) { return a.table.rows[r].diverged(); });
      if (!alpha || diverged) continue;
      auto& list = points[gate_of(a.arms[i])];
      for (const std::size_t r : rows) {
        const TrialRow& row = a.table.rows[r];
        if (row.usable()) list.push_back({*alpha, row.seed, row.loss});
      }
    }
    for (auto& [gate, list] : points) {
      std::set<double> alphas;
      for (const Point& p : list) alphas.insert(p.alpha);
      if (alphas.size() < 2) continue;
      AlphaOptimum o;
      o.block = block;
      o.gate = gate;
      o.n = list.size();
      o.alphas.assign(alphas.begin(), alphas.end());
      locate(list, o);
      optima.push_back(std::move(o));
    }
  }
  return optima;
}

}  // namespace pg::post
