// SPDX-License-Identifier: BSD-3-Clause
// What both e1000 fuzzers share.
#pragma once

#include "device/e1000/nic.hpp"
#include "fuzz/nic_arena.hpp"
#include "fuzz/provider.hpp"

namespace vmux::fuzz {

class E1000Arena : public NicArena<device::e1000::Nic> {
 public:
  using Nic = device::e1000::Nic;

  explicit E1000Arena(device::e1000::Doorbell doorbell)
      : NicArena([doorbell](runtime::Poller& poller) {
          return Nic::create({.mac = {2, 0, 0, 0, 0, 1}, .doorbell = doorbell}, poller);
        }) {}

  void take_burst(std::optional<std::uint8_t> fill_with, std::size_t complete) {
    NicArena::take_burst(nic().port(), nic().port(), fill_with, complete);
  }
  void arrive(Provider& input) {
    const auto bytes = input.bytes(input.in_range<std::size_t>(0, 300));
    Arriving what{.bytes = bytes};
    what.length = input.in_range<std::size_t>(bytes.size(), 20'000);
    what.is_for_all = input.boolean();
    what.offload.needs_checksum = input.boolean();
    what.offload.csum_start = input.in_range<std::uint16_t>(0, 255);
    what.offload.csum_offset = input.in_range<std::uint16_t>(0, 255);
    what.offload.has_vlan = input.boolean();
    what.offload.vlan_tci = input.number<std::uint16_t>();
    static_cast<void>(input.boolean());  // seeds have one here
    NicArena::arrive(nic().port(), what);
  }
};

}  // namespace vmux::fuzz
