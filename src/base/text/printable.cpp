// SPDX-License-Identifier: BSD-3-Clause
#include "base/text/printable.hpp"

#include <cstdint>

#include "base/text/format.hpp"

namespace vmux {
namespace {

struct Character {
  char32_t code = 0;
  std::size_t bytes = 0;  // 0: the first byte begins nothing
};

/// The character at the start of `text`, which is not empty (RFC 3629, section 3: shortest form only, no surrogates).
Character first_of(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  char32_t code = lead & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, bytes};
}

bool is_shown(char32_t code) noexcept {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  const bool is_separator = code == 0x2028 || code == 0x2029;
  const bool is_direction = code == 0x061c || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
                            (code >= 0x2066 && code <= 0x2069);
  return !is_separator && !is_direction;
}

void escape(std::string& out, char32_t code) {
  if (code == '\n') {
    out += "\\n";
  } else if (code == '\r') {
    out += "\\r";
  } else if (code == '\t') {
    out += "\\t";
  } else {
    out += code < 0x80 ? fmt::format("\\x{:02x}", static_cast<unsigned>(code))
                       : fmt::format("\\u{:04x}", static_cast<unsigned>(code));
  }
}

std::string escaped(std::string_view text, bool keeps_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character next = first_of(text);
    if (next.bytes == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<std::uint8_t>(text.front())));
    } else if (is_shown(next.code) || (keeps_lines && next.code == '\n')) {
      out += text.substr(0, next.bytes);
    } else {
      escape(out, next.code);
    }
    text.remove_prefix(next.bytes == 0 ? 1 : next.bytes);
  }
  return out;
}

}  // namespace

bool is_printable(std::string_view text) noexcept {
  while (!text.empty()) {
    const Character next = first_of(text);
    if (next.bytes == 0 || !is_shown(next.code)) return false;
    text.remove_prefix(next.bytes);
  }
  return true;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const Character next = first_of(text);
    if (next.bytes == 0) return false;
    text.remove_prefix(next.bytes);
  }
  return true;
}

std::string printable(std::string_view text) { return escaped(text, /*keeps_lines=*/false); }

std::string printable_lines(std::string_view text) { return escaped(text, /*keeps_lines=*/true); }

}  // namespace vmux
