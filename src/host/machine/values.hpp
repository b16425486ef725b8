// SPDX-License-Identifier: BSD-3-Clause
// Text as the kernel writes it, to values and back; what people write is read by base/text/text.hpp. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/text/text.hpp"

namespace vmux::host {

using vmux::parse_hex;
using vmux::parse_pci_address;
using vmux::PciAddress;

/// The address `steps` routing IDs further on (bus, device and function count as one number), as VFs are placed.
[[nodiscard]] PciAddress offset(PciAddress from, unsigned steps) noexcept;

using CpuSet = std::set<unsigned>;
/// The kernel's lists of CPUs and nodes: as people write them, but that an empty text is the empty set.
[[nodiscard]] std::optional<CpuSet> parse_cpus(std::string_view text);
[[nodiscard]] std::string to_text(const CpuSet& cpus);

/// vmux::parse_mac() and back: "52:54:00:12:34:56" in small letters, as the kernel writes it.
[[nodiscard]] std::optional<std::string> parse_mac(std::string_view text);

/// vmux::parse_size() in KiB.
[[nodiscard]] std::optional<std::uint64_t> parse_size_kib(std::string_view text) noexcept;
/// 2048: "2M"; 1048576: "1G".
[[nodiscard]] std::string size_text(std::uint64_t kib);

/// A number as the kernel prints it in decimal.
[[nodiscard]] std::optional<std::uint64_t> parse_decimal(std::string_view text) noexcept;

/// The words of a text; any white space between them.
[[nodiscard]] std::vector<std::string> words(std::string_view text);
[[nodiscard]] std::vector<std::string> lines(std::string_view text);
[[nodiscard]] bool has_word(std::string_view text, std::string_view word);
/// The value of a "Key:   value" line, as in /proc/self/status and /proc/cpuinfo; the first that matches.
[[nodiscard]] std::string field(std::string_view text, std::string_view key);

}  // namespace vmux::host
