// SPDX-License-Identifier: BSD-3-Clause
// Real pollers: mirrors that come and go under traffic take nothing from the frames that they copy, and are in order.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "switch/switch.hpp"
#include "switch/test/talking_port.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kFrame = 300, kSequenceAt = 20;  // bytes

class MirroredPort final : public test::TalkingPort<kFrame> {
 public:
  MirroredPort(std::uint8_t self, std::uint8_t peer) { set_stations(self, peer); }
  port::Delivery deliver(std::span<const packet::FrameView> views) noexcept override {
    for (const packet::FrameView& view : views) {
      std::uint64_t number = 0;
      std::memcpy(&number, view.header.data() + kSequenceAt, sizeof number);
      note(number, expected_);
    }
    received.fetch_add(views.size());
    return {.taken = views.size()};
  }

 private:
  void mark(Frame& frame, std::uint64_t number) noexcept override {
    std::memcpy(frame.data() + kSequenceAt, &number, sizeof number);
  }
  std::uint64_t expected_ = 0;
};

TEST(SwitchMirrorThreads, ComeAndGoUnderTrafficAndTakeNothingFromIt) {
  constexpr std::uint64_t kFrames = 40'000;
  std::array<std::unique_ptr<runtime::Poller>, 2> pollers;
  MirroredPort sender{1, 2}, receiver{2, 1}, near{3, 9}, far{4, 9};
  const auto sw = *Switch::create("sw");
  for (auto& poller : pollers) {
    poller = *runtime::Poller::create();
    ASSERT_TRUE(poller->start());
  }
  const PortId from = *sw->attach(sender, *pollers[0], {.name = "sender"});
  ASSERT_TRUE(sw->attach(receiver, *pollers[0], {.name = "receiver"}));
  const std::array<PortId, 2> listeners{*sw->attach(near, *pollers[0], {.name = "near"}),
                                        *sw->attach(far, *pollers[1], {.name = "far"})};
  receiver.credit.store(1);  // its station is known: nothing is flooded
  for (unsigned wait = 0; receiver.credit.load() > 0 && wait < 10'000; ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  std::uint64_t sent = 0;
  for (unsigned round = 0; sent < kFrames; ++round) {
    ASSERT_TRUE(sw->set_mirror(
        from, round % 3 == 0 ? std::nullopt : std::optional{Mirror{listeners[round % 3 - 1], true, false}}));
    sender.credit.fetch_add(500);
    sent += 500;
    if (round % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
    for (unsigned wait = 0; sender.credit.load() > 1000 && wait < 10'000; ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  for (unsigned wait = 0; receiver.received.load() < sent && wait < 10'000; ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  EXPECT_EQ(receiver.received.load(), sent);
  EXPECT_EQ(receiver.disordered.load() + near.disordered.load() + far.disordered.load(), 0u);
  EXPECT_GT(near.received.load(), 0u);
  EXPECT_GT(far.received.load(), 0u);
  for (const port::DropReasonRow& row : port::kDropReasons) {
    if (row.reason == port::DropReason::mirror_full) continue;
    EXPECT_EQ(sender.counters().drops(row.reason).get(), 0u) << row.name;
  }
}

}  // namespace
}  // namespace vmux::switching
