#pragma once

#include <string>

#include "base/csv.hpp"
#include "postprocess/fits/gradient_tails.hpp"

// The written forms of a TailAnalysis: pure functions, the same run gives the same bytes.

namespace pg::post {

/// What every reader of these numbers must know.
extern const char* const kTailsCaveat;

/// "... of the gradient is nearer to the Gaussian curve at all four k (0.93 to 0.95 times it); that
/// of the noise is mixed: ...". Where values lie, never what the distribution is.
std::string tails_sentence(const TrialTails& trial);

/// What pgpost tails prints.
std::string tails_text(const TailAnalysis& analysis);
/// tails.json; null for what no step determined.
std::string tails_json(const TailAnalysis& analysis);
/// tails.csv: one row for each trial and recorded step; blank where it was not determined.
CsvTable tails_csv(const TailAnalysis& analysis);

}  // namespace pg::post
