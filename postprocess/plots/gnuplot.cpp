#include "postprocess/plots/gnuplot.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <regex>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"

extern char** environ;

namespace pg::post {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInstall = "install gnuplot (Debian: gnuplot-nox), then: pgpost plot RUN_DIR";

/// A path inside single quotes of a gnuplot script.
std::string quoted(const fs::path& path) {
  std::string text = "'";
  for (const char c : path.string()) text += c == '\'' ? std::string("''") : std::string(1, c);
  return text + "'";
}

/// Runs gnuplot on a script; its error stream goes to `log`. Returns its exit status.
int run_gnuplot(const fs::path& script, const fs::path& log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::string program = "gnuplot";
  std::string argument = script.string();
  char* arguments[] = {program.data(), argument.data(), nullptr};
  pid_t child = 0;
  const int failure = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure == ENOENT) {
    throw IoError({"gnuplot was not found: no plots were drawn", "gnuplot in PATH", kInstall});
  }
  if (failure != 0) throw_io("cannot start gnuplot", failure, kInstall);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw_io("lost gnuplot", errno, "run pgpost plot again");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

using Rgb = std::array<double, 3>;

/// Nine stops of matplotlib's viridis (van der Walt and Smith 2015; CC0).
constexpr std::array<Rgb, 9> kViridis = {{{0.267, 0.005, 0.329},
                                          {0.283, 0.141, 0.458},
                                          {0.254, 0.265, 0.530},
                                          {0.207, 0.372, 0.553},
                                          {0.164, 0.471, 0.558},
                                          {0.128, 0.567, 0.551},
                                          {0.267, 0.749, 0.441},
                                          {0.478, 0.821, 0.318},
                                          {0.993, 0.906, 0.144}}};

/// Multiplies the number in the first group of every match.
std::string scaled(const std::string& text, const std::regex& pattern, double factor) {
  std::string out;
  auto rest = text.cbegin();
  for (std::sregex_iterator i(text.begin(), text.end(), pattern), end; i != end; ++i) {
    out.append(rest, (*i)[1].first);
    out += fmt::format("{:.3g}", factor * *parse_real((*i)[1].str()));
    rest = (*i)[1].second;
  }
  return out.append(rest, text.cend());
}

/// The script for the SVG terminal, which measures fonts in pixels, not points, and draws marks
/// half as large again as pngcairo does (but not those that are letters).
std::string for_svg(const std::string& script) {
  static const std::regex mark(R"re( pt [0-9]+ ps ([0-9]+\.?[0-9]*))re");
  static const std::regex font(R"re( font ',([0-9]+)')re");
  return scaled(scaled(script, mark, 0.66), font, 17.0 / 13);
}

}  // namespace

std::string viridis(double share) {
  const double position = std::clamp(share, 0.0, 1.0) * (kViridis.size() - 1);
  const auto left = std::min(static_cast<std::size_t>(position), kViridis.size() - 2);
  const double part = position - static_cast<double>(left);
  std::string text = "#";
  for (std::size_t i = 0; i < 3; ++i) {
    const double value = kViridis[left][i] * (1 - part) + kViridis[left + 1][i] * part;
    text += fmt::format("{:02x}", static_cast<int>(std::lround(255 * value)));
  }
  return text;
}

std::string viridis_palette(bool reversed) {
  std::string text = "set palette defined (";
  for (std::size_t i = 0; i < kViridis.size(); ++i) {
    const double share = static_cast<double>(i) / (kViridis.size() - 1);
    text += fmt::format("{}{} '{}'", i == 0 ? "" : ", ", i, viridis(reversed ? 1 - share : share));
  }
  return text + ")\n";
}

// Two readers in turn: the string's own escapes, then those of the enhanced mode.
std::string literal(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '`') {  // gnuplot hands what stands between two of them to the shell
      out += "\\140";
    } else if (c == '"') {
      out += "\\042";  // in a data block the escaped quote would end the text
    } else if (c == '\\') {
      out += "\\\\\\\\";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += ' ';
    } else {
      if (std::string("_^{}@&~").find(c) != std::string::npos) out += "\\\\";
      out += c;
    }
  }
  return out;
}

std::string tic_literal(const std::string& text) {
  std::string out;
  for (const char c : literal(text)) out += c == '%' ? std::string("%%") : std::string(1, c);
  return out;
}

void draw(const fs::path& folder, const Picture& picture) {
  PendingFile script(folder / (picture.name + ".gp"));
  PendingFile log(folder / (picture.name + ".log"));
  PendingFile png(folder / (picture.name + ".png"));
  PendingFile svg(folder / (picture.name + ".svg"));
  const std::string text = fmt::format(
      "set encoding utf8\n"
      "set terminal pngcairo size {0},{1} enhanced font 'sans,13' background '#ffffff'\n"
      "set output {2}\n{4}\nunset output\nreset\n"
      "set terminal svg size {0},{1} enhanced font 'sans,17' background '#ffffff'\n"
      "set output {3}\n{5}\nunset output\n",
      picture.width, picture.height, quoted(png.path()), quoted(svg.path()), picture.script,
      for_svg(picture.script));
  write_file(script.path(), text);
  const int status = run_gnuplot(script.path(), log.path());
  if (status != 0) {
    throw IoError({fmt::format("gnuplot could not draw {} (exit status {}):\n{}", picture.name,
                               status, read_file(log.path())),
                   "gnuplot 5.2 or later with the pngcairo and svg terminals", kInstall});
  }
  png.commit();
  svg.commit();
  write_file(folder / (picture.name + ".csv"), to_csv(picture.data));
}

}  // namespace pg::post
