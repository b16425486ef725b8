// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/data_path.hpp"

#include <algorithm>
#include <bit>

namespace vmux::device::iavf {

DataPath::DataPath(Registers& registers, InterruptUnit& interrupts, port::PortCounters& port, const char* name,
                   unsigned pairs)
    : registers_(registers), interrupts_(interrupts), port_(port) {
  for (unsigned index = 0; index < pairs; ++index)
    pairs_.push_back(std::make_unique<Pair>(name, index));
  publish();
}

void DataPath::connect(pci::Function& function) {
  for (const auto& pair : pairs_) {
    function.attach(pair->tx.memory());
    function.attach(pair->rx.memory());
  }
}

void DataPath::disconnect(pci::Function& function) noexcept {
  for (const auto& pair : pairs_) {
    function.detach(pair->tx.memory());
    function.detach(pair->rx.memory());
  }
}

bool DataPath::may_configure(unsigned queue) const noexcept {
  return queue < pairs_.size() && ((tx_enabled_ | rx_enabled_) >> queue & 1) == 0;
}

bool DataPath::configure_tx(unsigned queue, const TxQueueConfig& config) noexcept {
  if (queue >= pairs_.size() || (tx_enabled_ >> queue & 1) != 0) return false;
  pairs_[queue]->tx.configure(config);
  pairs_[queue]->has_tx = true;
  registers_.set(reg::QTX_TAIL1 + queue * 4, 0);  // a driver that has not yet seen a reset may have gone on writing it
  return true;
}

bool DataPath::configure_rx(unsigned queue, const RxQueueConfig& config) noexcept {
  if (queue >= pairs_.size() || (rx_enabled_ >> queue & 1) != 0) return false;
  pairs_[queue]->rx.configure(config);
  pairs_[queue]->has_rx = true;
  return true;
}

// Tails fall back to 0 when a queue stops. Linux writes the receive tail before it sends the set-up of the ring, and
// the transmit tail with its first frame only, so neither configuring nor enabling is the time for it.
bool DataPath::set_tx_enabled(unsigned queue, bool enabled) noexcept {
  Pair& pair = *pairs_[queue];
  if (enabled && !pair.has_tx) return false;
  const std::uint32_t bit = 1u << queue;
  tx_enabled_ = enabled ? tx_enabled_ | bit : tx_enabled_ & ~bit;
  enabled ? pair.tx.enable() : pair.tx.disable();
  if (!enabled) registers_.set(reg::QTX_TAIL1 + queue * 4, 0);
  return true;
}

bool DataPath::set_rx_enabled(unsigned queue, bool enabled) noexcept {
  Pair& pair = *pairs_[queue];
  if (enabled && !pair.has_rx) return false;
  const std::uint32_t bit = 1u << queue;
  rx_enabled_ = enabled ? rx_enabled_ | bit : rx_enabled_ & ~bit;
  received_ &= ~bit;
  enabled ? pair.rx.enable() : pair.rx.disable();
  if (!enabled) registers_.set(reg::QRX_TAIL1 + queue * 4, 0);
  draft_.queues = static_cast<std::uint16_t>(std::max(1u, static_cast<unsigned>(std::bit_width(rx_enabled_))));
  publish();
  return true;
}

FrameStatistics DataPath::statistics() const noexcept {
  FrameStatistics sum;
  for (const auto& pair : pairs_) {
    const QueueCounters& tx = pair->tx.counters();
    const QueueCounters& rx = pair->rx.counters();
    sum.tx_bytes += tx.bytes.get();
    sum.tx_unicast += tx.frames.get() - tx.multicast.get() - tx.broadcast.get();
    sum.tx_multicast += tx.multicast.get();
    sum.tx_broadcast += tx.broadcast.get();
    sum.tx_discards += tx.dropped.get();
    sum.tx_errors += tx.errors.get();
    // As the parts count: received includes what was then discarded, and its bytes include the FCS (DPDK subtracts
    // both).
    sum.rx_bytes += rx.bytes.get() + 4 * rx.frames.get();
    sum.rx_unicast += rx.frames.get() + rx.dropped.get() - rx.multicast.get() - rx.broadcast.get();
    sum.rx_multicast += rx.multicast.get();
    sum.rx_broadcast += rx.broadcast.get();
    sum.rx_discards += rx.dropped.get();
  }
  return sum;
}

void DataPath::publish() noexcept {
  draft_.prepare_hash();
  rules_ = std::make_shared<const RxRules>(draft_);
  for (const auto& pair : pairs_)
    pair->tx.set_vlan(draft_.vlan);
  queues_changed();
}

void DataPath::queues_changed() noexcept {
  std::uint32_t longest = 0;
  for (std::size_t queue = 0; queue < pairs_.size(); ++queue) {
    if ((rx_enabled_ >> queue & 1) == 0) continue;
    longest = std::max(longest, std::min(pairs_[queue]->rx.state().config.max_frame, kMaxFrameWithFcs));
  }
  accepts_ = iavf::accepts(*rules_, longest);
}

void DataPath::reset() noexcept {
  for (const auto& pair : pairs_) {
    pair->tx.disable();
    pair->rx.disable();
    pair->has_tx = pair->has_rx = false;
    pair->tx_vector = pair->rx_vector = {};
  }
  tx_enabled_ = rx_enabled_ = received_ = 0;
  draft_ = {};
  draft_.rss.hena = kHashedPackets;  // as physical functions leave it: Linux sends key and table only
  // A part's single VLAN mode: the 802.1Q tag in L2TAG1; whoever puts another into L2TAG2 wants it in front.
  draft_.vlan.inner = {.strip = false, .insert = true, .tpid = 0x8100, .place = TagPlace::l2tag1};
  draft_.vlan.outer = {.strip = false, .insert = true, .tpid = 0x88a8, .place = TagPlace::l2tag2};
  publish();
}

void DataPath::set_station_address(const Mac& mac) noexcept {
  static_cast<void>(draft_.filters.add(mac));
  publish();
}

// Queues take turns: one of them fills a burst.
std::size_t DataPath::peek(std::span<packet::FrameView> into) noexcept {
  std::uint32_t left = tx_enabled_;
  while (left != 0) {
    const std::uint32_t later = left & ~((2u << turn_) - 1);
    turn_ = static_cast<std::uint32_t>(std::countr_zero(later != 0 ? later : left));
    left &= ~(1u << turn_);
    const std::size_t count = pairs_[turn_]->tx.peek(into, tail_of(reg::QTX_TAIL1, turn_));
    if (count > 0) return count;
  }
  return 0;
}

void DataPath::complete(std::size_t count) noexcept {
  Pair& pair = *pairs_[turn_];
  if (!pair.tx.complete(count) || pair.tx_vector.vector == VectorChoice::kNone) return;
  interrupts_.raise(pair.tx_vector.vector, pair.tx_vector.itr);
  interrupts_.service();
}

std::size_t DataPath::deliver(std::span<const packet::FrameView> frames) noexcept {
  frames = frames.first(std::min(frames.size(), infos_.size()));
  steer(*rules_, frames, infos_);
  std::size_t at = 0;
  while (at < frames.size()) {  // runs of frames for one queue
    const std::uint16_t queue = infos_[at].queue;
    std::size_t end = at + 1;
    while (end < frames.size() && infos_[end].queue == queue)
      ++end;
    if (queue != RxInfo::kNobody) {
      const bool runs = queue < pairs_.size() && (rx_enabled_ >> queue & 1) != 0;
      const std::size_t target = runs ? queue : 0;
      const std::size_t count = end - at;
      const std::size_t taken = pairs_[target]->rx.deliver(
          frames.subspan(at, count), std::span{infos_}.subspan(at, count), accepts_, tail_of(reg::QRX_TAIL1, target));
      if (taken > 0) received_ |= 1u << target;
      // What one queue has no room for must not keep the others from theirs.
      if (taken < count && end == frames.size()) return at + taken;
      if (taken < count) port_.drop_no_room.add(count - taken);
    }
    at = end;
  }
  return frames.size();
}

void DataPath::flush() noexcept {
  if (received_ == 0) return;
  for (std::uint32_t left = received_; left != 0; left &= left - 1) {
    Pair& pair = *pairs_[static_cast<unsigned>(std::countr_zero(left))];
    if (pair.rx.flush() && pair.rx_vector.vector != VectorChoice::kNone)
      interrupts_.raise(pair.rx_vector.vector, pair.rx_vector.itr);
  }
  received_ = 0;
  interrupts_.service();
}

}  // namespace vmux::device::iavf
