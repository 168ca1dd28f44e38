#define BOOST_TEST_MODULE pytorch
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/random.hpp"
#include "data/corpus.hpp"
#include "data/sampler.hpp"
#include "data/synthetic.hpp"
#include "model/network.hpp"
#include "support/support.hpp"
#include "train/trainer.hpp"

// The real trainer against tests/reference/nano_reference.py: same initial weights, same samples,
// 20 steps of AdamW with warm-up and clipping, in PyTorch and in double precision.

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

enum class Shape { nano, upstream, gpt, gpt_dropout, nano_learned };

struct Case {
  const char* name;
  Shape shape;
  const char* unit;
  const char* form;
  double alpha;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

const Case kCases[] = {{"nano", Shape::nano, "vanilla", "self_gate", 0.5},
                       {"upstream", Shape::upstream, "vanilla", "self_gate", 0.5},
                       {"paglu", Shape::nano, "paglu", "self_gate", 0.4},
                       {"pagelu", Shape::nano, "pagelu", "self_gate", 0.8},
                       {"pareglu", Shape::nano, "pareglu", "self_gate", 0.8},
                       {"pasilu", Shape::nano, "pasilu", "self_gate", 0.6},
                       {"paglu_anchored", Shape::nano, "paglu", "anchored", 0.6},
                       {"pareglu_anchored", Shape::upstream, "pareglu", "anchored", 0.6},
                       {"nano_learned", Shape::nano_learned, "vanilla", "self_gate", 0.5},
                       {"gpt", Shape::gpt, "vanilla", "self_gate", 0.5},
                       {"gpt_pasilu", Shape::gpt, "pasilu", "self_gate", 0.6},
                       {"gpt_dropout", Shape::gpt_dropout, "vanilla", "self_gate", 0.5}};

pg::config::Settings settings_of(const Case& c) {
  pg::config::Settings s;
  if (c.shape == Shape::upstream) {
    s.model.d_ff = 256;
    s.model.positions = "none";
    s.model.causal = false;
    s.model.tied_embeddings = false;
  }
  if (c.shape == Shape::gpt || c.shape == Shape::gpt_dropout) {
    s.model.arch = "gpt";
    s.model.d_ff = 256;
    s.model.norm_eps = 1e-5;
  }
  if (c.shape == Shape::gpt_dropout) s.model.dropout = 0.1;
  if (s.model.arch == "gpt" || c.shape == Shape::nano_learned) s.model.positions = "learned";
  s.gate = {c.unit, c.form, c.alpha};
  s.data.sequence_length = 48;
  s.train.steps = 20;
  s.train.batch = 6;
  s.train.chunk = 4;  // the second chunk is a short one
  s.schedule.warmup_steps = 5;
  // Steps of 3e-3 would cancel sums of embedding and position, 0.03 wide, to almost nothing, and
  // the norm would make large numbers of the rounding errors that are left.
  s.optimizer.lr = s.model.positions == "learned" ? 1e-3 : 3e-3;
  s.optimizer.weight_decay = 0.1;
  s.optimizer.clip = 0.7;
  s.eval.tail_steps = 1;
  s.eval.tail_interval = 1;
  s.eval.interval = 20;
  s.eval.sequences = 8;
  return s;
}

std::vector<std::vector<int>> windows(const std::vector<std::uint16_t>& tokens,
                                      const std::vector<std::int64_t>& positions,
                                      std::int64_t sequence_length) {
  std::vector<std::vector<int>> rows;
  for (const std::int64_t first : positions) {
    rows.emplace_back(tokens.begin() + first, tokens.begin() + first + sequence_length + 1);
  }
  return rows;
}

std::vector<float> floats(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

/// Runs the reference on a case; returns its line of deviations.
json ask_pytorch(const json& question) {
  const fs::path file = fs::temp_directory_path() / fmt::format("pg-pytorch-{}.json", ::getpid());
  pg::write_file(file, question.dump());
  const std::string answer = pg::testing::output_of(fmt::format(
      "{} {}/tests/reference/nano_reference.py {}", PG_PYTHON, PG_SOURCE_DIR, file.string()));
  fs::remove(file);
  return json::parse(answer);
}

}  // namespace

BOOST_DATA_TEST_CASE(forward_and_20_steps_equal_pytorch, boost::unit_test::data::make(kCases), c) {
  pg::train::use_one_thread();
  const pg::config::Settings s = settings_of(c);
  const pg::data::Corpus corpus =
      pg::data::synthetic_corpus({.symbols = 20, .length = 20000, .seed = 1}, 0.1);
  const pg::model::Network model(s.model, s.gate, corpus.vocabulary(), s.data.sequence_length);
  const pg::model::ParameterSet initial(model.parameter_specs(), s.train.seed);

  pg::record::TrialRecord record;
  const auto alone = pg::comm::Communicator::alone();
  pg::train::Trainer trainer(s, corpus, alone);
  BOOST_REQUIRE(trainer.run([](const auto&) { return true; }, record));
  BOOST_REQUIRE(record.train_loss.size() == 20U);

  const auto dropout_key = pg::random::Stream(s.train.seed, pg::random::Purpose::dropout).key();
  json question = {{"model",
                    {{"arch", s.model.arch},
                     {"dropout", s.model.dropout},
                     {"d_model", s.model.d_model},
                     {"n_heads", s.model.n_heads},
                     {"n_layers", s.model.n_layers},
                     {"positions", s.model.positions},
                     {"rope_theta", s.model.rope_theta},
                     {"causal", s.model.causal},
                     {"tied_embeddings", s.model.tied_embeddings},
                     {"norm_eps", s.model.norm_eps}}},
                   {"gate", {{"unit", c.unit}, {"form", c.form}, {"alpha", c.alpha}}},
                   {"optimizer",
                    {{"lr", s.optimizer.lr},
                     {"beta1", s.optimizer.beta1},
                     {"beta2", s.optimizer.beta2},
                     {"eps", s.optimizer.eps},
                     {"weight_decay", s.optimizer.weight_decay},
                     {"clip", s.optimizer.clip}}},
                   {"dropout_key", dropout_key},
                   {"warmup_steps", s.schedule.warmup_steps},
                   {"weights", json::array()},
                   {"steps", json::array()}};
  for (std::size_t i = 0; i < initial.specs().size(); ++i) {
    question["weights"].push_back({{"name", initial.specs()[i].name},
                                   {"shape", initial.specs()[i].shape},
                                   {"values", floats(initial[i])}});
  }
  const pg::data::Sampler sampler(static_cast<std::int64_t>(corpus.train.size()),
                                  s.data.sequence_length, s.train.seed);
  for (std::int64_t step = 0; step < s.train.steps; ++step) {
    std::vector<std::int64_t> positions;
    for (std::int64_t slot = 0; slot < s.train.batch; ++slot) {
      positions.push_back(sampler.position(step, slot, s.train.batch));
    }
    const auto i = static_cast<std::size_t>(step);
    question["steps"].push_back(
        {{"windows", windows(corpus.train, positions, s.data.sequence_length)},
         {"loss", record.train_loss[i]},
         {"grad_norm", record.grad_norm[i]}});
    if (step == 0) {
      const auto rows = windows(corpus.train, positions, s.data.sequence_length);
      at::Tensor inputs = at::empty({s.train.batch, s.data.sequence_length}, at::kLong);
      for (std::int64_t b = 0; b < s.train.batch; ++b) {
        for (std::int64_t t = 0; t < s.data.sequence_length; ++t) {
          inputs[b][t] = rows[static_cast<std::size_t>(b)][static_cast<std::size_t>(t)];
        }
      }
      const at::NoGradGuard no_grad;
      question["first_logits"] = floats(model.logits(initial, inputs));
    }
  }
  question["validation_windows"] =
      windows(corpus.validation,
              pg::data::validation_positions(static_cast<std::int64_t>(corpus.validation.size()),
                                             s.data.sequence_length, s.eval.sequences),
              s.data.sequence_length);
  question["validation_loss"] = record.val_loss.back();

  const json answer = ask_pytorch(question);
  BOOST_TEST_MESSAGE(answer.dump());
  BOOST_TEST(answer["logits"].get<double>() < 2e-6);
  BOOST_TEST(answer["loss"].get<double>() < 2e-6);
  BOOST_TEST(answer["relative_grad_norm"].get<double>() < 2e-4);
  BOOST_TEST(answer["validation_loss"].get<double>() < 5e-6);
  // The comparison has something to compare: the model learned meanwhile, and clipping acted.
  BOOST_TEST(answer["last_loss"].get<double>() < answer["first_loss"].get<double>() - 0.1);
  BOOST_TEST(record.summary.clip_fraction > 0.0);
  BOOST_TEST(record.summary.clip_fraction < 1.0);
}
