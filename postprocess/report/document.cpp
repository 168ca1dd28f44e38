#include "postprocess/report/document.hpp"

#include <algorithm>
#include <cctype>

#include "base/text.hpp"

namespace pg::post {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || (static_cast<unsigned char>(c) & 0x80);
}

/// Text inside a line of Markdown. Only what would be taken for markup is escaped, so that the
/// source stays readable: "b0064_lr0.001" and "[0.62, 0.68]" need nothing.
std::string inline_text(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char before = i > 0 ? text[i - 1] : ' ';
    const char after = i + 1 < text.size() ? text[i + 1] : ' ';
    if (c == '\n' || c == '\r') {
      out += ' ';
      continue;
    }
    const bool markup =
        c == '\\' || c == '`' || c == '|' || c == '$' ||
        (c == '*' && !(before == ' ' && after == ' ')) ||
        (c == '_' && !(is_word(before) && is_word(after))) ||
        (c == '~' && (before == '~' || after == '~')) ||
        (c == '<' && (is_word(after) || after == '/' || after == '!' || after == '?')) ||
        (c == ']' && (after == '(' || after == '[' || (after == ':' && text.front() == '['))) ||
        (c == '&' && (is_word(after) || after == '#'));
    if (markup) out += '\\';
    out += c;
  }
  return out;
}

/// A line of its own, which must not become a heading, a list or a rule.
std::string line_text(const std::string& text) {
  const std::string out = inline_text(std::string(trim(text)));
  const std::size_t digits = out.find_first_not_of("0123456789");
  if (digits != std::string::npos && digits > 0 && (out[digits] == '.' || out[digits] == ')') &&
      (digits + 1 == out.size() || out[digits + 1] == ' ')) {
    return out.substr(0, digits) + "\\" + out.substr(digits);
  }
  const char after = out.size() > 1 ? out[1] : ' ';
  const bool block = !out.empty() && std::string("#>+-=~").find(out[0]) != std::string::npos &&
                     (after == ' ' || after == out[0] || out[0] == '>');
  return (block ? "\\" : "") + out;
}

std::string render(const Paragraph& paragraph) {
  if (paragraph.strong) return "**" + inline_text(std::string(trim(paragraph.text))) + "**\n\n";
  return line_text(paragraph.text) + "\n\n";
}

std::string render(const BulletList& list) {
  std::string out;
  for (const std::string& item : list.items) out += "- " + line_text(item) + "\n";
  return out + (list.items.empty() ? "" : "\n");
}

std::string render(const DocumentTable& table) {
  if (table.columns.empty()) return "";
  std::string out = table.caption.empty() ? "" : line_text(table.caption) + "\n\n";
  const auto row = [&](const std::vector<std::string>& cells) {
    out += "|";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const std::string cell =
          c < cells.size() ? inline_text(std::string(trim(cells[c]))) : std::string();
      out += cell.empty() ? " |" : " " + cell + " |";
    }
    out += "\n";
  };
  row(table.columns);
  out += "|";
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    out += is_number_column(table, c) ? " ---: |" : " --- |";
  }
  out += "\n";
  for (const auto& cells : table.rows) row(cells);
  return out + "\n";
}

std::string render(const Figure& figure) {
  return "![" + inline_text(figure.name) + "](plots/" + figure.name + ".png)\n\n" +
         (figure.caption.empty() ? "" : line_text(figure.caption) + "\n\n");
}

}  // namespace

bool is_number_column(const DocumentTable& table, std::size_t column) {
  bool any = false;
  for (const auto& row : table.rows) {
    if (column >= row.size()) continue;
    const std::string_view cell = trim(row[column]);
    if (cell.empty() || cell == "-") continue;
    const std::size_t first = cell.find_first_not_of("<>=[+-. ");
    if (first == std::string_view::npos ||
        std::isdigit(static_cast<unsigned char>(cell[first])) == 0) {
      return false;
    }
    // "3 of 4 batches" and "b0064" are words.
    const auto letters = std::count_if(cell.begin(), cell.end(), [](char c) {
      return std::isalpha(static_cast<unsigned char>(c)) != 0;
    });
    const auto digits = std::count_if(cell.begin(), cell.end(), [](char c) {
      return std::isdigit(static_cast<unsigned char>(c)) != 0;
    });
    if (letters > digits) return false;
    any = true;
  }
  return any;
}

std::string to_markdown(const Document& document) {
  std::string out = "# " + inline_text(document.title) + "\n\n";
  for (const Section& section : document.sections) {
    if (!section.title.empty()) out += "## " + inline_text(section.title) + "\n\n";
    for (const Block& block : section.blocks) {
      out += std::visit([](const auto& b) { return render(b); }, block);
    }
  }
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace pg::post
