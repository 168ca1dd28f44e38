#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "postprocess/report/document.hpp"
#include "postprocess/results/origin.hpp"

// The sections that the documents of every analysis have in common.

namespace pg::post {

/// (name, text) below each other: conventions, provenance.
Section list_section(const std::string& title,
                     const std::vector<std::pair<std::string, std::string>>& items);

DocumentTable left_out_table(const std::vector<LeftOut>& left_out);

/// The document as it is written: figures that are not `drawn` (names of pictures) are taken out,
/// and the last sections say where the plots are (or what the problem with them is) and where each
/// trial comes from.
Document finish_document(Document document, const std::vector<std::string>& drawn,
                         const std::string& plot_problem, std::span<const Origin> origins);

}  // namespace pg::post
