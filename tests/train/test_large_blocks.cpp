#define BOOST_TEST_MODULE large_blocks
#include <ATen/ATen.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <new>
#include <vector>

#include "base/random.hpp"
#include "train/large_blocks.hpp"

using namespace pg;

namespace {

constexpr std::int64_t kMebi = std::int64_t{1} << 20;

at::Tensor block(std::int64_t mebibytes) {
  return at::empty({mebibytes * kMebi}, at::kByte);
}

struct Kept {
  Kept() { train::keep_large_blocks(); }
};

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(Kept);

BOOST_AUTO_TEST_CASE(the_next_block_gets_the_memory_whatever_its_size) {
  train::forget_large_blocks();
  at::Tensor a = block(40);
  const void* const where = a.data_ptr();
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(where) % 64 == 0);
  a.fill_(7);
  a.reset();
  BOOST_TEST(train::large_block_bytes().kept == 40U * kMebi);
  const at::Tensor b = block(30);
  const at::Tensor c = block(10);
  BOOST_TEST(b.data_ptr() == where);
  BOOST_TEST(b.select(0, 0).item<int>() == 7);  // the page is still there
  BOOST_TEST(c.select(0, -1).item<int>() == 7);
  BOOST_TEST(train::large_block_bytes().kept == 0U);
}

BOOST_AUTO_TEST_CASE(small_tensors_are_not_its_business) {
  train::forget_large_blocks();
  const auto before = train::large_block_bytes().in_use;
  const at::Tensor small = at::empty({kMebi / 8 - 1}, at::kByte);
  BOOST_TEST(train::large_block_bytes().in_use == before);
}

// The C library's heap gives such blocks back at its own pace: 10,000 pages in some ten steps of
// the nano transformer, or 46,000 in the next run of the same program.
BOOST_AUTO_TEST_CASE(blocks_of_half_a_mebibyte_keep_their_pages) {
  train::forget_large_blocks();
  const auto faults = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
  };
  const auto step = [] {
    std::vector<at::Tensor> blocks;
    for (int i = 0; i < 16; ++i) blocks.push_back(at::full({kMebi / 2}, i, at::kByte));
  };
  step();
  const auto before = faults();
  for (int i = 0; i < 20; ++i) step();
  BOOST_TEST(faults() - before < 64);
}

BOOST_AUTO_TEST_CASE(what_would_raise_the_peak_goes_back_to_the_system) {
  train::forget_large_blocks();
  at::Tensor low = block(20);
  at::Tensor high = block(80);
  high.fill_(7);
  low.reset();
  high.reset();
  BOOST_TEST(train::large_block_bytes().kept == 100U * kMebi);
  low = block(20);
  const at::Tensor between = block(20);
  high = block(30);
  BOOST_TEST(train::large_block_bytes().kept == 30U * kMebi);
  low.reset();
  // Fits only above: 20 + 30 in use, 20 and 30 kept, 60 more need 30 that have no memory yet.
  const at::Tensor other = block(60);
  BOOST_TEST(train::large_block_bytes().in_use == 110U * kMebi);
  BOOST_TEST(train::large_block_bytes().most_in_use == 110U * kMebi);
  BOOST_TEST(train::large_block_bytes().kept > 8U * kMebi);  // not more of it than it has to be
  BOOST_TEST(train::large_block_bytes().kept <= 110U * kMebi / 8);
  BOOST_TEST(other.select(0, 0).item<int>() == 7);
  BOOST_TEST(other.select(0, -1).item<int>() == 0);  // a new page
}

BOOST_AUTO_TEST_CASE(what_the_system_refuses_is_out_of_memory) {
  train::forget_large_blocks();
  block(40).reset();
  const auto before = train::large_block_bytes();
  BOOST_CHECK_THROW(block(std::int64_t{1} << 40), std::bad_alloc);  // 2^60 bytes
  BOOST_TEST(train::large_block_bytes().in_use == before.in_use);
  BOOST_TEST(block(40).numel() == 40 * kMebi);
}

BOOST_AUTO_TEST_CASE(together_they_are_never_much_more_than_was_in_use) {
  train::forget_large_blocks();
  const random::Stream stream(3, random::Purpose::test);
  std::vector<at::Tensor> held;
  std::int64_t in_use = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const std::uint64_t bits = stream.bits(i);
    if (bits % 2 == 0 && !held.empty()) {
      const auto which = held.begin() + static_cast<std::ptrdiff_t>((bits >> 8) % held.size());
      BOOST_TEST(which->select(0, 0).item<int>() == which->select(0, -1).item<int>());
      in_use -= which->numel();
      held.erase(which);
    } else {
      held.push_back(block(1 + static_cast<std::int64_t>((bits >> 8) % 40)));
      held.back().select(0, 0).fill_(static_cast<int>(i % 251));  // both ends can be written
      held.back().select(0, -1).fill_(static_cast<int>(i % 251));
      in_use += held.back().numel();
    }
    const auto bytes = train::large_block_bytes();
    BOOST_TEST(bytes.in_use == static_cast<std::size_t>(in_use));
    BOOST_TEST(bytes.in_use + bytes.kept <= bytes.most_in_use + bytes.most_in_use / 8);
  }
  held.clear();
  train::forget_large_blocks();
  BOOST_TEST(train::large_block_bytes().kept == 0U);
}
