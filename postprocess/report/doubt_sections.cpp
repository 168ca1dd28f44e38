#include "postprocess/report/doubt_sections.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "postprocess/report/written.hpp"

namespace pg::post {
namespace {

std::string parameters_text(const LawFit& fit) {
  std::vector<std::string> parts;
  for (const LawParameter& p : fit.parameters) {
    parts.push_back(
        fmt::format("{} = {:.4g} [{:.4g}, {:.4g}]", p.name, p.estimate, p.ci95.low, p.ci95.high));
  }
  return join(parts, "; ");
}

std::string interval_text(const BootstrapInterval& b) {
  return b.ok() ? fmt::format("[{:.3f}, {:.3f}]", b.interval.low, b.interval.high) : b.status;
}

}  // namespace

Section rivals_section(const ScalingFit& fit) {
  DocumentTable table;
  table.columns = {"law", "formula", "AICc (above the best); weight", "parameters, 95 %"};
  for (const Rival& r : fit.rivals) {
    table.rows.push_back({r.fit.law, r.fit.formula, rival_text(r),
                          r.fit.ok() ? parameters_text(r.fit) : std::string()});
  }
  return {"Is it a power law?",
          {table,
           Paragraph{"Laws fitted to the same interpolated optima, in ln LR. A difference below 2 "
                     "decides nothing; with few batches AICc favours few parameters."}}};
}

Section design_section(const ScalingFit& fit) {
  BulletList list;
  for (const Separation& pair : fit.design.pairs) list.items.push_back(separation_text(pair));
  if (!fit.design.caveat.empty()) list.items.push_back(fit.design.caveat);
  return {
      "What this design could see",
      {Paragraph{fmt::format("The headline's standard error is {:.3g}: a beta that differs from "
                             "a hypothesis by {:.3g} is found with a power of 80 %.",
                             fit.design.beta_se, fit.design.detectable)},
       list}};
}

Section bootstrap_section(const ScalingFit& fit) {
  DocumentTable table;
  table.columns = {"estimator", "studentised", "percentile", "replicates", "seed"};
  for (const ExponentBootstrap* b : {&fit.surface_bootstrap, &fit.line_bootstrap}) {
    if (!b->ok()) {
      table.rows.push_back({b->name, b->status, "", "", ""});
      continue;
    }
    table.rows.push_back({b->name, interval_text(b->studentised), interval_text(b->percentile),
                          std::to_string(b->n_replicates), std::to_string(b->seed)});
  }
  return {
      "Bootstrap of the exponent",
      {table, Paragraph{"Residuals are resampled, the batches stay. The studentised interval is "
                        "the one to quote; percentile intervals of so few points are too "
                        "short."}}};
}

}  // namespace pg::post
