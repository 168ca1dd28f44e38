#define BOOST_TEST_MODULE train
#include <ATen/ATen.h>

#include <boost/math/distributions/students_t.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/error.hpp"
#include "base/random.hpp"
#include "data/synthetic.hpp"
#include "measure/tails.hpp"
#include "train/chunk_reader.hpp"
#include "train/chunk_tree.hpp"
#include "train/schedule.hpp"
#include "train/summary_statistics.hpp"
#include "train/trainer.hpp"

namespace {

namespace tt = boost::test_tools;

pg::data::Corpus small_corpus() {
  return pg::data::synthetic_corpus({.symbols = 8, .length = 5000, .seed = 3}, 0.1);
}

pg::config::Settings small_settings() {
  pg::config::Settings s;
  s.model.n_layers = 1;
  s.model.d_model = 16;
  s.model.n_heads = 2;
  s.model.d_ff = 16;
  s.data.sequence_length = 16;
  s.train.steps = 40;
  s.train.batch = 10;
  s.train.chunk = 4;
  s.schedule.warmup_steps = 5;
  s.optimizer.lr = 1e-2;
  s.eval.interval = 10;
  s.eval.tail_steps = 10;
  s.eval.tail_interval = 2;
  s.eval.sequences = 10;
  return s;
}

pg::record::TrialRecord train(const pg::config::Settings& s, const pg::data::Corpus& corpus) {
  pg::train::use_one_thread();
  pg::record::TrialRecord record;
  const auto alone = pg::comm::Communicator::alone();
  BOOST_REQUIRE(pg::train::Trainer(s, corpus, alone).run([](const auto&) { return true; }, record));
  return record;
}

}  // namespace

BOOST_AUTO_TEST_CASE(warm_up_is_linear_and_does_not_compound) {
  const pg::config::ScheduleSettings schedule{"constant", 100, 0};
  double sum = 0;
  for (std::int64_t t = 0; t < 5000; ++t) {
    const double lr = pg::train::learning_rate(1e-3, schedule, 5000, t);
    BOOST_TEST(lr == 1e-3 * std::min(1.0, (static_cast<double>(t) + 1) / 100),
               tt::tolerance(1e-14));
    sum += lr / 1e-3;
  }
  // A compounding warm-up (lr multiplied by (t + 1) / W at every step) would leave about 1.01.
  BOOST_TEST(sum == 4950.5, tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(schedules_end_where_they_should) {
  for (const char* kind : {"linear", "cosine"}) {
    const pg::config::ScheduleSettings schedule{kind, 10, 0.1};
    const auto lr = [&](std::int64_t t) { return pg::train::learning_rate(2.0, schedule, 111, t); };
    BOOST_TEST(lr(9) == 2.0, tt::tolerance(1e-14));
    BOOST_TEST(lr(110) == 0.2, tt::tolerance(1e-14));
    BOOST_TEST(lr(59) + lr(60) == 2.0 * (1.1),
               tt::tolerance(0.02));  // half way: the mean of both ends
    for (std::int64_t t = 10; t < 111; ++t) BOOST_TEST(lr(t) <= lr(t - 1));
  }
  const pg::config::ScheduleSettings no_warmup{"linear", 0, 0};
  BOOST_TEST(pg::train::learning_rate(1.0, no_warmup, 11, 0) == 1.0);
  BOOST_TEST(pg::train::learning_rate(1.0, no_warmup, 11, 10) == 0.0);
  BOOST_TEST(pg::train::learning_rate(1.0, no_warmup, 1, 0) == 0.0);
}

BOOST_AUTO_TEST_CASE(chunk_tree_has_the_promised_shape) {
  // An independent recursive definition: split at the largest power of two below the count.
  std::vector<at::Tensor> leaves;
  const pg::random::Stream stream(1, pg::random::Purpose::test);
  for (std::uint64_t i = 0; i < 23; ++i) {
    at::Tensor leaf = at::empty({17}, at::kFloat);
    for (std::int64_t j = 0; j < 17; ++j) {
      leaf.data_ptr<float>()[j] = static_cast<float>(
          stream.normal(i * 17 + static_cast<std::uint64_t>(j)) * std::pow(10.0, j % 5));
    }
    leaves.push_back(leaf);
  }
  const std::function<at::Tensor(std::size_t, std::size_t)> sum = [&](std::size_t first,
                                                                      std::size_t n) {
    if (n == 1) return leaves[first].clone();
    std::size_t half = 1;
    while (half * 2 < n) half *= 2;
    return sum(first, half) + sum(first + half, n - half);
  };
  pg::train::ChunkTree tree;
  bool fold_differs = false;
  for (std::size_t n = 1; n <= leaves.size(); ++n) {
    at::Tensor fold = at::zeros({17});
    for (std::size_t i = 0; i < n; ++i) {
      tree.add(leaves[i]);
      fold += leaves[i];
    }
    const at::Tensor result = tree.finish();
    BOOST_TEST(result.equal(sum(0, n)), n << " leaves");
    fold_differs = fold_differs || !fold.equal(result);
  }
  BOOST_TEST(fold_differs);  // the order matters, so the equality above says something
}

BOOST_AUTO_TEST_CASE(window_statistics_of_independent_noise_and_of_drift) {
  const pg::random::Stream stream(7, pg::random::Purpose::test);
  std::vector<double> x(100);
  std::iota(x.begin(), x.end(), 4901.0);
  int rejected = 0;
  int covered = 0;
  constexpr int kRepeats = 2000;
  for (int r = 0; r < kRepeats; ++r) {
    std::vector<double> y(100);
    for (std::size_t i = 0; i < y.size(); ++i) {
      y[i] = 2 + 0.01 * stream.normal(static_cast<std::uint64_t>(r) * 100 + i);
    }
    const auto w = pg::train::window_statistics(x, y);
    rejected += w.drift_p < 0.05 ? 1 : 0;
    covered += std::abs(w.mean - 2) < 1.984 * w.mean_se ? 1 : 0;
  }
  BOOST_TEST(rejected < kRepeats * 0.07);  // nominal 5 %; the clipped r1 makes it cautious
  BOOST_TEST(rejected > kRepeats * 0.02);
  BOOST_TEST(covered > kRepeats * 0.94);

  std::vector<double> falling(100);
  for (std::size_t i = 0; i < 100; ++i) {
    falling[i] = 2 - 1e-3 * static_cast<double>(i) + 0.005 * stream.normal(1'000'000 + i);
  }
  const auto w = pg::train::window_statistics(x, falling);
  BOOST_TEST(w.drift_per_step == -1e-3, tt::tolerance(0.1));
  BOOST_TEST(w.drift_p < 1e-6);
}

BOOST_AUTO_TEST_CASE(window_statistics_allow_for_autocorrelation) {
  // A first-order process with r = 0.8: a plain standard error would be three times too small.
  const pg::random::Stream stream(8, pg::random::Purpose::test);
  std::vector<double> x(200);
  std::iota(x.begin(), x.end(), 1.0);
  int covered = 0;
  int naive = 0;
  constexpr int kRepeats = 1000;
  for (int r = 0; r < kRepeats; ++r) {
    std::vector<double> y(200);
    double state = stream.normal(static_cast<std::uint64_t>(r) * 300 + 299) / 0.6;
    for (std::size_t i = 0; i < y.size(); ++i) {
      state = 0.8 * state + stream.normal(static_cast<std::uint64_t>(r) * 300 + i);
      y[i] = state;
    }
    const auto w = pg::train::window_statistics(x, y);
    covered += std::abs(w.mean) < 2 * w.mean_se ? 1 : 0;
    naive += std::abs(w.mean) < 2 * w.sd / std::sqrt(200.0) ? 1 : 0;
  }
  BOOST_TEST(covered > kRepeats * 0.90);
  BOOST_TEST(naive < kRepeats * 0.60);
}

BOOST_AUTO_TEST_CASE(the_record_holds_what_the_settings_ask_for) {
  const auto corpus = small_corpus();
  const auto record = train(small_settings(), corpus);
  const auto& s = record.summary;
  BOOST_TEST((s.status == pg::record::TrialStatus::finished));
  BOOST_TEST(record.train_step.size() == 40U);
  BOOST_TEST(record.train_step.front() == 1);
  BOOST_TEST((record.val_step == std::vector<std::int64_t>{10, 20, 30, 32, 34, 36, 38, 40}));
  BOOST_TEST(s.n_tail_evals == 5);
  const double mean = std::accumulate(record.val_loss.begin() + 3, record.val_loss.end(), 0.0) / 5;
  BOOST_TEST(s.final_val_loss == mean, tt::tolerance(1e-14));
  BOOST_TEST(s.tokens == 40 * 10 * 16);
  BOOST_TEST(s.epochs == 6400.0 / 4500.0, tt::tolerance(0.01));
  BOOST_TEST(record.train_loss.front() == std::log(8.0), tt::tolerance(0.05));
  BOOST_TEST(s.final_val_loss < std::log(8.0) - 0.1);
  BOOST_TEST(s.parameter_hash.size() == 64U);
}

BOOST_AUTO_TEST_CASE(the_same_settings_give_the_same_bits_and_others_do_not) {
  const auto corpus = small_corpus();
  auto settings = small_settings();
  const auto first = train(settings, corpus);
  const auto second = train(settings, corpus);
  BOOST_TEST(first.summary.parameter_hash == second.summary.parameter_hash);
  BOOST_TEST(first.train_loss == second.train_loss, tt::per_element());
  settings.train.seed = 43;
  BOOST_TEST(train(settings, corpus).summary.parameter_hash != first.summary.parameter_hash);
}

BOOST_AUTO_TEST_CASE(the_loss_cannot_beat_the_entropy_of_the_language) {
  const pg::data::SyntheticSettings language{.symbols = 4, .length = 60000, .seed = 5};
  const auto corpus = pg::data::synthetic_corpus(language, 0.1);
  auto s = small_settings();
  s.model.d_model = 32;
  s.model.d_ff = 64;
  s.model.n_layers = 2;
  s.train.steps = 400;
  s.train.batch = 32;
  s.eval.sequences = 0;
  s.schedule = {"cosine", 20, 0.05};
  const auto record = train(s, corpus);
  const auto chain = pg::data::synthetic_language(language);
  const double floor = chain.window_floor(16);
  BOOST_TEST_MESSAGE("loss " << record.summary.final_val_loss << ", floor " << floor);
  BOOST_TEST(record.summary.final_val_loss > floor - 0.01);
  BOOST_TEST(record.summary.final_val_loss < floor + 0.03);
  BOOST_TEST(record.summary.final_val_loss < chain.bigram_entropy() - 0.02);  // it uses two tokens
}

BOOST_AUTO_TEST_CASE(a_diverging_trial_is_a_result) {
  const auto corpus = small_corpus();
  auto s = small_settings();
  s.optimizer.lr = 1e30;
  s.optimizer.clip = 0;
  s.schedule.warmup_steps = 0;
  const auto record = train(s, corpus);
  BOOST_TEST((record.summary.status == pg::record::TrialStatus::diverged));
  BOOST_TEST(record.summary.reason.find("non-finite") != std::string::npos);
  BOOST_TEST(record.summary.steps < 40);
  for (const double loss : record.train_loss) BOOST_TEST(std::isfinite(loss));
}

BOOST_AUTO_TEST_CASE(the_observer_stops_a_trial_and_a_short_corpus_is_refused) {
  const auto corpus = small_corpus();
  pg::record::TrialRecord record;
  const auto alone = pg::comm::Communicator::alone();
  pg::train::Trainer trainer(small_settings(), corpus, alone);
  BOOST_TEST(!trainer.run([](const pg::train::Progress& p) { return p.step < 7; }, record));
  BOOST_TEST(record.train_step.size() == 8U);  // the step is finished first
  auto s = small_settings();
  s.data.sequence_length = 600;
  BOOST_CHECK_THROW(pg::train::Trainer(s, corpus, alone), pg::InvalidInput);
}

BOOST_AUTO_TEST_CASE(a_reader_cuts_windows_and_stays_inside_the_split) {
  const std::vector<std::uint16_t> tokens = {10, 11, 12, 13, 14, 65'535};
  const pg::train::ChunkReader reader(tokens, 65'536, pg::data::Objective::next_token(3),
                                      pg::data::Objective::Split::train, 3, at::kCPU);
  const auto example = reader.read(std::vector<std::int64_t>{2, 0}, 0);
  const auto rows = [](std::initializer_list<std::int64_t> values) {
    return at::tensor(std::vector<std::int64_t>(values), at::kLong).view({2, 3});
  };
  BOOST_TEST(example.inputs_bt.equal(rows({12, 13, 14, 10, 11, 12})));
  BOOST_TEST(example.targets_bt.equal(rows({13, 14, 65'535, 11, 12, 13})));
  BOOST_TEST(!example.encoder_bs.defined());
  BOOST_CHECK_THROW((void)reader.read(std::vector<std::int64_t>{3}, 0), pg::InternalError);
  BOOST_CHECK_THROW((void)reader.read(std::vector<std::int64_t>{-1}, 0), pg::InternalError);
}

BOOST_AUTO_TEST_CASE(weight_decay_acts_on_what_the_settings_say) {
  auto s = small_settings();
  s.model.arch = "gpt";
  s.model.positions = "learned";
  s.gate.unit = "paglu";
  s.gate.policy = "learnable";
  s.train.steps = 1;
  s.schedule.warmup_steps = 1;
  s.eval.tail_steps = 1;
  s.eval.tail_interval = 1;
  const auto values = [&](double weight_decay, const char* decays) {
    s.optimizer.weight_decay = weight_decay;
    s.optimizer.decays = decays;
    pg::record::TrialRecord record;
    const auto corpus = small_corpus();
    const auto alone = pg::comm::Communicator::alone();
    pg::train::Trainer trainer(s, corpus, alone);
    BOOST_REQUIRE(trainer.run([](const auto&) { return true; }, record));
    return trainer.hashes();
  };
  const auto none = values(0, "all");
  const auto all = values(0.5, "all");
  const auto matrices = values(0.5, "matrices");
  const auto network = pg::train::network_of(s, small_corpus().vocabulary());
  const auto specs = network.parameter_specs();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const bool alpha = specs[i].name.ends_with("_alpha");
    const bool zero = specs[i].name.ends_with("_bias");  // they start there: nothing to decay
    BOOST_TEST_CONTEXT(specs[i].name) {
      if (!zero) BOOST_TEST((none[i].value == all[i].value) == alpha);
      BOOST_TEST((none[i].value == matrices[i].value) == (specs[i].shape.size() < 2));
    }
  }
}

BOOST_AUTO_TEST_CASE(half_precision_learns_as_float_does_and_float16_scales_the_loss) {
  auto s = small_settings();
  s.train.steps = 120;
  const auto corpus = small_corpus();
  const auto full = train(s, corpus);
  for (const char* precision : {"bfloat16", "float16"}) {
    s.train.precision = precision;
    const auto half = train(s, corpus);
    BOOST_TEST_CONTEXT(precision) {
      BOOST_TEST((half.summary.status == pg::record::TrialStatus::finished));
      BOOST_TEST(half.summary.parameter_hash != full.summary.parameter_hash);
      BOOST_TEST(half.summary.final_val_loss == full.summary.final_val_loss, tt::tolerance(0.01));
      BOOST_TEST(full.val_loss.front() > full.summary.final_val_loss + 0.1);
      // The first scale overflows the sums of a chunk; each step that did is skipped and said.
      const bool scales = std::string(precision) == "float16";
      BOOST_TEST((half.event_step.size() > 0) == scales);
      BOOST_TEST(half.event_step.size() < 20);
      BOOST_TEST(half.train_loss.size() + half.event_step.size() == 120);
    }
  }
}

BOOST_AUTO_TEST_CASE(alphas_are_in_the_record) {
  auto s = small_settings();
  s.model.n_layers = 2;
  BOOST_TEST(train(s, small_corpus()).alpha.empty());
  s.gate.unit = "pagelu";
  s.gate.policy = "layers";
  s.gate.alpha_start = 0.25;
  s.gate.alpha_end = 0.75;
  s.gate.attention = true;
  auto record = train(s, small_corpus());
  const std::size_t n = record.val_step.size();
  BOOST_REQUIRE(record.alpha.size() == 4 * n);
  for (std::size_t i = 0; i < record.alpha.size(); ++i) {
    BOOST_TEST(record.alpha[i] == (i % 2 == 0 ? 0.25 : 0.75));
  }
  s.gate.policy = "learnable";
  s.gate.alpha = 0.3;
  s.gate.attention_alpha = 0.6;
  record = train(s, small_corpus());
  BOOST_REQUIRE(record.alpha.size() == 4 * n);
  BOOST_TEST(record.alpha[0] == 0.3, tt::tolerance(0.3));  // has moved, not far
  BOOST_TEST(record.alpha[2] == 0.6, tt::tolerance(0.3));
  BOOST_TEST(record.alpha.front() != record.alpha[record.alpha.size() - 4]);
  s.gate.policy = "entropy";  // the mean over tokens, which are not sure of one feature
  record = train(s, small_corpus());
  for (const double alpha : record.alpha) {
    BOOST_TEST(alpha > 0.5);
    BOOST_TEST(alpha < 1);
  }
  s.gate.policy = "linear";
  s.gate.alpha_start = 1;
  s.gate.alpha_end = 0;
  record = train(s, small_corpus());
  BOOST_TEST(record.alpha.back() == 0.0);
  BOOST_TEST(record.alpha.front() == 1 - 9.0 / 39.0, tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(label_smoothing_raises_the_training_loss_only) {
  auto s = small_settings();
  const auto plain = train(s, small_corpus());
  s.train.label_smoothing = 0.2;
  const auto smoothed = train(s, small_corpus());
  BOOST_TEST(smoothed.train_loss.back() > plain.train_loss.back() + 0.05);
  BOOST_TEST(smoothed.val_loss.back() < smoothed.train_loss.back());
}

BOOST_AUTO_TEST_CASE(a_vocabulary_that_is_too_small_is_refused) {
  auto s = small_settings();
  s.model.vocab_size = 7;  // of 8 symbols
  const auto corpus = small_corpus();
  BOOST_CHECK_THROW(pg::train::network_of(s, corpus.vocabulary()), pg::InvalidInput);
  s.model.vocab_size = 100;
  BOOST_TEST(pg::train::count_parameters(s, corpus.vocabulary()) -
                 pg::train::count_parameters(small_settings(), corpus.vocabulary()) ==
             92 * 16);
  s = small_settings();
  s.model.arch = "t5";
  s.data.objective = "span_corruption";
  BOOST_TEST(pg::train::vocabulary_of(s, 8) == 8 + 1 + 2);  // one span of 16 tokens
}

BOOST_AUTO_TEST_CASE(measurements_are_in_the_record) {
  auto s = small_settings();
  const auto plain = train(s, small_corpus());
  BOOST_TEST(plain.tails_step.empty());
  const auto& summary = plain.summary;
  // 2 per weight of a matrix and of the tied head, and attention over what is visible.
  const double d = 16;
  BOOST_TEST(summary.forward_flops == 2 * (4 * d * d + 2 * d * 16 + 8 * d) + 4 * d * (16 + 1) / 2,
             tt::tolerance(1e-12));
  BOOST_TEST(summary.peak_memory_mb > 20);
  BOOST_TEST(summary.peak_memory_mb < 4000);
  BOOST_TEST(summary.peak_fraction > 1e-6);
  BOOST_TEST(summary.peak_fraction < 1);
  BOOST_TEST(summary.inference_s > 0);
  BOOST_TEST(summary.inference_s < 1);

  s.measure.gradient_tails = 10;
  const auto measured = train(s, small_corpus());
  BOOST_TEST(measured.summary.parameter_hash == summary.parameter_hash);  // looking changes nothing
  BOOST_TEST(measured.train_loss == plain.train_loss, tt::per_element());
  BOOST_TEST(measured.tails_step == (std::vector<std::int64_t>{10, 20, 30, 40}), tt::per_element());
  BOOST_REQUIRE(measured.gradient_tails.size() == 4 * pg::record::kGradientTails);
  BOOST_REQUIRE(measured.noise_tails.size() == 4 * pg::record::kNoiseTails);
}

// The first scale of float16 is too large for sums over a batch: the first steps are skipped.
BOOST_AUTO_TEST_CASE(a_run_may_end_before_any_step_counted) {
  auto s = small_settings();
  s.train.precision = "float16";
  s.train.steps = 1;
  s.schedule.warmup_steps = 0;
  const auto record = train(s, small_corpus());
  BOOST_TEST(record.train_loss.empty());
  BOOST_TEST(record.event_kind.size() == 1U);
  BOOST_TEST(std::isnan(record.summary.final_train_loss));
  BOOST_TEST(!record.summary.converged);
  BOOST_TEST(record.summary.final_val_loss > 0);
}

BOOST_AUTO_TEST_CASE(operators_without_a_fast_path_are_counted) {
  auto s = small_settings();
  s.model.n_layers = 2;
  s.train.steps = 12;
  const auto plain = [&] { return train(s, small_corpus()).summary.plain_operators; };
  BOOST_TEST(plain().empty());
  s.model.arch = "t5";  // biases, cross-attention
  s.model.positions = "relative";
  s.model.dropout = 0.1;
  s.data.objective = "prefix";
  s.gate.unit = "pagelu";
  BOOST_TEST(plain().empty());
  s = small_settings();
  s.model.n_layers = 2;
  s.gate.unit = "pagelu";
  s.gate.gate_norm = true;
  s.gate.form = "anchored";
  BOOST_TEST(plain().empty());
  s.gate.policy = "learnable";
  BOOST_TEST(plain().empty());
  s.gate.policy = "entropy";
  BOOST_TEST(plain() == "token_alpha 2");
  s.model.activation_checkpointing = true;  // a pass without a graph first
  BOOST_TEST(plain() == "token_alpha 2");
  s.gate = {};
  s.train.precision =
      "float16";  // no processor multiplies it here: qkv, out, up, down; and the head
  BOOST_TEST(plain() == "linear 9");
}

BOOST_AUTO_TEST_CASE(tails_are_those_of_the_gradient_and_of_its_noise) {
  auto s = small_settings();
  s.train.steps = 1;
  s.schedule.warmup_steps = 1;
  s.eval.tail_steps = 1;
  s.eval.tail_interval = 1;
  s.measure.gradient_tails = 1;
  const auto corpus = small_corpus();
  const auto record = train(s, corpus);
  BOOST_REQUIRE(record.gradient_tails.size() == pg::record::kGradientTails);

  const auto network = pg::train::network_of(s, corpus.vocabulary());
  pg::model::ParameterSet parameters(network.parameter_specs(), s.train.seed);
  const pg::train::ChunkReader reader(corpus.train, corpus.vocabulary(), pg::train::objective_of(s),
                                      pg::data::Objective::Split::train, 16, at::kCPU);
  const pg::data::Sampler sampler(static_cast<std::int64_t>(corpus.train.size()), 16, s.train.seed);
  const auto gradient = [&](std::int64_t n) {  // mean over the first n sequences
    std::vector<std::int64_t> positions;
    for (std::int64_t slot = 0; slot < n; ++slot) {
      positions.push_back(sampler.position(0, slot, s.train.batch));
    }
    parameters.gradients().zero_();
    network.loss_sum(parameters, reader.read(positions, 0)).backward();
    return (parameters.gradients() / static_cast<double>(n)).clone();
  };
  const at::Tensor batch = gradient(10);
  const at::Tensor noise = gradient(4) - batch;
  const auto estimates = [](const at::Tensor& g) {
    return pg::measure::tail_estimates({g.data_ptr<float>(), static_cast<std::size_t>(g.numel())});
  };
  const auto of_batch = estimates(batch);
  const auto of_noise = estimates(noise);
  const auto close = tt::tolerance(1e-4);
  for (std::size_t i = 0; i < 4; ++i) {
    BOOST_TEST(record.gradient_tails[i] == of_batch.hill[i]->alpha, close);
    BOOST_TEST(record.noise_tails[i] == of_noise.hill[i]->alpha, close);
  }
  BOOST_TEST(record.gradient_tails[4] == of_batch.ggd->shape, close);
  BOOST_TEST(record.noise_tails[4] == of_noise.ggd->shape, close);
  BOOST_TEST(record.gradient_tails[5] == of_batch.kurtosis->excess, close);
  BOOST_TEST(record.noise_tails[5] == of_noise.kurtosis->excess, close);
  BOOST_TEST(record.noise_tails[6] == of_noise.log_moment->alpha, close);
}
