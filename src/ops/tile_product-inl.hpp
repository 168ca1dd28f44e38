// Products of small matrices that stand in the cache, too small for a library's overhead: the heads
// of attention have 16 to 128 features. Included once per instruction set, like ops/simd-inl.hpp.
#if defined(PG_OPS_TILE_PRODUCT_INL_HPP_) == defined(HWY_TARGET_TOGGLE)
#ifdef PG_OPS_TILE_PRODUCT_INL_HPP_
#undef PG_OPS_TILE_PRODUCT_INL_HPP_
#else
#define PG_OPS_TILE_PRODUCT_INL_HPP_
#endif

#include <hwy/highway.h>

#include <cstdint>

// clang-format off
#include "ops/simd-inl.hpp"
// clang-format on
#include "ops/sgemm.hpp"

HWY_BEFORE_NAMESPACE();
namespace pg::ops::HWY_NAMESPACE {

/// Rows of a tile: with two vectors a row, as many sums as hide the latency of a multiply-add and
/// leave registers for the factors, of which AVX-512 has 32 and the older sets 16.
constexpr int kTileRows = HWY_TARGET <= HWY_AVX3 ? 8 : 4;

/// Rows [0, kRows) of c = a b, or c += a b: a (kRows, k), b (k, kVectors whole vectors). Every sum
/// runs over k in order, whatever the tile.
template <int kRows, int kVectors, bool kTransposed, bool kAdd>
HWY_INLINE void multiply_tile(const float* HWY_RESTRICT a, std::int64_t a_stride,
                              const float* HWY_RESTRICT b, std::int64_t b_stride, std::int64_t k,
                              float* HWY_RESTRICT c, std::int64_t c_stride) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Vec sums[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      sums[i][v] = kAdd ? hn::LoadU(d, c + i * c_stride + v * lanes) : hn::Zero(d);
    }
  }
  for (std::int64_t p = 0; p < k; ++p) {
    Vec right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = hn::LoadU(d, b + p * b_stride + v * lanes);
    for (int i = 0; i < kRows; ++i) {
      const Vec left = set(kTransposed ? a[p * a_stride + i] : a[i * a_stride + p]);
      for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::MulAdd(left, right[v], sums[i][v]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[i][v], d, c + i * c_stride + v * lanes);
  }
}

template <int kVectors, bool kTransposed, bool kAdd>
HWY_INLINE void multiply_columns(std::int64_t m, std::int64_t k, const float* a,
                                 std::int64_t a_stride, const float* b, std::int64_t b_stride,
                                 float* c, std::int64_t c_stride) {
  const std::int64_t a_step = kTransposed ? 1 : a_stride;
  std::int64_t i = 0;
  const auto rows = [&]<int kRows>() HWY_ATTR {
    multiply_tile<kRows, kVectors, kTransposed, kAdd>(a + i * a_step, a_stride, b, b_stride, k,
                                                      c + i * c_stride, c_stride);
    i += kRows;
  };
  while (i + kTileRows <= m) rows.template operator()<kTileRows>();
  while (i < m) rows.template operator()<1>();
}

/// c (m, n) = a (m, k) b (k, n), or c += a b, where `a` may be stored transposed. b and c have room
/// for n rounded up to whole vectors, and what stands there takes part.
template <bool kAdd>
HWY_INLINE void multiply_small(std::int64_t m, std::int64_t n, std::int64_t k, const MatrixView& a,
                               const MatrixView& b, const MatrixTarget& c) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Floats()));
  std::int64_t j = 0;
  const auto columns = [&]<int kVectors>() HWY_ATTR {
    if (a.transposed) {
      multiply_columns<kVectors, true, kAdd>(m, k, a.data, a.stride, b.data + j, b.stride,
                                             c.data + j, c.stride);
    } else {
      multiply_columns<kVectors, false, kAdd>(m, k, a.data, a.stride, b.data + j, b.stride,
                                              c.data + j, c.stride);
    }
    j += kVectors * lanes;
  };
  while (j + lanes < n) columns.template operator()<2>();
  while (j < n) columns.template operator()<1>();
}

/// to (width, n), rows `to_stride` apart, = the transpose of from (n, width); n and width are
/// multiples of 4.
HWY_INLINE void transpose(const float* from, std::int64_t from_stride, std::int64_t n,
                          std::int64_t width, float* to, std::int64_t to_stride) {
  for (std::int64_t i = 0; i < n; i += 4) {
    for (std::int64_t j = 0; j < width; j += 4) {
      const float* in = from + i * from_stride + j;
      float* out = to + j * to_stride + i;
#if HWY_TARGET == HWY_SCALAR  // whose vectors of one lane have nothing to interleave
      for (int row = 0; row < 4; ++row) {
        for (int column = 0; column < 4; ++column) {
          out[column * to_stride + row] = in[row * from_stride + column];
        }
      }
#else
      const hn::FixedTag<float, 4> d;
      const hn::Repartition<std::uint64_t, decltype(d)> pairs;
      const auto r0 = hn::LoadU(d, in);
      const auto r1 = hn::LoadU(d, in + from_stride);
      const auto r2 = hn::LoadU(d, in + 2 * from_stride);
      const auto r3 = hn::LoadU(d, in + 3 * from_stride);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
      const auto put = [&](auto value, std::int64_t row) HWY_ATTR {
        hn::StoreU(hn::BitCast(d, value), d, out + row * to_stride);
      };
      put(hn::InterleaveLower(pairs, low01, low23), 0);
      put(hn::InterleaveUpper(pairs, low01, low23), 1);
      put(hn::InterleaveLower(pairs, high01, high23), 2);
      put(hn::InterleaveUpper(pairs, high01, high23), 3);
#endif
    }
  }
}

}  // namespace pg::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
