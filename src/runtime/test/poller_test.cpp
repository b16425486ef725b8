// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/runtime/poller.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "vmux/base/clock.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::runtime {
namespace {

std::unique_ptr<Poller> make_poller(PollerOptions options = {}) {
  auto poller = Poller::create(std::move(options));
  return poller ? std::move(*poller) : nullptr;
}

bool is_readable(int fd, int timeout_ms) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, timeout_ms) == 1;
}

class CountingTask : public Task {
 public:
  explicit CountingTask(bool polls) : polls_(polls) {}
  unsigned poll() noexcept override {
    polled_.fetch_add(1);
    return pending_.exchange(0);
  }
  bool needs_polling() const noexcept override { return polls_; }
  std::atomic<unsigned> polled_{0}, pending_{0};

 private:
  bool polls_;
};

TEST(Poller, RunsMessagesOnItsOwnThread) {
  const auto poller = make_poller();
  ASSERT_TRUE(poller->start());
  const auto thread = poller->call([] { return std::this_thread::get_id(); });
  EXPECT_NE(thread, std::this_thread::get_id());
  EXPECT_TRUE(poller->call([&] { return poller->is_own_thread(); }));
  EXPECT_FALSE(poller->is_own_thread());
}

/// As a unit with SystemCallFilter=~@resources and SystemCallErrorNumber=EPERM (systemd.exec(5)) has it; for good.
bool refuse_scheduling() {
  constexpr std::uint32_t kRefused = SECCOMP_RET_ERRNO | EPERM;
  std::array program{
      sock_filter(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))),
      sock_filter(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setattr, 1, 0)),
      sock_filter(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1)),
      sock_filter(BPF_STMT(BPF_RET | BPF_K, kRefused)),
      sock_filter(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)),
  };
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 &&
         ::syscall(SYS_sched_setattr, 0, nullptr, 0) == -1 && errno == EPERM;
}

TEST(PollerDeathTest, RunsWhereItsThreadMayChangeNothingOfItsScheduling) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  constexpr int kRan = 7;
  const auto run = [] {
    const bool is_refused = refuse_scheduling();
    const auto poller = make_poller({.cpu = 0});
    if (!is_refused || !poller->start()) ::_exit(1);
    ::_exit(poller->call([] { return kRan; }));
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(kRan), "");
}

TEST(Poller, RunsWhatWasPostedBeforeItGoes) {
  auto poller = make_poller();
  unsigned ran = 0;
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(poller->post([&ran] { ++ran; }));
  poller.reset();
  EXPECT_EQ(ran, 200u);
}

TEST(Poller, TimerMayBeDestroyedByItsOwnCallback) {
  const auto poller = make_poller();
  std::unique_ptr<Timer> timer;
  auto held = std::make_shared<int>(7);  // by the callback only
  std::weak_ptr<int> alive = held;
  bool survived = false;
  timer = std::make_unique<Timer>(*poller, [&timer, &alive, &survived, held = std::move(held)] {
    auto& outcome = survived;
    auto& watched = alive;
    timer.reset();
    outcome = !watched.expired();  // what the callback holds is there until it returns
  });
  timer->arm_after(0);
  poller->run_once(1'000'000);
  EXPECT_TRUE(survived);
  EXPECT_TRUE(alive.expired());
}

TEST(Poller, CallsRightHereWhenItDoesNotRun) {
  const auto poller = make_poller();
  EXPECT_EQ(poller->call([] { return std::this_thread::get_id(); }), std::this_thread::get_id());
}

TEST(Poller, RefusesMessagesBeyondItsMailbox) {
  const auto poller = make_poller({.mailbox_capacity = 2});
  EXPECT_TRUE(poller->post([] {}));
  EXPECT_TRUE(poller->post([] {}));
  const auto third = poller->post([] {});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, Errc::busy);
}

TEST(Poller, CallsTheHandlerOfAReadyDescriptor) {
  const auto poller = make_poller();
  auto event = *make_eventfd();
  int called = 0;
  auto watch = poller->watch(event.get(), EPOLLIN, [&](std::uint32_t) { called += drain_eventfd(event.get()) > 0; });
  ASSERT_TRUE(watch);
  poller->run_once();
  EXPECT_EQ(called, 0);
  signal_eventfd(event.get());
  EXPECT_TRUE(poller->run_once());
  EXPECT_EQ(called, 1);
}

TEST(Poller, ForgetsAWatchThatItsOwnHandlerDropped) {
  const auto poller = make_poller();
  auto event = *make_eventfd();
  int called = 0;
  std::optional<Watch> watch;
  watch = *poller->watch(event.get(), EPOLLIN, [&](std::uint32_t) {
    ++called;
    watch.reset();
  });
  signal_eventfd(event.get());
  poller->run_once();
  poller->run_once();
  EXPECT_EQ(called, 1);
}

TEST(Poller, DoesNotCallAHandlerThatAnotherDroppedInTheSameBatch) {
  const auto poller = make_poller();
  auto first = *make_eventfd();
  auto second = *make_eventfd();
  int called = 0;
  std::optional<Watch> a, b;
  a = *poller->watch(first.get(), EPOLLIN, [&](std::uint32_t) { ++called, a.reset(), b.reset(); });
  b = *poller->watch(second.get(), EPOLLIN, [&](std::uint32_t) { ++called, a.reset(), b.reset(); });
  signal_eventfd(first.get());
  signal_eventfd(second.get());
  poller->run_once();
  EXPECT_EQ(called, 1);
}

TEST(Poller, KeepsAHandlerThatAddsWatches) {
  const auto poller = make_poller();
  auto event = *make_eventfd();
  std::vector<UniqueFd> fds;
  std::vector<Watch> more;
  int called = 0;
  auto watch = poller->watch(event.get(), EPOLLIN, [&](std::uint32_t) {
    ++called;
    for (int i = 0; i < 20; ++i) {
      fds.push_back(*make_eventfd());
      more.push_back(*poller->watch(fds.back().get(), EPOLLIN, [](std::uint32_t) {}));
    }
    drain_eventfd(event.get());
  });
  signal_eventfd(event.get());
  poller->run_once();
  signal_eventfd(event.get());
  poller->run_once();
  EXPECT_EQ(called, 2);
}

TEST(Timer, FiresInOrderOfDeadlines) {
  const auto poller = make_poller();
  std::vector<int> order;
  Timer late{*poller, [&] { order.push_back(2); }};
  Timer early{*poller, [&] { order.push_back(1); }};
  Timer never{*poller, [&] { order.push_back(3); }};
  late.arm_at(2);
  early.arm_at(1);
  never.arm_at(~0ull);
  poller->run_once();
  EXPECT_EQ(order, (std::vector{1, 2}));
  EXPECT_TRUE(never.is_armed());
  EXPECT_FALSE(early.is_armed());
}

TEST(Timer, FiresOnceAndNotWhenDisarmed) {
  const auto poller = make_poller();
  int fired = 0;
  Timer timer{*poller, [&] { ++fired; }};
  timer.arm_at(1);
  timer.disarm();
  poller->run_once();
  EXPECT_EQ(fired, 0);
  timer.arm_at(1);
  poller->run_once();
  poller->run_once();
  EXPECT_EQ(fired, 1);
}

TEST(Timer, MayRearmItselfInItsCallback) {
  const auto poller = make_poller();
  int fired = 0;
  std::optional<Timer> timer;
  timer.emplace(*poller, [&] {
    if (++fired < 3) timer->arm_at(1);
  });
  timer->arm_at(1);
  poller->run_once();
  EXPECT_EQ(fired, 3);
}

TEST(PollerFd, WakesAForeignLoopForMessagesAndTimers) {
  const auto poller = make_poller();
  int fired = 0;
  Timer timer{*poller, [&] { ++fired; }};
  poller->run_once();
  EXPECT_FALSE(is_readable(poller->fd(), 0));
  ASSERT_TRUE(poller->post([&] { timer.arm_after(1'000'000); }));
  EXPECT_TRUE(is_readable(poller->fd(), 5000));
  poller->run_once();
  EXPECT_TRUE(is_readable(poller->fd(), 5000));
  poller->run_once();
  EXPECT_EQ(fired, 1);
}

TEST(Poller, PollsTasksUntilTheyAreRemoved) {
  const auto poller = make_poller();
  CountingTask task{false};
  poller->add_task(task);
  poller->run_once();
  EXPECT_GT(task.polled_, 0u);
  poller->remove_task(task);
  const unsigned before = task.polled_;
  poller->run_once();
  EXPECT_EQ(task.polled_, before);
}

TEST(Poller, FindsPolledWorkWithoutAnyEvent) {
  const auto poller = make_poller({.max_sleep_ns = 200'000});
  CountingTask task{true};
  poller->add_task(task);
  ASSERT_TRUE(poller->start());
  task.pending_ = 1;
  while (task.pending_ != 0)
    std::this_thread::yield();  // ctest's time limit is the failure
  poller->call([&] { poller->remove_task(task); });
}

// The alarm that was set for the first deadline rings for nothing; the timer must fire after it none the less.
TEST(Poller, FiresATimerThatWasPutOffWhileItSlept) {
  const auto poller = make_poller({.spin_ns = 0});
  Timer timer{*poller, [&] { poller->stop(); }};
  const UniqueFd event = *make_eventfd();
  std::uint64_t put_off_to = 0;
  auto watch = poller->watch(event.get(), EPOLLIN, [&](std::uint32_t) {
    drain_eventfd(event.get());
    put_off_to = monotonic_ns() + 20'000'000;
    timer.arm_at(put_off_to);
  });
  ASSERT_TRUE(watch);
  timer.arm_after(10'000'000);
  poller->run_once(0);  // sets the alarm
  signal_eventfd(event.get());
  poller->run();  // returns; ctest's time limit is the failure
  EXPECT_GE(monotonic_ns(), put_off_to);
}

TEST(Poller, SleepsForGoodWhenNothingNeedsPolling) {
  const auto poller = make_poller({.spin_ns = 0});
  CountingTask task{false};
  poller->add_task(task);
  ASSERT_TRUE(poller->start());
  poller->call([] {});
  const auto rounds_before = poller->stats().rounds;
  std::this_thread::sleep_for(std::chrono::milliseconds{50});
  EXPECT_LE(poller->stats().rounds, rounds_before + 3);
  task.pending_ = 1;
  poller->wake();
  while (task.pending_ != 0)
    std::this_thread::yield();
  poller->call([&] { poller->remove_task(task); });
}

TEST(Poller, LooksOnceForEachSleepThatNothingEnds) {
  const auto poller = make_poller({.spin_ns = 0, .min_sleep_ns = 1'000, .max_sleep_ns = 1'000});
  CountingTask task{true};
  poller->add_task(task);
  ASSERT_TRUE(poller->start());
  while (poller->stats().sleeps < 100)
    std::this_thread::yield();
  poller->stop();
  poller->join();
  // Twice before the first, twice when it was told to stop.
  EXPECT_LE(task.polled_, poller->stats().sleeps + 4);
  poller->remove_task(task);
}

void wake_again_and_again(CountingTask& task) {
  const auto poller = make_poller({.spin_ns = 0, .min_sleep_ns = 1'000});
  poller->add_task(task);
  ASSERT_TRUE(poller->start());
  for (int i = 0; i < 2000; ++i) {
    task.pending_ = 1;
    poller->wake();
    while (task.pending_ != 0)
      std::this_thread::yield();  // ctest's time limit is the failure
  }
  poller->call([&] { poller->remove_task(task); });
}

TEST(Poller, NeverLosesAWake) {
  CountingTask task{false};
  wake_again_and_again(task);
}

// A sleep that nothing ends leaves the poller said to be asleep; the next one, without end, must not rely on it in
// vain.
TEST(Poller, NeverLosesAWakeBehindASleepThatEndedByItself) {
  class InTurns final : public CountingTask {
   public:
    InTurns() : CountingTask(true) {}
    bool needs_polling() const noexcept override { return (asked_++ & 3) != 3; }

   private:
    mutable unsigned asked_ = 0;
  };
  InTurns task;
  wake_again_and_again(task);
}

TEST(Poller, StopsAndStartsAgain) {
  const auto poller = make_poller();
  ASSERT_TRUE(poller->start());
  EXPECT_FALSE(poller->start());
  poller->stop();
  poller->join();
  EXPECT_FALSE(poller->is_running());
  ASSERT_TRUE(poller->start());
  EXPECT_EQ(poller->call([] { return 7; }), 7);
}

TEST(Poller, DoesNotSleepThroughAStopThatCameJustBeforeTheRound) {
  // The one place of a task's that is asked between the look at the stop flag and the round.
  struct StoppingTask : Task {
    explicit StoppingTask(Poller& poller) : poller_(poller) {}
    unsigned poll() noexcept override { return 0; }
    bool needs_polling() const noexcept override {
      poller_.stop();
      return false;
    }
    Poller& poller_;
  };
  const auto poller = make_poller({.spin_ns = 0});
  StoppingTask task{*poller};
  poller->add_task(task);
  poller->run();  // returns; ctest's time limit is the failure
  poller->remove_task(task);
  EXPECT_FALSE(poller->is_running());
}

TEST(Poller, AnswersCallsThatRaceWithItsStop) {
  for (int i = 0; i < 50; ++i) {
    const auto poller = make_poller();
    ASSERT_TRUE(poller->start());
    std::thread caller{[&] { EXPECT_EQ(poller->call([] { return 1; }), 1); }};
    poller->stop();
    caller.join();
  }
}

TEST(PollerOptions, RefusesACpuThatDoesNotExist) {
  const auto poller = Poller::create({.cpu = 100'000});
  ASSERT_FALSE(poller);
  EXPECT_EQ(poller.error().code, Errc::invalid_argument);
}

TEST(PollerOptions, RefusesSleepsThatShrink) {
  EXPECT_FALSE(Poller::create({.min_sleep_ns = 2, .max_sleep_ns = 1}));
  EXPECT_FALSE(Poller::create({.min_sleep_ns = 0}));
}

}  // namespace
}  // namespace vmux::runtime
