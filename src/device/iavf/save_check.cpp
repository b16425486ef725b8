// SPDX-License-Identifier: BSD-3-Clause
// What a saved state may say: it is somebody else's. All that leads somewhere has to lead to something that there is.
#include <algorithm>

#include "device/iavf/interrupts.hpp"
#include "device/iavf/saved_state.hpp"

namespace vmux::device::iavf {
namespace {

constexpr std::uint8_t kAllHashFields =
    intel::kHashSource | intel::kHashDestination | intel::kHashSourcePort | intel::kHashDestinationPort;
constexpr std::uint64_t kLongestReset = 1'000'000'000;  // ns; far above what any takes

bool is_register(const SavedState::RegisterValue& each) noexcept {
  return each.at % 4 == 0 && find_register(each.at) != nullptr;
}

bool is_vector(const VectorChoice& choice, unsigned queue_pairs) noexcept {
  return (choice.vector == VectorChoice::kNone || choice.vector <= queue_pairs) && choice.itr <= kNoItr;
}

template <class Queue>
bool is_queue(const Queue& saved, unsigned queue_pairs) noexcept {
  const auto& state = saved.queue.state;
  if (!is_vector(saved.vector, queue_pairs)) return false;
  if (!saved.is_configured) return !state.enabled && !saved.queue.has_pending;
  return intel::can_be(state.config) && state.head < state.config.length;
}

bool are_interrupts(const SavedState::Interrupts& saved) noexcept {
  const auto is_one = [](const SavedState::Vector& vector) {
    return vector.rest_ns <= InterruptUnit::kLongestInterval && vector.causes >> (kNoItr + 1) == 0;
  };
  return saved.pending >> kVectors == 0 && std::all_of(saved.vectors.begin(), saved.vectors.end(), is_one);
}

bool are_channels(const std::vector<SavedState::Channel>& channels, unsigned queue_pairs) noexcept {
  unsigned used = 0;
  for (const SavedState::Channel& channel : channels) {
    if (channel.queues == 0 || channel.first != used || channel.queues > queue_pairs - used) return false;
    used += channel.queues;
  }
  return true;
}

bool is_rule(const intel::FlowRule& rule, unsigned queue_pairs) noexcept {
  return rule.group_size != 0 && rule.queue + unsigned{rule.group_size} <= queue_pairs;
}

bool is_rss(const intel::Rss& rss) noexcept {
  const auto fits = [](std::uint8_t fields) { return (fields & ~kAllHashFields) == 0; };
  return (rss.hena & ~intel::kHashedPackets) == 0 && fits(rss.all_of_ipv4) && fits(rss.all_of_ipv6) &&
         std::all_of(rss.fields.begin(), rss.fields.end(), fits);
}

bool is_tag(const intel::VlanTag& tag) noexcept { return tag.tpid == intel::kTpid || tag.tpid == intel::kServiceTpid; }

}  // namespace

const char* problem_of(const SavedState& saved, unsigned queue_pairs) noexcept {
  if (saved.pairs.size() != queue_pairs) return "has another number of queue pairs";
  const auto is_pair = [queue_pairs](const SavedState::QueuePair& pair) {
    return is_queue(pair.tx, queue_pairs) && is_queue(pair.rx, queue_pairs);
  };
  if (!std::all_of(saved.registers.begin(), saved.registers.end(), is_register))
    return "has a register of another card";
  if (!std::all_of(saved.pairs.begin(), saved.pairs.end(), is_pair)) return "has a queue that there cannot be";
  if (!are_interrupts(saved.interrupts)) return "has an interrupt that there is not";
  if (saved.reset_due_ns.value_or(0) > kLongestReset) return "has a reset that takes too long";
  if (saved.session.is_resetting && !saved.reset_due_ns) return "has a reset announced that never comes";
  if (!is_tag(saved.vlan.outer) || !is_tag(saved.vlan.inner)) return "has a VLAN tag of a type that there is not";
  if (!is_rss(saved.rss)) return "hashes packets that there are not";
  if (!are_channels(saved.channels, queue_pairs) || !are_channels(saved.granted_channels, queue_pairs)) {
    return "has traffic classes that overlap, or queues that there are not in one";
  }
  const auto is_flow = [queue_pairs](const SavedState::FlowRule& flow) { return is_rule(flow.rule, queue_pairs); };
  if (!std::all_of(saved.flows.begin(), saved.flows.end(), is_flow))
    return "has a flow rule to a queue that there is not";
  return nullptr;
}

}  // namespace vmux::device::iavf
