// SPDX-License-Identifier: BSD-3-Clause
#include "backend/traffic/traffic_options.hpp"

#include <charconv>

namespace vmux::backend {
namespace {

constexpr std::uint32_t kMinSize = 60, kMaxSize = 9018, kMaxFlows = 1024, kMaxFrames = 1024;

template <class Number>
bool parse_number(std::string_view text, int base, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc{} && end == text.data() + text.size();
}

bool parse_mac(std::string_view text, TrafficOptions::Mac& out) {
  if (text.size() != 17) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (i > 0 && text[3 * i - 1] != ':') return false;
    if (!parse_number(text.substr(3 * i, 2), 16, out[i])) return false;
  }
  return true;
}

bool set_option(std::string_view key, std::string_view value, TrafficOptions& options) {
  if (key == "size") return parse_number(value, 10, options.size);
  if (key == "flows") return parse_number(value, 10, options.flows);
  if (key == "frames") return parse_number(value, 10, options.frames);
  if (key == "to") return parse_mac(value, options.to);
  if (key == "from") return parse_mac(value, options.from) && (options.from[0] & 1) == 0;
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
