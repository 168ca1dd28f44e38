#include "postprocess/results/origin.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "record/run_directory.hpp"

namespace pg::post {
namespace {

constexpr const char* kUnknown = "unknown";

struct Kind {
  const char* name;
  std::string Origin::*value;
};
constexpr Kind kKinds[] = {{"program_sha256", &Origin::program_sha256},
                           {"version", &Origin::version},
                           {"processor", &Origin::processor},
                           {"corpus_sha256", &Origin::corpus_sha256},
                           {"reproducible", &Origin::reproducible}};

/// The launches of provenance.json by id.
std::map<std::string, nlohmann::json> read_launches(const std::filesystem::path& root,
                                                    std::vector<std::string>& warnings) {
  std::map<std::string, nlohmann::json> launches;
  const std::filesystem::path file = record::RunDirectory(root).provenance_file();
  if (!std::filesystem::exists(file)) {
    warnings.push_back(root.string() +
                       " has no provenance.json: program and processor are not known.");
    return launches;
  }
  try {
    const nlohmann::json all = nlohmann::json::parse(read_file(file));
    for (const nlohmann::json& launch : all.at("launches")) {
      launches[launch.at("id").get<std::string>()] = launch;
    }
  } catch (const nlohmann::json::exception& error) {
    warnings.push_back(file.string() + " is damaged and was not used: " + error.what());
  }
  return launches;
}

/// Each value of a kind with the first trial that has it.
std::map<std::string, std::string> examples(std::span<const Origin> origins, const Kind& kind) {
  std::map<std::string, std::string> example;
  for (const Origin& o : origins) example.emplace(o.*kind.value, o.trial);
  return example;
}

}  // namespace

std::vector<Origin> read_origins(const std::filesystem::path& root,
                                 std::span<const record::TrialRecord> records,
                                 std::vector<std::string>& warnings) {
  const auto launches = read_launches(root, warnings);
  std::vector<Origin> origins;
  for (const record::TrialRecord& record : records) {
    Origin o{(root / record.summary.id).string(),
             record.summary.launch,
             kUnknown,
             kUnknown,
             kUnknown,
             record.corpus_sha256,
             record.summary.reproducible};
    const auto launch = launches.find(record.summary.launch);
    if (launch != launches.end()) {
      o.version = launch->second.value("version", kUnknown);
      o.program_sha256 = launch->second.value("program_sha256", kUnknown);
      o.processor = launch->second.value("processor", kUnknown);
    }
    origins.push_back(std::move(o));
  }
  return origins;
}

void require_one_origin(std::span<const Origin> origins, bool allow_mixed,
                        std::vector<std::string>& warnings) {
  std::vector<std::string> mixed;
  for (const Kind& kind : kKinds) {
    std::vector<std::string> parts;
    for (const auto& [value, trial] : examples(origins, kind)) {
      parts.push_back(fmt::format("{} in {}", brief(value), trial));
    }
    if (parts.size() > 1) mixed.push_back(std::string(kind.name) + ": " + join(parts, ", "));
  }
  if (mixed.empty()) return;
  if (!allow_mixed) {
    throw_data("the trials are of mixed origin\n  " + join(mixed, "\n  "),
               "one program, version, processor, corpus and mode behind one conclusion",
               "conclude from the parts one by one, or accept the mixture: --allow-mixed");
  }
  warnings.push_back(
      "Mixed origin was allowed: differences between trials may be differences between programs, "
      "machines or data. " +
      join(mixed, "; "));
}

std::vector<std::pair<std::string, std::string>> origin_values(std::span<const Origin> origins) {
  std::vector<std::pair<std::string, std::string>> values;
  for (const Kind& kind : kKinds) {
    for (const auto& [value, trial] : examples(origins, kind)) {
      values.emplace_back(kind.name, value);
    }
  }
  return values;
}

std::string brief(const std::string& value) {
  const bool hash =
      value.size() == 64 &&
      std::all_of(value.begin(), value.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
  return hash ? value.substr(0, 12) + "..." : value;
}

}  // namespace pg::post
