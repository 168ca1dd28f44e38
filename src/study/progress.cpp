#include "study/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.hpp"
#include "base/text.hpp"

namespace pg::study {
namespace {

using namespace std::chrono_literals;
constexpr auto kLivePeriod = 500ms;
constexpr auto kLogPeriod = 30s;
constexpr auto kJsonPeriod = 5s;

}  // namespace

ProgressReport::ProgressReport(record::RunDirectory run, bool on_terminal)
    : run_(std::move(run)), on_terminal_(on_terminal) {}

void ProgressReport::start_stage(const std::string& stage, std::vector<std::string> ids,
                                 std::int64_t tokens, const Tally& before) {
  stage_ = stage;
  ids_ = std::move(ids);
  tokens_total_ = tokens;
  before_ = before;
  started_ = last_line_ = Clock::now();
  say(fmt::format("{}: {} trials to train, {} tokens", stage_, ids_.size(),
                  quantity(static_cast<double>(tokens_total_))));
  write_json("running", {}, before_, {});
}

bool ProgressReport::due() const {
  const auto now = Clock::now();
  return now - last_line_ >= (on_terminal_ ? Clock::duration(kLivePeriod) : kLogPeriod) ||
         now - last_json_ >= kJsonPeriod;
}

void ProgressReport::update(const std::vector<comm::RankStatus>& statuses) {
  const auto now = Clock::now();
  Speed speed;
  Tally tally = before_;
  std::vector<std::string> running;
  std::set<std::int64_t> jobs;
  for (const comm::RankStatus& status : statuses) {
    speed.tokens_done += status.tokens_done;
    tally.finished += status.n_finished;
    tally.diverged += status.n_diverged;
    tally.failed += status.n_failed;
    if (status.job < 0 || !jobs.insert(status.job).second) continue;  // one line a team
    running.push_back(fmt::format("{} {}/{}", ids_[static_cast<std::size_t>(status.job)],
                                  status.step, status.steps));
  }
  const double elapsed = std::chrono::duration<double>(now - started_).count();
  if (elapsed > 0 && speed.tokens_done > 0) {
    speed.tokens_per_s = static_cast<double>(speed.tokens_done) / elapsed;
    speed.seconds_left =
        static_cast<double>(tokens_total_ - speed.tokens_done) / speed.tokens_per_s;
  }
  if (now - last_json_ >= kJsonPeriod) write_json("running", statuses, tally, speed);
  if (now - last_line_ < (on_terminal_ ? Clock::duration(kLivePeriod) : kLogPeriod)) return;
  last_line_ = now;
  std::string line = fmt::format(
      "{}: {}/{} done ({} diverged, {} failed), {} running, {} tokens/s, {} left in "
      "this stage",
      stage_, tally.finished + tally.diverged + tally.failed, tally.planned, tally.diverged,
      tally.failed, running.size(), quantity(speed.tokens_per_s), duration(speed.seconds_left));
  if (!running.empty()) line += " | " + running.front();
  if (on_terminal_) {
    fmt::print(stderr, "\r\x1b[2K{}", line.substr(0, 150));
    live_line_ = true;
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
}

void ProgressReport::say(const std::string& text) {
  if (live_line_) fmt::print(stderr, "\r\x1b[2K");
  live_line_ = false;
  fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

void ProgressReport::close(const std::string& state, const Tally& tally) {
  if (live_line_) fmt::print(stderr, "\n");
  live_line_ = false;
  write_json(state, {}, tally, {});
}

void ProgressReport::write_json(const std::string& state,
                                const std::vector<comm::RankStatus>& statuses, const Tally& tally,
                                const Speed& speed) {
  last_json_ = Clock::now();
  nlohmann::json running = nlohmann::json::array();
  std::map<std::int64_t, int> team_sizes;
  for (const comm::RankStatus& s : statuses) ++team_sizes[s.job];
  std::set<std::int64_t> jobs;
  for (std::size_t rank = 0; rank < statuses.size(); ++rank) {
    const comm::RankStatus& s = statuses[rank];
    if (s.job < 0 || !jobs.insert(s.job).second) continue;
    running.push_back({{"id", ids_[static_cast<std::size_t>(s.job)]},
                       {"rank", rank},
                       {"team_size", team_sizes[s.job]},
                       {"step", s.step},
                       {"steps", s.steps}});
  }
  const nlohmann::json progress = {{"format_version", 1},
                                   {"state", state},
                                   {"updated_unix", std::time(nullptr)},
                                   {"stage", stage_},
                                   {"planned", tally.planned},
                                   {"finished", tally.finished},
                                   {"diverged", tally.diverged},
                                   {"failed", tally.failed},
                                   {"running", running},
                                   {"tokens_done", speed.tokens_done},
                                   {"tokens_total", tokens_total_},
                                   {"tokens_per_s", speed.tokens_per_s},
                                   {"seconds_left", speed.seconds_left}};
  write_file(run_.progress_file(), progress.dump(2) + "\n");
}

bool stderr_is_watched() {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return isatty(STDERR_FILENO) == 1;
  std::error_code failure;
  const auto stream =
      std::filesystem::read_symlink(fmt::format("/proc/{}/fd/2", getppid()), failure);
  return !failure && stream.string().starts_with("/dev/pts/");
}

}  // namespace pg::study
