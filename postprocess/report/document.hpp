#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

// A report before it has a form: sections of paragraphs, lists, tables and figures. Markdown and
// HTML are two renderings of the same document.

namespace pg::post {

/// Text is plain: nothing in it is interpreted, every renderer escapes it.
struct Paragraph {
  std::string text;
  bool strong = false;  ///< a verdict: set off from the rest
};
struct BulletList {
  std::vector<std::string> items;
};
struct DocumentTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::string caption;  ///< or empty
};
/// A picture of `draw`: plots/<name>.png, .svg and .csv beside the report.
struct Figure {
  std::string name;
  std::string caption;
};
using Block = std::variant<Paragraph, BulletList, DocumentTable, Figure>;

struct Section {
  std::string title;
  std::vector<Block> blocks;
};

struct Document {
  std::string title;
  std::vector<Section> sections;  ///< the first one, with an empty title, is the summary
};

/// A file beside the report.
struct NamedText {
  std::string name;
  std::string text;
};

/// Whether a column holds numbers (with intervals, bounds or blanks between them): both renderings
/// set it to the right.
bool is_number_column(const DocumentTable& table, std::size_t column);

/// RESULTS.md, GitHub's Markdown; figures are links to plots/<name>.png.
std::string to_markdown(const Document& document);

/// One self-contained page: styles and the few lines of script inline, figures inline as SVG read
/// from plot_folder/<name>.svg (a missing one is said in its place); tables sort by a click on a
/// column; light and dark; narrow screens scroll the table, not the page. It asks for nothing
/// outside itself, and forbids it: a policy in its head allows the one script by its hash.
std::string to_html(const Document& document, const std::string& plot_folder);

/// gnuplot's SVG for a place inside an HTML page: without prolog, fixed size and tool tips, its ids
/// (the same in every file) prefixed with `name`. Nothing when it is no SVG or holds a script.
std::optional<std::string> inline_svg(const std::string& svg, const std::string& name,
                                      const std::string& label_id);

}  // namespace pg::post
