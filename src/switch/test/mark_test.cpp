// SPDX-License-Identifier: BSD-3-Clause
// Whom to suspect when a poller dies: what is shown while a port's frames are taken.
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "switch/switch.hpp"

namespace vmux::switching {
namespace {

/// A port with a frame now and then, which tells what is shown while it is asked for it.
class WatchedPort final : public port::Port {
 public:
  explicit WatchedPort(const runtime::LifeSign& sign) : sign_(sign) { std::fill_n(frame_.begin(), 6, std::byte{0xff}); }
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    shown = sign_.burst.load();
    if (frames == 0) return 0;
    --frames;
    into[0] = {.header = frame_, .payload = {}, .length = static_cast<std::uint32_t>(frame_.size()), .offload = {}};
    return 1;
  }
  void finish(std::span<const port::FrameResult>) noexcept override {}
  port::Delivery deliver(std::span<const packet::FrameView> all) noexcept override { return {.taken = all.size()}; }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return {}; }
  [[nodiscard]] bool needs_polling() const noexcept override { return true; }
  [[nodiscard]] bool is_ready() const noexcept override { return true; }

  unsigned frames = 0;
  std::uint32_t shown = 0;

 private:
  const runtime::LifeSign& sign_;
  std::array<std::byte, 64> frame_{};
};

class AMark : public testing::Test {
 protected:
  void SetUp() override {
    poller_->show(&sign_);
    switch_ = *Switch::create("br0");
    ASSERT_TRUE(switch_->attach(port_, *poller_, {.name = "vm0", .mark = 5 | 1u << kMarkBits}));
  }
  void TearDown() override { switch_.reset(); }

  runtime::LifeSign sign_;
  std::unique_ptr<runtime::Poller> poller_ = *runtime::Poller::create();
  WatchedPort port_{sign_};
  std::unique_ptr<Switch> switch_;
};

TEST_F(AMark, IsShownWhileFramesAreTakenAndAtNoOtherTime) {
  poller_->run_once();
  EXPECT_EQ(port_of_mark(port_.shown), 5u);
  EXPECT_EQ(sign_.burst.load(), 0u);
}

// A process that dies of the burst before it has done it: the next one knows that it was not the first.
TEST_F(AMark, IsSuspectUntilABurstHasBeenDone) {
  poller_->run_once();
  poller_->run_once();
  EXPECT_EQ(suspicion_of(port_.shown), 1u) << "no burst has come yet";
  port_.frames = 1;
  poller_->run_once();
  EXPECT_EQ(suspicion_of(port_.shown), 1u);
  poller_->run_once();
  EXPECT_EQ(port_.shown, 5u);
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
