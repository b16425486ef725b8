// SPDX-License-Identifier: BSD-3-Clause
// The poller's face: construction, threads, messages, watches and timers. The rounds are in poller_round.cpp.
#include "vmux/runtime/poller.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "runtime/poller_impl.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::runtime {
namespace {

Result<void> check_cpu(const std::optional<unsigned>& cpu) {
  if (!cpu) return {};
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return fail_errno("cannot read the allowed CPUs");
  if (*cpu >= CPU_SETSIZE || !CPU_ISSET(*cpu, &allowed)) {
    return fail(Errc::invalid_argument, "the CPU of a poller does not exist or is not allowed to this process");
  }
  return {};
}

// A poller works for microseconds and then waits for someone. A short slice (Linux 6.12; earlier kernels do not look
// at it) tells the scheduler so: a woken poller then need not wait for the slice of the VCPU that runs on its CPU.
void ask_for_short_slices() noexcept {
  constexpr std::uint64_t kSlice = 100'000;  // ns, the least that is taken
  struct {                                   // sched_setattr(2), which the C library does not declare
    std::uint32_t size, sched_policy;
    std::uint64_t sched_flags;
    std::int32_t sched_nice;
    std::uint32_t sched_priority;
    std::uint64_t sched_runtime, sched_deadline, sched_period;
  } attributes{};
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.sched_policy != SCHED_OTHER) return;  // whoever set that knows better
  attributes.sched_runtime = kSlice;
  ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

/// All of it makes the thread faster or easier to find, and a system that refuses it (seccomp(2)) changes nothing else.
void settle_thread(const PollerOptions& options) {
  ::pthread_setname_np(::pthread_self(), options.name.substr(0, 15).c_str());
  ask_for_short_slices();
  if (!options.cpu) return;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(*options.cpu, &only);
  ::pthread_setaffinity_np(::pthread_self(), sizeof only, &only);
}

}  // namespace

Result<void> Poller::Impl::open() {
  epoll = UniqueFd{::epoll_create1(EPOLL_CLOEXEC)};
  if (!epoll) return fail_errno("cannot create an epoll descriptor");
  auto bell = make_eventfd();
  if (!bell) return tl::unexpected(bell.error());
  doorbell = std::move(*bell);
  alarm = UniqueFd{::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
  if (!alarm) return fail_errno("cannot create a timer descriptor");
  for (const auto& [fd, key] : {std::pair{doorbell.get(), kDoorbellKey}, std::pair{alarm.get(), kAlarmKey}}) {
    epoll_event event{EPOLLIN, {.u64 = key}};
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("cannot watch a descriptor");
  }
  now = monotonic_ns();
  if (options.keep_awake_ns > 0 && !options.busy) wakefulness = Wakefulness{options.keep_awake_device};
  return {};
}

Result<Watch> Poller::Impl::watch(Poller& self, int fd, std::uint32_t wanted, Handler handler) {
  if (free_slots.empty()) {
    free_slots.push_back(static_cast<std::uint32_t>(slots.size()));
    slots.emplace_back();
  }
  const std::uint32_t index = free_slots.back();
  Slot& slot = slots[index];
  const std::uint64_t key = index | (static_cast<std::uint64_t>(slot.generation) << 32);
  epoll_event event{wanted, {.u64 = key}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("cannot watch a descriptor");
  free_slots.pop_back();
  slot.fd = fd;
  slot.handler = std::move(handler);
  Watch watch;
  watch.poller_ = &self;
  watch.key_ = key;
  return watch;
}

Result<void> Poller::Impl::modify(std::uint64_t key, std::uint32_t wanted) noexcept {
  epoll_event event{wanted, {.u64 = key}};
  const Slot& slot = slots[key & 0xffff'ffffu];
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, slot.fd, &event) != 0) return fail_errno("cannot watch a descriptor");
  return {};
}

void Poller::Impl::unwatch(std::uint64_t key) noexcept {
  const auto index = static_cast<std::uint32_t>(key);
  Slot& slot = slots[index];
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, slot.fd, nullptr);
  slot.fd = -1;
  slot.generation = (slot.generation + 1) & 0x7fff'ffffu;  // masked so that no key equals a reserved one
  free_slots.push_back(index);
  // Destroyed last: what it holds may unwatch others. (A handler that runs just now is not here, see take_events().)
  const Handler dead = std::exchange(slot.handler, nullptr);
}

Watch::Watch(Watch&& other) noexcept : poller_(std::exchange(other.poller_, nullptr)), key_(other.key_) {}

Watch& Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    reset();
    poller_ = std::exchange(other.poller_, nullptr);
    key_ = other.key_;
  }
  return *this;
}

void Watch::reset() noexcept {
  if (Poller* const poller = std::exchange(poller_, nullptr)) poller->impl_->unwatch(key_);
}

Result<void> Watch::modify(std::uint32_t events) noexcept { return poller_->impl_->modify(key_, events); }

Timer::Timer(Poller& poller, std::function<void()> expired) : poller_(poller), expired_(std::move(expired)) {
  Poller::Impl& impl = *poller_.impl_;
  // Armed timers never exceed living ones, so arming needs no memory.
  if (++impl.timer_count > impl.timers.capacity()) impl.timers.reserve(2 * impl.timer_count);
}

Timer::~Timer() {
  disarm();
  --poller_.impl_->timer_count;
  if (poller_.impl_->expiring == this) poller_.impl_->expiring = nullptr;
}

void Timer::arm_at(std::uint64_t deadline_ns) noexcept {
  disarm();
  deadline_ns_ = deadline_ns;
  poller_.impl_->timers.push(*this);
}

void Timer::arm_after(std::uint64_t delay_ns) noexcept { arm_at(monotonic_ns() + delay_ns); }

void Timer::disarm() noexcept {
  if (is_armed()) poller_.impl_->timers.remove(*this);
}

Poller::Poller(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<std::unique_ptr<Poller>> Poller::create(PollerOptions options) {
  if (auto ok = check_cpu(options.cpu); !ok) return tl::unexpected(ok.error());
  if (options.min_sleep_ns == 0 || options.min_sleep_ns > options.max_sleep_ns) {
    return fail(Errc::invalid_argument, "a poller's shortest sleep must be above 0 and not above its longest");
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto ok = impl->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<Poller>(new Poller(std::move(impl)));
}

Poller::~Poller() {
  stop();
  join();
  // What was accepted runs, and what that posts: but one that posts itself again and again must end somewhere.
  for (std::size_t left = impl_->options.mailbox_capacity; left > 0 && impl_->take_messages() > 0;)
    left -= std::min<std::size_t>(left, Impl::kMaxMessages);
}

Result<void> Poller::start() {
  if (impl_->running.exchange(true)) return fail(Errc::busy, "the poller runs already");
  impl_->stop_asked = false;
  try {
    impl_->thread = std::thread{[this] {
      settle_thread(impl_->options);
      if (impl_->options.thread_begins) impl_->sign = impl_->options.thread_begins();
      impl_->run_until_stopped();
      if (impl_->options.thread_ends) impl_->options.thread_ends(std::exchange(impl_->sign, nullptr));
    }};
  } catch (const std::system_error& error) {
    impl_->running = false;
    return fail(Errc::system, "cannot start a thread", error.code().value());
  }
  return {};
}

void Poller::run() {
  VMUX_ASSERT(!impl_->running.exchange(true));
  impl_->run_until_stopped();
}

void Poller::show(LifeSign* sign) noexcept { impl_->sign = sign; }

std::atomic<std::uint32_t>* Poller::burst_sign() const noexcept {
  return impl_->sign == nullptr ? nullptr : &impl_->sign->burst;
}

void Poller::stop() noexcept {
  impl_->stop_asked = true;
  wake();
}

void Poller::join() noexcept {
  if (impl_->thread.joinable()) impl_->thread.join();
}

int Poller::fd() const noexcept { return impl_->epoll.get(); }

bool Poller::run_once(std::uint64_t wait_ns) noexcept {
  impl_->owner = std::this_thread::get_id();
  const bool worked = impl_->round(wait_ns);
  impl_->set_external_alarm();
  impl_->owner = std::thread::id{};
  return worked;
}

Result<void> Poller::post(std::function<void()> message) noexcept {
  if (!impl_->mailbox.push(std::move(message))) return fail(Errc::busy, "the poller's mailbox is full");
  wake();
  return {};
}

void Poller::wake() noexcept {
  // Two exchanges meet (the other is in Impl::fall_asleep()): either this one sees the poller asleep and rings, or the
  // other one reads this one's value and with it the work that was made before.
  if (impl_->asleep.exchange(false, std::memory_order_acq_rel)) signal_eventfd(impl_->doorbell.get());
}

void Poller::post_and_wait(std::function<void()> message) {
  using namespace std::chrono_literals;
  std::promise<void> done;
  auto finished = done.get_future();
  const auto wrapped = [&] {
    message();
    done.set_value();
  };
  while (!post(wrapped))
    std::this_thread::sleep_for(1ms);
  while (finished.wait_for(20ms) != std::future_status::ready) {
    if (is_running()) continue;
    // It stopped with the message still in its box: then the mailbox is ours to empty.
    const std::lock_guard lock{impl_->stopped_drain};
    if (!is_running()) impl_->take_messages();
  }
}

bool Poller::is_running() const noexcept { return impl_->running.load(); }
bool Poller::is_own_thread() const noexcept { return impl_->owner.load() == std::this_thread::get_id(); }

Result<Watch> Poller::watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> handler) {
  return impl_->watch(*this, fd, events, std::move(handler));
}

void Poller::add_task(Task& task) { impl_->tasks.push_back(&task); }

void Poller::remove_task(Task& task) noexcept {
  std::replace(impl_->tasks.begin(), impl_->tasks.end(), &task, static_cast<Task*>(nullptr));
  impl_->tasks_changed = true;
}

const std::string& Poller::name() const noexcept { return impl_->options.name; }

PollerStats Poller::stats() const noexcept {
  return {.rounds = impl_->rounds.get(),
          .busy_rounds = impl_->busy_rounds.get(),
          .events = impl_->event_count.get(),
          .messages = impl_->message_count.get(),
          .sleeps = impl_->sleeps.get(),
          .work = impl_->work.get(),
          .keeps_awake = impl_->keeps_awake.get(),
          .busy_ns = impl_->busy_ns.get(),
          .looking_ns = impl_->looking_ns.get(),
          .asleep_ns = impl_->asleep_ns.get()};
}

std::uint64_t Poller::now_ns() const noexcept { return impl_->now; }

}  // namespace vmux::runtime
