#include "model/relative_positions.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace pg::model {
namespace {

constexpr std::int64_t kMaxDistance = 128;

std::int64_t bucket(std::int64_t later_by, bool bidirectional) {
  std::int64_t n_buckets = kRelativeBuckets;
  std::int64_t first = 0;
  std::int64_t distance = std::max<std::int64_t>(-later_by, 0);
  if (bidirectional) {
    n_buckets /= 2;
    if (later_by > 0) first = n_buckets;
    distance = std::abs(later_by);
  }
  const std::int64_t n_exact = n_buckets / 2;
  if (distance < n_exact) return first + distance;
  const double octaves = std::log(static_cast<double>(distance) / static_cast<double>(n_exact)) /
                         std::log(static_cast<double>(kMaxDistance) / static_cast<double>(n_exact));
  // Distances whose place is a whole number must not fall below it by rounding.
  const auto place =
      static_cast<std::int64_t>(octaves * static_cast<double>(n_buckets - n_exact) + 1e-9);
  return first + std::min(n_exact + place, n_buckets - 1);
}

}  // namespace

at::Tensor relative_buckets(std::int64_t t, std::int64_t u, bool bidirectional) {
  // A bucket depends on the distance alone, so each is worked out once: this runs in every pass.
  std::vector<std::int64_t> by_distance;
  for (std::int64_t later_by = 1 - t; later_by < u; ++later_by) {
    by_distance.push_back(bucket(later_by, bidirectional));
  }
  at::Tensor buckets = at::empty({t, u}, at::kLong);
  auto* out = buckets.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < t; ++i) {
    out = std::copy_n(by_distance.begin() + (t - 1 - i), u, out);
  }
  return buckets;
}

at::Tensor sinusoids(std::int64_t t, std::int64_t d, at::ScalarType type) {
  at::Tensor table = at::empty({t, d}, at::kDouble);
  auto* out = table.data_ptr<double>();
  for (std::int64_t i = 0; i < d; ++i) {
    const double wavelength =
        std::pow(10000.0, static_cast<double>(i - i % 2) / static_cast<double>(d));
    for (std::int64_t position = 0; position < t; ++position) {
      const double angle = static_cast<double>(position) / wavelength;
      out[position * d + i] = i % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  }
  return table.to(type);
}

}  // namespace pg::model
