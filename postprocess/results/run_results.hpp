// results: a run directory as tables of trials and cells. May know base, config and record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "postprocess/results/origin.hpp"
#include "record/run_directory.hpp"

namespace pg::post {

/// Two learning rates are the same when they agree to this relative tolerance.
inline constexpr double kSameLr = 1e-6;
bool same_lr(double a, double b);

/// A run as pgpost sees it. `trials` holds every readable record, in the order of scan_trials.
struct RunResults {
  std::filesystem::path root;
  config::Study study;  ///< of study.yaml; the defaults where there is none
  bool has_study_file = false;
  /// Where the losses are from a table (read_grid) and not from a run directory; `root` is empty.
  std::filesystem::path table;
  std::string table_sha256;
  std::string selection;  ///< "gate.alpha=0.5" when only a part of the trials was asked for
  std::vector<record::TrialRecord> trials;
  std::vector<record::DamagedTrial> damaged;  ///< trials, and transfer.json if it is
  std::vector<Origin> origins;                ///< one for each trial; empty for a table
  std::vector<std::string> origin_warnings;   ///< unknown or mixed origin
  /// LR* of the anchor batch as the transfer stage took it (transfer.json), if it has run.
  std::optional<double> transfer_optimum_lr;
  std::int64_t planned_grid_trials = 0;  ///< by study.yaml's axes, else by the values seen
};

/// study.yaml of a run directory, if there is one. Throws InvalidInput (data) where it is not
/// valid.
std::optional<config::Study> read_study(const std::filesystem::path& root);

/// Reads study.yaml and the trials. Settings beyond batch, learning rate and seed may vary only
/// if `where` ("path=value", repeatable) picks one value of each: one law is fitted at a time.
/// Throws InvalidInput (data): no such folder, no trials at all, nothing selected, other settings
/// vary, mixed origin (see require_one_origin). A damaged file never throws: it is listed.
RunResults load_results(const std::filesystem::path& root, const std::vector<std::string>& where,
                        bool allow_mixed);

/// "path=value" as its two parts. Throws InvalidInput (settings).
std::pair<std::string, std::string> split_condition(const std::string& condition);

/// Trials that the grid should have: all batches x all learning rates x all seeds, by study.yaml's
/// axes and by what was seen.
std::int64_t count_planned_trials(const RunResults& results);

enum class CellState {
  usable,    ///< every seed finished
  diverged,  ///< at least one seed diverged: infinitely bad for the argmin, never interpolated
  missing,   ///< planned, but no finished trial (failed, damaged or not yet run)
};

/// All seeds of one (batch, learning rate).
struct Cell {
  std::int64_t batch = 0;
  double lr = 0;
  CellState state = CellState::missing;
  std::string stage;                ///< grid, refine or transfer
  int n_seeds = 0;                  ///< finished trials behind `loss`
  double loss = 0;                  ///< mean over seeds, nats per token
  double seed_sd = 0;               ///< between seeds; 0 with one seed
  double eval_se = 0;               ///< root mean square of the trials' own final_val_loss_se
  bool converged = true;            ///< every trial
  double clip_fraction = 0;         ///< mean over trials
  double epochs = 0;                ///< largest
  std::vector<std::size_t> trials;  ///< indices into RunResults::trials
};

/// One batch size: cells by rising learning rate.
struct BatchCells {
  std::int64_t batch = 0;
  std::vector<Cell> cells;
};

enum class Stages { grid, grid_and_refine, all };

/// Cells of the chosen stages by rising batch. Grid cells that were planned (study.yaml, else the
/// product of the values seen) but have no trial appear as missing.
std::vector<BatchCells> cell_table(const RunResults& results, Stages stages);

/// The cell of a batch at a learning rate, or nothing.
const Cell* find_cell(const std::vector<BatchCells>& table, std::int64_t batch, double lr);

/// Middle distance between neighbouring ln LR of the grid stage; ln(10)/2 where there is none.
double grid_step(const std::vector<BatchCells>& grid);

}  // namespace pg::post
