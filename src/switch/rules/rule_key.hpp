// SPDX-License-Identifier: BSD-3-Clause
// What rules look at of a frame, as eight words: a FlowFields, with what the switch knows of the frame in its spare
// bytes.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "packet/flow_fields.hpp"

namespace vmux::switching {

using RuleWords = std::array<std::uint64_t, sizeof(packet::FlowFields) / 8>;

/// Where the switch's own fields are in FlowFields::spare, in host order.
inline constexpr std::size_t kSparePort = 0;  ///< two bytes: 1 + slot of the port whose frame it is
inline constexpr std::size_t kSpareMark = 2;

[[nodiscard]] inline RuleWords words_of(const packet::FlowFields& fields) noexcept {
  return std::bit_cast<RuleWords>(fields);
}
[[nodiscard]] inline bool is_same(const RuleWords& a, const RuleWords& b) noexcept {
  std::uint64_t different = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    different |= a[i] ^ b[i];
  return different == 0;
}
/// `port` and `mark` in their place.
[[nodiscard]] inline std::array<std::uint8_t, 4> spare_of(std::uint16_t port, std::uint8_t mark) noexcept {
  std::array<std::uint8_t, 4> spare{};
  std::memcpy(spare.data() + kSparePort, &port, sizeof port);
  spare[kSpareMark] = mark;
  return spare;
}

/// What stands beside the bytes.
struct RuleContext {
  std::uint16_t vlan = 0;  ///< in which the frame is
  std::uint16_t port = 0;  ///< 1 + slot
  std::uint8_t mark = 0;
};

/// Fills `key`. False: it is IP, and its header or that behind it cannot be read to where rules may ask: it is cut
/// short, lies behind more than is copied, or is torn over fragments (RFC 1858), so that no rule could say what it is.
[[nodiscard]] bool rule_key(const packet::FrameView& view, const RuleContext& context, RuleWords& key) noexcept;

/// A keyed hash of all words: universal (multilinear), so that nobody who does not know the seed can choose flows that
/// meet.
class RuleHash {
 public:
  explicit RuleHash(std::uint64_t seed) noexcept;
  [[nodiscard]] std::uint64_t operator()(const RuleWords& words) const noexcept {
    std::uint64_t low = 0, high = 0;
    for (std::size_t i = 0; i < words.size(); i += 2) {
      low += (words[i] + add_[i]) * factor_[i];
      high += (words[i + 1] + add_[i + 1]) * factor_[i + 1];
    }
    const std::uint64_t sum = low + std::rotl(high, 32);
    return (sum ^ sum >> 32) * factor_[0];
  }

 private:
  RuleWords add_, factor_;
};

}  // namespace vmux::switching
