// SPDX-License-Identifier: BSD-3-Clause
// Which frames somebody wants to see: a program of classic BPF from outside, checked once and then run on a poller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "packet/frame.hpp"
#include "vmux/base/result.hpp"

namespace vmux::packet {

/// An instruction, with the meaning that McCanne and Jacobson's machine gives it (bpf(4) of the BSDs; Linux' struct
/// sock_filter has the same fields).
struct FilterInstruction {
  std::uint16_t code = 0;
  std::uint8_t if_true = 0, if_false = 0;  ///< instructions that a branch skips
  std::uint32_t k = 0;
  friend bool operator==(const FilterInstruction&, const FilterInstruction&) = default;
};

/// An immutable program. It has no loops, so that a frame costs at most one step for each of its instructions; it reads
/// nothing but the bytes that it is given, and decides about nothing but whether they pass.
class Filter {
 public:
  /// The budget: what a frame may cost a poller, in instructions. Some hundred nanoseconds, and more than any
  /// expression takes that is not a list of hosts.
  static constexpr std::size_t kMostInstructions = 256;

  /// Lets everything pass.
  Filter() noexcept = default;
  /// invalid_argument for a program that is empty or over budget, has an instruction that there is not, jumps out of
  /// itself or backwards (libpcap's own check lets that be), names a memory cell that there is not, divides by a
  /// constant 0, shifts by a constant of 32 or more, or does not end with a return.
  [[nodiscard]] static Result<Filter> create(std::span<const FilterInstruction> program);

  /// `bytes`: those of the frame that there are; a program that reads behind them lets nothing pass. `length`: of the
  /// whole frame. Any thread.
  [[nodiscard]] bool passes(Slice bytes, std::uint32_t length) const noexcept {
    return program_.empty() || run(bytes, length) != 0;
  }
  [[nodiscard]] std::span<const FilterInstruction> program() const noexcept { return program_; }

 private:
  [[nodiscard]] std::uint32_t run(Slice bytes, std::uint32_t length) const noexcept;
  std::vector<FilterInstruction> program_;
};

}  // namespace vmux::packet
