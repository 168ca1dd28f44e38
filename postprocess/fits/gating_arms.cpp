#include "postprocess/fits/gating_arms.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

#include "base/text.hpp"

namespace pg::post {
namespace {

constexpr const char* kUnitPath = "gate.unit";
constexpr const char* kAlphaPath = "gate.alpha";
constexpr const char* kFormPath = "gate.form";
constexpr const char* kPolicyPath = "gate.policy";
constexpr const char* kVanilla = "vanilla";

bool is_gate_path(const std::string& path) {
  return path.starts_with("gate.");
}

/// Unit, form and norms: what an anchor at some alpha shares with its arms, whatever their policy.
std::string kind_of(const Arm& arm) {
  std::string text = value_at(arm.settings, kUnitPath) + " " + value_at(arm.settings, kFormPath);
  if (value_at(arm.settings, kUnitPath) == "paunit") {
    text += " " + value_at(arm.settings, "gate.function");
  }
  for (const char* part : {"gate_norm", "pre_norm", "post_norm", "attention"}) {
    if (value_at(arm.settings, std::string("gate.") + part) != "true") continue;
    text += std::string(" +") + part;
    if (part == std::string_view("attention")) {
      const std::string alpha = value_at(arm.settings, "gate.attention_alpha");
      if (alpha != "unused") text += "=" + alpha;
    }
  }
  return text;
}

std::string arm_label(const Arm& arm) {
  const auto alpha = alpha_of(arm);
  return alpha ? gate_of(arm) + " alpha=" + shortest(*alpha) : gate_of(arm);
}

/// Arms whose `key` is the same stand beside one another; `label` names their block.
template <typename Key, typename Label>
std::vector<GatingBlock> blocks_by(const std::vector<Arm>& arms, const Key& key,
                                   const Label& label) {
  std::map<SettingValues, std::size_t> index;
  std::vector<GatingBlock> blocks;
  for (std::size_t i = 0; i < arms.size(); ++i) {
    SettingValues shared = key(arms[i]);
    const auto [place, fresh] = index.emplace(std::move(shared), blocks.size());
    if (fresh) {
      GatingBlock block;
      block.label = label(arms[i]);
      block.architecture = value_at(arms[i].settings, "model.arch");
      block.n_parameters = arms[i].n_parameters;
      blocks.push_back(std::move(block));
    }
    blocks[place->second].arms.push_back(i);
  }
  return blocks;
}

/// All arms beside one another at every point of the axes around them, by rising values.
std::vector<GatingBlock> blocks_by_axes(const std::vector<Arm>& arms,
                                        const std::vector<std::string>& axes) {
  const auto point = [&](const Arm& arm) {
    SettingValues values;
    for (const std::string& path : axes) values.emplace_back(path, value_at(arm.settings, path));
    return values;
  };
  std::vector<GatingBlock> blocks = blocks_by(arms, point, [&](const Arm& arm) {
    return axes.empty() ? "all trials" : label_of(arm.settings, axes);
  });
  const auto numbers = [&](const GatingBlock& block) {
    std::vector<std::optional<double>> list;
    for (const auto& [path, value] : point(arms[block.arms[0]])) list.push_back(parse_real(value));
    return list;
  };
  std::stable_sort(blocks.begin(), blocks.end(), [&](const GatingBlock& x, const GatingBlock& y) {
    return numbers(x) < numbers(y);
  });
  return blocks;
}

std::vector<GatingBlock> blocks_by_settings(const std::vector<Arm>& arms) {
  std::vector<std::string> paths = varying_paths(arms);
  std::erase_if(paths, is_gate_path);
  std::vector<GatingBlock> blocks = blocks_by(
      arms,
      [](const Arm& arm) {
        SettingValues shared = arm.settings;
        std::erase_if(shared, [](const auto& s) { return is_gate_path(s.first); });
        return shared;
      },
      [&](const Arm& arm) { return paths.empty() ? "all trials" : label_of(arm.settings, paths); });
  for (GatingBlock& block : blocks) {
    std::stable_sort(block.arms.begin(), block.arms.end(), [&](std::size_t x, std::size_t y) {
      return std::pair(gate_of(arms[x]), alpha_of(arms[x])) <
             std::pair(gate_of(arms[y]), alpha_of(arms[y]));
    });
  }
  std::stable_sort(blocks.begin(), blocks.end(), [](const GatingBlock& x, const GatingBlock& y) {
    return std::tie(x.architecture, x.n_parameters) < std::tie(y.architecture, y.n_parameters);
  });
  return blocks;
}

/// An axis around the arms sets configurations apart, not arms.
bool is_axis(const GatingAnalysis& a, const std::string& path) {
  const std::vector<std::string>& axes = a.table.configuration_paths;
  return std::find(axes.begin(), axes.end(), path) != axes.end();
}

}  // namespace

bool is_vanilla(const Arm& arm) {
  return value_at(arm.settings, kUnitPath) == kVanilla;
}

std::optional<double> alpha_of(const Arm& arm) {
  if (value_at(arm.settings, kPolicyPath) != "fixed") return std::nullopt;
  return parse_real(value_at(arm.settings, kAlphaPath));  // "unused": nothing
}

std::string gate_of(const Arm& arm) {
  const std::string unit = value_at(arm.settings, kUnitPath);
  if (unit == kVanilla) return "vanilla";
  const std::string policy = value_at(arm.settings, kPolicyPath);
  std::string text = kind_of(arm);
  const auto of = [&](const char* name) {
    return value_at(arm.settings, std::string("gate.") + name);
  };
  if (policy == "fixed") return text;
  text += " " + policy;
  if (policy == "learnable" || policy == "warmup" || policy.starts_with("adaptive")) {
    text += " " + of("alpha");
  } else if (policy != "entropy" && policy != "confidence") {
    text += " " + of("alpha_start") + " to " + of("alpha_end");
  }
  return text;
}

std::string label_in(const GatingAnalysis& a, const Arm& arm) {
  if (!a.compares_settings()) return arm_label(arm);
  std::vector<std::string> paths = varying_paths(a.arms);
  const SettingValues& base = a.table.base;
  std::erase_if(paths, [&](const std::string& path) {
    return is_axis(a, path) ||
           std::find(base.begin(), base.end(), std::pair(path, value_at(arm.settings, path))) !=
               base.end();
  });
  return paths.empty() ? "base settings" : label_of(arm.settings, paths);
}

std::vector<GatingBlock> make_blocks(const GatingAnalysis& a) {
  return a.compares_settings() ? blocks_by_axes(a.arms, a.table.configuration_paths)
                               : blocks_by_settings(a.arms);
}

std::optional<std::size_t> anchor_for(const GatingAnalysis& a, const GatingBlock& block,
                                      const Arm& arm) {
  for (const std::size_t i : block.arms) {
    const Arm& candidate = a.arms[i];
    if (a.compares_settings()) {
      const SettingValues& s = candidate.settings;
      const auto same = [&](const auto& value) {
        return is_axis(a, value.first) || std::find(s.begin(), s.end(), value) != s.end();
      };
      if (!a.table.base.empty() && std::all_of(a.table.base.begin(), a.table.base.end(), same)) {
        return i;
      }
    } else if (a.anchor == "vanilla") {
      if (value_at(candidate.settings, kUnitPath) == kVanilla) return i;
    } else if (std::string(kAlphaPath) + "=" + value_at(candidate.settings, kAlphaPath) ==
                   a.anchor &&
               value_at(candidate.settings, kPolicyPath) == "fixed" &&
               kind_of(candidate) == kind_of(arm)) {
      return i;
    }
  }
  return std::nullopt;
}

}  // namespace pg::post
