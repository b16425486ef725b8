// SPDX-License-Identifier: BSD-3-Clause
// Reads a fuzzer's input from its first byte on: what stands where is plain to see, so seeds can be written by hand.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace vmux::fuzz {

/// Past the end there are zeroes.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) noexcept : rest_{data, size} {}

  [[nodiscard]] bool is_empty() const noexcept { return rest_.empty(); }
  std::uint8_t u8() noexcept { return number<std::uint8_t>(); }
  std::uint16_t u16() noexcept { return number<std::uint16_t>(); }
  std::uint32_t u32() noexcept { return number<std::uint32_t>(); }
  std::uint64_t u64() noexcept { return number<std::uint64_t>(); }
  /// At most `size` bytes: as many as are left.
  std::span<const std::uint8_t> bytes(std::size_t size) noexcept {
    const auto taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const std::uint8_t> all() noexcept { return bytes(rest_.size()); }

 private:
  template <class T>
  T number() noexcept {  // little endian
    T value = 0;
    const auto from = bytes(sizeof value);
    if (!from.empty()) std::memcpy(&value, from.data(), from.size());
    return value;
  }
  std::span<const std::uint8_t> rest_;
};

[[nodiscard]] inline std::string_view text_of(std::span<const std::uint8_t> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace vmux::fuzz
