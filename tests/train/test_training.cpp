// 300 steps of every family on real text, here and in PyTorch: same weights, same data, double
// precision there.
#define BOOST_TEST_MODULE training
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "data/corpus.hpp"
#include "data/sampler.hpp"
#include "model/families.hpp"
#include "model/hugging_face.hpp"
#include "train/chunk_reader.hpp"
#include "train/trainer.hpp"

using namespace pg;
using namespace pg::testing;

namespace {

struct Case {
  std::string family;
  std::string unit;
  std::string form;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.family << " " << c.unit;
}
const Case kCases[] = {{"nano", "vanilla", "self_gate"},    {"gpt", "vanilla", "self_gate"},
                       {"gpt", "paglu", "anchored"},        {"llama-gqa", "vanilla", "self_gate"},
                       {"t5", "vanilla", "self_gate"},      {"t5-v1.1", "pagelu", "glu"},
                       {"vaswani", "vanilla", "self_gate"}, {"resnet_bk", "vanilla", "self_gate"},
                       {"resnet_bk", "pasilu", "self_gate"}};

config::Settings settings_of(const Case& c) {
  config::Settings s;
  s.model = family(c.family);
  s.model.d_model = 32;
  s.model.d_ff = 64;
  s.model.n_heads = 4;
  s.model.d_head = s.model.d_head > 0 ? 8 : 0;
  s.gate.unit = c.unit;
  s.gate.form = c.form;
  s.data.sequence_length = 32;
  if (s.model.has_encoder()) {
    s.data.objective = s.model.arch == "t5" ? "span_corruption" : "prefix";
  }
  s.train.steps = 300;
  s.train.batch = 8;
  s.train.chunk = 4;
  s.schedule.warmup_steps = 30;
  s.optimizer.lr = 1e-3;   // larger steps would let rounding errors grow
  s.optimizer.eps = 1e-5;  // nor a gradient that is one
  s.optimizer.weight_decay = 0.01;
  s.eval.interval = 300;
  s.eval.tail_steps = 1;
  s.eval.tail_interval = 1;
  s.eval.sequences = 64;
  return s;
}

nlohmann::json example_json(const model::Example& example) {
  nlohmann::json json = {{"inputs", rows_of(example.inputs_bt)},
                         {"targets", rows_of(example.targets_bt)}};
  if (example.encoder_bs.defined()) json["encoder"] = rows_of(example.encoder_bs);
  return json;
}

}  // namespace

BOOST_DATA_TEST_CASE(three_hundred_steps_equal_pytorch, boost::unit_test::data::make(kCases), c) {
  train::use_one_thread();
  const ScratchFolder scratch;
  const config::Settings s = settings_of(c);
  const data::Corpus corpus = data::read_text_corpus(PG_SOURCE_DIR "/README.md", 0.1);
  const auto alone = comm::Communicator::alone();
  const model::Network network = train::network_of(s, corpus.vocabulary());
  const model::ParameterSet initial(network.parameter_specs(), s.train.seed);
  model::write_safetensors(scratch / "weights.safetensors",
                           model::export_weights(s.model, named(initial)));

  record::TrialRecord record;
  BOOST_REQUIRE(train::Trainer(s, corpus, alone).run([](const auto&) { return true; }, record));

  nlohmann::json question = question_of(s.model, s.gate);
  question["weights"] = (scratch / "weights.safetensors").string();
  question["train"] = {{"lr", s.optimizer.lr},
                       {"weight_decay", s.optimizer.weight_decay},
                       {"eps", s.optimizer.eps},
                       {"clip", s.optimizer.clip},
                       {"warmup_steps", s.schedule.warmup_steps},
                       {"steps", nlohmann::json::array()},
                       {"validation", nlohmann::json::array()}};
  const data::Objective objective = train::objective_of(s);
  const auto reader = [&](const std::vector<std::uint16_t>& tokens, data::Objective::Split split) {
    return train::ChunkReader(tokens, corpus.vocabulary(), objective, split, s.data.sequence_length,
                              at::kCPU);
  };
  const data::Sampler sampler(static_cast<std::int64_t>(corpus.train.size()),
                              s.data.sequence_length, s.train.seed);
  for (std::int64_t step = 0; step < s.train.steps; ++step) {
    std::vector<std::int64_t> positions;
    for (std::int64_t slot = 0; slot < s.train.batch; ++slot) {
      positions.push_back(sampler.position(step, slot, s.train.batch));
    }
    question["train"]["steps"].push_back(example_json(
        reader(corpus.train, data::Objective::Split::train).read(positions, step * s.train.batch)));
  }
  const auto positions =
      data::validation_positions(static_cast<std::int64_t>(corpus.validation.size()),
                                 s.data.sequence_length, s.eval.sequences);
  question["train"]["validation"].push_back(example_json(
      reader(corpus.validation, data::Objective::Split::validation).read(positions, 0)));

  const auto answer =
      nlohmann::json::parse(ask_reference(nlohmann::json::array({question}), scratch));
  const auto losses = answer["loss"].get<std::vector<double>>();
  BOOST_REQUIRE(losses.size() == record.train_loss.size());
  // Rounding errors grow over the steps, through the kinks of a ReLU most: at first every loss is
  // the same, at the end their level is.
  constexpr std::size_t kFirst = 20;
  constexpr std::size_t kLast = 20;
  double worst = 0;
  double level = 0;
  double level_there = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    if (i < kFirst) worst = std::max(worst, std::abs(record.train_loss[i] / losses[i] - 1));
    if (i + kLast < losses.size()) continue;
    level += record.train_loss[i] / kLast;
    level_there += losses[i] / kLast;
  }
  const double validation = answer["validation"].get<double>();
  BOOST_TEST_MESSAGE(c << ": first " << losses.front() << ", last " << level << " and "
                       << level_there << ", largest relative deviation at first " << worst
                       << "; validation " << record.val_loss.back() << ", in PyTorch "
                       << validation);
  BOOST_TEST(worst < 1e-4);
  BOOST_TEST(std::abs(level / level_there - 1) < 0.01);
  BOOST_TEST(std::abs(record.val_loss.back() / validation - 1) < 0.01);
  BOOST_TEST(level < losses.front() - 1);  // it learned
}
