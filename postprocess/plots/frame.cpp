#include "postprocess/plots/frame.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/text.hpp"

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

namespace {

/// Equal steps of 1, 2 or 5 times a power of ten: about six.
std::vector<double> even_steps(double low, double high) {
  const double rough = (high - low) / 6;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough * 0.999) step = factor * power;
  }
  std::vector<double> out;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) {
    const double value = *parse_real(fmt::format("{:.10g}", i * step));
    out.push_back(value == 0 ? 0 : value);  // not -0
  }
  return out;
}

std::vector<double> power_steps(double low, double high) {
  std::vector<double> out;
  const double decades = std::log10(high / low);
  const int first = static_cast<int>(std::floor(std::log10(low)));
  const int last = static_cast<int>(std::ceil(std::log10(high)));
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / 8)));
  for (int exponent = first; exponent <= last; exponent += stride) {
    for (const double factor : {1.0, 2.0, 3.0, 5.0}) {
      const bool used = factor == 1.0 || (factor == 3.0 && decades > 1.7 && decades < 4) ||
                        (factor != 3.0 && decades <= 1.7);
      const double value = *parse_real(fmt::format("{:g}e{}", factor, exponent));
      if (used && value >= low * 0.999 && value <= high * 1.001) out.push_back(value);
    }
  }
  return out;
}

}  // namespace

std::string short_number(double value) {
  const double size = std::abs(value);
  const std::pair<double, const char*> prefixes[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  if (size >= 1e4 && size < 9e12) {
    for (const auto& [unit, name] : prefixes) {
      if (size >= unit) return fmt::format("{:g} {}", value / unit, name);
    }
  }
  std::string text = fmt::format("{:g}", value);
  for (const auto& [from, to] : {std::pair("e+", "e"), std::pair("e-0", "e-")}) {
    const std::size_t at = text.find(from);
    if (at != std::string::npos) text.replace(at, std::strlen(from), to);
  }
  return text;
}

std::string panel_at(double left, double right, double bottom, double top) {
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset bmargin at screen {:.4f}\n"
      "set tmargin at screen {:.4f}\n",
      left, right, bottom, top);
}

std::string key_panel(const std::vector<std::string>& entries, double top, std::size_t columns) {
  if (entries.empty()) return "";
  return panel_at(0.01, 0.99, 0.005, top) +
         "unset border\nunset tics\nunset title\nunset xlabel\nunset ylabel\nunset xzeroaxis\n"
         "unset logscale\nset xrange [0:1]\nset yrange [0:1]\n" +
         fmt::format(
             "set key at screen 0.5, {:.4f} center center vertical maxrows {} Left reverse "
             "samplen 3\n",
             top / 2, (entries.size() + columns - 1) / columns) +
         "plot NaN " + join(entries, ", \\\n  NaN ") + "\n";
}

std::string round_tics(double low, double high, bool logarithmic) {
  std::vector<double> values;
  if (logarithmic) values = power_steps(low, high);
  if (values.size() < 3) values = even_steps(low, high);
  std::vector<std::string> tics;
  for (const double v : values) tics.push_back(fmt::format("\"{}\" {:.10g}", short_number(v), v));
  return "(" + join(tics, ", ") + ")";
}

Range range_of(const std::vector<double>& values, bool logarithmic, double room) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const double v : values) {
    if (!std::isfinite(v) || (logarithmic && v <= 0)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (low > high) return logarithmic ? Range{1, 10} : Range{0, 1};
  if (logarithmic) {
    const double factor = std::exp(std::max(room * std::log(high / low), 0.02));
    return {low / factor, high * factor};
  }
  const double margin = std::max(room * (high - low), 1e-9 + 0.001 * std::abs(high));
  return {low - margin, high + margin};
}

std::string axis(char name, const Range& range, bool logarithmic) {
  return fmt::format("{0}set {1}range [{2}:{3}]\nset {1}tics {4}\nset m{1}tics 1\n",
                     logarithmic ? fmt::format("set logscale {}\n", name)
                                 : fmt::format("unset logscale {}\n", name),
                     name, range.low, range.high, round_tics(range.low, range.high, logarithmic));
}

std::string sequence_colour(std::size_t index, std::size_t n) {
  return viridis(n > 1 ? 0.8 * static_cast<double>(index) / static_cast<double>(n - 1) : 0);
}

const char* distinct_colour(std::size_t index) {
  constexpr const char* kColours[] = {colour::kBlue,   colour::kVermilion, colour::kGreen,
                                      colour::kPurple, colour::kOrange,    colour::kSkyBlue,
                                      colour::kBlack};
  return kColours[index % 7];
}

std::vector<double> spread(double low, double high, std::size_t n, bool logarithmic) {
  std::vector<double> out;
  for (std::size_t i = 0; i < n; ++i) {
    const double share = n > 1 ? static_cast<double>(i) / static_cast<double>(n - 1) : 0;
    out.push_back(logarithmic ? low * std::pow(high / low, share) : low + share * (high - low));
  }
  return out;
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

void add_curve(PlotCommand& plot, const std::string& id, const Curve& curve, const std::string& rgb,
               int dash) {
  const auto band = [&](const std::vector<Interval>& intervals) {
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < intervals.size() && i < curve.x.size(); ++i) {
      if (!intervals[i].finite()) continue;
      lines.push_back(fmt::format("{} {} {}", curve.x[i], intervals[i].low, intervals[i].high));
    }
    return lines;
  };
  std::vector<std::string> line;
  for (std::size_t i = 0; i < curve.x.size() && i < curve.y.size(); ++i) {
    if (std::isfinite(curve.y[i])) line.push_back(fmt::format("{} {}", curve.x[i], curve.y[i]));
  }
  plot.add("mean_" + id, band(curve.mean95),
           fmt::format("using 1:2:3 with filledcurves lc rgb '{}' fs transparent solid 0.22 "
                       "noborder title '95 % band of the mean'",
                       rgb));
  const std::vector<std::string> prediction = band(curve.prediction95);
  plot.add("prediction_low_" + id, prediction,
           fmt::format("using 1:2 with lines lw 1.5 dt 2 lc rgb '{}' title '95 % band of a new "
                       "point'",
                       rgb));
  plot.add("prediction_high_" + id, prediction,
           fmt::format("using 1:3 with lines lw 1.5 dt 2 lc rgb '{}' notitle", rgb));
  plot.add("line_" + id, line,
           fmt::format("using 1:2 with lines lw 2.5 dt {} lc rgb '{}' {}", dash, rgb,
                       curve.label.empty() ? "notitle" : "title \"" + literal(curve.label) + "\""));
}

std::string empty_picture(const std::string& why) {
  return fmt::format(
      "unset border\nunset tics\nunset key\nset xrange [0:1]\nset yrange [0:1]\n"
      "set label 1 \"{}\" at 0.5,0.5 center\nplot NaN notitle\n",
      literal(why));
}

void add_stars(PlotCommand& plot, const std::string& id, const std::vector<std::string>& lines,
               const std::string& title) {
  plot.add(id + "_halo", lines, "using 1:2 with points pt \"★\" ps 2.4 lc rgb '#ffffff' notitle");
  plot.add(id, lines,
           fmt::format("using 1:2 with points pt \"★\" ps 1.5 lc rgb '#000000' title '{}'", title));
}

}  // namespace pg::post
