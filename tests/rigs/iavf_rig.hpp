// SPDX-License-Identifier: BSD-3-Clause
// An iavf with a fake driver on its one side and a test that plays the switch on the other.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "device/iavf/nic.hpp"
#include "fake_guest/iavf_guest.hpp"
#include "packet/transfer.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::rigs {

inline constexpr device::iavf::Mac kIavfStation{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

struct IavfRig {
  using Nic = device::iavf::Nic;
  using Doorbell = device::iavf::Doorbell;
  using IavfGuest = fake_guest::IavfGuest;
  using Bytes = fake_guest::Bytes;

  std::unique_ptr<runtime::Poller> poller;
  std::unique_ptr<Nic> nic;
  std::unique_ptr<IavfGuest> guest;

  explicit IavfRig(Doorbell doorbell = Doorbell::trap, unsigned queues = 4) {
    auto made_poller = runtime::Poller::create();
    VMUX_ASSERT(made_poller.has_value());
    poller = std::move(*made_poller);
    auto made =
        Nic::create({.name = "test", .mac = kIavfStation, .doorbell = doorbell, .queue_pairs = queues}, *poller);
    VMUX_ASSERT(made.has_value());
    nic = std::move(*made);
    guest = std::make_unique<IavfGuest>(nic->function());
  }

  /// Takes what the card sends, each frame finished into pieces.
  std::vector<Bytes> take(std::size_t most = port::kMaxBurst) {
    std::array<packet::FrameView, port::kMaxBurst> views;
    const std::size_t count = nic->peek_burst(std::span{views}.first(most));
    std::vector<Bytes> sent;
    for (std::size_t i = 0; i < count; ++i) {
      packet::Pieces pieces{views[i], packet::Accepts{.max_frame = 65'535}};
      while (const packet::Piece* piece = pieces.next()) {
        Bytes bytes(piece->length);
        const std::span<std::byte> to{bytes};
        pieces.copy(std::span{&to, 1});
        sent.push_back(std::move(bytes));
      }
    }
    nic->complete(count);
    return sent;
  }

  /// One frame arrives at the card.
  std::size_t arrive(const Bytes& frame, packet::Offload offload = {}) {
    const std::size_t header = std::min<std::size_t>(64, frame.size());
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

  /// Lets the poller run until `condition` holds; false when it does not within two seconds.
  template <class F>
  bool run_until(F condition) {
    const std::uint64_t end = monotonic_ns() + 2'000'000'000;
    while (monotonic_ns() < end) {  // asked once a round: some conditions count what has happened since
      if (condition()) return true;
      poller->run_once(1'000'000);
    }
    return false;
  }
};

inline fake_guest::Bytes ethernet(std::initializer_list<unsigned> destination, std::size_t size) {
  fake_guest::Bytes frame;
  for (const unsigned value : destination)
    frame.push_back(std::byte(value));
  for (const unsigned value : {0x52u, 0x54u, 0x00u, 0x65u, 0x43u, 0x21u, 0x88u, 0xb5u})
    frame.push_back(std::byte(value));
  while (frame.size() < size)
    frame.push_back(std::byte(frame.size() & 0xff));
  return frame;
}
inline fake_guest::Bytes to_iavf(std::size_t size) { return ethernet({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, size); }

}  // namespace vmux::rigs
