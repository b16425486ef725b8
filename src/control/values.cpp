// SPDX-License-Identifier: BSD-3-Clause
#include "control/values.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "base/format.hpp"

namespace vmux::control {
namespace {

constexpr auto kLevelNames = std::to_array<std::pair<std::string_view, LogLevel>>({
    {"trace", LogLevel::trace},
    {"debug", LogLevel::debug},
    {"info", LogLevel::info},
    {"warning", LogLevel::warning},
    {"error", LogLevel::error},
    {"off", LogLevel::off},
});

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// "4-6" or "4", each at most `max`; nullopt when it is neither or runs backwards.
std::optional<std::pair<unsigned, unsigned>> parse_span(std::string_view text, unsigned max) noexcept {
  const std::size_t dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash), max);
  const auto last = dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1), max);
  if (!first || !last || *first > *last) return std::nullopt;
  return std::pair{static_cast<unsigned>(*first), static_cast<unsigned>(*last)};
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t comma = text.find(at); comma != std::string_view::npos; comma = text.find(at)) {
    parts.push_back(text.substr(0, comma));
    text.remove_prefix(comma + 1);
  }
  parts.push_back(text);
  return parts;
}

}  // namespace

Parsed<MacAddress> parse_mac(std::string_view text) {
  constexpr std::string_view kForm = "a unicast MAC address such as 02:00:00:00:00:01";
  const auto wrong = [&] { return tl::unexpected<std::string>(std::string{kForm}); };
  if (text.size() != 17) return wrong();
  MacAddress mac;
  for (std::size_t i = 0; i < 6; ++i) {
    const int high = hex_digit(text[i * 3]);
    const int low = hex_digit(text[i * 3 + 1]);
    if (high < 0 || low < 0) return wrong();
    if (i < 5 && text[i * 3 + 2] != ':' && text[i * 3 + 2] != '-') return wrong();
    mac.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  if ((mac.bytes[0] & 1) != 0 || mac == MacAddress{}) return wrong();  // group bit: IEEE 802-2014 8.2.2
  return mac;
}

std::string to_text(const MacAddress& mac) {
  const auto& b = mac.bytes;
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4], b[5]);
}

MacAddress offset_mac(MacAddress base, std::uint32_t offset) noexcept {
  auto& b = base.bytes;
  const std::uint32_t low = (std::uint32_t{b[3]} << 16 | std::uint32_t{b[4]} << 8 | b[5]) + offset;
  b[3] = static_cast<std::uint8_t>(low >> 16);
  b[4] = static_cast<std::uint8_t>(low >> 8);
  b[5] = static_cast<std::uint8_t>(low);
  return base;
}

Parsed<std::vector<VlanRange>> parse_vlan_list(std::string_view text) {
  if (text == "all") return std::vector<VlanRange>{{1, kMaxVlan}};
  std::vector<VlanRange> list;
  for (const std::string_view part : split(text, ',')) {
    const auto span = parse_span(part, kMaxVlan);
    if (!span || span->first == 0) {
      return tl::unexpected<std::string>("VLANs from 1 to 4094 such as 10,20-30, or all");
    }
    list.push_back({static_cast<std::uint16_t>(span->first), static_cast<std::uint16_t>(span->second)});
  }
  std::sort(list.begin(), list.end());
  std::vector<VlanRange> merged;
  for (const VlanRange range : list) {
    if (!merged.empty() && range.first <= merged.back().last + 1) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

std::string to_text(const std::vector<VlanRange>& list) {
  std::string text;
  for (const VlanRange range : list) {
    if (!text.empty()) text += ',';
    text += range.first == range.last ? fmt::format("{}", range.first) : fmt::format("{}-{}", range.first, range.last);
  }
  return text;
}

bool contains(const std::vector<VlanRange>& list, std::uint16_t vlan) noexcept {
  return std::any_of(list.begin(), list.end(), [vlan](VlanRange r) { return r.first <= vlan && vlan <= r.last; });
}

Parsed<std::vector<unsigned>> parse_cpu_list(std::string_view text) {
  constexpr unsigned kMaxCpu = 1023;  // CPU_SETSIZE - 1
  std::vector<unsigned> cpus;
  for (const std::string_view part : split(text, ',')) {
    const auto span = parse_span(part, kMaxCpu);
    if (!span) return tl::unexpected<std::string>("a CPU list such as 2,4-6");
    for (unsigned cpu = span->first; cpu <= span->second; ++cpu) {
      if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) {
        return tl::unexpected<std::string>(fmt::format("each CPU once (CPU {} is named twice)", cpu));
      }
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

std::string to_text(const std::vector<unsigned>& cpus) { return fmt::format("{}", fmt::join(cpus, ",")); }

std::optional<std::string> parse_pci_address(std::string_view text) {
  std::string address = text.size() == 7 ? "0000:" + std::string{text} : std::string{text};
  constexpr std::string_view kShape = "xxxx:xx:xx.x";
  if (address.size() != kShape.size()) return std::nullopt;
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const auto c = static_cast<unsigned char>(address[i]);
    const bool fits = kShape[i] == 'x' ? std::isxdigit(c) != 0 : address[i] == kShape[i];
    if (!fits) return std::nullopt;
    address[i] = static_cast<char>(std::tolower(c));
  }
  const bool is_function = address.back() >= '0' && address.back() <= '7';
  const bool is_slot = address[8] == '0' || address[8] == '1';  // five bits
  return is_function && is_slot ? std::optional{address} : std::nullopt;
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stopped != end || value > max) return std::nullopt;
  return value;
}

bool is_name(std::string_view text) noexcept {
  const auto is_alnum = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  const auto is_allowed = [&](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= 32 && is_alnum(text.front()) &&
         std::all_of(text.begin(), text.end(), is_allowed);
}

std::optional<LogLevel> parse_log_level(std::string_view text) noexcept {
  for (const auto& [name, level] : kLevelNames) {
    if (name == text) return level;
  }
  return std::nullopt;
}

const char* to_text(LogLevel level) noexcept {
  for (const auto& [name, value] : kLevelNames) {
    if (value == level) return name.data();
  }
  return "off";
}

}  // namespace vmux::control
