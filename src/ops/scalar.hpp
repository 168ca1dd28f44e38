#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "ops/adamw.hpp"
#include "ops/device_function.hpp"
#include "ops/gate_spec.hpp"

// The formulas for single floats: what a GPU runs, and what a test runs on the host, with equal
// bits as long as the compiler fuses no products and sums of its own accord (nvcc -fmad=false, g++
// -ffp-contract=off).

namespace pg::ops::scalar {

using Vec = float;

PG_DEVICE_FUNCTION Vec set(float value) {
  return value;
}
PG_DEVICE_FUNCTION Vec zero() {
  return 0;
}
PG_DEVICE_FUNCTION Vec add(Vec a, Vec b) {
  return a + b;
}
PG_DEVICE_FUNCTION Vec sub(Vec a, Vec b) {
  return a - b;
}
PG_DEVICE_FUNCTION Vec mul(Vec a, Vec b) {
  return a * b;
}
PG_DEVICE_FUNCTION Vec div(Vec a, Vec b) {
  return a / b;
}
PG_DEVICE_FUNCTION Vec neg(Vec a) {
  return -a;
}
PG_DEVICE_FUNCTION Vec abs(Vec a) {
  return ::fabsf(a);
}
PG_DEVICE_FUNCTION Vec sqrt(Vec a) {
  return ::sqrtf(a);
}
PG_DEVICE_FUNCTION Vec copy_sign(Vec magnitude, Vec sign) {
  return ::copysignf(magnitude, sign);
}
PG_DEVICE_FUNCTION Vec mul_add(Vec a, Vec b, Vec c) {
  return ::fmaf(a, b, c);
}
PG_DEVICE_FUNCTION Vec neg_mul_add(Vec a, Vec b, Vec c) {
  return ::fmaf(-a, b, c);
}
PG_DEVICE_FUNCTION bool less(Vec a, Vec b) {
  return a < b;
}
PG_DEVICE_FUNCTION bool greater(Vec a, Vec b) {
  return a > b;
}
PG_DEVICE_FUNCTION bool equal(Vec a, Vec b) {
  return a == b;
}
PG_DEVICE_FUNCTION Vec select(bool mask, Vec yes, Vec no) {
  return mask ? yes : no;
}
PG_DEVICE_FUNCTION Vec power_of_two(Vec shifted) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 127) << 23;
  std::memcpy(&shifted, &bits, sizeof(bits));
  return shifted;
}

#define PG_FORMULA PG_DEVICE_FUNCTION
#include "ops/formulas-inl.hpp"
#undef PG_FORMULA

/// The value and slope of a function that is known at run time only.
PG_DEVICE_FUNCTION Factor factor_of(GateFunction function, Vec h) {
  Factor result = {};
  with_function(function, [&](auto f) { result = f(h); });
  return result;
}

/// The same for a gate; alpha and what is left of 1.
struct Gate {
  GateFunction gate, base;
  bool only_base;
  float alpha, rest;

  explicit Gate(const GateSpec& spec)
      : gate(spec.gate),
        base(spec.base),
        only_base(spec.alpha == 0),
        alpha(static_cast<float>(spec.alpha)),
        rest(static_cast<float>(1 - spec.alpha)) {}
};

PG_DEVICE_FUNCTION Factor factor_of(const Gate& gate, Vec h) {
  const Factor b = factor_of(gate.base, h);
  return gate.only_base ? b : mixed(gate.alpha, factor_of(gate.gate, h), gate.rest, b);
}

}  // namespace pg::ops::scalar
