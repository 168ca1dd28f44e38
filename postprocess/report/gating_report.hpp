#pragma once

#include <string>

#include "postprocess/fits/gating.hpp"
#include "postprocess/fits/hypotheses.hpp"
#include "postprocess/report/document.hpp"

namespace pg::post {

/// gating.json: snake_case, null for what is unbounded or not known, no time stamps.
std::string gating_json(const GatingAnalysis& analysis, const GatingConclusions& conclusions);

/// The same for people: hypotheses, comparisons, optima, choice of the best, power, what was left
/// out, conventions, provenance; with the figures of pictures_of.
Document gating_document(const GatingAnalysis& analysis, const GatingConclusions& conclusions);

}  // namespace pg::post
