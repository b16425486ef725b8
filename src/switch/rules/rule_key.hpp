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
#pragma GCC unroll 8
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

/// Fills `key` with what `fields` has ones for. False: it is IP, and its header or that behind it cannot be read to
/// where rules may ask: it is cut short, lies behind more than is copied, or is torn over fragments (RFC 1858), so that
/// no rule could say what it is.
[[nodiscard]] bool rule_key(const packet::FrameView& view, const RuleContext& context, const RuleWords& fields,
                            RuleWords& key) noexcept;

/// The same of a frame that PlainFields::is_plain().
void plain_key(packet::Slice header, const RuleContext& context, const RuleWords& fields, RuleWords& key) noexcept;

/// Whether a frame has the key of one before it, without making one: for frames of the usual kind, IPv4 without a tag
/// in front, options or fragments, with a whole TCP or UDP header.
class PlainFields {
 public:
  PlainFields() noexcept = default;
  /// Those that rules look at (RuleTable::fields()).
  explicit PlainFields(const RuleWords& fields) noexcept;

  [[nodiscard]] static bool is_plain(packet::Slice header) noexcept;
  /// `plain` is. Both are of one VLAN and one port.
  [[nodiscard]] bool are_alike(packet::Slice plain, packet::Slice other) const noexcept {
    constexpr std::uint8_t kUdp = 17;
    if (plain.size() != other.size()) return false;
    std::uint64_t different = 0;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < masks_.size(); ++i)
      different |= (load(plain, kPlaces[i]) ^ load(other, kPlaces[i])) & masks_[i];
    // The ports, and of TCP how long its header is.
    std::uint32_t ports = 0, other_ports = 0;
    std::memcpy(&ports, plain.data() + kPorts, sizeof ports);
    std::memcpy(&other_ports, other.data() + kPorts, sizeof other_ports);
    different |= (ports ^ other_ports) & ports_;
    return different == 0 && (plain[kProtocol] == std::byte{kUdp} || plain[kDataOffset] == other[kDataOffset]);
  }

 private:
  static constexpr std::array<std::size_t, 4> kPlaces{0, 8, 16, 26};  // eight bytes each
  static constexpr std::size_t kProtocol = 23, kPorts = 34, kDataOffset = 46;
  [[nodiscard]] static std::uint64_t load(packet::Slice bytes, std::size_t at) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }
  std::array<std::uint64_t, 4> masks_{};
  std::uint32_t ports_ = 0;
};

/// A keyed hash: multilinear, so that nobody who does not know the seed can choose flows that meet.
class RuleHash {
 public:
  explicit RuleHash(std::uint64_t seed) noexcept;
  [[nodiscard]] std::uint64_t operator()(const RuleWords& words) const noexcept {
    std::uint64_t sum = 0;
#pragma GCC unroll 8
    for (std::size_t i = 0; i < words.size(); ++i)
      sum += words[i] * factors_[i];
    return mixed(sum);
  }
  /// The same of a key of which other words are 0, word by word.
  [[nodiscard]] std::uint64_t part(std::size_t word, std::uint64_t value) const noexcept {
    return value * factors_[word];
  }
  [[nodiscard]] std::uint64_t mixed(std::uint64_t sum) const noexcept {
    const std::uint64_t high = (sum ^ sum >> 32) * factors_[0];
    return high ^ high >> 32;
  }

 private:
  RuleWords factors_;
};

}  // namespace vmux::switching
