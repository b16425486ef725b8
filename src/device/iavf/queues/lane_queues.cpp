// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/queues/lane_queues.hpp"

#include <algorithm>
#include <bit>

namespace vmux::device::iavf {

void LaneQueues::set_tx_enabled(unsigned queue, bool enabled) noexcept {
  const std::uint32_t bit = 1u << queue;
  tx_enabled_ = enabled ? tx_enabled_ | bit : tx_enabled_ & ~bit;
  enabled ? pairs_[queue]->tx.enable() : pairs_[queue]->tx.disable();
}

void LaneQueues::set_rx_enabled(unsigned queue, bool enabled) noexcept {
  const std::uint32_t bit = 1u << queue;
  rx_enabled_ = enabled ? rx_enabled_ | bit : rx_enabled_ & ~bit;
  received_ &= ~bit;
  enabled ? pairs_[queue]->rx.enable() : pairs_[queue]->rx.disable();
  fallback_queue_ = rx_enabled_ == 0 ? 0 : static_cast<std::size_t>(std::countr_zero(rx_enabled_));
}

void LaneQueues::set_rules(const std::shared_ptr<const intel::RxRules>& rules,
                           const packet::Accepts& accepts) noexcept {
  rules_ = rules;
  accepts_ = accepts;
}

void LaneQueues::reset() noexcept {
  for (QueuePair* const pair : pairs_) {
    if (pair == nullptr) continue;
    pair->tx.disable();
    pair->rx.disable();
    pair->has_tx = pair->has_rx = false;
    pair->tx_vector = pair->rx_vector = {};
  }
  tx_enabled_ = rx_enabled_ = received_ = 0;
  fallback_queue_ = 0;
  interrupts_.reset();
}

void LaneQueues::resume() noexcept {
  raise_received();
  interrupts_.resume();
}

void LaneQueues::restore(unsigned queue, const intel::QueueSnapshot<intel::TxQueueConfig>& tx,
                         const intel::QueueSnapshot<intel::RxQueueConfig>& rx) noexcept {
  set_tx_enabled(queue, tx.state.enabled);
  set_rx_enabled(queue, rx.state.enabled);
  pairs_[queue]->tx.restore(tx);
  pairs_[queue]->rx.restore(rx);
  if (rx.has_pending) received_ |= 1u << queue;
}

void LaneQueues::cursors_taken_over(unsigned queue) noexcept {
  QueuePair& pair = *pairs_[queue];
  pair.tx.take_over();
  pair.rx.take_over();
  restore(queue, {pair.tx.state(), false, intel::totals_of(pair.tx.counters())},
          {pair.rx.state(), pair.rx.has_pending(), intel::totals_of(pair.rx.counters())});
  // Whether their driver has heard of what is done nobody knows: so it does once more.
  if (pair.tx.is_enabled() && pair.tx_vector.vector != VectorChoice::kNone)
    interrupts_.raise(pair.tx_vector.vector, pair.tx_vector.itr);
  if (pair.rx.is_enabled() && pair.rx_vector.vector != VectorChoice::kNone)
    interrupts_.raise(pair.rx_vector.vector, pair.rx_vector.itr);
}

// Queues take turns: one of them fills a burst.
std::size_t LaneQueues::take(std::span<packet::FrameView> into) noexcept {
  std::uint32_t left = tx_enabled_;
  while (left != 0) {
    const std::uint32_t later = left & ~((2u << last_queue_) - 1);
    last_queue_ = static_cast<std::uint32_t>(std::countr_zero(later != 0 ? later : left));
    left &= ~(1u << last_queue_);
    const std::size_t count = pairs_[last_queue_]->tx.peek(into, tail_of(reg::QTX_TAIL1, last_queue_), rules_->vlan);
    if (count > 0) return count;
  }
  return 0;
}

void LaneQueues::finish(std::span<const port::FrameResult> results) noexcept {
  QueuePair& pair = *pairs_[last_queue_];
  if (!pair.tx.complete(results.size()) || pair.tx_vector.vector == VectorChoice::kNone) return;
  interrupts_.raise(pair.tx_vector.vector, pair.tx_vector.itr);
  interrupts_.service();
}

port::Delivery LaneQueues::deliver(std::span<const packet::FrameView> frames) noexcept {
  frames = frames.first(std::min(frames.size(), infos_.size()));
  intel::steer(*rules_, frames, infos_);
  port::Delivery done;
  std::size_t at = 0;
  while (at < frames.size()) {  // runs of frames for one queue
    const std::uint16_t queue = infos_[at].queue;
    std::size_t end = at + 1;
    while (end < frames.size() && infos_[end].queue == queue)
      ++end;
    if (queue != intel::RxInfo::kNobody) {
      const std::size_t target = target_of(queue);
      const std::size_t count = end - at;
      const std::size_t taken = pairs_[target]->rx.deliver(
          frames.subspan(at, count), std::span{infos_}.subspan(at, count), accepts_, tail_of(reg::QRX_TAIL1, target));
      if (taken > 0) received_ |= 1u << target;
      // What one queue has no room for must not keep the others from theirs.
      if (taken < count && end == frames.size()) {
        done.taken = at + taken;
        return done;
      }
      for (std::size_t i = at + taken; i < end; ++i)
        done.lose(port::DropReason::no_room, frames[i].length, i);
    }
    at = end;
  }
  done.taken = frames.size();
  return done;
}

void LaneQueues::end_round() noexcept {
  if (received_ == 0) return;
  raise_received();
  interrupts_.service();
}

void LaneQueues::raise_received() noexcept {
  for (std::uint32_t left = received_; left != 0; left &= left - 1) {
    QueuePair& pair = *pairs_[static_cast<unsigned>(std::countr_zero(left))];
    if (pair.rx.flush() && pair.rx_vector.vector != VectorChoice::kNone) {
      interrupts_.raise(pair.rx_vector.vector, pair.rx_vector.itr);
    }
  }
  received_ = 0;
}

}  // namespace vmux::device::iavf
