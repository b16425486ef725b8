// SPDX-License-Identifier: BSD-3-Clause
// What a poller does while there is nothing to do: how long it lingers, and what it keeps awake.
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "vmux/base/clock.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::runtime {
namespace {

std::unique_ptr<Poller> make_poller(PollerOptions options = {}) {
  auto poller = Poller::create(std::move(options));
  return poller ? std::move(*poller) : nullptr;
}

constexpr std::uint64_t kAnHour = 3'600'000'000'000;  // ns
// One that does not linger makes one round for an event and sleeps. One that lingers, and takes its own looks for those
// of a crowd, makes three.
constexpr std::uint64_t kRoundsOfACrowd = 3;

/// Takes longer than a look does that nobody interrupts; with something to do, or with nothing.
class SlowTask final : public Task {
 public:
  explicit SlowTask(unsigned finds) : finds_(finds) {}
  unsigned poll() noexcept override {
    if (finds_ > 0 && std::exchange(pending, 0) == 0) return 0;
    for (const std::uint64_t end = monotonic_ns() + 20'000; monotonic_ns() < end;) {
    }
    return finds_;
  }
  bool needs_polling() const noexcept override { return false; }
  unsigned pending = 0;

 private:
  unsigned finds_;
};

/// Runs, and waits for one event.
struct Listener {
  explicit Listener(Poller& its, SlowTask* task = nullptr) : poller(its) {
    watch = *poller.watch(event.get(), EPOLLIN, [this, task](std::uint32_t) {
      drain_eventfd(event.get());
      if (task != nullptr) task->pending = 1;
    });
    EXPECT_TRUE(poller.start());
    while (poller.stats().sleeps == 0)
      std::this_thread::yield();
  }
  ~Listener() {
    poller.stop();  // a watch goes while nothing runs
    poller.join();
  }
  /// How many rounds it takes before it sleeps again; "many" as soon as it is more than one that is crowded takes.
  [[nodiscard]] std::uint64_t rounds_for_an_event() {
    const PollerStats before = poller.stats();
    signal_eventfd(event.get());
    for (;;) {
      std::this_thread::yield();
      const PollerStats after = poller.stats();
      const std::uint64_t rounds = after.rounds - before.rounds;
      if (after.sleeps != before.sleeps || rounds > kRoundsOfACrowd) return rounds;
    }
  }
  Poller& poller;
  UniqueFd event = *make_eventfd();
  Watch watch;
};

TEST(Poller, TellsWhereItsTimeWent) {
  const auto poller = make_poller({.linger_ns = 0});
  SlowTask task{1};
  poller->add_task(task);
  const std::uint64_t before = monotonic_ns();
  {
    Listener listener{*poller, &task};
    static_cast<void>(listener.rounds_for_an_event());  // 20 us of work, at least
    static_cast<void>(listener.rounds_for_an_event());
  }
  const std::uint64_t all = monotonic_ns() - before;
  const PollerStats stats = poller->stats();
  EXPECT_GE(stats.busy_ns, 20'000u);
  EXPECT_GT(stats.asleep_ns, 0u);
  EXPECT_LE(stats.busy_ns + stats.looking_ns + stats.asleep_ns, all);
  poller->remove_task(task);
}

TEST(Poller, LooksForTheNextEventWhereThatComesSoon) {
  const auto poller = make_poller({.linger_ns = kAnHour});
  Listener listener{*poller};
  while (listener.rounds_for_an_event() <= kRoundsOfACrowd) {
  }  // ctest's time limit is the failure
}

TEST(Poller, LooksNoLongerWhereALookTakesLong) {
  const auto poller = make_poller({.linger_ns = kAnHour});
  SlowTask crowd{0};
  poller->add_task(crowd);
  {
    Listener listener{*poller};
    for (int i = 0; i < 100; ++i)
      ASSERT_LE(listener.rounds_for_an_event(), kRoundsOfACrowd) << i;
  }
  poller->remove_task(crowd);
}

TEST(Poller, TakesItsOwnWorkForNoCrowd) {
  const auto poller = make_poller({.linger_ns = kAnHour});
  SlowTask work{1};
  poller->add_task(work);
  {
    Listener listener{*poller, &work};
    while (listener.rounds_for_an_event() <= kRoundsOfACrowd) {
    }  // ctest's time limit is the failure
  }
  poller->remove_task(work);
}

TEST(Poller, SleepsAfterEachEventWhenItMayNotLinger) {
  const auto poller = make_poller({.linger_ns = 0});
  const UniqueFd event = *make_eventfd();
  auto watch = poller->watch(event.get(), EPOLLIN, [&](std::uint32_t) { drain_eventfd(event.get()); });
  ASSERT_TRUE(watch);
  ASSERT_TRUE(poller->start());
  for (int i = 0; i < 50; ++i) {
    const auto sleeps = poller->stats().sleeps;
    signal_eventfd(event.get());
    while (poller->stats().sleeps == sleeps)
      std::this_thread::yield();  // ctest's time limit is the failure
  }
  poller->stop();
  poller->join();
}

class AWakefulPoller : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "vmux-wakefulness-" + std::to_string(::getpid());
    std::ofstream{path_}.close();
  }
  void TearDown() override { std::filesystem::remove(path_); }
  [[nodiscard]] PollerOptions options() const {
    PollerOptions options;
    options.spin_ns = 0;
    options.keep_awake_ns = 1'000'000;
    options.keep_awake_device = path_;
    return options;
  }
  /// What was asked for so far, in microseconds.
  [[nodiscard]] std::vector<std::int32_t> asked() const {
    std::ifstream file{path_, std::ios::binary};
    std::vector<std::int32_t> all;
    for (std::int32_t one = 0; file.read(reinterpret_cast<char*>(&one), sizeof one);)
      all.push_back(one);
    return all;
  }
  void wait_until_asked(std::size_t times) const {
    while (asked().size() < times)
      std::this_thread::yield();
  }
  std::string path_;
};

TEST_F(AWakefulPoller, KeepsCpusAwakeAfterWorkAndLetsGoByItself) {
  const auto poller = make_poller(options());
  ASSERT_TRUE(poller->start());
  EXPECT_TRUE(asked().empty());
  poller->call([] {});
  wait_until_asked(2);
  EXPECT_EQ(asked(), (std::vector<std::int32_t>{0, -1}));
  EXPECT_EQ(poller->stats().keeps_awake, 1u);
}

TEST_F(AWakefulPoller, AsksBeforeItHandlesAnEvent) {
  PollerOptions forever = options();
  forever.keep_awake_ns = 3'600'000'000'000;
  const auto poller = make_poller(forever);
  const UniqueFd event = *make_eventfd();
  std::vector<std::int32_t> asked_in_handler;
  auto watch = poller->watch(event.get(), EPOLLIN, [&](std::uint32_t) {
    drain_eventfd(event.get());
    asked_in_handler = asked();
    poller->stop();
  });
  ASSERT_TRUE(watch);
  signal_eventfd(event.get());
  poller->run();
  EXPECT_EQ(asked_in_handler, (std::vector<std::int32_t>{0}));
}

TEST_F(AWakefulPoller, KeepsNothingAwakeForATimer) {
  const auto poller = make_poller(options());
  Timer timer{*poller, [&] { poller->stop(); }};
  timer.arm_after(0);
  poller->run();
  EXPECT_TRUE(asked().empty());
}

TEST_F(AWakefulPoller, LetsGoWhenItStops) {
  PollerOptions forever = options();
  forever.keep_awake_ns = 3'600'000'000'000;
  const auto poller = make_poller(forever);
  ASSERT_TRUE(poller->start());
  poller->call([] {});
  wait_until_asked(1);
  poller->stop();
  poller->join();
  EXPECT_EQ(asked(), (std::vector<std::int32_t>{0, -1}));
}

TEST_F(AWakefulPoller, AsksNothingInACallersOwnLoop) {
  const auto poller = make_poller(options());
  ASSERT_TRUE(poller->post([] {}));
  EXPECT_TRUE(poller->run_once());
  EXPECT_TRUE(asked().empty());
}

TEST_F(AWakefulPoller, AsksNothingWhenItNeverSleeps) {
  PollerOptions busy = options();
  busy.busy = true;
  const auto poller = make_poller(busy);
  ASSERT_TRUE(poller->start());
  poller->call([] {});
  poller->stop();
  poller->join();
  EXPECT_TRUE(asked().empty());
}

TEST_F(AWakefulPoller, WorksWithoutTheDevice) {
  PollerOptions without = options();
  without.keep_awake_device = path_ + "/absent";
  const auto poller = make_poller(without);
  ASSERT_TRUE(poller->start());
  poller->call([] {});
  EXPECT_EQ(poller->stats().keeps_awake, 0u);
}

}  // namespace
}  // namespace vmux::runtime
