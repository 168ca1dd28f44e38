#pragma once

#include "postprocess/fits/gradient_tails.hpp"
#include "postprocess/plots/gnuplot.hpp"

namespace pg::post {

/// Hill's alpha of the gradient against the share of coordinates, a line for each of the first
/// kMostTailsDrawn trials, with the curves of Laplace and Gaussian coordinates.
Picture gradient_tails(const TailAnalysis& analysis);

}  // namespace pg::post
