// SPDX-License-Identifier: BSD-3-Clause
// Where an image of format.hpp outlives its process: two slots, written in turn, one of which is always whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::state {

/// A sealed memfd that nobody maps and no client is given: only pwrite() gets there, so that a stray store of a process
/// that is about to die reaches neither slot.
class ControlSlots {
 public:
  [[nodiscard]] static Result<ControlSlots> create(std::size_t longest_image);
  /// Those of another process. Goes on behind the newest.
  [[nodiscard]] static Result<ControlSlots> adopt(UniqueFd fd);

  /// Replaces the older of the two. no_space for an image that is too long, which changes nothing.
  [[nodiscard]] Result<void> write(std::span<const std::byte> image);
  /// The newest that is whole; not_found when there is none.
  [[nodiscard]] Result<std::vector<std::byte>> newest() const;
  /// That of this number, which was the newest or is the one before; not_found when it is not there, or not whole.
  [[nodiscard]] Result<std::vector<std::byte>> image(std::uint64_t sequence) const;
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }  ///< of the newest; 0: none

 private:
  ControlSlots(UniqueFd fd, std::size_t room) noexcept : fd_(std::move(fd)), room_(room) {}
  struct Found {
    std::uint64_t sequence = 0;
    std::vector<std::byte> image;
  };
  [[nodiscard]] Found read(unsigned slot) const;

  UniqueFd fd_;
  std::size_t room_;  // bytes of a slot, its header included
  std::uint64_t sequence_ = 0;
};

}  // namespace vmux::state
