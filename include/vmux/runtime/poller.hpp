// SPDX-License-Identifier: BSD-3-Clause
// One thread that owns things: sockets, timers, rings. The only home of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include "vmux/base/result.hpp"

namespace vmux::runtime {

class Poller;

/// Work that is found by looking (descriptor rings, uplink queues). Called on the poller's thread in every round.
class Task {
 public:
  virtual ~Task() = default;
  /// Does a bounded amount of work and tells how much (frames, messages); 0 = found nothing.
  virtual unsigned poll() noexcept = 0;
  /// True while work can appear without an event on a watched descriptor, so that the poller must keep looking.
  [[nodiscard]] virtual bool needs_polling() const noexcept = 0;
};

/// A watched descriptor; unwatches when destroyed (on the poller's thread, or when the poller does not run).
class Watch {
 public:
  Watch() noexcept = default;
  Watch(Watch&& other) noexcept;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch() { reset(); }
  void reset() noexcept;
  /// Changes the epoll events (EPOLLIN, EPOLLOUT, ...; level-triggered).
  [[nodiscard]] Result<void> modify(std::uint32_t events) noexcept;
  explicit operator bool() const noexcept { return poller_ != nullptr; }

 private:
  friend class Poller;
  Poller* poller_ = nullptr;
  std::uint64_t key_ = 0;
};

/// A one-shot timer, re-armed at will without allocation. Lives on its poller's thread; disarms when destroyed, which
/// its own callback may do.
/// Moving is not possible: the poller refers to it while it is armed.
class Timer {
 public:
  Timer(Poller& poller, std::function<void()> expired);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  /// Fires once, at `deadline_ns` of monotonic_ns() or as soon after as the poller gets to it. Replaces an earlier
  /// deadline.
  void arm_at(std::uint64_t deadline_ns) noexcept;
  void arm_after(std::uint64_t delay_ns) noexcept;
  void disarm() noexcept;
  [[nodiscard]] bool is_armed() const noexcept { return slot_ != kIdle; }

 private:
  friend class Poller;
  static constexpr std::size_t kIdle = static_cast<std::size_t>(-1);
  Poller& poller_;
  std::function<void()> expired_;
  std::uint64_t deadline_ns_ = 0;
  std::size_t slot_ = kIdle;  // index in the poller's heap
};

/// What a poller's thread shows to whoever watches over it from outside.
struct LifeSign {
  std::atomic<std::uint64_t> rounds{0};     ///< that it has begun
  std::atomic<std::uint32_t> is_asleep{1};  ///< it waits in the kernel
  /// What a task of it is about to touch that somebody else has made (a burst of a VM's frames): whoever finds it set
  /// when the process has died knows whom to suspect. 0: nothing.
  std::atomic<std::uint32_t> burst{0};
};
static_assert(sizeof(LifeSign) == 16, "processes of different versions look at it");

struct PollerOptions {
  std::string name = "poller";             ///< thread name, at most 15 characters
  std::optional<unsigned> cpu;             ///< pin the thread to this CPU
  bool busy = false;                       ///< never sleep: for a CPU that is set aside
  std::uint64_t spin_ns = 50'000;          ///< one that has to look does so this long after the last work
  std::uint64_t min_sleep_ns = 20'000;     ///< first sleep of an idle poller that has to look
  std::uint64_t max_sleep_ns = 1'000'000;  ///< sleeps double up to this; the worst latency that a polled doorbell sees
  std::size_t mailbox_capacity = 1024;     ///< messages; power of two
  /// For this long after the last work, the kernel is asked not to halt idle CPUs: whoever the poller waits for, or
  /// wakes, then runs at once. 0: never asked; a `busy` poller does not ask either.
  std::uint64_t keep_awake_ns = 0;
  /// One that waits for events alone looks for the next one this long, at most, before it sleeps: only as long as that
  /// pays, and while no other thread wants its CPU. 0: never.
  std::uint64_t linger_ns = 100'000;
  std::string keep_awake_device = "/dev/cpu_dma_latency";  ///< where to ask; one that cannot be opened is done without
  /// Called on the own thread of start() before its first round and after its last. The sign, if it gives one, is kept
  /// up to date in between.
  std::function<LifeSign*()> thread_begins;
  std::function<void(LifeSign*)> thread_ends;
};

/// What a poller has done; readable from any thread.
struct PollerStats {
  std::uint64_t rounds = 0, busy_rounds = 0, events = 0, messages = 0, sleeps = 0, work = 0, keeps_awake = 0;
  /// Where the time of run() went: rounds that found something to do, rounds that found nothing, waiting in the kernel.
  std::uint64_t busy_ns = 0, looking_ns = 0, asleep_ns = 0;
};

/// One thread and what it owns. All methods are for that thread (or for whoever holds the poller while it does not
/// run), except those marked "any thread".
class Poller {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Poller>> create(PollerOptions options = {});
  ~Poller();  ///< stops and joins
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// Runs on a thread of its own from now on.
  [[nodiscard]] Result<void> start();
  /// Runs on the calling thread until stop().
  void run();
  /// Any thread: ends run() or the own thread after the current round. join() waits for the own thread.
  void stop() noexcept;
  void join() noexcept;

  /// For a caller's own event loop: the descriptor becomes readable when run_once() has something to do (events,
  /// messages, timers). Tasks that need polling must be driven by calling run_once() often enough.
  [[nodiscard]] int fd() const noexcept;
  /// One round: events, messages, tasks, timers. Waits at most `wait_ns` for something to happen (0: does not wait).
  /// Returns true when anything was done.
  bool run_once(std::uint64_t wait_ns = 0) noexcept;

  /// Any thread: runs `message` on the poller's thread. Bounded, never blocks; busy when the mailbox is full. What is
  /// still there when the poller is destroyed runs then, on the thread that destroys it.
  [[nodiscard]] Result<void> post(std::function<void()> message) noexcept;
  /// Any thread but a poller's: runs `work` on the poller's thread (or right here when called on it or when it does not
  /// run) and waits for its result.
  template <class F>
  auto call(F&& work) -> std::invoke_result_t<F&> {
    using R = std::invoke_result_t<F&>;
    if (is_own_thread() || !is_running()) return work();
    std::packaged_task<R()> job{std::ref(work)};
    auto result = job.get_future();
    post_and_wait([&job] { job(); });
    return result.get();
  }
  /// Any thread: makes a sleeping poller look at its tasks; one atomic exchange while it is awake.
  void wake() noexcept;
  /// Whoever calls run() shows this sign. Before that.
  void show(LifeSign* sign) noexcept;
  /// LifeSign::burst of the sign that is shown; nullptr: there is none.
  [[nodiscard]] std::atomic<std::uint32_t>* burst_sign() const noexcept;
  [[nodiscard]] bool is_running() const noexcept;     ///< any thread
  [[nodiscard]] bool is_own_thread() const noexcept;  ///< any thread

  /// Calls `handler(events)` when the descriptor is ready. The descriptor must outlive the watch. Handlers may add and
  /// remove watches, their own included.
  [[nodiscard]] Result<Watch> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> handler);

  /// Tasks are polled in the order of their addition until removed; both may be called from a task.
  void add_task(Task& task);
  void remove_task(Task& task) noexcept;

  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] PollerStats stats() const noexcept;  ///< any thread
  /// monotonic_ns() as of the start of this round: cheap, and good enough for timers and ageing.
  [[nodiscard]] std::uint64_t now_ns() const noexcept;

 private:
  friend class Watch;
  friend class Timer;
  struct Impl;
  explicit Poller(std::unique_ptr<Impl> impl) noexcept;
  void post_and_wait(std::function<void()> message);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::runtime
