// SPDX-License-Identifier: BSD-3-Clause
// Glue: owns the parts, is the pci::Device.
#include <array>
#include <utility>

#include "device/e1000/board/nvm.hpp"
#include "device/e1000/board/phy.hpp"
#include "device/e1000/nic.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint32_t kStateTag = 1, kPagesTag = 2, kJournalsTag = 3;  // in the arena
using RingPages = std::array<std::byte, kRingPagesEnd - kRxPage>;
constexpr std::uint64_t kUnmapped = 1'000'000'000;  // ns: less than QEMU's x-intx-mmap-timeout-ms of 1100

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
      placed_(arena_.place_undoable<State>(kStateTag)),
      state_(placed_.first),
      registers_(state_),
      interrupts_(state_, registers_, nic_counters_, poller),
      lane_(poller, true, run_state_, run_state_, state_, arena_.place<Journals>(kJournalsTag), registers_,
            nic_counters_, interrupts_, poller, options_.doorbell == Doorbell::poll, options_.name.c_str()),
      tx_(lane_.queues().tx),
      rx_(lane_.queues().rx) {
  state_ = {};
  state_.cable = options_.link_up ? 1 : 0;
  program_nvm(state_.nvm, options_.mac);
  reset_phy(state_.phy);
}

Nic::~Nic() {
  if (function_ != nullptr) lane_.disconnect(*function_);
}

Result<std::unique_ptr<Nic>> Nic::create(NicOptions options, runtime::Poller& poller) {
  if (is_multicast(options.mac)) return fail(Errc::invalid_argument, "a multicast address for a network card");
  auto arena =
      state::Arena::create(2 * sizeof(State) + sizeof(state::UndoWords) + sizeof(Journals) + sizeof(RingPages));
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
  lane_.connect(*function_);
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
  run_state_.set_link(link_of(state_).up);
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
  const MacAddress mac = mac_of(state_.nvm);
  const std::uint32_t low =
      mac[0] | (std::uint32_t{mac[1]} << 8) | (std::uint32_t{mac[2]} << 16) | (std::uint32_t{mac[3]} << 24);
  registers_.set(reg::RAL, low);
  registers_.set(reg::RAH, rah::av::set(mac[4] | (std::uint32_t{mac[5]} << 8), 1));
}

void Nic::set_link(bool up) noexcept {
  state_.cable = up ? 1 : 0;
  link_changed(false);
}

void Nic::set_mac(const MacAddress& mac) noexcept {
  if (function_ != nullptr) function_->note_change();
  options_.mac = mac;
  program_station(state_.nvm, mac);
  const bool has_driver = rctl::en::is_set(registers_.get(reg::RCTL)) || tctl::en::is_set(registers_.get(reg::TCTL));
  if (!has_driver) load_station_address();
}

bool Nic::leaving() noexcept {
  if (state_.cable == 0) return false;
  is_leaving_ = true;
  set_link(false);
  return true;
}

void Nic::bus_master_changed(bool enabled) noexcept { nic::set_dma(run_state_, std::array{&lane_}, enabled); }

bool Nic::is_link_up() const noexcept { return link_of(state_).up; }

void Nic::link_changed(bool renegotiated) noexcept {
  if (function_ != nullptr) function_->note_change();
  const bool up = link_of(state_).up;
  if (up == run_state_.is_link_up() && !(renegotiated && up)) return;
  run_state_.set_link(up);
  interrupts_.raise(icr::LSC);
}

// QEMU turns the mapping off for 1.1 s with each INTx, unless KVM resamples the line: a busy guest's doorbells all come
// as messages then, and looking at the memory between them only takes the CPU from the guests. A doorbell that did come
// as a message soon after an interrupt is the evidence. It counts for a moment only, so that a client that maps again
// earlier than expected loses no more than that; and not at once, since another of its CPUs may still hold the mapping.
void Nic::note_trapped_doorbell() noexcept {
  const std::uint64_t now = poller_.now_ns();
  const std::uint64_t mapped_again = interrupts_.last_asserted_ns() + kUnmapped;
  if (options_.doorbell != Doorbell::poll || now >= mapped_again) return;
  lane_.queues().doorbell_trapped(mapped_again);
}

}  // namespace vmux::device::e1000
