// pgpost fit --model from outside: tables in, words, JSON and exit codes out.
#define BOOST_TEST_MODULE table_command
#include <fmt/format.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "postprocess/pgpost_program.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using Folder = pg::testing::ScratchFolder;

using pg::test::Run;

Run fit(const std::string& arguments) {
  return pg::test::pgpost("fit " + arguments);
}

std::string write(const Folder& folder, const std::string& name, const std::string& text) {
  pg::write_in_place(folder / name, text);
  return (folder / name).string();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Best learning rates that bend (test_laws.cpp has R's figures for them).
const std::string kRates =
    "batch,lr\n8,3.1e-4\n16,4.4e-4\n32,7.9e-4\n64,9.6e-4\n128,1.35e-3\n256,1.41e-3\n512,1.62e-3\n";

}  // namespace

BOOST_AUTO_TEST_CASE(a_table_from_end_to_end) {
  const Folder folder;
  const std::string file = write(folder, "rates.csv", kRates);
  const std::string common = "--model saturating --csv " + file +
                             " --x batch --y lr --predict 1024 --predict 64 --test B_n=40"
                             " --test B_n=400 --margin 30 --bootstrap 300 --seed 5 ";
  const Run text = fit(common);
  BOOST_TEST(text.code == 0, text.err);
  for (const char* part :
       {"eta = eta_max / (1 + B_n / B)", "saturating", "AICc", "B_n", "exp of profile",
        "bootstrap of 300 replicates, seed 5", "rival", "log_quadratic", "leave one out",
        "extrapolated", "conventions", "k counts sigma", "sha256", "B_n = 400"}) {
    BOOST_TEST(contains(text.out, part), part << " is not in " << text.out);
  }
  const Run run = fit(common + "--format json --threads 1");
  BOOST_TEST(run.code == 0, run.err);
  const json out = json::parse(run.out);
  BOOST_TEST(out["model"] == "saturating");
  BOOST_TEST(out["clean"] == true);
  BOOST_TEST(out["input"]["sha256"] == pg::sha256_hex(kRates));
  BOOST_TEST(out["seed"] == 5);
  BOOST_TEST(!out["version"].get<std::string>().empty());
  BOOST_TEST(out["conventions"].size() > 6U);
  const json group = out["groups"][0];
  BOOST_TEST(group["status"] == "ok");
  BOOST_TEST(group["n"] == 7);
  BOOST_TEST(group["df"] == 5);
  BOOST_TEST(std::abs(group["aicc"].get<double>() - -4.05965955993) < 1e-6);  // R
  BOOST_TEST(group["parameters"][1]["name"] == "B_n");
  BOOST_TEST(std::abs(std::log(group["parameters"][1]["estimate"].get<double>()) - 3.66465291) <
             1e-6);
  BOOST_TEST(group["covariance"].size() == 2U);
  BOOST_TEST(group["points"].size() == 7U);
  BOOST_TEST(group["points"][0]["line"] == 2);
  BOOST_TEST(group["rivals"][0]["law"] == "saturating");
  BOOST_TEST(group["rivals"].size() == 5U);
  BOOST_TEST(group["predictions"][0]["extrapolated"] == true);
  BOOST_TEST(group["predictions"][1]["extrapolated"] == false);
  BOOST_TEST(group["predictions"][0]["prediction_ci95"][0].get<double>() <
             group["predictions"][0]["mean_ci95"][0].get<double>());
  BOOST_TEST(group["hypotheses"][0]["in_ci95"] == true);
  BOOST_TEST(group["hypotheses"][1]["in_ci95"] == false);
  BOOST_TEST(group["hypotheses"][1]["p_holm"].get<double>() >
             group["hypotheses"][1]["p"].get<double>());
  BOOST_TEST(group["hypotheses"][0]["equivalence_p"].get<double>() < 0.05);
  BOOST_TEST(group["bootstrap"]["parameters"][1]["ci_method"] == "percentile");
  BOOST_TEST(group["hold_out"]["largest_points"][0] == 6);
  // The same bytes for any number of threads, and another seed is another bootstrap.
  BOOST_TEST(fit(common + "--format json --threads 2").out == run.out);
  BOOST_TEST(fit(common + "--format json --seed 6").out != run.out);
}

BOOST_AUTO_TEST_CASE(row_order_changes_no_estimate) {
  const Folder folder;
  const std::string file = write(folder, "rates.csv", kRates);
  const std::string turned = write(folder, "turned.csv",
                                   "lr,batch\n1.62e-3,512\n4.4e-4,16\n9.6e-4,64\n7.9e-4,"
                                   "32\n1.41e-3,256\n3.1e-4,8\n1.35e-3,128\n");
  const auto parameters = [&](const std::string& csv) {
    const Run run = fit("--model saturating --format json --x batch --y lr --csv " + csv);
    return json::parse(run.out)["groups"][0]["parameters"];
  };
  const json a = parameters(file);
  const json b = parameters(turned);
  for (std::size_t j = 0; j < a.size(); ++j) {
    BOOST_TEST(a[j]["estimate"].get<double>() == b[j]["estimate"].get<double>(),
               boost::test_tools::tolerance(1e-8));
  }
}

BOOST_AUTO_TEST_CASE(a_break_is_reported_with_its_p_value) {
  const Folder folder;
  const std::string file = write(folder, "rates.csv", kRates);
  const std::string common = "--x batch --y lr --seed 5 --csv " + file;
  const Run text = fit("--model broken_power " + common);
  BOOST_TEST(text.code == 0, text.err);
  BOOST_TEST(contains(text.out, "by parametric bootstrap of 9999 replicates, seed 5"), text.out);
  const Run run = fit("--model broken_power --format json --threads 1 " + common);
  const json test = json::parse(run.out)["groups"][0]["break_test"];
  BOOST_TEST(test["status"] == "ok");
  BOOST_TEST(test["p"].get<double>() > 0);
  BOOST_TEST(test["p"].get<double>() < 0.2);
  BOOST_TEST(fit("--model broken_power --format json --threads 2 " + common).out == run.out);
  // Too few points, and a law without a break.
  const std::string few = " --where batch=8 ";
  BOOST_TEST(contains(fit("--model broken_power" + few + common).out,
                      "no p-value: 1 points, but a break needs 7"));
  const json none = json::parse(fit("--model broken_power --format json" + few + common).out);
  BOOST_TEST(none["groups"][0]["break_test"]["p"].is_null());
  const json power = json::parse(fit("--model power --format json " + common).out);
  BOOST_TEST(!power["groups"][0].contains("break_test"));
}

BOOST_AUTO_TEST_CASE(groups_have_a_fit_each_and_a_summary) {
  const Folder folder;
  std::string text = "batch,lr,model\n";
  for (int i = 3; i < 10; ++i) {
    text += std::to_string(1 << i) + "," + std::to_string(1e-4 * std::exp2(0.5 * i)) + ",small\n";
    text += std::to_string(1 << i) + "," + std::to_string(2e-5 * std::exp2(1.0 * i)) + ",large\n";
  }
  text += "8,0.001,tiny\n";
  const std::string file = write(folder, "groups.csv", text);
  const Run run = fit("--model power --x batch --y lr --group model --format json --csv " + file);
  BOOST_TEST(run.code == 0, run.err);
  const json groups = json::parse(run.out)["groups"];
  BOOST_REQUIRE(groups.size() == 3U);
  BOOST_TEST(groups[0]["group"] == "model=small");
  BOOST_TEST(std::abs(groups[0]["parameters"][1]["estimate"].get<double>() - 0.5) < 1e-3);
  BOOST_TEST(std::abs(groups[1]["parameters"][1]["estimate"].get<double>() - 1.0) < 1e-3);
  BOOST_TEST(groups[2]["status"] == "not_identifiable");
  BOOST_TEST(!groups[2].contains("parameters"));
  const Run strict = fit("--model power --x batch --y lr --group model --strict --csv " + file);
  BOOST_TEST(strict.code == 65);
  BOOST_TEST(contains(strict.out, "model=tiny"));  // everything is printed all the same
  BOOST_TEST(contains(strict.out, "1 points, but power needs at least 3"), strict.out);
  BOOST_TEST(
      fit("--model power --x batch --y lr --where model=small --strict --csv " + file).code == 0);
}

BOOST_AUTO_TEST_CASE(two_variables_and_their_own_bootstrap) {
  const Folder folder;
  std::string text = "N,D,loss\n";
  for (const double n : {1e6, 4e6, 16e6, 64e6, 256e6, 1e9}) {
    for (const double d : {2e7, 1e8, 5e8, 2.5e9}) {
      const double wiggle = 1 + 0.004 * std::sin(n * 1e-6 + d * 3e-8);
      text += std::to_string(n) + "," + std::to_string(d) + "," +
              std::to_string(wiggle * (1.7 + 400 / std::pow(n, 0.34) + 420 / std::pow(d, 0.29))) +
              "\n";
    }
  }
  const std::string file = write(folder, "losses.csv", text);
  const std::string common = " --x N,D --y loss --format json --csv " + file;
  Run run = fit("--model chinchilla --predict 1e9,1e10 --bootstrap 200" + common);
  BOOST_TEST(run.code == 0, run.err);
  json group = json::parse(run.out)["groups"][0];
  BOOST_TEST(group["objective"]["name"] == "sum of Huber(0.001)");
  BOOST_TEST(group["parameters"][3]["ci_method"] == "bootstrap percentile");
  BOOST_TEST(group["covariance"].size() == 5U);
  BOOST_TEST(group["predictions"][0]["y"].get<double>() > 1.7);
  run = fit("--model chinchilla_nls --where D=1e8" + common + " --strict");
  BOOST_TEST(run.code == 65);
  group = json::parse(run.out)["groups"][0];
  BOOST_TEST(group["status"] == "not_identifiable");
  BOOST_TEST(contains(group["detail"].get<std::string>(), "part of E"));
  BOOST_TEST(fit("--model chinchilla --x N --y loss --csv " + file).code == 64);
}

BOOST_AUTO_TEST_CASE(what_is_left_out_is_said_and_strict_minds) {
  const Folder folder;
  const std::string holes = write(folder, "holes.csv", kRates + "1024,\n");
  const std::string ragged = write(folder, "ragged.csv", kRates + "1024\n");
  const std::string zero = write(folder, "zero.csv", kRates + "1024,0\n");
  const auto run = [&](const std::string& file, const std::string& more = "") {
    return fit("--model saturating --x batch --y lr --csv " + file + " " + more);
  };
  BOOST_TEST(run(holes).code == 0);
  BOOST_TEST(contains(run(holes).out, "left out line 9: lr is missing"));
  BOOST_TEST(run(holes, "--strict").code == 65);
  BOOST_TEST(run(ragged).code == 65);
  BOOST_TEST(contains(run(ragged).err, "ragged.csv:9: 1 cells instead of 2"));
  BOOST_TEST(run(ragged, "--skip-ragged").code == 0);
  BOOST_TEST(run(ragged, "--skip-ragged --strict").code == 65);
  BOOST_TEST(run(zero).code == 65);
  BOOST_TEST(contains(run(zero).err, "zero.csv:9: y is 0"));
  // A power law through points that bend: a warning, which only --strict minds.
  const std::string bent = write(folder, "bent.csv", kRates);
  const std::string power = "--model power --x batch --y lr --csv " + bent;
  BOOST_TEST(fit(power).code == 0);
  BOOST_TEST(contains(fit(power).out, "warning: the residuals are curved"));
  BOOST_TEST(fit(power + " --strict").code == 65);
}

BOOST_AUTO_TEST_CASE(command_lines_that_make_no_sense) {
  const Folder folder;
  const std::string file = write(folder, "rates.csv", kRates);
  const std::string base = "--csv " + file + " --x batch --y lr ";
  BOOST_TEST(fit("--model list").code == 0);
  BOOST_TEST(contains(fit("--model list").out, "chinchilla_lad"));
  BOOST_TEST(json::parse(fit("--model list --format json").out).size() >= 17U);
  BOOST_TEST(contains(fit("--model satrating " + base).err, "'saturating'"));
  BOOST_TEST(fit("--model satrating " + base).code == 64);
  BOOST_TEST(fit("--model power --csv " + file + " --x bach --y lr").code == 65);
  BOOST_TEST(contains(fit("--model power --csv " + file + " --x bach --y lr").err, "'batch'"));
  for (const std::string& arguments :
       {std::string("--model power --x batch --y lr"), "--model power --x batch --csv " + file,
        std::string("--strict"), base, ". --model power " + base,
        "--model power --margin 0.1 " + base, "--model power --test gamma=1 " + base,
        "--model power --test beta " + base, "--model power --predict 1,2 " + base,
        "--model power --predict x " + base, "--model power --predict -1 " + base,
        "--model power --bootstrap 3 " + base, "--model power --cluster lr " + base,
        "--model power --where batch " + base}) {
    BOOST_TEST(fit(arguments).code == 64, arguments << " gave " << fit(arguments).code);
  }
  BOOST_TEST(fit("--model power --csv /nowhere.csv --x a --y b").code == 74);
}

BOOST_AUTO_TEST_CASE(the_torn_row_of_a_public_table) {
  const auto file = pg::testing::shared_data("heavy_tailed_gradients/phase3a_extended_lr.csv");
  if (!file) return;
  const std::string common =
      "--model constant --x lr --y final_val_loss --group batch_size --csv " + file->string();
  const Run refused = fit(common);
  BOOST_TEST(refused.code == 65);
  BOOST_TEST(contains(refused.err, ":11: 10 cells instead of 11: 256,0.10,1.0,..."), refused.err);
  const Run skipped = fit(common + " --skip-ragged --format json");
  BOOST_TEST(skipped.code == 0, skipped.err);
  const json out = json::parse(skipped.out);
  BOOST_TEST(out["groups"][0]["n"] == 5);
  BOOST_TEST(out["groups"][1]["n"] == 4);
  BOOST_TEST(out["excluded_rows"][0]["line"] == 11);
}

// ---- batch_scaling: the analysis of a run from a table ----

namespace {

/// A 4 x 6 grid on exact parabolas: LR* = 1e-3 (B / 64)^(2/3), loss 2 + 0.02 u^2 and a little more
/// in cells that alternate, so that there is a residual.
std::string grid_table() {
  std::string text = "B,lr,loss\n";
  int cell = 0;
  for (const double batch : {16.0, 64.0, 256.0, 1024.0}) {
    for (const double lr : {1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2}) {
      const double u = std::log(lr / 1e-3) - 2.0 / 3 * std::log(batch / 64);
      text += fmt::format("{},{},{:.9f}\n", batch, lr, 2 + 0.02 * u * u + (++cell % 2) * 1e-4);
    }
  }
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_grid_of_losses_is_fitted_like_a_run) {
  const Folder folder;
  const std::string file = write(folder, "grid.csv", grid_table());
  const std::string command = "--model batch_scaling --csv " + file + " --x B,lr --y loss";
  const Run text = fit(command);
  BOOST_TEST(text.code == 0, text.err);
  BOOST_TEST(contains(text.out, "what the source asks of the study"));
  const Run run = fit(command + " --format json --bootstrap 200 --seed 7 --threads 1");
  const json out = json::parse(run.out);
  BOOST_TEST(out["method"] == "joint_surface");
  BOOST_TEST(std::abs(out["beta"].get<double>() - 2.0 / 3) < 0.02);
  BOOST_TEST(out["bootstrap"][1]["n_replicates"] == 200);
  BOOST_TEST(out["bootstrap"][1]["seed"] == 7);
  BOOST_TEST(out["criteria"].size() == 6U);
  BOOST_TEST(out["design"]["pairs"].size() == 2U);
  BOOST_TEST(fit(command + " --format json --bootstrap 200 --seed 7 --threads 2").out == run.out);
  // The same numbers, but a cell is missing: only --strict ends with 65.
  const std::string holed = write(folder, "holed.csv", grid_table() + "512,1e-3,\n512,3e-3,2.1\n");
  const std::string again = "--model batch_scaling --csv " + holed + " --x B,lr --y loss";
  BOOST_TEST(fit(again).code == 0);
  BOOST_TEST(fit(again + " --strict").code == 65);
}

BOOST_AUTO_TEST_CASE(what_batch_scaling_cannot_use_is_refused) {
  const Folder folder;
  const std::string grid = write(folder, "grid.csv", grid_table());
  const std::string optima = write(folder, "optima.csv", kRates);
  const std::string empty = write(folder, "empty.csv", "batch,lr\n");
  const std::string losses = "--model batch_scaling --csv " + grid + " --x B,lr --y loss ";
  const std::string best = "--model batch_scaling --csv " + optima + " --x batch --y lr ";
  const std::tuple<std::string, int, std::string> cases[] = {
      {losses + "--weights loss", 64, "--weights with --model batch_scaling"},
      {losses + "--predict 64", 64, "--predict with --model batch_scaling"},
      {losses + "--test beta=0.5", 64, "--test with --model batch_scaling"},
      {losses + "--where B=16", 64, "--where with --model batch_scaling"},
      {losses + "--grid 1e-3", 64, "--grid with a table of losses"},
      {best + "--seed-column lr", 64, "--seed-column with a table of optima"},
      {best + "--grid 1e-3,much", 64, "--grid has \"much\""},
      {best + "--grid 1e-3,-1", 64, "above zero"},
      {best + "--grid 1e-3,1e-3", 64, "names 0.001 twice"},
      {best + "--grid 1e-3,3e-3", 65, "is not on the grid"},
      {"--model batch_scaling --csv " + grid + " --x B,lr", 64, "--x BATCH,LR --y LOSS"},
      {"--model batch_scaling --csv " + empty + " --x batch --y lr", 65, "a header and no row"},
      {"--model power --csv " + optima + " --x batch --y lr --grid 1e-3", 64,
       "belong to --model batch_scaling"},
  };
  for (const auto& [arguments, code, words] : cases) {
    const Run run = fit(arguments);
    BOOST_TEST(run.code == code, arguments << ": " << run.err);
    BOOST_TEST(contains(run.err, words), arguments << ": " << run.err);
  }
}
