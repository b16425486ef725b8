// SPDX-License-Identifier: BSD-3-Clause
// An iavf with a fake driver on its one side and a test that plays the switch on the other.
#pragma once

#include <vector>

#include "base/mac.hpp"
#include "device/iavf/nic.hpp"
#include "fake_guest/iavf_guest.hpp"
#include "rigs/nic_rig.hpp"

namespace vmux::rigs {

inline constexpr MacAddress kIavfStation{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

struct IavfRig : NicRig<device::iavf::Nic, fake_guest::IavfGuest> {
  using Nic = device::iavf::Nic;
  using Doorbell = device::iavf::Doorbell;
  using IavfGuest = fake_guest::IavfGuest;
  using Bytes = fake_guest::Bytes;

  explicit IavfRig(Doorbell doorbell = Doorbell::trap, unsigned queues = 4,
                   device::iavf::Parent parent = device::iavf::Parent::e810)
      : NicRig(device::iavf::NicOptions{
            .name = "test", .mac = kIavfStation, .doorbell = doorbell, .queue_pairs = queues, .parent = parent}) {}

  /// The bytes alone of what the card sends.
  std::vector<Bytes> take(std::size_t most = port::kMaxBurst) {
    std::vector<Bytes> sent;
    for (Sent& one : NicRig::take(most))
      sent.push_back(std::move(one.bytes));
    return sent;
  }
};

inline fake_guest::Bytes to_iavf(std::size_t size) { return frame_to_us(size); }

}  // namespace vmux::rigs
