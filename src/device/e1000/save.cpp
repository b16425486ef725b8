// SPDX-License-Identifier: BSD-3-Clause
// Pausing, saving and loading: each part fills its share of SavedState.
#include <algorithm>
#include <string>

#include "device/e1000/board/nvm.hpp"
#include "device/e1000/board/phy.hpp"
#include "device/e1000/nic.hpp"
#include "device/e1000/saved_state.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kLongestLap = 1 << 16;  // descriptors
constexpr std::uint8_t kLongestCommand = 24;    // bits of an EEPROM command before its last

/// Calls `visit` with each register of the table and what a reset leaves in it.
template <class F>
void for_each_register(F&& visit) {
  for (const Register& row : kRegisters) {
    for (std::uint32_t i = 0; i < row.count; ++i)
      visit(row.at + i * row.stride, row.reset);
  }
}

bool is_held_frame(const SavedState::HeldFrame& held) noexcept {
  return held.bytes.size() <= (held.is_segmented ? kMaxSuperFrame : kMaxLongFrame);
}

bool is_fifo_frame(const SavedState::FifoFrame& frame) noexcept { return !frame.bytes.empty(); }

}  // namespace

const char* problem_of(const SavedState& saved) noexcept {
  const auto is_register = [](const auto& each) { return find_register(each.at) != nullptr && each.at % 4 == 0; };
  if (!std::all_of(saved.registers.begin(), saved.registers.end(), is_register))
    return "has a register of another card";
  if (saved.nvm.bits_in > kLongestCommand || saved.nvm.bits_out > 16 || saved.nvm.data_out > 1 ||
      saved.nvm.write_enabled > 1) {
    return "has an EEPROM in a state that there is not";
  }
  constexpr std::uint8_t kLongestShort = kRingUnit / kDescriptorSize - 1;
  if (saved.tx_short_ring > kLongestShort || saved.rx_short_ring > kLongestShort)
    return "has a short ring that is long";
  if (saved.lap_left > kLongestLap || saved.unreported > 2 * kLongestLap) return "has more descriptors than a ring";
  if (saved.held && !is_held_frame(*saved.held)) return "holds a frame longer than any";
  if (!std::all_of(saved.fifo.begin(), saved.fifo.end(), is_fifo_frame)) return "has a frame of no bytes";
  std::size_t used = 0;
  for (const SavedState::FifoFrame& frame : saved.fifo)
    used += frame.bytes.size();
  if (used > RxFifo::kBytes) return "has more frames than there is room for";
  if (!InterruptUnit::can_be(saved)) return "has a timer that runs longer than any";
  return nullptr;
}

void Nic::pause() noexcept {
  run_state_.set_paused(true);
  interrupts_.pause();
}

void Nic::resume() noexcept {
  run_state_.set_paused(false);
  interrupts_.resume();
  link_changed(false);
  if (lane_.queues().receives()) {
    rx_.drain();
    rx_.flush();
  }
  lane_.queues().look_for_more();  // a doorbell may have come meanwhile, or before the state was saved
}

void Nic::save(state::Writer& into) const { into.add(saved_state()); }

void Nic::save_running(state::Writer& into) {
  interrupts_.note_time();
  save(into);
}

// Whatever instruction the other one died at: a value that cannot be is found here, before anything goes by it.
tl::expected<void, std::string> Nic::arena_taken_over() {
  const auto is_fault = [](Fault fault) { return fault <= Fault::buffer_unmapped; };
  if (!is_fault(state_.tx_fault) || !is_fault(state_.rx_fault)) {
    return tl::unexpected(std::string{"what the card's process has left has a fault that there is not"});
  }
  state_.cable = options_.link_up ? 1 : 0;
  if (const char* const problem = problem_of(saved_state())) {
    return tl::unexpected("what the card's process has left " + std::string{problem});
  }
  if (!tx_.can_take_over() || !rx_.can_take_over()) {
    return tl::unexpected(std::string{"what the card's process has left has told its driver what cannot be"});
  }
  tx_.taken_over();
  rx_.taken_over();
  // Whether their driver has heard of what is done nobody knows: so it does once more.
  const std::uint32_t received = rctl::en::is_set(registers_.get(reg::RCTL)) ? icr::RXT0 : 0;
  const std::uint32_t sent = tctl::en::is_set(registers_.get(reg::TCTL)) ? icr::TXDW : 0;
  interrupts_.causes_taken_over(received | sent);
  return {};
}

SavedState Nic::saved_state() const {
  SavedState saved;
  saved.station = options_.mac;
  saved.link_up = run_state_.is_link_up();
  for_each_register([&](std::uint32_t at, std::uint32_t reset) {
    if (const std::uint32_t value = registers_.get(at); value != reset) saved.registers.push_back({at, value});
  });
  saved.nvm = state_.nvm;
  saved.phy = state_.phy;
  saved.io_address = state_.io_address;
  tx_.save(saved);
  rx_.save(saved);
  interrupts_.save(saved);
  return saved;
}

tl::expected<void, std::string> Nic::load(state::Reader& from) {
  SavedState saved;
  if (auto done = from.load(saved); !done) return done;
  if (const char* const problem = problem_of(saved)) {
    return tl::unexpected("the saved state's section 'e1000' " + std::string{problem});
  }
  if (saved.station != options_.mac) {
    return tl::unexpected("the saved state is of a card with another MAC address than " + options_.name);
  }
  registers_.reset();
  for (const SavedState::RegisterValue& each : saved.registers)
    registers_.set(each.at, each.value);
  state_.nvm = saved.nvm;
  state_.phy = saved.phy;
  state_.io_address = saved.io_address;
  run_state_.set_link(saved.link_up);
  tx_.load(saved);
  rx_.load(saved);
  interrupts_.load(saved);
  return {};
}

void Transmitter::save(SavedState& into) const {
  into.checksum_context = state_.checksum_context;
  into.segment_context = state_.segment_context;
  into.tx_head = state_.tx_head;
  into.tx_fault = state_.tx_fault;
  into.tx_short_ring = state_.tx_short_ring;
  if (lap_tail_ != kNoTail) {
    into.lap_tail = static_cast<std::uint16_t>(lap_tail_);
    into.lap_left = lap_left_;
  }
  into.unreported = unreported_;
  if (!is_holding_) return;
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(held_bytes_.get());
  into.held = SavedState::HeldFrame{.bytes = {bytes, bytes + held_.held},
                                    .options = held_.options,
                                    .css = held_.css,
                                    .cso = held_.cso,
                                    .vlan_tci = held_.vlan_tci,
                                    .is_segmented = held_.is_segmented,
                                    .is_legacy = held_.is_legacy,
                                    .has_vlan = held_.has_vlan};
}

void Transmitter::load(const SavedState& from) noexcept {
  reset();
  state_.checksum_context = from.checksum_context;
  state_.segment_context = from.segment_context;
  state_.tx_head = from.tx_head;
  state_.tx_fault = from.tx_fault;
  state_.tx_short_ring = from.tx_short_ring;
  lap_tail_ = from.lap_tail ? *from.lap_tail : kNoTail;
  lap_left_ = from.lap_left;
  unreported_ = from.unreported;
  if (!from.held) return;
  const SavedState::HeldFrame& held = *from.held;
  is_holding_ = true;
  held_ = {};
  held_.held = static_cast<std::uint32_t>(held.bytes.size());
  held_.is_too_long = held.bytes.empty();
  held_.length = std::max(held_.held, 1u);  // not 0: it has begun
  held_.options = held.options;
  held_.css = held.css;
  held_.cso = held.cso;
  held_.vlan_tci = held.vlan_tci;
  held_.is_segmented = held.is_segmented;
  held_.is_legacy = held.is_legacy;
  held_.has_vlan = held.has_vlan;
  std::copy(held.bytes.begin(), held.bytes.end(), reinterpret_cast<std::uint8_t*>(held_bytes_.get()));
}

void Receiver::save(SavedState& into) const {
  into.rx_head = state_.rx_head;
  into.rx_published_head = static_cast<std::uint16_t>(published_head_);
  into.rx_fault = state_.rx_fault;
  into.rx_short_ring = state_.rx_short_ring;
  into.rx_has_pending = has_pending_;
  into.rx_causes = causes_;
  fifo_.for_each([&into](const RxMeta& meta, std::span<const std::byte> bytes) {
    const auto* const first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    into.fifo.push_back({{first, first + bytes.size()}, meta.special, meta.status, meta.errors});
  });
}

void Receiver::load(const SavedState& from) noexcept {
  reset();
  state_.rx_head = from.rx_head;
  state_.rx_fault = from.rx_fault;
  state_.rx_short_ring = from.rx_short_ring;
  published_head_ = from.rx_published_head;
  has_pending_ = from.rx_has_pending;
  causes_ = from.rx_causes;
  for (const SavedState::FifoFrame& frame : from.fifo) {
    const auto room = fifo_.reserve(frame.bytes.size(), RxFifo::kBytes);
    std::ranges::copy(std::as_bytes(std::span{frame.bytes}), room.begin());
    fifo_.push({static_cast<std::uint32_t>(frame.bytes.size()), frame.special, frame.status, frame.errors});
  }
}

}  // namespace vmux::device::e1000
