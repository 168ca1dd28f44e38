#include <fmt/format.h>

#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/law_plots.hpp"

namespace pg::post {
namespace {

std::string losses_panel(const IsoflopData& data) {
  PlotCommand plot;
  std::vector<double> x;
  std::vector<double> y;
  std::vector<std::string> best;
  for (std::size_t b = 0; b < data.budgets.size(); ++b) {
    const IsoflopBudget& budget = data.budgets[b];
    const std::string rgb = sequence_colour(b, data.budgets.size());
    std::vector<std::string> points;
    for (const PlotPoint& p : budget.points) {
      x.push_back(p.x);
      y.push_back(p.y);
      points.push_back(fmt::format("{} {}", p.x, p.y));
    }
    Curve parabola = budget.parabola;
    parabola.label.clear();
    add_curve(plot, fmt::format("parabola{}", b), parabola, rgb);
    plot.add(fmt::format("points{}", b), points,
             fmt::format("using 1:2 with points pt 7 ps 1.1 lc rgb '{}' title '{} FLOPs'", rgb,
                         short_number(*parse_real(fmt::format("{:.3g}", budget.flops)))));
    if (budget.best_n && budget.best_loss) {
      best.push_back(fmt::format("{} {}", *budget.best_n, *budget.best_loss));
    }
  }
  add_stars(plot, "best", best, "minimum");
  return "set title 'Loss by size at equal compute'\nset xlabel 'parameters N'\n"
         "set ylabel 'loss (nats per token)'\n"
         "set key at screen 0.27, 0.012 center bottom Left reverse samplen 2 vertical maxrows 5\n" +
         axis('x', range_of(x, true), true) + axis('y', range_of(y, false), false) + plot.blocks() +
         plot.command();
}

std::string law_panel(const IsoflopData& data) {
  PlotCommand plot;
  std::vector<double> x;
  std::vector<double> y;
  std::vector<std::string> best;
  for (const IsoflopBudget& b : data.budgets) {
    if (!b.best_n) continue;
    x.push_back(b.flops);
    const bool known = b.best_n_ci95 && b.best_n_ci95->finite() && b.best_n_ci95->low > 0;
    const Interval ci = known ? *b.best_n_ci95 : Interval{*b.best_n, *b.best_n};
    y.insert(y.end(), {*b.best_n, ci.low, ci.high});
    best.push_back(fmt::format("{} {} {} {}", b.flops, *b.best_n, ci.low, ci.high));
  }
  add_curve(plot, "law", data.best_n_law, colour::kBlue);
  plot.add("best_n", best,
           fmt::format("using 1:2:3:4 with yerrorbars pt 7 ps 1.3 lw 2 lc rgb '{}' title "
                       "'minimum of a parabola'",
                       colour::kBlack));
  return "set title 'Best size by compute'\nset xlabel 'compute C (FLOPs)'\n"
         "set ylabel 'best size N*'\n"
         "set key at screen 0.77, 0.012 center bottom Left reverse samplen 3 vertical maxrows 4\n" +
         axis('x', range_of(x, true, 0.1), true) + axis('y', range_of(y, true, 0.1), true) +
         plot.blocks() + plot.command();
}

}  // namespace

Picture isoflop(const std::string& name, const IsoflopData& data) {
  Picture picture;
  picture.name = name;
  picture.width = 1400;
  picture.height = 760;
  picture.data.columns = {"flops", "series", "n_params", "loss", "low95", "high95"};
  for (const IsoflopBudget& b : data.budgets) {
    for (const PlotPoint& p : b.points) {
      picture.data.rows.push_back(
          {shortest(b.flops), "data", shortest(p.x), shortest(p.y), "", ""});
    }
    if (!b.best_n) continue;
    const bool known = b.best_n_ci95.has_value() && b.best_n_ci95->finite();
    picture.data.rows.push_back({shortest(b.flops), "minimum", shortest(*b.best_n),
                                 b.best_loss ? shortest(*b.best_loss) : "",
                                 known ? shortest(b.best_n_ci95->low) : "",
                                 known ? shortest(b.best_n_ci95->high) : ""});
  }
  picture.script = std::string(kFrame) +
                   fmt::format(
                       "set multiplot layout 1,2 margins 0.07,0.985,0.29,0.87 spacing "
                       "0.09,0.1 title \"{}\" font ',16'\n",
                       literal(data.title)) +
                   losses_panel(data) + law_panel(data) + "unset multiplot\n";
  return picture;
}

}  // namespace pg::post
