// SPDX-License-Identifier: BSD-3-Clause
// Text as the kernel and people write it, to values and back. Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace vmux::host {

/// Where a PCI function is.
struct PciAddress {
  std::uint32_t domain = 0;  ///< wider than 16 bits where the kernel makes domains up (VMD)
  std::uint8_t bus = 0, device = 0, function = 0;
  friend auto operator<=>(const PciAddress&, const PciAddress&) = default;  // NOLINT(modernize-use-nullptr): none here

  /// "0000:01:00.0"
  [[nodiscard]] std::string text() const;
};
/// "0000:01:00.0", or "01:00.0" in domain 0.
[[nodiscard]] std::optional<PciAddress> parse_pci_address(std::string_view text) noexcept;
/// The address `steps` routing IDs further on (bus, device and function count as one number), as VFs are placed.
[[nodiscard]] PciAddress offset(PciAddress from, unsigned steps) noexcept;

using CpuSet = std::set<unsigned>;
/// The kernel's form of lists of CPUs and nodes: "0-3,8"; an empty text is the empty set.
[[nodiscard]] std::optional<CpuSet> parse_cpus(std::string_view text);
[[nodiscard]] std::string to_text(const CpuSet& cpus);

/// "52:54:00:12:34:56" in small letters; nullopt unless it is six bytes, unicast and not zero.
[[nodiscard]] std::optional<std::string> parse_mac(std::string_view text);

/// "2M", "1G", "2048K", "2048kB": in KiB.
[[nodiscard]] std::optional<std::uint64_t> parse_size_kib(std::string_view text) noexcept;
/// 2048: "2M"; 1048576: "1G".
[[nodiscard]] std::string size_text(std::uint64_t kib);

[[nodiscard]] std::optional<std::uint64_t> parse_decimal(std::string_view text) noexcept;
/// With or without 0x.
[[nodiscard]] std::optional<std::uint64_t> parse_hex(std::string_view text) noexcept;

/// The words of a text; any white space between them.
[[nodiscard]] std::vector<std::string> words(std::string_view text);
[[nodiscard]] std::vector<std::string> lines(std::string_view text);
[[nodiscard]] bool has_word(std::string_view text, std::string_view word);
/// The value of a "Key:   value" line, as in /proc/self/status and /proc/cpuinfo; the first that matches.
[[nodiscard]] std::string field(std::string_view text, std::string_view key);

}  // namespace vmux::host
