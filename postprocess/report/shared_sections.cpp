#include "postprocess/report/shared_sections.hpp"

#include <algorithm>

#include "base/version.hpp"

namespace pg::post {
namespace {

/// Where each trial comes from.
Section origins_section(std::span<const Origin> origins) {
  DocumentTable table{{"trial", "launch", "version", "program", "processor", "corpus", "mode"},
                      {},
                      "Programs and corpora by their SHA-256."};
  for (const Origin& o : origins) {
    table.rows.push_back({o.trial, o.launch, o.version, brief(o.program_sha256), o.processor,
                          brief(o.corpus_sha256), o.reproducible});
  }
  return {"Where each trial comes from", {std::move(table)}};
}

}  // namespace

Section list_section(const std::string& title,
                     const std::vector<std::pair<std::string, std::string>>& items) {
  DocumentTable table{{"what", "how"}, {}, ""};
  for (const auto& [name, value] : items) table.rows.push_back({name, value});
  return {title, {std::move(table)}};
}

DocumentTable left_out_table(const std::vector<LeftOut>& left_out) {
  DocumentTable table{{"left out", "why"}, {}, ""};
  for (const LeftOut& l : left_out) table.rows.push_back({l.what, l.reason});
  return table;
}

Document finish_document(Document document, const std::vector<std::string>& drawn,
                         const std::string& plot_problem, std::span<const Origin> origins) {
  for (Section& section : document.sections) {
    std::erase_if(section.blocks, [&](const Block& block) {
      const auto* figure = std::get_if<Figure>(&block);
      return figure != nullptr && (!plot_problem.empty() || std::find(drawn.begin(), drawn.end(),
                                                                      figure->name) == drawn.end());
    });
  }
  const std::string plots = plot_problem.empty()
                                ? "Every picture is in the folder plots as .png and .svg; the .csv "
                                  "beside it holds the plotted numbers."
                                : "Not drawn: " + plot_problem;
  document.sections.push_back(
      {"Plots",
       {Paragraph{plots}, Paragraph{std::string("Written by pgpost ") + kVersion +
                                    " from the trials' metrics.h5."}}});
  document.sections.push_back(origins_section(origins));
  return document;
}

}  // namespace pg::post
