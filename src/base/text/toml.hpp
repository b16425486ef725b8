// SPDX-License-Identifier: BSD-3-Clause
// toml++, for text that people write. What version 3.3 (Debian 12) makes of some mistyped text is no error but the end
// of the program, or worse; both are found out here.
#pragma once

// It asserts that a key begins as keys do a few lines before it would say where one does not.
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

#include <cstddef>
#include <optional>
#include <string_view>

namespace vmux {

/// The line (from 1) of the first character outside of strings and comments that is not ASCII. There it cannot stand
/// (TOML 1.0: keys, white space), and toml++'s question whether it is a space runs into its own "unreachable" for some.
[[nodiscard]] inline std::optional<unsigned> stray_character(std::string_view text) noexcept {
  unsigned line = 1;
  std::string_view open;  // the quotes that end the string we are in
  bool is_comment = false;
  for (std::size_t i = text.substr(0, 3) == "\xef\xbb\xbf" ? 3 : 0; i < text.size(); ++i) {
    const char c = text[i];
    const std::string_view three = text.substr(i, 3);
    if (c == '\n') {
      ++line;
      is_comment = false;
      if (open.size() == 1) open = {};  // an error, which toml++ tells
    } else if (is_comment) {
      continue;
    } else if (!open.empty()) {
      if (c == '\\' && open[0] == '"' && text.substr(i + 1, 1) != "\n") {
        ++i;
      } else if (text.substr(i, open.size()) == open) {
        i += open.size() - 1;
        open = {};
      }
    } else if (c == '"' || c == '\'') {
      open = three == "\"\"\"" || three == "'''" ? three : text.substr(i, 1);
      i += open.size() - 1;
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return line;
    } else {
      is_comment = c == '#';
    }
  }
  return std::nullopt;
}

inline constexpr const char* kStrayCharacter = "a character that is not ASCII, outside of strings and comments";

}  // namespace vmux
