#include "checkpoint/save.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/error.hpp"
#include "base/files.hpp"

namespace pg::checkpoint {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// What the system could give without swapping; "enough" where it does not say.
bool memory_allows(std::int64_t bytes) {
  std::ifstream info("/proc/meminfo");
  for (std::string name, unit; info >> name;) {
    std::int64_t kilobytes = 0;
    info >> kilobytes;
    std::getline(info, unit);
    if (name == "MemAvailable:") return bytes < kilobytes * 1024 / 2;
  }
  return true;
}

}  // namespace

std::byte* CopyBuffer::get(std::int64_t bytes) {
  if (bytes <= size_) return memory_.get();
  memory_.reset();
  size_ = 0;
  if (!memory_allows(bytes)) return nullptr;
  constexpr std::int64_t kHugePage = std::int64_t{2} << 20;
  const std::int64_t size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  memory_.reset(static_cast<std::byte*>(
      std::aligned_alloc(static_cast<std::size_t>(kHugePage), static_cast<std::size_t>(size))));
  if (!memory_) return nullptr;
  ::madvise(memory_.get(), static_cast<std::size_t>(size), MADV_HUGEPAGE);
  size_ = size;
  return memory_.get();
}

Save::Save(std::filesystem::path target, const Content& content, const std::vector<Share>& data,
           const comm::Communicator& team, CopyBuffer& buffer)
    : target_(std::move(target)), pending_(target_), is_first_(team.rank() == 0) {
  const auto started = Clock::now();
  pending_ += ".pending";
  const BlockShares shares(content.arrays, data, team);
  blocks_ = shares.blocks();
  std::int64_t my_bytes = 0;
  for (const Block& block : blocks_) my_bytes += block.size;
  std::byte* const copy = buffer.get(std::max<std::int64_t>(1, my_bytes));
  std::byte* to = copy;
  for (auto from : shares.bytes()) {
    if (copy != nullptr) {
      std::memcpy(to, from.data(), from.size());
      from = {to, from.size()};
      to += from.size();
    }
    bytes_.push_back(from);
    digests_.push_back(digest_of(from));
  }
  const std::vector<Digest> digests = shares.gather(digests_, team);
  front_ = make_front(content, digests);
  file_bytes_ = static_cast<std::int64_t>(front_.size());
  for (const ArraySpec& array : content.arrays) file_bytes_ += array.n_bytes();
  const bool writes_now = copy == nullptr && my_bytes > 0;
  if (writes_now) {
    write_and_verify();
    state_ = State::written;
  }
  stall_seconds_ = seconds_since(started);
  thread_ = std::thread([this, writes_now] { work(!writes_now); });
}

Save::~Save() {
  {
    const std::lock_guard lock(mutex_);
    give_up_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (is_first_ && state_ != State::committed) ::unlink(pending_.c_str());
}

void Save::work(bool has_to_write) {
  try {
    const auto started = Clock::now();
    if (has_to_write) {
      write_and_verify();
      write_seconds_ = seconds_since(started);
      set(State::written);
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return give_up_ || state_ == State::committing; });
    // A commit that was asked for is made, even if nobody waits for it.
    if (state_ != State::committing) return;
    lock.unlock();
    put_into_place(pending_, target_);
    if (afterwards_) afterwards_();
    set(State::committed);
  } catch (...) {
    failure_ = std::current_exception();
    set(State::failed);
  }
}

void Save::write_and_verify() {
  // Every rank makes the folder and the file: whoever comes first. Rank 0 alone gives it its
  // length.
  make_folder(pending_.parent_path());
  const Descriptor file(pending_, O_RDWR | O_CREAT, 0644);
  const char* hint = "check free space, quota and write permission of the folder";
  if (file.get() < 0) throw_io("cannot write " + pending_.string(), errno, hint);
  const auto begin = static_cast<std::int64_t>(front_.size());
  if (is_first_) {
    if (::ftruncate(file.get(), file_bytes_) != 0) {
      throw_io("cannot write " + pending_.string(), errno, hint);
    }
    write_at(file, std::as_bytes(std::span(front_)), 0, pending_);
  }
  // The disk begins while the rest is still on its way to the system.
  constexpr std::int64_t kPortion = std::int64_t{16} << 20;
  std::int64_t handed_on = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    write_at(file, bytes_[i], begin + blocks_[i].offset, pending_);
    const std::int64_t end = blocks_[i].offset + blocks_[i].size;
    if (i == 0) handed_on = blocks_[i].offset;
    if (end - handed_on < kPortion) continue;
    (void)::sync_file_range(file.get(), begin + handed_on, end - handed_on, SYNC_FILE_RANGE_WRITE);
    handed_on = end;
  }
  sync(file, pending_);

  const Descriptor again(pending_, O_RDONLY);
  if (again.get() < 0) throw_io("cannot read " + pending_.string(), errno, hint);
  const auto differs = [&] {
    throw_io("what was written to " + pending_.string() + " reads back differently", 0,
             "the disk, its driver or the memory of this host is faulty: try another");
  };
  std::vector<std::byte> buffer(std::max<std::size_t>(front_.size(), kBlockBytes));
  if (is_first_) {
    const auto head = std::span(buffer).first(front_.size());
    read_at(again, head, 0, pending_);
    if (!std::ranges::equal(head, std::as_bytes(std::span(front_)))) differs();
  }
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto bytes = std::span(buffer).first(static_cast<std::size_t>(blocks_[i].size));
    read_at(again, bytes, begin + blocks_[i].offset, pending_);
    if (digest_of(bytes) != digests_[i]) differs();
  }
}

void Save::set(State state) {
  {
    const std::lock_guard lock(mutex_);
    state_ = state;
  }
  changed_.notify_all();
}

void Save::rethrow_failure() {
  if (state_ == State::failed) std::rethrow_exception(failure_);
}

bool Save::written() {
  const std::lock_guard lock(mutex_);
  rethrow_failure();
  return state_ != State::writing;
}

template <typename Condition>
void Save::wait_for(Condition condition) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return state_ == State::failed || condition(); });
  rethrow_failure();
}

void Save::wait_written() {
  wait_for([&] { return state_ != State::writing; });
}

void Save::commit(std::function<void()> afterwards) {
  if (!is_first_) return;
  {
    const std::lock_guard lock(mutex_);
    rethrow_failure();
    require(state_ == State::written, "a commit after the writing");
    afterwards_ = std::move(afterwards);
    state_ = State::committing;
  }
  changed_.notify_all();
}

void Save::wait_committed() {
  if (is_first_) wait_for([&] { return state_ == State::committed; });
}

}  // namespace pg::checkpoint
