#include "study/provenance.hpp"

#include <ATen/Version.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <oneapi/dnnl/dnnl.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/h5_file.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "comm/session.hpp"
#include "data/utf8.hpp"
#include "ops/ops.hpp"

namespace pg::study {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return std::string(trim(line.substr(line.find(':') + 1)));
  }
  return "unknown";
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

nlohmann::json read_json(const std::filesystem::path& file) {
  try {
    return nlohmann::json::parse(read_file(file));
  } catch (const nlohmann::json::exception& error) {
    throw_data(fmt::format("{} is damaged: {}", file.string(), error.what()), "JSON",
               "restore the file, or start in a new run directory");
  }
}

void require_same_corpus(const nlohmann::json& recorded, const data::Corpus& corpus,
                         const std::filesystem::path& file) {
  if (recorded.value("sha256", "") == corpus.sha256) return;
  const std::string alphabet = data::encode_utf8(corpus.alphabet);
  const bool same_alphabet = recorded.value("alphabet", "") == alphabet;
  throw_data(
      fmt::format(
          "the corpus is not the one this run was started with ({}): {} with sha256 {}, "
          "alphabet {}",
          file.string(), corpus.description, corpus.sha256,
          same_alphabet ? "unchanged" : fmt::format("of {} characters", corpus.alphabet.size())),
      fmt::format("{} with sha256 {} and an alphabet of {} characters",
                  recorded.value("description", "?"), recorded.value("sha256", "?"),
                  recorded.value("alphabet_size", 0)),
      "the original text, or another --run-dir for the new one");
}

}  // namespace

Build describe_build() {
  Build build;
  build.version = kVersion;
  build.program_sha256 = sha256_hex(read_file("/proc/self/exe"));
  build.compiler = kCompiler;
  const dnnl_version_t* dnnl = dnnl_version();
  build.libraries =
      fmt::format("{}, LibTorch {}, HDF5 {}, oneDNN {}.{}.{}", comm::Session::library(),
                  kTorchVersion, h5::library_version(), dnnl->major, dnnl->minor, dnnl->patch);
  build.processor = processor_name();
  build.instruction_set = ops::instruction_set();
  return build;
}

std::string record_launch(const record::RunDirectory& run, const data::Corpus& corpus,
                          std::optional<double> loss_floor, const Build& build, int n_ranks,
                          const std::string& command_line) {
  nlohmann::json provenance = {{"format_version", 1}, {"launches", nlohmann::json::array()}};
  if (std::filesystem::exists(run.provenance_file())) {
    provenance = read_json(run.provenance_file());
    require_same_corpus(provenance.value("corpus", nlohmann::json::object()), corpus,
                        run.provenance_file());
  }
  provenance["corpus"] = {{"name", corpus.name},
                          {"description", corpus.description},
                          {"sha256", corpus.sha256},
                          {"alphabet", data::encode_utf8(corpus.alphabet)},
                          {"alphabet_size", corpus.alphabet.size()},
                          {"n_train_tokens", corpus.train.size()},
                          {"n_validation_tokens", corpus.validation.size()}};
  if (loss_floor) provenance["corpus"]["loss_floor"] = *loss_floor;
  const std::string id = fmt::format("launch-{}", provenance["launches"].size() + 1);
  provenance["launches"].push_back(
      {{"id", id},
       {"started", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
       {"n_ranks", n_ranks},
       {"host", host_name()},
       {"command_line", command_line},
       {"version", build.version},
       {"program_sha256", build.program_sha256},
       {"compiler", build.compiler},
       {"libraries", build.libraries},
       {"processor", build.processor},
       {"instruction_set", build.instruction_set}});
  write_file(run.provenance_file(), provenance.dump(2) + "\n");
  return id;
}

}  // namespace pg::study
