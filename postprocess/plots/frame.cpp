#include "postprocess/plots/frame.hpp"

#include <fmt/format.h>

#include <cmath>

#include "base/text.hpp"
#include "postprocess/plots/plots.hpp"

namespace pg::post {

std::string decade_tics(double low, double high) {
  std::vector<std::string> tics;
  for (int exponent = -12; exponent <= 3; ++exponent) {
    for (const int factor : {1, 3}) {
      const double value = factor * std::pow(10.0, exponent);
      if (value >= low * 0.999 && value <= high * 1.001) {
        const double rounded = *parse_real(fmt::format("{:.0e}", value));
        tics.push_back(fmt::format("\"{}\" {:g}", shortest(rounded), rounded));
      }
    }
  }
  return "(" + join(tics, ", ") + ")";
}

std::string batch_tics(const std::vector<Optimum>& optima) {
  std::vector<std::string> tics;
  for (const Optimum& o : optima) tics.push_back(fmt::format("\"{0}\" {0}", o.batch));
  return "(" + join(tics, ", ") + ")";
}

Range batch_range(const std::vector<Optimum>& optima) {
  return {static_cast<double>(optima.front().batch) / 1.5,
          static_cast<double>(optima.back().batch) * 1.5};
}

const char* hypothesis_colour(std::size_t index) {
  constexpr const char* kColours[] = {colour::kVermilion, colour::kGreen, colour::kPurple,
                                      colour::kOrange};
  return kColours[index % 4];
}

void PlotCommand::add(const std::string& name, const std::vector<std::string>& lines,
                      const std::string& style) {
  if (lines.empty()) return;
  blocks_ += "$" + name + " << EOD\n";
  for (const std::string& line : lines) blocks_ += line + "\n";
  blocks_ += "EOD\n";
  parts_.push_back("$" + name + " " + style);
}

std::string PlotCommand::command() const {
  return "plot " + (parts_.empty() ? "NaN notitle" : join(parts_, ", \\\n  ")) + "\n";
}

void draw_plots(const std::filesystem::path& folder, const RunResults& results,
                const ScalingFit& fit) {
  draw(folder, lr_vs_batch(results, fit));
  draw(folder, loss_heatmap(fit));
  draw(folder, transfer_comparison(fit));
  draw(folder, convergence_curves(results, fit));
}

}  // namespace pg::post
