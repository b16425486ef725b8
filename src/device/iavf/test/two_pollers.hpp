// SPDX-License-Identifier: BSD-3-Clause
// For tests of queue pairs on two pollers: a card whose pairs are spread over them, and frames for its queues.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "packet/test/test_frames.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {

using device::iavf::Doorbell;
using device::iavf::Nic;
using fake_guest::Bytes;
using fake_guest::IavfBody;
using fake_guest::IavfGuest;

inline constexpr std::uint32_t kEnableQueues = 8, kDisableQueues = 9, kConfigLut = 24, kSetHena = 26;

inline Bytes ip_frame(std::uint8_t port) {
  Bytes out;
  auto frame = packet::test::whole_frame({}, packet::test::pattern(100, port));
  for (std::size_t i = 0; i < 6; ++i)
    frame[i] = kIavfStation[i];
  frame[35] = port;
  for (const std::uint8_t byte : frame)
    out.push_back(std::byte{byte});
  return out;
}

inline packet::FrameView view_of(const Bytes& frame, packet::Slice& payload) {
  packet::FrameView view;
  view.header = std::span{frame}.first(std::min<std::size_t>(64, frame.size()));
  payload = std::span{frame}.subspan(view.header.size());
  if (!payload.empty()) view.payload = std::span{&payload, 1};
  view.length = static_cast<std::uint32_t>(frame.size());
  return view;
}

struct TwoPollers {
  explicit TwoPollers(Doorbell doorbell = Doorbell::poll) {
    nic = *Nic::create(
        {.name = "test", .mac = kIavfStation, .doorbell = doorbell, .queue_pairs = 4, .more_pollers = {other.get()}},
        *home);
    guest = std::make_unique<IavfGuest>(nic->function());
    lanes = nic->lanes();
  }
  void bring_up() { guest->bring_up({.queues = 4, .mapped_doorbells = true}); }
  // All flows to one queue, by the table.
  void lead_all_to(std::uint8_t queue) {
    const std::vector<std::uint8_t> table(64, queue);
    EXPECT_EQ(guest->call(kConfigLut, IavfBody{}.u16(1).u16(64).append(table).bytes()).status, 0);
    EXPECT_EQ(guest->call(kSetHena, IavfBody{}.u64(~0ull).bytes()).status, 0);
  }
  [[nodiscard]] unsigned lane_for(const Bytes& frame) const {
    packet::Slice payload;
    const packet::FrameView view = view_of(frame, payload);
    std::uint8_t lane = 99;
    lanes[0]->steering()->steer({&view, 1}, {&lane, 1});
    return lane;
  }
  std::size_t arrive(unsigned lane, const Bytes& frame) {
    packet::Slice payload;
    const packet::FrameView view = view_of(frame, payload);
    const port::test::Round round{*lanes[lane]};
    return lanes[lane]->deliver({&view, 1}).taken;
  }
  std::size_t take(unsigned lane) {
    const port::test::Round round{*lanes[lane]};
    std::array<packet::FrameView, port::kMaxBurst> views;
    const std::size_t count = lanes[lane]->take(views);
    port::test::finish(*lanes[lane], count);
    return count;
  }
  std::unique_ptr<runtime::Poller> home = *runtime::Poller::create(), other = *runtime::Poller::create();
  std::unique_ptr<Nic> nic;
  std::unique_ptr<IavfGuest> guest;
  std::vector<port::Port*> lanes;
};

}  // namespace vmux::rigs
