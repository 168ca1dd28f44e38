#define BOOST_TEST_MODULE exchange
#include <boost/test/unit_test.hpp>
#include <utility>

#include "comm/exchange_conformance.hpp"
#include "comm/session.hpp"

using namespace pg::testing;

namespace {

const pg::comm::Communicator& world() {
  static pg::comm::Session session;
  return session.world();
}

class HostBuffer {
 public:
  explicit HostBuffer(std::vector<float> values) : values_(std::move(values)) {}
  std::span<float> span() { return values_; }
  [[nodiscard]] const std::vector<float>& values() const { return values_; }

 private:
  std::vector<float> values_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(over_mpi_it_does_what_every_exchange_does) {
  const auto exchange = pg::comm::make_mpi_exchange(world());
  check_exchange<HostBuffer>(*exchange, world());
}

BOOST_AUTO_TEST_CASE(teams_exchange_beside_each_other) {
  const pg::comm::Teams teams(world());
  for (int size = 1; size <= world().size(); size *= 2) {
    const auto exchange = pg::comm::make_mpi_exchange(teams.of_size(size));
    check_several_at_once<HostBuffer>(*exchange, teams.of_size(size));
  }
}
