#pragma once

#include <string>

#include "postprocess/fits/table_fit.hpp"

namespace pg::post {

/// A summary for each group in the layout of a regression table, and one row per group where there
/// are several.
std::string table_fit_text(const TableFit& fit);

/// Everything, for programs: parameters, covariance, criteria, influence, hold-out errors, rivals,
/// predictions, hypotheses, excluded rows, conventions, hash of the input, version.
std::string table_fit_json(const TableFit& fit);

/// The registry.
std::string laws_text();
std::string laws_json();

}  // namespace pg::post
