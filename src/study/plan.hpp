#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/settings.hpp"

namespace pg::study {

/// What a study will cost, before any of it runs. FLOPs count multiply and add; a training step
/// costs three forward passes; attention counts the visible half only where it is causal.
struct Plan {
  struct Row {
    std::string id;
    std::int64_t n_parameters;
    std::int64_t steps;
    std::int64_t tokens;
    double flops;
  };
  std::string study;
  std::vector<Row> rows;  ///< the grid's trials; refine and transfer depend on results
  std::int64_t tokens = 0;
  double flops = 0;
};

/// A text corpus is read for its alphabet. Throws InvalidInput (data) or IoError.
Plan make_plan(const config::Study& study);
std::string plan_text(const Plan& plan);
std::string plan_json(const Plan& plan);

/// FLOPs of one token's forward pass.
double forward_flops_per_token(const config::Settings& settings, std::int64_t vocabulary);

}  // namespace pg::study
