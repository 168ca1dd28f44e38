// Every model of configs/models has the number of parameters that is published for it, or that its
// formula gives; what gates add to it is what their definition says.
#define BOOST_TEST_MODULE presets
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "config/study.hpp"
#include "study/plan.hpp"
#include "train/trainer.hpp"

using namespace pg;
namespace fs = std::filesystem;

namespace {

/// 2 V D + V + N D + 2 D + L (16 D^2 + 22 D + 6): four experts, untied head with a bias.
std::int64_t resnet_bk(std::int64_t d, std::int64_t layers) {
  return 2 * 30000 * d + 30000 + 128 * d + 2 * d + layers * (16 * d * d + 22 * d + 6);
}

/// 2 V D + N D + 2 D + L (12 D^2 + 13 D): untied, learned positions.
std::int64_t transformer(std::int64_t d, std::int64_t layers) {
  return 2 * 30000 * d + 128 * d + 2 * d + layers * (12 * d * d + 13 * d);
}

std::map<std::string, std::int64_t> published() {
  std::map<std::string, std::int64_t> table = {
      {"gpt2-small", 124439808},
      {"gpt2-medium", 354823168},
      {"gpt2-large", 774030080},
      {"gpt3-1.3b", 1315723264},
      {"gpt3-6.7b", 6658404352},
      {"llama-1.5b", 1497217024},
      {"llama2-7b", 6738415616},
      {"llama2-13b", 13015864320},
      {"t5-large", 737668096},
      {"t5-large-v1.1", 783150080},
      {"t5-11b", 11307321344},
      {"t5-xxl", 11135332352},
      {"exp-001", 70378496},
      {"exp-002", 162250752},
      {"exp-001-encoder-decoder", 60522496},
      {"exp-002-encoder-decoder", 223051776},
      // On the 65 characters of TinyShakespeare; what follows has no vocabulary of its own.
      {"nano", 135808},
      {"nano-upstream", 205504},
      {"gpt-mini", 220608},
  };
  for (const std::int64_t d : {64, 128, 256, 512}) {
    for (const std::int64_t layers : {4, 8, 12, 16}) {
      const std::string size = "-d" + std::to_string(d) + "-l" + std::to_string(layers);
      table["resnet-bk" + size] = resnet_bk(d, layers);
      table["transformer" + size] = transformer(d, layers);
    }
  }
  return table;
}

config::Study preset(const std::string& name, std::vector<std::string> overrides = {}) {
  return config::load_study("configs/models/" + name + ".yaml", {false, std::move(overrides)});
}

std::int64_t count(const std::string& name, const std::vector<std::string>& overrides = {}) {
  return train::count_parameters(preset(name, overrides).base, 65);
}

/// What a gate adds to a model.
std::int64_t added(const std::string& name, std::vector<std::string> overrides) {
  overrides.push_back("gate.unit=paglu");
  return count(name, overrides) - count(name);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_preset_has_its_published_number_of_parameters) {
  const auto table = published();
  std::size_t n = 0;
  for (const auto& entry : fs::directory_iterator("configs/models")) {
    const std::string name = entry.path().stem();
    BOOST_TEST_CONTEXT(name) {
      BOOST_REQUIRE(table.contains(name));
      BOOST_TEST(count(name) == table.at(name));
    }
    ++n;
  }
  BOOST_TEST(n == table.size());
  BOOST_TEST(resnet_bk(64, 4) == 4146120);  // what the published code logs
  BOOST_TEST(resnet_bk(512, 16) == 98105744);
}

BOOST_AUTO_TEST_CASE(the_plan_prints_the_number) {
  for (const auto& [name, n] : published()) {
    const config::Study study = preset(name);
    if (study.base.model.vocab_size == 0) continue;
    const study::Plan plan = study::make_plan(study);
    BOOST_TEST_CONTEXT(name) {
      BOOST_REQUIRE(plan.rows.size() == 1);
      BOOST_TEST(plan.rows[0].n_parameters == n);
      BOOST_TEST(study::plan_text(plan).find(std::to_string(n)) != std::string::npos);
      BOOST_TEST(study::plan_json(plan).find(std::to_string(n)) != std::string::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE(gates_add_the_parameters_of_their_definition) {
  const std::int64_t layers = 12;
  const std::int64_t d = 768;
  const std::int64_t f = 3072;
  const auto gpt2 = [](std::vector<std::string> overrides) {
    return added("gpt2-small", std::move(overrides));
  };
  BOOST_TEST(gpt2({}) == 0);
  BOOST_TEST(gpt2({"gate.form=anchored"}) == 0);
  BOOST_TEST(gpt2({"gate.form=glu"}) == layers * (d * f + f));
  BOOST_TEST(gpt2({"gate.form=upstream"}) == layers * (2 * f * f + 2 * f));
  BOOST_TEST(gpt2({"gate.policy=learnable"}) == layers);
  BOOST_TEST(gpt2({"gate.policy=learnable", "gate.attention=true"}) == 2 * layers);
  BOOST_TEST(gpt2({"gate.gate_norm=true"}) == layers * 2 * f);
  BOOST_TEST(gpt2({"gate.pre_norm=true"}) == layers * 2 * f);
  BOOST_TEST(gpt2({"gate.post_norm=true"}) == layers * 2 * f);
  const std::vector<std::string> glu = {"gate.form=glu"};
  const auto with = [&](const char* more) {
    std::vector<std::string> all = glu;
    all.emplace_back(more);
    return gpt2(all) - gpt2(glu);
  };
  BOOST_TEST(with("gate.pre_norm=true") == layers * 2 * d);  // before both matrices
  BOOST_TEST(with("gate.post_norm=true") == layers * 2 * f);
  BOOST_TEST(with("gate.gate_norm=true") == layers * 2 * f);
  // Published totals.
  const auto total = [](const char* model, const char* form) {
    return count(model, {"gate.unit=pagelu", std::string("gate.form=") + form});
  };
  BOOST_TEST(total("gpt2-small", "upstream") == 351005952);
  BOOST_TEST(total("gpt2-medium", "upstream") == 1160326144);
  BOOST_TEST(total("gpt2-large", "upstream") == 2661835520);
  BOOST_TEST(total("gpt2-small", "glu") == 152788224);
  BOOST_TEST(total("gpt2-medium", "glu") == 455584768);
  BOOST_TEST(total("gpt2-large", "glu") == 1010144000);
}

BOOST_AUTO_TEST_CASE(a_linear_unit_of_two_thirds_of_the_width_costs_about_nothing) {
  const std::map<std::string, std::pair<std::int64_t, std::int64_t>> widths = {
      {"gpt2-small", {768, 2048}},
      {"gpt2-medium", {1024, 2752}},
      {"gpt2-large", {1280, 3392}},
      {"gpt3-1.3b", {2048, 5440}},
      {"gpt3-6.7b", {4096, 10944}}};
  for (const auto& [name, sizes] : widths) {
    const auto [d, width] = sizes;
    const std::int64_t layers = preset(name).base.model.n_layers;
    const std::int64_t expected = layers * ((3 * d * width + 2 * width) - (2 * d * 4 * d + 4 * d));
    BOOST_TEST(added(name, {"gate.form=glu_two_thirds"}) == expected, name);
    BOOST_TEST(std::abs(static_cast<double>(expected)) < 0.01 * static_cast<double>(count(name)));
  }
}

BOOST_AUTO_TEST_CASE(in_a_gated_mlp_the_linear_unit_is_free) {
  for (const char* name : {"llama2-7b", "t5-xxl", "t5-large-v1.1"}) {
    BOOST_TEST(added(name, {"gate.form=glu"}) == 0, name);
    BOOST_TEST(added(name, {"gate.form=anchored"}) == 0, name);
  }
  BOOST_TEST(added("t5-large", {}) == 0);
  BOOST_TEST(added("t5-11b", {"gate.form=glu"}) == std::int64_t{48} * 1024 * 65536);
  BOOST_TEST(added("resnet-bk-d64-l4", {"gate.policy=learnable"}) == 4);
}
