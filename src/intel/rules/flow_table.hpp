// SPDX-License-Identifier: BSD-3-Clause
// Flow rules (flow director, cloud filters): fields of a frame under a mask, and what is done with those that match.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "packet/flow_fields.hpp"

namespace vmux::intel {

using packet::flow_fields;
using packet::FlowFields;

enum class FlowAction : std::uint8_t { queue, queue_group, drop, pass };

struct FlowRule {
  FlowFields value, mask;
  FlowAction action = FlowAction::pass;  ///< pass: where RSS leads
  std::uint16_t queue = 0;               ///< of a group: the first
  std::uint16_t group_size = 1;
  std::uint32_t id = 0;               ///< what names the rule between driver and device
  std::optional<std::uint32_t> mark;  ///< told in the write-back
  bool is_cloud = false;              ///< added as a cloud filter
};

/// Whether two rules are about the same frames.
[[nodiscard]] bool is_same(const FlowRule& a, const FlowRule& b) noexcept;

/// Rules in the order in which they were added: the first that matches wins.
class FlowTable {
 public:
  /// As many as Linux ever asks for (IAVF_MAX_FDIR_FILTERS): each costs every frame to this port a comparison, on the
  /// poller of whoever sends it.
  static constexpr std::size_t kMaxRules = 128;
  /// False when the table is full.
  [[nodiscard]] bool add(const FlowRule& rule);
  /// False when there is none of this id.
  bool remove(std::uint32_t id) noexcept;
  /// The first rule that `predicate` holds for, or nullptr.
  template <class F>
  [[nodiscard]] const FlowRule* find_if(F predicate) const {
    for (const FlowRule& rule : rules_) {
      if (predicate(rule)) return &rule;
    }
    return nullptr;
  }
  [[nodiscard]] std::span<const FlowRule> rules() const noexcept { return rules_; }
  void clear() noexcept { rules_.clear(); }
  [[nodiscard]] std::size_t size() const noexcept { return rules_.size(); }
  [[nodiscard]] bool empty() const noexcept { return rules_.empty(); }
  [[nodiscard]] const FlowRule* match(const FlowFields& fields) const noexcept;

 private:
  std::vector<FlowRule> rules_;
};

}  // namespace vmux::intel
