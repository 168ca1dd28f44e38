// plots: the pictures of a fit, drawn by gnuplot. May know fits and what fits knows.
#pragma once

#include <filesystem>
#include <string>

#include "base/csv.hpp"

namespace pg::post {

/// One picture: a gnuplot script without terminal and output, and the numbers behind it.
struct Picture {
  std::string name;  ///< file name without ending
  std::string script;
  int width = 1100;  ///< pixels
  int height = 750;
  CsvTable data;
};

/// Writes folder/name.png, .svg and .csv, each in one step. gnuplot is looked up in PATH when it is
/// called. Throws IoError when gnuplot is missing or fails (with its own words), or on a write.
void draw(const std::filesystem::path& folder, const Picture& picture);

/// Okabe and Ito's colours, which people with any colour vision can tell apart.
namespace colour {
inline constexpr const char* kBlack = "#000000";
inline constexpr const char* kOrange = "#E69F00";
inline constexpr const char* kSkyBlue = "#56B4E9";
inline constexpr const char* kGreen = "#009E73";
inline constexpr const char* kBlue = "#0072B2";
inline constexpr const char* kVermilion = "#D55E00";
inline constexpr const char* kPurple = "#CC79A7";
inline constexpr const char* kGrey = "#777777";
}  // namespace colour

/// A colour of the viridis scale at `share` in [0, 1], as "#rrggbb".
std::string viridis(double share);
/// `set palette defined (...)` with viridis from `share` 0 to 1, or turned round.
std::string viridis_palette(bool reversed);

/// A text for gnuplot's enhanced mode inside double quotes, taken literally.
std::string literal(const std::string& text);
/// The same for a label in a list of tics, where % begins a format.
std::string tic_literal(const std::string& text);

}  // namespace pg::post
