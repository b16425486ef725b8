// SPDX-License-Identifier: BSD-3-Clause
#include "backend/traffic/traffic_options.hpp"

#include <algorithm>

#include "base/text/text.hpp"

namespace vmux::backend {
namespace {

constexpr std::uint32_t kMinSize = 60, kMaxSize = 9018, kMaxFlows = 1024, kMaxFrames = 1024;

bool take_number(std::string_view text, std::uint32_t& out) {
  const auto number = parse_number(text, ~0u);
  out = static_cast<std::uint32_t>(number.value_or(0));
  return number.has_value();
}

bool take_mac(std::string_view text, MacAddress& out) {
  const auto mac = parse_any_mac(text);
  out = mac.value_or(MacAddress{});
  return mac.has_value();
}

bool set_option(std::string_view key, std::string_view value, TrafficOptions& options) {
  if (key == "size") return take_number(value, options.size);
  if (key == "flows") return take_number(value, options.flows);
  if (key == "frames") return take_number(value, options.frames);
  if (key == "to") return take_mac(value, options.to);
  if (key == "from") return take_mac(value, options.from) && !is_multicast(options.from);
  return false;
}

}  // namespace

Result<TrafficOptions> parse_generator(std::string_view text) {
  TrafficOptions options{.generates = true, .size = 0};
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos || !set_option(item.substr(0, equals), item.substr(equals + 1), options)) {
      return fail(Errc::invalid_argument, "expected size=BYTES and, if wanted, to=MAC, from=MAC, flows=N, frames=N");
    }
  }
  if (options.size < kMinSize || options.size > kMaxSize) {
    return fail(Errc::invalid_argument, "a generator needs size=BYTES, 60 to 9018");
  }
  if (options.flows == 0 || options.flows > kMaxFlows) return fail(Errc::invalid_argument, "flows: 1 to 1024");
  if (options.frames == 0 || options.frames > kMaxFrames) return fail(Errc::invalid_argument, "frames: 1 to 1024");
  return options;
}

}  // namespace vmux::backend
