#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postprocess/fits/gating.hpp"

// Which arms a gating analysis sets against which, and what they are called.

namespace pg::post {

bool is_vanilla(const Arm& arm);

/// Of a fixed alpha only: what it starts from elsewhere is part of the gate's name.
std::optional<double> alpha_of(const Arm& arm);

/// Unit, form, norms and alpha policy of an arm: "paglu self_gate +pre_norm cosine 1 to 0", or
/// "vanilla". The same for arms that differ in a fixed alpha.
std::string gate_of(const Arm& arm);

/// Of an arm in the analysis's own terms: its gate and alpha, or what sets it apart from the base
/// settings.
std::string label_in(const GatingAnalysis& a, const Arm& arm);

/// The arms that are compared with one another: all that differ in gate.* only, by architecture and
/// then size; or, where arms of any settings are compared, all at one point of the axes around
/// them.
std::vector<GatingBlock> make_blocks(const GatingAnalysis& a);

/// The anchor for an arm: the block's vanilla arm, the same gate at the anchor's alpha, or the base
/// settings at the block's point of the axes.
std::optional<std::size_t> anchor_for(const GatingAnalysis& a, const GatingBlock& block,
                                      const Arm& arm);

}  // namespace pg::post
