#include "ops/cuda/loss_pieces.hpp"

#include "ops/cuda/kernels.hpp"
#include "ops/cuda/on_device.hpp"
#include "ops/cuda/product.hpp"

namespace pg::ops::cuda {

Pieces::Pieces(const ChunkedLossInputs& inputs)
    : in_(inputs),
      w_(at::empty({logits_stride(inputs.w_vd.size(0)), inputs.w_vd.size(1)},
                   inputs.w_vd.options().dtype(scalar_type(inputs.precision)))) {
  const auto v = inputs.w_vd.size(0);
  w_.narrow(0, 0, v).copy_(inputs.w_vd);
  w_.narrow(0, v, w_.size(0) - v).zero_();
}

at::Tensor Pieces::operator()(const LossPiece& piece, const ChunkedLossTotals& totals) const {
  const auto v = in_.w_vd.size(0);
  const kernels::Logits rows{piece.rows, v, w_.size(0)};
  const at::Tensor x = piece.of(in_.x_nd).to(w_.scalar_type());
  const at::Tensor targets = piece.of(in_.targets_n);
  const auto* const target = targets.data_ptr<std::int64_t>();
  const at::Tensor logits = at::empty({rows.n, rows.stride}, in_.x_nd.options());
  multiply(x, w_.t(), 0, logits);
  if (in_.bias_v.defined()) logits.narrow(1, 0, v).add_(in_.bias_v);
  const at::Tensor max_n = at::empty({rows.n}, logits.options());
  const at::Tensor inverse_n = at::empty_like(max_n);
  const at::Tensor loss_n = at::empty({rows.n}, logits.options().dtype(at::kDouble));
  const OnDevice stream(logits);
  kernels::row_losses(rows, logits.data_ptr<float>(), target, in_.smoothing,
                      loss_n.data_ptr<double>(), max_n.data_ptr<float>(),
                      inverse_n.data_ptr<float>(), stream);
  if (!totals.wanted()) return loss_n.sum();
  const bool rounds = in_.precision != Precision::float32;
  const at::Tensor dlogits = rounds ? at::empty(logits.sizes(), x.options()) : logits;
  if (rounds) {
    kernels::row_loss_gradient_bfloat16(
        rows, logits.data_ptr<float>(), target, in_.smoothing, max_n.data_ptr<float>(),
        inverse_n.data_ptr<float>(),
        reinterpret_cast<std::uint16_t*>(dlogits.data_ptr<at::BFloat16>()), stream);
  } else {
    kernels::row_loss_gradient(rows, logits.data_ptr<float>(), target, in_.smoothing,
                               max_n.data_ptr<float>(), inverse_n.data_ptr<float>(),
                               /*dy=*/nullptr, logits.data_ptr<float>(), stream);
  }
  if (totals.dx_nd.defined()) multiply(dlogits, w_, 0, piece.of(totals.dx_nd));
  const at::Tensor dlogits_nv = dlogits.narrow(1, 0, v);
  if (totals.dw_vd.defined()) {
    multiply(dlogits_nv.t(), x, piece.first == 0 ? 0 : 1, totals.dw_vd);
  }
  if (totals.dbias_v.defined()) {
    piece.add_to(totals.dbias_v, dlogits_nv.sum(0, false, at::kFloat));
  }
  return loss_n.sum();
}

}  // namespace pg::ops::cuda
