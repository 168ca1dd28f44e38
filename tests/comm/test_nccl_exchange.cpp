// The exchange over NCCL, one GPU for each rank. Where there are fewer it says so and ends with 77.
#define BOOST_TEST_MODULE nccl_exchange
#define BOOST_TEST_NO_MAIN
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <torch/cuda.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <iostream>
#include <thread>

#include "comm/exchange_conformance.hpp"
#include "comm/nccl_exchange.hpp"
#include "comm/session.hpp"
#include "support/support.hpp"

using namespace pg::testing;

namespace {

constexpr double kTimeout = 60;

pg::comm::Session& session() {
  static pg::comm::Session session;
  return session;
}

const pg::comm::Communicator& world() {
  return session().world();
}

/// On one node, rank k has GPU k.
int device() {
  return world().rank();
}

class DeviceBuffer {
 public:
  explicit DeviceBuffer(const std::vector<float>& values)
      : tensor_(at::empty({static_cast<std::int64_t>(values.size())},
                          at::TensorOptions(at::kFloat).device(at::kCUDA, index()))) {
    tensor_.copy_(at::from_blob(const_cast<float*>(values.data()), tensor_.sizes(), at::kFloat));
  }
  [[nodiscard]] std::span<float> span() const {
    return {tensor_.data_ptr<float>(), static_cast<std::size_t>(tensor_.numel())};
  }
  [[nodiscard]] std::vector<float> values() const {
    const at::Tensor here = tensor_.cpu();
    const auto* const first = here.data_ptr<float>();
    return {first, first + here.numel()};
  }
  [[nodiscard]] const at::Tensor& tensor() const { return tensor_; }

 private:
  static at::DeviceIndex index() { return static_cast<at::DeviceIndex>(device()); }
  at::Tensor tensor_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(it_does_what_every_exchange_does) {
  const auto exchange = pg::comm::make_nccl_exchange(world(), device(), kTimeout);
  check_exchange<DeviceBuffer>(*exchange, world());
}

BOOST_AUTO_TEST_CASE(teams_of_every_size_exchange_beside_each_other) {
  const pg::comm::Teams teams(world());
  for (int size = 1; size <= world().size(); size *= 2) {
    const auto exchange = pg::comm::make_nccl_exchange(teams.of_size(size), device(), kTimeout);
    check_several_at_once<DeviceBuffer>(*exchange, teams.of_size(size));
  }
}

BOOST_AUTO_TEST_CASE(it_starts_after_what_was_computed_and_ends_before_what_is_computed_next) {
  // Long products before and behind, none of which the host waits for: a missing event shows.
  const auto exchange = pg::comm::make_nccl_exchange(world(), device(), kTimeout);
  const auto options =
      at::TensorOptions(at::kFloat).device(at::kCUDA, static_cast<at::DeviceIndex>(device()));
  const at::Tensor factor = at::ones({4096, 4096}, options) / 4096;
  const std::size_t n = 4096 * 4096;
  const auto bounds = pg::comm::equal_bounds(n, world().size());
  for (int round = 0; round < 5; ++round) {
    DeviceBuffer buffer(std::vector<float>(n, -1.0F));
    at::Tensor product = at::ones({4096, 4096}, options);
    for (int i = 0; i < 20; ++i) product = at::mm(product, factor);  // ones again
    buffer.tensor().copy_(product.view({-1}) * (world().rank() + 1));
    const auto pending = exchange->reduce_scatter(buffer.span(), bounds, world().size(),
                                                  pg::comm::Exchange::Order::tree);
    pending->wait();
    const at::Tensor sum = buffer.tensor() * 2;
    buffer.tensor().fill_(-1.0F);
    const float expected = static_cast<float>(world().size() * (world().size() + 1));
    const std::vector<float> whole(n, expected);
    const at::Tensor here = sum.cpu();
    const std::vector<float> found(here.data_ptr<float>(), here.data_ptr<float>() + n);
    const auto part = part_of(world().rank(), world().size(), found, bounds);
    BOOST_TEST(same_bits(part, part_of(world().rank(), world().size(), whole, bounds)));
  }
}

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_come_is_a_time_out_that_names_the_operation) {
  if (world().size() == 1) return;  // nobody can stay away
  constexpr double kShort = 2;
  const auto bounds = pg::comm::equal_bounds(1000, world().size());
  auto exchange = pg::comm::make_nccl_exchange(world(), device(), kShort);
  DeviceBuffer buffer(std::vector<float>(1000, 1.0F));
  exchange->all_gather(buffer.span(), bounds)->wait();  // everybody has connected
  if (world().rank() != 0) {
    const auto start = std::chrono::steady_clock::now();
    check_error(
        [&] {
          const auto pending = exchange->all_gather(buffer.span(), bounds);
          for (;;) {
            exchange->progress();
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
          }
        },
        pg::ExitCode::input_output,
        {"rank " + std::to_string(world().rank()), "all_gather", "4000 bytes", "ranks 0 to",
         "not over after"});
    BOOST_TEST((std::chrono::steady_clock::now() - start < std::chrono::seconds(20)));
    check_error([&] { (void)exchange->all_gather(buffer.span(), bounds); },
                pg::ExitCode::input_output, {"all_gather"});
    (void)buffer.values();  // the stream goes on: what waited on the device was ended
  }
  world().wait_for_all([] {});
}

BOOST_AUTO_TEST_CASE(a_gpu_has_one_rank) {
  if (world().size() == 1) return;
  check_error([&] { (void)pg::comm::make_nccl_exchange(world(), 0, kTimeout); },
              pg::ExitCode::usage, {"ranks 0 and 1", "share GPU"});
}

int main(int argc, char** argv) {
  const int n_ranks = session().world().size();
  const auto n_gpus = static_cast<int>(torch::cuda::device_count());
  if (n_gpus < n_ranks) {
    if (world().rank() == 0) {
      std::cout << (n_gpus == 0 ? "SKIPPED: there is no CUDA device"
                                : "SKIPPED: there are more ranks than CUDA devices")
                << std::endl;
    }
    world().wait_for_all([] {});  // the launcher ends the others when the first one ends
    return 77;
  }
  return boost::unit_test::unit_test_main(&init_unit_test, argc, argv);
}
