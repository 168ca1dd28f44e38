#pragma once

#include <cstddef>
#include <vector>

#include "postprocess/stats/linear_model.hpp"

// Small dense problems inside an optimiser, where fit_linear's diagnostics would be waste.

namespace pg::post {

/// A least-squares problem A x = rhs for few columns, solved in place by Householder reflections.
/// Rows are stored one after another; the right-hand side is the last column.
class SmallQr {
 public:
  SmallQr(std::size_t rows, std::size_t columns)
      : rows_(rows), columns_(columns), a_(rows * (columns + 1)) {}
  double& at(std::size_t i, std::size_t j) { return a_[i * (columns_ + 1) + j]; }
  [[nodiscard]] double at(std::size_t i, std::size_t j) const { return a_[i * (columns_ + 1) + j]; }

  /// Leaves R in the upper triangle and Q' rhs in the last column.
  void factorise();
  /// R x = Q' rhs; a zero on the diagonal leaves that component zero.
  [[nodiscard]] std::vector<double> solve() const;

 private:
  std::size_t rows_;
  std::size_t columns_;
  std::vector<double> a_;
};

/// Singular values of a small square matrix by one-sided Jacobi rotations (accurate even where they
/// are tiny: Demmel and Veselic 1992).
std::vector<double> singular_values(Matrix a);

}  // namespace pg::post
