// SPDX-License-Identifier: BSD-3-Clause
// Real pollers: a capture that comes and goes under traffic takes nothing from it, and sees frames in their order.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "switch/copies/tap.hpp"
#include "switch/switch.hpp"
#include "switch/test/talking_port.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kLength = 300, kNumberAt = 20;  // bytes

class CapturedPort final : public test::TalkingPort<kLength> {
 public:
  CapturedPort(std::uint8_t self, std::uint8_t peer) { set_stations(self, peer); }
  port::Delivery deliver(std::span<const packet::FrameView> views) noexcept override {
    for (const packet::FrameView& view : views) {
      std::uint64_t number = 0;
      std::memcpy(&number, view.header.data() + kNumberAt, sizeof number);
      note(number, expected_);
    }
    received.fetch_add(views.size());
    return {.taken = views.size()};
  }

 private:
  void mark(Frame& frame, std::uint64_t number) noexcept override {
    std::memcpy(frame.data() + kNumberAt, &number, sizeof number);
  }
  std::uint64_t expected_ = 0;
};

/// Drains a tap, on the test's thread: how many frames, and whether their numbers go up.
struct Drained {
  std::uint64_t count = 0, last = 0;
  bool is_in_order = true;
  void drain(Tap& tap) {
    for (auto record = tap.ring().front(); record.data() != nullptr; record = tap.ring().front()) {
      std::uint64_t number = 0;
      std::memcpy(&number, record.data() + sizeof(CapturedFrame) + kNumberAt, sizeof number);
      is_in_order = is_in_order && (count == 0 || number > last);
      last = number;
      ++count;
      tap.ring().pop();
    }
  }
};

TEST(SwitchCaptureThreads, ComeAndGoUnderTrafficAndTakeNothingFromIt) {
  constexpr std::uint64_t kFrames = 40'000;
  std::array<std::unique_ptr<runtime::Poller>, 2> pollers;
  CapturedPort sender{1, 2}, receiver{2, 1};
  const auto sw = *Switch::create("sw");
  for (auto& poller : pollers) {
    poller = *runtime::Poller::create();
    ASSERT_TRUE(poller->start());
  }
  const PortId from = *sw->attach(sender, *pollers[0], {.name = "sender"});
  const PortId to = *sw->attach(receiver, *pollers[1], {.name = "receiver"});
  receiver.credit.store(1);  // its station is known: nothing is flooded
  for (unsigned wait = 0; receiver.credit.load() > 0 && wait < 10'000; ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  std::uint64_t sent = 0, seen = 0;
  while (sent < kFrames) {
    Tap here{{}, 1 << 16}, there{{}, 1 << 16};
    Drained sends, gets;
    sw->set_capture(0, {from, to}, {{pollers[0].get(), &here}, {pollers[1].get(), &there}});
    sender.credit.fetch_add(500);
    sent += 500;
    for (unsigned wait = 0; receiver.received.load() < sent && wait < 10'000; ++wait) {
      sends.drain(here);
      gets.drain(there);
      std::this_thread::yield();
    }
    sw->set_capture(0, {}, {});
    sends.drain(here);
    gets.drain(there);
    ASSERT_TRUE(sends.is_in_order && gets.is_in_order);
    EXPECT_EQ(here.counts(from).seen.get(), sends.count + here.counts(from).missed.get());
    seen += sends.count + gets.count;
  }
  EXPECT_EQ(receiver.received.load(), sent);
  EXPECT_EQ(receiver.disordered.load(), 0u);
  EXPECT_GT(seen, 0u);
}

}  // namespace
}  // namespace vmux::switching
