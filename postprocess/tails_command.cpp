#include "postprocess/tails_command.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "base/files.hpp"
#include "base/text.hpp"
#include "postprocess/plots/gradient_tails.hpp"
#include "postprocess/report/tails_report.hpp"

namespace pg::post {

ExitCode tails_command(const RunRequest& request) {
  // Every trial stands for itself, nothing is pooled: a mixture of origins is a warning here.
  constexpr bool kAllowMixed = true;
  const TailAnalysis analysis =
      analyse_tails(load_trials(request.runs, request.where, kAllowMixed));
  const std::filesystem::path output = output_of(request, join(request.where, ", "));
  const std::string json = tails_json(analysis);
  write_file(output / "tails.json", json);
  write_file(output / "tails.csv", to_csv(tails_csv(analysis)));
  std::string plot_problem;
  try {
    draw(output / "plots", gradient_tails(analysis));
  } catch (const IoError& error) {
    plot_problem = error.what();
  }
  fmt::print("{}", request.json ? json : tails_text(analysis));
  if (!request.json) {
    fmt::print("\nwritten to {}: tails.json, tails.csv{}\n", output.string(),
               plot_problem.empty() ? ", plots/gradient_tails" : "");
  }
  for (const LeftOut& l : analysis.left_out) {
    fmt::print(stderr, "pgpost: left out {}: {}\n", l.what, l.reason);
  }
  if (!plot_problem.empty()) fmt::print(stderr, "pgpost: {}\n", plot_problem);
  if (!analysis.left_out.empty()) return ExitCode::bad_data;
  return plot_problem.empty() ? ExitCode::done : ExitCode::input_output;
}

}  // namespace pg::post
