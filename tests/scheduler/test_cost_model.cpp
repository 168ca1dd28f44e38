#include <boost/test/unit_test.hpp>
#include <cmath>

#include "base/error.hpp"
#include "scheduler/cost_model.hpp"
#include "scheduler/mixes.hpp"
#include "scheduler/simulate.hpp"

namespace pg::scheduler {

namespace {

// Leaves counted one by one, for any width.
std::int64_t counted(std::int64_t n_chunks, int size) {
  std::int64_t leaves = 1;
  while (leaves < n_chunks) leaves *= 2;
  std::int64_t most = 0;
  for (int rank = 0; rank < size; ++rank) {
    std::int64_t mine = 0;
    for (std::int64_t leaf = 0; leaf < n_chunks; ++leaf) {
      if (leaf * size / leaves == rank) ++mine;
    }
    most = std::max(most, mine);
  }
  return most;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cost_model)

BOOST_AUTO_TEST_CASE(chunks_of_the_slowest_rank) {
  for (std::int64_t n = 1; n <= 70; ++n) {
    for (int size = 1; size <= 128; size *= 2) {
      BOOST_TEST_CONTEXT("chunks " << n << " ranks " << size) {
        BOOST_TEST(max_chunks_per_rank(n, size) == counted(n, size));
      }
    }
  }
  BOOST_CHECK_THROW(max_chunks_per_rank(8, 3), InternalError);
  BOOST_CHECK_THROW(max_chunks_per_rank(0, 1), InternalError);
}

BOOST_AUTO_TEST_CASE(seconds_by_hand) {
  const CostModel model(mixes::assumptions());
  const Work work = mixes::work(64, 4, 5000);  // 16 chunks
  const double bytes = 543232;
  const double reduce = 2 * 2 * 2 * 30e-6 + bytes * 2 * 3 / 4 / 1.5e9;
  BOOST_TEST(model.all_reduce_s(work.gradient_bytes, 4) == reduce,
             boost::test_tools::tolerance(1e-12));
  const double chunk = 4 * 256 / 95e3;
  const double expected = 0.2 + 5000 * (4 * chunk + 0.4e-3 + reduce) + 725 * chunk / 3;
  BOOST_TEST(model.seconds(work, 4) == expected, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(model.all_reduce_s(work.gradient_bytes, 1) == 0);
}

BOOST_AUTO_TEST_CASE(figures_say_where_they_come_from) {
  CostModel model(mixes::assumptions());
  const Work small = mixes::work(64, 4, 5000, 1);
  const Work large = mixes::work(64, 4, 5000, 8);
  BOOST_CHECK(model.rates(small).chunk_s.origin == Origin::assumed);
  BOOST_CHECK(model.communication_origin() == Origin::assumed);
  Measurement measured;
  measured.steps_done = 5000;
  measured.chunk_s = 3 * mixes::kChunkS;
  model.learn(small, measured);
  const Rates known = model.rates(small);
  const Rates scaled = model.rates(large);
  BOOST_CHECK(known.chunk_s.origin == Origin::measured);
  BOOST_CHECK(known.eval_chunk_s.origin == Origin::calibrated);
  BOOST_CHECK(known.step_s.origin == Origin::assumed);
  BOOST_CHECK(scaled.chunk_s.origin == Origin::calibrated);
  BOOST_TEST(known.chunk_s.value == 3 * mixes::kChunkS);
  BOOST_TEST(scaled.chunk_s.value == 24 * mixes::kChunkS, boost::test_tools::tolerance(1e-12));
  measured.chunk_s = NAN;
  measured.eval_chunk_s = -1;
  model.learn(small, measured);
  BOOST_TEST(model.rates(small).chunk_s.value == known.chunk_s.value);
}

BOOST_AUTO_TEST_CASE(communication_is_recovered) {
  const CostModel truth([] {
    Assumptions assumed = mixes::assumptions();
    assumed.communication = {4e-6, 1 / 10e9};
    return assumed;
  }());
  CostModel model(mixes::assumptions());
  const auto learn = [&](double cost, int size) {
    const Work work = mixes::work(512, 4, 5000, cost);
    model.learn(work, truth_of_model(truth, work, size).measurement);
  };
  learn(1, 4);  // one size: the common factor must do
  const Work seen = mixes::work(512, 4, 5000, 1);
  BOOST_TEST(
      model.all_reduce_s(seen.gradient_bytes, 4) == truth.all_reduce_s(seen.gradient_bytes, 4),
      boost::test_tools::tolerance(1e-6));
  learn(16, 2);
  learn(1, 64);
  learn(32, 8);
  BOOST_CHECK(model.communication_origin() == Origin::measured);
  BOOST_TEST(model.communication().latency_s == 4e-6, boost::test_tools::tolerance(0.02));
  BOOST_TEST(model.communication().seconds_per_byte == 1e-10, boost::test_tools::tolerance(0.02));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace pg::scheduler
