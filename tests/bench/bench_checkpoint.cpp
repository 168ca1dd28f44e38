// Generations beside plain files of as many bytes: bench_checkpoint FOLDER [MEGABYTES [ROUNDS]].
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "checkpoint/generation.hpp"
#include "checkpoint/save.hpp"
#include "comm/communicator.hpp"

namespace {

namespace fs = std::filesystem;

double seconds_of(const std::function<void()>& action) {
  const auto started = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

std::string spread(std::vector<double> values, const char* format) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return fmt::format(fmt::runtime(fmt::format("{0} [{0}-{0}]", format)), at(0.5), at(0), at(1));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("bench_checkpoint FOLDER [MEGABYTES [ROUNDS]]\n", stderr);
    return 64;
  }
  const fs::path folder = argv[1];
  const std::int64_t megabytes = argc > 2 ? std::stoll(argv[2]) : 512;
  const int rounds = argc > 3 ? std::stoi(argv[3]) : 5;
  // Tensors of 4 MB, as of a small model; three of each.
  pg::checkpoint::Content content;
  content.step = 1;
  std::vector<std::byte> bytes(static_cast<std::size_t>(megabytes) << 20);
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    const std::uint64_t word = random();
    std::copy_n(reinterpret_cast<const std::byte*>(&word), 8, &bytes[i]);
  }
  std::vector<std::span<const std::byte>> data;
  constexpr std::size_t kArray = std::size_t{4} << 20;
  for (std::size_t begin = 0; begin < bytes.size(); begin += kArray) {
    content.arrays.push_back(
        {fmt::format("parameters/t{}", data.size()), pg::checkpoint::Type::float32, {1024, 1024}});
    data.push_back(std::span(bytes).subspan(begin, kArray));
  }
  const auto alone = pg::comm::Communicator::alone();
  const auto plain = folder / "plain.bin";
  const auto generation = folder / "step_000000001.h5";
  pg::checkpoint::CopyBuffer buffer;
  std::vector<double> write_ratio, read_ratio, stall, write_s, plain_write_s, read_s, plain_read_s;
  std::vector<std::byte> back(bytes.size());
  std::fill(back.begin(), back.end(), std::byte{1});  // its pages are there
  for (int round = -1; round < rounds; ++round) {     // the first one warms up
    fs::remove(plain);
    fs::remove(generation);
    plain_write_s.push_back(seconds_of([&] {
      const pg::Descriptor file(plain, O_WRONLY | O_CREAT | O_TRUNC, 0644);
      pg::write_at(file, bytes, 0, plain);
      pg::sync(file, plain);
    }));
    double stalled = 0;
    write_s.push_back(seconds_of([&] {
      pg::checkpoint::Save save(generation, content, pg::checkpoint::whole(data), alone, buffer);
      stalled = save.stall_seconds();
      save.wait_written();
      save.commit({});
      save.wait_committed();
    }));
    stall.push_back(stalled);
    plain_read_s.push_back(seconds_of([&] {
      const pg::Descriptor file(plain, O_RDONLY);
      pg::read_at(file, back, 0, plain);
    }));
    read_s.push_back(seconds_of([&] {
      const pg::checkpoint::Generation g(generation);
      for (std::size_t i = 0; i < data.size(); ++i) {
        g.read(i, 0, std::span(back).subspan(i * kArray, kArray));
      }
    }));
    if (round < 0) {
      for (auto* times : {&write_s, &plain_write_s, &read_s, &plain_read_s, &stall}) times->clear();
      continue;
    }
    write_ratio.push_back(plain_write_s.back() / write_s.back());
    read_ratio.push_back(plain_read_s.back() / read_s.back());
  }
  fs::remove(plain);
  fs::remove(generation);
  fmt::print("{} MB, {} rounds, medians [least-most]\n", megabytes, rounds);
  fmt::print("write and sync, seconds: plain {}, generation (copy, hash, write, sync, verify) {}\n",
             spread(plain_write_s, "{:.2f}"), spread(write_s, "{:.2f}"));
  fmt::print("  throughput, generation / plain: {}\n", spread(write_ratio, "{:.2f}"));
  fmt::print("  training stands still: {} s of it\n", spread(stall, "{:.3f}"));
  fmt::print("read, seconds: plain {}, generation (with its hashes) {}\n",
             spread(plain_read_s, "{:.3f}"), spread(read_s, "{:.3f}"));
  fmt::print("  throughput, generation / plain: {}\n", spread(read_ratio, "{:.2f}"));
}
