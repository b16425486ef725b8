// SPDX-License-Identifier: BSD-3-Clause
#include "pci/interrupts/msix_table.hpp"

#include <algorithm>
#include <cstring>

namespace vmux::pci {

using wire::pci::MsixEntry;

void MsixTable::read(std::size_t offset, std::span<std::byte> into) const noexcept {
  std::memcpy(into.data(), std::as_bytes(std::span{entries_}).data() + offset, into.size());
}

MsixTable::Touched MsixTable::write(std::size_t offset, std::span<const std::byte> from) noexcept {
  if (from.empty()) return {};
  std::memcpy(std::as_writable_bytes(std::span{entries_}).data() + offset, from.data(), from.size());
  const std::size_t last = (offset + from.size() - 1) / sizeof(MsixEntry);
  for (std::size_t i = offset / sizeof(MsixEntry); i <= last; ++i) {
    MsixEntry& entry = entries_[i];
    const std::uint32_t control = entry.control & wire::pci::msix_entry_mask::kMask;
    entry.control = control;                                    // the other bits are reserved and read as zero
    entry.address_low = entry.address_low & ~std::uint32_t{3};  // [PCI] 6.8.2.6
  }
  return {static_cast<std::uint32_t>(offset / sizeof(MsixEntry)), static_cast<std::uint32_t>(last + 1)};
}

void MsixTable::reset() noexcept {
  MsixEntry masked{};
  masked.control = static_cast<std::uint32_t>(wire::pci::msix_entry_mask::kMask);  // [PCI] 6.8.2.9
  std::fill(entries_.begin(), entries_.end(), masked);
}

void MsixTable::read_pba(std::size_t offset, std::span<std::byte> into, const Interrupts& interrupts) noexcept {
  while (!into.empty()) {
    const std::size_t within = offset % 8;
    const std::size_t step = std::min(into.size(), 8 - within);
    const Le<std::uint64_t> word = interrupts.pending_word(Irq::msix, static_cast<std::uint32_t>(offset / 8 * 64));
    std::memcpy(into.data(), reinterpret_cast<const std::byte*>(&word) + within, step);
    into = into.subspan(step);
    offset += step;
  }
}

}  // namespace vmux::pci
