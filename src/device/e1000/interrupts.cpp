// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/interrupts.hpp"

#include <algorithm>

#include "device/e1000/saved_state.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint64_t kItrUnit = 256;     // ns, 13.4.18
constexpr std::uint64_t kDelayUnit = 1024;  // ns: RDTR, RADV, TIDV, TADV
// Delayed reports of transmission wait at least this long. On a part the wire paces them; here a frame is gone at once,
// and an interrupt costs a VM several exits just when the answer is on its way. Most reports are told with the next
// receive interrupt instead, and the transmitter does not let them wait when its ring fills up. Who gets answers waits
// longer, as an emulated peer takes a millisecond to answer; who sends without being answered must not: Linux holds
// back what exceeds its queue limit until the report.
constexpr std::uint64_t kReportDelay = 400'000;            // ns
constexpr std::uint64_t kReportDelayAnswered = 3'000'000;  // ns; a later answer is none

// The longest that the timers run (both registers have 16 bits), and what a saved one may say at most.
constexpr std::uint64_t kLongestItr = 0xffff * kItrUnit, kLongestDelay = 0xffff * kDelayUnit;  // ns
constexpr std::uint64_t kLongestDue = kLongestDelay + kReportDelayAnswered;                    // ns

/// A packet timer that restarts with each event, bounded by an absolute one from the first (3.2.7.1.1-3.2.7.1.2).
std::uint64_t deadline(std::uint64_t now, std::uint64_t first, std::uint32_t packet, std::uint32_t absolute) noexcept {
  const std::uint64_t due = now + packet * kDelayUnit;
  return absolute == 0 ? due : std::min(due, first + absolute * kDelayUnit);
}

}  // namespace

InterruptUnit::InterruptUnit(State& state, Registers& registers, NicCounters& counters, runtime::Poller& poller)
    : state_(state), registers_(registers), counters_(counters), timer_(poller, [this] { expired(); }) {}

void InterruptUnit::raise(std::uint32_t causes) noexcept {
  state_.icr |= causes;
  const bool is_told_already = is_asserted_;  // and the driver has yet to read ICR: update() would find nothing to do
  if (!is_told_already) update();
  if (is_told_already || !is_asserted_) counters_.interrupts_suppressed.add();
}

void InterruptUnit::transmit_done(bool immediate, bool delayed) noexcept {
  const std::uint32_t packet = registers_.get(reg::TIDV);
  if (immediate || (delayed && packet == 0)) {
    tx_due_ns_ = 0;
    return raise(icr::TXDW);
  }
  if (!delayed) return;
  const std::uint64_t now = monotonic_ns();
  if (tx_due_ns_ == 0) tx_first_ns_ = now;
  if (unanswered_ns_ == 0) unanswered_ns_ = now;
  tx_due_ns_ = std::max(deadline(now, tx_first_ns_, packet & 0xffff, registers_.get(reg::TADV) & 0xffff),
                        tx_first_ns_ + report_delay());
  arm(0);
}

std::uint64_t InterruptUnit::report_delay() const noexcept {
  return is_answered_ ? kReportDelayAnswered : kReportDelay;
}

// A report that was told before its answer came is judged as well: else nobody would ever learn that waiting pays.
void InterruptUnit::learn_from_answer(std::uint64_t now) noexcept {
  if (unanswered_ns_ == 0) return;
  is_answered_ = now - unanswered_ns_ < kReportDelayAnswered;
  unanswered_ns_ = 0;
}

void InterruptUnit::receive_done() noexcept {
  if (unanswered_ns_ != 0) learn_from_answer(monotonic_ns());
  const std::uint32_t packet = registers_.get(reg::RDTR) & 0xffff;
  if (packet == 0) {
    rx_due_ns_ = 0;
    return raise(icr::RXT0);
  }
  const std::uint64_t now = monotonic_ns();
  if (rx_due_ns_ == 0) rx_first_ns_ = now;
  rx_due_ns_ = deadline(now, rx_first_ns_, packet, registers_.get(reg::RADV) & 0xffff);
  arm(0);
}

// What was written back already is told with whatever interrupt comes first: one interrupt less, nothing untrue.
void InterruptUnit::take_delayed() noexcept {
  if (tx_due_ns_ != 0) state_.icr |= icr::TXDW;
  if (rx_due_ns_ != 0) state_.icr |= icr::RXT0;
  tx_due_ns_ = rx_due_ns_ = 0;
}

void InterruptUnit::update() noexcept {
  if (line_ == nullptr) return;
  if ((state_.icr & state_.ims) == 0) {
    if (is_asserted_) line_->set_level(false);
    is_asserted_ = false;
    return;
  }
  if (is_asserted_) return;  // the driver has yet to read ICR: nothing new to tell it
  const std::uint64_t now = monotonic_ns();
  const std::uint64_t allowed = asserted_ns_ + (registers_.get(reg::ITR) & 0xffff) * kItrUnit;
  if (now < allowed) return arm(allowed);
  take_delayed();
  asserted_ns_ = now;
  is_asserted_ = true;
  counters_.interrupts.add();
  line_->set_level(true);
}

void InterruptUnit::arm(std::uint64_t line_allowed_ns) noexcept {
  std::uint64_t due = line_allowed_ns;
  for (const std::uint64_t other : {tx_due_ns_, rx_due_ns_}) {
    if (other != 0 && (due == 0 || other < due)) due = other;
  }
  if (due != 0) timer_.arm_at(due);
}

void InterruptUnit::expired() noexcept {
  const std::uint64_t now = monotonic_ns();
  if (tx_due_ns_ != 0 && tx_due_ns_ <= now) {
    state_.icr |= icr::TXDW;
    tx_due_ns_ = 0;
    is_answered_ = false;
  }
  if (rx_due_ns_ != 0 && rx_due_ns_ <= now) {
    state_.icr |= icr::RXT0;
    rx_due_ns_ = 0;
  }
  update();
  if (!timer_.is_armed()) arm(0);
}

std::uint32_t InterruptUnit::read_icr() noexcept {
  take_delayed();
  const std::uint32_t value = state_.icr;
  state_.icr = 0;
  update();
  return value;
}

void InterruptUnit::write_icr(std::uint32_t clear) noexcept {
  state_.icr &= ~clear;
  update();
}

void InterruptUnit::write_ims(std::uint32_t set) noexcept {
  state_.ims |= set & icr::kImplemented;
  update();
}

void InterruptUnit::write_imc(std::uint32_t clear) noexcept {
  state_.ims &= ~clear;
  update();
}

void InterruptUnit::reset() noexcept {
  timer_.disarm();
  tx_due_ns_ = rx_due_ns_ = 0;
  state_.icr = state_.ims = 0;
  asserted_ns_ = unanswered_ns_ = 0;
  is_answered_ = false;
  update();
}

void InterruptUnit::pulse() noexcept {
  if (line_ == nullptr || is_asserted_) return;
  line_->set_level(true);
  line_->set_level(false);
}

void InterruptUnit::note_time() noexcept { paused_ns_ = monotonic_ns(); }

void InterruptUnit::pause() noexcept {
  note_time();
  timer_.disarm();
  line_ = nullptr;
}

void InterruptUnit::resume() noexcept {
  line_ = connected_;
  const std::uint64_t passed = monotonic_ns() - paused_ns_;
  for (std::uint64_t* const time : {&asserted_ns_, &tx_due_ns_, &tx_first_ns_, &rx_due_ns_, &rx_first_ns_}) {
    if (*time != 0) *time += passed;
  }
  unanswered_ns_ = 0;
  if (line_ != nullptr && is_asserted_) line_->set_level(true);
  update();
  if (!timer_.is_armed()) arm(0);
}

void InterruptUnit::save(SavedState& into) const {
  const auto left = [this](std::uint64_t until) { return until - std::min(until, paused_ns_); };
  const auto delay = [&](std::uint64_t due, std::uint64_t first) -> std::optional<SavedState::Delay> {
    if (due == 0) return std::nullopt;
    return SavedState::Delay{std::min(left(due), kLongestDue), left(first + kLongestDelay)};
  };
  into.icr = state_.icr;
  into.ims = state_.ims;
  into.is_asserted = is_asserted_;
  into.is_answered = is_answered_;
  into.line_rest_ns = asserted_ns_ == 0 ? 0 : left(asserted_ns_ + kLongestItr);
  into.tx_delay = delay(tx_due_ns_, tx_first_ns_);
  into.rx_delay = delay(rx_due_ns_, rx_first_ns_);
}

bool InterruptUnit::can_be(const SavedState& saved) noexcept {
  const auto fits = [](const std::optional<SavedState::Delay>& delay) {
    return !delay || (delay->due_ns <= kLongestDue && delay->longest_ns <= kLongestDelay);
  };
  return saved.line_rest_ns <= kLongestItr && fits(saved.tx_delay) && fits(saved.rx_delay);
}

void InterruptUnit::load(const SavedState& from) noexcept {
  state_.icr = from.icr;
  state_.ims = from.ims;
  is_asserted_ = from.is_asserted;
  is_answered_ = from.is_answered;
  asserted_ns_ = from.line_rest_ns == 0 ? 0 : paused_ns_ + from.line_rest_ns - kLongestItr;
  tx_due_ns_ = rx_due_ns_ = 0;
  if (from.tx_delay) {
    tx_due_ns_ = paused_ns_ + from.tx_delay->due_ns;
    tx_first_ns_ = paused_ns_ + from.tx_delay->longest_ns - kLongestDelay;
  }
  if (from.rx_delay) {
    rx_due_ns_ = paused_ns_ + from.rx_delay->due_ns;
    rx_first_ns_ = paused_ns_ + from.rx_delay->longest_ns - kLongestDelay;
  }
}

}  // namespace vmux::device::e1000
