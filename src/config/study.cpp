#include "config/study.hpp"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/fields.hpp"

namespace pg::config {
namespace {

namespace fs = std::filesystem;

/// A value with the place it was written at, for messages.
struct Assignment {
  std::string path;
  YAML::Node value;
  std::string origin;
};

class Problems {
 public:
  void add(const std::string& origin, const std::string& text) {
    lines_.push_back(origin + ": " + text);
  }
  void throw_if_any(const std::string& subject) const {
    if (lines_.empty()) return;
    std::string found = fmt::format("{} {} in {}:", lines_.size(),
                                    lines_.size() == 1 ? "problem" : "problems", subject);
    for (const std::string& line : lines_) found += "\n  " + line;
    throw InvalidInput(InvalidInput::Source::settings,
                       {found, "", "pgmpi --print-config shows every setting and its meaning"});
  }

 private:
  std::vector<std::string> lines_;
};

YAML::Node parse_yaml(const std::string& text, const std::string& origin) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw_settings(fmt::format("{}:{}: not valid YAML: {}", origin, error.mark.line + 1, error.msg),
                   "YAML with spaces for indentation", "correct that line");
  }
}

std::string place(const std::string& file, const YAML::Node& node) {
  return fmt::format("{}:{}", file, node.Mark().line + 1);
}

/// Reads one study; holds what the several passes share.
class Loader {
 public:
  Loader(Study& study, Problems& problems)
      : study_(study), problems_(problems), fields_(study_fields(study)) {
    std::set<std::string> words = {"arms", "axes", "preset", "quick"};
    for (const Field& field : fields_) {
      words.insert(field.path);
      for (std::size_t dot = field.path.find('.'); dot != std::string::npos;
           dot = field.path.find('.', dot + 1)) {
        words.insert(field.path.substr(0, dot));
      }
    }
    known_.assign(words.begin(), words.end());
  }

  /// Flattens a mapping into assignments; a path that is no field and no group is a problem.
  void collect(const YAML::Node& node, const std::string& prefix, const std::string& file,
               std::vector<Assignment>& out) {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      const std::string path = prefix.empty() ? key : prefix + "." + key;
      if (!seen.insert(key).second)
        problems_.add(place(file, entry.first), fmt::format("{} appears twice", path));
      if (is_field(path) || path == "arms" || path.starts_with("axes.")) {
        out.push_back({path, entry.second, place(file, entry.first)});
      } else if (is_group(path)) {
        if (entry.second.IsMap()) {
          collect(entry.second, path, file, out);
        } else if (!entry.second.IsNull()) {
          problems_.add(place(file, entry.first), path + " is a group of settings, not a value");
        }
      } else {
        unknown(path, place(file, entry.first));
      }
    }
  }

  void apply(const std::vector<Assignment>& assignments) {
    for (const Assignment& a : assignments) {
      if (a.path.starts_with("axes.")) {
        apply_axis(a);
        continue;
      }
      if (a.path == "arms") {
        apply_arms(a);
        continue;
      }
      const auto field = find(a.path);
      if (field == fields_.end()) {
        unknown(a.path, a.origin);
        continue;
      }
      const std::string wrong = field->set(a.value);
      if (!wrong.empty()) problems_.add(a.origin, a.path + ": " + wrong);
    }
  }

  void unknown(const std::string& path, const std::string& origin) {
    const auto near = nearest_word(path, known_);
    problems_.add(origin, fmt::format("unknown setting '{}'{}", path,
                                      near ? "; did you mean " + *near + "?" : ""));
  }

 private:
  std::vector<Field>::iterator find(const std::string& path) {
    return std::find_if(fields_.begin(), fields_.end(),
                        [&](const Field& f) { return f.path == path; });
  }
  bool is_field(const std::string& path) { return find(path) != fields_.end(); }
  [[nodiscard]] bool is_group(const std::string& path) const {
    return path == "axes" || std::any_of(known_.begin(), known_.end(), [&](const std::string& k) {
             return k.starts_with(path + ".");
           });
  }

  /// The field at a path where it may vary within a study; else a problem is added.
  std::optional<Field> varying_field(std::vector<Field>& candidates, const std::string& path,
                                     const std::string& name, const std::string& origin) {
    const auto field = std::find_if(candidates.begin(), candidates.end(),
                                    [&](const Field& f) { return f.path == path; });
    if (field == candidates.end()) {
      std::vector<std::string> paths;
      for (const Field& f : candidates) paths.push_back(f.path);
      const auto near = nearest_word(path, paths);
      problems_.add(origin, fmt::format("{}: only a trial's setting can vary{}", name,
                                        near ? "; did you mean " + *near + "?" : ""));
      return std::nullopt;
    }
    if (path.starts_with("data.") && path != "data.sequence_length" && path != "data.objective") {
      problems_.add(origin, name + ": a study has one corpus; expected a study for each");
      return std::nullopt;
    }
    return *field;
  }

  void apply_axis(const Assignment& a) {
    const std::string path = a.path.substr(5);
    Settings trial = study_.base;
    auto candidates = settings_fields(trial);
    const auto field = varying_field(candidates, path, a.path, a.origin);
    if (!field) return;
    if (!a.value.IsSequence() || a.value.size() == 0) {
      problems_.add(a.origin, a.path + ": expected a list with at least one value");
      return;
    }
    Axis axis{path, {}};
    for (const YAML::Node& item : a.value) {
      const std::string wrong = field->set(item);
      if (!wrong.empty()) {
        problems_.add(a.origin, a.path + ": " + wrong);
        return;
      }
      const std::string value = field->get().Scalar();  // one spelling per value: 1e-3 is 0.001
      if (std::find(axis.values.begin(), axis.values.end(), value) != axis.values.end()) {
        problems_.add(a.origin, fmt::format("{}: the value {} appears twice", a.path, value));
      }
      axis.values.push_back(value);
    }
    const auto same = std::find_if(study_.axes.begin(), study_.axes.end(),
                                   [&](const Axis& other) { return other.path == path; });
    if (same == study_.axes.end()) {
      study_.axes.push_back(std::move(axis));
    } else {
      *same = std::move(axis);
    }
  }

  void apply_arms(const Assignment& a) {
    study_.arms.clear();
    if (!a.value.IsSequence()) {
      problems_.add(a.origin, "arms: expected a list of {setting: value, ...}");
      return;
    }
    for (const YAML::Node& item : a.value) {
      if (!item.IsMap() || item.size() == 0) {
        problems_.add(a.origin, "arms: expected a list of {setting: value, ...}");
        return;
      }
      ArmSettings arm;
      for (const auto& entry : item) {
        const std::string path = entry.first.Scalar();
        Settings trial = study_.base;
        auto candidates = settings_fields(trial);
        const auto field = varying_field(candidates, path, "arms: " + path, a.origin);
        if (!field) continue;
        const std::string wrong = field->set(entry.second);
        if (!wrong.empty()) problems_.add(a.origin, fmt::format("arms: {}: {}", path, wrong));
        arm.emplace_back(path, field->get().Scalar());
      }
      study_.arms.push_back(std::move(arm));
    }
  }

  Study& study_;
  Problems& problems_;
  std::vector<Field> fields_;
  std::vector<std::string> known_;  ///< settings and groups, for suggestions
};

/// The files that may hold a preset, the first to be taken first.
std::vector<fs::path> preset_places(const std::string& name, const fs::path& study_file) {
  std::vector<fs::path> places;
  const fs::path folder = study_file.has_parent_path() ? study_file.parent_path() : fs::path(".");
  places.push_back(folder / (name + ".yaml"));
  places.push_back(folder.parent_path() / "models" / (name + ".yaml"));
  try {
    places.push_back(config_folder() / "models" / (name + ".yaml"));
  } catch (const InvalidInput&) {
    // A study may live anywhere with its presets beside it; only a miss everywhere is an error.
  }
  return places;
}

void check_shard(const Study& study, const std::string& origin, Problems& problems) {
  const ShardSettings& shard = study.shard;
  if (shard.degree > 0 && !std::has_single_bit(static_cast<std::uint64_t>(shard.degree))) {
    problems.add(origin, fmt::format("shard.degree = {}; expected a power of two, or 0 for the "
                                     "largest team",
                                     shard.degree));
  }
  const ShardSettings usual;
  if (shard.degree == 1 && (shard.reshard_after_forward != usual.reshard_after_forward ||
                            shard.prefetch != usual.prefetch)) {
    problems.add(origin,
                 "shard.reshard_after_forward and shard.prefetch have no effect with shard.degree "
                 "= 1; expected another degree");
  }
  const auto measures_tails = [](const Axis& axis) {
    return axis.path == "measure.gradient_tails";
  };
  if (shard.degree != 1 && (study.base.measure.gradient_tails > 0 ||
                            std::any_of(study.axes.begin(), study.axes.end(), measures_tails))) {
    problems.add(origin,
                 "measure.gradient_tails looks at whole gradients, which no rank has with "
                 "shard.degree above 1; expected shard.degree: 1");
  }
}

void add_contradictions(const Study& study, const std::string& origin, Problems& problems) {
  check_shard(study, origin, problems);
  const std::string& kind = study.analysis.kind;
  if ((kind == "gating" || kind == "arms" || kind == "model_size") &&
      (study.refine.enabled || study.transfer.enabled)) {
    problems.add(origin, fmt::format("analysis.kind is {}, but the stages look for learning rates: "
                                     "expected stages.refine.enabled and stages.transfer.enabled: "
                                     "false",
                                     kind));
  }
  std::set<std::string> seen;
  const auto check = [&](const Settings& settings, const std::string& where) {
    for (const std::string& text : contradictions(settings)) {
      if (seen.insert(text).second) problems.add(where, text);
    }
  };
  for (const std::string& text : settings_without_effect(study)) problems.add(origin, text);
  if (!study.arms.empty() && (study.refine.enabled || study.transfer.enabled)) {
    problems.add(origin,
                 "the study has arms, but the stages look for learning rates: expected "
                 "stages.refine.enabled and stages.transfer.enabled: false");
  }
  std::vector<std::pair<Settings, std::string>> bases = {{study.base, origin}};
  for (const ArmSettings& arm : study.arms) {
    Settings settings = study.base;
    std::vector<std::string> words;
    for (const auto& [path, value] : arm) {
      settings = with(settings, path, value);
      words.push_back(path + " = " + value);
      for (const Axis& axis : study.axes) {
        if (axis.path == path) problems.add(origin, path + " is set by an arm and is an axis too");
      }
    }
    bases.emplace_back(settings, fmt::format("{} in the arm {}", origin, join(words, ", ")));
  }
  for (const auto& [settings, where] : bases) {
    check(settings, where);
    for (const Axis& axis : study.axes) {
      for (const std::string& value : axis.values) {
        check(with(settings, axis.path, value),
              fmt::format("{} at {} = {}", where, axis.path, value));
      }
    }
  }
}

void emit(const std::vector<Field>& fields, YAML::Emitter& out) {
  std::vector<std::string> open;
  for (const Field& field : fields) {
    std::vector<std::string> parts = split(field.path, '.');
    const std::string leaf = parts.back();
    parts.pop_back();
    std::size_t common = 0;
    while (common < open.size() && common < parts.size() && open[common] == parts[common]) ++common;
    for (; open.size() > common; open.pop_back()) out << YAML::EndMap;
    for (; open.size() < parts.size(); open.push_back(parts[open.size()])) {
      out << YAML::Key << parts[open.size()] << YAML::Value << YAML::BeginMap;
    }
    out << YAML::Key << leaf << YAML::Value << field.get() << YAML::Comment(field.meaning);
  }
  for (; !open.empty(); open.pop_back()) out << YAML::EndMap;
}

}  // namespace

fs::path config_folder() {
  std::error_code failure;
  const fs::path program = fs::read_symlink("/proc/self/exe", failure);
  std::vector<fs::path> places = {"configs"};
  if (!failure) {
    const fs::path bin = program.parent_path();
    places.push_back(bin / "../../../configs");
    places.push_back(bin / "../share/pgmpi/configs");
  }
  std::vector<std::string> tried;
  for (const fs::path& place : places) {
    if (fs::is_directory(place / "studies")) return place.lexically_normal();
    tried.push_back(place.lexically_normal().string());
  }
  throw_settings("there is no folder of configs", "one of: " + join(tried, ", "),
                 "name the study file on the command line");
}

Study load_study(const fs::path& file, const LoadOptions& options) {
  Study study;
  Problems problems;
  Loader loader(study, problems);
  const std::string name = file.string();
  const YAML::Node root = parse_yaml(read_file(file), name);
  if (!root.IsMap()) {
    throw_settings(name + ": no settings in it", "a YAML mapping", "see configs/studies");
  }

  std::vector<Assignment> from_preset;
  std::vector<Assignment> from_file;
  std::vector<Assignment> from_quick;
  YAML::Node body(YAML::NodeType::Map);
  for (const auto& entry : root) {
    const std::string key = entry.first.Scalar();
    if (key == "preset") {
      const std::vector<fs::path> places = preset_places(entry.second.Scalar(), file);
      const auto preset =
          std::ranges::find_if(places, [](const fs::path& p) { return fs::exists(p); });
      if (preset == places.end()) {
        std::vector<std::string> tried;
        for (const fs::path& p : places) tried.push_back(p.lexically_normal().string());
        problems.add(place(name, entry.first), "no model preset '" + entry.second.Scalar() +
                                                   "'; looked for " + join(tried, ", "));
      } else {
        loader.collect(parse_yaml(read_file(*preset), preset->string()), "", preset->string(),
                       from_preset);
      }
    } else if (key == "quick") {
      for (const auto& item : entry.second) {
        from_quick.push_back({item.first.Scalar(), item.second, place(name, item.first)});
      }
    } else {
      body.force_insert(entry.first, entry.second);
    }
  }
  loader.collect(body, "", name, from_file);
  loader.apply(from_preset);
  loader.apply(from_file);
  if (options.quick) {
    if (from_quick.empty()) problems.add(name, "--quick: the study has no `quick:` settings");
    loader.apply(from_quick);
  }
  std::vector<Assignment> from_command_line;
  for (const std::string& text : options.overrides) {
    const std::size_t equals = text.find('=');
    const std::string origin = "--set " + text;
    if (equals == std::string::npos) {
      problems.add(origin, "expected path=value");
      continue;
    }
    from_command_line.push_back(
        {text.substr(0, equals), parse_yaml(text.substr(equals + 1), origin), origin});
  }
  loader.apply(from_command_line);
  add_contradictions(study, name, problems);
  problems.throw_if_any(name);
  return study;
}

std::string print_study(const Study& study) {
  Study copy = study;
  YAML::Emitter out;
  out << YAML::BeginMap;
  emit(study_fields(copy), out);
  out << YAML::Key << "axes" << YAML::Value << YAML::BeginMap;
  for (const Axis& axis : study.axes) {
    out << YAML::Key << axis.path << YAML::Value << YAML::Flow << axis.values;
  }
  out << YAML::EndMap;
  if (!study.arms.empty()) {
    out << YAML::Key << "arms" << YAML::Value << YAML::BeginSeq;
    for (const ArmSettings& arm : study.arms) {
      out << YAML::Flow << YAML::BeginMap;
      for (const auto& [path, value] : arm) out << YAML::Key << path << YAML::Value << value;
      out << YAML::EndMap;
    }
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

std::string print_settings(const Settings& settings) {
  Settings copy = settings;
  YAML::Emitter out;
  out << YAML::BeginMap;
  emit(settings_fields(copy), out);
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

Settings read_settings(const std::string& yaml) {
  Settings settings;
  std::vector<Field> fields = settings_fields(settings);
  const std::function<void(const YAML::Node&, const std::string&)> read =
      [&](const YAML::Node& node, const std::string& prefix) {
        for (const auto& entry : node) {
          const std::string path = prefix + entry.first.Scalar();
          if (entry.second.IsMap()) {
            read(entry.second, path + ".");
            continue;
          }
          const auto field = std::find_if(fields.begin(), fields.end(),
                                          [&](const Field& f) { return f.path == path; });
          const std::string wrong =
              field == fields.end() ? "there is no such setting" : field->set(entry.second);
          if (!wrong.empty()) {
            throw_data("the trial's setting " + path + ": " + wrong, "settings that pgmpi wrote",
                       "pgmpi and pgpost of the same version");
          }
        }
      };
  try {
    read(YAML::Load(yaml), "");
  } catch (const YAML::Exception& error) {
    throw_data(std::string("the trial's settings are not valid YAML: ") + error.what(),
               "settings that pgmpi wrote", "run the study again");
  }
  return settings;
}

std::vector<std::pair<std::string, std::string>> setting_values(const Settings& settings) {
  Settings copy = settings;
  std::vector<std::pair<std::string, std::string>> values;
  for (const Field& field : settings_fields(copy)) {
    values.emplace_back(field.path, field.get().Scalar());
  }
  return values;
}

std::vector<std::string> differences(const Study& a, const Study& b) {
  Study copy_a = a;
  Study copy_b = b;
  const auto fields_a = study_fields(copy_a);
  const auto fields_b = study_fields(copy_b);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < fields_a.size(); ++i) {
    const std::string& path = fields_a[i].path;
    // How to save and to spread, not what to compute.
    if (path.starts_with("checkpoint.") || path.starts_with("shard.")) continue;
    const std::string text_a = YAML::Dump(fields_a[i].get());
    const std::string text_b = YAML::Dump(fields_b[i].get());
    if (text_a != text_b) {
      lines.push_back(fmt::format("{}: {}, not {}", fields_a[i].path, text_a, text_b));
    }
  }
  const auto axes_text = [](const Study& study) {
    std::vector<std::string> parts;
    for (const Axis& axis : study.axes) {
      parts.push_back(fmt::format("{} [{}]", axis.path, join(axis.values, ", ")));
    }
    return parts.empty() ? std::string("none") : join(parts, "; ");
  };
  const auto arms_text = [](const Study& study) {
    std::vector<std::string> arms;
    for (const ArmSettings& arm : study.arms) {
      std::vector<std::string> parts;
      for (const auto& [path, value] : arm) parts.push_back(path + "=" + value);
      arms.push_back(join(parts, " "));
    }
    return arms.empty() ? std::string("none") : join(arms, "; ");
  };
  if (arms_text(a) != arms_text(b)) {
    lines.push_back(fmt::format("arms: {}, not {}", arms_text(a), arms_text(b)));
  }
  if (axes_text(a) != axes_text(b)) {
    lines.push_back(fmt::format("axes: {}, not {}", axes_text(a), axes_text(b)));
  }
  return lines;
}

Settings with(const Settings& settings, const std::string& path, const std::string& value) {
  Settings copy = settings;
  std::vector<std::string> known;
  for (const Field& field : settings_fields(copy)) {
    known.push_back(field.path);
    if (field.path != path) continue;
    const std::string wrong = field.set(YAML::Node(value));
    if (!wrong.empty()) throw_settings(path + ": " + wrong, "", "another value");
    return copy;
  }
  throw_settings("there is no setting '" + path + "'", "a path of --print-config",
                 nearest_word(path, known).value_or(""));
}

}  // namespace pg::config
