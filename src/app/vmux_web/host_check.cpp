// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/host_check.hpp"

#include <algorithm>

namespace vmux::app {
namespace {

constexpr std::size_t kLongestName = 255;  // RFC 1035, section 2.3.4
constexpr std::string_view kOfNames = "abcdefghijklmnopqrstuvwxyz0123456789-._";
constexpr std::string_view kOfAddresses = "0123456789abcdef:.";

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& each : out) {
    if (each >= 'A' && each <= 'Z') each = static_cast<char>(each - 'A' + 'a');
  }
  return out;
}

bool is_only(std::string_view text, std::string_view of) noexcept {
  return !text.empty() && text.find_first_not_of(of) == std::string_view::npos;
}

bool is_port(std::string_view text) noexcept {
  return text.size() <= 5 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::optional<std::string> host_of(std::string_view header) {
  const bool is_bracketed = header.starts_with('[');
  const std::size_t end = is_bracketed ? header.find(']') : header.find(':');
  if (is_bracketed && end == std::string_view::npos) return std::nullopt;
  const std::size_t length = is_bracketed ? end + 1 : std::min(end, header.size());
  const std::string name = lower(header.substr(0, length));
  const std::string_view rest = header.substr(length);
  if (!rest.empty() && (rest.front() != ':' || !is_port(rest.substr(1)))) return std::nullopt;
  if (name.size() > kLongestName) return std::nullopt;
  if (is_bracketed && !is_only(std::string_view{name}.substr(1, name.size() - 2), kOfAddresses)) return std::nullopt;
  if (!is_bracketed && !is_only(name, kOfNames)) return std::nullopt;
  return name;
}

AllowedHosts::AllowedHosts(std::vector<std::string> more) : names_{"localhost", "127.0.0.1", "[::1]"} {
  names_.insert(names_.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

bool AllowedHosts::has(std::string_view header) const {
  const auto name = host_of(header);
  return name && std::find(names_.begin(), names_.end(), *name) != names_.end();
}

}  // namespace vmux::app
