#include "model/safetensors.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.hpp"
#include "base/files.hpp"

namespace pg::model {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little endian");

constexpr std::pair<const char*, at::ScalarType> kTypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}};

const char* name_of(at::ScalarType type) {
  for (const auto& [name, known] : kTypes) {
    if (known == type) return name;
  }
  throw InternalError({std::string("a tensor of ") + c10::toString(type), "a floating type", ""});
}

[[noreturn]] void damaged(const std::filesystem::path& file, const std::string& what) {
  throw_data(fmt::format("{}: {}", file.string(), what), "a safetensors file",
             "fetch or export it again");
}

/// A file that is being read; `data` is where its tensors begin.
struct Source {
  const std::filesystem::path& path;
  const Descriptor& file;
  std::uint64_t data;
  std::uint64_t size;
};

at::Tensor read_tensor(const Source& source, const std::string& name,
                       const nlohmann::ordered_json& entry) {
  const std::filesystem::path& file = source.path;
  const auto dtype = entry.at("dtype").get<std::string>();
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                 [&](const auto& known) { return dtype == known.first; });
  if (type == std::end(kTypes)) damaged(file, fmt::format("'{}' is of type {}", name, dtype));
  const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
  const auto offsets = entry.at("data_offsets").get<std::vector<std::size_t>>();
  std::size_t n = c10::elementSize(type->second);
  for (const std::int64_t size : shape) {
    if (size < 0) damaged(file, fmt::format("'{}' has a negative size", name));
    n *= static_cast<std::size_t>(size);
  }
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > source.size - source.data ||
      offsets[1] - offsets[0] != n) {
    damaged(file, fmt::format("the bytes of '{}' are not where its shape needs them", name));
  }
  at::Tensor tensor = at::empty(shape, type->second);
  read_at(source.file, {static_cast<std::byte*>(tensor.data_ptr()), n},
          static_cast<std::int64_t>(source.data + offsets[0]), file);
  return tensor;
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    require(tensor.is_contiguous() && tensor.is_cpu(), "contiguous tensors on the host");
    header[name] = {{"dtype", name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data aligned to its words
  PendingFile pending(file);
  std::ofstream out(pending.path(), std::ios::binary);
  const std::uint64_t length = text.size();
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const auto& [name, tensor] : tensors) {
    out.write(static_cast<const char*>(tensor.data_ptr()),
              static_cast<std::streamsize>(tensor.nbytes()));
  }
  out.close();
  if (!out) {
    throw IoError({fmt::format("cannot write '{}'", file.string()), "a writable folder with room",
                   "check the path and the disk"});
  }
  pending.commit();
}

NamedTensors read_safetensors(const std::filesystem::path& file) {
  const Descriptor descriptor(file, O_RDONLY);
  std::error_code failure;
  const std::uint64_t size = std::filesystem::file_size(file, failure);
  if (descriptor.get() < 0 || failure) {
    throw IoError(
        {fmt::format("cannot read '{}'", file.string()), "a readable file", "check the path"});
  }
  std::uint64_t length = 0;
  if (size < sizeof length) damaged(file, "no header");
  read_at(descriptor, std::as_writable_bytes(std::span(&length, 1)), 0, file);
  if (length > size - sizeof length) damaged(file, "the header is cut off");
  std::string text(static_cast<std::size_t>(length), ' ');
  read_at(descriptor, std::as_writable_bytes(std::span(text)), sizeof length, file);
  const Source source{file, descriptor, sizeof length + length, size};
  NamedTensors tensors;
  try {
    const auto header = nlohmann::ordered_json::parse(text);
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      tensors.emplace_back(name, read_tensor(source, name, entry));
    }
  } catch (const nlohmann::json::exception& error) {
    damaged(file, std::string("its header is damaged: ") + error.what());
  }
  return tensors;
}

}  // namespace pg::model
