// Grids and optima from anybody's tables: what is read, what is refused, and the origin project's
// own two tables with honest intervals.
#define BOOST_TEST_MODULE post_grid_table
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "base/files.hpp"
#include "postprocess/fits/scaling_fit.hpp"
#include "postprocess/report/assessment.hpp"
#include "postprocess/report/written.hpp"
#include "postprocess/results/grid_table.hpp"
#include "support/support.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::post;

/// A table of its own for one test, removed at the end.
class Csv {
 public:
  explicit Csv(const std::string& text) { pg::write_in_place(path(), text); }
  [[nodiscard]] fs::path path() const { return folder_ / "table.csv"; }

 private:
  pg::testing::ScratchFolder folder_;
};

const GridColumns kColumns{"B", "lr", "loss", ""};

/// The message of the InvalidInput (data) that reading throws.
std::string refusal(const std::string& text, const GridColumns& columns = kColumns) {
  const Csv csv(text);
  try {
    read_grid(csv.path(), columns);
  } catch (const pg::InvalidInput& error) {
    BOOST_TEST((error.exit_code() == pg::ExitCode::bad_data));
    return error.what();
  }
  return "";
}

void check_says(const std::string& message, const std::string& words) {
  BOOST_TEST(message.find(words) != std::string::npos, message << " does not say: " << words);
}

void check_near(double value, double expected, double tolerance) {
  BOOST_TEST(std::abs(value - expected) <= tolerance, value << " is not " << expected);
}

const Optimum& optimum_at(const ScalingFit& fit, std::int64_t batch) {
  for (const Optimum& o : fit.optima) {
    if (o.batch == batch) return o;
  }
  BOOST_FAIL("no optimum for this batch");
  return fit.optima.front();
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_grid_with_missing_and_diverged_cells_is_read) {
  const Csv csv(
      "\xEF\xBB\xBF"
      "B,lr,loss\r\n8,1e-3,2.5\r\n8,3e-3,\r\n8,1e-2,nan\r\n16,1e-3,NA\r\n"
      "16,3e-3,diverged\r\n16,1e-2,2.25\r\n");
  const RunResults results = read_grid(csv.path(), kColumns);
  const std::vector<BatchCells> cells = cell_table(results, Stages::grid);
  BOOST_REQUIRE(cells.size() == 2U);
  BOOST_TEST((cells[0].cells[0].state == CellState::usable));
  BOOST_TEST((cells[0].cells[1].state == CellState::missing));
  BOOST_TEST((cells[0].cells[2].state == CellState::diverged));
  BOOST_TEST((cells[1].cells[0].state == CellState::missing));
  BOOST_TEST((cells[1].cells[1].state == CellState::diverged));
  BOOST_TEST(cells[1].cells[2].loss == 2.25);
  BOOST_TEST(results.planned_grid_trials == 6);
  BOOST_TEST(results.table_sha256.size() == 64U);
}

BOOST_AUTO_TEST_CASE(seeds_are_averaged_and_repeats_refused) {
  const std::string text = "B,lr,loss,seed\n8,1e-3,2.5,1\n8,1e-3,2.7,2\n";
  const Csv csv(text);
  const RunResults results = read_grid(csv.path(), {"B", "lr", "loss", "seed"});
  const std::vector<BatchCells> cells = cell_table(results, Stages::grid);
  BOOST_TEST(cells[0].cells[0].n_seeds == 2);
  check_near(cells[0].cells[0].loss, 2.6, 1e-15);
  check_says(refusal(text), "--seed-column");
  check_says(refusal("B,lr,loss\n8,1e-3,2.5\n8,0.0010000000001,2.6\n"), "repeats line 2");
}

BOOST_AUTO_TEST_CASE(bad_cells_are_refused_by_row_and_column) {
  check_says(refusal("B,lr,loss\n8,1e-3,2.5\n0,1e-3,2.5\n"), ":3: B is \"0\"");
  check_says(refusal("B,lr,loss\n8.5,1e-3,2.5\n"), "a whole number");
  check_says(refusal("B,lr,loss\n8,-1e-3,2.5\n"), "above zero");
  check_says(refusal("B,lr,loss\n8,1e-3,low\n"), "the loss is \"low\"");
  check_says(refusal("B,lr,loss\n8,1e-3,\n"), "no row with a loss");
  check_says(refusal("B,lr,loss\n8,1e-3\n"), "2");
  check_says(refusal("B,lr,los\n8,1e-3,2\n"), "los");
}

BOOST_AUTO_TEST_CASE(the_origins_grid_has_edges_wide_intervals_and_no_verdict) {
  const auto file =
      pg::testing::shared_data("heavy_tailed_gradients/phase2_5_wikitext_char_lr_batch.csv");
  if (!file) return;
  const RunResults results = read_grid(*file, {"batch_size", "lr", "final_val_loss", ""});
  const ScalingFit fit = fit_scaling(results);
  // Golden figures: statsmodels and R on the four argmins (golden/ols_golden.json).
  BOOST_REQUIRE(fit.argmin.ok());
  check_near(fit.argmin.beta, 1.170274987882828, 1e-9);
  check_near(fit.argmin.beta_se, 0.28397828566843875, 1e-9);
  check_near(*fit.argmin.r2, 0.894640658551502, 1e-9);
  check_near(fit.argmin.ln_c, -10.754432914468326, 1e-9);
  const double reach = 4.302652729911275 * 0.28397828566843875;  // t_2, not the origin's 2
  check_near(fit.argmin.beta_ci95.low, 1.170274987882828 - reach, 1e-8);
  check_near(fit.argmin.beta_ci95.high, 1.170274987882828 + reach, 1e-8);
  for (const double theory : {0.0, 1.0 / 3, 0.5, 2.0 / 3, 1.0}) {
    BOOST_TEST(fit.argmin.beta_ci95.contains(theory), "the interval excludes " << theory);
  }
  BOOST_TEST((optimum_at(fit, 128).state == OptimumState::edge_high));
  BOOST_TEST((optimum_at(fit, 256).state == OptimumState::edge_high));
  BOOST_TEST(optimum_at(fit, 32).non_unimodal);
  const Assessment assessment = assess(results, fit);
  BOOST_TEST(assessment.verdict.word == "indeterminate");
  BOOST_TEST(assessment.verdict.extend_grid);
  BOOST_TEST(assessment.scenario.word == "indeterminate");
  check_says(fit_json(results, fit, assessment), "\"verdict\": \"indeterminate\"");
}

BOOST_AUTO_TEST_CASE(the_origins_table_of_optima_excludes_nothing) {
  const auto file = pg::testing::shared_data("heavy_tailed_gradients/phase2_optima.csv");
  if (!file) return;
  const std::vector<double> rates = {3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2};
  const RunResults results = read_optima(*file, "batch_size", "lr_opt", rates);
  const ScalingFit fit = fit_optima(results, rates);
  BOOST_REQUIRE(fit.argmin.ok());
  check_near(fit.argmin.beta, -0.35592086730936046, 1e-9);
  check_near(fit.argmin.beta_se, 0.26920986042232825, 1e-9);
  check_near(*fit.argmin.r2, 0.2590324445278601, 1e-9);
  check_near(fit.argmin.beta_ci95.low, -0.35592086730936046 - 0.6920259774392262, 1e-8);
  check_near(fit.argmin.beta_ci95.high, -0.35592086730936046 + 0.6920259774392262, 1e-8);
  // R: survreg(Surv(low, high, type = "interval2") ~ log(B), dist = "gaussian").
  BOOST_TEST_REQUIRE(fit.censored.ok(), fit.censored.status);
  check_near(fit.censored.beta, -0.366324, 1e-4);
  check_near(fit.censored.beta_se, 0.229907, 1e-4);
  // Known from the grid: the optimum at 512 lies on its lower edge and is a bound, no value.
  BOOST_TEST((optimum_at(fit, 512).state == OptimumState::edge_low));
  check_near(fit.line.beta, 0.054, 0.02);
  const Assessment assessment = assess(results, fit);
  BOOST_TEST(assessment.verdict.word == "indeterminate");
  BOOST_TEST(assessment.verdict.extend_grid);
  for (const Criterion& c : assessment.criteria) {
    const bool about_the_run = c.name == "all_trials" || c.name == "beta_with_interval";
    BOOST_TEST((about_the_run || c.outcome == "indeterminate"), c.name << " is " << c.outcome);
  }
  // Without the grid every optimum is taken at face value, and still nothing is decided.
  const RunResults plain = read_optima(*file, "batch_size", "lr_opt", {});
  const ScalingFit plain_fit = fit_optima(plain, {});
  check_near(plain_fit.headline().beta, -0.35592086730936046, 1e-9);
  BOOST_TEST(assess(plain, plain_fit).verdict.word == "indeterminate");
}

BOOST_AUTO_TEST_CASE(an_optimum_off_the_grid_is_refused) {
  const Csv csv("B,lr\n8,3e-4\n16,5e-4\n");
  BOOST_CHECK_EXCEPTION(read_optima(csv.path(), "B", "lr", {1e-4, 3e-4, 1e-3}), pg::InvalidInput,
                        [](const pg::InvalidInput& e) {
                          return std::string(e.what()).find("0.0005 is not on the grid") !=
                                 std::string::npos;
                        });
}
