#pragma once

#include <hdf5.h>

#include <utility>

// For the few sources that call HDF5 itself.

namespace pg::h5 {

/// Owns one HDF5 identifier and closes it with the call that belongs to its kind.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Id& operator=(Id&&) = delete;
  ~Id() { reset(); }
  [[nodiscard]] hid_t get() const { return id_; }
  [[nodiscard]] bool valid() const { return id_ >= 0; }
  /// True if the close succeeded.
  bool reset() {
    const hid_t id = std::exchange(id_, -1);
    return id < 0 || close_(id) >= 0;
  }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// Errors of the library are ours to word.
inline void silence_library() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

}  // namespace pg::h5
