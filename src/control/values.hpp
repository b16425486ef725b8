// SPDX-License-Identifier: BSD-3-Clause
// Text as people write it, to numbers and back. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "vmux/base/log.hpp"

namespace vmux::control {

/// A value, or what was expected instead ("a CPU list such as 2,4-6").
template <class T>
using Parsed = tl::expected<T, std::string>;

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};
  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
};
/// Six pairs of hex digits with ':' or '-' between; unicast and not zero.
[[nodiscard]] Parsed<MacAddress> parse_mac(std::string_view text);
[[nodiscard]] std::string to_text(const MacAddress& mac);
/// `base` with `offset` added to its last three bytes (they wrap among themselves: the vendor part never changes).
[[nodiscard]] MacAddress offset_mac(MacAddress base, std::uint32_t offset) noexcept;

inline constexpr std::uint16_t kMaxVlan = 4094;  // IEEE 802.1Q 9.6: 0 and 4095 are reserved

struct VlanRange {
  std::uint16_t first = 0, last = 0;  // both included
  friend auto operator<=>(const VlanRange&, const VlanRange&) = default;
};
/// "10,20-30", sorted and merged; "all" is 1-4094.
[[nodiscard]] Parsed<std::vector<VlanRange>> parse_vlan_list(std::string_view text);
[[nodiscard]] std::string to_text(const std::vector<VlanRange>& list);
[[nodiscard]] bool contains(const std::vector<VlanRange>& list, std::uint16_t vlan) noexcept;

/// "2,4-6": every CPU once, in the order written.
[[nodiscard]] Parsed<std::vector<unsigned>> parse_cpu_list(std::string_view text);
[[nodiscard]] std::string to_text(const std::vector<unsigned>& cpus);

/// "08:00.0" or "0000:08:00.0", as the latter; nullopt when it is neither.
[[nodiscard]] std::optional<std::string> parse_pci_address(std::string_view text);

/// Decimal digits only, at most `max`.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max) noexcept;

/// Names of ports, switches and uplinks: 1 to 32 of [A-Za-z0-9._-], beginning with a letter or digit.
[[nodiscard]] bool is_name(std::string_view text) noexcept;
inline constexpr const char* kNameRule = "1 to 32 letters, digits, '.', '_' or '-', beginning with a letter or a digit";

[[nodiscard]] std::optional<LogLevel> parse_log_level(std::string_view text) noexcept;
[[nodiscard]] const char* to_text(LogLevel level) noexcept;
inline constexpr const char* kLogLevels = "trace, debug, info, warning, error, off";

}  // namespace vmux::control
