#pragma once

#include <string>

#include "postprocess/report/document.hpp"

namespace pg::post {

/// A document for the terminal: titles, paragraphs, aligned tables. Figures are left out.
std::string to_plain_text(const Document& document);

}  // namespace pg::post
