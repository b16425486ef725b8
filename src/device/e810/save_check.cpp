// SPDX-License-Identifier: BSD-3-Clause
// What a saved state may say: it is somebody else's. All that leads somewhere has to lead to something that there is.
#include <algorithm>
#include <map>

#include "device/e810/firmware/firmware.hpp"
#include "device/e810/interrupts.hpp"
#include "device/e810/saved_state.hpp"

namespace vmux::device::e810 {
namespace {

constexpr std::uint64_t kLongestReset = 1'000'000'000;  // ns; far above what any takes

bool is_register(const SavedState::RegisterValue& each) noexcept {
  const Register* const row = each.at % 4 == 0 ? find_register(each.at) : nullptr;
  return row != nullptr && row->access != Access::statistic;
}

template <class Config>
bool is_queue(const intel::QueueSnapshot<Config>& queue) noexcept {
  if (!queue.state.enabled) return !queue.has_pending;
  return intel::can_be(queue.state.config) && queue.state.head < queue.state.config.length;
}

bool is_pair(const SavedState::QueuePair& pair) noexcept {
  return is_queue(pair.tx.queue) && is_queue(pair.rx.queue) && !(pair.rx.is_bufferless && pair.rx.queue.state.enabled);
}

bool is_vector(const SavedState::Vector& vector) noexcept {
  return vector.rest_ns <= InterruptUnit::kLongestInterval && vector.causes >> (kNoItr + 1) == 0;
}

/// Every node's way up ends, and at a root.
bool is_tree(const SavedState::Firmware& saved) {
  std::map<std::uint32_t, std::uint32_t> parents;
  for (const SavedState::Node& node : saved.nodes) {
    const bool is_new = parents.emplace(node.element.teid, node.element.parent).second;
    if (!is_new || node.element.teid >= saved.next_node) return false;
  }
  return std::all_of(parents.begin(), parents.end(), [&parents](const auto& entry) {
    std::uint32_t parent = entry.second;
    for (std::size_t steps = 0; steps < Scheduler::kDeepest; ++steps) {
      if (parent == Scheduler::kNone) return true;
      const auto above = parents.find(parent);
      if (above == parents.end()) return false;
      parent = above->second;
    }
    return parent == Scheduler::kNone;
  });
}

bool are_leaves(const SavedState& saved, unsigned queues) {
  return std::all_of(saved.firmware.leaves.begin(), saved.firmware.leaves.end(), [&](const SavedState::Leaf& leaf) {
    const auto& nodes = saved.firmware.nodes;
    const bool is_there = std::any_of(nodes.begin(), nodes.end(), [&leaf](const SavedState::Node& node) {
      return std::uint32_t{node.element.teid} == leaf.teid;
    });
    return leaf.queue < queues && is_there;
  });
}

bool are_vsis(const std::vector<SavedState::Vsi>& vsis) noexcept {
  if (vsis.empty() || vsis.front().number != Switching::kDefaultVsi) return false;
  return std::all_of(vsis.begin(), vsis.end(), [&vsis](const SavedState::Vsi& vsi) {
    const auto is_same = [&vsi](const SavedState::Vsi& other) { return other.number == vsi.number; };
    return vsi.number <= wire::ice::vsi::number_mask && std::count_if(vsis.begin(), vsis.end(), is_same) == 1;
  });
}

bool are_rules(const std::vector<SavedState::SwitchRule>& rules) noexcept {
  return std::all_of(rules.begin(), rules.end(),
                     [](const SavedState::SwitchRule& each) { return each.rule.index != 0; });
}

bool are_numbers(const SavedState::Firmware& saved) noexcept {
  const auto are_below = [](const SavedState::Numbers& each, std::uint16_t last) {
    return std::all_of(each.numbers.begin(), each.numbers.end(),
                       [last](std::uint16_t number) { return number <= last; });
  };
  return std::all_of(saved.lists.begin(), saved.lists.end(),
                     [&](const auto& list) {
                       return list.of <= Switching::kLastList && are_below(list, wire::ice::vsi::number_mask);
                     }) &&
         std::all_of(saved.resources.begin(), saved.resources.end(), [&](const auto& type) {
           return type.of <= wire::ice::resource::type_mask && type.numbers.size() <= Firmware::most_of(type.of);
         });
}

bool is_lut_size(std::size_t size) noexcept {
  return size == 0 || size == 64 || size == 128 || size == 512 || size == 2048;
}

}  // namespace

const char* problem_of(const SavedState& saved, unsigned queues) noexcept {
  if (!std::all_of(saved.registers.begin(), saved.registers.end(), is_register)) return "has unknown registers";
  if (saved.pairs.size() != queues) return "is of a card with another number of queues";
  if (!std::all_of(saved.pairs.begin(), saved.pairs.end(), is_pair)) return "has a queue that cannot be";
  if (!std::all_of(saved.vectors.begin(), saved.vectors.end(), is_vector)) return "has interrupts that cannot be";
  if (saved.reset_due_ns.value_or(0) > kLongestReset) return "has a reset that takes too long";
  if (!is_tree(saved.firmware) || !are_leaves(saved, queues)) return "has a scheduler that cannot be";
  if (!are_vsis(saved.firmware.vsis)) return "has stations that cannot be";
  if (!are_rules(saved.firmware.rules)) return "has a switch rule without a number";
  if (!are_numbers(saved.firmware)) return "has more of something than there is";
  if (!is_lut_size(saved.firmware.rss_lut.size())) return "has a table of RSS of an unknown size";
  return nullptr;
}

}  // namespace vmux::device::e810
