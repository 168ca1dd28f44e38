#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "postprocess/fits/law.hpp"

// Points to fit laws to, and what the tests ask of a fit.

namespace pg::test {

inline post::LawData points(std::vector<double> x, std::vector<double> y) {
  return {{std::move(x)}, std::move(y), {}, {}};
}

/// y = f(x) exp(noise), the noise normal with this standard deviation.
template <typename F>
post::LawData curve(const std::vector<double>& x, F f, double noise = 0, std::uint64_t seed = 1) {
  const random::Stream stream(seed, random::Purpose::test);
  post::LawData data = points(x, {});
  for (std::size_t i = 0; i < x.size(); ++i) {
    data.y.push_back(f(x[i]) * std::exp(noise * stream.normal(i)));
  }
  return data;
}

/// 2^first, ..., 2^last.
inline std::vector<double> powers_of_two(int first, int last) {
  std::vector<double> x;
  for (int i = first; i <= last; ++i) x.push_back(std::exp2(i));
  return x;
}

/// Relative above 1, absolute below.
inline bool close(double value, double expected, double tolerance) {
  return std::abs(value - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

/// Whether a warning of the fit has these words.
inline bool warned(const post::LawFit& fit, const std::string& words) {
  for (const std::string& w : fit.warnings) {
    if (w.find(words) != std::string::npos) return true;
  }
  return false;
}

}  // namespace pg::test
