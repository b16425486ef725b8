// SPDX-License-Identifier: BSD-3-Clause
// The front end's dirty log (SET_LOG_BASE): a bitmap in shared memory, of which it takes bits whenever it likes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "memory/backing.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/address_space.hpp"
#include "wire/vhost_user.hpp"

namespace vmux::vhost_user {

/// The queues' writes are marked in bitmaps of the address space, and carried over from there every now and then: a bit
/// that the front end sees thus stands for bytes that have been written, although payload is borrowed, and marked,
/// before it is. The last writes are carried over when a queue stops. Home thread.
class DirtyLog {
 public:
  /// `fd` is the front end's bitmap: bit n%8 of byte n/8, from `offset` on, is page n of the guest.
  [[nodiscard]] static Result<std::unique_ptr<DirtyLog>> create(UniqueFd fd, std::uint64_t offset, std::uint64_t size);

  /// Carries over what `space` has marked since the last time. Pages beyond the end of the log are left out.
  void take_from(memory::AddressSpace& space);
  /// Marks pages that the address space does not know.
  void mark(std::uint64_t address, std::uint64_t size) noexcept;
  /// The file has become shorter than it was: the front end is to go.
  [[nodiscard]] bool is_poisoned() const noexcept { return files_.is_poisoned(); }
  /// As create() was given them; the descriptor stays the log's.
  [[nodiscard]] int fd() const noexcept { return backing_->fd(); }
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return words_.size_bytes(); }

 private:
  DirtyLog() = default;
  void set(std::uint64_t word, std::uint64_t bits) noexcept;
  void take_window(memory::AddressSpace& space, const memory::Window& window);

  memory::BackingFiles files_;
  std::shared_ptr<memory::Backing> backing_;
  std::uint64_t offset_ = 0;
  std::span<std::uint64_t> words_;
  std::vector<std::uint64_t> scratch_;
};

}  // namespace vmux::vhost_user
