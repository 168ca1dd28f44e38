#pragma once

#include "config/settings.hpp"
#include "data/corpus.hpp"

namespace pg::study {

/// The corpus that the settings name: a text file or the synthetic language. Throws as data/ does.
data::Corpus load_corpus(const config::DataSettings& settings);

}  // namespace pg::study
