#include "comm/nccl_exchange.hpp"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.hpp"
#include "comm/exchange_plan.hpp"
#include "comm/mpi_handle.hpp"
#include "comm/nccl_channel.hpp"

namespace pg::comm {
namespace {

using Join = TreeStep::Join;

c10::DeviceIndex index_of(int device) {
  return static_cast<c10::DeviceIndex>(device);
}

class NcclPending final : public Exchange::Pending {
 public:
  NcclPending(std::shared_ptr<NcclChannel> channel, std::shared_ptr<NcclOperation> operation)
      : channel_(std::move(channel)), operation_(std::move(operation)) {}
  /// The buffer is in use on the device until then, waited for or not.
  ~NcclPending() override {
    try {
      make_stream_wait();
    } catch (const std::exception&) {  // the device is lost: nothing can be in use on it
    }
  }
  NcclPending(const NcclPending&) = delete;
  NcclPending& operator=(const NcclPending&) = delete;

  void wait() override {
    channel_->check();
    make_stream_wait();
  }

 private:
  void make_stream_wait() {
    if (operation_ == nullptr) return;
    const int device = channel_->device();
    const c10::cuda::CUDAGuard guard(index_of(device));
    operation_->ended.block(c10::cuda::getCurrentCUDAStream(index_of(device)));
    operation_.reset();
  }

  std::shared_ptr<NcclChannel> channel_;
  std::shared_ptr<NcclOperation> operation_;  ///< null: waited for
};

class NcclExchange final : public Exchange {
 public:
  NcclExchange(const Communicator& team, int device, double timeout_s) : team_(team) {
    require(std::has_single_bit(static_cast<unsigned>(team.size())), "a team of 2^k ranks");
    channel_ = std::make_shared<NcclChannel>(team, device, timeout_s);
  }

  std::unique_ptr<Pending> all_gather(std::span<float> values,
                                      std::vector<std::size_t> bounds) override {
    check_bounds(values, bounds);
    return start("all_gather", values, [&](const NcclOperation& operation) {
      for_each_part(operation, bounds, [&](const Range& part, int owner, ncclComm_t nccl) {
        float* const at = values.data() + part.first;
        return ncclBroadcast(at, at, part.count(), ncclFloat, owner, nccl, channel_->stream());
      });
    });
  }

  std::unique_ptr<Pending> reduce_scatter(std::span<float> values, std::vector<std::size_t> bounds,
                                          int n_present, Order order) override {
    check_bounds(values, bounds);
    require(n_present >= 1 && n_present <= team_.size(), "a sum over at least one rank");
    if (order == Order::tree) {
      const auto steps = tree_steps(team_.rank(), team_.size(), bounds, n_present);
      return start("reduce_scatter_tree", values, [&](const NcclOperation& operation) {
        sum_in_the_tree(operation, values, steps);
      });
    }
    return start("reduce_scatter_any_order", values, [&](const NcclOperation& operation) {
      // The number that adds nothing: -0 + -0 is -0, and 0 + -0 is 0.
      if (team_.rank() >= n_present) tensor_on(values, {0, values.size()}).fill_(-0.0F);
      for_each_part(operation, bounds, [&](const Range& part, int owner, ncclComm_t nccl) {
        float* const at = values.data() + part.first;
        return ncclReduce(at, at, part.count(), ncclFloat, ncclSum, owner, nccl,
                          channel_->stream());
      });
    });
  }

  /// The device goes on by itself; this is where an error is found early.
  void progress() override { channel_->check(); }

 private:
  void check_bounds(std::span<const float> values, const std::vector<std::size_t>& bounds) const {
    require(bounds.size() == static_cast<std::size_t>(team_.size()) + 1 && bounds.front() == 0 &&
                bounds.back() == values.size() && std::is_sorted(bounds.begin(), bounds.end()),
            "ascending bounds of one part for each rank, over the whole buffer");
  }

  /// Puts what `enqueue` hands to the stream of communication between two events there.
  template <typename Enqueue>
  std::unique_ptr<Pending> start(const char* name, std::span<const float> values,
                                 const Enqueue& enqueue) {
    const c10::DeviceIndex device = index_of(channel_->device());
    const c10::cuda::CUDAGuard guard(device);
    channel_->check();
    const Recorded recorded(team_, name, values.size_bytes());
    auto operation = std::make_shared<NcclOperation>();
    operation->name = name;
    operation->bytes = values.size_bytes();
    at::cuda::CUDAEvent computed;
    computed.record(c10::cuda::getCurrentCUDAStream(device));
    computed.block(channel_->stream());
    {
      const c10::cuda::CUDAStreamGuard on_stream(channel_->stream());
      operation->began.record(channel_->stream());
      enqueue(*operation);
      operation->ended.record(channel_->stream());
    }
    channel_->watch_over(operation);
    return std::make_unique<NcclPending>(channel_, std::move(operation));
  }

  /// One group of the calls for the parts that are not empty.
  template <typename Call>
  void for_each_part(const NcclOperation& operation, const std::vector<std::size_t>& bounds,
                     const Call& call) {
    channel_->group(operation, [&](ncclComm_t nccl, const NcclChannel::Take& take) {
      for (int k = 0; k < team_.size(); ++k) {
        const auto first = bounds.begin() + k;
        const Range part{first[0], first[1]};
        if (!part.empty()) take(call(part, owner_of_part(k, team_.size()), nccl));
      }
    });
  }

  void sum_in_the_tree(const NcclOperation& operation, std::span<float> values,
                       const std::vector<TreeStep>& steps) {
    std::size_t most = 0;
    for (const TreeStep& step : steps) most = std::max(most, step.kept.count());
    // Of the stream of communication, so that the allocator reuses it in that stream's order.
    const at::Tensor scratch = at::empty({static_cast<std::int64_t>(most)}, options());
    for (const TreeStep& step : steps) {
      const bool adds =
          step.join == Join::mine_plus_received || step.join == Join::received_plus_mine;
      float* const into = adds ? scratch.data_ptr<float>() : values.data() + step.kept.first;
      channel_->group(operation, [&](ncclComm_t nccl, const NcclChannel::Take& take) {
        if (!step.sent.empty()) {
          take(ncclSend(values.data() + step.sent.first, step.sent.count(), ncclFloat, step.partner,
                        nccl, channel_->stream()));
        }
        if (step.join != Join::keep) {
          take(
              ncclRecv(into, step.kept.count(), ncclFloat, step.partner, nccl, channel_->stream()));
        }
      });
      if (!adds) continue;
      at::Tensor kept = tensor_on(values, step.kept);
      const at::Tensor received = scratch.narrow(0, 0, kept.numel());
      const bool left = step.join == Join::mine_plus_received;
      at::add_out(kept, left ? kept : received, left ? received : kept);
    }
  }

  [[nodiscard]] at::TensorOptions options() const {
    return at::TensorOptions(at::kFloat).device(at::kCUDA, index_of(channel_->device()));
  }
  [[nodiscard]] at::Tensor tensor_on(std::span<float> values, const Range& range) const {
    return at::for_blob(values.data() + range.first, {static_cast<std::int64_t>(range.count())})
        .options(options())
        .target_device(options().device())
        .make_tensor();
  }

  const Communicator& team_;
  std::shared_ptr<NcclChannel> channel_;
};

}  // namespace

std::unique_ptr<Exchange> make_nccl_exchange(const Communicator& team, int device,
                                             double timeout_s) {
  return std::make_unique<NcclExchange>(team, device, timeout_s);
}

}  // namespace pg::comm
