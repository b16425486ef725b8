// SPDX-License-Identifier: BSD-3-Clause
// Descriptors by name: what a saved state refers to and cannot hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::state {

/// Owns them. Names are short paths, as `ram/3`, `irq/msix/5`, `connection`.
class FdBag {
 public:
  /// A function with all of MSI-X's vectors, as many memory files as a client may give, and what its session holds.
  static constexpr std::size_t kMaxFds = 8192;
  static constexpr std::size_t kMaxName = 64;

  FdBag() = default;
  /// One that owns nothing and has the numbers themselves: for whoever keeps an image for the time after this process,
  /// as long as its descriptors stay what they are.
  [[nodiscard]] static FdBag of_numbers() noexcept {
    FdBag bag;
    bag.owns_ = false;
    return bag;
  }
  FdBag(FdBag&&) noexcept = default;
  FdBag& operator=(FdBag&&) noexcept = default;
  ~FdBag();

  /// already_exists for a name that is there, invalid_argument for one that is none, no_space when it is full.
  [[nodiscard]] Result<void> put(std::string name, UniqueFd fd);
  /// A duplicate: whoever has `fd` goes on having it.
  [[nodiscard]] Result<void> put_copy(std::string name, int fd);
  /// -1 when there is none of this name; the bag goes on owning it.
  [[nodiscard]] int get(std::string_view name) const noexcept;
  /// A duplicate; not_found when there is none of this name.
  [[nodiscard]] Result<UniqueFd> copy(std::string_view name) const;
  [[nodiscard]] std::size_t size() const noexcept { return fds_.size(); }
  /// In order of names: visit(name, fd).
  template <class F>
  void for_each(F&& visit) const {
    for (const auto& [name, fd] : fds_)
      visit(name, fd);
  }

 private:
  [[nodiscard]] Result<void> check(std::string_view name, int fd) const noexcept;
  std::map<std::string, int, std::less<>> fds_;
  bool owns_ = true;
};

/// The names and numbers of a bag of_numbers(), as part of an image.
struct FdNumbers {
  static constexpr std::string_view kSection = "state.fds";
  static constexpr std::uint16_t kVersion = 1;
  struct Entry {
    std::string name;
    std::uint32_t number = 0;
    static void describe(auto& fields, auto& self) {
      fields.text("name", self.name, FdBag::kMaxName);
      fields("number", self.number);
    }
  };
  std::vector<Entry> entries;
  static void describe(auto& fields, auto& self) { fields.list("entries", self.entries, FdBag::kMaxFds); }
};
[[nodiscard]] FdNumbers numbers_of(const FdBag& bag);

/// `kind`/`index`
[[nodiscard]] std::string fd_name(std::string_view kind, std::uint64_t index);

/// Something that has stopped here and can go on elsewhere: an image of format.hpp, and the descriptors it names.
struct Suspended {
  std::vector<std::byte> image;
  FdBag fds;
};

}  // namespace vmux::state
