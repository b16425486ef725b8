// SPDX-License-Identifier: BSD-3-Clause
// The MSI-X table and pending bit array as a guest sees them in a BAR.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmux/pci/interrupts.hpp"
#include "wire/pci.hpp"

namespace vmux::pci {

/// Home thread. A VMM may keep the table to itself (QEMU does): all entries would then look masked for ever. So the
/// mask bit of an entry counts only from the first write to that entry on.
class MsixTable {
 public:
  explicit MsixTable(std::uint32_t vectors) : entries_(vectors) { reset(); }

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size() * sizeof(wire::pci::MsixEntry); }
  void read(std::size_t offset, std::span<std::byte> into) const noexcept;
  /// Entries [first, end).
  struct Touched {
    std::uint32_t first = 0, end = 0;
  };
  /// Stores, and tells which entries were touched: their mask bits count from now on.
  Touched write(std::size_t offset, std::span<const std::byte> from) noexcept;
  [[nodiscard]] bool is_masked(std::uint32_t vector) const noexcept { return entries_[vector].control != 0; }
  void reset() noexcept;
  [[nodiscard]] std::span<const wire::pci::MsixEntry> entries() const noexcept { return entries_; }

  /// The pending bit array: 64 vectors to each 8 bytes.
  [[nodiscard]] std::size_t pba_size() const noexcept { return (entries_.size() + 63) / 64 * 8; }
  static void read_pba(std::size_t offset, std::span<std::byte> into, const Interrupts& interrupts) noexcept;

 private:
  std::vector<wire::pci::MsixEntry> entries_;
};

}  // namespace vmux::pci
