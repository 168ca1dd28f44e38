#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace pg::model {

constexpr std::int64_t kRelativeBuckets = 32;

/// T5's buckets of the distance between a query i and a key j, (t, u) int64 below kRelativeBuckets:
/// one for each short distance, the rest spaced in its logarithm up to 128. `bidirectional` gives
/// half of them to keys that come later; else these share bucket 0. Raffel et al., 2020.
at::Tensor relative_buckets(std::int64_t t, std::int64_t u, bool bidirectional);

/// Sines and cosines of positions, (t, d): columns 2 i and 2 i + 1 are sin and cos of
/// position / 10000^(2 i / d). Vaswani et al., 2017.
at::Tensor sinusoids(std::int64_t t, std::int64_t d, at::ScalarType type);

}  // namespace pg::model
