// SPDX-License-Identifier: BSD-3-Clause
// BAR accesses -> state. Plain registers need no code: the table says all; `effect` rows come here by name.

#include "device/iavf/nic.hpp"
#include "intel/dwords.hpp"

namespace vmux::device::iavf {

bool Registers::replace(std::uint32_t offset, std::uint32_t expected, std::uint32_t value) noexcept {
  if (is_data_page(offset)) return memory::compare_exchange32(pages_, offset, expected, value);
  return memory::compare_exchange32(std::as_writable_bytes(std::span{values_}), slot_of(offset) * sizeof value,
                                    expected, value);
}

void Registers::reset(std::uint32_t end) noexcept {
  for (const Register& row : kRegisters) {
    for (std::uint32_t i = 0; i < row.count && row.at < end; ++i)
      set(row.at + i * row.stride, row.reset);
  }
}

void Nic::read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept {
  intel::read_dwords(offset, into,  // ICR01 clears
                     [&](std::uint32_t at) { return bar == pci::Region::bar0 ? read_register(at) : 0u; });
}

void Nic::write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept {
  if (bar != pci::Region::bar0) return;
  intel::write_dwords(offset, from, [this](std::uint32_t at, std::uint32_t value) { write_register(at, value); });
}

// A write by message to the mapped pages: the value stands there already.
void Nic::shared_written(pci::Region /*bar*/, RegionOffset offset, std::size_t size) noexcept {
  const auto begin = static_cast<std::uint32_t>(offset.raw & ~std::uint64_t{3});
  for (std::uint32_t at = begin; at < offset.raw + size; at += 4) {
    const Register* row = find_register(at);
    if (row != nullptr && row->at == reg::VFINT_DYN_CTLN1) {
      interrupts_.control_changed(1 + (at - reg::VFINT_DYN_CTLN1) / 4);
    }
    data_.register_written(at);
  }
}

std::uint32_t Nic::read_register(std::uint32_t offset) noexcept {
  if (find_register(offset) == nullptr) return 0;
  return offset == reg::VFINT_ICR01 ? interrupts_.read_icr01() : registers_.get(offset);
}

void Nic::write_register(std::uint32_t offset, std::uint32_t value) noexcept {
  const Register* row = find_register(offset);
  if (row == nullptr || row->access == Access::ro) return;
  if (row->access == Access::effect) return write_effect(offset, value & row->writable);
  registers_.set(offset, value & row->writable);
  if (Registers::is_data_page(offset)) data_.register_written(offset);
}

void Nic::write_effect(std::uint32_t offset, std::uint32_t value) noexcept {
  if (offset >= reg::VFINT_DYN_CTLN1 && offset < reg::VFINT_DYN_CTLN1 + kQueueVectors * 4) {
    interrupts_.control_written(1 + (offset - reg::VFINT_DYN_CTLN1) / 4, value);
    return data_.register_written(offset);
  }
  switch (offset) {
    case reg::VFINT_DYN_CTL01:
      return interrupts_.control_written(0, value);
    case reg::VFINT_ICR0_ENA1:
      return interrupts_.write_icr0_ena(value);
    case reg::ATQLEN1:
      if (aq_len::enable::is_set(value)) data_.admin_queue_opened();
      return registers_.set(offset, value);
    case reg::ARQLEN1:
      return registers_.set(offset, value);
    case reg::ATQT1:
    case reg::ARQT1:  // room for answers: messages may have been waiting for it
      registers_.set(offset, value);
      return pump();
    default:
      return;  // ICR01 is cleared by reading
  }
}

}  // namespace vmux::device::iavf
