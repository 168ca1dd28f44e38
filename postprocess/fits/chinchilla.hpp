#pragma once

#include <span>

#include "postprocess/fits/law.hpp"

namespace pg::post {

/// What is summed over ln L_i - ln(E + A / N_i^alpha + B / D_i^beta).
struct ChinchillaObjective {
  enum class Kind { huber, absolute, squares } kind = Kind::huber;
  double delta = 1e-3;  ///< Huber only: r^2 / 2 up to it, delta (|r| - delta / 2) beyond
};

/// L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, approach 3; the sum as in
/// Besiroglu et al. 2024). Optimised values: a, b, e, alpha, beta with A = e^a, B = e^b, E = e^e.
///
/// All 4,500 starts of the published grid are evaluated, the best few refined by reweighted
/// Gauss-Newton steps and polished: Huber by BFGS in coordinates that the Jacobian whitens,
/// accepted when the gradient is below 1e-6 of the sum of its terms' sizes and a second polish from
/// another place agrees; absolute by an exchange of the five points that the surface passes
/// through, accepted when the multipliers prove the optimum. Errors of both come from a bootstrap
/// only (law_bootstrap.hpp). `start` (a, b, e, alpha, beta) replaces the grid.
///
/// not_identifiable: fewer than six points, or than three distinct N or D (with one D for all,
/// B / D^beta is part of E), or N and D that vary as one.
LawFit fit_chinchilla(const LawData& data, const ChinchillaObjective& objective,
                      std::span<const double> start = {});

}  // namespace pg::post
