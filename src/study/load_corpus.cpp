#include "study/load_corpus.hpp"

#include "data/synthetic.hpp"

namespace pg::study {

data::Corpus load_corpus(const config::DataSettings& settings) {
  if (settings.corpus != "synthetic") {
    return data::read_text_corpus(settings.corpus, settings.held_out);
  }
  return data::synthetic_corpus({.symbols = settings.synthetic_symbols,
                                 .length = settings.synthetic_length,
                                 .seed = settings.synthetic_seed},
                                settings.held_out);
}

}  // namespace pg::study
