// SPDX-License-Identifier: BSD-3-Clause
#include "host/values.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/format.hpp"

namespace vmux::host {
namespace {

template <class Number>
std::optional<Number> number(std::string_view text, int base) noexcept {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Cuts the part before `mark` off `rest`; nullopt if there is no mark.
std::optional<std::string_view> cut(std::string_view& rest, char mark) noexcept {
  const std::size_t at = rest.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view before = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  return before;
}

bool is_space(char c) noexcept { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && is_space(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_space(text.back()))
    text.remove_suffix(1);
  return text;
}

constexpr unsigned kMostCpus = 1 << 16;

}  // namespace

std::string PciAddress::text() const { return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function); }

std::optional<PciAddress> parse_pci_address(std::string_view text) noexcept {
  PciAddress address;
  if (std::count(text.begin(), text.end(), ':') == 2) {
    const auto domain = number<std::uint32_t>(*cut(text, ':'), 16);
    if (!domain) return std::nullopt;
    address.domain = *domain;
  }
  const auto bus_text = cut(text, ':');
  const auto device_text = cut(text, '.');
  if (!bus_text || !device_text) return std::nullopt;
  const auto bus = number<std::uint8_t>(*bus_text, 16);
  const auto device = number<std::uint8_t>(*device_text, 16);
  const auto function = number<std::uint8_t>(text, 16);
  if (!bus || !device || !function || *device > 31 || *function > 7) return std::nullopt;
  address.bus = *bus;
  address.device = *device;
  address.function = *function;
  return address;
}

PciAddress offset(PciAddress from, unsigned steps) noexcept {
  const unsigned id = (from.bus * 256u + from.device * 8u + from.function + steps) & 0xffff;
  from.bus = static_cast<std::uint8_t>(id / 256);
  from.device = static_cast<std::uint8_t>(id / 8 % 32);
  from.function = static_cast<std::uint8_t>(id % 8);
  return from;
}

std::optional<CpuSet> parse_cpus(std::string_view text) {
  CpuSet cpus;
  text = trim(text);
  while (!text.empty()) {
    std::string_view rest = text;
    const std::string_view part = cut(rest, ',').value_or(text);
    text = part.size() == text.size() ? std::string_view{} : rest;
    std::string_view last_text = part;
    const auto first_text = cut(last_text, '-');
    const auto last = number<unsigned>(last_text, 10);
    const auto first = first_text ? number<unsigned>(*first_text, 10) : last;
    if (!first || !last || *first > *last || *last >= kMostCpus) return std::nullopt;
    for (unsigned cpu = *first; cpu <= *last; ++cpu)
      cpus.insert(cpu);
  }
  return cpus;
}

std::string to_text(const CpuSet& cpus) {
  std::string text;
  for (auto at = cpus.begin(); at != cpus.end();) {
    const unsigned first = *at;
    unsigned last = first;
    for (++at; at != cpus.end() && *at == last + 1; ++at)
      last = *at;
    if (!text.empty()) text += ',';
    text += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
  }
  return text;
}

std::optional<std::string> parse_mac(std::string_view text) {
  std::array<std::uint8_t, 6> bytes{};
  if (text.size() != 17) return std::nullopt;
  for (std::size_t i = 0; i < 6; ++i) {
    const auto byte = number<std::uint8_t>(text.substr(i * 3, 2), 16);
    if (!byte || (i < 5 && text[i * 3 + 2] != ':' && text[i * 3 + 2] != '-')) return std::nullopt;
    bytes[i] = *byte;
  }
  const bool is_zero = std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
  if (is_zero || (bytes[0] & 1) != 0) return std::nullopt;
  return fmt::format("{:02x}", fmt::join(bytes, ":"));
}

std::optional<std::uint64_t> parse_size_kib(std::string_view text) noexcept {
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9')
    ++digits;
  const auto count = number<std::uint64_t>(text.substr(0, digits), 10);
  std::string_view unit = text.substr(digits);
  if (!count || *count > (1u << 30)) return std::nullopt;
  if (unit.size() == 2 && (unit[1] == 'B' || unit[1] == 'b')) unit.remove_suffix(1);
  if (unit == "k" || unit == "K") return *count;
  if (unit == "m" || unit == "M") return *count << 10;
  if (unit == "g" || unit == "G") return *count << 20;
  return std::nullopt;
}

std::string size_text(std::uint64_t kib) {
  if (kib >= 1u << 20 && kib % (1u << 20) == 0) return fmt::format("{}G", kib >> 20);
  if (kib >= 1u << 10 && kib % (1u << 10) == 0) return fmt::format("{}M", kib >> 10);
  return fmt::format("{}K", kib);
}

std::optional<std::uint64_t> parse_decimal(std::string_view text) noexcept { return number<std::uint64_t>(text, 10); }

std::optional<std::uint64_t> parse_hex(std::string_view text) noexcept {
  if (text.substr(0, 2) == "0x") text.remove_prefix(2);
  return number<std::uint64_t>(text, 16);
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  while (!(text = trim(text)).empty()) {
    const auto end = std::find_if(text.begin(), text.end(), is_space);
    const auto size = static_cast<std::size_t>(end - text.begin());
    found.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return found;
}

std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> found;
  while (!text.empty()) {
    std::string_view rest = text;
    const auto line = cut(rest, '\n');
    found.emplace_back(line.value_or(text));
    text = line ? rest : std::string_view{};
  }
  return found;
}

bool has_word(std::string_view text, std::string_view word) {
  const std::vector<std::string> all = words(text);
  return std::find(all.begin(), all.end(), word) != all.end();
}

std::string field(std::string_view text, std::string_view key) {
  for (const std::string& line : lines(text)) {
    std::string_view rest = line;
    const auto name = cut(rest, ':');
    if (name && trim(*name) == key) return std::string{trim(rest)};
  }
  return "";
}

}  // namespace vmux::host
