#define BOOST_TEST_MODULE config
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <string>

#include "base/error.hpp"
#include "base/files.hpp"
#include "config/fields.hpp"
#include "config/study.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::config;

const fs::path kConfigs = fs::path(PG_SOURCE_DIR) / "configs";

/// A study file that lives as long as the test.
class StudyFile {
 public:
  explicit StudyFile(const std::string& text)
      : path_(fs::temp_directory_path() / ("pg-config-" + std::to_string(::getpid()) + ".yaml")) {
    pg::write_file(path_, text);
  }
  ~StudyFile() { fs::remove(path_); }
  [[nodiscard]] Study load(const LoadOptions& options = {}) const {
    return load_study(path_, options);
  }
  [[nodiscard]] std::string complaint(const LoadOptions& options = {}) const {
    try {
      (void)load(options);
    } catch (const pg::InvalidInput& error) {
      BOOST_TEST(static_cast<int>(error.exit_code()) == 64);
      return error.what();
    }
    return {};
  }

 private:
  fs::path path_;
};

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_default_study_is_the_grid_of_the_source) {
  const Study study = load_study(kConfigs / "studies" / "batch_scaling.yaml", {});
  BOOST_TEST(study.axes.size() == 2U);
  BOOST_TEST(study.axes[0].path == "train.batch");
  BOOST_TEST((study.axes[0].values ==
              std::vector<std::string>{"8", "16", "32", "64", "128", "256", "512"}));
  BOOST_TEST(study.axes[1].values.size() == 7U);
  BOOST_TEST(study.axes[1].values.front() == "3e-05");
  BOOST_TEST(study.axes[1].values.back() == "0.03");
  BOOST_TEST(study.base.train.steps == 5000);
  BOOST_TEST(study.base.schedule.warmup_steps == 100);
  BOOST_TEST(study.base.optimizer.beta2 == 0.999);
  BOOST_TEST(study.base.optimizer.weight_decay == 0.01);
  BOOST_TEST(study.base.optimizer.clip == 1.0);
  BOOST_TEST(study.base.train.seed == 42U);
  BOOST_TEST(study.base.model.d_ff == 128);
}

BOOST_AUTO_TEST_CASE(quick_changes_the_size_and_keeps_the_49_cells) {
  const Study study =
      load_study(kConfigs / "studies" / "batch_scaling.yaml", {.quick = true, .overrides = {}});
  BOOST_TEST(study.base.train.steps < 1000);
  BOOST_TEST(study.axes[0].values.size() * study.axes[1].values.size() == 49U);
  BOOST_TEST(study.name != "batch_scaling");
}

BOOST_AUTO_TEST_CASE(every_study_loads_and_has_a_quick_version) {
  std::size_t n = 0;
  for (const auto& entry : fs::directory_iterator(kConfigs / "studies")) {
    BOOST_TEST_CONTEXT(entry.path().filename()) {
      const Study study = load_study(entry.path(), {});
      const Study quick = load_study(entry.path(), {.quick = true, .overrides = {}});
      BOOST_TEST(study.name == entry.path().stem().string());
      BOOST_TEST(quick.name == study.name + "_quick");
      BOOST_TEST(quick.base.train.steps < study.base.train.steps);
      ++n;
    }
  }
  BOOST_TEST(n >= 18U);
}

BOOST_AUTO_TEST_CASE(command_line_wins_over_study_over_preset_over_default) {
  const StudyFile file(
      "name: x\npreset: nano-upstream\nmodel:\n  n_heads: 2\ntrain:\n  steps: 200\n");
  Study study = file.load({.quick = false, .overrides = {"train.steps=300"}});
  BOOST_TEST(study.base.model.d_ff == 256);   // preset over default 128
  BOOST_TEST(study.base.model.n_heads == 2);  // study over preset 4
  BOOST_TEST(study.base.train.steps == 300);
  BOOST_TEST(file.load().base.train.steps == 200);
}

BOOST_AUTO_TEST_CASE(the_presets_are_the_networks_they_name) {
  const auto model = [](const std::string& preset) {
    return StudyFile("name: x\npreset: " + preset + "\n").load().base.model;
  };
  BOOST_TEST(model("nano").arch == "nano");
  BOOST_TEST(model("nano").dropout == 0.0);
  const ModelSettings gpt = model("gpt-mini");
  BOOST_TEST(gpt.arch == "gpt");
  BOOST_TEST(gpt.positions == "learned");
  BOOST_TEST(gpt.d_ff == 256);
  BOOST_TEST(gpt.norm_eps == 1e-5);
  BOOST_TEST(gpt.dropout == 0.1);
}

BOOST_AUTO_TEST_CASE(all_problems_are_reported_at_once_with_their_lines) {
  const StudyFile file(
      "name: x\n"
      "trian:\n"
      "  steps: 5\n"
      "model:\n"
      "  n_layers: many\n"
      "  d_modle: 64\n"
      "optimizer:\n"
      "  lr: -1\n"
      "schedule:\n"
      "  kind: cosin\n"
      "axes:\n"
      "  train.batch: []\n"
      "  optimizer.rl: [1]\n"
      "  data.corpus: [a, b]\n");
  const std::string text = file.complaint();
  BOOST_TEST_MESSAGE(text);
  for (const char* part :
       {"8 problems", ".yaml:2: unknown setting 'trian'", "did you mean train",
        ".yaml:5: model.n_layers", "found 'many', expected an integer >= 1",
        ".yaml:6: unknown setting 'model.d_modle'", "did you mean model.d_model?",
        ".yaml:8: optimizer.lr: found '-1', expected a number > 0", ".yaml:10: schedule.kind",
        "did you mean cosine?", ".yaml:12: axes.train.batch", ".yaml:13: axes.optimizer.rl",
        "did you mean optimizer.lr?", ".yaml:14: axes.data.corpus"}) {
    BOOST_TEST(mentions(text, part), "missing: " << part);
  }
}

BOOST_AUTO_TEST_CASE(impossible_combinations_are_found_in_the_base_and_along_the_axes) {
  const StudyFile file("name: x\naxes:\n  model.n_heads: [4, 5]\n");
  BOOST_TEST(mentions(file.complaint(), "no multiple of model.n_heads = 5"));
  const StudyFile half("name: x\nmodel: {arch: gpt, causal: false}\n");
  BOOST_TEST(mentions(half.complaint(), "model.positions = rope with model.arch = gpt"));
  BOOST_TEST(mentions(half.complaint(), "model.causal = false with model.arch = gpt"));
  const StudyFile certain("name: x\nmodel: {dropout: 1}\n");
  BOOST_TEST(mentions(certain.complaint(), "found '1', expected a number >= 0 and < 1"));
  const StudyFile steps("name: x\ntrain:\n  steps: 50\n");
  BOOST_TEST(mentions(steps.complaint(), "schedule.warmup_steps = 100 exceeds train.steps = 50"));
  BOOST_TEST(mentions(steps.complaint(), "eval.tail_steps = 100 exceeds train.steps = 50"));
}

BOOST_AUTO_TEST_CASE(broken_yaml_and_repeated_keys_and_values_are_named) {
  BOOST_TEST(mentions(StudyFile("name: [x\n").complaint(), "not valid YAML"));
  BOOST_TEST(mentions(StudyFile("train:\n  steps: 500\n  steps: 600\n").complaint(), "twice"));
  BOOST_TEST(mentions(StudyFile("axes:\n  optimizer.lr: [1e-3, 0.001]\n").complaint(),
                      "0.001 appears twice"));
  BOOST_TEST(mentions(StudyFile("preset: nonesuch\n").complaint(), "no model preset 'nonesuch'"));
  // Where it was looked for, beside the study first.
  BOOST_TEST(mentions(StudyFile("preset: nonesuch\n").complaint(), "models/nonesuch.yaml"));
  BOOST_TEST(mentions(StudyFile("just text\n").complaint(), "expected: a YAML mapping"));
  BOOST_TEST(
      mentions(StudyFile("name: x\n").complaint({.quick = true, .overrides = {}}), "--quick"));
  BOOST_TEST(mentions(StudyFile("name: x\n").complaint({.quick = false, .overrides = {"abc"}}),
                      "expected path=value"));
}

BOOST_AUTO_TEST_CASE(what_is_printed_reads_back_as_the_same_study) {
  const Study study =
      load_study(kConfigs / "studies" / "batch_scaling.yaml",
                 {.quick = true, .overrides = {"gate.unit=paglu", "gate.alpha=0.25"}});
  const StudyFile printed(print_study(study));
  const Study again = printed.load();
  BOOST_TEST(differences(study, again).empty());
  BOOST_TEST(print_study(again) == print_study(study));

  const Study other = load_study(kConfigs / "studies" / "batch_scaling.yaml", {});
  bool steps_named = false;
  for (const std::string& line : differences(study, other)) {
    steps_named = steps_named || mentions(line, "train.steps");
  }
  BOOST_TEST(steps_named);
}

BOOST_AUTO_TEST_CASE(every_field_prints_and_sets_its_own_value) {
  Study study;
  for (const Field& field : study_fields(study)) {
    BOOST_TEST(field.set(field.get()) == "", field.path << " refuses its own default");
    BOOST_TEST(!field.meaning.empty(), field.path << " has no meaning");
  }
}

BOOST_AUTO_TEST_CASE(single_settings_are_read_and_replaced_by_path) {
  const Settings settings;
  BOOST_TEST(with(settings, "optimizer.lr", "3e-4").optimizer.lr == 0.0003);
  BOOST_CHECK_THROW((void)with(settings, "optimizer.lr", "x"), pg::InvalidInput);
  BOOST_CHECK_THROW((void)with(settings, "no.such", "1"), pg::InvalidInput);
}

BOOST_AUTO_TEST_CASE(the_settings_of_a_trial_read_back_from_what_was_printed) {
  Settings settings;
  settings.gate.alpha = 0.25;
  settings.model.d_model = 96;
  const Settings copy = read_settings(print_settings(settings));
  BOOST_TEST((setting_values(copy) == setting_values(settings)));
  BOOST_TEST(read_settings("train:\n  steps: 7\n").train.steps == 7);
  for (const char* text : {"train:\n  stepz: 7\n", "train:\n  steps: x\n", "train: [\n"}) {
    try {
      (void)read_settings(text);
      BOOST_ERROR("no complaint about " << text);
    } catch (const pg::InvalidInput& error) {
      BOOST_TEST(static_cast<int>(error.exit_code()) == 65);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_anchor_and_the_margin_of_an_analysis_are_checked) {
  const StudyFile good(
      "stages:\n  refine:\n    enabled: false\n  transfer:\n    enabled: false\n"
      "analysis:\n  kind: gating\n  anchor: gate.alpha=0.0\n  equivalence_margin: 0.01\n");
  const Study study = good.load();
  BOOST_TEST(study.analysis.kind == "gating");
  BOOST_TEST(study.analysis.anchor == "gate.alpha=0");
  BOOST_TEST(study.analysis.equivalence_margin == 0.01);
  BOOST_TEST(mentions(print_study(study), "anchor: gate.alpha=0"));
  const StudyFile staged("analysis:\n  kind: gating\n");
  BOOST_TEST(mentions(staged.complaint(), "stages.refine.enabled"));
  const StudyFile bad(
      "analysis:\n  kind: gates\n  anchor: gate.alpha=2\n  equivalence_margin: 0\n");
  const std::string text = bad.complaint();
  BOOST_TEST(
      mentions(text, "found 'gates', expected one of batch_scaling, gating, arms, model_size"));
  BOOST_TEST(mentions(text, "found 'gate.alpha=2', expected vanilla or gate.alpha=A"));
  BOOST_TEST(mentions(text, "analysis.equivalence_margin"));
}

BOOST_AUTO_TEST_CASE(arms_set_several_settings_together) {
  const std::string stages =
      "stages:\n  refine:\n    enabled: false\n  transfer:\n    enabled: false\n";
  const StudyFile file(stages +
                       "arms:\n  - {gate.unit: paglu, gate.alpha: 2.5e-1}\n"
                       "  - {gate.unit: vanilla}\naxes:\n  train.seed: [1, 2]\n"
                       "quick:\n  arms: [{model.n_layers: 1}]\n");
  const Study study = file.load();
  BOOST_REQUIRE(study.arms.size() == 2U);
  BOOST_TEST((study.arms[0] == ArmSettings{{"gate.unit", "paglu"}, {"gate.alpha", "0.25"}}));
  BOOST_TEST(file.load({true, {}}).arms.size() == 1U);
  BOOST_TEST(file.load({false, {"arms=[{model.d_ff: 7}]"}}).arms[0][0].second == "7");
  // What is printed is read back as the same.
  const StudyFile again(print_study(study));
  BOOST_TEST(differences(again.load(), study).empty());
  Study other = study;
  other.arms.pop_back();
  BOOST_TEST(mentions(differences(other, study).at(0), "arms"));

  const auto complaint = [&](const std::string& text) {
    return StudyFile(stages + text).complaint();
  };
  BOOST_TEST(mentions(complaint("arms: 3\n"), "a list of {setting: value"));
  BOOST_TEST(mentions(complaint("arms: [{gate.unti: paglu}]\n"), "did you mean gate.unit"));
  BOOST_TEST(mentions(complaint("arms: [{gate.alpha: 3}]\n"), "gate.alpha"));
  BOOST_TEST(mentions(complaint("arms: [{data.corpus: x}]\n"), "one corpus"));
  BOOST_TEST(
      mentions(complaint("arms: [{train.seed: 1}]\naxes:\n  train.seed: [1]\n"), "is an axis too"));
  BOOST_TEST(mentions(complaint("arms: [{gate.unit: paglu, gate.policy: learnable, "
                                "gate.alpha: 0}]\n"),
                      "in the arm gate.unit = paglu"));
  BOOST_TEST(mentions(StudyFile("arms: [{gate.unit: paglu}]\n").complaint(), "has arms"));
}

BOOST_AUTO_TEST_CASE(architectures_refuse_what_they_do_not_have) {
  const auto complaint = [](const std::string& model, const std::string& more = "") {
    return StudyFile("model: {" + model + "}\n" + more).complaint();
  };
  const auto good = [](const std::string& model, const std::string& more = "") {
    BOOST_CHECK_NO_THROW(StudyFile("model: {" + model + "}\n" + more).load());
  };
  good("arch: llama, gated_mlp: true, n_kv_heads: 2");
  BOOST_TEST(mentions(complaint("arch: llama, positions: learned"), "expected rope"));
  BOOST_TEST(mentions(complaint("arch: llama, causal: false"), "expected true"));
  BOOST_TEST(mentions(complaint("n_kv_heads: 3"), "no multiple of model.n_kv_heads"));
  good("d_head: 7, positions: none");
  BOOST_TEST(mentions(complaint("d_head: 7"), "is odd"));
  good("arch: t5, positions: relative", "data: {objective: prefix}\n");
  BOOST_TEST(mentions(complaint("arch: t5, positions: relative"), "data.objective = next_token"));
  BOOST_TEST(
      mentions(complaint("arch: nano", "data: {objective: prefix}\n"), "without an encoder"));
  BOOST_TEST(mentions(complaint("arch: t5, positions: relative",
                                "data: {objective: span_corruption, sequence_length: 3}\n"),
                      "expected 4 or more"));
  good("arch: resnet_bk, positions: learned, d_model: 30");
  BOOST_TEST(mentions(complaint("arch: resnet_bk, positions: learned, gated_mlp: true"),
                      "experts have two matrices"));
  good("arch: resnet_bk, positions: learned, causal: false, resolvent_gradient: upstream_hybrid");
  BOOST_TEST(mentions(
      complaint("arch: resnet_bk, positions: learned, resolvent_gradient: upstream_hybrid"),
      "exact where model.causal = true"));
  BOOST_TEST(mentions(complaint("router: upstream"),
                      "model.router = upstream has no effect with model.arch = nano"));
  BOOST_TEST(mentions(complaint("resolvent_gradient: upstream_hybrid"), "has no effect"));
  BOOST_TEST(mentions(complaint("n_positions: 100"), "exceeds model.n_positions"));
  good("arch: llama, gated_mlp: true", "gate: {unit: paglu, form: glu}\n");
  BOOST_TEST(
      mentions(complaint("arch: llama, gated_mlp: true", "gate: {unit: paglu}\n"), "expected glu"));
  BOOST_TEST(mentions(
      complaint("arch: resnet_bk, positions: learned", "gate: {unit: paglu, pre_norm: true}\n"),
      "in the experts of a resnet_bk"));
  BOOST_TEST(mentions(complaint("arch: nano", "gate: {unit: paglu, policy: learnable, alpha: 1}\n"),
                      "logit is infinite"));
}

BOOST_AUTO_TEST_CASE(how_trials_are_shared_out_is_checked_and_is_not_part_of_a_study) {
  const auto complaint = [](const std::string& text) { return StudyFile(text).complaint(); };
  BOOST_TEST(mentions(complaint("shard: {degree: 6}\n"), "expected a power of two"));
  BOOST_TEST(mentions(complaint("shard: {reshard_after_forward: false}\n"),
                      "no effect with shard.degree = 1"));
  BOOST_TEST(mentions(complaint("shard: {degree: 0}\nmeasure: {gradient_tails: 10}\n"),
                      "expected shard.degree: 1"));
  const auto shared = StudyFile("shard: {degree: 4, prefetch: 2}\n").load();
  BOOST_TEST(pg::config::differences(shared, StudyFile("{}\n").load()).empty());
}

BOOST_AUTO_TEST_CASE(settings_without_effect_are_named) {
  const auto complaint = [](const std::string& text) { return StudyFile(text).complaint(); };
  BOOST_TEST(
      mentions(complaint("gate: {pre_norm: true}\n"),
               "gate.pre_norm = true has no effect with gate.unit = vanilla; expected false"));
  BOOST_TEST(
      mentions(complaint("gate: {unit: paglu, alpha_start: 0.5}\n"),
               "gate.alpha_start = 0.5 has no effect with gate.unit = paglu and gate.policy = "
               "fixed"));
  BOOST_TEST(mentions(complaint("model: {positions: none, rope_theta: 500}\n"),
                      "model.rope_theta = 500 has no effect"));
  BOOST_TEST(mentions(complaint("data: {noise_span: 5}\n"), "data.objective = next_token"));
  BOOST_TEST(mentions(complaint("model: {arch: resnet_bk, positions: learned, n_heads: 2}\n"),
                      "model.n_heads = 2 has no effect with model.arch = resnet_bk"));
  // An axis may give it one.
  BOOST_CHECK_NO_THROW(
      StudyFile("gate: {pre_norm: true}\naxes:\n  gate.unit: [vanilla, paglu]\n").load());
}
