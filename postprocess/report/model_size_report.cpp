#include "postprocess/report/model_size_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/text.hpp"
#include "base/version.hpp"
#include "postprocess/report/json_values.hpp"
#include "postprocess/report/shared_sections.hpp"

namespace pg::post {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Json f_test_json(const FTest& test) {
  if (test.d1 < 1 || test.d2 < 1) return nullptr;
  return {{"f", number(test.f)}, {"df", Json::array({test.d1, test.d2})}, {"p", test.p}};
}

Json rival_json(const Rival& r) {
  return {{"law", r.fit.law},
          {"formula", r.fit.formula},
          {"status", to_string(r.fit.status)},
          {"detail", r.fit.detail},
          {"parameters", r.fit.ok() ? parameters_json(r.fit) : Json::array()},
          {"aicc", r.aicc ? number(*r.aicc) : Json(nullptr)},
          {"delta_aicc", r.aicc ? number(r.delta_aicc) : Json(nullptr)},
          {"akaike_weight", r.aicc ? number(r.weight) : Json(nullptr)}};
}

Json law_json(const SizeLaw& law) {
  Json out = {{"arch", law.arch}, {"count", law.count}, {"status", law.status}};
  if (!law.ok()) return out;
  out["n_configurations"] = law.n.size();
  out["df"] = law.df;
  out["b"] = law.b;
  out["b_se"] = number(law.b_se);
  out["b_ci95"] = interval(law.b_ci95);
  out["b_ci_method"] = "t";
  out["ln_a"] = law.ln_a;
  out["ln_a_se"] = number(law.ln_a_se);
  out["ln_a_ci95"] = interval(law.ln_a_ci95);
  out["r2"] = law.r2;
  out["residual_sd"] = law.df >= 1 ? number(law.s) : Json(nullptr);
  out["curvature"] = law.curvature ? number(*law.curvature) : Json(nullptr);
  out["curvature_ci95"] = law.curvature ? interval(law.curvature_ci95) : Json(nullptr);
  out["curvature_test"] = f_test_json(law.curvature_test);
  out["lack_of_fit"] = f_test_json(law.lack_of_fit);
  out["rivals"] = Json::array();
  for (const Rival& r : law.rivals) out["rivals"].push_back(rival_json(r));
  const auto& boot = law.b_seed_bootstrap;
  out["b_seed_bootstrap_ci95"] = boot && boot->ok() ? interval(boot->interval) : Json(nullptr);
  return out;
}

Json difference_json(const ExponentDifference& d) {
  Json out = {{"first", d.first},   {"second", d.second}, {"count", d.count},
              {"status", d.status}, {"word", d.word},     {"margin", kExponentMargin}};
  if (d.status != "ok") return out;
  out["difference"] = d.difference;
  out["se"] = number(d.se);
  out["df"] = d.df;
  out["ci95"] = interval(d.ci95);
  out["p"] = d.p;
  out["equivalence_p"] = d.equivalence.p;
  out["ci90"] = interval(d.equivalence.ci90);
  return out;
}

Json shape_json(const ShapeFit& s) {
  Json out = {{"arch", s.arch}, {"status", s.status}, {"n_configurations", s.n}};
  if (!s.ok()) return out;
  out["df"] = s.df;
  out["ln_d_model"] = {
      {"estimate", s.width}, {"se", number(s.width_se)}, {"ci95", interval(s.width_ci95)}};
  out["ln_n_layers"] = {
      {"estimate", s.depth}, {"se", number(s.depth_se)}, {"ci95", interval(s.depth_ci95)}};
  out["depth_minus_width"] = {{"estimate", s.contrast},
                              {"se", number(s.contrast_se)},
                              {"ci95", interval(s.contrast_ci95)},
                              {"p", s.contrast_p}};
  return out;
}

Json configuration_json(const SizeConfiguration& c) {
  Json out = {{"arch", c.arch},
              {"d_model", c.d_model},
              {"n_layers", c.n_layers},
              {"n_parameters", c.n_parameters},
              {"n_non_embedding", c.n_non_embedding ? Json(*c.n_non_embedding) : Json(nullptr)},
              {"n_seeds", c.trials.size()},
              {"n_diverged", c.n_diverged},
              {"n_failed", c.n_failed}};
  if (!c.usable()) return out;
  out["loss"] = c.loss;
  out["loss_se"] = number(c.loss_se);
  out["loss_se_source"] = c.loss_se_source;
  out["perplexity"] = number(std::exp(c.loss));
  out["tokens"] = c.tokens;
  out["seconds"] = c.seconds;
  return out;
}

Pairs conventions() {
  return {
      {"loss", "final held-out loss in nats per token; perplexity is its exponential"},
      {"perplexity = a N^b",
       "least squares of the loss on ln N, one point for each configuration "
       "(mean over seeds), equal weights; t intervals with n - 2 degrees of "
       "freedom"},
      {"N",
       "all parameters; non-embedding leaves out token embedding, learned positions and an "
       "untied head"},
      {"r2", "of the loss on ln N; it is no evidence for the law: see curvature and lack of fit"},
      {"aicc",
       "laws are compared as densities of the loss: likelihoods of ln L carry the "
       "Jacobian's term; k counts sigma; not defined for n <= k + 1"},
      {"same exponent", fmt::format("two one-sided tests with a margin of {}; different: p < 0.05",
                                    kExponentMargin)},
      {"d_model against n_layers",
       "regression of the loss on ln d_model and ln n_layers: the effect of the same factor in "
       "either, not of the same number of parameters"},
      {"predictions",
       "met: the whole 95 % interval lies in the range; not_met: outside; else indeterminate; no "
       "adjustment for their number"},
  };
}

std::string range(const Interval& ci, const char* format = "{:.4g}") {
  const auto end = [&](double v) {
    return std::isfinite(v) ? fmt::format(fmt::runtime(format), v) : std::string("unbounded");
  };
  if (!std::isfinite(ci.low) && !std::isfinite(ci.high)) return "unbounded";
  return "[" + end(ci.low) + ", " + end(ci.high) + "]";
}

std::string count_name(const std::string& count) {
  return count == "total" ? "all parameters" : "non-embedding parameters";
}

std::string f_text(const FTest& t) {
  if (t.d1 < 1 || t.d2 < 1) return "not testable";
  return fmt::format("F({}, {}) = {:.3g}, p = {:.2g}", t.d1, t.d2, t.f, t.p);
}

/// The sentences that stand alone at the top: one for each architecture.
std::string headline(const SizeLaw& law) {
  if (!law.ok()) return fmt::format("{}: no law of size: {}.", law.arch, law.status);
  if (law.df < 1) {
    return fmt::format("{}: two sizes give perplexity ~ N^{:.4f} and no error: indeterminate.",
                       law.arch, law.b);
  }
  const bool falls = law.b_ci95.high < 0;
  const bool rises = law.b_ci95.low > 0;
  return fmt::format("{}: perplexity ~ N^{:.4f}, 95 % interval {} over {} configurations: {}.",
                     law.arch, law.b, range(law.b_ci95), law.n.size(),
                     falls   ? "larger models are better"
                     : rises ? "larger models are worse"
                             : "indeterminate: the interval contains 0");
}

/// A paragraph, built where it stays.
void add_paragraph(Section& s, std::string text, bool strong) {
  auto& paragraph = std::get<Paragraph>(s.blocks.emplace_back(std::in_place_type<Paragraph>));
  paragraph.text = std::move(text);
  paragraph.strong = strong;
}

Section summary(const ModelSizeAnalysis& a, const TrialTable& table) {
  Section s;
  if (!table.question.empty()) add_paragraph(s, table.question, false);
  if (!table.selection.empty()) {
    add_paragraph(s, "Only trials with " + table.selection + ".", false);
  }
  for (const SizeLaw& law : a.laws) {
    if (law.count == "total") add_paragraph(s, headline(law), true);
  }
  for (const ExponentDifference& d : a.differences) {
    if (d.count != "total") continue;
    const std::string pair = fmt::format("Exponents of {} and {}: ", d.first, d.second);
    add_paragraph(
        s,
        pair + (d.status == "ok" ? fmt::format("{} (difference {:.4f}, 95 % interval {}).", d.word,
                                               d.difference, range(d.ci95))
                                 : fmt::format("indeterminate ({}).", d.status)),
        true);
  }
  for (const SizeLaw& law : a.laws) {
    if (law.count != "total") continue;
    s.blocks.emplace_back(Figure{
        a.prefix_of(law.arch) + "scaling_laws",
        "Perplexity against parameters, width and depth, and training time against parameters. "
        "Bands are 95 %: shaded for the mean, dashed for one more model."});
  }
  return s;
}

Section warnings(const ModelSizeAnalysis& a, const TrialTable& table) {
  Section s{"Warnings", {}};
  BulletList list{table.warnings};
  list.items.insert(list.items.end(), a.warnings.begin(), a.warnings.end());
  if (!list.items.empty()) s.blocks.emplace_back(std::move(list));
  return s;
}

Section laws(const ModelSizeAnalysis& a) {
  Section s{"perplexity = a N^b", {}};
  DocumentTable t{{"architecture", "N", "b", "95 % interval", "a", "df", "R2", "curvature",
                   "lack of fit", "b by seeds alone"},
                  {},
                  ""};
  for (const SizeLaw& law : a.laws) {
    if (!law.ok()) {
      t.rows.push_back({law.arch, count_name(law.count), "", law.status, "", "", "", "", "", ""});
      continue;
    }
    const auto& boot = law.b_seed_bootstrap;
    t.rows.push_back({law.arch, count_name(law.count), fmt::format("{:.4f}", law.b),
                      range(law.b_ci95), fmt::format("{:.4g}", std::exp(law.ln_a)),
                      std::to_string(law.df), fmt::format("{:.4f}", law.r2),
                      f_text(law.curvature_test), f_text(law.lack_of_fit),
                      !boot        ? "one seed"
                      : boot->ok() ? range(boot->interval)
                                   : boot->status});
  }
  s.blocks.emplace_back(std::move(t));
  for (const SizeLaw& law : a.laws) {
    if (law.rivals.empty()) continue;
    DocumentTable r{
        {"law", "formula (y: loss)", "status", "AICc", "difference", "weight", "parameters"},
        {},
        fmt::format("Rival laws, {}, {}", law.arch, count_name(law.count))};
    for (const Rival& rival : law.rivals) {
      std::vector<std::string> parameters;
      if (rival.fit.ok()) {
        for (const LawParameter& p : rival.fit.parameters) {
          parameters.push_back(fmt::format("{} = {:.4g} {}", p.name, p.estimate, range(p.ci95)));
        }
      }
      const bool has = rival.aicc.has_value();
      r.rows.push_back(
          {rival.fit.law, rival.fit.formula,
           rival.fit.ok() ? "ok" : to_string(rival.fit.status) + ": " + rival.fit.detail,
           has ? fmt::format("{:.2f}", *rival.aicc) : "not defined",
           has ? fmt::format("{:.2f}", rival.delta_aicc) : "",
           has ? fmt::format("{:.2f}", rival.weight) : "", join(parameters, "; ")});
    }
    s.blocks.emplace_back(std::move(r));
    if (law.count == "total") {
      s.blocks.emplace_back(Figure{
          a.prefix_of(law.arch) + "loss_vs_parameters",
          "Loss against parameters with the best of the rival laws (band) and the others. Where "
          "they part beyond the data, an extrapolation rests on the choice of law."});
    }
  }
  return s;
}

Section differences(const ModelSizeAnalysis& a) {
  Section s{"Architectures side by side", {}};
  if (a.differences.empty()) return s;
  DocumentTable t{
      {"first", "second", "N", "difference of b", "95 % interval", "p", "equivalence p", "word"},
      {},
      ""};
  for (const ExponentDifference& d : a.differences) {
    if (d.status != "ok") {
      t.rows.push_back({d.first, d.second, count_name(d.count), "", d.status, "", "", d.word});
      continue;
    }
    t.rows.push_back({d.first, d.second, count_name(d.count), fmt::format("{:.4f}", d.difference),
                      range(d.ci95), fmt::format("{:.3g}", d.p),
                      fmt::format("{:.3g}", d.equivalence.p), d.word});
  }
  s.blocks.emplace_back(std::move(t));
  return s;
}

Section shapes(const ModelSizeAnalysis& a) {
  Section s{"Width against depth", {}};
  DocumentTable t{{"architecture", "loss per ln d_model", "95 % interval", "loss per ln n_layers",
                   "95 % interval", "depth less width", "95 % interval", "p"},
                  {},
                  "Above 0, depth less width says that a factor of d_model lowers the loss by more "
                  "than the same factor of n_layers."};
  for (const ShapeFit& f : a.shapes) {
    if (!f.ok()) {
      t.rows.push_back({f.arch, "", f.status, "", "", "", "", ""});
      continue;
    }
    t.rows.push_back({f.arch, fmt::format("{:.4f}", f.width), range(f.width_ci95),
                      fmt::format("{:.4f}", f.depth), range(f.depth_ci95),
                      fmt::format("{:.4f}", f.contrast), range(f.contrast_ci95),
                      fmt::format("{:.3g}", f.contrast_p)});
  }
  if (!t.rows.empty()) s.blocks.emplace_back(std::move(t));
  return s;
}

Section predictions(const ModelSizeAnalysis& a) {
  Section s{"What the sources predict", {}};
  DocumentTable t{
      {"architecture", "claim", "source", "measured", "95 % interval", "word", "why"}, {}, ""};
  for (const SizePrediction& p : a.predictions) {
    const bool count = p.name == "hundred_million" && p.estimate;
    t.rows.push_back({p.arch, p.claim, p.source,
                      count        ? grouped(static_cast<long long>(*p.estimate))
                      : p.estimate ? fmt::format("{:.4g}", *p.estimate)
                                   : "",
                      count ? "" : range(p.ci95), p.word, p.detail});
  }
  if (!t.rows.empty()) s.blocks.emplace_back(std::move(t));
  return s;
}

Section configurations(const ModelSizeAnalysis& a) {
  Section s{"Configurations", {}};
  DocumentTable t{{"architecture", "d_model", "n_layers", "parameters", "non-embedding", "seeds",
                   "diverged", "failed", "loss", "standard error", "perplexity", "seconds"},
                  {},
                  ""};
  for (const SizeConfiguration& c : a.configurations) {
    const bool has = c.usable();
    t.rows.push_back(
        {c.arch, std::to_string(c.d_model), std::to_string(c.n_layers), grouped(c.n_parameters),
         c.n_non_embedding ? grouped(*c.n_non_embedding) : "not recorded",
         std::to_string(c.trials.size()), std::to_string(c.n_diverged), std::to_string(c.n_failed),
         has ? fmt::format("{:.4f}", c.loss) : "",
         has && std::isfinite(c.loss_se) ? fmt::format("{:.2g} {}", c.loss_se, c.loss_se_source)
         : has                           ? c.loss_se_source
                                         : "",
         has ? fmt::format("{:.4g}", std::exp(c.loss)) : "",
         has ? fmt::format("{:.3g}", c.seconds) : ""});
  }
  s.blocks.emplace_back(std::move(t));
  for (const SizeLaw& law : a.laws) {
    if (law.count != "total") continue;
    s.blocks.emplace_back(Figure{a.prefix_of(law.arch) + "loss_vs_flops",
                                 "Loss against training compute. A network above the line costs "
                                 "more than its loss is worth beside the others."});
    s.blocks.emplace_back(Figure{a.prefix_of(law.arch) + "loss_vs_time",
                                 "Loss against training time, as it was measured on the ranks of "
                                 "this run."});
  }
  return s;
}

std::vector<LeftOut> left_out(const ModelSizeAnalysis& a, const TrialTable& table) {
  std::vector<LeftOut> list = table.left_out;
  for (const SizeTrial& trial : a.trials) {
    if (trial.finished) continue;
    list.push_back({trial.name, (trial.diverged ? "diverged" : "failed") +
                                    (trial.reason.empty() ? "" : ": " + trial.reason)});
  }
  return list;
}

}  // namespace

std::string model_size_json(const ModelSizeAnalysis& analysis, const TrialTable& table) {
  Json out = {{"format_version", 1},
              {"kind", "model_size"},
              {"tool", std::string("pgpost ") + kVersion},
              {"study", table.name},
              {"question", table.question},
              {"selection", table.selection}};
  const auto fill = [&](const char* name, const auto& list, auto to_json) {
    out[name] = Json::array();
    for (const auto& item : list) out[name].push_back(to_json(item));
  };
  fill("laws", analysis.laws, law_json);
  fill("exponent_differences", analysis.differences, difference_json);
  fill("shapes", analysis.shapes, shape_json);
  fill("predictions", analysis.predictions, [](const SizePrediction& p) -> Json {
    return {{"name", p.name},
            {"arch", p.arch},
            {"source", p.source},
            {"claim", p.claim},
            {"estimate", p.estimate ? number(*p.estimate) : Json(nullptr)},
            {"ci95", interval(p.ci95)},
            {"word", p.word},
            {"detail", p.detail}};
  });
  fill("configurations", analysis.configurations, configuration_json);
  out["excluded"] = left_out_json(left_out(analysis, table));
  out["warnings"] = table.warnings;
  for (const std::string& w : analysis.warnings) out["warnings"].push_back(w);
  out["conventions"] = pairs_json(conventions());
  out["trials"] = origins_json(table.origins());
  return out.dump(2) + "\n";
}

Document model_size_document(const ModelSizeAnalysis& analysis, const TrialTable& table) {
  Document document{"Results: " + (table.name.empty() ? "model size" : table.name), {}};
  const auto add = [&](Section section) {
    if (!section.blocks.empty()) document.sections.push_back(std::move(section));
  };
  add(summary(analysis, table));
  add(warnings(analysis, table));
  add(laws(analysis));
  add(differences(analysis));
  add(shapes(analysis));
  add(predictions(analysis));
  add(configurations(analysis));
  const std::vector<LeftOut> left = left_out(analysis, table);
  if (!left.empty()) add({"Left out", {left_out_table(left)}});
  add(list_section("Conventions", conventions()));
  add(list_section("Provenance", origin_values(table.origins())));
  return document;
}

}  // namespace pg::post
