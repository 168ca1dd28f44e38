#include "postprocess/run_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/files.hpp"
#include "base/text.hpp"
#include "postprocess/fits/size_trials.hpp"
#include "postprocess/plots/plots.hpp"
#include "postprocess/report/gating_report.hpp"
#include "postprocess/report/model_size_report.hpp"
#include "postprocess/report/plain_text.hpp"
#include "postprocess/report/shared_sections.hpp"
#include "postprocess/report/written.hpp"

namespace pg::post {
namespace {

namespace fs = std::filesystem;

/// What an analysis comes to, ready to be written.
struct Conclusion {
  fs::path output;
  NamedText json;
  std::string text;
  Document document;
  std::vector<Picture> pictures;
  std::vector<NamedText> files;  ///< further ones, that a source document names
  std::vector<LeftOut> damaged;
  std::vector<Origin> origins;
  bool clean = true;  ///< nothing is in doubt
};

Conclusion conclude_batch_scaling(const RunRequest& request) {
  const RunResults results = load_results(request.runs.front(), request.where, request.allow_mixed);
  ScalingFit fit = fit_scaling(results);
  weigh_exponent(results, {}, fit);
  const Assessment assessment = assess(results, fit);
  Conclusion c;
  c.json = {"scaling_fit.json", fit_json(results, fit, assessment)};
  c.text = fit_text(fit, assessment);
  c.document = results_document(results, fit, assessment);
  c.pictures = pictures_of(results, fit);
  for (const record::DamagedTrial& d : results.damaged) {
    c.damaged.push_back({d.id + " (" + d.file.string() + ")", d.reason});
  }
  c.origins = results.origins;
  c.clean = nothing_in_doubt(fit, assessment);
  return c;
}

Conclusion conclude_gating(TrialTable table) {
  Conclusion c;
  const GatingAnalysis analysis = analyse_gating(std::move(table));
  const GatingConclusions conclusions = conclude(analysis);
  c.json = {analysis.table.analysis.kind + ".json", gating_json(analysis, conclusions)};
  c.document = gating_document(analysis, conclusions);
  c.pictures = pictures_of(analysis);
  c.clean = analysis.left_out.empty() && analysis.warnings.empty();
  return c;
}

Conclusion conclude_model_size(TrialTable table) {
  Conclusion c;
  ModelSizeAnalysis analysis = fit_model_size(size_trials(table));
  weigh_size_laws(analysis);
  c.json = {"model_size.json", model_size_json(analysis, table)};
  c.document = model_size_document(analysis, table);
  c.pictures = pictures_of(analysis);
  c.files = model_size_files(analysis);
  c.clean = table.left_out.empty() && table.warnings.empty() && analysis.warnings.empty();
  return c;
}

std::string kind_of(const RunRequest& request) {
  if (!request.kind.empty()) return request.kind;
  const auto study = read_study(request.runs.front());
  return study ? study->analysis.kind : config::AnalysisSettings{}.kind;
}

Conclusion conclude_runs(const RunRequest& request) {
  const fs::path output = output_of(request, join(request.where, ", "));
  const std::string kind = kind_of(request);
  Conclusion c;
  if (kind == "gating" || kind == "arms" || kind == "model_size") {
    TrialTable table = load_trials(request.runs, request.where, request.allow_mixed);
    table.analysis.kind = kind;
    const std::vector<LeftOut> damaged = table.left_out;
    const std::vector<Origin> origins = table.origins();
    c = kind == "model_size" ? conclude_model_size(std::move(table))
                             : conclude_gating(std::move(table));
    c.text = to_plain_text(c.document);
    c.damaged = damaged;
    c.origins = origins;
  } else if (request.runs.size() == 1) {
    c = conclude_batch_scaling(request);
  } else {
    throw_settings("several run directories with analysis.kind: " + kind,
                   "gating, arms or model_size: the analyses that compare runs",
                   "--kind gating, or pgpost fit for each run");
  }
  c.output = output;
  return c;
}

std::vector<std::string> names_of(const std::vector<Picture>& pictures) {
  std::vector<std::string> names;
  for (const Picture& p : pictures) names.push_back(p.name);
  return names;
}

void draw_all(const Conclusion& c) {
  for (const Picture& p : c.pictures) draw(c.output / "plots", p);
}

/// Returns why there are no plots; empty when they are drawn.
std::string try_plots(const Conclusion& c) {
  try {
    draw_all(c);
    return "";
  } catch (const IoError& error) {
    return error.what();
  }
}

void write_all(const Conclusion& c, const std::string& plot_problem) {
  const Document document =
      finish_document(c.document, names_of(c.pictures), plot_problem, c.origins);
  write_file(c.output / c.json.name, c.json.text);
  for (const NamedText& file : c.files) write_file(c.output / file.name, file.text);
  write_file(c.output / "RESULTS.md", to_markdown(document));
  write_file(c.output / "report.html", to_html(document, c.output / "plots"));
}

std::string written_names(const Conclusion& c) {
  std::string names = c.json.name + ", RESULTS.md, report.html";
  constexpr std::size_t kMostNamed = 3;
  for (std::size_t i = 0; i < std::min(kMostNamed, c.files.size()); ++i) {
    names += ", " + c.files[i].name;
  }
  if (c.files.size() > kMostNamed) {
    names += fmt::format(" and {} more of the kind", c.files.size() - kMostNamed);
  }
  return names;
}

/// Everything was written, but some input was damaged or in doubt: said on stderr, and the exit
/// code tells.
ExitCode end(const Conclusion& c, bool strict) {
  for (const LeftOut& d : c.damaged) {
    fmt::print(stderr, "pgpost: left out {}: {}\n", d.what, d.reason);
  }
  return !c.damaged.empty() || (strict && !c.clean) ? ExitCode::bad_data : ExitCode::done;
}

}  // namespace

fs::path output_of(const RunRequest& request, const std::string& selection) {
  if (!request.output.empty()) return request.output;
  if (request.runs.size() > 1) {
    throw_settings(fmt::format("{} run directories and no --output", request.runs.size()),
                   "--output DIR: where the common results go", "pgpost compare A B --output C");
  }
  if (selection.empty()) return request.runs.front();
  std::string folder = "where " + selection;
  std::replace(folder.begin(), folder.end(), '/', '-');  // a corpus path may be the value
  return request.runs.front() / folder;
}

ExitCode fit_runs(const RunRequest& request) {
  const Conclusion c = conclude_runs(request);
  const std::string plot_problem = try_plots(c);
  write_all(c, plot_problem);
  fmt::print("{}", request.json ? c.json.text : c.text);
  if (!request.json) {
    fmt::print("\nwritten to {}: {}{}\n", c.output.string(), written_names(c),
               plot_problem.empty() ? ", plots/" : "");
  }
  const ExitCode code = end(c, request.strict);
  if (plot_problem.empty()) return code;
  fmt::print(stderr, "pgpost: {}\n", plot_problem);
  return code == ExitCode::done ? ExitCode::input_output : code;
}

ExitCode plot_runs(const RunRequest& request) {
  const Conclusion c = conclude_runs(request);
  draw_all(c);
  fmt::print("written to {}\n", (c.output / "plots").string());
  return end(c, request.strict);
}

ExitCode report_runs(const RunRequest& request) {
  const Conclusion c = conclude_runs(request);
  const bool drawn = std::all_of(c.pictures.begin(), c.pictures.end(), [&](const Picture& p) {
    return fs::exists(c.output / "plots" / (p.name + ".png"));
  });
  write_all(c, drawn ? "" : "run pgpost plot");
  fmt::print("written to {}: {}\n", c.output.string(), written_names(c));
  return end(c, request.strict);
}

}  // namespace pg::post
