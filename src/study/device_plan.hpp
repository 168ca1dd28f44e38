#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "ledger/ledger.hpp"

namespace pg::study {

/// What the trials of a study cost on a number of devices, from the settings alone.
struct DevicePlan {
  struct Row {
    std::string id;
    ledger::Ledger ledger;
  };
  std::string study;
  ledger::Device device;
  int n_ranks = 1;
  std::vector<Row> rows;              ///< the grid's trials
  std::size_t largest = 0;            ///< the row that needs the most memory
  std::vector<std::string> warnings;  ///< what will not fit, and what would
  std::vector<std::string> notes;     ///< what could be better
  double device_hours = 0;            ///< of all trials
  double days = 0;                    ///< of all trials, with every rank busy
};

/// Throws InvalidInput (settings) for an unknown device, else as make_plan().
DevicePlan plan_for_device(const config::Study& study, int n_ranks, const std::string& device);
std::string device_plan_text(const DevicePlan& plan);
std::string device_plan_json(const DevicePlan& plan);

}  // namespace pg::study
