#include "checkpoint/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace pg::checkpoint {
namespace {

namespace fs = std::filesystem;

}  // namespace

Store::Store(fs::path folder, const Policy& policy, const comm::Communicator& team,
             std::function<void(const std::string&)> say)
    : folder_(std::move(folder)),
      policy_(policy),
      team_(team),
      say_(std::move(say)),
      last_(std::chrono::steady_clock::now()) {}

std::optional<Generation> Store::newest() {
  // Rank 0 looks and all take what it found: two ranks must not see two different disks.
  std::string found;
  std::size_t n_damaged = 0;
  if (team_.rank() == 0) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_, ignored)) {  // of a launch that died
      if (entry.path().extension() == ".pending") fs::remove(entry.path(), ignored);
    }
    for (const File& file : list(folder_)) {
      try {
        const Generation generation(file.path);
        generation.verify();
        if (generation.content().step != file.step) {
          throw_data(
              fmt::format("{}: holds step {}", file.path.string(), generation.content().step),
              "the step of its name", "was it renamed?");
        }
        found = file.path.filename().string();
        break;
      } catch (const Error& error) {  // unreadable is as good as damaged here: an older one is safe
        ++n_damaged;
        say_(fmt::format("warning: {}\n  passed over", error.what()));
      }
    }
    found = fmt::format("{} {}", n_damaged, found);
  }
  const auto words = split(team_.broadcast(found), ' ');
  require(words.size() == 2, "a count and a name");
  if (words[1].empty()) {
    if (words[0] != "0" && !policy_.restart_damaged) {
      throw_data(
          fmt::format("{}: none of its {} generations can be used", folder_.string(), words[0]),
          "one that is whole",
          "put a good copy there, or start this trial from zero with --restart-damaged");
    }
    if (words[0] != "0" && team_.rank() == 0) {
      say_(fmt::format("{}: every generation is damaged: starting from zero, as told",
                       folder_.string()));
    }
    return std::nullopt;
  }
  auto generation =
      as_seen_by_the_others([&] { return std::optional<Generation>(folder_ / words[1]); });
  // The older ones were good when they were written; who goes back to one checks it then.
  std::vector<std::string> steps;
  if (team_.rank() == 0) {
    for (const File& file : list(folder_)) {
      if (file.step <= generation->content().step) steps.push_back(std::to_string(file.step));
    }
  }
  for (const std::string& step : split(team_.broadcast(join(steps, " ")), ' ')) {
    if (const auto number = parse_integer(step)) good_.insert(*number);
  }
  return generation;
}

bool Store::is_time() const {
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - last_;
  return policy_.interval_s > 0 && is_committed_ && since.count() >= policy_.interval_s;
}

bool Store::is_due(std::int64_t step) const {
  const auto is_multiple = [&](std::int64_t of) { return of > 0 && step % of == 0; };
  return is_multiple(policy_.interval) || is_multiple(rollback_interval_);
}

std::optional<Generation> Store::go_back(std::int64_t step) {
  finish();
  // Rank 0 decides: it alone has waited for the last generation to get its name.
  std::int64_t target = -1;
  if (team_.rank() == 0) {
    for (auto good = good_.rbegin(); good != good_.rend() && target < 0; ++good) {
      const bool is_one =
          *good <= step && rollback_interval_ > 0 && *good % rollback_interval_ == 0;
      if (!is_one) continue;
      try {
        Generation(folder_ / file_name(*good)).verify();
        target = *good;
      } catch (const Error& error) {
        say_(fmt::format("warning: {}\n  passed over", error.what()));
      }
    }
    for (const File& file : list(folder_)) {
      if (target >= 0 && file.step > target) fs::remove(file.path);
    }
  }
  target = parse_integer(team_.broadcast(std::to_string(target))).value_or(-1);
  if (target < 0) return std::nullopt;
  good_.erase(good_.upper_bound(target), good_.end());
  return as_seen_by_the_others(
      [&] { return std::optional<Generation>(folder_ / file_name(target)); });
}

void Store::begin(const Content& content, const std::vector<Share>& data) {
  finish();
  save_.emplace(folder_ / file_name(content.step), content, data, team_, buffer_);
  step_ = content.step;
  is_committed_ = false;
  last_ = std::chrono::steady_clock::now();
}

bool Store::written() {
  return !is_committed_ && save_->written();
}

void Store::commit() {
  if (is_committed_) return;
  slowest_seconds_ = std::max(slowest_seconds_, save_->stall_seconds() + save_->write_seconds());
  good_.insert(step_);
  is_committed_ = true;
  save_->commit([this] { prune(); });
}

void Store::finish() {
  if (!is_committed_) {
    save_->wait_written();
    std::array<std::int64_t, 1> everybody = {1};
    team_.all_reduce(everybody);
    commit();
  }
  if (save_) save_->wait_committed();
  save_.reset();
}

/// In the thread of a commit, which nobody else's state of this object changes meanwhile: begin()
/// and finish() wait for it.
void Store::prune() const {
  constexpr std::size_t kNewest = 2;
  if (good_.size() < kNewest) return;
  const std::int64_t oldest = *std::next(good_.rbegin(), kNewest - 1);
  std::set<std::int64_t> to_go_back_to;
  for (auto step = good_.rbegin(); step != good_.rend() && rollback_interval_ > 0; ++step) {
    if (*step % rollback_interval_ == 0 && to_go_back_to.size() < kNewest) {
      to_go_back_to.insert(*step);
    }
  }
  for (const File& file : list(folder_)) {
    const bool is_marked = policy_.keep_every > 0 && file.step % policy_.keep_every == 0;
    std::error_code ignored;  // one too many harms nobody
    if (file.step < oldest && !is_marked && !to_go_back_to.contains(file.step))
      fs::remove(file.path, ignored);
  }
}

}  // namespace pg::checkpoint
