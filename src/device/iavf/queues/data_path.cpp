// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/queues/data_path.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace vmux::device::iavf {
namespace {

/// Receive-side scaling and flow rules, for whoever brings frames from other pollers: the lane of the queue.
class QueueSteering final : public port::Steering {
 public:
  QueueSteering(std::shared_ptr<const intel::RxRules> rules, std::uint32_t enabled, std::size_t lanes) noexcept
      : rules_(std::move(rules)), enabled_(enabled), lanes_(lanes) {}
  void steer(std::span<const packet::FrameView> frames, std::span<std::uint8_t> lanes) const noexcept override {
    std::array<intel::RxInfo, port::kMaxBurst> infos;
    intel::steer(*rules_, frames, infos);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const std::uint16_t queue = infos[i].queue;
      const bool runs = queue != intel::RxInfo::kNobody && (enabled_ >> queue & 1) != 0;
      lanes[i] = static_cast<std::uint8_t>(runs ? queue % lanes_ : 0);
    }
  }

 private:
  std::shared_ptr<const intel::RxRules> rules_;
  std::uint32_t enabled_;  // bit per receive queue
  std::size_t lanes_;
};

}  // namespace

DataPath::DataPath(const Shared& shared, const nic::RunState& state, const char* name, unsigned pairs,
                   runtime::Poller& home, std::span<runtime::Poller* const> others)
    : registers_(shared.registers) {
  std::vector<runtime::Poller*> pollers{&home};
  for (runtime::Poller* const other : others.first(std::min<std::size_t>(others.size(), pairs - 1)))
    pollers.push_back(other);
  for (runtime::Poller* const poller : pollers) {
    const bool is_home = lanes_.empty();
    Lane* const lane =
        lanes_.emplace_back(std::make_unique<Lane>(*poller, is_home, state, shared, *poller, is_home)).get();
    lane->queues().interrupts().on_timer(
        [lane] { lane->visit([](LaneQueues& queues) { queues.interrupts().expired(); }); });
  }
  for (unsigned index = 0; index < pairs; ++index) {
    QueuePair& pair = *pairs_.emplace_back(std::make_unique<QueuePair>(name, index, shared.alarm, shared.arena));
    lane_of(index).queues().own(index, pair);
  }
  publish(0);
}

void DataPath::connect(pci::Function& function) {
  for (const auto& lane : lanes_) {
    lane->queues().interrupts().connect(function.interrupts());
    lane->connect(function);
  }
}

void DataPath::disconnect(pci::Function& function) noexcept {
  for (const auto& lane : lanes_)
    lane->disconnect(function);
}

std::uint32_t DataPath::tx_enabled() const noexcept {
  std::uint32_t all = 0;
  for (const auto& lane : lanes_)
    all |= lane->queues().tx_enabled();
  return all;
}

std::uint32_t DataPath::rx_enabled() const noexcept {
  std::uint32_t all = 0;
  for (const auto& lane : lanes_)
    all |= lane->queues().rx_enabled();
  return all;
}

// As the ice physical function does it. It leaves the receive tail alone, too: Linux writes it before it tells of the
// ring, and whoever tells of a ring while the last one runs may do so as well.
void DataPath::configure_tx(unsigned queue, const intel::TxQueueConfig& config) noexcept {
  static_cast<void>(set_enabled(0, 1u << queue & tx_enabled(), false));
  change(queue, [&](LaneQueues&) { pairs_[queue]->tx.configure(config); });
  pairs_[queue]->has_tx = true;
}

void DataPath::configure_rx(unsigned queue, const intel::RxQueueConfig& config) noexcept {
  const std::uint32_t at = reg::QRX_TAIL1 + queue * 4, tail = registers_.get(at);
  static_cast<void>(set_enabled(1u << queue & rx_enabled(), 0, false));
  change(queue, [&](LaneQueues&) { pairs_[queue]->rx.configure(config); });
  registers_.set(at, tail < config.length ? tail : 0);
  pairs_[queue]->has_rx = true;
}

void DataPath::map_rx(unsigned queue, VectorChoice choice) noexcept {
  change(queue, [&](LaneQueues&) { pairs_[queue]->rx_vector = choice; });
}

void DataPath::map_tx(unsigned queue, VectorChoice choice) noexcept {
  change(queue, [&](LaneQueues&) { pairs_[queue]->tx_vector = choice; });
}

// Rules first and queues then, so that a lane never receives by rules of a time when it had no queue; published once.
bool DataPath::set_enabled(std::uint32_t rx, std::uint32_t tx, bool enabled) noexcept {
  std::uint32_t rx_ready = 0, tx_ready = 0;
  for (unsigned queue = 0; queue < pairs_.size(); ++queue) {
    rx_ready |= (pairs_[queue]->has_rx ? 1u : 0u) << queue;
    tx_ready |= (pairs_[queue]->has_tx ? 1u : 0u) << queue;
  }
  const bool ok = !enabled || ((rx & ~rx_ready) | (tx & ~tx_ready)) == 0;
  if (enabled) {  // those that run would begin their rings anew
    rx &= rx_ready & ~rx_enabled();
    tx &= tx_ready & ~tx_enabled();
  }
  if (rx != 0) publish(enabled ? rx_enabled() | rx : rx_enabled() & ~rx);
  for (unsigned queue = 0; queue < pairs_.size(); ++queue) {
    if ((tx >> queue & 1) != 0) set_tx_enabled(queue, enabled);
    if ((rx >> queue & 1) != 0) set_rx_enabled(queue, enabled);
  }
  return ok;
}

// Tails fall back to 0 when a queue stops. Linux writes the receive tail before it sends the set-up of the ring, and
// under load the transmit tail too, and never again once the ring is full: so neither configuring nor enabling is the
// time for it.
void DataPath::set_tx_enabled(unsigned queue, bool enabled) noexcept {
  change(queue, [&](LaneQueues& queues) { queues.set_tx_enabled(queue, enabled); });
  if (!enabled) registers_.set(reg::QTX_TAIL1 + queue * 4, 0);
}

void DataPath::set_rx_enabled(unsigned queue, bool enabled) noexcept {
  change(queue, [&](LaneQueues& queues) { queues.set_rx_enabled(queue, enabled); });
  if (!enabled) registers_.set(reg::QRX_TAIL1 + queue * 4, 0);
}

FrameStatistics DataPath::statistics() const noexcept {
  FrameStatistics sum;
  // Other pollers count meanwhile, so that the parts may already be more than the whole.
  const auto rest = [](std::uint64_t all, const intel::QueueCounters& part) {
    return all - std::min(all, part.multicast.get() + part.broadcast.get());
  };
  for (const auto& pair : pairs_) {
    const intel::QueueCounters& tx = pair->tx.counters();
    const intel::QueueCounters& rx = pair->rx.counters();
    sum.tx_bytes += tx.bytes.get();
    sum.tx_unicast += rest(tx.frames.get(), tx);
    sum.tx_multicast += tx.multicast.get();
    sum.tx_broadcast += tx.broadcast.get();
    sum.tx_discards += tx.dropped.get();
    sum.tx_errors += tx.errors.get();
    // As the parts count: received includes what was then discarded, and its bytes include the FCS (DPDK subtracts
    // both).
    sum.rx_bytes += rx.bytes.get() + 4 * rx.frames.get();
    sum.rx_unicast += rest(rx.frames.get() + rx.dropped.get(), rx);
    sum.rx_multicast += rx.multicast.get();
    sum.rx_broadcast += rx.broadcast.get();
    sum.rx_discards += rx.dropped.get();
  }
  return sum;
}

// `enabled`: the receive queues that run, or will at once. Rules lead to no queue above the highest of them.
void DataPath::publish(std::uint32_t enabled) noexcept {
  is_edited_ = false;
  draft_.queues = static_cast<std::uint16_t>(std::max(1u, static_cast<unsigned>(std::bit_width(enabled))));
  draft_.prepare_hash();
  const auto rules = std::make_shared<const intel::RxRules>(draft_);
  change_all([&, takes = accepts(enabled)](LaneQueues& queues) { queues.set_rules(rules, takes); });
  if (lanes_.size() > 1) {
    lanes_.front()->publish(std::make_shared<const QueueSteering>(rules, enabled, lanes_.size()));
  }
}

// All lanes take the same.
packet::Accepts DataPath::accepts(std::uint32_t enabled) const noexcept {
  std::uint32_t longest = 0;
  for (std::size_t queue = 0; queue < pairs_.size(); ++queue) {
    if ((enabled >> queue & 1) == 0) continue;
    longest = std::max(longest, std::min(pairs_[queue]->rx.state().config.max_frame, intel::kMaxFrameWithFcs));
  }
  return intel::accepts(draft_, longest);
}

void DataPath::reset() noexcept {
  change_all([](LaneQueues& queues) { queues.reset(); });
  edit() = {};
  draft_.rss.hena = intel::kHashedPackets;  // as physical functions leave it: Linux sends key and table only
  publish_changes();
}

void DataPath::forget_driver() noexcept {
  reset();
  registers_.reset(kDataPagesEnd);
}

void DataPath::set_station_address(const MacAddress& mac) noexcept {
  static_cast<void>(filters().add(mac));
  publish_changes();
}

void DataPath::link_changed() noexcept {
  for (const auto& lane : lanes_)
    lane->settle();
}

// A driver that has not yet seen a reset goes on writing the tails of rings that are no more. When it opens its admin
// queue it has seen it, and what it writes from then on is of its next rings.
void DataPath::admin_queue_opened() noexcept {
  for (unsigned queue = 0; queue < pairs_.size(); ++queue) {
    if ((tx_enabled() >> queue & 1) == 0) registers_.set(reg::QTX_TAIL1 + queue * 4, 0);
  }
}

void DataPath::register_written(std::uint32_t offset) noexcept {
  if (offset >= reg::VFINT_DYN_CTLN1 &&
      offset < reg::VFINT_DYN_CTLN1 + kQueueVectors * 4) {  // whoever has news for that vector may tell them
    for (const auto& lane : lanes_)
      lane->wake();
    return;
  }
  if (offset < reg::QTX_TAIL1 || offset >= reg::QTX_TAIL1 + kMaxQueuePairs * 4) return;
  lane_of((offset - reg::QTX_TAIL1) / 4).wake();
}

}  // namespace vmux::device::iavf
