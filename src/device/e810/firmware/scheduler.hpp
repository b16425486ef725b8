// SPDX-License-Identifier: BSD-3-Clause
// The tree by which transmit queues share a port, as the driver builds it: nodes with numbers (TEIDs). Frames leave in
// turns all the same; what the tree says about rates is kept and told, not enforced.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "wire/ice_aq.hpp"

namespace vmux::device::e810 {

class Scheduler {
 public:
  static constexpr std::uint32_t kNone = 0xffff'ffff;  ///< the root's parent
  static constexpr std::size_t kMostNodes = 2048;
  static constexpr std::size_t kDeepest = 2 * wire::ice::kLayers;  ///< nodes on the way from the root to a leaf

  Scheduler() { reset(); }
  /// Root port, traffic class 0, and the node at which the driver's part begins.
  void reset();
  /// From the root down: a chain.
  [[nodiscard]] std::vector<wire::ice::Element> default_topology() const;

  [[nodiscard]] const wire::ice::Element* find(std::uint32_t teid) const;
  [[nodiscard]] wire::ice::Element* find(std::uint32_t teid);
  /// A new node; its number is never one that was there before. Nothing: no such parent, too many nodes, or too deep.
  [[nodiscard]] std::optional<std::uint32_t> add(std::uint32_t parent, const wire::ice::ElementBody& body);
  /// False: there is none, or it has children.
  bool remove(std::uint32_t teid);
  /// False: one of the two is not there, or the new parent is not of the layer of the old one, where it could also be
  /// below the node.
  bool move(std::uint32_t teid, std::uint32_t parent);
  [[nodiscard]] std::uint32_t traffic_class() const noexcept { return kTrafficClass; }

  /// All nodes, by number; and what the next one gets.
  [[nodiscard]] std::vector<wire::ice::Element> nodes() const;
  [[nodiscard]] std::uint32_t next() const noexcept { return next_; }
  void restore(const std::vector<wire::ice::Element>& nodes, std::uint32_t next);

 private:
  /// Nodes from the root to this one.
  [[nodiscard]] std::size_t depth(std::uint32_t teid) const;

  static constexpr std::uint32_t kRoot = 1, kTrafficClass = 2, kEntryPoint = 3;
  std::map<std::uint32_t, wire::ice::Element> nodes_;
  std::uint32_t next_ = 0;
};

}  // namespace vmux::device::e810
