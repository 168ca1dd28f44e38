#include "postprocess/report/plain_text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pg::post {
namespace {

std::string table_text(const DocumentTable& table) {
  std::vector<std::size_t> widths;
  for (const std::string& column : table.columns) widths.push_back(column.size());
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text = " ";
    for (std::size_t i = 0; i < cells.size() && i < widths.size(); ++i) {
      text += fmt::format(" {:<{}}", cells[i], widths[i] + 1);
    }
    return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  std::string text = line(table.columns);
  for (const auto& row : table.rows) text += line(row);
  return table.caption.empty() ? text : text + "  " + table.caption + "\n";
}

std::string block_text(const Block& block) {
  if (const auto* paragraph = std::get_if<Paragraph>(&block)) return "  " + paragraph->text + "\n";
  if (const auto* list = std::get_if<BulletList>(&block)) {
    std::string text;
    for (const std::string& item : list->items) text += "  - " + item + "\n";
    return text;
  }
  if (const auto* table = std::get_if<DocumentTable>(&block)) return table_text(*table);
  return "";
}

}  // namespace

std::string to_plain_text(const Document& document) {
  std::string text = document.title + "\n";
  for (const Section& section : document.sections) {
    text += section.title.empty() ? "" : "\n" + section.title + "\n";
    for (const Block& block : section.blocks) text += block_text(block);
  }
  return text;
}

}  // namespace pg::post
