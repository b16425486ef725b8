// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/interrupts.hpp"

#include <algorithm>

namespace vmux::device::e810 {
namespace {

constexpr std::uint64_t kItrUnit = 2000;  // ns, GLINT_ITR.INTERVAL
constexpr std::uint64_t kNever = ~std::uint64_t{0};

std::uint32_t control_register(unsigned vector) noexcept { return reg::GLINT_DYN_CTL + vector * 4; }
std::uint32_t itr_register(unsigned vector, unsigned itr) noexcept {
  return reg::GLINT_ITR + itr * reg::GLINT_ITR_STRIDE + vector * 4;
}

}  // namespace

InterruptUnit::InterruptUnit(Registers& registers, NicCounters& counters, runtime::Poller& poller)
    : registers_(registers), counters_(counters), poller_(poller), timer_(poller, [this] { fire_pending(); }) {}

void InterruptUnit::raise(unsigned vector, std::uint32_t itr) noexcept {
  if (vector >= vectors_.size()) return;
  if (vectors_[vector].causes != 0) counters_.interrupts_suppressed.add();
  vectors_[vector].causes = static_cast<std::uint8_t>(vectors_[vector].causes | 1u << itr);
  is_any_pending_ = true;
}

void InterruptUnit::raise_other(std::uint32_t causes) noexcept {
  registers_.set(reg::PFINT_OICR, registers_.get(reg::PFINT_OICR) | causes);
  if ((registers_.get(reg::PFINT_OICR_ENA) & causes) == 0) return;
  raise(registers_.get(reg::PFINT_OICR_CTL));
  service();
}

std::uint32_t InterruptUnit::read_other() noexcept {
  const std::uint32_t value = registers_.get(reg::PFINT_OICR);
  registers_.set(reg::PFINT_OICR, 0);
  return value;
}

void InterruptUnit::other_enabled(std::uint32_t value) noexcept {
  registers_.set(reg::PFINT_OICR_ENA, value);
  if ((registers_.get(reg::PFINT_OICR) & value) == 0) return;
  raise(registers_.get(reg::PFINT_OICR_CTL));
  service();
}

/// INTERVAL sets the ITR that ITR_INDX names; a software trigger is a cause like others.
void InterruptUnit::control_written(unsigned vector, std::uint32_t value) noexcept {
  const std::uint32_t at = control_register(vector);
  if (dyn_ctl::intena_msk::is_set(value)) {
    value = dyn_ctl::intena_msk::set(dyn_ctl::intena::set(value, dyn_ctl::intena::get(registers_.get(at))), 0);
  }
  const std::uint32_t itr = dyn_ctl::itr_indx::get(value);
  if (itr != kNoItr) registers_.set(itr_register(vector, itr), dyn_ctl::interval::get(value));
  // CLEARPBA together with INTENA does not take away what has arrived after the driver's last look at its rings; an
  // interrupt too many is harmless.
  if (dyn_ctl::clearpba::is_set(value) && !dyn_ctl::intena::is_set(value)) vectors_[vector].causes = 0;
  if (dyn_ctl::swint_trig::is_set(value)) {
    const std::uint32_t other = registers_.get(reg::PFINT_OICR_CTL);
    if (cause::cause_ena::is_set(other) && cause::msix_indx::get(other) == vector) {
      registers_.set(reg::PFINT_OICR, registers_.get(reg::PFINT_OICR) | oicr::SWINT);
    }
    raise(vector, dyn_ctl::sw_itr_indx_ena::is_set(value) ? dyn_ctl::sw_itr_indx::get(value) : kNoItr);
  }
  registers_.set(at, dyn_ctl::swint_trig::set(dyn_ctl::clearpba::set(value, 0), 0));
  is_any_pending_ |= vectors_[vector].causes != 0;
  service();
}

/// The shortest interval of what is pending on this vector.
std::uint64_t InterruptUnit::interval_ns(unsigned vector) const noexcept {
  std::uint64_t shortest = kNever;
  for (unsigned itr = 0; itr < kItrs; ++itr) {
    if ((vectors_[vector].causes >> itr & 1) == 0) continue;
    shortest = std::min<std::uint64_t>(shortest, (registers_.get(itr_register(vector, itr)) & 0xfff) * kItrUnit);
  }
  return (vectors_[vector].causes >> kNoItr & 1) != 0 || shortest == kNever ? 0 : shortest;
}

/// Fires when the driver listens and the time has come; otherwise tells when to look again.
std::uint64_t InterruptUnit::fire(unsigned vector, std::uint64_t now) noexcept {
  Vector& state = vectors_[vector];
  const std::uint32_t at = control_register(vector), control = registers_.get(at);
  if (!dyn_ctl::intena::is_set(control)) return kNever;
  const std::uint64_t due = state.fired_ns + interval_ns(vector);
  if (now < due) return due;
  registers_.set(at, dyn_ctl::intena::set(control, 0));
  state = {now, 0};
  counters_.interrupts.add();
  if (sinks_ != nullptr) static_cast<void>(sinks_->trigger(vector));
  return kNever;
}

void InterruptUnit::fire_pending() noexcept {
  if (is_paused_) return;
  const std::uint64_t now = poller_.now_ns();
  std::uint64_t next = kNever;
  is_any_pending_ = false;
  for (unsigned vector = 0; vector < vectors_.size(); ++vector) {
    if (vectors_[vector].causes == 0) continue;
    const std::uint64_t due = fire(vector, now);
    next = std::min(next, due);
  }
  // One that is pending while INTENA is off needs no look: the write of INTENA comes by message.
  if (next == kNever || (timer_.is_armed() && armed_for_ns_ <= next)) return;
  armed_for_ns_ = next;
  timer_.arm_at(next);
}

void InterruptUnit::reset() noexcept {
  timer_.disarm();
  vectors_ = {};
  is_any_pending_ = false;
}

}  // namespace vmux::device::e810
