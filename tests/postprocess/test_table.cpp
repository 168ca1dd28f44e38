// Anybody's table: what is read, what is left out and said, what is refused and where.
#define BOOST_TEST_MODULE table
#include <boost/test/unit_test.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "postprocess/results/table.hpp"
#include "support/support.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pg::post;

/// A table of its own for one test, removed at the end.
class File {
 public:
  explicit File(const std::string& text) { pg::write_in_place(path(), text); }
  [[nodiscard]] fs::path path() const { return folder_ / "table.csv"; }

 private:
  pg::testing::ScratchFolder folder_;
};

TableRequest request(const std::string& x = "x", const std::string& y = "y") {
  TableRequest r;
  r.x = {x};
  r.y = y;
  return r;
}

Table read(const std::string& text, const TableRequest& r = request()) {
  const File file(text);
  return read_table(file.path(), r);
}

/// The message of the refusal.
std::string refusal(const std::string& text, const TableRequest& r = request()) {
  try {
    read(text, r);
  } catch (const pg::InvalidInput& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(byte_order_mark_crlf_quotes_and_names_with_spaces) {
  const std::string text =
      "\xEF\xBB\xBFlr , smooth loss,note\r\n1e-3, 2.5 ,\"a, b\"\r\n\r\n2e-3,2.25,c\r\n";
  const Table table = read(text, request("lr", "smooth loss"));
  BOOST_TEST(table.sha256 == pg::sha256_hex(text));
  BOOST_TEST(table.n_rows == 2U);
  BOOST_REQUIRE(table.groups.size() == 1U);
  BOOST_TEST(table.groups[0].name.empty());
  const auto& rows = table.groups[0].rows;
  BOOST_REQUIRE(rows.size() == 2U);
  BOOST_TEST(rows[0].x[0] == 1e-3);
  BOOST_TEST(rows[0].y == 2.5);
  BOOST_TEST(rows[0].line == 2U);
  BOOST_TEST(rows[1].line == 4U);
  BOOST_TEST(rows[1].y == 2.25);
}

BOOST_AUTO_TEST_CASE(missing_cells_are_left_out_and_listed) {
  const Table table = read("x,y,z\n1,2,\n,3,\n2,NA,\n3,nan,\n4,n/a,\n5,6,\n");
  BOOST_REQUIRE(table.groups[0].rows.size() == 2U);  // nothing in z, which is not used
  BOOST_REQUIRE(table.excluded.size() == 4U);
  BOOST_TEST(table.excluded[0].line == 3U);
  BOOST_TEST(table.excluded[0].reason == "x is missing");
  BOOST_TEST(table.excluded[3].line == 6U);
  BOOST_TEST(table.excluded[3].reason == "y is missing");
  BOOST_TEST(contains(refusal("x,y\nNA,1\n2,\n"), "no row is left of 2"));
}

BOOST_AUTO_TEST_CASE(ragged_rows_are_refused_by_line_or_listed) {
  const std::string text = "x,y,z\n1,2,3\n4,5\n6,7,8\n9,10,11,12\n";
  std::string message = refusal(text);
  BOOST_TEST(contains(message, ":3: 2 cells instead of 3: 4,5"), message);
  BOOST_TEST(contains(message, "--skip-ragged"), message);
  TableRequest skip = request();
  skip.skip_ragged = true;
  const Table table = read(text, skip);
  BOOST_TEST(table.groups[0].rows.size() == 2U);
  BOOST_TEST(table.n_rows == 4U);
  BOOST_REQUIRE(table.excluded.size() == 2U);
  BOOST_TEST(table.excluded[0].line == 3U);
  BOOST_TEST(contains(table.excluded[1].reason, "4 cells instead of 3"));
}

BOOST_AUTO_TEST_CASE(what_is_no_number_is_refused_by_name_and_line) {
  for (const char* cell : {"abc", "1e-3x", "inf", "-inf", "1,5"}) {
    const std::string message = refusal(std::string("x,y\n1,2\n3,\"") + cell + "\"\n");
    BOOST_TEST(contains(message, ":3: y is '" + std::string(cell)), message);
  }
  const std::string message = refusal("step,loss\n1,2\n", request("step", "los"));
  BOOST_TEST(contains(message, "'loss'"), message);
  TableRequest weighted = request();
  weighted.weights = "w";
  for (const char* weight : {"0", "-1"}) {
    BOOST_TEST(
        contains(refusal("x,y,w\n1,2," + std::string(weight) + "\n", weighted), ":2: the weight"));
  }
  BOOST_TEST(read("x,y,w\n1,2,0.5\n", weighted).groups[0].rows[0].weight == 0.5);
  BOOST_TEST(contains(refusal("x,y\n1,2\n", request("x", "x")), "twice"));
  BOOST_TEST(contains(refusal(""), "header"));
  BOOST_CHECK_THROW(read_table("/nowhere.csv", request()), pg::IoError);
}

BOOST_AUTO_TEST_CASE(groups_and_conditions) {
  const std::string text = "x,y,model,run\n1,2,b,r1\n2,3,a,r1\n3,4,b,r2\n4,100,b,r2\n5,6,,r3\n";
  TableRequest r = request();
  r.group = "model";
  r.cluster = "run";
  r.where = {"y<50"};
  const Table table = read(text, r);
  BOOST_REQUIRE(table.groups.size() == 2U);
  BOOST_TEST(table.groups[0].name == "model=b");  // in the order of the file
  BOOST_TEST(table.groups[0].rows.size() == 2U);
  BOOST_TEST(table.groups[0].rows[1].cluster == "r2");
  BOOST_TEST(table.groups[1].name == "model=a");
  BOOST_TEST(table.n_deselected == 1U);
  BOOST_TEST(table.excluded[0].reason == "model is missing");
  const auto count = [&](const std::string& condition) {
    TableRequest selected = request();
    selected.where = {condition};
    return read(text, selected).groups[0].rows.size();
  };
  BOOST_TEST(count("model=b") == 3U);
  BOOST_TEST(count("model!=b") == 2U);
  BOOST_TEST(count("x=3.0") == 1U);  // numbers compare as numbers
  BOOST_TEST(count("x<=3") == 3U);
  BOOST_TEST(count("x<3") == 2U);
  BOOST_TEST(count("x>3") == 2U);
  BOOST_TEST(count("x>=3") == 3U);
  r.where = {"model<c"};
  BOOST_TEST(contains(refusal(text, r), "cannot be read"));
  r.where = {"model"};
  BOOST_TEST(contains(refusal(text, r), "cannot be read"));
  r.where = {"modle=b"};
  BOOST_TEST(contains(refusal(text, r), "'model'"));
  r.where = {"x>9"};
  BOOST_TEST(contains(refusal(text, r), "--where"));
}

BOOST_AUTO_TEST_CASE(near_points_are_noted_or_merged) {
  const std::string text = "x,y\n3.45e-4,2\n3.453e-4,4\n7e-4,5\n7e-4,7\n";
  Table table = read(text);
  BOOST_TEST(table.groups[0].rows.size() == 4U);  // repeats are data
  BOOST_REQUIRE(table.notes.size() == 1U);
  BOOST_TEST(contains(table.notes[0], "lines 2 and 3"), table.notes[0]);
  TableRequest merge = request();
  merge.merge = 0.01;
  table = read(text, merge);
  const auto& rows = table.groups[0].rows;
  BOOST_REQUIRE(rows.size() == 2U);
  BOOST_TEST(rows[0].y == 3);
  BOOST_TEST(rows[0].x[0] == 3.4515e-4, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(rows[0].n_merged == 2U);
  BOOST_TEST(rows[1].y == 6);
  BOOST_TEST(table.notes.size() == 2U);
  BOOST_TEST(read("x,y\n1,2\n1,3\n2,4\n").notes.empty());
}
