#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace pg::post {

/// A generation as found on disk.
struct FoundGeneration {
  std::filesystem::path path;
  std::string problem;  ///< why it cannot be used; empty if it can
  std::int64_t step = 0;
  std::int64_t n_bytes = 0;
  std::int64_t n_arrays = 0;
  std::string digest;  ///< same digest, same content
};

/// Every generation at these places: files, or folders with all below them (a run directory, a
/// trial). `deep` reads every byte, else only names, settings and hashes. Throws InvalidInput
/// (settings) for a place that does not exist.
std::vector<FoundGeneration> find_generations(const std::vector<std::filesystem::path>& places,
                                              bool deep);
std::string generations_text(const std::vector<FoundGeneration>& found, bool deep);
std::string generations_json(const std::vector<FoundGeneration>& found);

/// What differs between two generations. The time that training took is not compared.
struct GenerationDiff {
  struct Array {
    std::string name;
    std::string what;              ///< "only in the first", "another shape", "values"
    std::int64_t n_different = 0;  ///< elements
    std::int64_t n_elements = 0;
    double largest = 0;  ///< absolute difference; infinite where one is not finite
  };
  std::vector<std::string> settings;  ///< a line each: step, texts, integers
  std::vector<Array> arrays;
  std::int64_t n_same = 0;  ///< arrays
  [[nodiscard]] bool same() const { return settings.empty() && arrays.empty(); }
};
/// Throws InvalidInput (data) where one of them is damaged, IoError.
GenerationDiff diff_generations(const std::filesystem::path& a, const std::filesystem::path& b);
std::string diff_text(const GenerationDiff& diff);
std::string diff_json(const GenerationDiff& diff);

}  // namespace pg::post
