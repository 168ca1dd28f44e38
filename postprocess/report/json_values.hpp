#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "postprocess/fits/law.hpp"
#include "postprocess/results/origin.hpp"
#include "postprocess/stats/inference.hpp"

// How values are written in every JSON file of pgpost.

namespace pg::post {

using Json = nlohmann::ordered_json;

/// null for what is unbounded or not known: JSON has no infinity.
inline Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

/// [low, high].
inline Json interval(const Interval& value) {
  return Json::array({number(value.low), number(value.high)});
}

template <typename T>
Json optional_number(const std::optional<T>& value) {
  return value ? number(*value) : Json(nullptr);
}

inline Json pairs_json(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json out = Json::object();
  for (const auto& [name, value] : pairs) out[name] = value;
  return out;
}

inline Json left_out_json(const std::vector<LeftOut>& left_out) {
  Json out = Json::array();
  for (const LeftOut& l : left_out) out.push_back({{"what", l.what}, {"reason", l.reason}});
  return out;
}

/// The origin of every trial.
inline Json origins_json(std::span<const Origin> origins) {
  Json out = Json::array();
  for (const Origin& o : origins) {
    out.push_back({{"trial", o.trial},
                   {"launch", o.launch},
                   {"version", o.version},
                   {"program_sha256", o.program_sha256},
                   {"processor", o.processor},
                   {"corpus_sha256", o.corpus_sha256},
                   {"reproducible", o.reproducible}});
  }
  return out;
}

inline Json parameters_json(const LawFit& fit) {
  Json list = Json::array();
  for (const LawParameter& p : fit.parameters) {
    list.push_back({{"name", p.name},
                    {"estimate", number(p.estimate)},
                    {"se", number(p.se)},
                    {"ci95", interval(p.ci95)},
                    {"ci_method", p.ci_method}});
  }
  return list;
}

}  // namespace pg::post
