#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <limits>
#include <string>

#include "base/files.hpp"
#include "base/h5_file.hpp"
#include "support/support.hpp"

using namespace pg;
using pg::testing::check_error;
using pg::testing::FullDisk;
using pg::testing::ScratchFolder;

BOOST_AUTO_TEST_SUITE(files)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const ScratchFolder folder;
  std::string content(200'000, '\0');  // longer than the read buffer, with zeros in it
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  write_file(folder / "a/b/file", content);
  BOOST_TEST((read_file(folder / "a/b/file") == content));
  write_file(folder / "a/b/file", "");
  BOOST_TEST(read_file(folder / "a/b/file").empty());
}

BOOST_AUTO_TEST_CASE(without_commit_the_old_file_stays) {
  const ScratchFolder folder;
  write_file(folder / "file", "old");
  {
    const PendingFile pending(folder / "file");
    write_in_place(pending.path(), "half of the n");
    BOOST_TEST(folder.n_entries() == 2U);
  }
  BOOST_TEST(read_file(folder / "file") == "old");
  BOOST_TEST(folder.n_entries() == 1U);
  {
    PendingFile pending(folder / "file");
    write_in_place(pending.path(), "new");
    BOOST_TEST(read_file(folder / "file") == "old");
    pending.commit();
    BOOST_TEST(read_file(folder / "file") == "new");
  }
  BOOST_TEST(read_file(folder / "file") == "new");
  BOOST_TEST(folder.n_entries() == 1U);
}

BOOST_AUTO_TEST_CASE(a_commit_without_a_file_fails_and_keeps_the_old_one) {
  const ScratchFolder folder;
  write_file(folder / "file", "old");
  PendingFile pending(folder / "file");
  check_error([&] { pending.commit(); }, ExitCode::input_output, {"file", "No such file"});
  BOOST_TEST(read_file(folder / "file") == "old");
}

BOOST_AUTO_TEST_CASE(a_full_disk_keeps_the_old_file) {
  const ScratchFolder folder;
  write_file(folder / "file", "old");
  const std::filesystem::path pending = PendingFile(folder / "file").path();
  std::filesystem::create_symlink("/dev/full", pending);  // the write aside meets a full device
  check_error([&] { write_file(folder / "file", "new"); }, ExitCode::input_output,
              {"file", "No space left on device", "free space"});
  BOOST_TEST(read_file(folder / "file") == "old");
  BOOST_TEST(folder.n_entries() == 1U);
  {
    const FullDisk limit(1000);
    check_error([&] { write_file(folder / "file", std::string(2000, 'x')); },
                ExitCode::input_output, {"file"});
  }
  BOOST_TEST(read_file(folder / "file") == "old");
  BOOST_TEST(folder.n_entries() == 1U);
}

BOOST_AUTO_TEST_CASE(unwritable_places_are_named) {
  // /proc takes no new files from anybody, root included.
  check_error([] { write_file("/proc/pgmpi/file", "x"); }, ExitCode::input_output, {"/proc/pgmpi"});
  check_error([] { make_writable_folder("/proc"); }, ExitCode::input_output, {"/proc"});
  const ScratchFolder folder;
  write_file(folder / "file", "x");
  check_error([&] { write_file(folder / "file/below", "x"); }, ExitCode::input_output, {"file"});
  check_error([&] { make_writable_folder(folder / "file"); }, ExitCode::input_output, {"file"});
  make_writable_folder(folder / "new/folder");
  BOOST_TEST(std::filesystem::is_empty(folder / "new/folder"));
  if (::geteuid() == 0) return;  // root may write anywhere else
  ::chmod((folder / "new").c_str(), 0555);
  check_error([&] { write_file(folder / "new/file", "x"); }, ExitCode::input_output,
              {"Permission denied"});
  check_error([&] { make_writable_folder(folder / "new"); }, ExitCode::input_output, {"new"});
  ::chmod((folder / "new").c_str(), 0755);
}

BOOST_AUTO_TEST_CASE(unreadable_files_are_named) {
  const ScratchFolder folder;
  check_error([&] { (void)read_file(folder / "missing"); }, ExitCode::input_output,
              {"missing", "No such file"});
  check_error([&] { (void)read_file(folder.path()); }, ExitCode::input_output,
              {folder.path().string(), "Is a directory"});
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(hdf5)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const ScratchFolder folder;
  const std::vector<double> reals = {0.1, -1e300, std::numeric_limits<double>::infinity(), 5e-324};
  const std::vector<std::int64_t> integers = {std::numeric_limits<std::int64_t>::min(), 0, 7};
  {
    h5::Writer out(folder / "file.h5");
    out.attribute("real", 0.1);
    out.attribute("integer", std::int64_t{-3});
    out.attribute("text", std::string("α = ½\nsecond line"));
    out.attribute("empty", std::string());
    out.attribute("long", std::string(64'000, 'x'));
    check_error([&] { out.attribute("longer", std::string(64'001, 'x')); }, ExitCode::internal,
                {"64,000"});
    out.dataset("group/reals", reals);
    out.dataset("group/integers", integers);
    out.dataset("nothing", std::vector<double>());
    out.close();
  }
  const h5::Reader in(folder / "file.h5");
  BOOST_TEST(in.real("real") == 0.1);
  BOOST_TEST(in.integer("integer") == -3);
  BOOST_TEST(in.text("text") == "α = ½\nsecond line");
  BOOST_TEST(in.text("empty").empty());
  BOOST_TEST(in.text("long") == std::string(64'000, 'x'));
  BOOST_TEST(in.reals("group/reals") == reals, boost::test_tools::per_element());
  BOOST_TEST(in.integers("group/integers") == integers, boost::test_tools::per_element());
  BOOST_TEST(in.reals("nothing").empty());
}

BOOST_AUTO_TEST_CASE(what_is_not_there_or_of_another_kind_is_bad_data) {
  const ScratchFolder folder;
  const std::string file = folder / "file.h5";
  {
    h5::Writer out(file);
    out.attribute("text", std::string("word"));
    out.attribute("real", 1.0);
    out.dataset("set", std::vector<double>{1, 2});
    out.close();
  }
  const h5::Reader in(file);
  check_error([&] { (void)in.real("other"); }, ExitCode::bad_data, {file, "other"});
  check_error([&] { (void)in.real("text"); }, ExitCode::bad_data, {file, "text"});
  check_error([&] { (void)in.text("other"); }, ExitCode::bad_data, {file, "other"});
  check_error([&] { (void)in.text("real"); }, ExitCode::bad_data, {file, "real"});
  check_error([&] { (void)in.reals("other"); }, ExitCode::bad_data, {file, "other"});
  check_error([&] { (void)in.reals("set/deeper"); }, ExitCode::bad_data, {file, "set/deeper"});
}

BOOST_AUTO_TEST_CASE(no_file_no_folder_no_space) {
  const ScratchFolder folder;
  check_error([&] { h5::Reader(folder / "missing.h5"); }, ExitCode::input_output, {"missing.h5"});
  check_error([&] { h5::Reader(folder.path()); }, ExitCode::input_output, {folder.path().string()});
  write_file(folder / "empty.h5", "");
  check_error([&] { h5::Reader(folder / "empty.h5"); }, ExitCode::bad_data, {"empty.h5"});
  check_error([] { h5::Writer("/proc/file.h5").close(); }, ExitCode::input_output,
              {"/proc/file.h5"});
  check_error(
      [&] {
        h5::Writer out(folder / "full.h5");
        const FullDisk limit(4096);
        out.dataset("set", std::vector<double>(100'000, 1.0));
        out.close();
      },
      ExitCode::input_output, {"full.h5", "free space"});
}

BOOST_AUTO_TEST_SUITE_END()
