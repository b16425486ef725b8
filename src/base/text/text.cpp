// SPDX-License-Identifier: BSD-3-Clause
#include "base/text/text.hpp"

#include <algorithm>
#include <charconv>

#include "base/text/format.hpp"

namespace vmux {
namespace {

/// All of the text as digits of `base`: from_chars takes no sign for an unsigned number, no space and no 0x.
std::optional<std::uint64_t> digits(std::string_view text, int base, std::uint64_t max) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc{} || stopped != end || value > max) return std::nullopt;
  return value;
}

bool is_hex_prefixed(std::string_view text) noexcept { return text.substr(0, 2) == "0x"; }

/// 1 to `most` hexadecimal digits.
std::optional<std::uint64_t> short_hex(std::string_view text, std::size_t most, std::uint64_t max) noexcept {
  return text.size() > most ? std::nullopt : digits(text, 16, max);
}

/// How far a unit shifts: 10 for K, 20 for M, ...; nullopt if it is none.
std::optional<unsigned> shift_of(std::string_view unit) noexcept {
  constexpr std::string_view kUnits = "kmgt";
  const std::string_view tail = unit.substr(std::min<std::size_t>(unit.size(), 1));
  if (unit.empty() || (!tail.empty() && tail != "B" && tail != "b" && tail != "iB")) return std::nullopt;
  const char letter = unit[0] >= 'A' && unit[0] <= 'Z' ? static_cast<char>(unit[0] - 'A' + 'a') : unit[0];
  const std::size_t place = kUnits.find(letter);
  if (place == std::string_view::npos) return std::nullopt;
  return static_cast<unsigned>(10 * (place + 1));
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max) noexcept {
  if (is_hex_prefixed(text)) return digits(text.substr(2), 16, max);
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return digits(text, 10, max);
}

std::optional<unsigned> parse_mode(std::string_view text) noexcept {
  const auto mode = digits(text.substr(0, 2) == "0o" ? text.substr(2) : text, 8, 0777);
  return mode ? std::optional{static_cast<unsigned>(*mode)} : std::nullopt;
}

std::string mode_text(unsigned mode) { return fmt::format("{:04o}", mode); }

std::optional<std::pair<unsigned, unsigned>> parse_span(std::string_view text, unsigned max) noexcept {
  std::string_view last_text = text;
  const auto first_text = cut(last_text, '-');
  const auto last = parse_number(last_text, max);
  const auto first = first_text ? parse_number(*first_text, max) : last;
  if (!first || !last || *first > *last) return std::nullopt;
  return std::pair{static_cast<unsigned>(*first), static_cast<unsigned>(*last)};
}

std::optional<std::uint64_t> parse_hex(std::string_view text, std::uint64_t max) noexcept {
  return digits(is_hex_prefixed(text) ? text.substr(2) : text, 16, max);
}

std::optional<MacAddress> parse_any_mac(std::string_view text) noexcept {
  MacAddress mac{};
  if (text.size() != 17) return std::nullopt;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const auto byte = digits(text.substr(i * 3, 2), 16, 0xff);
    if (!byte || (i < 5 && text[i * 3 + 2] != ':' && text[i * 3 + 2] != '-')) return std::nullopt;
    mac[i] = static_cast<std::uint8_t>(*byte);
  }
  return mac;
}

Parsed<MacAddress> parse_mac(std::string_view text) {
  const auto mac = parse_any_mac(text);
  if (mac && is_station(*mac)) return *mac;
  return tl::unexpected<std::string>("a unicast MAC address such as 02:00:00:00:00:01");
}

std::string to_text(const MacAddress& mac) { return fmt::format("{:02x}", fmt::join(mac, ":")); }

MacAddress offset_mac(MacAddress base, std::uint32_t offset) noexcept {
  const std::uint32_t low = (std::uint32_t{base[3]} << 16 | std::uint32_t{base[4]} << 8 | base[5]) + offset;
  base[3] = static_cast<std::uint8_t>(low >> 16);
  base[4] = static_cast<std::uint8_t>(low >> 8);
  base[5] = static_cast<std::uint8_t>(low);
  return base;
}

std::string PciAddress::text() const { return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function); }

std::optional<PciAddress> parse_pci_address(std::string_view text) noexcept {
  PciAddress address;
  if (std::count(text.begin(), text.end(), ':') == 2) {
    const auto domain = short_hex(*cut(text, ':'), 8, 0xffff'ffff);
    if (!domain) return std::nullopt;
    address.domain = static_cast<std::uint32_t>(*domain);
  }
  const auto bus_text = cut(text, ':');
  const auto device_text = cut(text, '.');
  if (!bus_text || !device_text) return std::nullopt;
  const auto bus = short_hex(*bus_text, 2, 0xff);
  const auto device = short_hex(*device_text, 2, 0x1f);
  const auto function = short_hex(text, 1, 7);
  if (!bus || !device || !function) return std::nullopt;
  address.bus = static_cast<std::uint8_t>(*bus);
  address.device = static_cast<std::uint8_t>(*device);
  address.function = static_cast<std::uint8_t>(*function);
  return address;
}

Parsed<std::vector<unsigned>> parse_cpu_list(std::string_view text) {
  std::vector<unsigned> cpus;
  std::vector<bool> is_named(kMostCpus);
  for (const std::string_view part : split(text, ',')) {
    const auto span = parse_span(part, kMostCpus - 1);
    if (!span) return tl::unexpected<std::string>("a CPU list such as 2,4-6");
    for (unsigned cpu = span->first; cpu <= span->second; ++cpu) {
      if (is_named[cpu]) {
        return tl::unexpected<std::string>(fmt::format("each CPU once (CPU {} is named twice)", cpu));
      }
      is_named[cpu] = true;
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
  const std::size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = parse_number(text.substr(0, end));
  const auto shift = shift_of(text.substr(end));
  if (!count || !shift || *count > (~0ull >> *shift)) return std::nullopt;
  return *count << *shift;
}

std::optional<std::string_view> cut(std::string_view& rest, char mark) noexcept {
  const std::size_t at = rest.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view before = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  return before;
}

std::string_view trim(std::string_view text) noexcept {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  while (const auto part = cut(text, mark))
    parts.push_back(*part);
  parts.push_back(text);
  return parts;
}

}  // namespace vmux
