// SPDX-License-Identifier: BSD-3-Clause
// Commands about PHY and link. There is one medium: a 100 Gbit/s copper cable that is always there.
#include <array>

#include "device/e810/firmware/firmware.hpp"
#include "intel/queue_config.hpp"

namespace vmux::device::e810 {

namespace wi = wire::ice;

namespace {
constexpr std::uint16_t kEventLinkUpDown = 1 << 1;  // of the event mask: set means "do not tell"
constexpr std::uint8_t kCopperCable = 0x20;         // byte of the module's type: SFP+ Cu passive
}  // namespace

bool Firmware::is_link_up() const noexcept {
  return identity_.link_up && (phy_.capabilities & wi::phy::link_enabled) != 0;
}

Firmware::Status Firmware::get_phy_capabilities(Command& command) {
  const std::uint16_t mode = command.params<wi::GetPhyCapabilities>().mode & wi::phy_mode::mask;
  wi::PhyCapabilities capabilities{};
  capabilities.type_low = wi::phy::type_100g_cr4;
  capabilities.capabilities = wi::phy::link_enabled | wi::phy::autonegotiation;
  capabilities.module_type[1] = kCopperCable;
  if (mode == wi::phy_mode::active) {
    capabilities.type_low = phy_.type_low;
    capabilities.type_high = phy_.type_high;
    capabilities.capabilities = phy_.capabilities;
    capabilities.fec_options = phy_.fec_options;
  }
  command.put(capabilities);
  command.reply = sizeof capabilities;
  return Status::ok;
}

Firmware::Status Firmware::set_phy_config(Command& command) {
  const bool was_up = is_link_up();
  phy_ = command.get<wi::PhyConfig>();
  if (is_link_up() != was_up) link_changed();
  return Status::ok;
}

// Bit 2 of the command enables the link.
Firmware::Status Firmware::restart_autonegotiation(Command& command) {
  struct Request {
    std::uint8_t lport, reserved, flags;
    std::array<std::uint8_t, 13> rest;
  };
  constexpr std::uint8_t kLinkEnable = 1 << 2;
  const bool was_up = is_link_up();
  const bool enable = (command.params<Request>().flags & kLinkEnable) != 0;
  phy_.capabilities =
      static_cast<std::uint8_t>((phy_.capabilities & ~wi::phy::link_enabled) | (enable ? wi::phy::link_enabled : 0));
  if (is_link_up() != was_up) link_changed();
  return Status::ok;
}

wi::LinkStatus Firmware::link_status() const noexcept {
  wi::LinkStatus status{};
  const bool up = is_link_up();
  status.info = wi::link::media | wi::link::signal | (up ? wi::link::up | wi::link::port_up : 0);
  if (up) status.autonegotiation = wi::link::negotiated;
  status.max_frame = intel::kMaxFrameWithFcs;
  // Of several types, none would be the one in use. Drivers look at it while the link is down as well.
  status.type_low = wi::phy::type_100g_cr4;
  if (up) status.speed = wi::link::speed_100g;
  return status;
}

Firmware::Status Firmware::get_link_status(Command& command) {
  auto request = command.params<wi::GetLinkStatus>();
  const std::uint16_t wish = request.flags & wi::link_flag::events_mask;
  if (wish == wi::link_flag::events_on) are_link_events_on_ = true;
  if (wish == wi::link_flag::events_off) are_link_events_on_ = false;
  request.flags = are_link_events_on_ ? wi::link_flag::events_enabled : std::uint16_t{0};
  command.set_params(request);
  command.put(link_status());
  command.reply = sizeof(wi::LinkStatus);
  return Status::ok;
}

Firmware::Status Firmware::set_event_mask(Command& command) {
  event_mask_ = command.params<wi::SetEventMask>().mask;
  return Status::ok;
}

// Linux hears of it by the queue; DPDK's handler looks at the bits of PFINT_OICR.
void Firmware::link_changed() noexcept {
  is_link_event_due_ = are_link_events_on_ && (event_mask_ & kEventLinkUpDown) == 0;
  if (!interrupts_.is_paused()) post_link_event();  // else resume() does
  interrupts_.raise_other(oicr::INTEVENT | oicr::LINK_STAT_CHANGE);
}

void Firmware::event_room() noexcept { post_link_event(); }

void Firmware::post_link_event() noexcept {
  if (!is_link_event_due_) return;
  const wi::LinkStatus status = link_status();
  wi::GetLinkStatus params{};
  params.flags = wi::link_flag::events_enabled;
  if (!queue_.post(wi::op::get_link_status, std::as_bytes(std::span{&params, 1}),
                   std::as_bytes(std::span{&status, 1}))) {
    return;
  }
  is_link_event_due_ = false;
  interrupts_.raise(registers_.get(reg::PFINT_FW_CTL));
  interrupts_.service();
}

}  // namespace vmux::device::e810
