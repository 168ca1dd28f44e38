// Stands in for cuBLAS: products of what was rounded, of the matrices that it takes. Sums are in
// double: those of OpenBLAS for AVX2 in float32 depend on how many rows there are.
#include "ops/cuda/product.hpp"

#include <boost/test/unit_test.hpp>

namespace pg::ops::cuda {
namespace {

bool has_rows(const at::Tensor& x) {
  return x.stride(1) == 1 || x.size(1) == 1;
}

}  // namespace

void multiply(const at::Tensor& a_mk, const at::Tensor& b_kn, float beta, const at::Tensor& c_mn) {
  for (const at::Tensor& factor : {a_mk, b_kn}) {
    BOOST_TEST((has_rows(factor) || has_rows(factor.t())));
  }
  BOOST_TEST((a_mk.scalar_type() == b_kn.scalar_type()));
  BOOST_TEST((c_mn.scalar_type() == at::kFloat || c_mn.scalar_type() == a_mk.scalar_type()));
  BOOST_TEST(has_rows(c_mn));
  const at::Tensor product = at::mm(a_mk.to(at::kDouble), b_kn.to(at::kDouble)).to(at::kFloat);
  c_mn.copy_(beta == 0 ? product : product + beta * c_mn);
}

}  // namespace pg::ops::cuda
