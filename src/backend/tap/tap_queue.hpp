// SPDX-License-Identifier: BSD-3-Clause
// One descriptor of a tap interface: frames read into own buffers, and frames written from wherever they lie.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "backend/tap/finish.hpp"
#include "packet/transfer.hpp"
#include "port/port.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::backend {

/// What a read or write came to; the rest of errno's is the port's affair.
enum class TapOutcome : std::uint8_t { done, again, down, refused, gone };

class TapQueue {
 public:
  TapQueue(UniqueFd fd, std::size_t header_size);

  /// The next frames, read until the kernel has no more or `into` is full. One system call per frame: a tap has no
  /// other way. What no view can carry (finish.hpp) is finished first. `malformed` counts what was not a frame. Sets
  /// gone_errno() when the interface is.
  [[nodiscard]] std::size_t peek(std::span<packet::FrameView> into, Counter& malformed) noexcept;
  void complete(std::size_t count) noexcept;
  /// Writes one piece: the kernel takes its bytes from where they lie.
  [[nodiscard]] TapOutcome write(const packet::Pieces& pieces, const packet::Piece& piece) noexcept;

  void set_readable() noexcept { readable_ = true; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] int gone_errno() const noexcept { return gone_errno_; }  ///< 0 while the interface is there
  [[nodiscard]] bool is_empty() const noexcept { return count_ == 0; }

  runtime::Watch watch;  // the port's

 private:
  static constexpr std::size_t kSlots = port::kMaxBurst;
  static constexpr std::size_t kFrameRoom = 65536 + 256;  // bytes: the largest super-frame, and its tags
  static constexpr std::size_t kMaxSlices = 256;          // of one frame
  struct Slot {
    std::byte* bytes = nullptr;  // kFrameRoom of them
    packet::Slice payload;
    packet::FrameView view;
  };
  [[nodiscard]] bool fill(Slot& slot, Counter& malformed) noexcept;
  [[nodiscard]] bool read_one(Slot& slot, Counter& malformed) noexcept;
  [[nodiscard]] static bool describe(Slot& slot, packet::Slice frame, std::size_t header,
                                     const packet::Offload& offload) noexcept;
  [[nodiscard]] bool finish(Slot& slot) noexcept;
  void cut_one(Slot& slot) noexcept;

  UniqueFd fd_;
  std::size_t header_size_;
  std::unique_ptr<std::byte[]> room_;  // kSlots + 1 times kFrameRoom; pages are touched as they are used
  std::array<Slot, kSlots> slots_;
  LongCutter cutter_;                             // of the super-frame...
  std::byte* cut_ = nullptr;                      // ...that lies here
  std::array<packet::Slice, kMaxSlices> slices_;  // of the frame that is being written
  std::size_t first_ = 0, count_ = 0;             // frames read and not yet completed
  bool readable_ = true;
  int gone_errno_ = 0;
};

}  // namespace vmux::backend
