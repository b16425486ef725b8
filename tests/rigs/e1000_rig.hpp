// SPDX-License-Identifier: BSD-3-Clause
// An e1000 with a fake driver on its one side and a test that plays the switch on the other.
#pragma once

#include <cstring>
#include <initializer_list>
#include <vector>

#include "base/mac.hpp"
#include "device/e1000/nic.hpp"
#include "fake_guest/e1000_guest.hpp"
#include "rigs/nic_rig.hpp"

namespace vmux::rigs {

using device::e1000::Doorbell;
using device::e1000::Nic;
using fake_guest::Bytes;
using fake_guest::E1000Guest;
using fake_guest::E1000Send;
using fake_guest::E1000Setup;

inline constexpr MacAddress kStation{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

struct E1000Rig : NicRig<Nic, E1000Guest> {
  explicit E1000Rig(Doorbell doorbell = Doorbell::trap)
      : NicRig(device::e1000::NicOptions{.name = "test", .mac = kStation, .doorbell = doorbell}) {}
};

/// All that the card sends now, however many rounds it takes.
inline std::vector<Sent> take_all(E1000Rig& rig) {
  std::vector<Sent> all;
  for (unsigned rounds = 0; rounds < 100; ++rounds) {
    for (Sent& sent : rig.take())
      all.push_back(std::move(sent));
    if (!rig.nic->port().needs_polling() && rig.guest->read(0x3810) == rig.guest->read(0x3818)) break;
  }
  return all;
}

inline Bytes bytes_of(std::initializer_list<unsigned> values) {
  Bytes bytes;
  for (const unsigned value : values)
    bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

inline Bytes broadcast(std::size_t size) { return frame_to({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, size); }

/// IPv4 and TCP around `payload` bytes; the IP checksum is right, the TCP checksum field holds `tcp_sum`.
inline Bytes tcp_frame(std::size_t payload, unsigned tcp_sum = 0) {
  Bytes frame = frame_to({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, 14, 0x0800);
  const unsigned total = static_cast<unsigned>(40 + payload);
  for (const unsigned v : {0x45u, 0u,    total >> 8, total & 0xff, 0x12u,        0x34u,
                           0x40u, 0u,    64u,        6u,           0u,           0u,  // IPv4
                           10u,   0u,    0u,         1u,           10u,          0u,
                           0u,    2u,  //
                           0x10u, 0x00u, 0x20u,      0x00u,        0u,           0u,
                           0u,    1u,    0u,         0u,           0u,           2u,  // TCP
                           0x50u, 0x18u, 0x20u,      0u,           tcp_sum >> 8, tcp_sum & 0xff,
                           0u,    0u}) {
    frame.push_back(std::byte(v));
  }
  for (std::size_t i = 0; i < payload; ++i)
    frame.push_back(std::byte((i * 7 + 3) & 0xff));
  unsigned sum = 0;
  for (std::size_t i = 14; i < 34; i += 2)
    sum += (unsigned(frame[i]) << 8) | unsigned(frame[i + 1]);
  while (sum > 0xffff)
    sum = (sum & 0xffff) + (sum >> 16);
  frame[24] = std::byte((~sum >> 8) & 0xff);
  frame[25] = std::byte(~sum & 0xff);
  return frame;
}

/// One's complement sum over a TCP/IPv4 frame's segment and pseudo-header: 0xffff when its checksum is right.
inline unsigned tcp_sum_of(const Bytes& frame, std::size_t l3 = 14) {
  const std::size_t l4 = l3 + 20;
  const std::size_t end = l3 + ((std::size_t(frame[l3 + 2]) << 8) | std::size_t(frame[l3 + 3]));
  unsigned long sum = 6 + (end - l4);
  for (std::size_t i = l3 + 12; i < l3 + 20; i += 2)
    sum += (unsigned(frame[i]) << 8) | unsigned(frame[i + 1]);
  for (std::size_t i = l4; i < end; i += 2) {
    sum += (unsigned(frame[i]) << 8) | (i + 1 < end ? unsigned(frame[i + 1]) : 0);
  }
  while (sum > 0xffff)
    sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<unsigned>(sum);
}
/// The pseudo-header sum that a driver puts into the field; `with_length` as for a frame that is not to be cut.
inline unsigned tcp_pseudo_sum(const Bytes& frame, bool with_length) {
  unsigned sum = 6 + (with_length ? static_cast<unsigned>(frame.size() - 34) : 0);
  for (std::size_t i = 26; i < 34; i += 2)
    sum += (unsigned(frame[i]) << 8) | unsigned(frame[i + 1]);
  while (sum > 0xffff)
    sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}
inline void put16(Bytes& frame, std::size_t at, unsigned value) {
  frame[at] = std::byte(value >> 8);
  frame[at + 1] = std::byte(value & 0xff);
}
inline unsigned get16(const Bytes& frame, std::size_t at) {
  return (unsigned(frame[at]) << 8) | unsigned(frame[at + 1]);
}

}  // namespace vmux::rigs
