// SPDX-License-Identifier: BSD-3-Clause
// An e1000 with a fake driver on its one side and a test that plays the switch on the other.
#pragma once

#include <array>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "device/e1000/nic.hpp"
#include "fake_guest/e1000_guest.hpp"
#include "packet/transfer.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::rigs {

using device::e1000::Doorbell;
using device::e1000::Nic;
using fake_guest::Bytes;
using fake_guest::E1000Guest;
using fake_guest::E1000Send;
using fake_guest::E1000Setup;

inline constexpr device::e1000::Mac kStation{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

/// A frame as the switch would see it, with everything still to be done done.
struct Sent {
  Bytes bytes;               // finished: checksums in, cut
  packet::Offload offload;   // as the view had it
  std::size_t header = 0;    // bytes of the view's header
  std::uint32_t length = 0;  // bytes of the view
};

struct E1000Rig {
  std::unique_ptr<runtime::Poller> poller;
  std::unique_ptr<Nic> nic;
  std::unique_ptr<E1000Guest> guest;

  explicit E1000Rig(Doorbell doorbell = Doorbell::trap) {
    auto made_poller = runtime::Poller::create();
    VMUX_ASSERT(made_poller.has_value());
    poller = std::move(*made_poller);
    auto made = Nic::create({.name = "test", .mac = kStation, .doorbell = doorbell}, *poller);
    VMUX_ASSERT(made.has_value());
    nic = std::move(*made);
    guest = std::make_unique<E1000Guest>(nic->function());
  }

  /// Takes what the card sends: up to `most` frames, each finished into pieces.
  std::vector<Sent> take(std::size_t most = port::kMaxBurst) {
    std::array<packet::FrameView, port::kMaxBurst> views;
    const std::size_t count = nic->peek_burst(std::span{views}.first(most));
    std::vector<Sent> sent;
    for (std::size_t i = 0; i < count; ++i) {
      packet::Pieces pieces{views[i], packet::Accepts{.max_frame = 65'535}};
      while (const packet::Piece* piece = pieces.next()) {
        Bytes bytes(piece->length);
        const std::span<std::byte> to{bytes};
        pieces.copy(std::span{&to, 1});
        sent.push_back({std::move(bytes), views[i].offload, views[i].header.size(), views[i].length});
      }
    }
    nic->complete(count);
    return sent;
  }

  /// One frame arrives at the card: its first `header` bytes as a copied header, the rest as payload.
  std::size_t arrive(const Bytes& frame, packet::Offload offload = {}, std::size_t header = 64) {
    header = std::min(header, frame.size());
    const packet::Slice payload = std::span{frame}.subspan(header);
    packet::FrameView view;
    view.header = std::span{frame}.first(header);
    if (!payload.empty()) view.payload = std::span{&payload, 1};
    view.length = static_cast<std::uint32_t>(frame.size());
    view.offload = offload;
    const std::size_t taken = nic->deliver(std::span{&view, 1});
    nic->flush();
    return taken;
  }
};

inline Bytes bytes_of(std::initializer_list<unsigned> values) {
  Bytes bytes;
  for (const unsigned value : values)
    bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// An Ethernet frame of `size` bytes to `destination` with a counting payload.
inline Bytes frame_to(std::initializer_list<unsigned> destination, std::size_t size, unsigned ethertype = 0x88b5) {
  Bytes frame = bytes_of(destination);
  for (const unsigned value : {0x52u, 0x54u, 0x00u, 0x65u, 0x43u, 0x21u})
    frame.push_back(std::byte(value));
  frame.push_back(std::byte(ethertype >> 8));
  frame.push_back(std::byte(ethertype & 0xff));
  while (frame.size() < size)
    frame.push_back(std::byte(frame.size() & 0xff));
  return frame;
}
inline Bytes frame_to_us(std::size_t size) { return frame_to({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, size); }
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
