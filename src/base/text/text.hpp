// SPDX-License-Identifier: BSD-3-Clause
// What people write, to values and back: one reader for each kind of value, wherever it is written (command lines,
// files, calls). Pure.
//
// Whoever reads `0100` as 64 and whoever reads it as 100 are both surprised by the other, and both are many: C and YAML
// 1.1 count in eights behind a zero, YAML 1.2 and Python's int() do not, TOML and JSON refuse it. So do we, everywhere
// but for permission bits, which nobody ever wrote in another way.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/mac.hpp"

namespace vmux {

/// A value, or what was expected instead ("a CPU list such as 2,4-6").
template <class T>
using Parsed = tl::expected<T, std::string>;

/// A number of people: decimal digits without a leading zero, or hexadecimal ones behind 0x; no sign, no space, no
/// fraction. nullopt if it is none or greater than `max`.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max = ~0ull) noexcept;
inline constexpr const char* kNumberRule = "decimal digits without a leading zero, or 0x and hexadecimal ones";

/// Permission bits, the one number that is octal everywhere: "660", "0660" or "0o660", up to 0777.
[[nodiscard]] std::optional<unsigned> parse_mode(std::string_view text) noexcept;
inline constexpr const char* kModeRule =
    "octal digits up to 0777 as text, such as \"0660\" (a mode is the one number that is octal)";
/// "0660"
[[nodiscard]] std::string mode_text(unsigned mode);

/// "4-6", or "4" for 4 to 4: both numbers and at most `max`; nullopt when it is neither or runs backwards.
[[nodiscard]] std::optional<std::pair<unsigned, unsigned>> parse_span(std::string_view text, unsigned max) noexcept;

/// Hexadecimal digits, with or without 0x, as the kernel prints masks, IDs and registers.
[[nodiscard]] std::optional<std::uint64_t> parse_hex(std::string_view text, std::uint64_t max = ~0ull) noexcept;

/// Six pairs of hexadecimal digits with ':' or '-' between them. Any address.
[[nodiscard]] std::optional<MacAddress> parse_any_mac(std::string_view text) noexcept;
/// The same, of one station.
[[nodiscard]] Parsed<MacAddress> parse_mac(std::string_view text);
/// "52:54:00:12:34:56"
[[nodiscard]] std::string to_text(const MacAddress& mac);
/// `base` with `offset` added to its last three bytes (they wrap among themselves: the vendor part never changes).
[[nodiscard]] MacAddress offset_mac(MacAddress base, std::uint32_t offset) noexcept;

/// Where a PCI function is.
struct PciAddress {
  std::uint32_t domain = 0;  ///< wider than 16 bits where the kernel makes domains up (VMD, Hyper-V)
  std::uint8_t bus = 0, device = 0, function = 0;
  friend auto operator<=>(const PciAddress&, const PciAddress&) = default;  // NOLINT(modernize-use-nullptr): none here

  /// As the kernel writes it: "0000:01:00.0", "10000:e1:00.0".
  [[nodiscard]] std::string text() const;
};
/// "0000:01:00.0", or "01:00.0" in domain 0; digits as the kernel has them, or fewer or (of the domain, up to eight)
/// more zeros before them.
[[nodiscard]] std::optional<PciAddress> parse_pci_address(std::string_view text) noexcept;
inline constexpr const char* kPciAddressForm = "a PCI address such as 0000:08:00.0";

/// "2,4-6": CPUs (or memory nodes) in the order written, each once and below `kMostCpus`.
[[nodiscard]] Parsed<std::vector<unsigned>> parse_cpu_list(std::string_view text);
inline constexpr unsigned kMostCpus = 8192;  // the most that Linux can be configured for: NR_CPUS, arch/x86/Kconfig

/// "2M", "1G", "2048K", "2048kB", "2MiB", in bytes: all of them powers of 1024; a number without a unit is none.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;

/// The part before `mark`, taken off `rest` with it; nullopt if there is no mark.
[[nodiscard]] std::optional<std::string_view> cut(std::string_view& rest, char mark) noexcept;
/// Without white space at either end.
[[nodiscard]] std::string_view trim(std::string_view text) noexcept;
/// The parts of a text between marks: always at least one, which may be empty.
[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char mark);

}  // namespace vmux
