#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "record/trial_record.hpp"

namespace pg::record {

/// Where things are in a run directory. Holds no state but the path.
class RunDirectory {
 public:
  explicit RunDirectory(std::filesystem::path root) : root_(std::move(root)) {}
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path study_file() const { return root_ / "study.yaml"; }
  [[nodiscard]] std::filesystem::path provenance_file() const { return root_ / "provenance.json"; }
  [[nodiscard]] std::filesystem::path progress_file() const { return root_ / "progress.json"; }
  [[nodiscard]] std::filesystem::path schedule_file() const { return root_ / "schedule.json"; }
  /// Where each rank was last: one file a rank, of the last launch.
  [[nodiscard]] std::filesystem::path ranks_folder() const { return root_ / "ranks"; }
  [[nodiscard]] std::filesystem::path results_file() const { return root_ / "results.csv"; }
  [[nodiscard]] std::filesystem::path trials_folder() const { return root_ / "trials"; }
  [[nodiscard]] std::filesystem::path trial_folder(const std::string& id) const {
    return trials_folder() / id;
  }
  [[nodiscard]] std::filesystem::path generations_folder(const std::string& id) const {
    return trial_folder(id) / "generations";
  }
  /// A run that finds it stops as on a signal, and removes it.
  [[nodiscard]] std::filesystem::path stop_file() const { return root_ / "stop"; }
  [[nodiscard]] std::filesystem::path metrics_file(const std::string& id) const {
    return trial_folder(id) / "metrics.h5";
  }

 private:
  std::filesystem::path root_;
};

/// Removes what a killed launch left half written: files of the run and of its trials that never
/// got their name. For the start of a launch, before anything is written; those of ranks_folder()
/// and of generations belong to others.
void remove_unfinished(const RunDirectory& run);

struct DamagedTrial {
  std::string id;
  std::filesystem::path file;
  std::string reason;
};

/// What the trials folder holds: records sorted by (stage grid < refine < transfer, id).
struct Scan {
  std::vector<TrialRecord> records;
  std::vector<DamagedTrial> damaged;
};
/// An absent trials folder is an empty scan; a damaged file is listed. Throws IoError for a file
/// that the system does not let us read.
Scan scan_trials(const RunDirectory& run);

/// results.csv: one row per trial; the columns of TrialSummary after one column per varied setting.
void write_results_csv(const std::filesystem::path& file, const std::vector<TrialSummary>& rows);

}  // namespace pg::record
