// Runs a test on every instruction set that the kernels were compiled for and this processor has.
#pragma once

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>

namespace pg::testing {

/// While it lives, the kernels run on this instruction set.
class UseInstructionSet {
 public:
  explicit UseInstructionSet(std::int64_t target) { choose(target); }
  UseInstructionSet(const UseInstructionSet&) = delete;
  UseInstructionSet& operator=(const UseInstructionSet&) = delete;
  ~UseInstructionSet() { choose(0); }

 private:
  static void choose(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

template <class Body>
void on_every_instruction_set(Body&& body) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    BOOST_TEST_CONTEXT("on " << hwy::TargetName(target)) {
      const UseInstructionSet use(target);
      body();
    }
  }
}

}  // namespace pg::testing
