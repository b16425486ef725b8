// SPDX-License-Identifier: BSD-3-Clause
// Pausing, saving and loading: each part fills its share of SavedState.
#include <algorithm>
#include <bit>
#include <string>

#include "device/iavf/nic.hpp"
#include "device/iavf/saved_state.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::device::iavf {
namespace {

using VlanWords = std::array<std::uint64_t, 64>;

VlanWords words_of(const std::bitset<4096>& set) noexcept {
  VlanWords words{};
  for (std::size_t i = 0; i < set.size(); ++i)
    words[i / 64] |= std::uint64_t{set[i]} << i % 64;
  return words;
}

std::bitset<4096> set_of(const VlanWords& words) noexcept {
  std::bitset<4096> set;
  for (std::size_t i = 0; i < set.size(); ++i)
    set[i] = (words[i / 64] >> i % 64 & 1) != 0;
  return set;
}

std::vector<SavedState::Channel> list_of(const intel::Channels& channels) {
  std::vector<SavedState::Channel> list;
  for (std::size_t i = 0; i < channels.count; ++i)
    list.push_back({channels.ranges[i].first, channels.ranges[i].queues});
  return list;
}

intel::Channels channels_of(const std::vector<SavedState::Channel>& list) noexcept {
  intel::Channels channels;
  for (const SavedState::Channel& each : list)
    channels.ranges[channels.count++] = {each.first, each.queues};
  return channels;
}

void save_filters(const intel::Filters& from, SavedState::Filters& into) {
  into.unicast_promisc = from.unicast_promisc;
  into.multicast_promisc = from.multicast_promisc;
  into.macs = from.macs();
  into.more_groups = from.more_groups();
  into.vlans = words_of(from.vlans);
  into.service_vlans = words_of(from.service_vlans);
}

// Those of the table first: it fills up, and the groups beyond it find their place beyond it.
intel::Filters filters_of(const SavedState::Filters& from) {
  intel::Filters filters;
  filters.unicast_promisc = from.unicast_promisc;
  filters.multicast_promisc = from.multicast_promisc;
  for (const auto* const list : {&from.macs, &from.more_groups}) {
    for (const MacAddress& mac : *list)
      static_cast<void>(filters.add(mac));
  }
  filters.vlans = set_of(from.vlans);
  filters.service_vlans = set_of(from.service_vlans);
  filters.vlan_filtering = filters.vlans.any() || filters.service_vlans.any();
  return filters;
}

}  // namespace

void Nic::pause() noexcept {
  run_state_.set_paused(true);
  paused_ns_ = monotonic_ns();
  reset_timer_.disarm();
  pump_timer_.disarm();
  data_.pause();
}

void Nic::resume() noexcept {
  run_state_.set_paused(false);
  const std::uint64_t passed = monotonic_ns() - paused_ns_;
  if (reset_due_ns_ != 0) set_reset_due(reset_due_ns_ + passed);
  vectors_.delay(passed);
  data_.resume();
  if (data_.is_any_stopped()) alarm_.raise();  // it may have been raised before the state was saved
  pump();
}

void Nic::save(state::Writer& into) const { into.add(saved_state()); }

void Nic::save_running(state::Writer& into) {
  paused_ns_ = monotonic_ns();
  save(into);
}

// Whatever instruction the other one died at: a value that cannot be is found here, before anything goes by it.
tl::expected<void, std::string> Nic::arena_taken_over() {
  const char* problem = data_.are_cursors() ? nullptr : "has a queue that there cannot be";
  if (problem == nullptr) problem = problem_of(saved_state(), options_.queue_pairs);
  if (problem != nullptr) {
    return tl::unexpected("what the card's process has left " + std::string{problem});
  }
  data_.cursors_taken_over();
  return {};
}

SavedState Nic::saved_state() const {
  SavedState saved;
  saved.station = identity_.mac;
  saved.link_up = run_state_.is_link_up();
  saved.link_mbps = identity_.link_mbps;
  for (const Register& row : kRegisters) {
    for (std::uint32_t i = 0; i < row.count; ++i) {
      const std::uint32_t at = row.at + i * row.stride, value = registers_.get(at);
      if (value != row.reset) saved.registers.push_back({at, value});
    }
  }
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    const std::uint64_t rested = vectors_.fired_ns(vector) + InterruptUnit::kLongestInterval;
    saved.interrupts.vectors[vector].rest_ns = rested - std::min(rested, paused_ns_);
    saved.interrupts.vectors[vector].seen = vectors_.seen(vector);
  }
  saved.wants_completion = admin_.is_completion_wanted();
  if (reset_due_ns_ != 0) saved.reset_due_ns = reset_due_ns_ - std::min(reset_due_ns_, paused_ns_);
  virtchnl_.save(saved);
  data_.save(saved);
  return saved;
}

tl::expected<void, std::string> Nic::load(state::Reader& from) {
  SavedState saved;
  if (auto done = from.load(saved); !done) return done;
  const char* problem = problem_of(saved, options_.queue_pairs);
  if (problem == nullptr && !virtchnl_.offers(saved.session.capabilities)) {
    problem = "has agreed upon what is not offered here";
  }
  if (problem != nullptr) return tl::unexpected("the saved state's section 'iavf' " + std::string{problem});
  if (saved.station != identity_.mac) {
    return tl::unexpected("the saved state is of a card with another MAC address than " + options_.name);
  }
  registers_.reset();
  for (const SavedState::RegisterValue& each : saved.registers)
    registers_.set(each.at, each.value);
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    const SavedState::Vector& each = saved.interrupts.vectors[vector];
    vectors_.set_fired_ns(vector, each.rest_ns == 0 ? 0 : paused_ns_ + each.rest_ns - InterruptUnit::kLongestInterval);
    vectors_.set_seen(vector, each.seen);
  }
  interrupts_.load(saved);
  admin_.set_completion_wanted(saved.wants_completion);
  reset_due_ns_ = saved.reset_due_ns ? paused_ns_ + *saved.reset_due_ns : 0;
  virtchnl_.load(saved);
  data_.load(saved);
  if (saved.link_up != run_state_.is_link_up() || saved.link_mbps != identity_.link_mbps) virtchnl_.link_changed();
  return {};
}

void Nic::set_reset_due(std::uint64_t when_ns) noexcept {
  reset_due_ns_ = when_ns;
  reset_timer_.arm_at(when_ns);
}

void VectorStates::delay(std::uint64_t passed_ns) noexcept {
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    if (const std::uint64_t fired = fired_ns(vector); fired != 0) set_fired_ns(vector, fired + passed_ns);
  }
}

void InterruptUnit::pause() noexcept {
  is_paused_ = true;
  if (is_home_ && timer_) timer_->disarm();
}

void InterruptUnit::resume() noexcept {
  is_paused_ = false;
  rearm_poll_ns_ = kFirstRearmPoll_ns;
  if (is_home_ && pending_ != 0) fire_pending();  // others do when their poller looks
}

// Of all units together: which of them tells the guest does not matter to it.
void InterruptUnit::save(SavedState& into) const noexcept {
  into.interrupts.pending |= pending_;
  into.interrupts.unreported |= unreported_;
  for (unsigned vector = 0; vector < kVectors; ++vector)
    into.interrupts.vectors[vector].causes |= causes_[vector];
}

void InterruptUnit::load(const SavedState& from) noexcept {
  pending_ = from.interrupts.pending;
  unreported_ = from.interrupts.unreported;
  for (unsigned vector = 0; vector < kVectors; ++vector)
    causes_[vector] = from.interrupts.vectors[vector].causes;
}

void Virtchnl::save(SavedState& into) const {
  into.session = {.minor = session_.minor,
                  .capabilities = session_.capabilities,
                  .last_flow_id = session_.last_flow_id,
                  .has_resources = session_.has_resources,
                  .is_resetting = session_.is_resetting,
                  .has_deleted_mac = session_.has_deleted_mac,
                  .link_event_due = session_.link_event_due,
                  .reset_event_due = session_.reset_event_due,
                  .mac = session_.mac,
                  .last_added = session_.last_added};
  into.granted_channels = list_of(channels_);
}

void Virtchnl::load(const SavedState& from) noexcept {
  session_ = {.minor = from.session.minor,
              .capabilities = from.session.capabilities,
              .has_resources = from.session.has_resources,
              .last_flow_id = from.session.last_flow_id,
              .link_event_due = from.session.link_event_due,
              .reset_event_due = from.session.reset_event_due,
              .is_resetting = from.session.is_resetting,
              .reset_request = ResetRequest::none,  // applied before anything else happens
              .mac = from.session.mac,
              .has_deleted_mac = from.session.has_deleted_mac,
              .last_added = from.session.last_added};
  channels_ = channels_of(from.granted_channels);
}

void DataPath::pause() noexcept {
  change_all([](LaneQueues& queues) { queues.pause(); });
}

void DataPath::resume() noexcept {
  change_all([](LaneQueues& queues) { queues.resume(); });
}

bool DataPath::is_any_stopped() const noexcept {
  return std::any_of(pairs_.begin(), pairs_.end(), [](const auto& pair) {
    return (pair->tx.is_enabled() && pair->tx.is_stopped()) || (pair->rx.is_enabled() && pair->rx.is_stopped());
  });
}

void DataPath::save(SavedState& into) const {
  for (std::size_t queue = 0; queue < pairs_.size(); ++queue) {
    const QueuePair& pair = *pairs_[queue];
    SavedState::QueuePair& saved = into.pairs.emplace_back();
    const auto look = [&](const LaneQueues&) {
      saved.tx.vector = pair.tx_vector;
      saved.rx.vector = pair.rx_vector;
      if ((saved.tx.is_configured = pair.has_tx)) saved.tx.queue.state = pair.tx.state();
      if ((saved.rx.is_configured = pair.has_rx)) saved.rx.queue.state = pair.rx.state();
      saved.rx.queue.has_pending = pair.has_rx && pair.rx.has_pending();
      saved.tx.queue.totals = intel::totals_of(pair.tx.counters());
      saved.rx.queue.totals = intel::totals_of(pair.rx.counters());
    };
    lane_of(queue).look(look);
  }
  for (const auto& lane : lanes_)
    lane->look([&](const LaneQueues& queues) { queues.interrupts().save(into); });
  save_filters(draft_.filters, into.filters);
  into.vlan = draft_.vlan;
  into.rss = draft_.rss;
  for (const intel::FlowRule& rule : draft_.flows.rules())
    into.flows.push_back({rule});
  into.channels = list_of(draft_.channels);
}

bool DataPath::are_cursors() const noexcept {
  // One that nobody has made a bool of may hold anything.
  const auto is_bool = [](const bool& value) { return reinterpret_cast<const std::uint8_t&>(value) <= 1; };
  const auto is_sane = [&](const auto& state, bool is_configured) {
    if (!is_bool(state.enabled) || state.fault > intel::Fault::frame_too_long) return false;
    return is_configured || !state.enabled;
  };
  return std::all_of(pairs_.begin(), pairs_.end(), [&](const auto& pair) {
    const auto& tx = pair->tx.state();
    const auto& rx = pair->rx.state();
    return is_bool(tx.config.head_writeback) && is_bool(rx.config.wide) && is_bool(rx.config.keep_crc) &&
           is_bool(rx.config.header_split) && is_sane(tx, pair->has_tx) && is_sane(rx, pair->has_rx) &&
           pair->tx.can_take_over() && pair->rx.can_take_over();
  });
}

void DataPath::cursors_taken_over() noexcept {
  for (unsigned queue = 0; queue < pairs_.size(); ++queue) {
    change(queue, [&](LaneQueues& queues) { queues.cursors_taken_over(queue); });
  }
  publish(rx_enabled());
}

void DataPath::load(const SavedState& from) {
  draft_.filters = filters_of(from.filters);
  draft_.vlan = from.vlan;
  draft_.rss = from.rss;
  draft_.flows.clear();
  for (const SavedState::FlowRule& flow : from.flows)
    static_cast<void>(draft_.flows.add(flow.rule));
  draft_.channels = channels_of(from.channels);
  for (unsigned queue = 0; queue < pairs_.size(); ++queue) {
    const SavedState::QueuePair& saved = from.pairs[queue];
    QueuePair& pair = *pairs_[queue];
    change(queue, [&](LaneQueues& queues) {
      pair.has_tx = saved.tx.is_configured;
      pair.has_rx = saved.rx.is_configured;
      pair.tx_vector = saved.tx.vector;
      pair.rx_vector = saved.rx.vector;
      queues.restore(queue, saved.tx.queue, saved.rx.queue);
    });
  }
  publish(rx_enabled());  // what is taken depends on the queues
}

}  // namespace vmux::device::iavf
