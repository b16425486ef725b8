// SPDX-License-Identifier: BSD-3-Clause
#include "device/virtio_net/queues/lane.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace vmux::device::virtio_net {

// --- the home thread ---

void Lane::connect(virtio::Signals& signals, memory::AddressSpace& space) {
  signals_ = &signals;
  space_ = &space;
  space.attach(*this);
}

void Lane::disconnect() noexcept {
  if (space_ != nullptr) space_->detach(*this);
  space_ = nullptr;
  table_.reset();
  change([this] { hand_out_memory(); });
}

void Lane::adopt(std::shared_ptr<const memory::Table> table, std::uint64_t generation) noexcept {
  table_ = std::move(table);
  change([this] { hand_out_memory(); });
  space_->adopted(*this, generation);  // nobody uses the old one any more
}

void Lane::hand_out_memory() noexcept {
  for (QueuePair* const pair : pairs_) {
    if (pair == nullptr) continue;
    pair->tx.adopt(is_dma_on_ ? table_ : nullptr);
    pair->rx.adopt(is_dma_on_ ? table_ : nullptr);
  }
}

// Both at once: a round between the two would find queues without memory, and stop them.
void Lane::set_dma(bool enabled) noexcept {
  change([&] {
    is_dma_on_ = enabled;
    hand_out_memory();
  });
}

void Lane::set_link(bool up) noexcept {
  change([&] { is_link_up_ = up; });
}

void Lane::set_rules(std::shared_ptr<const RxRules> rules, const packet::Accepts& accepts) noexcept {
  change([&] {
    rules_ = std::move(rules);
    accepts_ = accepts;
  });
}

// Guest memory is not touched here: a queue of a saved card starts before its memory and its time have come.
void Lane::start_tx(unsigned pair, const virtio::QueueSetup& setup, const virtio::QueueState& state,
                    const FrameFormat& format) noexcept {
  change([&] {
    pairs_[pair]->tx.start(setup, state, format);
    tx_running_ |= 1u << pair;
    tx_fresh_ |= 1u << pair;
    armed_ &= ~(1u << pair);
  });
}

void Lane::start_rx(unsigned pair, const virtio::QueueSetup& setup, const virtio::QueueState& state,
                    const FrameFormat& format) noexcept {
  change([&] {
    pairs_[pair]->rx.start(setup, state, format);
    rx_running_ |= 1u << pair;
    rx_fresh_ |= 1u << pair;
  });
}

virtio::QueueState Lane::stop_tx(unsigned pair) noexcept {
  return change([&] {
    tx_running_ &= ~(1u << pair);
    tx_fresh_ &= ~(1u << pair);
    tx_unsure_ &= ~(1u << pair);
    return pairs_[pair]->tx.stop();
  });
}

virtio::QueueState Lane::stop_rx(unsigned pair) noexcept {
  return change([&] {
    rx_running_ &= ~(1u << pair);
    rx_fresh_ &= ~(1u << pair);
    rx_unsure_ &= ~(1u << pair);
    received_ &= ~(1u << pair);
    return pairs_[pair]->rx.stop();
  });
}

// RFC 903: a reverse request for the station's own address, which every bridge learns from.
void Lane::announce(const MacAddress& station) noexcept {
  constexpr std::array<std::uint8_t, 10> kReverseRequest{0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
  announcement_ = {};
  const auto put = [this](std::size_t at, const auto& bytes) {
    std::memcpy(announcement_.data() + at, bytes.data(), bytes.size());
  };
  put(0, MacAddress{0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  put(6, station);
  put(12, kReverseRequest);
  put(22, station);
  put(32, station);
  is_announcing_ = true;
  poller_.wake();
}

virtio::QueueState Lane::tx_state(unsigned pair) noexcept {
  return change([&] { return pairs_[pair]->tx.ring().state(); });
}

virtio::QueueState Lane::rx_state(unsigned pair) noexcept {
  return change([&] { return pairs_[pair]->rx.ring().state(); });
}

bool Lane::journals_taken_over() noexcept {
  return change([this] {
    for (std::uint32_t left = tx_running_ | rx_running_; left != 0; left &= left - 1) {
      const auto pair = static_cast<unsigned>(std::countr_zero(left));
      const bool sends = (tx_running_ >> pair & 1) != 0, receives = (rx_running_ >> pair & 1) != 0;
      if (sends && !pairs_[pair]->tx.ring().take_over()) return false;
      if (receives && !pairs_[pair]->rx.ring().take_over()) return false;
    }
    tx_unsure_ = tx_running_;
    rx_unsure_ = rx_running_;
    return true;
  });
}

virtio::Fault Lane::tx_fault(unsigned pair) noexcept {
  return change([&] { return pairs_[pair]->tx.ring().fault(); });
}

virtio::Fault Lane::rx_fault(unsigned pair) noexcept {
  return change([&] { return pairs_[pair]->rx.ring().fault(); });
}

void Lane::pause() noexcept {
  change([this] {
    if (is_dma_on_) tell_received();
    is_paused_ = true;
  });
}

// What was said of kicks may have been said by another, of another time.
void Lane::resume() noexcept {
  change([this] {
    is_paused_ = false;
    armed_ = 0;
    tx_fresh_ = tx_running_;
    rx_fresh_ = rx_running_;
    for (std::uint32_t left = std::exchange(rx_unsure_, 0); left != 0; left &= left - 1) {
      const auto pair = static_cast<unsigned>(std::countr_zero(left));
      signal(2 * pair, pairs_[pair]->rx.counters());
    }
    for (std::uint32_t left = std::exchange(tx_unsure_, 0); left != 0; left &= left - 1) {
      const auto pair = static_cast<unsigned>(std::countr_zero(left));
      signal(2 * pair + 1, pairs_[pair]->tx.counters());
    }
  });
}

// --- its poller ---

// Tells the drivers of queues that have just started what to tell of: nothing. Received frames are not waited for by
// looking for chains, and those to be sent are looked for, or asked for when nothing is found.
void Lane::settle() noexcept {
  for (; rx_fresh_ != 0; rx_fresh_ &= rx_fresh_ - 1)
    pairs_[static_cast<unsigned>(std::countr_zero(rx_fresh_))]->rx.ring().refuse_kicks();
  for (; tx_fresh_ != 0; tx_fresh_ &= tx_fresh_ - 1)
    pairs_[static_cast<unsigned>(std::countr_zero(tx_fresh_))]->tx.ring().refuse_kicks();
}

void Lane::begin_round() noexcept {
  if (is_home_) {
    at_home_();
  } else {
    gate_.enter();
  }
  is_in_round_ = true;
}

void Lane::end_round() noexcept {
  if (is_open()) tell_received();
  is_in_round_ = false;
  if (!is_home_) gate_.leave();
}

std::size_t Lane::take(std::span<packet::FrameView> into) noexcept {
  if (!is_open() || into.empty()) return 0;
  if (is_announcing_) [[unlikely]] {
    into[0] = packet::FrameView{.header = announcement_, .payload = {}, .length = sizeof announcement_, .offload = {}};
    has_announced_ = true;
    return 1;
  }
  return peek(into);
}

// A driver that has been told to be silent is asked to tell before its poller may sleep.
std::size_t Lane::peek(std::span<packet::FrameView> into) noexcept {
  if ((tx_fresh_ | rx_fresh_) != 0) [[unlikely]]
    settle();
  if (const std::size_t count = peek_next(tx_running_, into); count > 0) return count;
  if (is_mapped_) return 0;
  const std::uint32_t found = arm();
  return found == 0 ? 0 : peek_next(found, into);
}

// Queues take turns: one of them fills a burst.
std::size_t Lane::peek_next(std::uint32_t queues, std::span<packet::FrameView> into) noexcept {
  while (queues != 0) {
    const std::uint32_t later = queues & ~((2u << last_queue_) - 1);
    last_queue_ = static_cast<std::uint32_t>(std::countr_zero(later != 0 ? later : queues));
    const std::uint32_t bit = 1u << last_queue_;
    queues &= ~bit;
    TxQueue& tx = pairs_[last_queue_]->tx;
    const std::size_t count = tx.peek(into);
    if (count == 0) continue;
    if ((armed_ & bit) != 0) tx.ring().refuse_kicks();
    armed_ &= ~bit;
    return count;
  }
  return 0;
}

// Those that have got something meanwhile.
std::uint32_t Lane::arm() noexcept {
  std::uint32_t found = 0;
  for (std::uint32_t left = tx_running_ & ~armed_; left != 0; left &= left - 1) {
    const auto pair = static_cast<unsigned>(std::countr_zero(left));
    if (pairs_[pair]->tx.ring().ask_for_kicks()) found |= 1u << pair;
    armed_ |= 1u << pair;
  }
  return found;
}

void Lane::finish(std::span<const port::FrameResult> results) noexcept {
  if (results.empty()) return;  // of a lane that has sent nothing yet there is no last queue
  if (std::exchange(has_announced_, false)) [[unlikely]] {
    is_announcing_ = false;
    return;
  }
  TxQueue& tx = pairs_[last_queue_]->tx;
  if (tx.complete(results.size())) signal(2 * last_queue_ + 1, tx.counters());
}

void Lane::signal(unsigned queue, QueueCounters& counters) noexcept {
  counters.interrupts.add();
  signals_->queue_used(queue);
}

port::Delivery Lane::deliver(std::span<const packet::FrameView> frames) noexcept {
  port::Delivery done;
  if (!is_open() || !can_receive()) return done;
  frames = frames.first(std::min(frames.size(), infos_.size()));
  steer(*rules_, frames, infos_);
  std::size_t at = 0;
  while (at < frames.size()) {  // runs of frames for one queue
    const std::uint16_t queue = infos_[at].queue;
    std::size_t end = at + 1;
    while (end < frames.size() && infos_[end].queue == queue)
      ++end;
    if (queue != RxInfo::kNobody) {
      deliver_run(queue, frames.first(end), at, done);
    }
    at = end;
  }
  done.taken = frames.size();
  return done;
}

void Lane::deliver_run(unsigned queue, std::span<const packet::FrameView> frames, std::size_t first,
                       port::Delivery& done) noexcept {
  const unsigned target = target_of(queue);
  const RxQueue::Delivered here =
      pairs_[target]->rx.deliver(frames.subspan(first), std::span{infos_}.subspan(first), accepts_);
  if (here.taken > 0) received_ |= 1u << target;
  for (std::uint32_t left = here.lost_at; left != 0; left &= left - 1) {
    const std::size_t at = first + static_cast<std::size_t>(std::countr_zero(left));
    done.lose(port::DropReason::too_long, frames[at].length, at);
  }
  // What one queue has no room for must not keep the others from theirs.
  for (std::size_t at = first + here.taken; at < frames.size(); ++at)
    done.lose(port::DropReason::no_room, frames[at].length, at);
}

void Lane::tell_received() noexcept {
  for (; received_ != 0; received_ &= received_ - 1) {
    const auto pair = static_cast<unsigned>(std::countr_zero(received_));
    RxQueue& rx = pairs_[pair]->rx;
    if (rx.flush()) signal(2 * pair, rx.counters());
  }
}

packet::Accepts Lane::accepts() const noexcept {
  return inside([this] { return accepts_; });
}

bool Lane::needs_polling() const noexcept {
  return inside([this] { return is_mapped_ && is_dma_on_ && !is_paused_ && tx_running_ != 0; });
}

bool Lane::is_ready() const noexcept {
  return inside([this] { return is_open() && can_receive(); });
}

}  // namespace vmux::device::virtio_net
