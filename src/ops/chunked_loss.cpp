#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "ops/autograd.hpp"
#include "ops/bfloat16.hpp"
#include "ops/checks.hpp"
#include "ops/chunked_loss.hpp"
#include "ops/cuda/cuda.hpp"
#include "ops/fast.hpp"
#include "ops/row_losses.hpp"
#include "ops/rows.hpp"

#ifdef PG_CUDA
#include "ops/cuda/loss_pieces.hpp"
#endif

// The logits of a large vocabulary are the largest tensor of a training step, and so is their
// gradient. Neither ever exists whole here: the rows are taken in pieces, and the gradient of a
// piece turns into what it adds to dx, dw and dbias before the next piece begins. That must happen
// in the forward pass, which is where the logits are, with 1 in place of the gradient that is not
// known yet; the backward pass multiplies. As in Liger kernels (Hsu et al., 2024). So a factor that
// scales the loss for float16 does not reach the gradient of the logits, which is rounded as it is:
// numbers of up to 1, and those below 2^-25 are lost.

namespace pg::ops {
namespace {

static_assert(kPieceRows % fast::kRowGroup == 0 && kPieceRows % kBFloat16Rows == 0);

at::Tensor empty_logits(std::int64_t rows, std::int64_t vocabulary,
                        const at::TensorOptions& options) {
  return at::empty({rows, logits_stride(vocabulary)}, options).narrow(1, 0, vocabulary);
}

using Inputs = ChunkedLossInputs;
using Totals = ChunkedLossTotals;
using Piece = LossPiece;

/// float32 on the CPU.
class FloatPieces {
 public:
  explicit FloatPieces(const Inputs& inputs) : in_(inputs) {}

  at::Tensor operator()(const Piece& piece, const Totals& totals) const {
    const at::Tensor x = piece.of(in_.x_nd);
    const at::Tensor targets = piece.of(in_.targets_n);
    const auto v = in_.w_vd.size(0);
    const auto d = in_.w_vd.size(1);
    const at::Tensor logits = empty_logits(piece.rows, v, x.options());
    fast::multiply_rows(x, fast::view(in_.w_vd).transpose(), logits);
    if (in_.bias_v.defined()) fast::add_to_rows(in_.bias_v, logits);
    const fast::RowLosses losses(logits, targets, in_.smoothing);
    if (totals.wanted()) losses.gradient(logits, targets, in_.smoothing, 1, logits);
    if (totals.dx_nd.defined()) {
      fast::multiply_rows(logits, fast::view(in_.w_vd), piece.of(totals.dx_nd));
    }
    if (totals.dw_vd.defined()) {
      multiply(v, d, piece.rows, fast::view(logits).transpose(), fast::view(x),
               piece.first == 0 ? 0 : 1, {totals.dw_vd.data_ptr<float>(), d});
    }
    if (totals.dbias_v.defined()) piece.add_to(totals.dbias_v, fast::sum_of_rows(logits));
    return at::scalar_tensor(losses.sum(), at::kDouble);
  }

 private:
  const Inputs& in_;
};

/// bfloat16 on a CPU that multiplies it. Logits and their gradient are bfloat16 in memory, too.
class BFloat16Pieces {
 public:
  explicit BFloat16Pieces(const Inputs& inputs) : in_(inputs), w_vd_(to_bfloat16(inputs.w_vd)) {}

  at::Tensor operator()(const Piece& piece, const Totals& totals) const {
    const at::Tensor x = to_bfloat16_rows(piece.of(in_.x_nd));
    const at::Tensor targets = piece.of(in_.targets_n);
    const at::Tensor all_logits = empty_logits(x.size(0), w_vd_.size(0), x.options());
    multiply_bfloat16(x, w_vd_.t(), in_.bias_v, all_logits);
    const at::Tensor logits = all_logits.narrow(0, 0, piece.rows);
    const fast::RowLosses losses(logits, targets, in_.smoothing);
    if (totals.wanted()) {
      losses.gradient(logits, targets, in_.smoothing, 1, logits);
      all_logits.narrow(0, piece.rows, x.size(0) - piece.rows).zero_();
    }
    if (totals.dx_nd.defined()) {
      const at::Tensor dx = at::empty(x.sizes(), totals.dx_nd.options());
      multiply_bfloat16(all_logits, w_vd_, {}, dx);
      piece.of(totals.dx_nd).copy_(dx.narrow(0, 0, piece.rows));
    }
    if (totals.dw_vd.defined() && piece.first == 0) {
      multiply_bfloat16(all_logits.t(), x, {}, totals.dw_vd);
    } else if (totals.dw_vd.defined()) {
      add_product_bfloat16(all_logits.t(), x, totals.dw_vd);
    }
    if (totals.dbias_v.defined()) piece.add_to(totals.dbias_v, sum_of_bfloat16_rows(logits));
    return at::scalar_tensor(losses.sum(), at::kDouble);
  }

 private:
  const Inputs& in_;
  at::Tensor w_vd_;
};

/// Any type and device, by the operators themselves.
class OtherPieces {
 public:
  explicit OtherPieces(const Inputs& inputs) : in_(inputs) {}

  at::Tensor operator()(const Piece& piece, const Totals& totals) const {
    const at::AutoGradMode with_graph(totals.wanted());
    Gradients leaves;
    Gradients sums;
    const auto leaf = [&](const at::Tensor& input, const at::Tensor& sum) {
      const at::Tensor fresh = input.detach();
      if (!sum.defined()) return fresh;
      leaves.push_back(fresh.requires_grad_());
      sums.push_back(sum);
      return leaves.back();
    };
    const at::Tensor x =
        leaf(piece.of(in_.x_nd), totals.dx_nd.defined() ? piece.of(totals.dx_nd) : totals.dx_nd);
    const at::Tensor w = leaf(in_.w_vd, totals.dw_vd);
    std::optional<at::Tensor> bias;
    if (in_.bias_v.defined()) bias = leaf(in_.bias_v, totals.dbias_v);
    at::Tensor logits = ops::linear(x, w, bias, in_.precision);
    if (x.is_cpu() && in_.precision != Precision::float32) {
      logits = logits.to(scalar_type(in_.precision)).to(logits.scalar_type());
    }
    const at::Tensor loss = cross_entropy_sum(logits, piece.of(in_.targets_n), in_.smoothing);
    if (!totals.wanted()) return loss;
    const Gradients parts = torch::autograd::grad({loss}, leaves);
    const at::NoGradGuard no_graph;
    const bool has_rows = totals.dx_nd.defined();  // rows of dx belong to one piece
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (has_rows && i == 0) {
        sums[i].copy_(parts[i]);
      } else {
        piece.add_to(sums[i], parts[i]);
      }
    }
    return loss.detach();
  }

 private:
  const Inputs& in_;
};

/// Times the incoming gradient and, on a CPU, rounded to the precision, in place.
at::Tensor finished(const at::Tensor& total, const at::Tensor& gradient, Precision precision) {
  if (!total.defined()) return total;
  const bool fast = fast::applies(total);
  if (fast && precision == Precision::bfloat16) {
    round_to_bfloat16(total, gradient.to(at::kFloat).item<float>());
    return total;
  }
  if (!total.is_cpu() || gradient.item<double>() != 1) total.mul_(gradient.to(total.scalar_type()));
  if (total.is_cpu() && precision != Precision::float32) {
    total.copy_(total.to(scalar_type(precision)));
  }
  return total;
}

struct ChunkedLossFunction : torch::autograd::Function<ChunkedLossFunction> {
  static at::Tensor forward(Context* context, const at::Tensor& x_nd, const at::Tensor& w_vd,
                            const c10::optional<at::Tensor>& bias, const at::Tensor& targets_n,
                            double smoothing, Precision precision, bool with_gradients) {
    const Inputs inputs{
        x_nd.contiguous(),      w_vd.contiguous(), bias ? bias->contiguous() : at::Tensor(),
        targets_n.contiguous(), smoothing,         precision};
    const auto total_for = [&](const at::Tensor& input) {
      const bool wanted = with_gradients && input.requires_grad();
      return wanted ? at::empty(input.sizes(), input.options()) : at::Tensor();
    };
    const Totals totals{total_for(x_nd), total_for(w_vd), bias ? total_for(*bias) : at::Tensor()};
    const bool fast = fast::applies(inputs.x_nd);
    at::Tensor loss;
    if (fast && precision == Precision::float32) {
      loss = sum_of_pieces<FloatPieces>(inputs, totals);
    } else if (fast && precision == Precision::bfloat16 &&
               fast::bfloat16_applies(inputs.x_nd, inputs.w_vd)) {
      loss = sum_of_pieces<BFloat16Pieces>(inputs, totals);
#ifdef PG_CUDA
    } else if (on_gpu(inputs.x_nd) && precision != Precision::float16) {
      loss = sum_of_pieces<cuda::Pieces>(inputs, totals);
#endif
    } else {
      loss = sum_of_pieces<OtherPieces>(inputs, totals);
    }
    context->saved_data["precision"] = static_cast<std::int64_t>(precision);
    context->saved_data["totals"] = std::vector{totals.dx_nd, totals.dw_vd, totals.dbias_v};
    return loss;
  }

  /// Hands the totals over, so that they are changed in place and accumulated without a copy.
  static Gradients backward(Context* context, const Gradients& gradients) {
    require_first_derivative();
    const auto kept = context->saved_data.find("totals");
    require(kept != context->saved_data.end(),
            "one backward pass through a loss whose gradient is computed beforehand");
    const std::vector<at::Tensor> totals = kept->second.toTensorVector();
    context->saved_data.erase(kept);
    const auto precision = static_cast<Precision>(context->saved_data["precision"].toInt());
    Gradients results;
    for (const at::Tensor& total : totals) {
      results.push_back(finished(total, gradients[0], precision));
    }
    results.resize(7);
    return results;
  }
};

}  // namespace

at::Tensor linear_cross_entropy_sum(const at::Tensor& x_nd, const at::Tensor& w_vd,
                                    const std::optional<at::Tensor>& bias_v,
                                    const at::Tensor& targets_n, double smoothing,
                                    Precision precision) {
  checks::linear_cross_entropy_sum(x_nd, w_vd, bias_v, targets_n);
  // One piece is the faster way as well, but float16 wants the factor that scales the loss.
  if (precision == Precision::float16 && x_nd.size(0) <= rows_of_piece(w_vd.size(0))) {
    return cross_entropy_sum(ops::linear(x_nd, w_vd, bias_v, precision), targets_n, smoothing);
  }
  const auto bias = bias_v ? c10::optional<at::Tensor>(*bias_v) : c10::nullopt;
  return ChunkedLossFunction::apply(x_nd, w_vd, bias, targets_n, smoothing, precision,
                                    at::GradMode::is_enabled());
}

}  // namespace pg::ops
