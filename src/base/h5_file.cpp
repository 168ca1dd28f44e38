#include "base/h5_file.hpp"

#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/h5_id.hpp"
#include "base/hash.hpp"

namespace pg::h5 {
namespace {

template <typename T>
hid_t native_type();
template <>
hid_t native_type<double>() {
  return H5T_NATIVE_DOUBLE;
}
template <>
hid_t native_type<std::int64_t>() {
  return H5T_NATIVE_INT64;
}

template <typename T>
hid_t file_type();
template <>
hid_t file_type<double>() {
  return H5T_IEEE_F64LE;
}
template <>
hid_t file_type<std::int64_t>() {
  return H5T_STD_I64LE;
}

/// Access to a file that exists in memory only.
Id memory_access() {
  Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  constexpr std::size_t kGrowth = 1 << 16;
  H5Pset_fapl_core(access.get(), kGrowth, /*backing_store=*/false);
  return access;
}

/// A name that no other open file has: the library shares files of one name, and refuses an image
/// under the name of a file on disk.
std::string memory_name(const std::filesystem::path& path, const void* owner) {
  return fmt::format("{} in memory at {}", path.string(), owner);
}

constexpr std::string_view kMark = "pgmpi sha256 ";
constexpr std::size_t kBlockSize = 512;  // the smallest user block that HDF5 knows

/// What stands before the HDF5 image.
std::string checksum_block(const std::string& image) {
  std::string block = std::string(kMark) + sha256_hex(image);
  block.resize(kBlockSize, '\n');
  return block;
}

Id scalar_space() {
  return {H5Screate(H5S_SCALAR), H5Sclose};
}

Id text_type(std::size_t size) {
  Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<std::size_t>(1, size));
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

}  // namespace

std::string library_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

struct Writer::State {
  std::filesystem::path path;
  Id file;

  void check(bool good, const std::string& what) const {
    if (!good) {
      throw IoError({fmt::format("cannot put {} into {}", what, path.string()), "",
                     "check that enough memory is free"});
    }
  }

  template <typename T>
  void write_attribute(const std::string& name, const T& value) {
    const Id space = scalar_space();
    const Id attribute(
        H5Acreate2(file.get(), name.c_str(), file_type<T>(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    check(attribute.valid() && H5Awrite(attribute.get(), native_type<T>(), &value) >= 0, name);
  }

  template <typename T>
  void write_dataset(const std::string& name, const std::vector<T>& values) {
    const hsize_t count = values.size();
    const Id space(H5Screate_simple(1, &count, nullptr), H5Sclose);
    const Id links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.get(), 1);
    const Id set(H5Dcreate2(file.get(), name.c_str(), file_type<T>(), space.get(), links.get(),
                            H5P_DEFAULT, H5P_DEFAULT),
                 H5Dclose);
    check(set.valid() && (count == 0 || H5Dwrite(set.get(), native_type<T>(), H5S_ALL, H5S_ALL,
                                                 H5P_DEFAULT, values.data()) >= 0),
          name);
  }
};

Writer::Writer(const std::filesystem::path& path) {
  silence_library();
  const Id access = memory_access();
  state_ = std::make_unique<State>(State{
      path, Id(H5Fcreate(memory_name(path, this).c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.get()),
               H5Fclose)});
  state_->check(state_->file.valid(), "a new HDF5 file");
}

Writer::~Writer() = default;

void Writer::attribute(const std::string& name, double value) {
  state_->write_attribute(name, value);
}

void Writer::attribute(const std::string& name, std::int64_t value) {
  state_->write_attribute(name, value);
}

void Writer::attribute(const std::string& name, const std::string& value) {
  constexpr std::size_t kLongest = 64'000;  // the file format's limit is a little above
  require(value.size() <= kLongest, "a text attribute of at most 64,000 bytes");
  const Id space = scalar_space();
  const Id type = text_type(value.size());
  const Id attribute(H5Acreate2(state_->file.get(), name.c_str(), type.get(), space.get(),
                                H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose);
  // A string of length zero is stored as one NUL, which reads back as the empty string.
  state_->check(attribute.valid() && H5Awrite(attribute.get(), type.get(), value.c_str()) >= 0,
                name);
}

void Writer::dataset(const std::string& name, const std::vector<double>& values) {
  state_->write_dataset(name, values);
}

void Writer::dataset(const std::string& name, const std::vector<std::int64_t>& values) {
  state_->write_dataset(name, values);
}

void Writer::close() {
  const hid_t file = state_->file.get();
  ssize_t size = H5Fflush(file, H5F_SCOPE_GLOBAL) < 0 ? -1 : H5Fget_file_image(file, nullptr, 0);
  std::string image(static_cast<std::size_t>(std::max<ssize_t>(0, size)), '\0');
  if (size > 0) size = H5Fget_file_image(file, image.data(), image.size());
  state_->check(size > 0 && state_->file.reset(), "the last bytes");
  write_in_place(state_->path, checksum_block(image) + image);
}

namespace {

[[noreturn]] void throw_damaged(const std::filesystem::path& path, const std::string& what) {
  throw_data(fmt::format("{}: {}", path.string(), what), "a whole, undamaged result file",
             "run the study again: a damaged result is set aside and its trial trained anew");
}

/// The HDF5 image behind the checksum block.
std::string checked_image(const std::filesystem::path& path) {
  std::string bytes = read_file(path);
  if (!bytes.starts_with(kMark)) {
    throw_damaged(path, "not a file that pgmpi wrote, or its beginning is damaged");
  }
  std::string image = bytes.size() > kBlockSize ? bytes.substr(kBlockSize) : std::string();
  if (!bytes.starts_with(checksum_block(image))) {
    throw_damaged(path, "its content does not match its checksum: damaged or cut short");
  }
  return image;
}

}  // namespace

struct Reader::State {
  std::filesystem::path path;
  Id file;

  [[noreturn]] void damaged(const std::string& what) const { throw_damaged(path, what); }

  [[nodiscard]] Id open_attribute(const std::string& name) const {
    Id attribute(H5Aopen(file.get(), name.c_str(), H5P_DEFAULT), H5Aclose);
    if (!attribute.valid()) damaged("the attribute '" + name + "' is missing or unreadable");
    return attribute;
  }

  template <typename T>
  T read_attribute(const std::string& name) const {
    const Id attribute = open_attribute(name);
    T value{};
    if (H5Aread(attribute.get(), native_type<T>(), &value) < 0) {
      damaged("the attribute '" + name + "' is of another type");
    }
    return value;
  }

  template <typename T>
  std::vector<T> read_dataset(const std::string& name) const {
    const Id set(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
    if (!set.valid()) damaged("the dataset '" + name + "' is missing or unreadable");
    const Id space(H5Dget_space(set.get()), H5Sclose);
    hsize_t count = 0;
    if (H5Sget_simple_extent_ndims(space.get()) != 1 ||
        H5Sget_simple_extent_dims(space.get(), &count, nullptr) != 1) {
      damaged("the dataset '" + name + "' is not one-dimensional");
    }
    std::vector<T> values(count);
    if (count > 0 &&
        H5Dread(set.get(), native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
      damaged("the dataset '" + name + "' is unreadable");
    }
    return values;
  }
};

Reader::Reader(const std::filesystem::path& path) {
  silence_library();
  const std::string image = checked_image(path);
  const Id access = memory_access();
  H5Pset_file_image(access.get(), const_cast<char*>(image.data()), image.size());  // copies it
  state_ = std::make_unique<State>(State{
      path, Id(H5Fopen(memory_name(path, this).c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose)});
  if (!state_->file.valid()) state_->damaged("no HDF5 file that this library can read");
}

Reader::~Reader() = default;

double Reader::real(const std::string& name) const {
  return state_->read_attribute<double>(name);
}

std::int64_t Reader::integer(const std::string& name) const {
  return state_->read_attribute<std::int64_t>(name);
}

std::string Reader::text(const std::string& name) const {
  const Id attribute = state_->open_attribute(name);
  const Id stored(H5Aget_type(attribute.get()), H5Tclose);
  if (H5Tget_class(stored.get()) != H5T_STRING || H5Tis_variable_str(stored.get()) != 0) {
    state_->damaged("the attribute '" + name + "' is no text");
  }
  std::string value(H5Tget_size(stored.get()), '\0');
  if (H5Aread(attribute.get(), stored.get(), value.data()) < 0) {
    state_->damaged("the attribute '" + name + "' is unreadable");
  }
  value.resize(value.find('\0') == std::string::npos ? value.size() : value.find('\0'));
  return value;
}

std::vector<double> Reader::reals(const std::string& name) const {
  return state_->read_dataset<double>(name);
}

std::vector<std::int64_t> Reader::integers(const std::string& name) const {
  return state_->read_dataset<std::int64_t>(name);
}

}  // namespace pg::h5
