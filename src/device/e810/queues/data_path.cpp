// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/queues/data_path.hpp"

#include <algorithm>
#include <array>

#include "device/e810/queues/flow_program.hpp"
#include "device/e810/queues/queue_context.hpp"

namespace vmux::device::e810 {
namespace {

constexpr std::size_t kLongestBurst = 32;  // frames of one deliver(): the switch's

void note(std::vector<std::uint16_t>& running, unsigned queue, bool is_running) {
  const auto number = static_cast<std::uint16_t>(queue);
  const auto at = std::lower_bound(running.begin(), running.end(), number);
  const bool is_there = at != running.end() && *at == number;
  if (is_running && !is_there) running.insert(at, number);
  if (!is_running && is_there) running.erase(at);
}

}  // namespace

DataPath::DataPath(Registers& registers, InterruptUnit& interrupts, NicCounters& counters, nic::Alarm& alarm,
                   state::Arena& arena, const char* name, unsigned queues)
    : registers_(registers),
      interrupts_(interrupts),
      counters_(counters),
      has_received_(queues),
      is_bufferless_(queues),
      infos_(kLongestBurst) {
  for (unsigned queue = 0; queue < queues; ++queue)
    pairs_.push_back(std::make_unique<QueuePair>(name, queue, alarm, arena));
  tx_running_.reserve(queues);
  rx_running_.reserve(queues);
}

void DataPath::connect(pci::Function& function) {
  function_ = &function;
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

// Linux never writes the doorbell of a new ring back to 0: the device does, before it answers.
bool DataPath::enable_tx(unsigned queue, const intel::TxQueueConfig& config) noexcept {
  if (!intel::can_be(config)) return false;
  intel::TxQueue& tx = pairs_[queue]->tx;
  tx.disable();
  tx.configure(config);
  registers_.set(reg::QTX_COMM_DBELL + queue * 4, 0);
  tx.enable();
  note(tx_running_, queue, true);
  return true;
}

void DataPath::disable_tx(unsigned queue) noexcept {
  pairs_[queue]->tx.disable();
  note(tx_running_, queue, false);
}

bool DataPath::enable_rx(unsigned queue) noexcept {
  if (is_rx_enabled(queue)) return true;
  std::array<std::uint32_t, kRxContextWords> context;
  for (unsigned word = 0; word < context.size(); ++word)
    context[word] = registers_.get(reg::QRX_CONTEXT + word * reg::QRX_CONTEXT_STRIDE + queue * 4);
  const std::uint32_t profile = registers_.get(reg::QRXFLXP_CNTXT + queue * 4);
  const intel::RxQueueConfig config = rx_config_of(context, static_cast<std::uint8_t>(profile & 0x3f));
  if (intel::is_ring(config.ring.raw, config.length) && config.buffer_size == 0 && config.max_frame == 0) {
    return is_bufferless_[queue] = true;
  }
  if (!intel::can_be(config) || wants_header_split(context)) {
    counters_.queue_refused.add();
    return false;
  }
  pairs_[queue]->rx.configure(config);
  pairs_[queue]->rx.enable();
  note(rx_running_, queue, true);
  note_running();
  return true;
}

void DataPath::disable_rx(unsigned queue) noexcept {
  pairs_[queue]->rx.disable();
  has_received_[queue] = is_bufferless_[queue] = false;
  note(rx_running_, queue, false);
  note_running();
}

void DataPath::note_running() noexcept {
  std::uint32_t longest = 0;
  for (const std::uint16_t queue : rx_running_)
    longest = std::max(longest, std::min(pairs_[queue]->rx.state().config.max_frame, intel::kMaxFrameWithFcs));
  accepts_ = intel::accepts(rules_, longest);
  rules_.queues = static_cast<std::uint16_t>(pairs_.size());
}

void DataPath::publish() noexcept {
  rules_.prepare_hash();
  note_running();
}

void DataPath::reset() noexcept {
  for (const auto& pair : pairs_) {
    pair->tx.disable();
    pair->rx.disable();
  }
  tx_running_.clear();
  rx_running_.clear();
  has_received_.assign(has_received_.size(), false);
  is_bufferless_.assign(is_bufferless_.size(), false);
  has_any_received_ = false;
  rules_ = {};
  publish();
}

FrameStatistics DataPath::statistics() const noexcept {
  FrameStatistics sum;
  for (const auto& pair : pairs_) {
    const intel::QueueCounters& tx = pair->tx.counters();
    const intel::QueueCounters& rx = pair->rx.counters();
    sum.tx_bytes += tx.bytes.get() + 4 * tx.frames.get();  // both directions with the FCS, as the part counts
    sum.tx_unicast += tx.frames.get() - tx.multicast.get() - tx.broadcast.get();
    sum.tx_multicast += tx.multicast.get();
    sum.tx_broadcast += tx.broadcast.get();
    sum.tx_discards += tx.dropped.get();
    sum.tx_errors += tx.errors.get();
    sum.rx_bytes += rx.bytes.get() + 4 * rx.frames.get();
    sum.rx_unicast += rx.frames.get() - rx.multicast.get() - rx.broadcast.get();
    sum.rx_multicast += rx.multicast.get();
    sum.rx_broadcast += rx.broadcast.get();
    sum.rx_discards += rx.dropped.get();
  }
  return sum;
}

bool DataPath::is_any_stopped() const noexcept {
  return std::any_of(pairs_.begin(), pairs_.end(), [](const auto& pair) {
    return (pair->tx.is_enabled() && pair->tx.is_stopped()) || (pair->rx.is_enabled() && pair->rx.is_stopped());
  });
}

// Queues take turns: one of them fills a burst.
std::size_t DataPath::peek(std::span<packet::FrameView> into) noexcept {
  for (std::size_t looked = 0; looked < tx_running_.size(); ++looked) {
    turn_ = turn_ + 1 < tx_running_.size() ? turn_ + 1 : 0;
    peeked_queue_ = tx_running_[turn_];
    intel::TxQueue& tx = pairs_[peeked_queue_]->tx;
    const std::size_t count = tx.peek(into, registers_.transmit_tail(peeked_queue_), rules_.vlan);
    if (count == 0) continue;
    if (!tx.state().config.programs_flows) return count;
    function_->in_round([&] { program_flows(tx, into.first(count)); });  // before the driver hears that it is done
    complete(count);
  }
  return 0;
}

// What comes out of this queue is not for the wire.
void DataPath::program_flows(intel::TxQueue& queue, std::span<const packet::FrameView> frames) noexcept {
  function_->note_change();
  const auto programs = queue.programs();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto id = static_cast<std::uint32_t>(intel::flow_program_high::id::get(programs[i].high));
    static_cast<void>(rules_.flows.remove(id));
    if (intel::flow_program_high::removes::is_set(programs[i].high)) continue;
    const auto rule = flow_rule_of(programs[i], frames[i], rules_.first_queue);
    if (!rule || !rules_.flows.add(*rule)) counters_.flows_refused.add();
  }
}

void DataPath::complete(std::size_t count) noexcept {
  if (!pairs_[peeked_queue_]->tx.complete(count)) return;
  interrupts_.raise(registers_.get(reg::QINT_TQCTL + peeked_queue_ * 4u));
  interrupts_.service();
}

void DataPath::deliver(std::span<const packet::FrameView> frames, port::Delivery& delivery) noexcept {
  frames = frames.first(std::min(frames.size(), infos_.size()));
  intel::steer(rules_, frames, infos_);
  std::size_t at = 0;
  while (at < frames.size()) {  // runs of frames for one queue
    const std::uint16_t queue = infos_[at].queue;
    std::size_t end = at + 1;
    while (end < frames.size() && infos_[end].queue == queue)
      ++end;
    if (queue != intel::RxInfo::kNobody) {
      const std::uint16_t target = target_of(queue);
      const std::size_t count = end - at;
      const std::size_t taken = pairs_[target]->rx.deliver(
          frames.subspan(at, count), std::span{infos_}.subspan(at, count), accepts_, registers_.receive_tail(target));
      if (taken > 0) has_received_[target] = has_any_received_ = true;
      // What one queue has no room for must not keep the others from theirs.
      if (taken < count && end == frames.size()) {
        delivery.taken = at + taken;
        return;
      }
      for (std::size_t i = at + taken; i < end; ++i)
        delivery.lose(port::DropReason::no_room, frames[i].length, i);
    }
    at = end;
  }
  delivery.taken = frames.size();
}

void DataPath::flush() noexcept {
  if (!has_any_received_) return;
  has_any_received_ = false;
  for (const std::uint16_t queue : rx_running_) {
    if (!has_received_[queue]) continue;
    has_received_[queue] = false;
    if (pairs_[queue]->rx.flush()) interrupts_.raise(registers_.get(reg::QINT_RQCTL + queue * 4u));
  }
  interrupts_.service();
}

}  // namespace vmux::device::e810
