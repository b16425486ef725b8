// SPDX-License-Identifier: BSD-3-Clause
// What the rigs of all NIC models share: a card with a poller of its own, a fake driver on the one side, and a test
// that plays the switch on the other.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "packet/transfer.hpp"
#include "port/port.hpp"
#include "port/test/rounds.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::rigs {

using FrameBytes = std::vector<std::byte>;

/// A frame as the switch would see it, with everything still to be done done.
struct Sent {
  FrameBytes bytes;          // finished: checksums in, cut
  packet::Offload offload;   // as the view had it
  std::size_t header = 0;    // bytes of the view's header
  std::uint32_t length = 0;  // bytes of the view
};

/// Takes what a lane of a card sends: up to `most` frames, each finished into pieces.
inline std::vector<Sent> take_from(port::Port& lane, std::size_t most = port::kMaxBurst) {
  const port::test::Round round{lane};
  std::array<packet::FrameView, port::kMaxBurst> views;
  const std::size_t count = lane.take(std::span{views}.first(most));
  std::vector<Sent> sent;
  for (std::size_t i = 0; i < count; ++i) {
    packet::Pieces pieces{views[i], packet::Accepts{.max_frame = 65'535}};
    while (const packet::Piece* piece = pieces.next()) {
      FrameBytes bytes(piece->length);
      const std::span<std::byte> to{bytes};
      pieces.copy(std::span{&to, 1});
      sent.push_back({std::move(bytes), views[i].offload, views[i].header.size(), views[i].length});
    }
  }
  port::test::finish(lane, count);
  return sent;
}

/// One frame arrives at a lane: its first `header` bytes as a copied header, the rest as payload.
inline port::Delivery deliver_at(port::Port& lane, const FrameBytes& frame, packet::Offload offload = {},
                                 std::size_t header = 64) {
  header = std::min(header, frame.size());
  const packet::Slice payload = std::span{frame}.subspan(header);
  packet::FrameView view;
  view.header = std::span{frame}.first(header);
  if (!payload.empty()) view.payload = std::span{&payload, 1};
  view.length = static_cast<std::uint32_t>(frame.size());
  view.offload = offload;
  const port::test::Round round{lane};
  return lane.deliver(std::span{&view, 1});
}
/// The same; how many frames it took.
inline std::size_t arrive_at(port::Port& card, const FrameBytes& frame, packet::Offload offload = {},
                             std::size_t header = 64) {
  return deliver_at(card, frame, offload, header).taken;
}

template <class Nic, class Guest>
struct NicRig {
  std::unique_ptr<runtime::Poller> poller;
  std::function<std::unique_ptr<Nic>()> make_nic;  ///< one like the other
  std::unique_ptr<Nic> nic;
  std::unique_ptr<Guest> guest;

  template <class Options>
  explicit NicRig(Options options) {
    auto made_poller = runtime::Poller::create();
    VMUX_ASSERT(made_poller.has_value());
    poller = std::move(*made_poller);
    make_nic = [this, options = std::move(options)] {
      auto made = Nic::create(options, *poller);
      VMUX_ASSERT(made.has_value());
      return std::move(*made);
    };
    nic = make_nic();
    guest = std::make_unique<Guest>(nic->function());
  }

  NicRig(const NicRig&) = delete;
  NicRig& operator=(const NicRig&) = delete;

  /// The card is paused and saved, and is no more.
  std::vector<std::byte> suspend() {
    nic->function().pause();
    auto image = nic->function().save();
    nic.reset();
    return image;
  }
  /// Another card goes on where the saved one was.
  void revive(const std::vector<std::byte>& image) {
    nic = make_nic();
    guest->move_to(nic->function());
    VMUX_ASSERT(nic->function().load(image).has_value());
    nic->function().resume();
  }
  void migrate() { revive(suspend()); }

  /// The card is no more; what its client has given waits for the next.
  state::Suspended let_go() {
    state::Suspended out;
    state::Writer writer;
    VMUX_ASSERT(nic->function().suspend(writer, out.fds).has_value());
    out.image = std::move(writer).finish();
    nic.reset();
    return out;
  }
  /// Another card goes on in front of the same client.
  void take_over(const state::Suspended& from) {
    nic = make_nic();
    auto reader = state::Reader::open(from.image);
    VMUX_ASSERT(reader.has_value());
    VMUX_ASSERT(nic->function().adopt(*reader, from.fds, nullptr).has_value() && reader->finish().has_value());
    guest->follow(nic->function());
    nic->function().go_on();
  }
  void hand_over() { take_over(let_go()); }

  /// From here on what a crash would leave is kept: see die().
  void start_record() {
    state::Writer writer;
    auto numbers = state::FdBag::of_numbers();
    VMUX_ASSERT(nic->function().record(writer, numbers).has_value());
    recorded = std::move(writer).finish();
    nic->function().record_kept();
    cursors = UniqueFd{::dup(numbers.get("cursors"))};
  }
  /// The card is no more, without having been saved: what its descriptors were, the newest image, and the cursors.
  state::Suspended die() {
    state::Suspended out = let_go();
    VMUX_ASSERT(out.fds.put("cursors", std::move(cursors)).has_value());
    out.image = recorded;
    return out;
  }
  std::vector<std::byte> recorded;
  UniqueFd cursors;

  /// Takes what the card sends: up to `most` frames, each finished into pieces.
  std::vector<Sent> take(std::size_t most = port::kMaxBurst) { return take_from(nic->port(), most); }
  /// One frame arrives at the card: its first `header` bytes as a copied header, the rest as payload.
  std::size_t arrive(const FrameBytes& frame, packet::Offload offload = {}, std::size_t header = 64) {
    return deliver_at(nic->port(), frame, offload, header).taken;
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

/// An Ethernet frame of `size` bytes to `destination` with a counting payload, from one and the same station.
inline FrameBytes frame_to(std::initializer_list<unsigned> destination, std::size_t size, unsigned ethertype = 0x88b5) {
  FrameBytes frame;
  for (const unsigned value : destination)
    frame.push_back(std::byte(value));
  for (const unsigned value : {0x52u, 0x54u, 0x00u, 0x65u, 0x43u, 0x21u, ethertype >> 8, ethertype & 0xff})
    frame.push_back(std::byte(value));
  while (frame.size() < size)
    frame.push_back(std::byte(frame.size() & 0xff));
  return frame;
}
inline FrameBytes frame_to_us(std::size_t size) { return frame_to({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, size); }

}  // namespace vmux::rigs
