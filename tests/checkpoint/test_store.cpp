#define BOOST_TEST_MODULE store
#include <boost/test/unit_test.hpp>
#include <thread>

#include "base/files.hpp"
#include "base/text.hpp"
#include "checkpoint/sample.hpp"
#include "checkpoint/store.hpp"
#include "comm/session.hpp"
#include "support/support.hpp"

using pg::checkpoint::Policy;
using pg::checkpoint::Store;
namespace fs = std::filesystem;

namespace {

const pg::comm::Communicator& world() {
  static pg::comm::Session session;
  return session.world();
}

/// One folder for all ranks, removed by rank 0.
class SharedFolder {
 public:
  SharedFolder() {
    if (world().rank() == 0) mine_.emplace();
    path_ = world().broadcast(mine_ ? mine_->path().string() : "");
  }
  ~SharedFolder() {
    world().wait_for_all([] {});
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  [[nodiscard]] fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::optional<pg::testing::ScratchFolder> mine_;
  fs::path path_;
};

struct Said {
  std::vector<std::string> lines;
  [[nodiscard]] bool holds(const std::string& words) const {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const auto& l) { return l.find(words) != std::string::npos; });
  }
};

struct Opened {
  Said said;
  Store store;
  Opened(const fs::path& folder, const Policy& policy = {})
      : store(folder, policy, world(), [this](const auto& text) { said.lines.push_back(text); }) {}
};

void save(Store& store, std::int64_t step) {
  const auto s = pg::testing::sample(step);
  store.begin(s.content, pg::checkpoint::whole(s.data()));
  store.finish();
}

std::vector<std::int64_t> steps_in(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  for (const auto& file : pg::checkpoint::list(folder)) steps.push_back(file.step);
  return steps;
}

void on_rank_0(const std::function<void()>& action) {
  if (world().rank() == 0) action();
  world().wait_for_all([] {});
}

void damage(const fs::path& path) {
  std::string bytes = pg::read_file(path);
  bytes[bytes.size() - 5] ^= 1;
  pg::write_in_place(path, bytes);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_team_writes_what_one_rank_writes) {
  const SharedFolder folder;
  Opened team(folder / "team");
  save(team.store, 9);
  world().wait_for_all([] {});
  on_rank_0([&] {
    pg::testing::save_sample(pg::testing::sample(9), folder / "alone.h5");
    const auto file = folder / ("team/" + pg::checkpoint::file_name(9));
    BOOST_TEST((pg::read_file(folder / "alone.h5") == pg::read_file(file)));
  });
}

BOOST_AUTO_TEST_CASE(ranks_that_have_a_part_each_write_what_one_rank_writes) {
  const SharedFolder folder;
  auto s = pg::testing::sample(9);
  // Rows as shards have them: blocks that begin in one part and end in another, or in the one after
  // that; parts of many blocks, and of none. The log is everywhere.
  s.add("values/wide", pg::checkpoint::Type::float32, {5, pg::checkpoint::kBlockBytes / 3});
  s.add("values/narrow", pg::checkpoint::Type::float32, {23, 3});
  s.add("values/one_row", pg::checkpoint::Type::float32, {1, 70001});
  const auto whole = s.data();
  for (const int n_parts : {1, 2, world().size()}) {
    if (n_parts > world().size()) continue;
    std::vector<pg::checkpoint::Share> mine;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      const auto& array = s.content.arrays[i];
      const bool is_cut = !array.name.starts_with("log/");
      const std::int64_t rows = is_cut && !array.shape.empty() ? array.shape[0] : 1;
      const std::int64_t width = array.n_bytes() / std::max<std::int64_t>(1, rows);
      const std::int64_t n = is_cut ? n_parts : 1;
      const std::int64_t each = (rows + n - 1) / n;
      const std::int64_t part = is_cut ? world().rank() % n_parts : 0;
      const std::int64_t first = std::min(part * each, rows) * width;
      const std::int64_t last = std::min((part + 1) * each, rows) * width;
      mine.push_back({first, whole[i].subspan(static_cast<std::size_t>(first),
                                              static_cast<std::size_t>(last - first))});
    }
    Opened team(folder / std::to_string(n_parts));
    team.store.begin(s.content, mine);
    team.store.finish();
    world().wait_for_all([] {});
    on_rank_0([&] {
      pg::testing::save_sample(s, folder / "alone.h5");
      const auto file = folder / (std::to_string(n_parts) + "/" + pg::checkpoint::file_name(9));
      BOOST_TEST((pg::read_file(folder / "alone.h5") == pg::read_file(file)), n_parts << " parts");
    });
  }
}

BOOST_AUTO_TEST_CASE(training_goes_on_while_it_is_written) {
  const SharedFolder folder;
  Opened o(folder / "t");
  auto s = pg::testing::sample(4);
  o.store.begin(s.content, pg::checkpoint::whole(s.data()));
  for (auto& bytes : s.bytes) std::fill(bytes.begin(), bytes.end(), std::byte{0});  // goes on
  std::array<std::int64_t, 1> n_written{};
  while (n_written[0] != world().size()) {
    n_written[0] = o.store.written() ? 1 : 0;
    world().all_reduce(n_written);
  }
  o.store.commit();
  o.store.finish();
  world().wait_for_all([] {});
  Opened again(folder / "t");
  const auto g = again.store.newest();
  BOOST_REQUIRE(g.has_value());
  const auto expected = pg::testing::sample(4);
  for (std::size_t i = 0; i < expected.bytes.size(); ++i) {
    std::vector<std::byte> bytes(expected.bytes[i].size());
    g->read(i, 0, bytes);
    BOOST_TEST((bytes == expected.bytes[i]));
  }
}

BOOST_AUTO_TEST_CASE(the_newest_two_stay_and_the_marked_ones) {
  const SharedFolder folder;
  Opened o(folder / "t", {.keep_every = 20});
  for (const std::int64_t step : {10, 20, 30, 40, 50, 60}) save(o.store, step);
  world().wait_for_all([] {});
  BOOST_TEST((steps_in(folder / "t") == std::vector<std::int64_t>{60, 50, 40, 20}));
}

BOOST_AUTO_TEST_CASE(the_newest_good_one_is_found) {
  const SharedFolder folder;
  {
    Opened o(folder / "t");
    save(o.store, 10);
    save(o.store, 20);
  }
  on_rank_0([&] {
    damage(folder / ("t/" + pg::checkpoint::file_name(20)));
    pg::write_file(folder / ("t/" + pg::checkpoint::file_name(30)), "");
    fs::copy_file(folder / ("t/" + pg::checkpoint::file_name(10)),
                  folder / ("t/" + pg::checkpoint::file_name(40)));  // renamed by somebody
    pg::write_file(folder / "t/step_000000050.h5.pending", "half");
  });
  Opened o(folder / "t");
  const auto g = o.store.newest();
  BOOST_REQUIRE(g.has_value());
  BOOST_TEST(g->content().step == 10);
  if (world().rank() == 0) {
    BOOST_TEST(o.said.lines.size() == 3U);
    BOOST_TEST(o.said.holds("step_000000020.h5"));
    BOOST_TEST(o.said.holds("an empty file"));
    BOOST_TEST(o.said.holds("holds step 10"));
    BOOST_TEST(!fs::exists(folder / "t/step_000000050.h5.pending"));
  }
  // The good one is not thrown away for the damaged ones that are newer.
  save(o.store, 12);
  world().wait_for_all([] {});
  BOOST_TEST((steps_in(folder / "t") == std::vector<std::int64_t>{40, 30, 20, 12, 10}));
}

BOOST_AUTO_TEST_CASE(where_all_are_damaged_it_says_so) {
  const SharedFolder folder;
  {
    Opened o(folder / "t");
    BOOST_TEST(!o.store.newest().has_value());  // nothing there is no damage
    save(o.store, 10);
  }
  on_rank_0([&] { damage(folder / ("t/" + pg::checkpoint::file_name(10))); });
  Opened o(folder / "t");
  BOOST_CHECK_EXCEPTION((void)o.store.newest(), pg::InvalidInput, [](const auto& error) {
    return std::string(error.what()).find("--restart-damaged") != std::string::npos;
  });
  Opened told(folder / "t", {.restart_damaged = true});
  BOOST_TEST(!told.store.newest().has_value());
  if (world().rank() == 0) BOOST_TEST(told.said.holds("starting from zero"));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_written_leaves_the_older_one) {
  const SharedFolder folder;
  {
    Opened o(folder / "t");
    save(o.store, 10);
    world().wait_for_all([] {});
    // Every write to it ends as on a full disk (tests/app/checkpoint.sh fills a real one).
    on_rank_0([&] { fs::create_symlink("/dev/full", folder / "t/step_000000020.h5.pending"); });
    const auto s = pg::testing::sample(20);
    o.store.begin(s.content, pg::checkpoint::whole(s.data()));
    // Whoever cannot write says so; nobody waits for the others.
    const auto wait = [&] {
      while (!o.store.written()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    BOOST_CHECK_EXCEPTION(wait(), pg::IoError, [](const auto& error) {
      return std::string(error.what()).find("step_000000020.h5.pending") != std::string::npos &&
             error.exit_code() == pg::ExitCode::input_output;
    });
    world().wait_for_all([] {});  // rank 0 removes the link at its end
  }
  world().wait_for_all([] {});
  Opened again(folder / "t");
  const auto g = again.store.newest();
  BOOST_REQUIRE(g.has_value());
  BOOST_TEST(g->content().step == 10);
}

BOOST_AUTO_TEST_CASE(going_back_takes_the_newest_good_one_and_forgets_what_came_after) {
  const SharedFolder folder;
  Opened o(folder / "t");
  BOOST_TEST(!o.store.go_back(5).has_value());
  o.store.allow_rollback(10);
  BOOST_TEST(o.store.is_due(20));
  for (const std::int64_t step : {10, 20, 30, 33, 35, 36}) save(o.store, step);
  world().wait_for_all([] {});
  // The newest two, and the newest two that a trial may go back to.
  BOOST_TEST((steps_in(folder / "t") == std::vector<std::int64_t>{36, 35, 30, 20}));
  on_rank_0([&] { damage(folder / ("t/" + pg::checkpoint::file_name(30))); });
  const auto g = o.store.go_back(36);
  BOOST_REQUIRE(g.has_value());
  BOOST_TEST(g->content().step == 20);
  world().wait_for_all([] {});
  BOOST_TEST((steps_in(folder / "t") == std::vector<std::int64_t>{20}));
  if (world().rank() == 0) BOOST_TEST(o.said.holds("passed over"));
  BOOST_TEST(!o.store.go_back(19).has_value());
}

BOOST_AUTO_TEST_CASE(it_is_time_by_the_clock_and_by_steps) {
  const SharedFolder folder;
  Opened o(folder / "t", {.interval_s = 0.01, .interval = 5});
  BOOST_TEST(o.store.is_due(10));
  BOOST_TEST(!o.store.is_due(11));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  BOOST_TEST(o.store.is_time());
  Opened never(folder / "u", {.interval_s = 0});
  BOOST_TEST(!never.store.is_time());
  BOOST_TEST(!never.store.is_due(10));
}
