// scheduler: what a trial costs on a team of ranks, which team trains it and when, and a simulator
// that drives the same scheduler with a replaced clock. Pure arithmetic: no MPI, no clock, no file.
// May know base only.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace pg::scheduler {

/// What a trial has to do. A batch is `n_chunks` chunks, the atoms of the gradient's sum.
struct Work {
  std::int64_t steps = 0;  ///< that are left to do
  std::int64_t n_chunks = 1;
  std::int64_t eval_chunks = 0;  ///< of all evaluations together
  double chunk_flops = 0;        ///< of one chunk, forward and backward
  std::string shape;             ///< trials of one shape share the seconds of a chunk and of a step
  std::int64_t gradient_bytes = 0;
  int smallest_team = 1;  ///< ranks that it takes at least, a power of two
};

/// A message of b bytes between two ranks takes latency_s + b * seconds_per_byte.
struct Communication {
  double latency_s = 30e-6;
  double seconds_per_byte = 1 / 1.5e9;
};

/// What one trial's team saw: means over the trial, over its ranks the slowest. Zero or less means
/// not measured.
struct Measurement {
  int size = 1;                 ///< ranks of the team
  std::int64_t steps_done = 0;  ///< fewer than the work's if the trial ended early
  double startup_s = 0;
  double chunk_s = 0;       ///< forward and backward pass of one chunk on one rank
  double eval_chunk_s = 0;  ///< one chunk of an evaluation on one rank
  double step_s = 0;        ///< per step, beside chunks and all-reduce: optimizer, sampling
  double all_reduce_s = 0;  ///< per step, all of it
};

/// Where a figure comes from.
enum class Origin {
  assumed,     ///< nobody has measured anything of the kind
  calibrated,  ///< scaled from what other shapes took
  measured,
};
const char* origin_name(Origin origin);

struct Figure {
  double value = 0;
  Origin origin = Origin::assumed;
};

/// What is believed before anything is measured. One core in single precision, shared memory or
/// 10 Gbit/s; an optimizer step streams the parameters, a few times.
struct Assumptions {
  double flops_per_s = 5e10;
  double eval_share = 1.0 / 3;  ///< of a chunk's seconds: the forward pass alone
  double step_seconds_per_byte = 0.75e-9;
  double startup_s = 0.2;
  Communication communication;
};

/// What a trial's seconds are made of.
struct Rates {
  Figure startup_s;
  Figure chunk_s;       ///< forward and backward
  Figure eval_chunk_s;  ///< forward
  Figure step_s;        ///< beside chunks and all-reduce
};

/// Chunks that the slowest rank of a team does: rank r of p has the leaves [r*N/p, (r+1)*N/p) that
/// exist, N = bit_ceil(n_chunks). `size` is a power of two.
std::int64_t max_chunks_per_rank(std::int64_t n_chunks, int size);

/// Seconds of a trial on a team of any size. A pure function of the assumptions and of the
/// measurements in their order, with sums, products and square roots only: replicas that learn the
/// same agree bit for bit.
class CostModel {
 public:
  explicit CostModel(const Assumptions& assumptions = {});

  [[nodiscard]] Rates rates(const Work& work) const;
  [[nodiscard]] const Communication& communication() const { return communication_; }
  [[nodiscard]] Origin communication_origin() const;

  /// Seconds of a step's reductions on `size` ranks: the gradient by recursive halving and doubling
  /// (Thakur et al. 2005, section 4.5), and one of about a kilobyte with losses and flags.
  [[nodiscard]] double all_reduce_s(std::int64_t gradient_bytes, int size) const;
  /// Seconds of a trial from its team's start to its end; `size` is a power of two.
  [[nodiscard]] double seconds(const Work& work, int size) const {
    return seconds(work, rates(work), size);
  }
  /// The same for many sizes in turn, with this model's rates of the work.
  [[nodiscard]] double seconds(const Work& work, const Rates& rates, int size) const;

  /// Takes in what a trial measured; figures that are not positive and finite are passed over.
  void learn(const Work& work, const Measurement& measurement);

 private:
  struct Mean {
    double sum = 0;
    std::int64_t n = 0;
    void add(double value);
    [[nodiscard]] double value() const { return sum / static_cast<double>(n); }
  };
  struct Shape {
    Mean chunk_s;
    Mean eval_chunk_s;
    Mean step_s;
    double chunk_flops = 0;
    double gradient_bytes = 0;
  };
  // Sums of least squares for (latency, seconds per byte), both in units of what is assumed, errors
  // relative to what was measured.
  struct CommunicationFit {
    double aa = 0, ab = 0, bb = 0, a = 0, b = 0;
    std::int64_t n = 0;
  };
  void learn_communication(const Work& work, const Measurement& measurement);
  void calibrate();

  Assumptions assumptions_;
  Communication communication_;
  std::map<std::string, Shape> shapes_;  // ordered: sums over shapes must not depend on a hash
  CommunicationFit communication_fit_;
  Mean startup_s_;
  Figure seconds_per_flop_;
  Figure eval_share_;
  Figure step_seconds_per_byte_;
};

}  // namespace pg::scheduler
