#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postprocess/plots/curve.hpp"
#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

/// A measured point; `ci95` with low == high: no interval known.
struct PlotPoint {
  double x = 0;
  double y = 0;
  Interval ci95 = {};
  std::string label;    ///< or empty
  bool hollow = false;  ///< left out of the fit
};

/// One fitted law with its data and rivals.
struct LawPlotData {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = true;
  bool log_y = true;
  std::vector<PlotPoint> points;
  Curve fit;                  ///< empty: no fit
  std::vector<Curve> rivals;  ///< lines without bands
};
Picture law_fit(const std::string& name, const LawPlotData& data);

/// One model of a size study.
struct SizePoint {
  int d_model = 0;
  int n_layers = 0;
  double n_parameters = 0;
  double perplexity = 0;
  Interval perplexity_ci95 = {};  ///< between seeds; low == high: not known
  double seconds = 0;             ///< training time
};
struct ScalingLawsData {
  std::vector<SizePoint> points;
  Curve perplexity_fit;  ///< against n_parameters; may be empty
  Curve time_fit;        ///< seconds against n_parameters; may be empty
};
/// scaling_laws: perplexity against parameters (log-log), against d_model for each n_layers,
/// against n_layers for each d_model, and training time against parameters.
Picture scaling_laws(const ScalingLawsData& data);

/// One FLOP budget: losses by size and the parabola through them.
struct IsoflopBudget {
  double flops = 0;
  std::vector<PlotPoint> points;  ///< x: parameters, y: loss
  Curve parabola;                 ///< loss against parameters; may be empty
  std::optional<double> best_n;
  std::optional<double> best_loss;
  std::optional<Interval> best_n_ci95;
};
struct IsoflopData {
  std::string title;
  std::vector<IsoflopBudget> budgets;  ///< by rising FLOPs
  Curve best_n_law;                    ///< N* against FLOPs; may be empty
};
/// Loss against parameters per budget (left), N* against the budget (right).
Picture isoflop(const std::string& name, const IsoflopData& data);

}  // namespace pg::post
