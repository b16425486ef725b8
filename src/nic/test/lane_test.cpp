// SPDX-License-Identifier: BSD-3-Clause
// A lane with queues that only note what they are asked.
#include "nic/lane.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "nic/alarm.hpp"
#include "port/test/rounds.hpp"

namespace vmux::nic {
namespace {

struct NotedQueues {
  explicit NotedQueues(bool can) : can_it(can) {}
  template <class F>
  void for_each_memory(F&&) noexcept {}
  void set_memory(const std::shared_ptr<const memory::Table>&) noexcept {
    if (state != nullptr) notes += state->has_dma() ? '!' : 'm';
  }
  void begin_round() noexcept { notes += 'b'; }
  void end_round() noexcept { notes += 'e'; }
  std::size_t take(std::span<packet::FrameView>) noexcept {
    notes += 't';
    return 3;
  }
  void finish(std::span<const port::FrameResult>) noexcept { notes += 'f'; }
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept {
    notes += 'd';
    return {.taken = frames.size()};
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept { return {.max_frame = 77}; }
  [[nodiscard]] bool can_receive() const noexcept { return can_it; }
  [[nodiscard]] bool needs_polling() const noexcept { return can_it; }
  void released() noexcept { notes += 'r'; }

  bool can_it;
  std::string notes;
  const RunState* state = nullptr;  // to be looked at when memory comes and goes
};

class NicLane : public testing::TestWithParam<bool> {
 protected:
  NicLane() {
    state_.set_link(true);
    state_.set_dma(true);
  }
  void run_a_round() {
    const port::test::Round round{lane_};
    std::array<packet::FrameView, 4> views;
    taken_ = lane_.take(views);
    delivered_ = lane_.deliver(std::span{views}.first(2)).taken;
    port::test::finish(lane_, taken_);
  }
  std::unique_ptr<runtime::Poller> poller_ = *runtime::Poller::create();
  RunState state_;
  Lane<NotedQueues> lane_{*poller_, GetParam(), state_, true};
  std::size_t taken_ = 9, delivered_ = 9;
};
INSTANTIATE_TEST_SUITE_P(HomeAndAway, NicLane, testing::Bool());

TEST_P(NicLane, ARunningOneAsksItsQueues) {
  run_a_round();
  EXPECT_EQ(lane_.queues().notes, "btdfe");
  EXPECT_EQ(taken_, 3u);
  EXPECT_EQ(delivered_, 2u);
  EXPECT_TRUE(lane_.is_ready());
  EXPECT_TRUE(lane_.needs_polling());
  EXPECT_EQ(lane_.accepts().max_frame, 77u);
}

TEST_P(NicLane, WithoutItsCableItOnlyLooksAfterItself) {
  state_.set_link(false);
  run_a_round();
  EXPECT_EQ(lane_.queues().notes, "be");
  EXPECT_EQ(taken_, 0u);
  EXPECT_EQ(delivered_, 0u);
  EXPECT_FALSE(lane_.is_ready());
  EXPECT_TRUE(lane_.needs_polling());
}

TEST_P(NicLane, WithoutDmaNothingHasToBeLookedAt) {
  state_.set_dma(false);
  run_a_round();
  EXPECT_EQ(lane_.queues().notes, "be");
  EXPECT_FALSE(lane_.needs_polling());
}

TEST_P(NicLane, APausedOneIsLeftAlone) {
  state_.set_paused(true);
  run_a_round();
  EXPECT_EQ(lane_.queues().notes, "");
  EXPECT_FALSE(lane_.is_ready());
  EXPECT_FALSE(lane_.needs_polling());
  state_.set_paused(false);
  run_a_round();
  EXPECT_EQ(lane_.queues().notes, "btdfe");
}

TEST_P(NicLane, ReceivesNothingWhenItsQueuesCannot) {
  lane_.queues().can_it = false;
  run_a_round();
  EXPECT_EQ(lane_.queues().notes, "btfe");
  EXPECT_FALSE(lane_.is_ready());
}

TEST_P(NicLane, AnswersQuestionsInARoundToo) {
  const port::test::Round round{lane_};
  EXPECT_TRUE(lane_.is_ready());
  EXPECT_TRUE(lane_.needs_polling());
  EXPECT_EQ(lane_.accepts().max_frame, 77u);
}

TEST(NicLaneAway, AChangeWaitsForTheEndOfARound) {
  const auto poller = *runtime::Poller::create();
  RunState state;
  Lane<NotedQueues> lane{*poller, false, state, true};
  std::atomic<bool> is_changed{false};
  lane.begin_round();
  std::thread home{[&] {
    lane.change([&](NotedQueues& queues) { queues.notes += 'c'; });
    is_changed = true;
  }};
  for (int i = 0; i < 1000; ++i)  // it would have been let in by now
    std::this_thread::yield();
  EXPECT_FALSE(is_changed);
  lane.end_round();
  home.join();
  EXPECT_EQ(lane.queues().notes, "bec");
}

TEST(NicLaneAway, RunsOnlyWhileItHasMemory) {
  const auto poller = *runtime::Poller::create();
  RunState state;
  Lane<NotedQueues> lane{*poller, false, state, true};
  lane.queues().state = &state;
  set_dma(state, std::array{&lane}, true);
  EXPECT_TRUE(state.has_dma());
  set_dma(state, std::array{&lane}, false);
  EXPECT_FALSE(state.has_dma());
  EXPECT_EQ(lane.queues().notes, "mm");
}

TEST(NicAlarm, IsHeardOutsideOfRoundsAndOnce) {
  const auto home = *runtime::Poller::create();
  unsigned heard = 0;
  Alarm alarm{*home, [&heard] { ++heard; }};
  alarm.raise();
  alarm.look();
  EXPECT_EQ(heard, 0u);
  for (int i = 0; i < 100 && heard == 0; ++i)
    home->run_once(1'000'000);
  alarm.look();
  home->run_once(0);
  EXPECT_EQ(heard, 1u);
}

TEST(NicAlarm, IsSilencedByWhoeverHasSeenToIt) {
  const auto home = *runtime::Poller::create();
  unsigned heard = 0;
  Alarm alarm{*home, [&heard] { ++heard; }};
  alarm.raise();
  alarm.look();
  alarm.raise();
  alarm.silence();
  alarm.look();
  home->run_once(10'000);
  EXPECT_EQ(heard, 0u);
}

}  // namespace
}  // namespace vmux::nic
