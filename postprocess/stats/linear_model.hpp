// stats: least squares, distributions and tests. Knows numbers only: no trials, no files.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace pg::post {

/// A small dense matrix, row-major.
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::size_t rows, std::size_t columns)
      : rows_(rows), columns_(columns), values_(rows * columns, 0.0) {}
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t columns() const { return columns_; }
  double& operator()(std::size_t i, std::size_t j) { return values_[i * columns_ + j]; }
  double operator()(std::size_t i, std::size_t j) const { return values_[i * columns_ + j]; }

 private:
  std::size_t rows_ = 0;
  std::size_t columns_ = 0;
  std::vector<double> values_;
};

/// The inverse of an upper triangular matrix without zeros on its diagonal.
Matrix upper_inverse(const Matrix& r);

/// Whether the model has a constant: it decides about which mean R^2 is taken (about zero without).
enum class Constant { present, absent };

/// y = X b + e, e_i ~ N(0, s^2 / w_i). With no degree of freedom left (n = p) the standard errors
/// are infinite, never NaN.
struct LinearFit {
  std::size_t n = 0;
  int df = 0;
  std::vector<double> coefficients;
  std::vector<double> standard_errors;
  Matrix covariance;                   ///< s^2 (X'WX)^-1
  std::vector<double> residuals;       ///< y - X b, not multiplied by sqrt(w)
  std::vector<double> leverage;        ///< diagonal of the hat matrix
  std::vector<double> cooks_distance;  ///< 0 where it is not defined (df = 0, leverage 1)
  double rss = 0;                      ///< weighted residual sum of squares
  double tss = 0;                      ///< weighted total sum of squares
  double s = 0;                        ///< sqrt(rss / df), 0 when df = 0
  double r2 = 0;                       ///< 1 - rss / tss; 0 when tss = 0
  double adjusted_r2 = 0;
  /// F of all coefficients but the constant, with (their number, df) degrees of freedom; infinite
  /// when rss = 0, 0 when there is nothing to test (df = 0 or a constant alone).
  double f = 0;
};

/// Least squares by Householder QR (Golub and Van Loan, Matrix Computations, 5.3.2). `weights` is
/// empty or has n positive entries; only their ratios matter (the covariance is scaled by s^2).
/// Nothing when n < p or when a column is a combination of those before it.
std::optional<LinearFit> fit_linear(const Matrix& x, std::span<const double> y, Constant constant,
                                    std::span<const double> weights = {});

}  // namespace pg::post
