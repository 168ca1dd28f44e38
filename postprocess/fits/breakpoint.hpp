#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "postprocess/fits/law.hpp"

// Two straight lines in logarithms, joined at a break that the data choose.

namespace pg::post {

inline constexpr const char* kBrokenPower = "broken_power";
inline constexpr std::size_t kPointsPerSide = 3;
inline constexpr std::size_t kFewestForBreak = 2 * kPointsPerSide + 1;
inline constexpr std::size_t kBreakReplicates = 9999;

/// ln x of the break with the least sum of squares of ln y, exactly: between two neighbouring
/// points it is where the two sides' own lines meet, or else an end of the gap (Hudson 1966).
/// Nothing without a gap that has three points, two of them distinct, on each side.
std::optional<double> find_break(const LawData& data);

/// One line against two joined lines. At the break that looks best the fall of the sum of squares
/// has no F distribution (Davies 1977): its own is found by a parametric bootstrap. The share that
/// the break removes does not depend on the line or on sigma, so that noise alone is drawn, and for
/// Gaussian errors the level is exact.
struct BreakTest {
  std::string status = "ok";  ///< or why there is no p-value
  double removed = 0;         ///< share of one line's weighted residual sum of squares
  double p = 1;               ///< (1 + replicates that remove as much) / (1 + replicates)
  std::size_t n_replicates = 0;
  std::uint64_t seed = 0;
  [[nodiscard]] bool ok() const { return status == "ok"; }
};

/// x and y of the data must be positive. The same bytes for any number of threads and any order of
/// the rows.
BreakTest test_break(const LawData& data, std::size_t n_replicates, std::uint64_t seed,
                     std::size_t threads);

}  // namespace pg::post
