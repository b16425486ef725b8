// SPDX-License-Identifier: BSD-3-Clause
// Text from elsewhere (paths, names, answers of other programs) on its way to a log or a terminal. Pure.
#pragma once

#include <string>
#include <string_view>

namespace vmux {

/// Whether nothing in `text` moves a cursor, ends a line or reorders what is shown: UTF-8 (RFC 3629) without control
/// characters (C0, DEL, C1), separators of lines and paragraphs, or marks of direction (UAX #9).
[[nodiscard]] bool is_printable(std::string_view text) noexcept;

/// Whether `text` is UTF-8 (RFC 3629).
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// The same text, with what is not printable as escapes: \n, \t, \x1b, \u202e; bytes that are not UTF-8 as \xff. A
/// backslash stays as it is: this is for reading, not for parsing.
[[nodiscard]] std::string printable(std::string_view text);

/// The same for text of several lines that are our own: newlines stay.
[[nodiscard]] std::string printable_lines(std::string_view text);

}  // namespace vmux
