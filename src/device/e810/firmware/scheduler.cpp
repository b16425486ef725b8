// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/firmware/scheduler.hpp"

#include <algorithm>

namespace vmux::device::e810 {

using wire::ice::Element;
using wire::ice::ElementBody;
namespace element = wire::ice::element;

void Scheduler::reset() {
  nodes_.clear();
  const auto put = [this](std::uint32_t teid, std::uint32_t parent, std::uint8_t type) {
    Element node{};
    node.parent = parent;
    node.teid = teid;
    node.body.type = type;
    nodes_[teid] = node;
  };
  put(kRoot, kNone, element::root_port);
  put(kTrafficClass, kRoot, element::traffic_class);
  put(kEntryPoint, kTrafficClass, element::entry_point);
  next_ = kEntryPoint + 1;
}

std::vector<Element> Scheduler::default_topology() const {
  std::vector<Element> chain;
  for (const std::uint32_t teid : {kRoot, kTrafficClass, kEntryPoint}) {
    if (const Element* const node = find(teid)) chain.push_back(*node);
  }
  return chain;
}

const Element* Scheduler::find(std::uint32_t teid) const {
  const auto at = nodes_.find(teid);
  return at == nodes_.end() ? nullptr : &at->second;
}

Element* Scheduler::find(std::uint32_t teid) {
  const auto at = nodes_.find(teid);
  return at == nodes_.end() ? nullptr : &at->second;
}

std::optional<std::uint32_t> Scheduler::add(std::uint32_t parent, const ElementBody& body) {
  const bool has_room = nodes_.size() < kMostNodes && next_ != kNone && depth(parent) < kDeepest;
  if (find(parent) == nullptr || !has_room) return std::nullopt;
  Element node{};
  node.parent = parent;
  node.teid = next_;
  node.body = body;
  nodes_[next_] = node;
  return next_++;
}

std::size_t Scheduler::depth(std::uint32_t teid) const {
  std::size_t steps = 0;
  for (const Element* node = find(teid); node != nullptr; node = find(node->parent))
    ++steps;
  return steps;
}

bool Scheduler::remove(std::uint32_t teid) {
  const bool has_children = std::any_of(
      nodes_.begin(), nodes_.end(), [teid](const auto& entry) { return std::uint32_t{entry.second.parent} == teid; });
  return !has_children && nodes_.erase(teid) > 0;
}

bool Scheduler::move(std::uint32_t teid, std::uint32_t parent) {
  Element* const node = find(teid);
  if (node == nullptr || find(parent) == nullptr || depth(parent) != depth(node->parent)) return false;
  for (const Element* above = find(parent); above != nullptr; above = find(above->parent)) {
    if (std::uint32_t{above->teid} == teid) return false;
  }
  node->parent = parent;
  return true;
}

std::vector<Element> Scheduler::nodes() const {
  std::vector<Element> all;
  for (const auto& [teid, node] : nodes_)
    all.push_back(node);
  return all;
}

void Scheduler::restore(const std::vector<Element>& nodes, std::uint32_t next) {
  nodes_.clear();
  for (const Element& node : nodes)
    nodes_[node.teid] = node;
  next_ = next;
}

}  // namespace vmux::device::e810
