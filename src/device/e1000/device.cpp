// SPDX-License-Identifier: BSD-3-Clause
// Glue: owns the parts, is the pci::Device and the port::Port.
#include <algorithm>
#include <array>
#include <utility>

#include "device/e1000/nic.hpp"
#include "device/e1000/nvm.hpp"
#include "device/e1000/phy.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kStateTag = 1, kPagesTag = 2;  // in the arena
using RingPages = std::array<std::byte, kRingPagesEnd - kRxPage>;
constexpr std::uint64_t kUnmapped = 1'000'000'000;  // ns: less than QEMU's x-intx-mmap-timeout-ms of 1100
constexpr std::uint64_t kQuiet = 20'000'000;        // ns that one trapped doorbell is believed
constexpr std::uint64_t kSettle = 5'000'000;        // ns until it is believed at all

pci::FunctionSpec spec_of(const NicOptions& options) {
  pci::FunctionSpec spec;
  spec.name = options.name;
  spec.vendor_id = 0x8086;
  spec.device_id = 0x100e;
  spec.subsystem_vendor_id = 0x8086;
  spec.subsystem_id = 0x001e;
  spec.revision_id = 0x02;
  spec.class_code = 0x020000;
  spec.intx = true;
  pci::BarSpec registers{pci::BarKind::memory32, false, kBarSize, {}};
  if (options.doorbell == Doorbell::poll) registers.shared = {{kRxPage, kRingPagesEnd - kRxPage}};
  spec.bars[0] = registers;
  spec.bars[1] = pci::BarSpec{pci::BarKind::io, false, 64, {}};  // IOADDR, IODATA
  return spec;
}

}  // namespace

Nic::Nic(NicOptions options, runtime::Poller& poller, state::Arena arena)
    : options_(std::move(options)),
      poller_(poller),
      arena_(std::move(arena)),
      state_(arena_.place<State>(kStateTag)),
      registers_(state_),
      interrupts_(state_, registers_, nic_counters_, poller),
      tx_(state_, registers_, nic_counters_, interrupts_, options_.name.c_str()),
      rx_(state_, registers_, nic_counters_, interrupts_, options_.name.c_str()),
      look_again_(poller, [] {}) {  // being awake is all that it is for
  state_ = {};
  state_.cable = options_.link_up ? 1 : 0;
  program_nvm(state_.nvm, options_.mac);
  reset_phy(state_.phy);
}

Nic::~Nic() {
  if (function_ == nullptr) return;
  function_->detach(tx_.memory());
  function_->detach(rx_.memory());
}

Result<std::unique_ptr<Nic>> Nic::create(NicOptions options, runtime::Poller& poller) {
  if ((options.mac[0] & 1) != 0) return fail(Errc::invalid_argument, "a multicast address for a network card");
  auto arena = state::Arena::create(sizeof(State) + sizeof(RingPages));
  if (!arena) return tl::unexpected(arena.error());
  std::unique_ptr<Nic> nic{new Nic(std::move(options), poller, std::move(*arena))};
  auto function = pci::Function::create(spec_of(nic->options_), *nic);
  if (!function) return tl::unexpected<Error>(function.error());
  nic->connect(std::move(*function));
  return nic;
}

void Nic::connect(std::unique_ptr<pci::Function> function) noexcept {
  function_ = std::move(function);
  std::span<std::byte> pages = function_->shared(pci::Region::bar0);
  if (pages.empty()) {
    pages = arena_.place<RingPages>(kPagesTag);  // trap mode
  } else {
    pages = pages.subspan(kRxPage, kRingPagesEnd - kRxPage);
  }
  registers_.place_ring_pages(pages);
  interrupts_.connect(function_->interrupts());
  function_->attach(tx_.memory());
  function_->attach(rx_.memory());
  device_reset();
}

// 4.4: everything but the PHY and the EEPROM's content.
void Nic::device_reset() noexcept {
  registers_.reset();
  tx_.reset();
  rx_.reset();
  interrupts_.reset();
  eecd_write(state_.nvm, 0);  // lets go of the EEPROM's wires
  load_station_address();
  last_link_up_ = link_of(state_).up;
  nic_counters_.resets.add();
}

void Nic::reset(pci::ResetKind kind) noexcept {
  // What a guest has written stays for its own life, as in a part; the next VM gets the card that its port is.
  if (kind == pci::ResetKind::client_gone) {
    program_nvm(state_.nvm, options_.mac);
    if (std::exchange(is_leaving_, false)) state_.cable = 1;
  }
  reset_phy(state_.phy);
  state_.io_address = 0;
  state_.nvm.write_enabled = 0;
  if (function_ != nullptr) device_reset();
}

// 5.6.1 and 13.5.2: the first receive address is the EEPROM's.
void Nic::load_station_address() noexcept {
  const Mac mac = mac_of(state_.nvm);
  const std::uint32_t low =
      mac[0] | (std::uint32_t{mac[1]} << 8) | (std::uint32_t{mac[2]} << 16) | (std::uint32_t{mac[3]} << 24);
  registers_.set(reg::RAL, low);
  registers_.set(reg::RAH, rah::av::set(mac[4] | (std::uint32_t{mac[5]} << 8), 1));
}

void Nic::set_link(bool up) noexcept {
  state_.cable = up ? 1 : 0;
  link_changed(false);
}

bool Nic::leaving() noexcept {
  if (state_.cable == 0) return false;
  is_leaving_ = true;
  set_link(false);
  return true;
}

bool Nic::is_link_up() const noexcept { return link_of(state_).up; }

void Nic::link_changed(bool renegotiated) noexcept {
  if (function_ != nullptr) function_->note_change();
  const bool up = link_of(state_).up;
  if (up == last_link_up_ && !(renegotiated && up)) return;
  last_link_up_ = up;
  interrupts_.raise(icr::LSC);
}

bool Nic::is_loopback() const noexcept {
  return rctl::lbm::get(registers_.get(reg::RCTL)) != 0 || is_phy_loopback(state_.phy);
}

bool Nic::can_transmit() const noexcept {
  return !is_paused_ && tctl::en::is_set(registers_.get(reg::TCTL)) && state_.tx_fault == Fault::none &&
         last_link_up_ && function_->is_bus_master();
}

bool Nic::can_receive() const noexcept {
  return !is_paused_ && rctl::en::is_set(registers_.get(reg::RCTL)) && state_.rx_fault == Fault::none &&
         last_link_up_ && function_->is_bus_master();
}

// 13.4.22 LBM and the PHY's loopback: what is sent comes back, and the cable is silent.
void Nic::loop_back() noexcept {
  std::array<packet::FrameView, port::kMaxBurst> frames;
  const std::size_t count = tx_.peek(frames);
  has_more_to_send_ = tx_.is_unfinished() || count == frames.size();  // the switch sees none of these
  if (count == 0) return;
  if (can_receive()) static_cast<void>(rx_.deliver(std::span{frames}.first(count)));
  tx_.complete(count);
}

void Nic::begin_round() noexcept {
  if (can_receive()) rx_.drain();
  if (is_loopback() && can_transmit()) loop_back();
}

void Nic::end_round() noexcept {
  if (!is_paused_) rx_.flush();
}

std::size_t Nic::take(std::span<packet::FrameView> into) noexcept {
  if (!can_transmit()) {
    has_more_to_send_ = false;
    return 0;
  }
  if (is_loopback()) return 0;
  const std::size_t count = tx_.peek(into);
  has_more_to_send_ = tx_.is_unfinished();
  return count;
}

void Nic::finish(std::span<const port::FrameResult> results) noexcept { tx_.complete(results.size()); }

port::Delivery Nic::deliver(std::span<const packet::FrameView> frames) noexcept {
  return {.taken = is_ready() ? rx_.deliver(frames) : 0};
}

packet::Accepts Nic::accepts() const noexcept { return rx_.accepts(); }

bool Nic::needs_polling() const noexcept {
  if (has_more_to_send_) return true;
  if (options_.doorbell != Doorbell::poll || !(can_transmit() || can_receive())) return false;
  const std::uint64_t now = poller_.now_ns();
  return now >= quiet_until_ns_ || now - trapped_since_ns_ < kSettle;
}

// QEMU turns the mapping off for 1.1 s with each INTx, unless KVM resamples the line: a busy guest's doorbells all come
// as messages then, and looking at the memory between them only takes the CPU from the guests. A doorbell that did come
// as a message soon after an interrupt is the evidence. It counts for a moment only, so that a client that maps again
// earlier than expected loses no more than that; and not at once, since another of its CPUs may still hold the mapping.
void Nic::note_trapped_doorbell() noexcept {
  const std::uint64_t now = poller_.now_ns();
  const std::uint64_t mapped_again = interrupts_.last_asserted_ns() + kUnmapped;
  if (options_.doorbell != Doorbell::poll || now >= mapped_again) return;
  if (now >= quiet_until_ns_) trapped_since_ns_ = now;
  quiet_until_ns_ = std::min(now + kQuiet, mapped_again);
  look_again_.arm_at(quiet_until_ns_);
}

bool Nic::is_ready() const noexcept { return can_receive() && !is_loopback(); }

}  // namespace vmux::device::e1000
