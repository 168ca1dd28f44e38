#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/layout.hpp"
#include "checkpoint/shares.hpp"
#include "comm/communicator.hpp"

namespace pg::checkpoint {

/// Memory for the copies that generations are written from, kept from one to the next: most of the
/// time that training stands still would go into getting it from the system.
class CopyBuffer {
 public:
  /// At least this many bytes, uninitialised; null where the system has too little to spare.
  std::byte* get(std::int64_t bytes);

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::int64_t size_ = 0;
};

/// One generation on its way to the disk. Every rank of a team writes its share of the bytes into
/// one file beside the target, syncs it, reads it again and compares; when all have, rank 0 renames
/// it. The writing is done by a thread that sends no message, so training goes on meanwhile: only
/// the copy (and its hash) holds it up. Where memory is too short for the copy, the constructor
/// itself writes.
class Save {
 public:
  /// `data`: what this rank has of every array of `content`, in host memory, free to change after
  /// the return. `buffer` outlives this and serves nobody else meanwhile. Collective over `team`
  /// (small messages, and the ends of blocks that begin in another rank's share). Throws IoError.
  Save(std::filesystem::path target, const Content& content, const std::vector<Share>& data,
       const comm::Communicator& team, CopyBuffer& buffer);
  /// Waits for the thread; removes what was not committed.
  ~Save();
  Save(const Save&) = delete;
  Save& operator=(const Save&) = delete;

  /// Whether this rank's share is on disk and verified. Throws what went wrong meanwhile.
  [[nodiscard]] bool written();
  void wait_written();
  /// After every rank has written: rank 0 renames the file into place and calls `afterwards`, in
  /// the thread. Does nothing on the others.
  void commit(std::function<void()> afterwards);
  /// Returns when commit() is done; throws what went wrong.
  void wait_committed();

  /// Seconds that the constructor took: what training stood still.
  [[nodiscard]] double stall_seconds() const { return stall_seconds_; }
  /// Seconds from then until this rank had written.
  [[nodiscard]] double write_seconds() const { return write_seconds_; }

 private:
  enum class State { writing, written, committing, committed, failed };
  void work(bool has_to_write);
  void write_and_verify();
  void set(State state);
  void rethrow_failure();
  template <typename Condition>
  void wait_for(Condition condition);

  std::filesystem::path target_;
  std::filesystem::path pending_;
  bool is_first_;      ///< rank 0 of the team
  std::string front_;  ///< bytes before the arrays
  std::int64_t file_bytes_ = 0;
  std::vector<Block> blocks_;                      ///< mine
  std::vector<Digest> digests_;                    ///< of my blocks
  std::vector<std::span<const std::byte>> bytes_;  ///< of my blocks
  std::function<void()> afterwards_;
  double stall_seconds_ = 0;
  double write_seconds_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::writing;
  bool give_up_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace pg::checkpoint
