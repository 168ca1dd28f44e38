#pragma once

#include <optional>

#include "config/settings.hpp"
#include "data/corpus.hpp"

namespace pg::study {

/// The loss that the law of the synthetic language itself has on the validation windows of a trial,
/// nats per token: no model can expect less. Nothing for a text file or
/// another objective than the next token.
std::optional<double> loss_floor(const config::Settings& settings, const data::Corpus& corpus);

/// The corpus that the settings name: a text file or the synthetic language. Throws as data/ does.
data::Corpus load_corpus(const config::DataSettings& settings);

}  // namespace pg::study
