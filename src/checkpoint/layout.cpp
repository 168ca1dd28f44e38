#include "checkpoint/layout.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/h5_id.hpp"
#include "base/text.hpp"

namespace pg::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "files hold the bytes of memory");

using h5::Id;
constexpr std::size_t kHeaderBytes = 512;  // the smallest user block that HDF5 knows
constexpr const char* kFormat = "pgmpi generation";
constexpr const char* kBlocks = "hash_tree/blocks";
constexpr std::size_t kLongestText = 64'000;  // an attribute's limit is a little above

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw_data(fmt::format("{}: {}", path.string(), what), "a whole, undamaged generation",
             "use an older generation, or a newer copy of this one");
}

/// An unnamed, sparse file in memory for the library to work on: it does not survive a failed write
/// or a damaged structure, and so never touches the file itself.
class Scratch {
 public:
  /// `room`: bytes that the library will put there, at most.
  explicit Scratch(std::size_t room) {
    struct statvfs disk {};
    if (::statvfs("/dev/shm", &disk) == 0 && disk.f_bavail * disk.f_bsize < 2 * room) {
      throw_io(fmt::format("{} bytes are needed in /dev/shm and are not there", 2 * room), ENOSPC,
               "remove what is left there of programs that have ended");
    }
    file_.emplace(::mkstemp(name_.data()));
    if (file_->get() < 0) {
      throw_io("cannot make a file in /dev/shm", errno, "a few kilobytes free in /dev/shm");
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { forget_name(); }
  /// Until forget_name().
  [[nodiscard]] const char* name() const { return name_.c_str(); }
  void forget_name() {
    if (!name_.empty()) ::unlink(name_.c_str());
    name_.clear();
  }
  [[nodiscard]] const Descriptor& file() const { return *file_; }

 private:
  std::string name_ = "/dev/shm/pgmpi-XXXXXX";
  std::optional<Descriptor> file_;
};

Id bfloat16_type() {
  Id type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.get(), 15, 7, 8, 0, 7);  // sign, exponent at and of, mantissa at and of
  H5Tset_precision(type.get(), 16);
  H5Tset_size(type.get(), 2);
  H5Tset_ebias(type.get(), 127);
  return type;
}

Id file_type(Type type) {
  switch (type) {
    case Type::float32: return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case Type::bfloat16: return bfloat16_type();
    case Type::float64: return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
    case Type::int64: return {H5Tcopy(H5T_STD_I64LE), H5Tclose};
  }
  throw InternalError({"an element type without a file type", "", ""});
}

void check(bool good, const std::string& what) {
  if (!good) {
    throw IoError({"the HDF5 library cannot put " + what + " into a generation", "",
                   "check that memory is free"});
  }
}

void put_attribute(hid_t where, const std::string& name, const std::string& value) {
  require(value.size() <= kLongestText, "a text of at most 64,000 bytes");
  const Id space(H5Screate(H5S_SCALAR), H5Sclose);
  const Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<std::size_t>(1, value.size()));
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const Id attribute(
      H5Acreate2(where, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check(attribute.valid() && H5Awrite(attribute.get(), type.get(), value.c_str()) >= 0, name);
}

void put_attribute(hid_t where, const std::string& name, std::int64_t value) {
  const Id space(H5Screate(H5S_SCALAR), H5Sclose);
  const Id attribute(
      H5Acreate2(where, name.c_str(), H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  check(attribute.valid() && H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value) >= 0, name);
}

/// A dataset with a place in the file and no bytes there yet.
Id put_dataset(hid_t file, const std::string& name, const Id& type,
               const std::vector<std::int64_t>& shape) {
  const std::vector<hsize_t> extent(shape.begin(), shape.end());
  const Id space(extent.empty()
                     ? H5Screate(H5S_SCALAR)
                     : H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
                 H5Sclose);
  const Id links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Id creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  H5Pset_obj_track_times(creation.get(), false);  // same content, same bytes
  Id set(H5Dcreate2(file, name.c_str(), type.get(), space.get(), links.get(), creation.get(),
                    H5P_DEFAULT),
         H5Dclose);
  check(set.valid(), name);
  return set;
}

std::vector<Digest> digests_by_array(const std::vector<Block>& blocks,
                                     const std::vector<Digest>& digests, std::size_t n_arrays) {
  std::vector<std::vector<Digest>> of(n_arrays);
  for (std::size_t i = 0; i < blocks.size(); ++i) of[blocks[i].array].push_back(digests[i]);
  std::vector<Digest> joint;
  for (const auto& list : of) joint.push_back(digest_of(std::as_bytes(std::span(list))));
  return joint;
}

/// Makes the structures with this much room for them; empty if it is not enough.
std::string try_front(const Content& content, const std::vector<Digest>& digests,
                      std::size_t room) {
  Scratch scratch(room);
  const Id creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_userblock(creation.get(), kHeaderBytes);
  const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_meta_block_size(access.get(), room);
  H5Pset_small_data_block_size(access.get(), 0);
  Id file(H5Fcreate(scratch.name(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
  scratch.forget_name();
  check(file.valid(), "a new file");

  put_attribute(file.get(), "format", std::string(kFormat));
  put_attribute(file.get(), "version", kFormatVersion);
  put_attribute(file.get(), "block_bytes", kBlockBytes);
  put_attribute(file.get(), "step", content.step);
  for (const auto& [name, value] : content.texts) put_attribute(file.get(), "text " + name, value);
  for (const auto& [name, value] : content.integers) {
    put_attribute(file.get(), "integer " + name, value);
  }
  const auto n_blocks = static_cast<std::int64_t>(digests.size());
  const Id word(H5Tcopy(H5T_STD_U64LE), H5Tclose);
  Id hashes = put_dataset(file.get(), kBlocks, word, {n_blocks, 2});
  const auto joint = digests_by_array(blocks_of(content.arrays), digests, content.arrays.size());
  std::int64_t begin = -1;  // where the arrays have to be
  if (!digests.empty()) {
    begin = static_cast<std::int64_t>(H5Dget_offset(hashes.get())) +
            n_blocks * static_cast<std::int64_t>(sizeof(Digest));
  }
  std::int64_t end = begin;
  bool fits = true;
  for (std::size_t i = 0; i < content.arrays.size(); ++i) {
    const ArraySpec& array = content.arrays[i];
    const Id set = put_dataset(file.get(), array.name, file_type(array.type), array.shape);
    put_attribute(set.get(), "xxh3", hex(joint[i]));
    put_attribute(set.get(), "position", static_cast<std::int64_t>(i));
    if (array.n_bytes() == 0) continue;
    fits = fits && static_cast<std::int64_t>(H5Dget_offset(set.get())) == end;
    end += array.n_bytes();
  }
  if (!digests.empty()) {
    check(H5Dwrite(hashes.get(), H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                   digests.data()) >= 0,
          "hashes");
  }
  // Identifiers that are still open keep the file open.
  hashes.reset();
  check(file.reset(), "its structures");
  struct stat state {};
  require(::fstat(scratch.file().get(), &state) == 0, "a file that is open");
  if (begin < 0) begin = end = state.st_size;
  // What the library put behind the first array would be overwritten.
  if (!fits || state.st_size != end) return {};
  std::string front(static_cast<std::size_t>(begin), '\0');
  read_at(scratch.file(), std::as_writable_bytes(std::span(front)), 0, "/dev/shm");
  return front;
}

struct Header {
  std::int64_t version = kFormatVersion;
  std::int64_t file_bytes = 0;
  std::int64_t front_bytes = 0;
  std::string front_xxh3;

  [[nodiscard]] std::string text() const {
    std::string lines = fmt::format("{} {}\nfile_bytes {}\nfront_bytes {}\nfront_xxh3 {}\n",
                                    kFormat, version, file_bytes, front_bytes, front_xxh3);
    lines += fmt::format("header_xxh3 {}\n", hex(digest_of(std::as_bytes(std::span(lines)))));
    lines.resize(kHeaderBytes, '\n');
    return lines;
  }
};

Header read_header(const std::filesystem::path& path, std::int64_t size, const std::string& block) {
  if (size == 0) damaged(path, "an empty file");
  if (!block.starts_with(kFormat)) {
    damaged(path, "not a generation that pgmpi wrote, or its beginning is damaged");
  }
  const auto lines = split(block, '\n');
  const auto field = [&](std::size_t line, const std::string& name) -> std::string {
    if (line >= lines.size() || !lines[line].starts_with(name + " ")) {
      damaged(path, "its first bytes are damaged");
    }
    return lines[line].substr(name.size() + 1);
  };
  Header header;
  header.version = parse_integer(field(0, kFormat)).value_or(-1);
  if (header.version > kFormatVersion) {
    damaged(path,
            fmt::format("format version {}, and this program knows versions up to {}: a newer "
                        "pgmpi wrote it, or its first line is damaged",
                        header.version, kFormatVersion));
  }
  header.file_bytes = parse_integer(field(1, "file_bytes")).value_or(-1);
  header.front_bytes = parse_integer(field(2, "front_bytes")).value_or(-1);
  header.front_xxh3 = field(3, "front_xxh3");
  if (header.version < 1 || block != header.text()) damaged(path, "its first bytes are damaged");
  if (size != header.file_bytes) {
    damaged(path, fmt::format("{} bytes long instead of {}: cut short, or something was appended",
                              size, header.file_bytes));
  }
  if (header.front_bytes < static_cast<std::int64_t>(kHeaderBytes) ||
      header.front_bytes > header.file_bytes) {
    damaged(path, "its first bytes are damaged");
  }
  return header;
}

// The one whose callback gets an H5O_info_t.
#if H5_VERSION_GE(1, 12, 0)
constexpr auto visit = H5Ovisit3;
#else
constexpr auto visit = H5Ovisit2;
#endif

/// Reads the structures, which are known to be what a writer made.
class FrontParser {
 public:
  FrontParser(const std::filesystem::path& path, const std::string& front, std::int64_t file_bytes)
      : path_(path), file_(open(front, file_bytes)) {
    if (!file_.valid()) damaged(path, "no HDF5 file that this library can read");
  }

  Front parse() {
    Front front;
    front.content.step = integer(file_.get(), "step");
    if (integer(file_.get(), "block_bytes") != kBlockBytes)
      damaged(path_, "blocks of another size");
    std::vector<std::string> names;
    H5Aiterate2(file_.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, note_attribute, &names);
    for (const std::string& name : names) {
      if (name.starts_with("text ")) front.content.texts[name.substr(5)] = text(file_.get(), name);
      if (name.starts_with("integer ")) {
        front.content.integers[name.substr(8)] = integer(file_.get(), name);
      }
    }
    std::vector<std::string> sets;
    visit(file_.get(), H5_INDEX_NAME, H5_ITER_INC, note_dataset, &sets, H5O_INFO_BASIC);
    front.content.arrays.resize(sets.size() - std::min<std::size_t>(1, sets.size()));
    for (const std::string& name : sets) {
      if (name == kBlocks) continue;
      read_array(name, front.content.arrays);
    }
    const auto blocks = blocks_of(front.content.arrays);
    front.block_digests.resize(blocks.size());
    const Id hashes(H5Dopen2(file_.get(), kBlocks, H5P_DEFAULT), H5Dclose);
    const Id space(H5Dget_space(hashes.get()), H5Sclose);
    if (H5Sget_simple_extent_npoints(space.get()) !=
        static_cast<hssize_t>(2 * front.block_digests.size())) {
      damaged(path_, "another number of hashes than of blocks");
    }
    if (!blocks.empty() && H5Dread(hashes.get(), H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                                   front.block_digests.data()) < 0) {
      damaged(path_, "its hashes are unreadable");
    }
    front.array_digests =
        digests_by_array(blocks, front.block_digests, front.content.arrays.size());
    return front;
  }

 private:
  static Id open(const std::string& front, std::int64_t file_bytes) {
    Scratch scratch(front.size());
    write_at(scratch.file(), std::as_bytes(std::span(front)), 0, "/dev/shm");
    if (::ftruncate(scratch.file().get(), file_bytes) != 0) {
      throw_io("cannot make a sparse file in /dev/shm", errno, "");
    }
    return {H5Fopen(scratch.name(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose};
  }

  static herr_t note_attribute(hid_t, const char* name, const H5A_info_t*, void* names) {
    static_cast<std::vector<std::string>*>(names)->emplace_back(name);
    return 0;
  }
  static herr_t note_dataset(hid_t, const char* name, const H5O_info_t* info, void* names) {
    if (info->type == H5O_TYPE_DATASET) {
      static_cast<std::vector<std::string>*>(names)->emplace_back(name);
    }
    return 0;
  }

  [[nodiscard]] Id attribute(hid_t where, const std::string& name) const {
    Id attribute(H5Aopen(where, name.c_str(), H5P_DEFAULT), H5Aclose);
    if (!attribute.valid()) damaged(path_, "the attribute '" + name + "' is missing");
    return attribute;
  }
  [[nodiscard]] std::int64_t integer(hid_t where, const std::string& name) const {
    std::int64_t value = 0;
    if (H5Aread(attribute(where, name).get(), H5T_NATIVE_INT64, &value) < 0) {
      damaged(path_, "the attribute '" + name + "' is no integer");
    }
    return value;
  }
  [[nodiscard]] std::string text(hid_t where, const std::string& name) const {
    const Id found = attribute(where, name);
    const Id stored(H5Aget_type(found.get()), H5Tclose);
    std::string value(H5Tget_size(stored.get()), '\0');
    if (H5Tget_class(stored.get()) != H5T_STRING ||
        H5Aread(found.get(), stored.get(), value.data()) < 0) {
      damaged(path_, "the attribute '" + name + "' is no text");
    }
    value.resize(std::min(value.find('\0'), value.size()));
    return value;
  }

  void read_array(const std::string& name, std::vector<ArraySpec>& arrays) const {
    const Id set(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
    const Id space(H5Dget_space(set.get()), H5Sclose);
    const Id stored(H5Dget_type(set.get()), H5Tclose);
    const int rank = H5Sget_simple_extent_ndims(space.get());
    const auto position = static_cast<std::size_t>(integer(set.get(), "position"));
    if (rank < 0 || position >= arrays.size()) damaged(path_, "'" + name + "' is unreadable");
    std::vector<hsize_t> extent(static_cast<std::size_t>(rank));
    H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr);
    ArraySpec& array = arrays[position];
    array.name = name;
    array.shape.assign(extent.begin(), extent.end());
    for (const Type type : {Type::float32, Type::bfloat16, Type::float64, Type::int64}) {
      if (H5Tequal(stored.get(), file_type(type).get()) > 0) {
        array.type = type;
        return;
      }
    }
    damaged(path_, "'" + name + "' has elements of an unknown type");
  }

  std::filesystem::path path_;
  Id file_;
};

}  // namespace

Digest digest_of(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

std::string hex(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

std::vector<Block> blocks_of(const std::vector<ArraySpec>& arrays) {
  std::vector<Block> blocks;
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const std::int64_t n = arrays[i].n_bytes();
    for (std::int64_t begin = 0; begin < n; begin += kBlockBytes) {
      const std::int64_t size = std::min(kBlockBytes, n - begin);
      blocks.push_back({i, offset, begin, size});
      offset += size;
    }
  }
  return blocks;
}

std::string make_front(const Content& content, const std::vector<Digest>& block_digests) {
  h5::silence_library();
  std::size_t room = 4096 + 2048 * content.arrays.size();
  for (const auto& [name, value] : content.texts) room += 2 * value.size();
  std::string front;
  for (int attempt = 0; front.empty() && attempt < 12; ++attempt, room *= 2) {
    front = try_front(content, block_digests, room);
  }
  require(!front.empty(), "HDF5 structures that fit before the arrays");
  Header header;
  header.front_bytes = static_cast<std::int64_t>(front.size());
  header.file_bytes = header.front_bytes;
  for (const ArraySpec& array : content.arrays) header.file_bytes += array.n_bytes();
  header.front_xxh3 = hex(digest_of(std::as_bytes(std::span(front)).subspan(kHeaderBytes)));
  const std::string text = header.text();
  std::copy(text.begin(), text.end(), front.begin());
  return front;
}

Front read_front(const std::filesystem::path& path) {
  h5::silence_library();
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) {
    throw_io("cannot read " + path.string(), errno, "check the path and its permissions");
  }
  struct stat state {};
  if (::fstat(file.get(), &state) != 0) throw_io("cannot look at " + path.string(), errno, "");
  if (!S_ISREG(state.st_mode)) damaged(path, "no regular file");
  std::string front(std::min<std::size_t>(kHeaderBytes, static_cast<std::size_t>(state.st_size)),
                    '\0');
  read_at(file, std::as_writable_bytes(std::span(front)), 0, path);
  const Header header = read_header(path, state.st_size, front);
  front.resize(static_cast<std::size_t>(header.front_bytes));
  read_at(file, std::as_writable_bytes(std::span(front)), 0, path);
  const Digest digest = digest_of(std::as_bytes(std::span(front)).subspan(kHeaderBytes));
  if (hex(digest) != header.front_xxh3) {
    damaged(path, "its structures do not match their hash: damaged");
  }
  Front result = FrontParser(path, front, header.file_bytes).parse();
  result.digest = digest;
  result.arrays_begin = header.front_bytes;
  result.file_bytes = header.file_bytes;
  std::int64_t end = result.arrays_begin;
  for (const ArraySpec& array : result.content.arrays) end += array.n_bytes();
  if (end != result.file_bytes) damaged(path, "its arrays do not fill it");
  return result;
}

}  // namespace pg::checkpoint
