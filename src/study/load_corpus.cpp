#include "study/load_corpus.hpp"

#include "data/sampler.hpp"
#include "data/synthetic.hpp"

namespace pg::study {
namespace {

bool is_synthetic(const config::DataSettings& settings) {
  return settings.corpus == "synthetic";
}

data::SyntheticSettings language(const config::DataSettings& settings) {
  return {.symbols = settings.synthetic_symbols,
          .length = settings.synthetic_length,
          .seed = settings.synthetic_seed};
}

}  // namespace

data::Corpus load_corpus(const config::DataSettings& settings) {
  return is_synthetic(settings) ? data::synthetic_corpus(language(settings), settings.held_out)
                                : data::read_text_corpus(settings.corpus, settings.held_out);
}

std::optional<double> loss_floor(const config::Settings& settings, const data::Corpus& corpus) {
  if (!is_synthetic(settings.data) || settings.data.objective != "next_token") return std::nullopt;
  const std::int64_t sequence_length = settings.data.sequence_length;
  const auto positions =
      data::validation_positions(static_cast<std::int64_t>(corpus.validation.size()),
                                 sequence_length, settings.eval.sequences);
  return data::synthetic_language(language(settings.data))
      .window_loss(corpus.validation, positions, sequence_length);
}

}  // namespace pg::study
