#include "study/launch_check.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "config/study.hpp"

namespace pg::study {

std::string rank_differences(const std::vector<RankIdentity>& ranks) {
  std::vector<std::string> lines;
  constexpr std::array<std::pair<const char*, std::string RankIdentity::*>, 3> kParts{
      {{"settings", &RankIdentity::settings},
       {"program", &RankIdentity::program},
       {"corpus", &RankIdentity::corpus}}};
  for (const auto& [name, part] : kParts) {
    std::vector<std::string> others;
    for (std::size_t rank = 1; rank < ranks.size(); ++rank) {
      if (ranks[rank].*part == ranks[0].*part) continue;
      others.push_back(fmt::format("rank {} on {}", rank, ranks[rank].host));
    }
    if (others.empty()) continue;
    constexpr std::size_t kShown = 4;
    const std::size_t more = others.size() > kShown ? others.size() - kShown : 0;
    others.resize(others.size() - more);
    lines.push_back(fmt::format("the {} of {}{} differ{} from rank 0's on {}", name,
                                join(others, ", "),
                                more > 0 ? fmt::format(" and {} more", more) : "",
                                std::string_view(name) == "settings" ? "" : "s", ranks[0].host));
  }
  return join(lines, "; ");
}

void require_same_on_all_ranks(const comm::Communicator& world, const config::Study& study,
                               const Build& build, const data::Corpus& corpus) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  const std::vector<std::string> mine = {host.data(), sha256_hex(config::print_study(study)),
                                         build.program_sha256, corpus.sha256};
  std::vector<RankIdentity> ranks;
  for (const std::string& text : world.all_gather(join(mine, "\n"))) {
    const auto parts = split(text, '\n');
    require(parts.size() == mine.size(), "an identity from every rank");
    ranks.push_back({parts[0], parts[1], parts[2], parts[3]});
  }
  const std::string differences = rank_differences(ranks);
  if (!differences.empty()) {
    throw_settings(differences, "the same settings, program and corpus on every rank",
                   "one shared file system, or the same files on every node");
  }
}

}  // namespace pg::study
