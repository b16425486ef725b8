// SPDX-License-Identifier: BSD-3-Clause
// Pausing, saving and loading: each part fills its share of SavedState.
#include <algorithm>
#include <string>

#include "device/e810/nic.hpp"
#include "device/e810/saved_state.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/state/arena.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::device::e810 {

void Nic::pause() noexcept {
  paused_ns_ = monotonic_ns();
  reset_timer_.disarm();
  serve_timer_.disarm();
  interrupts_.pause();
  port_.set_paused(true);
  is_paused_ = true;
}

void Nic::resume() noexcept {
  is_paused_ = false;
  const std::uint64_t passed = monotonic_ns() - paused_ns_;
  if (reset_due_ns_ != 0) set_reset_due(reset_due_ns_ + passed);
  port_.set_paused(false);
  interrupts_.resume(passed);
  data_.flush();
  if (data_.is_any_stopped()) alarm_.raise();  // it may have been raised before the state was saved
  serve_all();
}

void Nic::set_reset_due(std::uint64_t when_ns) noexcept {
  reset_due_ns_ = when_ns;
  if (!is_paused_) reset_timer_.arm_at(when_ns);
}

void Nic::save(state::Writer& into) const {
  SavedState saved = saved_state();
  for (const Register& row : kRegisters) {
    if (row.access == Access::statistic) continue;
    for (std::uint32_t i = 0; i < row.count; ++i) {
      const std::uint32_t at = row.at + i * row.stride, value = registers_.get(at);
      if (value != row.reset) saved.registers.push_back({at, value});
    }
  }
  into.add(saved);
}

// Registers are in the arena, where they are newer than any image.
void Nic::save_running(state::Writer& into) {
  paused_ns_ = monotonic_ns();
  into.add(saved_state());
}

SavedState Nic::saved_state() const {
  SavedState saved;
  saved.station = identity_.mac;
  saved.link_up = firmware_.is_link_up();
  interrupts_.save(saved, paused_ns_);
  if (reset_due_ns_ != 0) saved.reset_due_ns = reset_due_ns_ - std::min(reset_due_ns_, paused_ns_);
  firmware_.save(saved);
  data_.save(saved);
  return saved;
}

// Whatever instruction the other one died at: a value that cannot be is found here, before anything goes by it.
tl::expected<void, std::string> Nic::arena_taken_over() {
  const char* const problem =
      data_.are_cursors() ? problem_of(saved_state(), data_.queues()) : "has a queue that there cannot be";
  if (problem != nullptr) {
    return tl::unexpected("what the card's process has left " + std::string{problem});
  }
  data_.cursors_taken_over();
  interrupts_.registers_taken_over();
  return {};
}

tl::expected<void, std::string> Nic::load(state::Reader& from) {
  SavedState saved;
  if (auto done = from.load(saved); !done) return done;
  if (const char* const problem = problem_of(saved, data_.queues()); problem != nullptr) {
    return tl::unexpected("the saved state's section 'e810' " + std::string{problem});
  }
  if (saved.station != identity_.mac) {
    return tl::unexpected("the saved state is of a card with another MAC address than " + options_.name);
  }
  registers_.reset(ClearedBy::core_reset);
  for (const SavedState::RegisterValue& each : saved.registers)
    registers_.set(each.at, each.value);
  interrupts_.load(saved, paused_ns_);
  reset_due_ns_ = saved.reset_due_ns ? paused_ns_ + *saved.reset_due_ns : 0;
  data_.load(saved);
  firmware_.load(saved);
  link_may_have_changed();
  if (firmware_.is_link_up() != saved.link_up) firmware_.link_changed();
  return {};
}

void InterruptUnit::pause() noexcept {
  is_paused_ = true;
  timer_.disarm();
}

void InterruptUnit::resume(std::uint64_t passed_ns) noexcept {
  is_paused_ = false;
  for (Vector& vector : vectors_) {
    if (vector.fired_ns != 0) vector.fired_ns += passed_ns;
  }
  fire_pending();
}

void InterruptUnit::save(SavedState& into, std::uint64_t now) const {
  for (std::size_t vector = 0; vector < vectors_.size(); ++vector) {
    const std::uint64_t rested = vectors_[vector].fired_ns + kLongestInterval;
    into.vectors[vector] = {rested - std::min(rested, now), vectors_[vector].causes};
  }
}

void InterruptUnit::load(const SavedState& from, std::uint64_t now) noexcept {
  for (std::size_t vector = 0; vector < vectors_.size(); ++vector) {
    const SavedState::Vector& saved = from.vectors[vector];
    vectors_[vector] = {saved.rest_ns == 0 ? 0 : now + saved.rest_ns - kLongestInterval, saved.causes};
  }
}

// Causes that the image does not have yet may have been pending, those of control queues among them.
void InterruptUnit::registers_taken_over() noexcept {
  for (const std::uint32_t control : {reg::PFINT_FW_CTL, reg::PFINT_MBX_CTL, reg::PFINT_SB_CTL})
    raise(registers_.get(control));
  if ((registers_.get(reg::PFINT_OICR) & registers_.get(reg::PFINT_OICR_ENA)) != 0) {
    raise(registers_.get(reg::PFINT_OICR_CTL));
  }
}

void DataPath::save(SavedState& into) const {
  for (std::size_t queue = 0; queue < pairs_.size(); ++queue) {
    const QueuePair& pair = *pairs_[queue];
    SavedState::QueuePair& saved = into.pairs.emplace_back();
    if (pair.tx.is_enabled()) saved.tx.queue.state = pair.tx.state();
    if (pair.rx.is_enabled()) saved.rx.queue.state = pair.rx.state();
    saved.rx.queue.has_pending = pair.rx.is_enabled() && pair.rx.has_pending();
    saved.rx.is_bufferless = is_bufferless_[queue] && !pair.rx.is_enabled();
    saved.tx.queue.totals = intel::totals_of(pair.tx.counters());
    saved.rx.queue.totals = intel::totals_of(pair.rx.counters());
  }
  for (const intel::FlowRule& rule : rules_.flows.rules())
    into.flows.push_back({rule});
}

void DataPath::restore(std::size_t queue, const intel::QueueSnapshot<intel::TxQueueConfig>& tx,
                       const intel::QueueSnapshot<intel::RxQueueConfig>& rx) noexcept {
  QueuePair& pair = *pairs_[queue];
  pair.tx.restore(tx);
  pair.rx.restore(rx);
  has_received_[queue] = rx.has_pending;
  has_any_received_ = has_any_received_ || rx.has_pending;
  if (pair.tx.is_enabled()) tx_running_.push_back(static_cast<std::uint16_t>(queue));
  if (pair.rx.is_enabled()) rx_running_.push_back(static_cast<std::uint16_t>(queue));
}

bool DataPath::are_cursors() const noexcept {
  // One that nobody has made a bool of may hold anything.
  const auto is_bool = [](const bool& value) { return reinterpret_cast<const std::uint8_t&>(value) <= 1; };
  const auto is_sane = [&](const auto& state) {
    return is_bool(state.enabled) && state.fault <= intel::Fault::frame_too_long;
  };
  return std::all_of(pairs_.begin(), pairs_.end(), [&](const auto& pair) {
    const auto& tx = pair->tx.state();
    const auto& rx = pair->rx.state();
    return is_bool(tx.config.head_writeback) && is_bool(tx.config.programs_flows) && is_bool(rx.config.wide) &&
           is_bool(rx.config.keep_crc) && is_bool(rx.config.header_split) && is_sane(tx) && is_sane(rx) &&
           pair->tx.can_take_over() && pair->rx.can_take_over();
  });
}

// Whether drivers have heard of what is done nobody knows: so they do once more.
void DataPath::cursors_taken_over() noexcept {
  tx_running_.clear();
  rx_running_.clear();
  for (std::size_t queue = 0; queue < pairs_.size(); ++queue) {
    QueuePair& pair = *pairs_[queue];
    pair.tx.take_over();
    pair.rx.take_over();
    restore(queue, {pair.tx.state(), false, intel::totals_of(pair.tx.counters())},
            {pair.rx.state(), pair.rx.has_pending(), intel::totals_of(pair.rx.counters())});
    const auto offset = static_cast<std::uint32_t>(queue) * 4;
    if (pair.rx.is_enabled()) is_bufferless_[queue] = false;
    if (pair.tx.is_enabled()) interrupts_.raise(registers_.get(reg::QINT_TQCTL + offset));
    if (pair.rx.is_enabled()) interrupts_.raise(registers_.get(reg::QINT_RQCTL + offset));
  }
  publish();
}

void DataPath::load(const SavedState& from) {
  reset();
  for (std::size_t queue = 0; queue < pairs_.size(); ++queue) {
    const SavedState::QueuePair& saved = from.pairs[queue];
    restore(queue, saved.tx.queue, saved.rx.queue);
    is_bufferless_[queue] = saved.rx.is_bufferless;
  }
  for (const SavedState::Flow& flow : from.flows)
    static_cast<void>(rules_.flows.add(flow.rule));
  publish();
}

}  // namespace vmux::device::e810
