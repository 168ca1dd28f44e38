#pragma once

#include <filesystem>
#include <string>

#include "postprocess/results/run_results.hpp"

namespace pg::post {

/// Which columns of a table say what.
struct GridColumns {
  std::string batch;
  std::string lr;
  std::string loss;
  std::string seed;  ///< empty: one run per batch and learning rate
};

/// A batch x learning-rate grid from anybody's table instead of a run directory: one row per run.
/// An empty loss (or NA) is a missing cell, "nan", "inf" and "diverged" a diverged one. Rows of one
/// seed whose learning rates agree to kSameLr count once, so they must not repeat.
/// Throws InvalidInput (data), by line: a batch that is no positive whole number, a learning rate
/// that is no positive number, a loss that is no number, a repeated (batch, lr, seed), a ragged
/// row, no usable row.
RunResults read_grid(const std::filesystem::path& csv, const GridColumns& columns);

/// A table with one row per batch size and its best learning rate, without losses: one trial each.
/// Throws InvalidInput (data) as read_grid, and for a repeated batch, no row, or a learning rate
/// that is not among `rates` (unless that is empty).
RunResults read_optima(const std::filesystem::path& csv, const std::string& batch_column,
                       const std::string& lr_column, const std::vector<double>& rates);

}  // namespace pg::post
