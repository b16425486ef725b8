// SPDX-License-Identifier: BSD-3-Clause
// Whom to suspect when a poller dies: what is shown while a port's frames are taken.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "switch/switch.hpp"

namespace vmux::switching {
namespace {

/// A port with a frame now and then, which tells what is shown while it is asked for it, and while it gets some.
class WatchedPort final : public port::Port {
 public:
  explicit WatchedPort(const runtime::LifeSign& sign) : sign_(sign) { std::fill_n(frame_.begin(), 6, std::byte{0xff}); }
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    shown = sign_.burst.load();
    const std::size_t count = std::min(frames, into.size());
    std::fill_n(into.begin(), count, packet::FrameView{.header = frame_, .payload = {}, .length = 64, .offload = {}});
    frames -= count;
    return count;
  }
  void finish(std::span<const port::FrameResult> results) noexcept override { finished += results.size(); }
  port::Delivery deliver(std::span<const packet::FrameView> all) noexcept override {
    shown_at_delivery = sign_.burst.load();
    return {.taken = has_room ? all.size() : 0};
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return {}; }
  [[nodiscard]] bool needs_polling() const noexcept override { return true; }
  [[nodiscard]] bool is_ready() const noexcept override { return is_up; }

  std::size_t frames = 0, finished = 0;
  bool is_up = true, has_room = true;
  std::uint32_t shown = 0, shown_at_delivery = 0;

 private:
  const runtime::LifeSign& sign_;
  std::array<std::byte, 64> frame_{};
};

constexpr std::uint32_t kOneDeath = 1u << kMarkBits;

class AMark : public testing::Test {
 protected:
  void SetUp() override {
    poller_->show(&sign_);
    switch_ = *Switch::create("br0");
    ASSERT_TRUE(switch_->attach(port_, *poller_, {.name = "vm0", .mark = 5 | kOneDeath}));
  }
  void TearDown() override { switch_.reset(); }
  /// A neighbour that has died with what `mark` says.
  void attach_neighbour(std::uint32_t mark, runtime::Poller& poller) {
    ASSERT_TRUE(switch_->attach(neighbour_, poller, {.name = "vm1", .mark = mark}));
  }
  void send_one(WatchedPort& from) {
    from.frames = 1;
    poller_->run_once();
    ASSERT_EQ(from.frames, 0u);
  }

  runtime::LifeSign sign_, other_sign_;
  std::unique_ptr<runtime::Poller> poller_ = *runtime::Poller::create();
  std::unique_ptr<runtime::Poller> other_poller_ = *runtime::Poller::create();
  WatchedPort port_{sign_}, neighbour_{sign_}, far_{other_sign_};
  std::unique_ptr<Switch> switch_;
};

TEST_F(AMark, IsShownWhileFramesAreTakenAndAtNoOtherTime) {
  poller_->run_once();
  EXPECT_EQ(port_of_mark(port_.shown), 5u);
  EXPECT_EQ(sign_.burst.load(), 0u);
}

// A process that dies of the burst before it has done it: the next one knows that it was not the first.
TEST_F(AMark, IsSuspectUntilABurstHasBeenDone) {
  port_.is_up = false;  // its guest's driver may have to come back first: what it has is not seen yet
  poller_->run_once();
  poller_->run_once();
  EXPECT_EQ(suspicion_of(port_.shown), 1u) << "no burst has come yet";
  send_one(port_);
  EXPECT_EQ(suspicion_of(port_.shown), 1u);
  poller_->run_once();
  EXPECT_EQ(port_.shown, 5u);
}

// Its poller spins over it, and so the process dies in its turn, whatever it dies of.
TEST_F(AMark, OfAnIdlePortIsNotSuspectBehindItsFirstTurn) {
  poller_->run_once();
  EXPECT_EQ(suspicion_of(port_.shown), 1u);
  poller_->run_once();
  EXPECT_EQ(port_.shown, 5u);
}

// The burst that killed waits in the port, which is not asked for it before its limit lets it pass.
TEST_F(AMark, OfAPortThatIsHeldStaysSuspect) {
  other_poller_->show(&other_sign_);
  const std::array<Lane, 2> lanes{{{neighbour_, *poller_}, {far_, *other_poller_}}};
  const Limits limits{.in = {.frames_per_s = 1}};
  const auto id = switch_->attach(lanes, {.name = "vm1", .limits = limits, .mark = 7 | kOneDeath});
  ASSERT_TRUE(id);
  neighbour_.frames = 3 * port::kMaxBurst;  // more than may pass of both lanes
  poller_->run_once();
  poller_->run_once();
  far_.frames = 1;
  other_poller_->run_once();
  ASSERT_EQ(far_.finished, 0u);
  ASSERT_TRUE(switch_->set_limits(*id, {}));
  other_poller_->run_once();
  EXPECT_EQ(far_.shown, 7 | kOneDeath);
}

TEST_F(AMark, IsTheReceiversWhileFramesAreDelivered) {
  attach_neighbour(7, *poller_);
  send_one(port_);
  EXPECT_EQ(neighbour_.shown_at_delivery, 7 | kDeliveryMark);
  EXPECT_EQ(port_.shown_at_delivery, 0u);
  EXPECT_EQ(sign_.burst.load(), 0u);
}

// Of one that has none of its own: an uplink.
TEST_F(AMark, IsTheSendersWhereTheReceiverHasNone) {
  attach_neighbour(0, *poller_);
  send_one(port_);
  EXPECT_EQ(neighbour_.shown_at_delivery, 5 | kOneDeath);
}

// Frames that have come over a link have no sender here.
TEST_F(AMark, IsTheReceiversOnAnotherPoller) {
  other_poller_->show(&other_sign_);
  ASSERT_TRUE(switch_->attach(far_, *other_poller_, {.name = "vm1", .mark = 7}));
  send_one(port_);
  other_poller_->run_once();
  EXPECT_EQ(far_.shown_at_delivery, 7 | kDeliveryMark);
  EXPECT_EQ(other_sign_.burst.load(), 0u);
}

// What a delivery died of does not come in a turn, so turns clear nobody of it.
TEST_F(AMark, OfADeliveryIsSuspectUntilOneHasBeenDone) {
  attach_neighbour(7 | kOneDeath | kDeliveryMark, *poller_);
  send_one(neighbour_);
  EXPECT_EQ(neighbour_.shown, 7u) << "nobody has died of what it sends";
  neighbour_.has_room = false;
  send_one(port_);
  EXPECT_EQ(neighbour_.shown_at_delivery, 7 | kOneDeath | kDeliveryMark);
  neighbour_.has_room = true;
  send_one(port_);
  EXPECT_EQ(neighbour_.shown_at_delivery, 7 | kOneDeath | kDeliveryMark) << "nothing was delivered the time before";
  send_one(port_);
  EXPECT_EQ(neighbour_.shown_at_delivery, 7 | kDeliveryMark);
}

TEST_F(AMark, OfASwitchThatIsHeldNothingIsTaken) {
  switch_->hold(true);
  port_.frames = 1;
  poller_->run_once();
  EXPECT_EQ(port_.frames, 1u);
  switch_->hold(false);
  poller_->run_once();
  EXPECT_EQ(port_.frames, 0u);
}

}  // namespace
}  // namespace vmux::switching
