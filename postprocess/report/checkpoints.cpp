#include "postprocess/report/checkpoints.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "checkpoint/generation.hpp"

namespace pg::post {
namespace {

namespace fs = std::filesystem;
using checkpoint::Generation;
using checkpoint::Type;

/// The file names of generations, whatever folder they are in; oldest first.
std::vector<fs::path> files_at(const fs::path& place) {
  if (!fs::exists(place)) {
    throw_settings(place.string() + " does not exist", "a generation, or a folder that holds some",
                   "pgpost checkpoint ls RUN_DIR");
  }
  if (!fs::is_directory(place)) return {place};
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(place)) {
    if (!entry.is_directory()) continue;
    for (const auto& file : checkpoint::list(entry.path())) files.push_back(file.path);
  }
  for (const auto& file : checkpoint::list(place)) files.push_back(file.path);
  std::sort(files.begin(), files.end());
  return files;
}

/// Elements as doubles; exact for all types but integers beyond 2^53.
std::vector<double> numbers(const Generation& generation, std::size_t array) {
  const checkpoint::ArraySpec& spec = generation.content().arrays[array];
  const auto convert = [&]<typename T>(T, const auto& to_double) {
    std::vector<double> values;
    for (const T value : generation.values<T>(spec.name)) values.push_back(to_double(value));
    return values;
  };
  const auto cast = [](auto value) { return static_cast<double>(value); };
  switch (spec.type) {
    case Type::float32: return convert(float{}, cast);
    case Type::float64: return convert(double{}, cast);
    case Type::int64: return convert(std::int64_t{}, cast);
    case Type::bfloat16:
      return convert(std::uint16_t{}, [](std::uint16_t bits) {
        return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
      });
  }
  return {};
}

std::string in_units(std::int64_t bytes) {
  const auto b = static_cast<double>(bytes);
  if (b < 1e6) return fmt::format("{:.1f} kB", b / 1e3);
  return b < 1e9 ? fmt::format("{:.1f} MB", b / 1e6) : fmt::format("{:.2f} GB", b / 1e9);
}

template <typename Map>
void compare(const std::string& kind, const Map& a, const Map& b, std::vector<std::string>& lines) {
  constexpr std::size_t kLongest = 40;
  const auto shown = [](const auto& value) {
    const std::string text = fmt::format("{}", value);
    return text.size() <= kLongest ? text : fmt::format("({} bytes)", text.size());
  };
  Map all = a;
  all.insert(b.begin(), b.end());
  for (const auto& [name, unused] : all) {
    if (name == "elapsed_ms") continue;
    const auto x = a.find(name);
    const auto y = b.find(name);
    if (x == a.end() || y == b.end()) {
      lines.push_back(
          fmt::format("{} {}: only in the {}", kind, name, x == a.end() ? "second" : "first"));
    } else if (x->second != y->second) {
      lines.push_back(
          fmt::format("{} {}: {}, and {}", kind, name, shown(x->second), shown(y->second)));
    }
  }
}

}  // namespace

std::vector<FoundGeneration> find_generations(const std::vector<fs::path>& places, bool deep) {
  std::vector<FoundGeneration> found;
  for (const fs::path& place : places) {
    for (const fs::path& path : files_at(place)) {
      FoundGeneration f;
      f.path = path;
      try {
        const Generation generation(path);
        f.step = generation.content().step;
        f.n_bytes = generation.file_bytes();
        f.n_arrays = static_cast<std::int64_t>(generation.content().arrays.size());
        f.digest = generation.digest();
        if (deep) generation.verify();
      } catch (const Error& error) {
        f.problem = error.what();
      }
      found.push_back(std::move(f));
    }
  }
  return found;
}

std::string generations_text(const std::vector<FoundGeneration>& found, bool deep) {
  if (found.empty()) return "no generations here\n";
  std::string text;
  std::size_t n_bad = 0;
  for (const FoundGeneration& f : found) {
    if (!f.problem.empty()) {
      ++n_bad;
      text += fmt::format("DAMAGED  {}\n", f.problem);
      continue;
    }
    text += fmt::format("{}  step {:>9}  {:>9}  {} arrays  {}  {}\n", deep ? "good   " : "readable",
                        f.step, in_units(f.n_bytes), f.n_arrays, f.digest.substr(0, 12),
                        f.path.string());
  }
  text += fmt::format("{} generations, {} damaged{}\n", found.size(), n_bad,
                      deep ? "" : "; pgpost checkpoint verify reads every byte");
  return text;
}

std::string generations_json(const std::vector<FoundGeneration>& found) {
  nlohmann::json list = nlohmann::json::array();
  for (const FoundGeneration& f : found) {
    list.push_back({{"path", f.path.string()},
                    {"problem", f.problem},
                    {"step", f.step},
                    {"n_bytes", f.n_bytes},
                    {"n_arrays", f.n_arrays},
                    {"digest", f.digest}});
  }
  return list.dump(2) + "\n";
}

GenerationDiff diff_generations(const fs::path& path_a, const fs::path& path_b) {
  const Generation a(path_a);
  const Generation b(path_b);
  GenerationDiff diff;
  if (a.content().step != b.content().step) {
    diff.settings.push_back(fmt::format("step: {}, and {}", a.content().step, b.content().step));
  }
  compare("text", a.content().texts, b.content().texts, diff.settings);
  compare("integer", a.content().integers, b.content().integers, diff.settings);
  std::vector<std::string> names;
  for (const auto& array : a.content().arrays) names.push_back(array.name);
  const auto has = [](const Generation& g, const std::string& name) {
    return std::any_of(g.content().arrays.begin(), g.content().arrays.end(),
                       [&](const auto& array) { return array.name == name; });
  };
  for (const auto& array : b.content().arrays) {
    if (!has(a, array.name)) diff.arrays.push_back({array.name, "only in the second"});
  }
  for (const std::string& name : names) {
    if (!has(b, name)) {
      diff.arrays.push_back({name, "only in the first"});
      continue;
    }
    const std::size_t i = a.content().index(name);
    const std::size_t j = b.content().index(name);
    const auto& spec_a = a.content().arrays[i];
    const auto& spec_b = b.content().arrays[j];
    if (spec_a.shape != spec_b.shape || spec_a.type != spec_b.type) {
      diff.arrays.push_back(
          {.name = name,
           .what = fmt::format("{} ({}), and {} ({})", name_of(spec_a.type),
                               fmt::join(spec_a.shape, ", "), name_of(spec_b.type),
                               fmt::join(spec_b.shape, ", "))});
      continue;
    }
    if (a.digest(i) == b.digest(j)) {
      ++diff.n_same;
      continue;
    }
    const auto x = numbers(a, i);
    const auto y = numbers(b, j);
    GenerationDiff::Array array{name, "values"};
    array.n_elements = static_cast<std::int64_t>(x.size());
    for (std::size_t k = 0; k < x.size(); ++k) {
      if (std::bit_cast<std::uint64_t>(x[k]) == std::bit_cast<std::uint64_t>(y[k])) continue;
      ++array.n_different;
      const double d = std::abs(x[k] - y[k]);
      array.largest =
          std::max(array.largest, std::isfinite(d) ? d : std::numeric_limits<double>::infinity());
    }
    diff.arrays.push_back(array);
  }
  return diff;
}

std::string diff_text(const GenerationDiff& diff) {
  std::string text;
  for (const std::string& line : diff.settings) text += line + "\n";
  for (const auto& array : diff.arrays) {
    text += array.what == "values"
                ? fmt::format("{}: {} of {} elements differ, by at most {:.3g}\n", array.name,
                              array.n_different, array.n_elements, array.largest)
                : fmt::format("{}: {}\n", array.name, array.what);
  }
  text += diff.same()
              ? fmt::format("the same: all {} arrays, and every setting\n", diff.n_same)
              : fmt::format("{} arrays differ, {} are the same\n", diff.arrays.size(), diff.n_same);
  return text;
}

std::string diff_json(const GenerationDiff& diff) {
  nlohmann::json arrays = nlohmann::json::array();
  for (const auto& array : diff.arrays) {
    arrays.push_back({{"name", array.name},
                      {"what", array.what},
                      {"n_different", array.n_different},
                      {"n_elements", array.n_elements},
                      {"largest_difference", array.largest}});
  }
  return nlohmann::json{{"same", diff.same()},
                        {"settings", diff.settings},
                        {"arrays", arrays},
                        {"n_same_arrays", diff.n_same}}
             .dump(2) +
         "\n";
}

}  // namespace pg::post
