#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "postprocess/report/document.hpp"
#include "postprocess/report/page.hpp"

namespace pg::post {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default:  // control characters have no place in HTML
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

/// "Transfer test" -> "transfer-test".
std::string slug(const std::string& title) {
  std::string out;
  for (const char c : title) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (out.ends_with('-')) out.pop_back();
  return out.empty() ? "section" : out;
}

/// Base64 of the bytes behind hexadecimal digits, whose number is even.
std::string base64_of_hex(const std::string& hex) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bits;
  for (const char c : hex) {
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    for (const int bit : {8, 4, 2, 1}) bits += (value & bit) != 0 ? '1' : '0';
  }
  std::string out;
  for (std::size_t i = 0; i < bits.size(); i += 6) {
    std::string six = bits.substr(i, 6);
    six.resize(6, '0');
    out += kDigits[std::stoi(six, nullptr, 2)];
  }
  while (out.size() % 4 != 0) out += '=';
  return out;
}

/// A name that occurs once in the page.
std::string unique(std::string name, std::set<std::string>& used) {
  std::string candidate = name;
  for (int i = 2; !used.insert(candidate).second; ++i) candidate = fmt::format("{}-{}", name, i);
  return candidate;
}

/// Renders blocks; remembers the ids it has given.
class Renderer {
 public:
  explicit Renderer(std::filesystem::path plots) : plots_(std::move(plots)) {}

  std::string id(const std::string& title) { return unique(slug(title), used_); }

  std::string operator()(const Paragraph& paragraph) {
    return fmt::format("<p{}>{}</p>\n", paragraph.strong ? " class=\"verdict\"" : "",
                       escaped(paragraph.text));
  }

  std::string operator()(const BulletList& list) {
    if (list.items.empty()) return "";
    std::string out = "<ul>\n";
    for (const std::string& item : list.items) out += "<li>" + escaped(item) + "</li>\n";
    return out + "</ul>\n";
  }

  std::string operator()(const DocumentTable& table) {
    if (table.columns.empty()) return "";
    std::vector<bool> number;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      number.push_back(is_number_column(table, c));
    }
    std::string out = fmt::format(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"table: {}\"><table>\n",
        escaped(table.caption.empty() ? join(table.columns, ", ") : table.caption));
    if (!table.caption.empty()) out += "<caption>" + escaped(table.caption) + "</caption>\n";
    out += "<thead><tr>";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      out += fmt::format("<th scope=\"col\"{}>{}</th>", number[c] ? " class=\"n\"" : "",
                         escaped(table.columns[c]));
    }
    out += "</tr></thead>\n<tbody>\n";
    for (const auto& row : table.rows) {
      out += "<tr>";
      for (std::size_t c = 0; c < table.columns.size(); ++c) {
        const std::string cell = c < row.size() ? row[c] : "";
        const char* kind = number[c] ? " class=\"n\"" : (cell.size() > 40 ? " class=\"w\"" : "");
        out += fmt::format("<td{}>{}</td>", kind, escaped(cell));
      }
      out += "</tr>\n";
    }
    return out + "</tbody>\n</table></div>\n";
  }

  std::string operator()(const Figure& figure) {
    const std::string name = unique("fig-" + slug(figure.name), used_);
    const std::string file = figure.name + ".svg";
    std::optional<std::string> svg;
    std::string problem = "it holds no usable SVG";
    try {
      svg = inline_svg(read_file(plots_ / file), name, name + "-caption");
    } catch (const IoError&) {
      problem = "it is not there";
    }
    const std::string picture =
        svg ? *svg
            : fmt::format(
                  "<p class=\"missing\">The picture {} was not drawn or is unreadable: "
                  "{}.</p>\n",
                  escaped(file), problem);
    return fmt::format(
        "<figure id=\"{0}\">\n<div class=\"canvas\" tabindex=\"0\">{1}</div>\n<figcaption "
        "id=\"{0}-caption\">{2}"
        "</figcaption>\n</figure>\n",
        name, picture, escaped(figure.caption.empty() ? figure.name : figure.caption));
  }

 private:
  std::filesystem::path plots_;
  std::set<std::string> used_;
};

/// Removes every stretch from `open` to the end of `close`.
void remove_between(std::string& text, const std::string& open, const std::string& close) {
  for (std::size_t at = text.find(open); at != std::string::npos; at = text.find(open, at)) {
    const std::size_t end = text.find(close, at + open.size());
    if (end == std::string::npos) return;
    text.erase(at, end + close.size() - at);
  }
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

std::optional<std::string> inline_svg(const std::string& svg, const std::string& name,
                                      const std::string& label_id) {
  const std::size_t start = svg.find("<svg");
  const std::size_t head_end = start == std::string::npos ? start : svg.find('>', start);
  const std::size_t end = svg.rfind("</svg>");
  if (head_end == std::string::npos || end == std::string::npos || end < head_end) return {};
  const std::string head = svg.substr(start, head_end - start);
  const std::size_t box = head.find("viewBox=\"");
  if (box == std::string::npos) return {};
  const std::size_t box_end = head.find('"', box + 9);
  std::string body = svg.substr(head_end + 1, end - head_end - 1);
  remove_between(body, "<title>", "</title>");
  remove_between(body, "<desc>", "</desc>");
  std::string lower = body;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* active : {"<script", "<foreignobject", "<iframe", "<style", "javascript:"}) {
    if (lower.find(active) != std::string::npos) return {};
  }
  // Its groups' ids repeat within a multiplot, and nothing refers to them.
  remove_between(body, " id=\"gnuplot", "\"");
  for (const char quote : {'"', '\''}) {
    replace_all(body, std::string(" id=") + quote, std::string(" id=") + quote + name + "-");
    replace_all(body, std::string("href=") + quote + "#",
                std::string("href=") + quote + "#" + name + "-");
  }
  replace_all(body, "url(#", "url(#" + name + "-");
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" "
      "{} role=\"img\" aria-labelledby=\"{}\">{}</svg>",
      head.substr(box, box_end + 1 - box), label_id, body);
}

std::string to_html(const Document& document, const std::string& plot_folder) {
  Renderer render(plot_folder);
  std::string contents;
  std::string body;
  for (const Section& section : document.sections) {
    std::string blocks;
    std::string id;
    if (!section.title.empty()) {
      id = render.id(section.title);
      contents += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", id, escaped(section.title));
      blocks = fmt::format("<h2 id=\"{}\">{}</h2>\n", id, escaped(section.title));
    }
    for (const Block& block : section.blocks) blocks += std::visit(render, block);
    body += "<section>\n" + blocks + "</section>\n";
  }
  const std::string policy = fmt::format(
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; "
      "form-action 'none'",
      base64_of_hex(sha256_hex(page::kScript)));
  const std::string themes = fmt::format(
      ":root{{{0}}}\n@media screen and (prefers-color-scheme:dark)"
      "{{:root:not([data-theme=light]){{{1}}}}}\n"
      "@media screen{{:root[data-theme=dark]{{{1}}}}}",
      page::kLight, page::kDark);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n<title>{}</title>\n"
      "<style>{}{}</style>\n<script>{}</script>\n</head>\n<body>\n"
      "<button type=\"button\" class=\"theme\" aria-label=\"switch between light and dark\" "
      "hidden></button>\n<div class=\"page{}\">\n<h1>{}</h1>\n{}<main>\n{}</main>\n</div>\n"
      "</body>\n</html>\n",
      policy, escaped(document.title), themes, page::kStyle, page::kScript,
      contents.empty() ? "" : " toc", escaped(document.title),
      contents.empty() ? "" : "<nav aria-label=\"contents\"><ol>\n" + contents + "</ol></nav>\n",
      body);
}

}  // namespace pg::post
