// SPDX-License-Identifier: BSD-3-Clause
// BAR accesses -> state. Plain registers need no code: the table says all; `effect` rows come here by name.
#include <algorithm>

#include "device/e810/nic.hpp"
#include "device/e810/statistics.hpp"
#include "intel/dwords.hpp"

namespace vmux::device::e810 {

void Registers::reset(ClearedBy kind) noexcept {
  undo_.note_all();
  for (std::size_t row = 0; row < kRegisters.size(); ++row) {
    const Register& each = kRegisters[row];
    if (each.access == Access::statistic) continue;
    if (kind == ClearedBy::pf_reset && each.cleared_by != ClearedBy::pf_reset) continue;
    if (each.at == reg::QRX_TAIL || each.at == reg::QTX_COMM_DBELL) {
      for (std::uint32_t i = 0; i < each.count; ++i)
        set(each.at + i * each.stride, each.reset);
    } else {
      std::fill_n(file_.values.begin() + kFirstSlot[row], each.count, each.reset);
    }
  }
}

void Nic::read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept {
  intel::read_dwords(offset, into,  // PFINT_OICR clears
                     [&](std::uint32_t at) { return bar == pci::Region::bar0 ? read_register(at) : 0u; });
}

void Nic::write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept {
  if (bar != pci::Region::bar0) return;
  intel::write_dwords(offset, from, [this](std::uint32_t at, std::uint32_t value) { write_register(at, value); });
}

std::uint32_t Nic::read_register(std::uint32_t offset) noexcept {
  const Register* const row = find_register(offset);
  if (row == nullptr) {
    nic_counters_.unknown_registers.note(offset);
    return 0;
  }
  if (row->access == Access::statistic) {
    return read_statistic(offset, firmware_.switching().main_vsi(), data_.statistics());
  }
  return row->access == Access::effect ? read_effect(*row, offset) : registers_.get(offset);
}

std::uint32_t Nic::read_effect(const Register& row, std::uint32_t offset) noexcept {
  switch (row.at) {
    case reg::PFINT_OICR:
      return interrupts_.read_other();
    case reg::QRX_CTRL: {
      const std::uint32_t queue = (offset - reg::QRX_CTRL) / 4;
      const bool runs = queue < data_.queues() && data_.is_rx_enabled(queue);
      return qrx_ctrl::qena_stat::set(registers_.get(offset), runs ? 1 : 0);
    }
    case reg::GLFLXP_RXDID_FLAGS: {  // flags of write-back layouts: a layout without any is not there
      const std::uint32_t index = (offset - reg::GLFLXP_RXDID_FLAGS) / 4;
      return index < 64 && intel::is_layout(static_cast<std::uint8_t>(index)) ? 1 : 0;
    }
    case reg::VSIQF_FD_CNT: {  // rules in use: all are of the station that gets frames
      const bool is_main = (offset - reg::VSIQF_FD_CNT) / 4 == firmware_.switching().main_vsi();
      return is_main ? static_cast<std::uint32_t>(data_.rules().flows.size()) : 0;
    }
    default:
      return registers_.get(offset);
  }
}

void Nic::write_register(std::uint32_t offset, std::uint32_t value) noexcept {
  const Register* const row = find_register(offset);
  if (row == nullptr) return nic_counters_.unknown_registers.note(offset);
  value &= row->writable;
  switch (row->access) {
    case Access::ro:
    case Access::statistic:
      return;
    case Access::w1c:
      return registers_.set(offset, registers_.get(offset) & ~value);
    case Access::effect:
      return write_effect(*row, offset, value);
    case Access::rw:
      return registers_.set(offset, value);
  }
}

// One at a time where each is to be told once: what is kept of a command is kept of the last.
void Nic::serve(ControlQueue& queue, CommandHandler& handler, std::uint32_t cause) noexcept {
  if (!queue.serve(handler, function_->is_recorded() ? ControlQueue::Most::one : ControlQueue::Most::turn)) return;
  interrupts_.raise(registers_.get(cause));
  interrupts_.service();
}

/// What a tail was written for; while paused, resume() does it.
void Nic::serve_all() noexcept {
  if (!is_paused_) function_->in_round([this] { serve_each(); });
}

void Nic::serve_each() noexcept {
  const std::uint64_t commands = nic_counters_.commands.get();
  const bool was_event_due = firmware_.is_event_due();
  serve(admin_queue_, firmware_, reg::PFINT_FW_CTL);
  link_may_have_changed();
  firmware_.event_room();
  serve(mailbox_, nobody_, reg::PFINT_MBX_CTL);
  serve(sideband_, nobody_, reg::PFINT_SB_CTL);
  if (nic_counters_.commands.get() != commands || firmware_.is_event_due() != was_event_due) function_->note_change();
  if (admin_queue_.has_more() || mailbox_.has_more() || sideband_.has_more()) serve_timer_.arm_after(0);
}

void Nic::write_effect(const Register& row, std::uint32_t offset, std::uint32_t value) noexcept {
  switch (row.at) {
    case reg::PFGEN_CTRL:                           // over before it can be looked at
      if (value != 0) forget(ClearedBy::pf_reset);  // notes the change
      return;
    case reg::GLGEN_RTRIG:
      if (value != 0) begin_core_reset(value);
      return;
    case reg::QRX_CTRL: {
      const std::uint32_t queue = (offset - reg::QRX_CTRL) / 4;
      registers_.set(offset, value);
      if (queue >= data_.queues()) return;
      function_->note_change();
      if (!qrx_ctrl::qena_req::is_set(value)) return data_.disable_rx(queue);
      static_cast<void>(data_.enable_rx(queue));
      return;
    }
    case reg::GLINT_DYN_CTL:
      return interrupts_.control_written((offset - reg::GLINT_DYN_CTL) / 4, value);
    case reg::PFINT_OICR:
      return registers_.set(offset, registers_.get(offset) & ~value);
    case reg::PFINT_OICR_ENA:
      return interrupts_.other_enabled(value);
    case reg::PF_FW_ATQT:
    case reg::PF_FW_ARQT:  // room for events that have been waiting for it
    case reg::PF_MBX_ATQT:
    case reg::PF_SB_ATQT:
      registers_.set(offset, value);
      return serve_all();
    default:
      return registers_.set(offset, value);  // the tails of receive queues that nobody fills
  }
}

}  // namespace vmux::device::e810
