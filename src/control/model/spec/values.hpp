// SPDX-License-Identifier: BSD-3-Clause
// Text that only control has, to values and back; numbers, addresses and lists of CPUs are read by base/text/text.hpp.
// Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/text/text.hpp"
#include "switch/switch.hpp"
#include "vmux/base/log.hpp"

namespace vmux::control {

using vmux::IpAddress;
using vmux::MacAddress;
using vmux::offset_mac;
using vmux::parse_cpu_list;
using vmux::parse_mac;
using vmux::parse_number;
using vmux::parse_pci_address;
using vmux::Parsed;
using vmux::to_text;

inline constexpr std::uint16_t kMaxVlan = 4094;  // IEEE 802.1Q 9.6: 0 and 4095 are reserved

struct VlanRange {
  std::uint16_t first = 0, last = 0;  // both included
  friend auto operator<=>(const VlanRange&, const VlanRange&) = default;
};
/// "10,20-30", sorted and merged; "all" is 1-4094.
[[nodiscard]] Parsed<std::vector<VlanRange>> parse_vlan_list(std::string_view text);
[[nodiscard]] std::string to_text(const std::vector<VlanRange>& list);
[[nodiscard]] bool contains(const std::vector<VlanRange>& list, std::uint16_t vlan) noexcept;

/// A station, in a VLAN or in that of untagged frames.
struct StaticMac {
  MacAddress mac;
  std::optional<std::uint16_t> vlan;
  friend auto operator<=>(const StaticMac&, const StaticMac&) = default;
};
/// "02:00:00:00:00:01,02:00:00:00:00:02@10", each once, at most 64.
[[nodiscard]] Parsed<std::vector<StaticMac>> parse_static_macs(std::string_view text);
[[nodiscard]] std::string to_text(const std::vector<StaticMac>& list);

/// "10.0.0.5,fd00::5", each once, at most 64; none is a group's or nobody's.
[[nodiscard]] Parsed<std::vector<IpAddress>> parse_addresses(std::string_view text);
[[nodiscard]] std::string to_text(const std::vector<IpAddress>& list);

/// Copies of an object's frames for another: of those that it sends, that it gets, or both.
struct MirrorTo {
  std::string name;
  bool in = true, out = true;
  friend bool operator==(const MirrorTo&, const MirrorTo&) = default;
};
/// "analyser", or with ":in", ":out" or ":both" behind it, which is what is meant without.
[[nodiscard]] Parsed<MirrorTo> parse_mirror(std::string_view text);
[[nodiscard]] std::string to_text(const MirrorTo& mirror);

/// "100M" (bit/s), "20kpps" (frames/s), or both, and what passes at once: "1G,200kpps,burst=512K" (bytes). k, M and G
/// are thousands of bits and frames, and 1024s of bytes.
[[nodiscard]] Parsed<switching::Limit> parse_limit(std::string_view text);
[[nodiscard]] std::string to_text(const switching::Limit& limit);

[[nodiscard]] std::string to_text(const std::vector<unsigned>& cpus);

/// Names of ports, switches and uplinks: 1 to 32 of [A-Za-z0-9._-], beginning with a letter or digit.
[[nodiscard]] bool is_name(std::string_view text) noexcept;
inline constexpr const char* kNameRule = "1 to 32 letters, digits, '.', '_' or '-', beginning with a letter or a digit";

[[nodiscard]] std::optional<LogLevel> parse_log_level(std::string_view text) noexcept;
[[nodiscard]] const char* to_text(LogLevel level) noexcept;
inline constexpr const char* kLogLevels = "trace, debug, info, warning, error, off";

}  // namespace vmux::control
