#include "ops/fast.hpp"
#include "ops/functions.hpp"
#include "ops/resolvent_formulas.hpp"

namespace pg::ops::fast {
namespace {

namespace formulas = resolvent_formulas;

float* row_of(const at::Tensor& x_bt, std::int64_t row) {
  return x_bt.data_ptr<float>() + row * x_bt.stride(0);
}

/// One sequence after the other.
struct ResolventKernels {
  static void m_functions(const at::Tensor& v_bt, const at::Tensor& left_bt2,
                          const at::Tensor& right_bt2) {
    for (std::int64_t b = 0; b < v_bt.size(0); ++b) {
      const float* v = row_of(v_bt, b);
      formulas::m_function(v, v_bt.size(1), false, row_of(left_bt2, b));
      if (right_bt2.defined()) formulas::m_function(v, v_bt.size(1), true, row_of(right_bt2, b));
    }
  }

  static void diagonal(const at::Tensor& v_bt, const at::Tensor& left_bt2,
                       const at::Tensor& right_bt2, const at::Tensor& g_bt2) {
    const auto t = v_bt.size(1);
    for (std::int64_t b = 0; b < v_bt.size(0); ++b) {
      const float* v = row_of(v_bt, b);
      const float* left = row_of(left_bt2, b);
      const float* right = row_of(right_bt2, b);
      float* g = row_of(g_bt2, b);
      for (std::int64_t i = 0; i < t; ++i) {
        formulas::store(formulas::green(v, left, right, t, i), g, i);
      }
    }
  }

  static void causal_gradient(const at::Tensor& left_bt2, const at::Tensor& d_bt2,
                              const at::Tensor& dv_bt) {
    for (std::int64_t b = 0; b < dv_bt.size(0); ++b) {
      formulas::causal_backward(row_of(left_bt2, b), row_of(d_bt2, b), dv_bt.size(1),
                                row_of(dv_bt, b));
    }
  }

  static void bidirectional_gradient(const at::Tensor& left_bt2, const at::Tensor& right_bt2,
                                     const at::Tensor& g_bt2, const at::Tensor& d_bt2,
                                     const at::Tensor& dv_bt) {
    for (std::int64_t b = 0; b < dv_bt.size(0); ++b) {
      formulas::bidirectional_backward(row_of(left_bt2, b), row_of(right_bt2, b), row_of(g_bt2, b),
                                       row_of(d_bt2, b), dv_bt.size(1), row_of(dv_bt, b));
    }
  }

  static void upstream_hybrid_gradient(const at::Tensor& g_bt2, const at::Tensor& d_bt2,
                                       const at::Tensor& dv_bt) {
    const auto* g = g_bt2.data_ptr<float>();
    const auto* d = d_bt2.data_ptr<float>();
    auto* dv = dv_bt.data_ptr<float>();
    for (std::int64_t i = 0; i < dv_bt.numel(); ++i) {
      dv[i] = formulas::upstream_hybrid(formulas::load(g, i), formulas::load(d, i));
    }
  }
};

}  // namespace

at::Tensor resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient) {
  return ResolventFunction<ResolventKernels>::apply(v_bt, causal, gradient);
}

}  // namespace pg::ops::fast
