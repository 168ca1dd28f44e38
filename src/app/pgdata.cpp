#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"
#include "config/command_line.hpp"
#include "data/corpus.hpp"
#include "data/entropy.hpp"
#include "data/sampler.hpp"
#include "data/synthetic.hpp"
#include "data/utf8.hpp"

namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::filesystem::path file;
  std::string format = "text";
  double held_out = 0.1;
  pg::data::SyntheticSettings language;
  std::int64_t sequence_length = 256;
};

/// One "name: value" line for each member, or the object itself.
void print(const ordered_json& result, const std::string& format) {
  if (format == "json") {
    fmt::print("{}\n", result.dump(2, ' ', false, ordered_json::error_handler_t::replace));
    return;
  }
  for (const auto& [name, value] : result.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_number_float()) text = fmt::format("{:.6f}", value.get<double>());
    fmt::print("{:<24} {}\n", name, text);
  }
}

/// The alphabet on one line: control characters and the backslash as escapes.
std::string printable(const std::u32string& alphabet) {
  std::string line;
  for (const char32_t point : alphabet) {
    const bool control = point < 0x20 || (point >= 0x7F && point < 0xA0);
    if (point == U'\n') {
      line += "\\n";
    } else if (point == U'\\') {
      line += "\\\\";
    } else if (control) {
      line += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(point));
    } else {
      line += pg::data::encode_utf8(std::u32string(1, point));
    }
  }
  return line;
}

void inspect(const Arguments& arguments) {
  const auto corpus = pg::data::read_text_corpus(arguments.file, arguments.held_out);
  ordered_json result;
  result["file"] = arguments.file.string();
  result["n_bytes"] = std::filesystem::file_size(arguments.file);
  result["sha256"] = corpus.sha256;
  result["n_characters"] = corpus.train.size() + corpus.validation.size();
  result["n_train"] = corpus.train.size();
  result["n_validation"] = corpus.validation.size();
  result["vocabulary"] = corpus.vocabulary();
  result["alphabet"] = arguments.format == "json" ? pg::data::encode_utf8(corpus.alphabet)
                                                  : printable(corpus.alphabet);
  result["unigram_entropy_nats"] = pg::data::unigram_entropy(corpus.train);
  result["bigram_entropy_nats"] = pg::data::bigram_entropy(corpus.train);
  print(result, arguments.format);
}

void synthesize(const Arguments& arguments) {
  std::error_code unreachable;  // then the write says why
  if (std::filesystem::exists(arguments.file, unreachable)) {
    pg::throw_settings(arguments.file.string() + " exists", "the name of a new file",
                       "another name, or remove that file first");
  }
  const auto corpus = pg::data::synthetic_corpus(arguments.language, arguments.held_out);
  const auto language = pg::data::synthetic_language(arguments.language);
  const std::int64_t length = arguments.sequence_length;
  pg::data::require_length(corpus, length);
  const auto windows = pg::data::validation_positions(std::ssize(corpus.validation), length, 0);
  pg::write_file(arguments.file, pg::data::text_of(corpus, corpus.train) +
                                     pg::data::text_of(corpus, corpus.validation));
  ordered_json result;
  result["file"] = arguments.file.string();
  result["description"] = corpus.description;
  result["sha256"] = corpus.sha256;
  result["unigram_entropy_nats"] = language.unigram_entropy();
  result["bigram_entropy_nats"] = language.bigram_entropy();
  result["entropy_rate_nats"] = language.entropy_rate();
  result["sequence_length"] = length;
  result["window_floor_nats"] = language.window_floor(length);
  result["validation_floor_nats"] = language.window_loss(corpus.validation, windows, length);
  print(result, arguments.format);
}

void add_common_options(CLI::App& command, Arguments& arguments) {
  command.add_option("--format", arguments.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command.add_option("--held-out", arguments.held_out, "share of the text held out for validation")
      ->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Inspects and makes the texts that pgmpi trains on.", "pgdata");
  app.require_subcommand(1);

  CLI::App* look = app.add_subcommand("inspect", "size, alphabet, splits and entropies of a text");
  look->add_option("FILE", arguments.file, "a UTF-8 text file")->required();
  add_common_options(*look, arguments);

  CLI::App* make = app.add_subcommand(
      "synthesize",
      "write a text of the synthetic language and print what a model can reach on it");
  make->add_option("OUT", arguments.file, "the text file to make")->required();
  make->add_option("--symbols", arguments.language.symbols, "letters of the language, 2 to 52")
      ->capture_default_str();
  make->add_option("--length", arguments.language.length, "characters of the text")
      ->capture_default_str();
  make->add_option("--seed", arguments.language.seed, "of the language and of the text")
      ->capture_default_str();
  make->add_option("--sequence-length", arguments.sequence_length,
                   "inputs of one window, for the two floors")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
  add_common_options(*make, arguments);

  try {
    app.parse(argc, argv);
    look->parsed() ? inspect(arguments) : synthesize(arguments);
    return static_cast<int>(pg::ExitCode::done);
  } catch (const CLI::ParseError& error) {
    return pg::config::end_parse(app, error);
  } catch (...) {
    return pg::config::end_failure("pgdata");
  }
}
