// SPDX-License-Identifier: BSD-3-Clause
// Memory of ours that a function reaches beside the guest's: for rings that the guest does not see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::vdpa {

/// Handed out from its beginning on; all of it at once becomes free again. Moves to another address with place().
class RingMemory {
 public:
  struct Part {
    std::span<std::byte> bytes;
    Iova at{};
  };

  [[nodiscard]] static Result<RingMemory> create(std::uint64_t size);
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return memory_.bytes(); }
  [[nodiscard]] std::uint64_t size() const noexcept { return memory_.size(); }
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// Where the function finds it; nothing: nowhere.
  [[nodiscard]] std::optional<Iova> place() const noexcept { return place_; }
  void set_place(std::optional<Iova> place) noexcept { place_ = place; }

  /// Zeroed, on 4096 bytes. nullopt when there is no room, or no place.
  [[nodiscard]] std::optional<Part> take(std::uint64_t size) noexcept;
  void free_all() noexcept { used_ = 0; }

 private:
  UniqueFd file_;
  Mapping memory_;
  std::optional<Iova> place_;
  std::uint64_t used_ = 0;
};

}  // namespace vmux::vdpa
