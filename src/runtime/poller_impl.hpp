// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/lingering.hpp"
#include "runtime/mailbox.hpp"
#include "runtime/timers.hpp"
#include "runtime/wakefulness.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::runtime {

struct Poller::Impl {
  using Handler = std::function<void(std::uint32_t)>;
  using Message = std::function<void()>;

  struct TimerAccess {
    static std::size_t& slot(Timer& timer) noexcept { return timer.slot_; }
    static std::uint64_t deadline(const Timer& timer) noexcept { return timer.deadline_ns_; }
  };

  struct Slot {
    Handler handler;
    int fd = -1;                   // -1: free
    std::uint32_t generation = 0;  // tells a new tenant from events that were meant for the last one
  };

  explicit Impl(PollerOptions from)
      : options(std::move(from)), lingering(options.linger_ns), mailbox(options.mailbox_capacity) {}

  Result<void> open();
  Result<Watch> watch(Poller& self, int fd, std::uint32_t events, Handler handler);
  Result<void> modify(std::uint64_t key, std::uint32_t events) noexcept;
  void unwatch(std::uint64_t key) noexcept;

  /// One round; waits up to `wait_ns` (kForever: no limit) when nothing is found.
  bool round(std::uint64_t wait_ns) noexcept;
  unsigned sleep(std::uint64_t wait_ns) noexcept;
  void run_until_stopped() noexcept;
  [[nodiscard]] Slot* find(std::uint64_t key) noexcept;
  [[nodiscard]] bool should_look_for_events(std::uint64_t wait_ns) const noexcept;
  unsigned take_events(std::uint64_t wait_ns) noexcept;
  unsigned take_messages() noexcept;
  unsigned run_tasks() noexcept;
  unsigned expire_timers() noexcept;
  [[nodiscard]] bool tasks_need_polling() const noexcept;
  [[nodiscard]] std::uint64_t idle_wait() noexcept;
  void let_others_run() noexcept;
  void learn_from_wait(int count, std::uint64_t wait_ns) noexcept;
  [[nodiscard]] std::uint64_t until_next_timer(std::uint64_t limit) const noexcept;
  void set_external_alarm() noexcept;
  [[nodiscard]] std::uint64_t next_deadline() const noexcept;
  void arm_alarm() noexcept;
  void set_alarm(std::uint64_t deadline) noexcept;
  void note_work() noexcept;
  void note_time(std::uint64_t last_now, bool found_work) noexcept;
  void keep_awake() noexcept;
  void fall_asleep() noexcept;

  static constexpr std::uint64_t kForever = ~0ull;
  static constexpr std::uint64_t kDoorbellKey = ~0ull;  // no slot has such an index
  static constexpr std::uint64_t kAlarmKey = ~0ull - 1;
  // A busy poller asks the kernel for events this often, not in every round.
  static constexpr std::uint64_t kEventInterval = 5'000;       // ns
  static constexpr std::uint64_t kBusyEventInterval = 20'000;  // ns, of one that has a CPU to itself
  static constexpr unsigned kMaxRoundsWithoutLook = 16;        // of one that means to sleep and always finds work
  static constexpr std::uint64_t kLongLook = 10'000;           // ns: another thread had the CPU meanwhile
  static constexpr std::size_t kMaxEvents = 64;
  static constexpr unsigned kMaxMessages = 64;  // per round

  PollerOptions options;
  Lingering lingering;
  Wakefulness wakefulness;
  UniqueFd epoll, doorbell, alarm;
  Mailbox<Message> mailbox;
  std::mutex stopped_drain;  // guards the mailbox's reading side while no thread runs the poller

  std::vector<Slot> slots;
  std::vector<std::uint32_t> free_slots;
  std::array<epoll_event, kMaxEvents> events{};

  std::vector<Task*> tasks;  // nullptr: removed in this round
  bool tasks_changed = false;
  TimerHeap<Timer, TimerAccess> timers;
  std::size_t timer_count = 0;
  Timer* expiring = nullptr;       // whose callback runs; nullptr also when that has destroyed it
  std::uint64_t alarm_set_to = 0;  // 0: not at all

  std::uint64_t now = 0;
  std::uint64_t round_begun = 0;  // what `now` was then: it is later where the round has slept
  std::uint64_t last_work = 0;
  std::uint64_t last_request = 0;  // an event, a message or a task's work: all but timers
  std::uint64_t last_events = 0;
  std::uint64_t awake_until = 0;  // while CPUs are kept awake
  std::uint64_t sleep_ns = 0;
  unsigned rounds_without_look = 0;
  bool tasks_found_work = false;  // in the last round
  bool is_lingering = false;      // in this round
  bool slept_in_vain = false;     // the last round did: `asleep` is up still, unless somebody rang

  LifeSign* sign = nullptr;

  std::atomic<bool> asleep{true};
  std::atomic<bool> running{false};
  std::atomic<bool> stop_asked{false};
  std::atomic<std::thread::id> owner{};
  std::thread thread;
  Counter rounds, busy_rounds, event_count, message_count, sleeps, work, keeps_awake;
  Counter busy_ns, looking_ns, asleep_ns;
};

}  // namespace vmux::runtime
