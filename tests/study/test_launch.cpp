#define BOOST_TEST_MODULE launch
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "data/synthetic.hpp"
#include "study/device.hpp"
#include "study/launch_check.hpp"
#include "study/prove.hpp"
#include "study/workload.hpp"
#include "support/support.hpp"
#include "train/trainer.hpp"

using pg::study::RankIdentity;

BOOST_AUTO_TEST_CASE(what_differs_between_ranks_is_named_with_its_hosts) {
  const RankIdentity same{"node1", "s", "p", "c"};
  BOOST_TEST(pg::study::rank_differences({same, same, same}).empty());
  BOOST_TEST(pg::study::rank_differences({}).empty());
  const std::string text =
      pg::study::rank_differences({same, {"node2", "s", "q", "c"}, {"node3", "t", "q", "c"}});
  for (const char* part : {"settings of rank 2 on node3", "program of rank 1 on node2, rank 2"}) {
    BOOST_TEST(text.find(part) != std::string::npos, text);
  }
  BOOST_TEST(text.find("corpus") == std::string::npos);
  const std::vector<RankIdentity> many(20, {"node9", "s", "p", "other"});
  std::vector<RankIdentity> ranks = {same};
  ranks.insert(ranks.end(), many.begin(), many.end());
  BOOST_TEST(pg::study::rank_differences(ranks).find("and 16 more") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(ranks_get_their_own_gpu_or_are_refused) {
  using pg::study::gpu_of_rank;
  using pg::study::share_of_rank;
  // Two nodes of four ranks that see all GPUs of their node.
  const std::vector<std::string> free(4, "a 0,1,2,3");
  std::vector<std::string> views = free;
  views.insert(views.end(), 4, "b 0,1,2,3");
  for (int rank = 0; rank < 8; ++rank) {
    BOOST_TEST(gpu_of_rank(1, share_of_rank(views, rank), 4) == rank % 4);
  }
  // A launcher that gives each rank one GPU: it is device 0 there.
  const std::vector<std::string> bound = {"a 0", "a 1", "b 0", "b 1"};
  for (int rank = 0; rank < 4; ++rank) {
    BOOST_TEST(gpu_of_rank(1, share_of_rank(bound, rank), 1) == 0);
  }
  // Sharing is asked for, or refused by name.
  BOOST_TEST(gpu_of_rank(2, share_of_rank(views, 3), 2) == 1);
  pg::testing::check_error([&] { (void)gpu_of_rank(1, share_of_rank(views, 3), 2); },
                           pg::ExitCode::usage, {"4 ranks", "2 GPUs", "--ranks-per-gpu 2", "MPS"});
  pg::testing::check_error([&] { (void)gpu_of_rank(1, share_of_rank(views, 0), 0); },
                           pg::ExitCode::usage, {"no CUDA device", "--device cpu"});
}

BOOST_AUTO_TEST_CASE(memory_of_a_gpu_is_not_given_to_mpi) {
  const auto alone = pg::comm::Communicator::alone();
  BOOST_TEST(pg::study::exchange_on(at::kCPU, 600)(alone) != nullptr);
#ifndef PG_HAS_NCCL
  pg::testing::check_error(
      [&] {
        (void)pg::study::exchange_on({at::kCUDA, 0}, 600)(alone);
      },
      pg::ExitCode::usage, {"NCCL", "PG_NCCL=ON", "shard.degree=1"});
#endif
}

BOOST_AUTO_TEST_CASE(the_work_of_a_trial_counts_what_its_training_does) {
  const auto corpus = pg::data::synthetic_corpus({.symbols = 8, .length = 5000, .seed = 3}, 0.1);
  pg::config::Settings s;
  s.model.n_layers = 1;
  s.model.d_model = 16;
  s.model.n_heads = 2;
  s.model.d_ff = 16;
  s.data.sequence_length = 16;
  s.train.steps = 40;
  s.train.batch = 10;
  s.train.chunk = 4;
  s.eval.interval = 10;
  s.eval.tail_steps = 10;
  s.eval.tail_interval = 2;
  s.eval.sequences = 10;
  const auto work = pg::study::work_of(s, corpus);
  BOOST_TEST(work.steps == 40);
  BOOST_TEST(work.n_chunks == 3);
  BOOST_TEST(work.eval_chunks == 8 * 3);  // after 10, 20, 30, 32, ..., 40 steps
  BOOST_TEST(work.gradient_bytes == 4 * pg::train::count_parameters(s, 8));
  std::int64_t tokens = 0;
  for (int rank = 0; rank < 4; ++rank) tokens += pg::train::tokens_of_rank(s, rank, 4);
  BOOST_TEST(tokens == pg::train::tokens_in(s));
  // The scheduler knows no trainer, but counts the chunks of the busiest rank as it shares them
  // out.
  for (std::int64_t n_chunks = 1; n_chunks <= 70; ++n_chunks) {
    for (int size = 1; size <= 64; size *= 2) {
      const auto first = pg::train::chunks_of_rank(n_chunks, 0, size);
      BOOST_TEST(pg::scheduler::max_chunks_per_rank(n_chunks, size) == first.last - first.first);
    }
  }
  // What does not change a chunk does not change the shape; what does, does.
  auto other = s;
  other.optimizer.lr = 7;
  other.train.batch = 64;
  other.train.seed = 1;
  BOOST_TEST(pg::study::work_of(other, corpus).shape == work.shape);
  for (const char* change : {"model.d_ff", "train.chunk", "data.sequence_length"}) {
    auto changed = s;
    if (std::string(change) == "model.d_ff") changed.model.d_ff = 32;
    if (std::string(change) == "train.chunk") changed.train.chunk = 2;
    if (std::string(change) == "data.sequence_length") changed.data.sequence_length = 8;
    BOOST_TEST(pg::study::work_of(changed, corpus).shape != work.shape, change);
  }
}

BOOST_AUTO_TEST_CASE(a_proof_fails_where_a_bit_or_the_control_does) {
  using pg::study::Proof;
  using pg::study::ProofCase;
  const ProofCase one{"1 rank", 1, ProofCase::Kind::proof, {{"w", "a", "b", "c"}}, "l"};
  ProofCase control = one;
  control.kind = ProofCase::Kind::plain_sums;
  ProofCase plain = control;
  plain.tensors[0].value = "z";
  Proof proof{"t", 1, 4, {one, one, plain}};
  BOOST_TEST(proof.holds());
  BOOST_TEST(proof.control_differs());
  proof.cases.push_back(control);  // plain sums on two layouts differ
  BOOST_TEST(proof.control_differs());
  BOOST_TEST(!(Proof{"t", 1, 4, {one, control, control}}.control_differs()));
  ProofCase changed = plain;
  changed.kind = ProofCase::Kind::changed_bit;
  proof.cases.push_back(changed);
  BOOST_TEST(proof.holds());
  BOOST_TEST(proof.control_differs());
  changed.tensors = one.tensors;  // a changed bit that changes nothing shows that nothing is seen
  proof.cases.push_back(changed);
  BOOST_TEST(!proof.control_differs());
  for (int part = 0; part < 4; ++part) {
    ProofCase other = one;
    (part == 0   ? other.tensors[0].value
     : part == 1 ? other.tensors[0].moment1
     : part == 2 ? other.tensors[0].moment2
                 : other.losses) = "z";
    BOOST_TEST(!(Proof{"t", 1, 4, {one, other, plain}}.holds()));
  }
}
