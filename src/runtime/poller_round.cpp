// SPDX-License-Identifier: BSD-3-Clause
// What a poller does in a round, and when it sleeps.
#include <sched.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "runtime/poller_impl.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::runtime {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

timespec to_timespec(std::uint64_t ns) noexcept {
  return {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
}

int wait_for_events(int epoll, epoll_event* events, int room, std::uint64_t wait_ns) noexcept {
  if (wait_ns == 0) return ::epoll_wait(epoll, events, room, 0);
  static std::atomic<bool> has_pwait2{true};  // Linux 5.11; some sandboxes refuse it
  if (has_pwait2.load(std::memory_order_relaxed)) {
    const timespec limit = to_timespec(wait_ns);
    const int count = ::epoll_pwait2(epoll, events, room, wait_ns == ~0ull ? nullptr : &limit, nullptr);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    has_pwait2 = false;
  }
  const std::uint64_t ms = std::min<std::uint64_t>((wait_ns + 999'999) / 1'000'000, 60'000);
  return ::epoll_wait(epoll, events, room, wait_ns == ~0ull ? -1 : static_cast<int>(ms));
}

}  // namespace

Poller::Impl::Slot* Poller::Impl::find(std::uint64_t key) noexcept {
  // An earlier handler of the same batch may have unwatched this descriptor, or given its slot to another.
  Slot& slot = slots[key & 0xffff'ffffu];
  return slot.fd >= 0 && slot.generation == key >> 32 ? &slot : nullptr;
}

unsigned Poller::Impl::take_events(std::uint64_t wait_ns) noexcept {
  const bool shows_sleep = sign != nullptr && wait_ns > 0;
  if (shows_sleep) sign->is_asleep.store(1, std::memory_order_relaxed);
  const int count = wait_for_events(epoll.get(), events.data(), static_cast<int>(events.size()), wait_ns);
  if (shows_sleep) sign->is_asleep.store(0, std::memory_order_relaxed);
  if (count > 0 && (wait_ns > 0 || is_lingering)) learn_from_wait(count, wait_ns);
  unsigned handled = 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event event = events[static_cast<std::size_t>(i)];
    const std::uint64_t key = event.data.u64;
    if (key == kDoorbellKey) {
      drain_eventfd(doorbell.get());  // being awake is all that it is for
    } else if (key == kAlarmKey) {
      drain_eventfd(alarm.get());  // a timerfd is read like an eventfd
      alarm_set_to = 0;
    } else if (Slot* slot = find(key)) {
      keep_awake();
      // Runs from a local: the handler may unwatch itself, or add watches and so move the slots.
      Handler handler = std::move(slot->handler);
      handler(event.events);
      if ((slot = find(key)) != nullptr) slot->handler = std::move(handler);
      ++handled;
    }
  }
  last_events = now;
  rounds_without_look = 0;
  event_count.add(handled);
  return handled;
}

unsigned Poller::Impl::take_messages() noexcept {
  unsigned taken = 0;
  Message message;
  while (taken < kMaxMessages && mailbox.pop(message)) {
    message();
    message = nullptr;
    ++taken;
  }
  message_count.add(taken);
  return taken;
}

unsigned Poller::Impl::run_tasks() noexcept {
  unsigned done = 0;
  for (std::size_t i = 0; i < tasks.size(); ++i) {  // by index: a task may add another
    if (tasks[i] != nullptr) done += tasks[i]->poll();
  }
  if (tasks_changed) {
    std::erase(tasks, nullptr);
    tasks_changed = false;
  }
  work.add(done);
  return done;
}

unsigned Poller::Impl::expire_timers() noexcept {
  unsigned expired = 0;
  while (!timers.is_empty() && timers.first().deadline_ns_ <= now) {
    Timer& timer = timers.first();
    timers.remove(timer);
    // Runs from a local: it may destroy the timer, and so itself.
    std::function<void()> callback = std::move(timer.expired_);
    expiring = &timer;
    callback();
    if (std::exchange(expiring, nullptr) != nullptr) timer.expired_ = std::move(callback);
    // A timer that re-arms itself in the past must not hold the round.
    if (++expired >= kMaxMessages) break;
  }
  return expired;
}

bool Poller::Impl::tasks_need_polling() const noexcept {
  return std::any_of(tasks.begin(), tasks.end(),
                     [](const Task* task) { return task != nullptr && task->needs_polling(); });
}

std::uint64_t Poller::Impl::until_next_timer(std::uint64_t limit) const noexcept {
  if (timers.is_empty()) return limit;
  const std::uint64_t deadline = timers.first().deadline_ns_;
  return deadline <= now ? 0 : std::min(limit, deadline - now);
}

std::uint64_t Poller::Impl::idle_wait() noexcept {
  if (options.busy) return 0;
  const std::uint64_t idle = now - last_work;
  // Looking pays where work appears in memory. Who waits for messages alone only keeps a CPU from those who send them:
  // often the one that the thread was put on which the last reply woke.
  const bool must_look = tasks_need_polling();
  if (must_look && idle < options.spin_ns) return 0;
  if (wakefulness.is_held() && now >= awake_until) wakefulness.release();
  if (!must_look) {
    is_lingering = now - last_request < lingering.window_ns();
    return is_lingering ? 0 : kForever;
  }
  sleep_ns = sleep_ns == 0 ? options.min_sleep_ns : std::min(2 * sleep_ns, options.max_sleep_ns);
  return sleep_ns;
}

// A look costs a system call. One that is about to wait in epoll sees the events there, and tasks that find their work
// by looking are not held up by the kernel in every round.
bool Poller::Impl::should_look_for_events(std::uint64_t wait_ns) const noexcept {
  if (wait_ns > 0 && !tasks_found_work) return rounds_without_look >= kMaxRoundsWithoutLook;
  if (!tasks_found_work && !tasks_need_polling()) return true;
  return now - last_events >= (options.busy ? kBusyEventInterval : kEventInterval);
}

// A sleep for good leaves the timers to a descriptor that stays set. A time-out would be set, and taken back, each
// time: in a virtual machine both leave to the hypervisor, 25 us each.
unsigned Poller::Impl::sleep(std::uint64_t wait_ns) noexcept {
  const std::uint64_t wait = until_next_timer(wait_ns);
  if (wait == 0) return take_events(0);
  sleeps.add();
  if (wait_ns != kForever) return take_events(wait);
  arm_alarm();
  return take_events(kForever);
}

bool Poller::Impl::round(std::uint64_t wait_ns) noexcept {
  // A sleep that ended with its time leaves the flag up: a round that is about to sleep again then has said so before
  // its only look.
  const bool is_dozing = std::exchange(slept_in_vain, false) && wait_ns > 0;
  if (!is_dozing) asleep.store(false, std::memory_order_relaxed);
  round_begun = now = monotonic_ns();
  ++rounds_without_look;
  unsigned done = 0;
  if (should_look_for_events(wait_ns)) done += take_events(0);
  done += take_messages();
  unsigned expired = expire_timers();
  const unsigned found = run_tasks();
  tasks_found_work = found > 0;
  done += found;
  if (done + expired == 0 && wait_ns > 0) {
    // Say that we sleep, then look once more: whoever adds work after this look sees the flag and rings (wake()). Who
    // has rung since it went up has taken it down, and the bell may have been answered before the look.
    if (!is_dozing || !asleep.load(std::memory_order_relaxed)) {
      fall_asleep();
      done += run_tasks();
    }
    if (done == 0 && mailbox.is_empty() && !stop_asked.load(std::memory_order_relaxed)) {
      done += sleep(wait_ns);
      now = monotonic_ns();
      slept_in_vain = done == 0;
    }
    if (!slept_in_vain) asleep.store(false, std::memory_order_relaxed);
    done += take_messages();
    expired += expire_timers();
    if (done + expired > 0) done += run_tasks();
  }
  rounds.add();
  if (sign != nullptr) sign->rounds.store(rounds.get(), std::memory_order_relaxed);
  if (done + expired == 0) return false;
  note_work();
  // Timers alone tell of no exchange: those of dozens of idle VMs must not keep anything awake.
  if (done == 0) return true;
  last_request = now;
  keep_awake();
  return true;
}

// A round lasts until the next one begins, whose look at the clock thus ends it; what it slept before it found anything
// is neither.
void Poller::Impl::note_time(std::uint64_t last_now, bool found_work) noexcept {
  (found_work ? busy_ns : looking_ns).add(round_begun - last_now);
  if (now != round_begun) asleep_ns.add(now - round_begun);
}

void Poller::Impl::note_work() noexcept {
  busy_rounds.add();
  last_work = now;
  sleep_ns = 0;
}

// Asked for before an event is handled as well as after all work: a CPU that is halted comes back while the work that
// ends in waking a thread on it is done.
void Poller::Impl::keep_awake() noexcept {
  if (wakefulness.is_held()) {
    awake_until = now + options.keep_awake_ns;
    return;
  }
  // In a caller's own loop nobody might come back to let go of it.
  if (!wakefulness.is_available() || !running.load(std::memory_order_relaxed)) return;
  wakefulness.hold();
  keeps_awake.add();
  awake_until = monotonic_ns() + options.keep_awake_ns;
}

void Poller::Impl::run_until_stopped() noexcept {
  owner = std::this_thread::get_id();
  if (sign != nullptr) sign->is_asleep.store(0, std::memory_order_relaxed);
  now = monotonic_ns();
  bool found_work = false;
  while (!stop_asked.load(std::memory_order_relaxed)) {
    const std::uint64_t last_now = now;
    const std::uint64_t wait = idle_wait();
    if (is_lingering) let_others_run();
    const bool finds_work = round(wait);
    note_time(last_now, found_work);
    found_work = finds_work;
    is_lingering = false;
  }
  wakefulness.release();
  {
    const std::lock_guard lock{stopped_drain};
    take_messages();
    owner = std::thread::id{};
    running = false;
  }
  fall_asleep();
}

// Looking costs nobody anything while nobody else wants to run here. A look that took long, a yield included, was
// interrupted by one who did; one after which there was work took as long as the work.
void Poller::Impl::let_others_run() noexcept {
  const std::uint64_t since = last_work == now ? monotonic_ns() : now;
  ::sched_yield();
  if (monotonic_ns() - since > kLongLook) lingering.crowded();
}

// A timer says nothing about requests, except that none came for as long.
void Poller::Impl::learn_from_wait(int count, std::uint64_t wait_ns) noexcept {
  if (wait_ns > 0) now = monotonic_ns();
  const std::uint64_t after = now - last_request;
  const bool is_alarm_alone = count == 1 && events[0].data.u64 == kAlarmKey;
  if (!is_alarm_alone || after > options.linger_ns) lingering.found(after);
}

void Poller::Impl::fall_asleep() noexcept { asleep.exchange(true, std::memory_order_acq_rel); }

void Poller::Impl::set_external_alarm() noexcept {
  fall_asleep();
  if (!mailbox.is_empty()) signal_eventfd(doorbell.get());
  if (const std::uint64_t deadline = next_deadline(); deadline != alarm_set_to) set_alarm(deadline);
}

/// 0: none.
std::uint64_t Poller::Impl::next_deadline() const noexcept {
  return timers.is_empty() ? 0 : std::max<std::uint64_t>(timers.first().deadline_ns_, 1);
}

// Timers are set again and again, to later times mostly. An alarm that is early enough stays as it is and wakes once
// for nothing, which costs less than setting it for each of them. For the same reason letting go of the CPUs may be
// late by as much as they are kept.
void Poller::Impl::arm_alarm() noexcept {
  std::uint64_t deadline = next_deadline();
  if (wakefulness.is_held()) {
    const std::uint64_t release = awake_until + options.keep_awake_ns;
    deadline = deadline == 0 ? release : std::min(deadline, release);
  }
  if (deadline != 0 && (alarm_set_to == 0 || deadline < alarm_set_to)) set_alarm(deadline);
}

void Poller::Impl::set_alarm(std::uint64_t deadline) noexcept {
  alarm_set_to = deadline;
  const itimerspec when{.it_interval = {}, .it_value = to_timespec(deadline)};
  ::timerfd_settime(alarm.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace vmux::runtime
