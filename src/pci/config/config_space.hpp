// SPDX-License-Identifier: BSD-3-Clause
// The bytes of configuration space, and which of them a guest can change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "vmux/base/le.hpp"
#include "vmux/base/result.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::pci {

/// Where the capabilities that the function serves itself begin; 0: not there.
struct CapabilityOffsets {
  std::size_t power_management = 0, msi = 0, msix = 0, express = 0;
};

/// Configuration space as plain storage with masks. What a write means beyond that is in function_config.cpp.
class ConfigSpace {
 public:
  /// Header and capability chain of a description; `rom_size`: of the expansion ROM BAR, 0 for none.
  [[nodiscard]] static Result<ConfigSpace> build(const FunctionSpec& spec, std::uint32_t rom_size);

  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return bytes_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] const CapabilityOffsets& offsets() const noexcept { return offsets_; }
  /// True when a guest's write to this byte is the model's business: no standard structure lies there.
  [[nodiscard]] bool is_model_owned(std::size_t at) const noexcept { return !is_claimed_[at]; }

  template <class T>
  [[nodiscard]] T get(std::size_t at) const noexcept {
    Le<T> value;
    std::memcpy(&value, &bytes_[at], sizeof value);
    return value;
  }
  template <class T>
  void set(std::size_t at, T value) noexcept {
    const Le<T> wire = value;
    std::memcpy(&bytes_[at], &wire, sizeof wire);
  }

  /// A guest's write: only writable bits change, and those that a one clears. The range is inside.
  void write(std::size_t at, std::span<const std::byte> from) noexcept;
  /// Takes those bits of `saved` that a guest can change, or that only it clears. The size is that of this space.
  void load(std::span<const std::byte> saved) noexcept;
  /// What a guest can change goes back to its first value; what the model put elsewhere stays.
  void reset() noexcept;

 private:
  friend class ConfigBuilder;
  ConfigSpace() = default;

  std::vector<std::byte> bytes_, initial_, writable_, clears_;
  std::vector<bool> is_claimed_;
  CapabilityOffsets offsets_;
};

}  // namespace vmux::pci
