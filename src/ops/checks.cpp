#include "ops/checks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include "base/error.hpp"

namespace pg::ops::checks {
namespace {

std::string describe(const at::Tensor& x) {
  if (!x.defined()) return "an undefined tensor";
  return fmt::format("({}) {} on {}", fmt::join(x.sizes(), ", "), c10::toString(x.scalar_type()),
                     x.device().str());
}

[[noreturn]] void refuse(const char* op, const std::string& found, const std::string& expected) {
  throw InternalError({fmt::format("{} was called with {}", op, found), expected,
                       "please report this with the model settings"});
}

void same_kind(const char* op, const at::Tensor& a, const at::Tensor& b) {
  const bool same = a.defined() && b.defined() && at::isFloatingType(a.scalar_type()) &&
                    a.scalar_type() == b.scalar_type() && a.device() == b.device();
  if (!same) {
    refuse(op, describe(a) + " and " + describe(b), "two floating tensors of one type and device");
  }
}

}  // namespace

void linear(const at::Tensor& x, const at::Tensor& w) {
  same_kind("linear", x, w);
  if (x.dim() < 1 || w.dim() != 2 || x.size(-1) != w.size(1)) {
    refuse("linear", describe(x) + " and " + describe(w), "x (..., n_in) and w (n_out, n_in)");
  }
}

void rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  same_kind("rms_norm", x, scale);
  if (x.dim() < 1 || scale.dim() != 1 || x.size(-1) != scale.size(0)) {
    refuse("rms_norm", describe(x) + " and " + describe(scale), "x (..., d) and scale (d)");
  }
  if (!(eps > 0)) refuse("rms_norm", fmt::format("eps {}", eps), "eps > 0");
}

void attention(const at::Tensor& qkv_bt3d, std::int64_t n_heads, const std::optional<Rope>& rope) {
  const char* op = "attention";
  same_kind(op, qkv_bt3d, qkv_bt3d);
  if (qkv_bt3d.dim() != 3 || n_heads < 1 || qkv_bt3d.size(2) % (3 * n_heads) != 0) {
    refuse(op, fmt::format("{} and {} heads", describe(qkv_bt3d), n_heads),
           "qkv (b, t, 3 d), d a multiple of the number of heads");
  }
  if (!rope) return;
  same_kind(op, qkv_bt3d, rope->cos);
  same_kind(op, qkv_bt3d, rope->sin);
  const auto d_head = qkv_bt3d.size(2) / (3 * n_heads);
  const auto good = [&](const at::Tensor& table) {
    return table.dim() == 2 && table.size(0) >= qkv_bt3d.size(1) && 2 * table.size(1) == d_head;
  };
  if (!good(rope->cos) || !good(rope->sin)) {
    refuse(op,
           fmt::format("{}, {} heads and rotary tables {} and {}", describe(qkv_bt3d), n_heads,
                       describe(rope->cos), describe(rope->sin)),
           "tables (t or more, d_head / 2)");
  }
}

void gate(const at::Tensor& h) {
  same_kind("gate", h, h);
}

void cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n) {
  const char* op = "cross_entropy_sum";
  same_kind(op, logits_nv, logits_nv);
  if (logits_nv.dim() != 2 || !targets_n.defined() || targets_n.dim() != 1 ||
      targets_n.scalar_type() != at::kLong || targets_n.device() != logits_nv.device() ||
      targets_n.size(0) != logits_nv.size(0)) {
    refuse(op, describe(logits_nv) + " and " + describe(targets_n),
           "logits (n, v) and targets (n) of int64 on the same device");
  }
  if (targets_n.numel() == 0) return;
  const auto least = targets_n.min().item<std::int64_t>();
  const auto most = targets_n.max().item<std::int64_t>();
  if (least < 0 || most >= logits_nv.size(1)) {
    refuse(op, fmt::format("targets from {} to {}", least, most),
           fmt::format("targets in [0, {})", logits_nv.size(1)));
  }
}

void flat(const char* op, const char* name, const at::Tensor& flat, std::int64_t length) {
  if (!flat.defined() || flat.dim() != 1 || flat.scalar_type() != at::kFloat ||
      !flat.is_contiguous() || !flat.is_cpu() || (length != -1 && flat.size(0) != length)) {
    refuse(op, fmt::format("{} = {}", name, describe(flat)),
           length == -1 ? std::string("a contiguous float32 vector on the CPU")
                        : fmt::format("a contiguous float32 vector of {} on the CPU", length));
  }
}

}  // namespace pg::ops::checks
