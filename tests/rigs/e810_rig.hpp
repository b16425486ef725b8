// SPDX-License-Identifier: BSD-3-Clause
// An E810 with a fake driver on its one side and a test that plays the switch on the other.
#pragma once

#include <vector>

#include "base/mac.hpp"
#include "device/e810/nic.hpp"
#include "fake_guest/e810_guest.hpp"
#include "rigs/nic_rig.hpp"

namespace vmux::rigs {

inline constexpr MacAddress kE810Station{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

/// The card, and what of it the switch knows by its port.
struct E810Card {
  explicit E810Card(std::unique_ptr<device::e810::Nic> made) : nic(std::move(made)) {}
  static Result<std::unique_ptr<E810Card>> create(const device::e810::NicOptions& options, runtime::Poller& poller) {
    auto made = device::e810::Nic::create(options, poller);
    if (!made) return tl::unexpected<Error>(made.error());
    return std::make_unique<E810Card>(std::move(*made));
  }
  [[nodiscard]] pci::Function& function() noexcept { return nic->function(); }
  [[nodiscard]] port::Port& port() noexcept { return nic->port(); }
  std::unique_ptr<device::e810::Nic> nic;
};

struct E810Rig : NicRig<E810Card, fake_guest::E810Guest> {
  using Doorbell = device::e810::Doorbell;
  using Bytes = fake_guest::Bytes;

  explicit E810Rig(Doorbell doorbell = Doorbell::trap, unsigned queues = 4)
      : NicRig(device::e810::NicOptions{
            .name = "test", .mac = kE810Station, .doorbell = doorbell, .queue_pairs = queues}) {}

  [[nodiscard]] device::e810::Nic& card() noexcept { return *nic->nic; }
  [[nodiscard]] const device::e810::NicCounters& counters() noexcept { return card().nic_counters(); }
  /// A driver that has probed and runs its queues.
  void start(const fake_guest::E810Setup& setup = {}) {
    const char* const problem = guest->probe();
    VMUX_ASSERT(problem == nullptr);
    guest->bring_up(setup);
  }
};

}  // namespace vmux::rigs
