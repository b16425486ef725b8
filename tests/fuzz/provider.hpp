// SPDX-License-Identifier: BSD-3-Clause
// An input whose numbers are taken from its end and whose bytes from its beginning: the seeds of some targets are
// written so, as libFuzzer's own provider reads them, which only clang has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

namespace vmux::fuzz {

/// Past the end numbers are the least that they may be.
class Provider {
 public:
  Provider(const std::uint8_t* data, std::size_t size) noexcept : rest_{data, size} {}

  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

  template <class T>
  T in_range(T least, T most) noexcept {
    const auto range = static_cast<std::uint64_t>(most) - static_cast<std::uint64_t>(least);
    std::uint64_t value = 0;
    for (unsigned offset = 0; offset < sizeof(T) * 8 && range >> offset > 0 && !rest_.empty(); offset += 8) {
      value = value << 8 | rest_.back();
      rest_ = rest_.first(rest_.size() - 1);
    }
    if (range != std::numeric_limits<std::uint64_t>::max()) value %= range + 1;
    return static_cast<T>(static_cast<std::uint64_t>(least) + value);
  }
  template <class T>
  T number() noexcept {
    return in_range(std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
  }
  bool boolean() noexcept { return (number<std::uint8_t>() & 1) != 0; }
  /// True so often of ten times.
  bool is_likely(double tenths) noexcept { return number<std::uint32_t>() < tenths / 10 * 0xffff'ffffu; }
  template <class T>
  T one_of(std::span<const T> values) noexcept {
    return values[in_range<std::size_t>(0, values.size() - 1)];
  }
  /// At most `count`: as many as are left.
  std::vector<std::uint8_t> bytes(std::size_t count) {
    const auto taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return {taken.begin(), taken.end()};
  }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace vmux::fuzz
