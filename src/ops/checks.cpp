#include "ops/checks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.hpp"
#include "ops/dropout.hpp"

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

/// The counters of a site must hold `b` sequences of `elements` each.
void dropout_site(const char* op, const DropoutSite& site, std::int64_t b, std::int64_t elements) {
  const bool good =
      site.p >= 0 && site.p < 1 && site.site < (1ULL << kDropoutSiteBits) && site.first_slot >= 0;
  const double last = static_cast<double>(site.first_slot + b) * static_cast<double>(elements);
  if (!good || (site.p > 0 && last > std::ldexp(1.0, kDropoutElementBits))) {
    refuse(op,
           fmt::format("dropout p {}, site {}, first slot {}, {} elements a slot", site.p,
                       site.site, site.first_slot, elements),
           fmt::format("0 <= p < 1, site < 2^{}, first slot >= 0, at most 2^{} elements a batch",
                       kDropoutSiteBits, kDropoutElementBits));
  }
}

/// One target in [0, v) for each row.
void targets(const char* op, const at::Tensor& rows, std::int64_t v, const at::Tensor& targets_n) {
  if (!targets_n.defined() || targets_n.dim() != 1 || targets_n.scalar_type() != at::kLong ||
      targets_n.device() != rows.device() || targets_n.size(0) != rows.size(0)) {
    refuse(op, describe(rows) + " and " + describe(targets_n),
           "rows (n, ...) and targets (n) of int64 on the same device");
  }
  if (targets_n.numel() == 0) return;
  const auto least = targets_n.min().item<std::int64_t>();
  const auto most = targets_n.max().item<std::int64_t>();
  if (least < 0 || most >= v) {
    refuse(op, fmt::format("targets from {} to {}", least, most),
           fmt::format("targets in [0, {})", v));
  }
}

}  // namespace

void linear(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias,
            Precision precision) {
  const bool rounded = precision != Precision::float32 && w.defined() &&
                       w.scalar_type() == scalar_type(precision) && w.device() == x.device();
  if (!rounded) same_kind("linear", x, w);
  if (x.dim() < 1 || w.dim() != 2 || x.size(-1) != w.size(1)) {
    refuse("linear", describe(x) + " and " + describe(w), "x (..., n_in) and w (n_out, n_in)");
  }
  if (!bias) return;
  same_kind("linear", x, *bias);
  if (bias->dim() != 1 || bias->size(0) != w.size(0)) {
    refuse("linear", describe(w) + " and " + describe(*bias), "w (n_out, n_in) and bias (n_out)");
  }
}

void rms_norm(const at::Tensor& x, const at::Tensor& scale, double eps) {
  same_kind("rms_norm", x, scale);
  if (x.dim() < 1 || scale.dim() != 1 || x.size(-1) != scale.size(0)) {
    refuse("rms_norm", describe(x) + " and " + describe(scale), "x (..., d) and scale (d)");
  }
  if (!(eps > 0)) refuse("rms_norm", fmt::format("eps {}", eps), "eps > 0");
}

void layer_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias, double eps) {
  const char* op = "layer_norm";
  same_kind(op, x, scale);
  same_kind(op, x, bias);
  if (x.dim() < 1 || scale.dim() != 1 || x.size(-1) != scale.size(0) ||
      scale.sizes() != bias.sizes()) {
    refuse(op, fmt::format("{}, {} and {}", describe(x), describe(scale), describe(bias)),
           "x (..., d), scale (d) and bias (d)");
  }
  if (!(eps > 0)) refuse(op, fmt::format("eps {}", eps), "eps > 0");
}

void dropout(const at::Tensor& x, const DropoutSite& site) {
  same_kind("dropout", x, x);
  if (x.dim() < 1) refuse("dropout", describe(x), "x (b, ...)");
  dropout_site("dropout", site, x.size(0), x.size(0) == 0 ? 0 : x.numel() / x.size(0));
}

namespace {

/// What does not depend on how q, k and v stand: (b, t) queries like x attend to u keys. found()
/// is the text of what was found.
template <class Found>
void attention_spec(const AttentionSpec& spec, const at::Tensor& x, std::int64_t u,
                    std::int64_t d_head, const Found& found) {
  const char* op = "attention";
  const auto t = x.size(1);
  dropout_site(op, spec.dropout, x.size(0), spec.n_heads * t * u);
  if (spec.bias_htu.defined() && (spec.bias_htu.sizes() != at::IntArrayRef({spec.n_heads, t, u}) ||
                                  spec.bias_htu.scalar_type() != x.scalar_type())) {
    refuse(op, found() + " and a bias " + describe(spec.bias_htu), "a bias (n_heads, t, u)");
  }
  if (spec.causal && t != u) refuse(op, found(), "t = u where attention is causal");
  if (!spec.rope) return;
  same_kind(op, x, spec.rope->cos);
  same_kind(op, x, spec.rope->sin);
  const auto good = [&](const at::Tensor& table) {
    return table.dim() == 2 && table.size(0) >= std::max(t, u) && 2 * table.size(1) == d_head;
  };
  if (!good(spec.rope->cos) || !good(spec.rope->sin)) {
    refuse(op,
           found() + " and rotary tables " + describe(spec.rope->cos) + " and " +
               describe(spec.rope->sin),
           "tables (t or more, d_head / 2)");
  }
}

/// Heads that can be shared out, of `width` features in all.
bool divides(const AttentionSpec& spec, std::int64_t n, std::int64_t width) {
  return spec.n_heads >= 1 && spec.n_kv_heads >= 0 && spec.n_heads % spec.kv_heads() == 0 &&
         width > 0 && width % n == 0;
}

/// q (b, t, n_heads d_head) and `times` of the widths of k in `keys` (b, u, ...).
void attention_to(const at::Tensor& q_btd, const at::Tensor& keys, std::int64_t times,
                  const char* expected, const AttentionSpec& spec) {
  const char* op = "attention";
  same_kind(op, q_btd, keys);
  const auto found = [&] {
    return fmt::format("q {}, keys {}, {} heads of queries and {} of keys", describe(q_btd),
                       describe(keys), spec.n_heads, spec.kv_heads());
  };
  if (q_btd.dim() != 3 || keys.dim() != 3 || q_btd.size(0) != keys.size(0) ||
      !divides(spec, spec.n_heads, q_btd.size(2)) ||
      keys.size(2) * spec.n_heads != times * spec.kv_heads() * q_btd.size(2)) {
    refuse(op, found(),
           std::string("q (b, t, n_heads d_head), ") + expected +
               ", n_heads a multiple of n_kv_heads");
  }
  attention_spec(spec, q_btd, keys.size(1), q_btd.size(2) / spec.n_heads, found);
}

}  // namespace

void attention(const at::Tensor& qkv, const AttentionSpec& spec) {
  const char* op = "attention";
  same_kind(op, qkv, qkv);
  const auto found = [&] {
    return fmt::format("{}, {} heads of queries and {} of keys", describe(qkv), spec.n_heads,
                       spec.kv_heads());
  };
  const auto n = spec.n_heads + 2 * spec.kv_heads();
  if (qkv.dim() != 3 || !divides(spec, n, qkv.size(2))) {
    refuse(op, found(),
           "qkv (b, t, (n_heads + 2 n_kv_heads) d_head), n_heads a multiple of n_kv_heads");
  }
  attention_spec(spec, qkv, qkv.size(1), qkv.size(2) / n, found);
}

void attention(const at::Tensor& q_btd, const at::Tensor& kv, const AttentionSpec& spec) {
  attention_to(q_btd, kv, 2, "kv (b, u, 2 n_kv_heads d_head)", spec);
}

void attention_probabilities(const at::Tensor& q_btd, const at::Tensor& k_bud,
                             const AttentionSpec& spec) {
  attention_to(q_btd, k_bud, 1, "k (b, u, n_kv_heads d_head)", spec);
}

void gate(const at::Tensor& h) {
  same_kind("gate", h, h);
}

void gate(const at::Tensor& x, const at::Tensor& h) {
  same_kind("gate", x, h);
  if (x.sizes() != h.sizes()) {
    refuse("gate", describe(x) + " and " + describe(h), "two tensors of one shape");
  }
}

void blend(const at::Tensor& x, const at::Tensor& g, const at::Tensor& b, const at::Tensor& alpha) {
  const char* op = "blend";
  for (const at::Tensor* other : {&g, &b}) {
    if (other == &b && !b.defined()) continue;
    same_kind(op, x, *other);
    if (x.sizes() != other->sizes())
      refuse(op, describe(x) + " and " + describe(*other), "one shape");
  }
  same_kind(op, x, alpha);
  auto rows = x.sizes().vec();
  if (!rows.empty()) rows.back() = 1;
  if (alpha.sizes() != at::IntArrayRef{1} && alpha.sizes() != at::IntArrayRef(rows)) {
    refuse(op, describe(x) + " and alpha " + describe(alpha),
           "x (..., d) and alpha (1) or (..., 1)");
  }
}

void resolvent(const at::Tensor& v_bt, bool causal, ResolventGradient gradient) {
  const char* op = "resolvent";
  same_kind(op, v_bt, v_bt);
  if (v_bt.dim() != 2) refuse(op, describe(v_bt), "v (b, t)");
  if (causal && gradient != ResolventGradient::exact) {
    refuse(op, "upstream_hybrid in the causal form", "that gradient for the bidirectional form");
  }
}

void cross_entropy_sum(const at::Tensor& logits_nv, const at::Tensor& targets_n) {
  const char* op = "cross_entropy_sum";
  same_kind(op, logits_nv, logits_nv);
  if (logits_nv.dim() != 2) {
    refuse(op, describe(logits_nv), "logits (n, v) and targets (n) of int64 on the same device");
  }
  targets(op, logits_nv, logits_nv.size(1), targets_n);
}

void linear_cross_entropy_sum(const at::Tensor& x_nd, const at::Tensor& w_vd,
                              const std::optional<at::Tensor>& bias_v,
                              const at::Tensor& targets_n) {
  checks::linear(x_nd, w_vd, bias_v);
  const char* op = "linear_cross_entropy_sum";
  if (x_nd.dim() != 2) refuse(op, describe(x_nd), "x (n, d)");
  targets(op, x_nd, w_vd.size(0), targets_n);
}

void flat(const char* op, const char* name, const at::Tensor& flat, std::int64_t length) {
  if (!flat.defined() || flat.dim() != 1 || flat.scalar_type() != at::kFloat ||
      !flat.is_contiguous() || (length != -1 && flat.size(0) != length)) {
    refuse(op, fmt::format("{} = {}", name, describe(flat)),
           length == -1 ? std::string("a contiguous float32 vector")
                        : fmt::format("a contiguous float32 vector of {}", length));
  }
}

}  // namespace pg::ops::checks
