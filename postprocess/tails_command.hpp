#pragma once

#include "base/error.hpp"
#include "postprocess/run_command.hpp"

namespace pg::post {

/// pgpost tails: prints the tails of the gradients of one run directory as text or JSON; writes
/// tails.json, tails.csv and plots/gradient_tails. bad_data where files were damaged, input_output
/// where gnuplot could not draw (the other files are written). Throws InvalidInput (data): no run,
/// no trial, none with estimates.
ExitCode tails_command(const RunRequest& request);

}  // namespace pg::post
