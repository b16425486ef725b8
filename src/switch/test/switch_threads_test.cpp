// SPDX-License-Identifier: BSD-3-Clause
// Real pollers: traffic between two threads while a third attaches and detaches. And: no allocation under traffic.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "packet/transfer.hpp"
#include "rigs/allocations.hpp"
#include "switch/switch.hpp"
#include "switch/test/talking_port.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kFrame = 600, kSequenceAt = 20;  // bytes

// Checks what it gets.
class Talker final : public test::TalkingPort<kFrame> {
 public:
  Talker(std::uint8_t self, std::uint8_t peer) { set_stations(self, peer); }
  std::atomic<std::uint64_t> damaged{0};  // any thread

  port::Delivery deliver(std::span<const packet::FrameView> views) noexcept override {
    for (const packet::FrameView& view : views) {
      Frame bytes;
      const std::span<std::byte> to[] = {bytes};
      packet::Pieces pieces{view, {}};
      while (const packet::Piece* piece = pieces.next()) {
        if (piece->length != kFrame) continue;
        pieces.copy(to);
        check(bytes);
      }
    }
    return {.taken = views.size()};
  }

 private:
  void mark(Frame& frame, std::uint64_t number) noexcept override {
    std::memcpy(frame.data() + kSequenceAt, &number, sizeof number);
  }
  void check(const Frame& bytes) noexcept {
    std::uint64_t number = 0;
    std::memcpy(&number, bytes.data() + kSequenceAt, sizeof number);
    note(number, expected_);
    if (bytes[300] != bytes[11] || bytes[kFrame - 1] != bytes[11]) damaged.fetch_add(1);
    received.fetch_add(1);
  }
  std::uint64_t expected_ = 0;
};

// Sends in portions that the ring has room for, so that nothing is dropped and the end is known.
void send_all(runtime::Poller& poller, Talker& from, const Talker& to, std::uint64_t frames) {
  const std::uint64_t start = to.received.load();
  for (std::uint64_t sent = 0; sent < frames; sent += 500) {
    from.credit.fetch_add(500);
    poller.wake();
    while (to.received.load() < start + sent + 500)
      std::this_thread::yield();
  }
}

class TwoPollers : public testing::Test {
 protected:
  TwoPollers() {
    static_cast<void>(*sw_->attach(a_, *here_, {.name = "a"}));
    static_cast<void>(*sw_->attach(b_, *there_, {.name = "b"}));
    EXPECT_TRUE(here_->start());
    EXPECT_TRUE(there_->start());
  }
  std::unique_ptr<runtime::Poller> here_ = *runtime::Poller::create(), there_ = *runtime::Poller::create();
  Talker a_{1, 2}, b_{2, 1};
  std::unique_ptr<Switch> sw_ = *Switch::create("sw");
};

TEST_F(TwoPollers, CarryEveryFrameWholeAndInOrder) {
  std::thread other{[this] { send_all(*there_, b_, a_, 5000); }};
  send_all(*here_, a_, b_, 5000);
  other.join();
  EXPECT_EQ(a_.disordered.load() + b_.disordered.load(), 0u);
  EXPECT_EQ(a_.damaged.load() + b_.damaged.load(), 0u);
  EXPECT_EQ(
      a_.counters().drops(port::DropReason::ring_full).get() + b_.counters().drops(port::DropReason::ring_full).get(),
      0u);
}

TEST_F(TwoPollers, KeepTheirTrafficWhilePortsComeAndGo) {
  std::thread other{[this] { send_all(*there_, b_, a_, 5000); }};
  std::thread sender{[this] { send_all(*here_, a_, b_, 5000); }};
  for (std::uint8_t i = 0; i < 20; ++i) {
    Talker guest{static_cast<std::uint8_t>(10 + i), 1};
    const auto id = sw_->attach(guest, i % 2 == 0 ? *here_ : *there_, {.name = "guest"});
    ASSERT_TRUE(id);
    guest.credit.store(40);
    EXPECT_GE(sw_->ports().size(), 3u);
    static_cast<void>(sw_->mac_table());
    ASSERT_TRUE(sw_->detach(*id));
  }  // a poller that still knew the guest would now touch freed memory
  sender.join();
  other.join();
  EXPECT_EQ(a_.damaged.load() + b_.damaged.load(), 0u);
  EXPECT_EQ(sw_->ports().size(), 2u);
}

TEST(SwitchMemory, IsNotAllocatedUnderTraffic) {
  const auto here = *runtime::Poller::create(), there = *runtime::Poller::create();
  Talker a{1, 2}, b{2, 3}, c{3, 1};  // a to b within a poller, b to c and c to a across
  const auto sw = *Switch::create("sw");
  static_cast<void>(*sw->attach(a, *here, {.name = "a"}));
  static_cast<void>(*sw->attach(b, *here, {.name = "b"}));
  static_cast<void>(*sw->attach(c, *there, {.name = "c"}));
  const auto exchange = [&](std::uint64_t frames) {
    for (Talker* talker : {&a, &b, &c})
      talker->credit.store(frames);
    for (bool worked = true; worked;) {
      worked = here->run_once(0);
      worked = there->run_once(0) || worked;
    }
  };
  exchange(1);  // everyone is heard once
  const rigs::CountAllocations allocations;
  exchange(500);
  EXPECT_EQ(allocations.seen(), 0u);
  EXPECT_GE(a.received.load(), 500u);
  EXPECT_GE(b.received.load(), 500u);
  EXPECT_GE(c.received.load(), 500u);
}

}  // namespace
}  // namespace vmux::switching
