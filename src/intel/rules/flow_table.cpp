// SPDX-License-Identifier: BSD-3-Clause
#include "intel/rules/flow_table.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace vmux::intel {
namespace {

using Words = std::array<std::uint64_t, sizeof(FlowFields) / 8>;

bool matches(const Words& fields, const FlowRule& rule) noexcept {
  const auto value = std::bit_cast<Words>(rule.value), mask = std::bit_cast<Words>(rule.mask);
  std::uint64_t different = 0;
  for (std::size_t i = 0; i < fields.size(); ++i)
    different |= (fields[i] ^ value[i]) & mask[i];
  return different == 0;
}

}  // namespace

bool is_same(const FlowRule& a, const FlowRule& b) noexcept {
  return std::memcmp(&a.value, &b.value, sizeof a.value) == 0 && std::memcmp(&a.mask, &b.mask, sizeof a.mask) == 0;
}

bool FlowTable::add(const FlowRule& rule) {
  if (rules_.size() == kMaxRules) return false;
  rules_.push_back(rule);
  return true;
}

bool FlowTable::remove(std::uint32_t id) noexcept {
  return std::erase_if(rules_, [id](const FlowRule& rule) { return rule.id == id; }) > 0;
}

const FlowRule* FlowTable::match(const FlowFields& fields) const noexcept {
  const auto words = std::bit_cast<Words>(fields);
  const auto at =
      std::find_if(rules_.begin(), rules_.end(), [&](const FlowRule& rule) { return matches(words, rule); });
  return at == rules_.end() ? nullptr : &*at;
}

}  // namespace vmux::intel
