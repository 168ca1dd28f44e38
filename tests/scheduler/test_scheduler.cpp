#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.hpp"
#include "scheduler/mixes.hpp"
#include "scheduler/simulate.hpp"

namespace pg::scheduler {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Scheduler make(int n_ranks, const std::vector<Work>& works) {
  return {n_ranks, works, CostModel(mixes::assumptions())};
}

// True times are those of the model, times `factor` and a factor of each trial's own.
TruthOf wrong_by(const std::vector<Work>& works, double factor, double spread, std::uint64_t seed) {
  return [=](std::size_t job, int size) {
    const random::Stream stream(seed, random::Purpose::test);
    const double off = factor * (1 + spread * (2 * stream.uniform(job) - 1));
    Truth truth = truth_of_model(CostModel(mixes::assumptions()), works[job], size);
    truth.seconds *= off;
    for (double* figure :
         {&truth.measurement.startup_s, &truth.measurement.chunk_s, &truth.measurement.eval_chunk_s,
          &truth.measurement.step_s, &truth.measurement.all_reduce_s})
      *figure *= off;
    return truth;
  };
}

void check_sound(const Timeline& timeline, std::size_t n_jobs) {
  std::set<std::size_t> jobs;
  std::vector<double> free_from(static_cast<std::size_t>(timeline.n_ranks), 0.0);
  bool sound = true;
  for (const Timeline::Bar& bar : timeline.bars) {  // by start
    sound = sound && jobs.insert(bar.job).second && bar.first_rank % bar.size == 0 &&
            bar.first_rank + bar.size <= timeline.n_ranks && bar.end_s <= timeline.makespan_s;
    for (int rank = bar.first_rank; sound && rank < bar.first_rank + bar.size; ++rank) {
      double& from = free_from[static_cast<std::size_t>(rank)];
      sound = sound && bar.start_s >= from;
      from = bar.end_s;
    }
  }
  BOOST_TEST(sound);
  BOOST_TEST(jobs.size() == n_jobs);
}

// No free block could take a pending trial without touching what the plan says.
void check_no_idle_rank(const Scheduler& scheduler, double now) {
  const auto n = static_cast<std::size_t>(scheduler.n_ranks());
  const std::vector<Slot> planned = scheduler.planned();
  double end = now;
  for (const Slot& slot : planned) end = std::max(end, slot.expected_end_s);
  std::vector<double> gap_end(n, end);
  const auto lower = [&](const Slot& slot, double value) {
    for (int rank = slot.first_rank; rank < slot.first_rank + slot.size; ++rank) {
      double& gap = gap_end[static_cast<std::size_t>(rank)];
      gap = std::min(gap, value);
    }
  };
  for (const Slot& slot : planned) lower(slot, slot.start_s);
  for (const Slot& slot : scheduler.running()) lower(slot, -kInfinity);
  const TimeTable times(scheduler.works(), scheduler.cost_model(), scheduler.n_ranks());
  int missed = 0;
  for (const Slot& slot : planned) {
    for (int level = 0; level < times.n_levels(); ++level) {
      const std::size_t size = std::size_t{1} << level;
      for (std::size_t first = 0; first + size <= n; first += size) {
        const auto begin = gap_end.begin() + static_cast<std::ptrdiff_t>(first);
        const double gap = *std::min_element(begin, begin + static_cast<std::ptrdiff_t>(size));
        if (now + times.seconds(slot.job, level) <= gap - 1e-6) ++missed;
      }
    }
  }
  BOOST_TEST(missed == 0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(scheduler)

BOOST_AUTO_TEST_CASE(any_number_of_ranks) {
  double worst = 1;
  for (int n_ranks = 1; n_ranks <= 70; n_ranks += mixes::kFast ? 1 : 7) {
    mixes::Dice dice(static_cast<std::uint64_t>(n_ranks));
    std::vector<Work> works;
    for (int job = 0; job < 25; ++job)
      works.push_back(
          mixes::work(1 + dice.below(300), 4, 100 + dice.below(3000), dice.log_uniform(1, 8)));
    BOOST_TEST_CONTEXT(n_ranks << " ranks") {
      const Timeline timeline = simulate(make(n_ranks, works), nullptr, check_no_idle_rank);
      check_sound(timeline, works.size());
      worst =
          std::max(worst, timeline.makespan_s / make(n_ranks, works).remaining_bound().best_s());
      const TruthOf wrong = wrong_by(works, 2, 0.2, 7);
      check_sound(simulate(make(n_ranks, works), wrong), works.size());
    }
  }
  BOOST_TEST_MESSAGE("25 trials on 1 to 70 ranks: " << worst << " of the best bound at worst");
  BOOST_TEST(worst <= 1.1);
}

BOOST_AUTO_TEST_CASE(few_trials) {
  const Timeline nothing = simulate(make(5, {}));
  BOOST_TEST(nothing.makespan_s == 0);
  BOOST_TEST(nothing.efficiency == 1);
  BOOST_TEST(make(5, {}).done());
  const Timeline one = simulate(make(7, {mixes::work(512, 4, 1000)}));
  check_sound(one, 1);
  BOOST_TEST(one.bars[0].size == 4);
  const Timeline wide = simulate(make(64, {mixes::work(12, 4, 1000)}));  // three chunks
  check_sound(wide, 1);
  BOOST_TEST(wide.bars[0].size == 4);
  const Timeline single = simulate(make(64, {mixes::work(4, 4, 1000)}));
  BOOST_TEST(single.bars[0].size == 1);
}

BOOST_AUTO_TEST_CASE(a_trial_that_takes_a_team_gets_no_smaller_one) {
  std::vector<Work> works = mixes::grid(4);
  for (std::size_t i = 0; i < works.size(); i += 3) works[i].smallest_team = 4;
  works[1].smallest_team = 8;  // of one or two chunks: wider than there are
  for (const int n_ranks : {8, 13}) {
    const Timeline timeline = simulate(make(n_ranks, works));
    check_sound(timeline, works.size());
    for (const Timeline::Bar& bar : timeline.bars) {
      BOOST_TEST(bar.size >= works[bar.job].smallest_team);
    }
  }
}

BOOST_AUTO_TEST_CASE(wrong_predictions_cost_little) {
  for (const int n_ranks : {8, 16, 32}) {
    const std::vector<Work> works = mixes::grid(4);
    double worst_noise = 1;
    double worst_both = 1;
    for (std::uint64_t seed = 1; seed <= (mixes::kFast ? 10 : 1); ++seed) {
      const auto against_clairvoyant = [&](double factor, double spread) {
        const TruthOf truth = wrong_by(works, factor, spread, seed);
        const Timeline online = simulate(make(n_ranks, works), truth);
        check_sound(online, works.size());
        std::vector<Work> known = works;  // a shape for each trial whose cost is the true one
        for (std::size_t job = 0; job < known.size(); ++job) {
          const double off = truth(job, 1).measurement.chunk_s / mixes::kChunkS;
          known[job].chunk_flops *= off;
          known[job].shape += std::to_string(job);
        }
        return online.makespan_s / simulate(make(n_ranks, known)).makespan_s;
      };
      worst_noise = std::max(worst_noise, against_clairvoyant(1, 0.2));
      worst_both = std::max(worst_both, against_clairvoyant(2, 0.2));
      // The same factor for all changes nothing but the unit of time.
      BOOST_TEST(against_clairvoyant(2, 0) <= 1.01);
    }
    BOOST_TEST_MESSAGE(n_ranks << " ranks, of the clairvoyant plan at worst: +-20 %: "
                               << worst_noise << ", and twice as slow: " << worst_both);
    BOOST_TEST(worst_noise <= 1.15);
    BOOST_TEST(worst_both <= 1.15);
  }
}

BOOST_AUTO_TEST_CASE(wrong_predictions_of_a_large_mix) {
  const std::vector<Work> works = mixes::mixed(mixes::kFast ? 300 : 60, 5)[0].works;
  const int n_ranks = mixes::kFast ? 512 : 100;
  const double planned = simulate(make(n_ranks, works)).makespan_s;
  const Timeline online = simulate(make(n_ranks, works), wrong_by(works, 2, 0.2, 3));
  check_sound(online, works.size());
  BOOST_TEST_MESSAGE(works.size() << " trials on " << n_ranks << " ranks, twice as slow +-20 %: "
                                  << online.makespan_s / (2 * planned) << " of the plan, "
                                  << online.n_plans << " plans");
  if (mixes::kFast) BOOST_TEST(online.makespan_s <= 1.2 * 2 * planned);
}

BOOST_AUTO_TEST_CASE(replicas_agree) {
  const std::vector<Work> works = mixes::mixed(60, 9)[0].works;
  const TruthOf truth = wrong_by(works, 1.5, 0.3, 4);
  Scheduler one = make(24, works);
  Scheduler two = make(24, works);
  std::set<std::pair<double, std::size_t>> ends;
  std::vector<int> size(works.size());
  double now = 0;
  bool same = true;
  while (true) {
    const std::vector<Start> starts = one.decide(now);
    const std::vector<Start> others = two.decide(now);
    same = same && starts.size() == others.size();
    for (std::size_t i = 0; same && i < starts.size(); ++i) {
      same = starts[i].job == others[i].job && starts[i].first_rank == others[i].first_rank &&
             starts[i].size == others[i].size &&
             starts[i].expected_end_s == others[i].expected_end_s;
      size[starts[i].job] = starts[i].size;
      ends.insert({now + truth(starts[i].job, starts[i].size).seconds, starts[i].job});
    }
    if (ends.empty() || !same) break;
    const auto [at, job] = *ends.begin();
    ends.erase(ends.begin());
    now = at;
    one.finished(job, now, truth(job, size[job]).measurement);
    two.finished(job, now, truth(job, size[job]).measurement);
    same = same && one.expected_end_s() == two.expected_end_s();
  }
  BOOST_TEST(same);
  BOOST_TEST(one.done());
  BOOST_TEST(two.done());
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  Scheduler scheduler = make(4, mixes::grid(4));
  const std::vector<Start> starts = scheduler.decide(1);
  BOOST_REQUIRE(!starts.empty());
  scheduler.finished(starts[0].job, 5, {});
  BOOST_CHECK_THROW(scheduler.finished(starts[0].job, 6, {}), InternalError);
  BOOST_CHECK_THROW(scheduler.finished(1000, 6, {}), InternalError);
  BOOST_CHECK_THROW(scheduler.decide(4), InternalError);
  BOOST_CHECK_THROW(make(0, {}), InternalError);
}

BOOST_AUTO_TEST_CASE(timelines_can_be_read) {
  Timeline timeline;
  timeline.n_ranks = 4;
  timeline.makespan_s = 8;
  timeline.bars = {{0, 0, 2, 0, 8}, {1, 2, 1, 0, 4}, {2, 3, 1, 2, 8}};
  BOOST_TEST(timeline_text(timeline, 8) ==
             "     0 AAAAAAAA\n     1 AAAAAAAA\n     2 BBBB....\n     3 ..CCCCCC\n");
  BOOST_TEST(timeline_text(timeline, 8, 2) == "     0 AAAAAAAA\n     2 BBBB....\n");
  BOOST_TEST(timeline_csv(timeline) ==
             "job,first_rank,size,start_s,end_s\n0,0,2,0.000,8.000\n1,2,1,0.000,4.000\n"
             "2,3,1,2.000,8.000\n");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace pg::scheduler
