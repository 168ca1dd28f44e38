#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/frame.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {

Picture convergence_curves(const RunResults& results, const ScalingFit& fit) {
  Picture picture;
  picture.name = "convergence_curves";
  picture.data.columns = {"batch", "lr", "trial", "step", "val_loss"};
  PlotCommand plot;
  for (std::size_t r = 0; r < fit.optima.size(); ++r) {
    const Optimum& o = fit.optima[r];
    const Cell* cell =
        o.state == OptimumState::no_data ? nullptr : find_cell(fit.cells, o.batch, o.argmin_lr);
    if (cell == nullptr || cell->trials.empty()) continue;
    const record::TrialRecord& trial = results.trials[cell->trials.front()];
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < trial.val_step.size() && i < trial.val_loss.size(); ++i) {
      if (!std::isfinite(trial.val_loss[i])) continue;
      lines.push_back(fmt::format("{} {}", trial.val_step[i], trial.val_loss[i]));
      picture.data.rows.push_back({std::to_string(o.batch), shortest(cell->lr), trial.summary.id,
                                   std::to_string(trial.val_step[i]), shortest(trial.val_loss[i])});
    }
    // The lightest end of viridis is hard to see on white.
    const double share = fit.optima.size() > 1 ? 0.88 * static_cast<double>(r) /
                                                     static_cast<double>(fit.optima.size() - 1)
                                               : 0;
    constexpr int kMarks[] = {7, 5, 9, 11, 13, 4, 6};
    const std::size_t every = std::max<std::size_t>(1, lines.size() / 10);
    plot.add(fmt::format("batch{}", r), lines,
             fmt::format("using 1:2 with linespoints pt {} ps 1.1 pi {} lw 2.2 lc rgb '{}' title "
                         "'batch {}, learning rate {:.3g}'",
                         kMarks[r % 7], every, viridis(share), o.batch, cell->lr));
  }
  picture.script = plot.blocks() + kFrame +
                   "set title 'Validation loss of the best learning rate of each batch size'\n"
                   "set xlabel 'step'\nset ylabel 'validation loss (nats per token)'\n"
                   "set key top right Left reverse samplen 3 spacing 1.2 opaque\n" +
                   (plot.empty() ? "set xrange [0:1]\nset yrange [0:1]\n" : "set xrange [0:*]\n") +
                   plot.command();
  return picture;
}

}  // namespace pg::post
