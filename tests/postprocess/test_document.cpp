// Documents and their two renderings: what is escaped, what is counted a number, what is inlined.
#define BOOST_TEST_MODULE document
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <regex>
#include <set>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "postprocess/report/document.hpp"
#include "support/support.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::post;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

Document one_section(Block block) {
  return {"T", {{"S", {std::move(block)}}}};
}

/// What gnuplot writes, in short.
constexpr const char* kSvg =
    "<?xml version=\"1.0\" encoding=\"utf-8\"  standalone=\"no\"?>\n<svg \n width=\"600\" "
    "height=\"400\"\n viewBox=\"0 0 600 400\"\n xmlns=\"http://www.w3.org/2000/svg\"\n>\n"
    "<title>Gnuplot</title>\n<desc>Produced by GNUPLOT 5.4</desc>\n<g id=\"gnuplot_canvas\">"
    "<circle id='gpDot' r='1'/><use xlink:href='#gpDot' id='gpPt1'/>"
    "<pattern id='gpPat1'/><rect fill = 'url(#gpPat1)'/><g id=\"gnuplot_plot_1\"><title>a</title>"
    "</g></g>\n</svg>\n";

using Folder = pg::testing::ScratchFolder;

}  // namespace

BOOST_AUTO_TEST_CASE(columns_of_numbers_are_known) {
  const auto number = [](const std::vector<std::string>& cells) {
    DocumentTable table;
    table.columns = {"c"};
    for (const std::string& cell : cells) table.rows.push_back({cell});
    return is_number_column(table, 0);
  };
  BOOST_TEST(number({"0.652 [0.621, 0.683]", "3e-4", "", "-"}));
  BOOST_TEST(number({"<= 3e-05", ">= 0.03", "-0.36", "+0.0012"}));
  BOOST_TEST(number({"[0.415, 0.830]"}));
  BOOST_TEST(!number({"yes", "no"}));
  BOOST_TEST(!number({"0.5", "not determined"}));
  BOOST_TEST(!number({"b0064_lr3e-05_s42"}));
  BOOST_TEST(!number({"", "-"}));
  BOOST_TEST(!number({}));
}

BOOST_AUTO_TEST_CASE(markdown_of_every_block) {
  Document document{"Results: x", {{"", {Paragraph{"It holds.", true}, Paragraph{"Why?"}}}}};
  document.sections.push_back(
      {"Table",
       {DocumentTable{{"name", "beta"}, {{"line", "0.66"}, {"short"}}, "Two rows."},
        BulletList{{"one", "two"}}, Figure{"lr_vs_batch", "Look at the slope."}}});
  BOOST_TEST(to_markdown(document) ==
             "# Results: x\n\n**It holds.**\n\nWhy?\n\n## Table\n\nTwo rows.\n\n"
             "| name | beta |\n| --- | ---: |\n| line | 0.66 |\n| short | |\n\n- one\n- two\n\n"
             "![lr_vs_batch](plots/lr_vs_batch.png)\n\nLook at the slope.\n");
}

BOOST_AUTO_TEST_CASE(markdown_takes_text_literally) {
  const auto paragraph = [](const std::string& text) {
    return to_markdown(one_section(Paragraph{text}));
  };
  const std::pair<const char*, const char*> cases[] = {{"LR* at *B*", "LR\\* at \\*B\\*"},
                                                       {"a * b", "a * b"},
                                                       {"b0064_lr0.001_s42", "b0064_lr0.001_s42"},
                                                       {"_x_", "\\_x\\_"},
                                                       {"`rm`", "\\`rm\\`"},
                                                       {"<script>", "\\<script>"},
                                                       {"x < 3", "x < 3"},
                                                       {"[0.1, 0.2]", "[0.1, 0.2]"},
                                                       {"[a]: b", "[a\\]: b"},
                                                       {"in [0.1, 0.2]: b", "in [0.1, 0.2]: b"},
                                                       {"[a](b)", "[a\\](b)"},
                                                       {"# no heading", "\\# no heading"},
                                                       {"- no list", "\\- no list"},
                                                       {"-0.5 is a number", "-0.5 is a number"},
                                                       {"1. no list", "1\\. no list"},
                                                       {"1.5 is a number", "1.5 is a number"},
                                                       {"two\nlines", "two lines"},
                                                       {"&amp;", "\\&amp;"}};
  for (const auto& [text, expected] : cases) {
    BOOST_TEST(paragraph(text) == "# T\n\n## S\n\n" + std::string(expected) + "\n");
  }
  const std::string table = to_markdown(one_section(DocumentTable{{"a|b"}, {{"c|d\ne"}}, ""}));
  BOOST_TEST(contains(table, "| a\\|b |\n"));
  BOOST_TEST(contains(table, "| c\\|d e |\n"));
}

BOOST_AUTO_TEST_CASE(html_escapes_whatever_it_is_given) {
  const std::string evil = "<script>alert('x')</script>&\"\x01";
  Document document{evil, {{"", {Paragraph{evil}}}}};
  document.sections.push_back({evil,
                               {Paragraph{evil, true}, BulletList{{evil}},
                                DocumentTable{{evil}, {{evil}}, evil}, Figure{evil, evil}}});
  const std::string page = to_html(document, "/nowhere");
  BOOST_TEST(count(page, "<script") == 1U);  // the page's own
  BOOST_TEST(!contains(page, "alert('"));
  BOOST_TEST(!contains(page, "\x01"));
  BOOST_TEST(count(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;") >= 8U);
  BOOST_TEST(contains(page, "id=\"script-alert-x-script\""));
}

BOOST_AUTO_TEST_CASE(the_page_stands_alone) {
  const Folder folder;
  pg::write_file(folder.path() / "a.svg", kSvg);
  pg::write_file(folder.path() / "b.svg", kSvg);
  Document document{"T", {{"", {Figure{"a", "first"}}}, {"S", {Figure{"b", "second"}}}}};
  document.sections.push_back({"S", {Figure{"gone", "third"}}});
  const std::string page = to_html(document, folder.path());
  BOOST_TEST(page == to_html(document, folder.path()));
  BOOST_TEST(count(page, "<svg") == 2U);
  BOOST_TEST(count(page, "</svg>") == 2U);
  BOOST_TEST(contains(page, "gone.svg was not drawn"));
  BOOST_TEST(contains(page, "<figcaption id=\"fig-a-caption\">first</figcaption>"));
  // No two elements share an id, and every reference finds its element.
  std::set<std::string> ids;
  const std::regex id(R"re(\sid=["']([^"']*)["'])re");
  for (std::sregex_iterator i(page.begin(), page.end(), id), end; i != end; ++i) {
    BOOST_TEST(ids.insert((*i)[1]).second, "twice: " << (*i)[1]);
  }
  BOOST_TEST(ids.size() >= 12U);
  const std::regex reference(R"re((?:href=["']#|url\(#|aria-labelledby=")([^"')]*))re");
  std::size_t n_references = 0;
  for (std::sregex_iterator i(page.begin(), page.end(), reference), end; i != end; ++i) {
    ++n_references;
    BOOST_TEST(ids.count((*i)[1]) == 1U, "no such id: " << (*i)[1]);
  }
  BOOST_TEST(n_references == 8U);  // two contents, three in each picture
  // Nothing is loaded from elsewhere.
  for (const char* load : {" src=", "@import", "url(http", "url(data", "<link", "<iframe"}) {
    BOOST_TEST(!contains(page, load), load);
  }
  std::string addresses = page;
  for (std::size_t at = 0; (at = addresses.find("http", at)) != std::string::npos; ++at) {
    const std::string word = addresses.substr(at, 24);
    BOOST_TEST((word.starts_with("http://www.w3.org/") || word.starts_with("http-equiv=")), word);
  }
}

BOOST_AUTO_TEST_CASE(the_policy_allows_the_pages_own_script_only) {
  const std::string page = to_html({"T", {}}, "");
  std::smatch policy;
  BOOST_REQUIRE(std::regex_search(page, policy, std::regex("script-src 'sha256-([^']*)'")));
  const std::size_t begin = page.find("<script>") + 8;
  const std::string script = page.substr(begin, page.find("</script>") - begin);
  // The hash that the browser takes, from its other notation: base64 read back to hexadecimal.
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bits;
  for (const char c : policy[1].str()) {
    if (c == '=') continue;
    for (int bit = 5; bit >= 0; --bit) bits += ((digits.find(c) >> bit) & 1U) != 0 ? '1' : '0';
  }
  std::string hex;
  for (std::size_t i = 0; i + 4 <= bits.size() && hex.size() < 64; i += 4) {
    hex += "0123456789abcdef"[std::stoi(bits.substr(i, 4), nullptr, 2)];
  }
  BOOST_TEST(hex == pg::sha256_hex(script));
  BOOST_TEST(!contains(script, "eval"));
}

BOOST_AUTO_TEST_CASE(pictures_are_fitted_into_the_page) {
  const auto svg = inline_svg(kSvg, "fig-x", "label");
  BOOST_REQUIRE(svg);
  BOOST_TEST(svg->starts_with("<svg "));
  BOOST_TEST(svg->ends_with("</svg>"));
  BOOST_TEST(contains(*svg, "viewBox=\"0 0 600 400\" role=\"img\" aria-labelledby=\"label\""));
  for (const char* gone : {"<?xml", "width=\"600\"", "<title>", "<desc>"}) {
    BOOST_TEST(!contains(*svg, gone), gone);
  }
  BOOST_TEST(contains(*svg, "xlink:href='#fig-x-gpDot'"));
  BOOST_TEST(contains(*svg, "url(#fig-x-gpPat1)"));
  BOOST_TEST(contains(*svg, " id='fig-x-gpDot'"));
  BOOST_TEST(!contains(*svg, "gnuplot"));
  BOOST_TEST(!inline_svg("", "x", "l"));
  BOOST_TEST(!inline_svg("<svg viewBox=\"0 0 1 1\">", "x", "l"));
  BOOST_TEST(!inline_svg("<svg width=\"1\"></svg>", "x", "l"));
  BOOST_TEST(!inline_svg("<svg viewBox=\"0 0 1 1\"><SCRIPT>1</SCRIPT></svg>", "x", "l"));
}
