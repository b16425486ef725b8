// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/spec/values.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/text/format.hpp"

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

// Least and most of a limit.
constexpr std::pair<std::uint64_t, std::uint64_t> kBits{8'000, 1'000'000'000'000}, kFrames{1, 1'000'000'000},
    kBurst{2048, 1u << 30};
constexpr std::string_view kScales = "kMG";

bool take_prefix(std::string_view& text, std::string_view prefix) noexcept {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_suffix(std::string_view& text, std::string_view suffix) noexcept {
  if (text.size() < suffix.size() || text.substr(text.size() - suffix.size()) != suffix) return false;
  text.remove_suffix(suffix.size());
  return true;
}

// "20k": k (or K), M and G are powers of `step`.
std::optional<std::uint64_t> parse_scaled(std::string_view text, std::uint64_t step) noexcept {
  std::uint64_t scale = 1;
  if (!text.empty()) {
    const char last = text.back() == 'K' ? 'k' : text.back();
    if (const std::size_t at = kScales.find(last); at != std::string_view::npos) {
      for (std::size_t i = 0; i <= at; ++i)
        scale *= step;
      text.remove_suffix(1);
    }
  }
  const auto number = parse_number(text, 1'000'000'000'000);
  if (!number) return std::nullopt;
  return *number > ~0ull / scale ? std::nullopt : std::optional{*number * scale};
}

// In the largest unit that it is a whole number of: k of thousands, K of 1024s.
std::string scaled(std::uint64_t number, std::uint64_t step) {
  std::size_t scale = 0;
  for (; scale < kScales.size() && number % step == 0; ++scale)
    number /= step;
  return scale == 0 ? fmt::format("{}", number)
                    : fmt::format("{}{}", number, (step == 1024 ? "KMG" : kScales)[scale - 1]);
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  IpAddress address{.is_v6 = text.find(':') != std::string_view::npos};
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  if (::inet_pton(address.is_v6 ? AF_INET6 : AF_INET, std::string{text}.c_str(), address.bytes.data()) != 1)
    return std::nullopt;
  const bool is_group = address.is_v6 ? address.bytes[0] == 0xff : address.bytes[0] >= 224;
  return is_group || address.bytes == IpAddress{}.bytes ? std::nullopt : std::optional{address};
}

}  // namespace

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

Parsed<std::vector<StaticMac>> parse_static_macs(std::string_view text) {
  constexpr std::size_t kMost = 64;
  const auto wrong = [] {
    return tl::unexpected<std::string>(
        "unicast MAC addresses with @VLAN behind those in one, such as 02:00:00:00:00:01,02:00:00:00:00:02@10, each "
        "once, at most 64");
  };
  std::vector<StaticMac> list;
  for (const std::string_view part : split(text, ',')) {
    const std::size_t at = part.find('@');
    const auto mac = parse_mac(part.substr(0, at));
    if (!mac || list.size() == kMost) return wrong();
    StaticMac one{*mac, {}};
    if (at != std::string_view::npos) {
      const auto vlan = parse_number(part.substr(at + 1), kMaxVlan);
      if (!vlan || *vlan == 0) return wrong();
      one.vlan = static_cast<std::uint16_t>(*vlan);
    }
    if (std::find(list.begin(), list.end(), one) != list.end()) return wrong();
    list.push_back(one);
  }
  return list;
}

std::string to_text(const std::vector<StaticMac>& list) {
  std::string text;
  for (const StaticMac& one : list) {
    if (!text.empty()) text += ',';
    text += to_text(one.mac);
    if (one.vlan) text += fmt::format("@{}", *one.vlan);
  }
  return text;
}

Parsed<std::vector<IpAddress>> parse_addresses(std::string_view text) {
  constexpr std::size_t kMost = 64;
  std::vector<IpAddress> list;
  for (const std::string_view part : split(text, ',')) {
    const auto address = parse_ip(part);
    if (!address || list.size() == kMost || std::find(list.begin(), list.end(), *address) != list.end()) {
      return tl::unexpected<std::string>("IP addresses of stations such as 10.0.0.5,fd00::5, each once, at most 64");
    }
    list.push_back(*address);
  }
  return list;
}

std::string to_text(const std::vector<IpAddress>& list) {
  std::string text;
  for (const IpAddress& one : list) {
    std::array<char, INET6_ADDRSTRLEN> room{};
    ::inet_ntop(one.is_v6 ? AF_INET6 : AF_INET, one.bytes.data(), room.data(), room.size());
    if (!text.empty()) text += ',';
    text += room.data();
  }
  return text;
}

Parsed<MirrorTo> parse_mirror(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view which = colon == std::string_view::npos ? "both" : text.substr(colon + 1);
  const bool is_known = which == "in" || which == "out" || which == "both";
  const std::string_view name = text.substr(0, colon);
  if (!is_known || !is_name(name)) {
    return tl::unexpected<std::string>("the name of a port or uplink, with :in, :out or :both behind it or nothing");
  }
  return MirrorTo{std::string{name}, which != "out", which != "in"};
}

std::string to_text(const MirrorTo& mirror) {
  return mirror.name + (mirror.in && mirror.out ? ":both" : mirror.in ? ":in" : ":out");
}

Parsed<switching::Limit> parse_limit(std::string_view text) {
  const auto wrong = [] {
    return tl::unexpected<std::string>(
        "bits per second (8k to 1000G), frames per second (1pps to 1000Mpps), or both, and bytes at once (burst=2K to "
        "1G), such as 100M or 1G,200kpps,burst=512K");
  };
  switching::Limit limit;
  for (std::string_view part : split(text, ',')) {
    const bool is_burst = take_prefix(part, "burst="), is_frames = !is_burst && take_suffix(part, "pps");
    std::uint64_t& number = is_burst ? limit.burst_bytes : is_frames ? limit.frames_per_s : limit.bits_per_s;
    const auto [least, most] = is_burst ? kBurst : is_frames ? kFrames : kBits;
    const auto value = parse_scaled(part, is_burst ? 1024 : 1000);
    if (number != 0 || !value || *value < least || *value > most) return wrong();
    number = *value;
  }
  if (!limit.is_set() || (limit.burst_bytes != 0 && limit.bits_per_s == 0)) return wrong();
  return limit;
}

std::string to_text(const switching::Limit& limit) {
  std::vector<std::string> parts;
  if (limit.bits_per_s != 0) parts.push_back(scaled(limit.bits_per_s, 1000));
  if (limit.frames_per_s != 0) parts.push_back(scaled(limit.frames_per_s, 1000) + "pps");
  if (limit.burst_bytes != 0) parts.push_back("burst=" + scaled(limit.burst_bytes, 1024));
  return fmt::format("{}", fmt::join(parts, ","));
}

std::string to_text(const std::vector<unsigned>& cpus) { return fmt::format("{}", fmt::join(cpus, ",")); }

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
