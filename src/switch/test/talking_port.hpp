// SPDX-License-Identifier: BSD-3-Clause
// For tests with threads: a port that sends numbered frames from its station to another while it has credit.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>

#include "port/port.hpp"

namespace vmux::switching::test {

template <std::size_t kSize>  // bytes of a frame
class TalkingPort : public port::Port {
 public:
  using Frame = std::array<std::byte, kSize>;
  // Any thread.
  std::atomic<std::uint64_t> credit{0}, received{0}, disordered{0};

  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    const std::size_t count = std::min<std::size_t>(into.size(), credit.load());
    for (std::size_t i = 0; i < count; ++i) {
      mark(frames_[i], next_ + i);
      const packet::Slice all{frames_[i]};
      payloads_[i] = all.subspan(packet::kHeaderRoom);
      into[i] = {};
      into[i].header = all.first(packet::kHeaderRoom);
      into[i].payload = std::span{&payloads_[i], 1};
      into[i].length = kSize;
    }
    return count;
  }
  void finish(std::span<const port::FrameResult> results) noexcept override {
    next_ += results.size();
    credit.fetch_sub(results.size());
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return {}; }
  [[nodiscard]] bool needs_polling() const noexcept override { return true; }
  [[nodiscard]] bool is_ready() const noexcept override { return true; }

 protected:
  /// The last bytes of the two stations' addresses; the rest of each frame is filled with `self`.
  void set_stations(std::uint8_t self, std::uint8_t peer) noexcept {
    const std::array<std::uint8_t, 14> header{2, 0, 0, 0, 0, peer, 2, 0, 0, 0, 0, self, 0x88, 0xb5};
    for (Frame& frame : frames_) {
      std::memset(frame.data(), self, kSize);
      std::memcpy(frame.data(), header.data(), header.size());
    }
  }
  /// Writes the number into a frame that is about to be sent, wherever the port looks for it on arrival.
  virtual void mark(Frame& frame, std::uint64_t number) noexcept = 0;
  /// A number arrived behind `expected`, the one that may come next.
  void note(std::uint64_t number, std::uint64_t& expected) noexcept {
    if (number < expected) disordered.fetch_add(1);
    expected = number + 1;
  }

 private:
  std::array<Frame, port::kMaxBurst> frames_{};
  std::array<packet::Slice, port::kMaxBurst> payloads_;
  std::uint64_t next_ = 0;
};

}  // namespace vmux::switching::test
