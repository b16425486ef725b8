// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/interrupts.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace vmux::device::iavf {
namespace {

constexpr std::uint64_t kItrUnit = 2000;  // ns, VFINT_ITRN1.INTERVAL

// A driver that polls its rings re-arms when it has found nothing. It may do so just when the poller begins to sleep,
// so a vector with news is looked at again after this long, at first and at last. A driver that has not armed until
// then may never do so (DPDK's does not): from there on the poller's own rounds look, and no timer keeps it awake.
constexpr std::uint64_t kLastRearmPoll_ns = 500'000;  // ns; kFirstRearmPoll_ns is at first
constexpr std::uint64_t kNever = ~std::uint64_t{0};

std::uint32_t itr_register(unsigned vector, unsigned itr) noexcept {
  return vector == 0 ? reg::VFINT_ITR01 + itr * 4 : reg::itrn1(itr, vector - 1);
}

}  // namespace

void InterruptUnit::raise_admin(std::uint32_t cause) noexcept {
  registers_.set(reg::VFINT_ICR01, registers_.get(reg::VFINT_ICR01) | cause);
  unreported_ |= cause;
  if ((registers_.get(reg::VFINT_ICR0_ENA1) & cause) == 0) return;
  raise(0, kNoItr);
  fire_pending();
}

std::uint32_t InterruptUnit::read_icr01() noexcept {
  const std::uint32_t value = registers_.get(reg::VFINT_ICR01);
  registers_.set(reg::VFINT_ICR01, 0);
  return value;
}

// A cause that has been told stays in ICR01 until that is read, and DPDK's driver never reads it: enabling it again
// must not tell it again.
void InterruptUnit::write_icr0_ena(std::uint32_t value) noexcept {
  registers_.set(reg::VFINT_ICR0_ENA1, value);
  if ((unreported_ & registers_.get(reg::VFINT_ICR01) & value) == 0) return;
  raise(0, kNoItr);
  fire_pending();
}

/// INTERVAL sets the ITR that ITR_INDX names; a software trigger is news. Each written value counts once, for the unit
/// that is the first to see it.
void InterruptUnit::consume_control_write(unsigned vector, std::uint32_t control) noexcept {
  const std::uint32_t seen = states_.seen(vector);
  if (control == seen || !states_.replace_seen(vector, seen, control)) return;
  const auto itr = static_cast<unsigned>(dyn_ctl::itr_indx::get(control));
  if (itr != kNoItr) registers_.set(itr_register(vector, itr), dyn_ctl::interval::get(control));
  if (dyn_ctl::swint_trig::is_set(control)) {
    raise(vector, dyn_ctl::sw_itr_indx_ena::is_set(control) ? dyn_ctl::sw_itr_indx::get(control) : kNoItr);
  }
  // CLEARPBA together with INTENA is not obeyed: it would take away the news that arrived after the driver's last look
  // at its rings, and an interrupt too many is harmless.
  if (dyn_ctl::clearpba::is_set(control) && !dyn_ctl::intena::is_set(control)) {
    pending_ &= ~(1u << vector);
    causes_[vector] = 0;
  }
}

void InterruptUnit::control_written(unsigned vector, std::uint32_t value) noexcept {
  const std::uint32_t at = control_register(vector);
  if (dyn_ctl::intena_msk::is_set(value)) {
    value = dyn_ctl::intena_msk::set(dyn_ctl::intena::set(value, dyn_ctl::intena::get(registers_.get(at))), 0);
  }
  registers_.set(at, value);
  control_changed(vector);
}

void InterruptUnit::control_changed(unsigned vector) noexcept {
  states_.set_seen(vector, ~registers_.get(control_register(vector)));  // written is new, even if it is the same value
  consume_control_write(vector, registers_.get(control_register(vector)));
  if (pending_ != 0) fire_pending();
}

/// The shortest interval of what has news on this vector.
std::uint64_t InterruptUnit::interval_ns(unsigned vector) const noexcept {
  std::uint64_t shortest = kNever;
  for (unsigned itr = 0; itr < kItrs; ++itr) {
    if ((causes_[vector] >> itr & 1) == 0) continue;
    shortest = std::min<std::uint64_t>(shortest, (registers_.get(itr_register(vector, itr)) & 0xfff) * kItrUnit);
  }
  return (causes_[vector] >> kNoItr & 1) != 0 || shortest == kNever ? 0 : shortest;
}

/// Tells the driver, when it listens and its time has come. Otherwise when to look again.
std::uint64_t InterruptUnit::fire(unsigned vector, std::uint64_t now) noexcept {
  const std::uint32_t at = control_register(vector);
  const std::uint32_t control = registers_.get(at);
  consume_control_write(vector, control);
  if ((pending_ >> vector & 1) == 0) return kNever;
  // INTENA_MSK in mapped memory: the driver left INTENA as it was, which nobody knows any more.
  if (!dyn_ctl::intena::is_set(control) && !dyn_ctl::intena_msk::is_set(control)) {
    return (vector == 0 && is_home_) || rearm_poll_ns_ > kLastRearmPoll_ns ? kNever : now + rearm_poll_ns_;
  }
  const std::uint64_t due = states_.fired_ns(vector) + interval_ns(vector);
  if (now < due) return due;
  std::uint32_t fired = dyn_ctl::intena_msk::set(dyn_ctl::intena::set(control, 0), 0);
  fired = dyn_ctl::swint_trig::set(dyn_ctl::clearpba::set(fired, 0), 0);
  if (!registers_.replace(at, control, fired)) return now;  // the driver writes right now: look again
  states_.set_fired_ns(vector, now);
  static_cast<void>(states_.replace_seen(vector, control, fired));
  pending_ &= ~(1u << vector);
  causes_[vector] = 0;
  if (vector == 0) unreported_ = 0;
  rearm_poll_ns_ = kFirstRearmPoll_ns;
  counters_.sent.add();
  if (vectors_ != nullptr) static_cast<void>(vectors_->trigger(vector));
  return kNever;
}

void InterruptUnit::fire_pending() noexcept {
  if (is_paused_) return;
  const std::uint64_t now = poller_.now_ns();
  std::uint64_t next = kNever;
  for (std::uint32_t left = pending_; left != 0; left &= left - 1)
    next = std::min(next, fire(static_cast<unsigned>(std::countr_zero(left)), now));
  if (next != kNever) wake_at(next);
}

void InterruptUnit::wake_at(std::uint64_t when) noexcept {
  if (!timer_) timer_.emplace(poller_, on_timer_);
  if (timer_->is_armed() && armed_for_ns_ <= when) return;
  armed_for_ns_ = when;
  timer_->arm_at(when);
}

void InterruptUnit::expired() noexcept {
  if (rearm_poll_ns_ <= kLastRearmPoll_ns) rearm_poll_ns_ *= 2;
  fire_pending();
}

void InterruptUnit::look_for_software_triggers() noexcept {
  if (!is_home_) return;
  for (unsigned vector = 1; vector < kVectors; ++vector)
    consume_control_write(vector, registers_.get(control_register(vector)));
  if (pending_ != 0) fire_pending();
}

// By the home thread: the timer of another lane's unit stays as it is and will find nothing.
void InterruptUnit::reset() noexcept {
  if (is_home_ && timer_) timer_->disarm();
  pending_ = unreported_ = 0;
  causes_ = {};
  rearm_poll_ns_ = kFirstRearmPoll_ns;
  for (unsigned vector = 0; is_home_ && vector < kVectors; ++vector) {
    states_.set_seen(vector, 0);
    states_.set_fired_ns(vector, 0);
  }
}

}  // namespace vmux::device::iavf
