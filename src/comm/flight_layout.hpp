#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// Inside comm only: where things are in the memory of a FlightRecorder and in its file. All of it
// is 64-bit words, so that each can be read and written in one piece.

namespace pg::comm::layout {

constexpr std::uint64_t kMagicValue = 0x544847494c464750;  // "PGFLIGHT" in memory
constexpr std::uint64_t kVersionValue = 1;
constexpr std::size_t kWords = 512;  // one page; what is not named below is zero
constexpr std::size_t kBytes = kWords * sizeof(std::uint64_t);

constexpr std::size_t kHostWords = 8;
constexpr std::size_t kLaunchWords = 8;
constexpr std::size_t kTrialWords = 16;
constexpr std::size_t kOperationWords = 4;

constexpr std::size_t kMagic = 0;
constexpr std::size_t kVersion = 1;
constexpr std::size_t kIdentityHash = 2;
/// Odd while a trial is entered or left.
constexpr std::size_t kGeneration = 3;

// The identity: never changes once the file is there; kIdentityHash covers it.
constexpr std::size_t kRank = 4;
constexpr std::size_t kRanks = 5;
constexpr std::size_t kPid = 6;
constexpr std::size_t kProcessStart = 7;
constexpr std::size_t kBoot = 8;
constexpr std::size_t kNamespace = 9;
constexpr std::size_t kWallOffset = 10;  ///< wall clock less monotonic clock
constexpr std::size_t kStarted = 11;     ///< wall clock
constexpr std::size_t kHost = 12;
constexpr std::size_t kLaunch = kHost + kHostWords;
constexpr std::size_t kIdentityEnd = kLaunch + kLaunchWords;

constexpr std::size_t kState = kIdentityEnd;
constexpr std::size_t kSaid = kState + 1;
constexpr std::size_t kStep = kState + 2;
constexpr std::size_t kSteps = kState + 3;
constexpr std::size_t kLastProgress = kState + 4;
constexpr std::size_t kPhaseStart = kState + 5;  ///< newest sequence number at the trial's start
constexpr std::size_t kNewest = kState + 6;      ///< newest sequence number; 0: none yet
constexpr std::size_t kTrial = kState + 7;

constexpr std::size_t kRing = kTrial + kTrialWords;
constexpr std::size_t kRingEntries = 16;
// Within an entry:
constexpr std::size_t kSequence = 0;  ///< 0 while the entry is being written
constexpr std::size_t kCollectiveBytes = 1;
constexpr std::size_t kFirstRank = 2;
constexpr std::size_t kTeamSize = 3;
constexpr std::size_t kWaitsFor = 4;
constexpr std::size_t kStart = 5;
constexpr std::size_t kEnd = 6;
constexpr std::size_t kOperation = 7;
constexpr std::size_t kEntryWords = kOperation + kOperationWords;
constexpr std::size_t kUsedWords = kRing + kRingEntries * kEntryWords;
static_assert(kUsedWords <= kWords);

/// Where the entry of a sequence number (from 1 on) begins.
constexpr std::size_t entry_of(std::uint64_t sequence) {
  return kRing + static_cast<std::size_t>((sequence - 1) % kRingEntries) * kEntryWords;
}

constexpr std::uint64_t identity_hash(std::span<const std::uint64_t, kWords> words) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, by words
  for (std::size_t i = kRank; i < kIdentityEnd; ++i) hash = (hash ^ words[i]) * 0x100000001b3;
  return hash;
}

}  // namespace pg::comm::layout
