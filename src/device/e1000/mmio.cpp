// SPDX-License-Identifier: BSD-3-Clause
// BAR accesses -> state. Plain registers need no code: the table says all; `effect` rows come here by name.
#include <cstring>

#include "device/e1000/board/nvm.hpp"
#include "device/e1000/board/phy.hpp"
#include "device/e1000/nic.hpp"

namespace vmux::device::e1000 {

namespace {

constexpr unsigned kPhyAddress = 1;                // 13.4.8: the integrated PHY
constexpr std::uint32_t kIoAddr = 0, kIoData = 4;  // the I/O BAR's window, 13.2.2

}  // namespace

void Registers::reset() noexcept {
  for (const Register& row : kRegisters) {
    for (std::uint32_t i = 0; i < row.count; ++i)
      set(row.at + i * row.stride, row.reset);
  }
}

void Nic::read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {  // dword by dword, each read once: some reads clear
    const auto at = static_cast<std::uint32_t>(offset.raw + done);
    const Le<std::uint32_t> value = bar == pci::Region::bar0 ? read_register(at & ~3u) : read_io(at & ~3u);
    const std::size_t skip = at & 3, part = std::min(sizeof value - skip, into.size() - done);
    std::memcpy(into.data() + done, reinterpret_cast<const std::byte*>(&value) + skip, part);
    done += part;
  }
}

void Nic::write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept {
  // 13.2: registers are written whole; byte and word writes are ignored.
  if ((offset.raw & 3) != 0) return;
  for (std::size_t done = 0; done + 4 <= from.size(); done += 4) {
    Le<std::uint32_t> value;
    std::memcpy(&value, from.data() + done, sizeof value);
    const auto at = static_cast<std::uint32_t>(offset.raw + done);
    bar == pci::Region::bar0 ? write_register(at, value) : write_io(at, value);
  }
}

// A write by message to the ring pages. What lies in them then is what a trapped register would hold.
void Nic::shared_written(pci::Region /*bar*/, RegionOffset offset, std::size_t size) noexcept {
  const auto begin = static_cast<std::uint32_t>(offset.raw & ~std::uint64_t{3});
  for (std::uint32_t at = begin; at < offset.raw + size; at += 4) {
    if (!Registers::is_ring_page(at)) continue;
    const Register* row = find_register(at);
    const std::uint32_t value = registers_.get(at);
    const std::uint32_t kept = row != nullptr ? value & row->writable : 0;
    if (kept != value) registers_.set(at, kept);
    ring_register_written(at, value);
    if (at == reg::TDT || at == reg::RDT) note_trapped_doorbell();
  }
}

// `value` as it was written: the register holds its writable bits.
void Nic::ring_register_written(std::uint32_t offset, std::uint32_t value) noexcept {
  const auto short_ring = static_cast<std::uint8_t>(value < kRingUnit ? value / kDescriptorSize : 0);
  if (offset == reg::TDLEN) state_.tx_short_ring = short_ring;
  if (offset == reg::RDLEN) state_.rx_short_ring = short_ring;
  if (offset == reg::TDT) tx_.rang();  // the port is polled before this round ends
  // Whichever is written last makes the ring: teaching systems enable the receiver before they tell of it.
  if (offset < reg::RDBAL || offset > reg::RDT || !lane_.queues().receives()) return;
  rx_.drain();
  rx_.flush();
}

std::uint32_t Nic::read_register(std::uint32_t offset) noexcept {
  const Register* row = find_register(offset);
  if (row == nullptr) return 0;
  if (row->access == Access::effect) return read_effect(offset);
  if (offset == reg::STATUS) return status_of(state_, registers_.get(reg::CTRL));
  const std::uint32_t value = registers_.get(offset);
  if (row->access == Access::read_clears) {
    about_to_change(state_.registers[offset / 4]);
    registers_.set(offset, 0);
  }
  return value;
}

std::uint32_t Nic::read_effect(std::uint32_t offset) noexcept {
  switch (offset) {
    case reg::EECD:
      return eecd_read(state_.nvm);
    case reg::ICR:
      about_to_change(state_.icr);
      return interrupts_.read_icr();
    case reg::ICS:  // spec: write-only; the part shows ICR, and drivers exist that look
      return state_.icr;
    case reg::IMS:
      return state_.ims;
    case reg::IMC:
      return 0;
    case reg::PBA: {  // 13.4.16: what receive does not take of the 64 KiB is transmit's
      const std::uint32_t rx = pba::rxa::get(registers_.get(reg::PBA));
      return rx < 64 ? ((64 - rx) << 16) | rx : rx;
    }
    case reg::GORCH:
    case reg::GOTCH:
    case reg::TORH:
    case reg::TOTH: {  // 13.7.34: reading the upper half clears both
      const std::uint32_t value = registers_.get(offset);
      about_to_change(state_.registers[offset / 4]);
      about_to_change(state_.registers[offset / 4 - 1]);
      registers_.set(offset, 0);
      registers_.set(offset - 4, 0);
      return value;
    }
    default:
      return registers_.get(offset);
  }
}

void Nic::write_register(std::uint32_t offset, std::uint32_t value) noexcept {
  const Register* row = find_register(offset);
  if (row == nullptr || row->access == Access::ro || row->access == Access::read_clears) return;
  if (!Registers::is_ring_page(offset)) about_to_change(state_.registers[offset / 4]);
  if (row->access == Access::effect) return write_effect(offset, value & row->writable);
  registers_.set(offset, value & row->writable);
  if (Registers::is_ring_page(offset)) ring_register_written(offset, value);
}

void Nic::write_effect(std::uint32_t offset, std::uint32_t value) noexcept {
  about_to_change(state_.icr);
  about_to_change(state_.ims);
  switch (offset) {
    case reg::CTRL:
      return write_ctrl(value);
    case reg::CTRL_EXT:
      registers_.set(offset, ctrl_ext::ee_rst::set(value, 0));
      if (ctrl_ext::ee_rst::is_set(value)) load_station_address();
      return;
    case reg::EECD:
      about_to_change(state_.nvm);
      return eecd_write(state_.nvm, value);
    case reg::EERD:
      return registers_.set(offset, eerd_read(state_.nvm, value));
    case reg::MDIC:
      return write_mdic(value);
    case reg::ICR:
      return interrupts_.write_icr(value);
    case reg::ICS:
      return interrupts_.raise(value & icr::kImplemented);
    case reg::IMS:
      return interrupts_.write_ims(value);
    case reg::IMC:
      return interrupts_.write_imc(value);
    case reg::ITR:
      registers_.set(offset, value);
      return interrupts_.itr_changed();
    case reg::RCTL:
      return write_rctl(value);
    case reg::TCTL:
      return write_tctl(value);
    case reg::PBA:
      return registers_.set(offset, value);
    default:
      return;  // GORC and its like are read-only
  }
}

void Nic::write_ctrl(std::uint32_t value) noexcept {
  const std::uint32_t before = registers_.get(reg::CTRL);
  function_->note_change();
  placed_.second.note_all();
  if (ctrl::rst::is_set(value)) {
    device_reset();
    // Clients that map the ring pages show their bits unmasked, which register diagnostics take for a defect. QEMU
    // unmaps for 1.1 s after an interrupt, so a driver that has just reset the device sees registers. Nothing is
    // enabled or pending by now: at worst a handler runs once and finds no cause.
    if (options_.doorbell == Doorbell::poll) interrupts_.pulse();
    return;
  }
  registers_.set(reg::CTRL, value);
  if (ctrl::phy_rst::is_set(value) && !ctrl::phy_rst::is_set(before)) {
    reset_phy(state_.phy);
    link_changed(true);
  }
}

void Nic::write_rctl(std::uint32_t value) noexcept {
  const bool before = rctl::en::is_set(registers_.get(reg::RCTL)), now = rctl::en::is_set(value);
  registers_.set(reg::RCTL, value);
  if (now != before) function_->note_change();
  about_to_change(state_.rx_head);
  about_to_change(state_.rx_fault);
  if (now && !before) rx_.enable();
  if (!now && before) rx_.disable();
}

void Nic::write_tctl(std::uint32_t value) noexcept {
  const bool before = tctl::en::is_set(registers_.get(reg::TCTL)), now = tctl::en::is_set(value);
  registers_.set(reg::TCTL, value);
  if (now != before) function_->note_change();
  about_to_change(state_.tx_head);
  about_to_change(state_.tx_fault);
  if (now && !before) tx_.enable();
}

void Nic::write_mdic(std::uint32_t value) noexcept {
  const auto index = static_cast<unsigned>(mdic::regadd::get(value));
  bool renegotiates = false;
  std::uint32_t answer = mdic::ready::set(mdic::error::set(value, 0), 1);
  if (mdic::phyadd::get(value) != kPhyAddress) {
    answer = mdic::error::set(answer, 1);
  } else if (mdic::op::get(value) == 2) {
    answer = mdic::data::set(answer, read_phy(state_, index));
  } else if (mdic::op::get(value) == 1) {
    about_to_change(state_.phy);
    renegotiates = write_phy(state_, index, static_cast<std::uint16_t>(mdic::data::get(value)));
  }
  registers_.set(reg::MDIC, answer);
  link_changed(renegotiates);
  if (mdic::interrupt::is_set(value)) interrupts_.raise(icr::MDAC);
}

std::uint32_t Nic::read_io(std::uint32_t offset) noexcept {
  if (offset == kIoAddr) return state_.io_address;
  if (offset == kIoData) return read_register(state_.io_address & ~3u);
  return 0;
}

void Nic::write_io(std::uint32_t offset, std::uint32_t value) noexcept {
  about_to_change(state_.io_address);
  if (offset == kIoAddr) state_.io_address = value;
  if (offset == kIoData && (state_.io_address & 3) == 0) write_register(state_.io_address, value);
}

}  // namespace vmux::device::e1000
