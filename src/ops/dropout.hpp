#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "base/random.hpp"
#include "ops/autograd.hpp"
#include "ops/dropout_stream.hpp"
#include "ops/ops.hpp"

// A DropoutSite as the kernels and the reference see it. Four elements share a Philox block, and
// the 64 bits of a block's index hold the site above the elements of a batch.

namespace pg::ops {

constexpr int kDropoutSiteBits = 20;
constexpr int kDropoutElementBits = 46;

inline random::Stream dropout_random(const DropoutSite& site) {
  return {site.seed, random::Purpose::dropout, site.step};
}

/// The block of the site's element 0.
inline std::int64_t dropout_first_block(const DropoutSite& site) {
  return static_cast<std::int64_t>(site.site << (kDropoutElementBits - 2));
}

/// The least word that is kept: a whole word is at least p 2^32 iff it is at least this.
inline std::uint32_t dropout_threshold(const DropoutSite& site) {
  return static_cast<std::uint32_t>(std::min(std::ceil(site.p * 0x1p32), 0x1p32 - 1));
}

inline DropoutStream dropout_stream(const DropoutSite& site) {
  const auto key = dropout_random(site).key();
  return {{key[0], key[1]},
          site.step,
          static_cast<std::uint64_t>(dropout_first_block(site)),
          dropout_threshold(site),
          static_cast<float>(1 / (1 - site.p))};
}

/// dropout_factors() may write this many floats more than it is asked for.
constexpr std::int64_t kDropoutSlack = 288;

/// The backward pass draws the same numbers again, so a few integers are all that is kept.
inline void save_dropout(Context& context, const DropoutSite& site) {
  context.saved_data["dropout_p"] = site.p;
  context.saved_data["dropout_seed"] = static_cast<std::int64_t>(site.seed);
  context.saved_data["dropout_step"] = static_cast<std::int64_t>(site.step);
  context.saved_data["dropout_site"] = static_cast<std::int64_t>(site.site);
  context.saved_data["dropout_first_slot"] = site.first_slot;
}

inline std::optional<DropoutSite> saved_dropout(Context& context) {
  if (context.saved_data.find("dropout_p") == context.saved_data.end()) return std::nullopt;
  const auto whole = [&](const char* name) { return context.saved_data[name].toInt(); };
  return DropoutSite{
      context.saved_data["dropout_p"].toDouble(), static_cast<std::uint64_t>(whole("dropout_seed")),
      static_cast<std::uint64_t>(whole("dropout_step")),
      static_cast<std::uint64_t>(whole("dropout_site")), whole("dropout_first_slot")};
}

}  // namespace pg::ops
