#include "scheduler/cost_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.hpp"

namespace pg::scheduler {

namespace {

bool usable(double measured) {
  return std::isfinite(measured) && measured > 0;
}

// Messages that follow one another in one all-reduce by recursive halving and doubling.
double n_messages(int size) {
  return 2.0 * std::countr_zero(static_cast<unsigned>(size));
}

// Bytes that each rank sends in it, as a multiple of the vector's.
double traffic(int size) {
  return 2.0 * (size - 1) / size;
}

}  // namespace

const char* origin_name(Origin origin) {
  switch (origin) {
    case Origin::assumed: return "assumed";
    case Origin::calibrated: return "calibrated";
    case Origin::measured: return "measured";
  }
  return "";
}

std::int64_t max_chunks_per_rank(std::int64_t n_chunks, int size) {
  require(n_chunks >= 1, "a batch of at least one chunk");
  require(size >= 1 && std::has_single_bit(static_cast<unsigned>(size)),
          "a team whose size is a power of two");
  const auto leaves =
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n_chunks)));
  return std::min(n_chunks, std::max<std::int64_t>(1, leaves / size));
}

void CostModel::Mean::add(double value) {
  sum += value;
  ++n;
}

CostModel::CostModel(const Assumptions& assumptions)
    : assumptions_(assumptions), communication_(assumptions.communication) {
  require(usable(assumptions.flops_per_s) && usable(assumptions.communication.latency_s) &&
              usable(assumptions.communication.seconds_per_byte),
          "assumed rates that are positive");
  calibrate();
}

Rates CostModel::rates(const Work& work) const {
  const auto assumed_or_calibrated = [](const Figure& rate, double amount) {
    return Figure{rate.value * amount, rate.origin};
  };
  Rates rates;
  rates.startup_s = startup_s_.n > 0 ? Figure{startup_s_.value(), Origin::measured}
                                     : Figure{assumptions_.startup_s, Origin::assumed};
  rates.chunk_s = assumed_or_calibrated(seconds_per_flop_, work.chunk_flops);
  rates.step_s =
      assumed_or_calibrated(step_seconds_per_byte_, static_cast<double>(work.gradient_bytes));
  const auto found = shapes_.find(work.shape);
  const bool known = found != shapes_.end();
  if (known && found->second.chunk_s.n > 0)
    rates.chunk_s = {found->second.chunk_s.value(), Origin::measured};
  if (known && found->second.step_s.n > 0)
    rates.step_s = {found->second.step_s.value(), Origin::measured};
  if (known && found->second.eval_chunk_s.n > 0) {
    rates.eval_chunk_s = {found->second.eval_chunk_s.value(), Origin::measured};
  } else {  // a share of a measured chunk is not a measurement
    const bool assumed =
        rates.chunk_s.origin == Origin::assumed && eval_share_.origin == Origin::assumed;
    rates.eval_chunk_s = {rates.chunk_s.value * eval_share_.value,
                          assumed ? Origin::assumed : Origin::calibrated};
  }
  return rates;
}

Origin CostModel::communication_origin() const {
  return communication_fit_.n > 0 ? Origin::measured : Origin::assumed;
}

double CostModel::all_reduce_s(std::int64_t gradient_bytes, int size) const {
  if (size == 1) return 0;
  return 2 * n_messages(size) * communication_.latency_s +
         static_cast<double>(gradient_bytes) * traffic(size) * communication_.seconds_per_byte;
}

double CostModel::seconds(const Work& work, const Rates& rates, int size) const {
  const auto chunks = static_cast<double>(max_chunks_per_rank(work.n_chunks, size));
  const std::int64_t most_eval_chunks = (work.eval_chunks + size - 1) / size;
  const auto eval_chunks = static_cast<double>(most_eval_chunks);
  const double step =
      chunks * rates.chunk_s.value + rates.step_s.value + all_reduce_s(work.gradient_bytes, size);
  return rates.startup_s.value + static_cast<double>(work.steps) * step +
         eval_chunks * rates.eval_chunk_s.value;
}

void CostModel::learn(const Work& work, const Measurement& measurement) {
  if (usable(measurement.startup_s)) startup_s_.add(measurement.startup_s);
  Shape& shape = shapes_[work.shape];
  if (shape.chunk_flops <= 0) shape.chunk_flops = work.chunk_flops;
  if (shape.gradient_bytes <= 0) shape.gradient_bytes = static_cast<double>(work.gradient_bytes);
  if (usable(measurement.chunk_s)) shape.chunk_s.add(measurement.chunk_s);
  if (usable(measurement.eval_chunk_s)) shape.eval_chunk_s.add(measurement.eval_chunk_s);
  if (usable(measurement.step_s)) shape.step_s.add(measurement.step_s);
  if (measurement.size > 1 && usable(measurement.all_reduce_s))
    learn_communication(work, measurement);
  calibrate();
}

void CostModel::learn_communication(const Work& work, const Measurement& measurement) {
  const Communication& assumed = assumptions_.communication;
  const double share = 1 / measurement.all_reduce_s;
  const double a = 2 * n_messages(measurement.size) * assumed.latency_s * share;
  const double b = static_cast<double>(work.gradient_bytes) * traffic(measurement.size) *
                   assumed.seconds_per_byte * share;
  CommunicationFit& fit = communication_fit_;
  fit.aa += a * a;
  fit.ab += a * b;
  fit.bb += b * b;
  fit.a += a;
  fit.b += b;
  ++fit.n;

  // One factor for both is always determined. Two are not where all trials had one size and one
  // model: a little weight on that common factor decides what the data leave open.
  const double common = (fit.a + fit.b) / (fit.aa + 2 * fit.ab + fit.bb);
  const double weight = 1e-3 * (fit.aa + fit.bb);
  const double aa = fit.aa + weight;
  const double bb = fit.bb + weight;
  const double determinant = aa * bb - fit.ab * fit.ab;
  const double a_right = fit.a + weight * common;
  const double b_right = fit.b + weight * common;
  double latency = (a_right * bb - b_right * fit.ab) / determinant;
  double per_byte = (b_right * aa - a_right * fit.ab) / determinant;
  if (!usable(latency) || !usable(per_byte)) latency = per_byte = common;
  communication_.latency_s = latency * assumed.latency_s;
  communication_.seconds_per_byte = per_byte * assumed.seconds_per_byte;
}

void CostModel::calibrate() {
  Mean per_flop;
  Mean eval_share;
  Mean per_byte;
  for (const auto& [name, shape] : shapes_) {
    if (shape.chunk_s.n > 0 && shape.chunk_flops > 0)
      per_flop.add(shape.chunk_s.value() / shape.chunk_flops);
    if (shape.chunk_s.n > 0 && shape.eval_chunk_s.n > 0)
      eval_share.add(shape.eval_chunk_s.value() / shape.chunk_s.value());
    if (shape.step_s.n > 0 && shape.gradient_bytes > 0)
      per_byte.add(shape.step_s.value() / shape.gradient_bytes);
  }
  const auto figure = [](const Mean& mean, double assumed) {
    return mean.n > 0 ? Figure{mean.value(), Origin::calibrated} : Figure{assumed, Origin::assumed};
  };
  seconds_per_flop_ = figure(per_flop, 1 / assumptions_.flops_per_s);
  eval_share_ = figure(eval_share, assumptions_.eval_share);
  step_seconds_per_byte_ = figure(per_byte, assumptions_.step_seconds_per_byte);
}

}  // namespace pg::scheduler
