// SPDX-License-Identifier: BSD-3-Clause
// Real pollers and ports that are spread over them: order per flow, new steerings and comings and goings under traffic.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "switch/switch.hpp"
#include "switch/test/talking_port.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kFrame = 300, kFlowAt = 20, kSequenceAt = 24;  // bytes
constexpr std::uint32_t kFlows = 16;

std::uint32_t flow_of(const packet::FrameView& view) noexcept {
  std::uint32_t flow = 0;
  std::memcpy(&flow, view.header.data() + kFlowAt, sizeof flow);
  return flow;
}

class ByFlow final : public port::Steering {
 public:
  ByFlow(std::uint32_t lanes, std::uint32_t shift) noexcept : lanes_(lanes), shift_(shift) {}
  void steer(std::span<const packet::FrameView> frames, std::span<std::uint8_t> lanes) const noexcept override {
    for (std::size_t i = 0; i < frames.size(); ++i)
      lanes[i] = static_cast<std::uint8_t>((flow_of(frames[i]) / 3 + shift_) % lanes_);
  }

 private:
  std::uint32_t lanes_, shift_;
};

/// A lane of a NIC: sends frames of its flows, one after the other; checks what it gets.
class LanePort final : public test::TalkingPort<kFrame> {
 public:
  void set_up(std::uint8_t self, std::uint8_t peer, std::uint32_t lane, std::uint32_t lanes) {
    lane_ = lane;
    lanes_ = lanes;
    set_stations(self, peer);
  }
  using Port::publish;

  port::Delivery deliver(std::span<const packet::FrameView> views) noexcept override {
    for (const packet::FrameView& view : views) {
      std::uint64_t number = 0;
      std::memcpy(&number, view.header.data() + kSequenceAt, sizeof number);
      note(number, expected_[flow_of(view) % kFlows]);
    }
    received.fetch_add(views.size());
    return {.taken = views.size()};
  }

 private:
  void mark(Frame& frame, std::uint64_t number) noexcept override {
    const auto flow = static_cast<std::uint32_t>(number % (kFlows / lanes_)) * lanes_ + lane_;
    std::memcpy(frame.data() + kFlowAt, &flow, sizeof flow);
    std::memcpy(frame.data() + kSequenceAt, &number, sizeof number);
  }

  std::uint32_t lane_ = 0, lanes_ = 1;
  std::array<std::uint64_t, kFlows> expected_{};
};

constexpr std::size_t kPollers = 3;

/// A NIC with a lane on each of the first `count` pollers.
struct WideNic {
  WideNic(std::uint8_t self, std::uint8_t peer, std::uint32_t lane_count) : count(lane_count) {
    for (std::uint32_t i = 0; i < count; ++i)
      lanes[i].set_up(self, peer, i, count);
    lanes[0].publish(std::make_shared<ByFlow>(count, 0));
  }
  [[nodiscard]] std::uint64_t received() const {
    return lanes[0].received.load() + lanes[1].received.load() + lanes[2].received.load();
  }
  [[nodiscard]] std::uint64_t disordered() const {
    return lanes[0].disordered.load() + lanes[1].disordered.load() + lanes[2].disordered.load();
  }
  std::uint32_t count;
  std::array<LanePort, kPollers> lanes;
};

class LanesOnThreads : public testing::Test {
 protected:
  LanesOnThreads() {
    for (auto& poller : pollers_) {
      poller = *runtime::Poller::create();
      EXPECT_TRUE(poller->start());
    }
    static_cast<void>(plug(a_, "a"));
    static_cast<void>(plug(b_, "b"));
  }
  PortId plug(WideNic& nic, const char* name) {
    std::vector<Lane> lanes;
    for (std::uint32_t i = 0; i < nic.count; ++i)
      lanes.push_back({nic.lanes[i], *pollers_[i]});
    return *sw_->attach(lanes, {.name = name});
  }
  // In portions that rings have room for, so that nothing is dropped: `frames` from each lane.
  void exchange(WideNic& from, WideNic& to, std::uint64_t frames) {
    constexpr std::uint64_t kPortion = 200;
    for (std::uint64_t sent = 0; sent < frames; sent += kPortion) {
      const std::uint64_t until = to.received() + kPortion * from.count;
      for (std::uint32_t i = 0; i < from.count; ++i) {
        from.lanes[i].credit.fetch_add(kPortion);
        pollers_[i]->wake();
      }
      while (to.received() < until)
        std::this_thread::yield();
    }
  }
  std::array<std::unique_ptr<runtime::Poller>, kPollers> pollers_;
  WideNic a_{1, 2, 3}, b_{2, 1, 2};
  std::unique_ptr<Switch> sw_ = *Switch::create("sw");
};

TEST_F(LanesOnThreads, KeepTheOrderOfEveryFlowAndLoseNothing) {
  std::thread other{[this] { exchange(b_, a_, 4000); }};
  exchange(a_, b_, 4000);
  other.join();
  EXPECT_EQ(a_.disordered() + b_.disordered(), 0u);
  for (std::uint32_t i = 0; i < 3; ++i)
    EXPECT_GT(a_.lanes[i].received.load(), 0u) << i;
}

TEST_F(LanesOnThreads, LoseNothingToANewSteering) {
  exchange(a_, b_, 200);  // both are known: from here on nothing is flooded
  exchange(b_, a_, 200);
  std::atomic<bool> is_done{false};
  std::thread changes{[&] {
    for (std::uint32_t shift = 0; !is_done.load(); ++shift) {
      pollers_[0]->call([&] { a_.lanes[0].publish(std::make_shared<ByFlow>(3, shift)); });
      pollers_[0]->call([&] { b_.lanes[0].publish(std::make_shared<ByFlow>(2, shift)); });
    }
  }};
  std::thread other{[this] { exchange(b_, a_, 4000); }};
  exchange(a_, b_, 4000);
  other.join();
  is_done = true;
  changes.join();
  EXPECT_EQ(a_.received(), 2u * 4200);
  EXPECT_EQ(b_.received(), 3u * 4200);
}

TEST_F(LanesOnThreads, ComeAndGoWhileOthersKeepTheirTraffic) {
  exchange(a_, b_, 200);
  exchange(b_, a_, 200);
  std::thread other{[this] { exchange(b_, a_, 4000); }};
  std::thread sender{[this] { exchange(a_, b_, 4000); }};
  for (std::uint8_t i = 0; i < 20; ++i) {
    WideNic guest{static_cast<std::uint8_t>(10 + i), 77, 1 + i % 3u};  // sends to nobody: floods
    const PortId id = plug(guest, "guest");
    pollers_[0]->call([&] { guest.lanes[0].publish(std::make_shared<ByFlow>(guest.count, 1)); });
    for (LanePort& lane : guest.lanes)
      lane.credit.store(10);
    EXPECT_EQ(sw_->ports().size(), 3u);
    static_cast<void>(sw_->mac_table());
    ASSERT_TRUE(sw_->detach(id));
  }  // a poller that still knew a lane would now touch freed memory
  sender.join();
  other.join();
  EXPECT_EQ(sw_->ports().size(), 2u);
}

}  // namespace
}  // namespace vmux::switching
