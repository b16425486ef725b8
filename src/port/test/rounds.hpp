// SPDX-License-Identifier: BSD-3-Clause
// For tests that play the switch: a port's round, and the end of a burst about which there is nothing to say.
#pragma once

#include <array>
#include <span>

#include "port/port.hpp"

namespace vmux::port::test {

class Round {
 public:
  explicit Round(Port& port) noexcept : port_(port) { port_.begin_round(); }
  ~Round() { port_.end_round(); }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

 private:
  Port& port_;
};

inline void finish(Port& port, std::size_t count) noexcept {
  const std::array<FrameResult, kMaxBurst> results{};
  port.finish(std::span{results}.first(count));
}

}  // namespace vmux::port::test
