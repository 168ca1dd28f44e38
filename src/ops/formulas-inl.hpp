// The formulas of exp, of the gate functions with their slopes, and of AdamW: written once,
// compiled for vectors (ops/simd-inl.hpp) and for single floats on a GPU or on the host
// (ops/scalar.hpp). Included inside of a namespace that has defined the type Vec, the primitives
// set, zero, add, sub, mul, div, neg, mul_add (a b + c), neg_mul_add (c - a b), abs, sqrt,
// copy_sign, less, greater, equal, select(mask, yes, no) and power_of_two, and that has included
// <cstddef>, <limits>, ops/adamw.hpp and ops/gate_spec.hpp; PG_FORMULA is what its functions are
// declared with. No guard, because one file may be all of these.

/// Values of a polynomial by Horner's rule; coefficients from the constant up.
template <std::size_t n>
PG_FORMULA Vec polynomial(Vec x, const float (&coefficients)[n]) {
  Vec result = set(coefficients[n - 1]);
  for (std::size_t i = n - 1; i-- > 0;) {
    result = mul_add(result, x, set(coefficients[i]));
  }
  return result;
}

/// e^x within about one unit in the last place; 0 below -87.3, infinity above 88.3, NaN for NaN
/// (Highway's own Exp returns 0 there, which would hide a diverged run).
PG_FORMULA Vec exp(Vec x) {
  // Adding 1.5 * 2^23 rounds x / ln 2 to an integer, which then stands in the low bits.
  const Vec magic = set(12582912.0F);
  const Vec shifted = mul_add(x, set(1.44269504F), magic);
  const Vec n = sub(shifted, magic);
  Vec r = neg_mul_add(n, set(0.693359375F), x);
  r = neg_mul_add(n, set(-2.12194440e-4F), r);
  // Minimax for (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2: relative error of e^r 3e-9.
  const Vec tail = polynomial(r, {0.500000001F, 0.166666665F, 4.16664646e-2F, 8.33336082e-3F,
                                  1.39336982e-3F, 1.98578470e-4F});
  const Vec mantissa = add(set(1.0F), mul_add(mul(r, r), tail, r));
  Vec result = mul(mantissa, power_of_two(shifted));
  result = select(less(x, set(-87.3F)), zero(), result);
  return select(greater(x, set(88.3F)), set(std::numeric_limits<float>::infinity()), result);
}

PG_FORMULA Vec sigmoid(Vec x) {
  const Vec one = set(1.0F);
  return div(one, add(one, exp(neg(x))));
}

/// Within a few units in the last place everywhere: a polynomial near zero, where 2 sigmoid(2 x) -
/// 1 would cancel.
PG_FORMULA Vec tanh(Vec x) {
  const Vec one = set(1.0F);
  const Vec a = abs(x);
  const Vec e = exp(mul(a, set(-2.0F)));
  const Vec far = div(sub(one, e), add(one, e));
  const Vec square = mul(x, x);
  // Cephes' tanhf: minimax of (tanh(x) / x - 1) / x^2 for |x| < 0.625.
  const Vec near =
      mul_add(mul(polynomial(square, {-3.33332819422e-1F, 1.33314422036e-1F, -5.37397155531e-2F,
                                      2.06390887954e-2F, -5.70498872745e-3F}),
                  square),
              a, a);
  return copy_sign(select(less(a, set(0.625F)), near, far), x);
}

/// Distribution function and density of the standard normal.
struct Normal {
  Vec cdf;
  Vec density;
};

/// cdf(-|x|) = e^(-x^2/2) t P(t), t = 1 / (1 + 0.3 |x|): P is the minimax polynomial in relative
/// error (3.4e-9) for |x| <= 14, beyond which the result underflows. One exponential serves both.
PG_FORMULA Normal normal(Vec x) {
  const Vec one = set(1.0F);
  const Vec t = div(one, mul_add(abs(x), set(0.3F), one));
  const Vec e = exp(mul(mul(x, x), set(-0.5F)));
  const Vec p =
      polynomial(t, {0.1196866340F, 0.1195728424F, 0.1102273138F, 0.0784256269F, 0.0960576928F,
                     -0.0792470866F, 0.1915813923F, -0.2280672889F, 0.1123756836F, -0.0206128121F});
  const Vec tail = mul(mul(e, t), p);
  const Vec cdf = select(less(x, zero()), tail, sub(one, tail));
  return {cdf, mul(e, set(0.398942280F))};
}

/// A factor of the gate and its derivative at h.
struct Factor {
  Vec value;
  Vec slope;
};

struct Sigmoid {
  PG_FORMULA Factor operator()(Vec h) const {
    const Vec s = sigmoid(h);
    return {s, mul(s, sub(set(1.0F), s))};
  }
};

struct NormalCdf {
  PG_FORMULA Factor operator()(Vec h) const {
    const Normal n = normal(h);
    return {n.cdf, n.density};
  }
};

struct Relu {
  PG_FORMULA Factor operator()(Vec h) const {
    // Not a maximum: a NaN must stay one.
    return {select(less(h, set(0.0F)), set(0.0F), h),
            select(greater(h, set(0.0F)), set(1.0F), set(0.0F))};
  }
};

struct Identity {
  PG_FORMULA Factor operator()(Vec h) const { return {h, set(1.0F)}; }
};

struct One {
  PG_FORMULA Factor operator()(Vec) const { return {set(1.0F), set(0.0F)}; }
};

struct Step {
  PG_FORMULA Factor operator()(Vec h) const {
    const Vec low = select(equal(h, h), set(0.0F), h);  // a NaN must stay one
    return {select(greater(h, set(0.0F)), set(1.0F), low), set(0.0F)};
  }
};

struct Tanh {
  PG_FORMULA Factor operator()(Vec h) const {
    const Vec t = tanh(h);
    return {t, neg_mul_add(t, t, set(1.0F))};
  }
};

struct NormalCdfTanh {
  PG_FORMULA Factor operator()(Vec h) const {
    constexpr float kTwoRoots = 1.59576912F;  // 2 sqrt(2 / pi)
    const Vec square = mul(h, h);
    const Vec s = sigmoid(mul(mul(set(kTwoRoots), h), mul_add(square, set(0.044715F), set(1.0F))));
    const Vec inner = mul(set(kTwoRoots), mul_add(square, set(0.134145F), set(1.0F)));
    // s (1 - s) is zero long before the square overflows; zero times infinity would be NaN.
    const Vec bump = mul(s, sub(set(1.0F), s));
    return {s, select(equal(bump, set(0.0F)), bump, mul(bump, inner))};
  }
};

/// h F(h).
template <class F>
struct Times {
  PG_FORMULA Factor operator()(Vec h) const {
    const Factor f = F()(h);
    return {mul(h, f.value), mul_add(h, f.slope, f.value)};
  }
};

/// tanh(softplus(h)) = (1 - r^2) / (1 + r^2) with r = sigmoid(-h).
struct TanhSoftplus {
  PG_FORMULA Factor operator()(Vec h) const {
    const Vec one = set(1.0F);
    const Vec s = sigmoid(h);
    const Vec r = sigmoid(neg(h));
    const Vec t = div(mul(s, add(one, r)), mul_add(r, r, one));
    return {t, mul(neg_mul_add(t, t, one), s)};
  }
};

/// alpha g + rest b, where rest is 1 - alpha.
PG_FORMULA Factor mixed(Vec alpha, const Factor& g, Vec rest, const Factor& b) {
  return {mul_add(alpha, g.value, mul(rest, b.value)), mul_add(alpha, g.slope, mul(rest, b.slope))};
}

/// d(h f(h)) dy: what a self-gate hands back.
PG_FORMULA Vec self_gradient(Vec h, const Factor& f, Vec dy) {
  return mul(dy, mul_add(h, f.slope, f.value));
}

template <class Visit>
PG_FORMULA void with_function(GateFunction function, const Visit& visit) {
  switch (function) {
    case GateFunction::one: return visit(One());
    case GateFunction::identity: return visit(Identity());
    case GateFunction::step: return visit(Step());
    case GateFunction::sigmoid: return visit(Sigmoid());
    case GateFunction::tanh: return visit(Tanh());
    case GateFunction::relu: return visit(Relu());
    case GateFunction::normal_cdf: return visit(NormalCdf());
    case GateFunction::normal_cdf_tanh: return visit(NormalCdfTanh());
    case GateFunction::gelu: return visit(Times<NormalCdf>());
    case GateFunction::gelu_tanh: return visit(Times<NormalCdfTanh>());
    case GateFunction::silu: return visit(Times<Sigmoid>());
    case GateFunction::mish: return visit(Times<TanhSoftplus>());
  }
}

/// A parameter with its two moments.
struct Moments {
  Vec parameter;
  Vec first;
  Vec second;
};

/// One step of AdamW. Plain additions and multiplications, none of them fused, so that every
/// instruction set and every device gives the same bits.
class AdamW {
 public:
  PG_FORMULA explicit AdamW(const AdamWConstants& c)
      : scale_(set(c.scale)),
        decay_(set(c.decay)),
        beta1_(set(c.beta1)),
        rest1_(set(c.rest1)),
        beta2_(set(c.beta2)),
        rest2_(set(c.rest2)),
        rate_(set(c.rate)),
        root_correction2_(set(c.root_correction2)),
        eps_(set(c.eps)) {}

  PG_FORMULA Moments operator()(const Moments& old, Vec gradient) const {
    const Vec g = mul(gradient, scale_);
    const Vec first = add(mul(old.first, beta1_), mul(g, rest1_));
    const Vec second = add(mul(old.second, beta2_), mul(mul(g, g), rest2_));
    const Vec denominator = add(div(sqrt(second), root_correction2_), eps_);
    return {sub(mul(old.parameter, decay_), div(mul(rate_, first), denominator)), first, second};
  }

 private:
  Vec scale_, decay_, beta1_, rest1_, beta2_, rest2_, rate_, root_correction2_, eps_;
};
