#include <boost/test/unit_test.hpp>
#include <string>

#include "base/csv.hpp"
#include "support/support.hpp"

using namespace pg;
using pg::testing::check_error;

BOOST_AUTO_TEST_SUITE(csv)

namespace {

void check_same(const CsvTable& a, const CsvTable& b) {
  BOOST_TEST(a.columns == b.columns, boost::test_tools::per_element());
  BOOST_REQUIRE(a.rows.size() == b.rows.size());
  for (std::size_t i = 0; i < a.rows.size(); ++i) {
    BOOST_TEST(a.rows[i] == b.rows[i], boost::test_tools::per_element());
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_round_trip_keeps_every_cell) {
  const CsvTable table = {{"id", "note"},
                          {{"a", "plain"},
                           {"b", "comma, quote \" and\nline\r\nbreaks"},
                           {"", ""},
                           {" c ", "\""},
                           {"\"\"", "\"x\""},
                           {"naïve", "\r"}}};
  check_same(parse_csv(to_csv(table), "table.csv"), table);
  const CsvTable narrow = {{"x"}, {{""}, {"1"}, {" "}, {"\n"}, {""}}};
  check_same(parse_csv(to_csv(narrow), "narrow.csv"), narrow);
}

BOOST_AUTO_TEST_CASE(the_text_is_rfc_4180_with_lf) {
  BOOST_TEST(to_csv({{"a", "b"}, {{"1", "x,y"}, {"2", "say \"hi\""}}}) ==
             "a,b\n1,\"x,y\"\n2,\"say \"\"hi\"\"\"\n");
}

BOOST_AUTO_TEST_CASE(foreign_habits_are_accepted) {
  const CsvTable expected = {{"a", "b"}, {{"1", "2"}, {"3", ""}}};
  check_same(parse_csv("a,b\n1,2\n3,\n", "x"), expected);
  check_same(parse_csv("a,b\r\n1,2\r\n3,\r\n", "x"), expected);
  check_same(parse_csv("\xEF\xBB\xBF"
                       "a,b\n1,2\n3,",
                       "x"),
             expected);
  check_same(parse_csv("\n a , b \n\n1,2\n   \n3,\n\n", "x"), expected);
  check_same(parse_csv("\"a\",\"b\"\n\"1\",\"2\"\n3,\"\"", "x"), expected);
}

BOOST_AUTO_TEST_CASE(broken_tables_are_refused_with_their_line) {
  check_error([] { (void)parse_csv("", "t.csv"); }, ExitCode::bad_data, {"t.csv", "header"});
  check_error([] { (void)parse_csv("\n \n", "t.csv"); }, ExitCode::bad_data, {"t.csv", "header"});
  check_error([] { (void)parse_csv("a,b\n1,2\n\n3\n", "t.csv"); }, ExitCode::bad_data,
              {"t.csv:4", "1 cells", "2"});
  check_error([] { (void)parse_csv("a,b\n\"1\n1\",2\n3,4,5\n", "t.csv"); }, ExitCode::bad_data,
              {"t.csv:4", "3 cells"});
  check_error([] { (void)parse_csv("a,b\n1,\"2\n3,4\n", "t.csv"); }, ExitCode::bad_data,
              {"t.csv:2", "quote"});
  check_error([] { (void)parse_csv("a,b, a\n", "t.csv"); }, ExitCode::bad_data, {"'a'", "twice"});
}

BOOST_AUTO_TEST_CASE(rows_know_their_lines_and_ragged_ones_can_be_kept_apart) {
  CsvTable ragged;
  const CsvTable table = parse_csv("a,b\n\n1,\"x\ny\"\n3\n4,5,6\n7,8\n", "t.csv", &ragged);
  BOOST_TEST(table.rows.size() == 2U);
  BOOST_TEST((table.lines == std::vector<std::size_t>{3, 7}));
  BOOST_TEST((ragged.lines == std::vector<std::size_t>{5, 6}));
  BOOST_TEST((ragged.rows[1] == std::vector<std::string>{"4", "5", "6"}));
}

BOOST_AUTO_TEST_CASE(a_column_is_found_or_the_nearest_named) {
  const CsvTable table = parse_csv("batch,lr\n8,0.1\n", "t.csv");
  BOOST_TEST(table.column("lr") == 1U);
  check_error([&] { (void)table.column("bacth"); }, ExitCode::bad_data,
              {"bacth", "batch, lr", "'batch'"});
}

BOOST_AUTO_TEST_SUITE_END()
