#include "study/trial.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.hpp"
#include "base/text.hpp"
#include "config/study.hpp"

namespace pg::study {
namespace {

/// File names stay short and sort by batch: four digits, and six significant ones for a rate.
std::string id_part(const std::string& path, const std::string& value) {
  static const std::map<std::string, std::string> kShortNames = {
      {"optimizer.lr", "lr"},   {"train.seed", "s"},
      {"gate.alpha", "a"},      {"gate.unit", ""},
      {"gate.form", ""},        {"gate.policy", ""},
      {"model.arch", ""},       {"gate.alpha_start", "from"},
      {"gate.alpha_end", "to"}, {"model.d_model", "d"},
      {"model.n_layers", "l"},  {"model.d_ff", "f"},
      {"train.steps", "t"},     {"optimizer.weight_decay", "wd"}};
  if (path == "train.batch") return fmt::format("b{:04}", *parse_integer(value));
  if (path == "optimizer.lr") return fmt::format("lr{:.6g}", *parse_real(value));
  const auto found = kShortNames.find(path);
  const std::string name =
      found != kShortNames.end() ? found->second : path.substr(path.rfind('.') + 1);
  return name + value;
}

/// Equal for trials whose settings differ in unused ones only.
std::string what_it_computes(config::Settings settings) {
  const config::Settings defaults;
  for (const std::string& path : config::unused_paths(settings)) {
    for (const auto& [name, value] : config::setting_values(defaults)) {
      if (name == path) settings = config::with(settings, path, value);
    }
  }
  return config::print_settings(settings);
}

}  // namespace

Trial make_trial(const config::Study& study, const std::string& stage,
                 const std::vector<std::string>& values, const config::ArmSettings& arm) {
  require(values.size() == study.axes.size(), "one value for each axis");
  Trial trial{"", stage, {}, study.base};
  std::vector<std::string> parts;
  for (const auto& [path, value] : arm) {
    trial.settings = config::with(trial.settings, path, value);
    parts.push_back(id_part(path, value));
  }
  // Every arm says its value of what any arm sets.
  for (const config::ArmSettings& other : study.arms) {
    for (const auto& [path, ignored] : other) {
      const auto known = [&, name = path](const auto& v) { return v.first == name; };
      if (std::any_of(trial.varied.begin(), trial.varied.end(), known)) continue;
      for (const auto& [name, value] : config::setting_values(trial.settings)) {
        if (name == path) trial.varied.emplace_back(path, value);
      }
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string& path = study.axes[i].path;
    trial.settings = config::with(trial.settings, path, values[i]);
    trial.varied.emplace_back(path, values[i]);
    parts.push_back(id_part(path, values[i]));
  }
  if (axis_index(study, "train.seed") < 0) {
    parts.push_back(id_part("train.seed", std::to_string(trial.settings.train.seed)));
  }
  trial.id = join(parts, "_");
  for (char& c : trial.id) {
    if (c == '/' || c == ' ') c = '-';  // a corpus path may vary too
  }
  return trial;
}

std::vector<Trial> grid_trials(const config::Study& study) {
  std::vector<Trial> trials;
  std::set<std::string> different;
  const std::vector<config::ArmSettings> none(1);
  for (const config::ArmSettings& arm : study.arms.empty() ? none : study.arms) {
    std::vector<std::size_t> position(study.axes.size(), 0);
    for (;;) {
      std::vector<std::string> values;
      for (std::size_t i = 0; i < position.size(); ++i) {
        values.push_back(study.axes[i].values[position[i]]);
      }
      Trial trial = make_trial(study, "grid", values, arm);
      if (different.insert(what_it_computes(trial.settings)).second) {
        trials.push_back(std::move(trial));
      }
      std::size_t axis = position.size();  // the last axis runs fastest
      while (axis > 0 && ++position[axis - 1] == study.axes[axis - 1].values.size()) {
        position[--axis] = 0;
      }
      if (axis == 0) break;
    }
  }
  return trials;
}

int axis_index(const config::Study& study, const std::string& path) {
  for (std::size_t i = 0; i < study.axes.size(); ++i) {
    if (study.axes[i].path == path) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace pg::study
