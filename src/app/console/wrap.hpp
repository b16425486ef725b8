// SPDX-License-Identifier: BSD-3-Clause
// Text that is made to fit a terminal. Pure.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace vmux::app {

inline constexpr std::size_t kLeastRoom = 20;  // a column that is narrower is no easier to read than a long line

namespace detail {

/// Of the first word; what stands between backquotes is to be copied, and one word.
inline std::size_t end_of_word(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ') return i;
    if (const std::size_t close = text[i] == '`' ? text.find('`', i + 1) : i; close != std::string_view::npos)
      i = close;
  }
  return text.size();
}

}  // namespace detail

/// `text` in pieces of at most `room`, broken at blanks, but not between backquotes; a word that is longer is a piece
/// of its own.
[[nodiscard]] inline std::vector<std::string> broken(std::string_view text, std::size_t room) {
  std::vector<std::string> pieces;
  if (text.size() <= room) return {std::string{text}};
  while (!text.empty()) {
    const std::string_view word = text.substr(0, detail::end_of_word(text));
    if (!pieces.empty() && pieces.back().size() + 1 + word.size() <= room) {
      pieces.back().append(" ").append(word);
    } else {
      pieces.emplace_back(word);
    }
    text.remove_prefix(std::min(text.find_first_not_of(' ', word.size()), text.size()));
  }
  return pieces;
}

namespace detail {

/// Where the last column of a line begins: behind the last two blanks in a row, or behind the blanks at its start.
inline std::size_t last_column_of(std::string_view line) {
  const std::size_t gap = line.rfind("  ");
  return gap == std::string_view::npos ? std::min(line.find_first_not_of(' '), line.size()) : gap + 2;
}

inline bool is_command(std::string_view line) {
  const std::size_t start = line.find_first_not_of(' ');
  return start != 0 && line.substr(std::min(start, line.size()), 4) == "vmux";
}

inline void append_wrapped(std::string& out, std::string_view line, unsigned width) {
  const std::size_t indent = last_column_of(line);
  if (line.size() <= width || is_command(line) || indent + kLeastRoom > width) {
    out += line;
    return;
  }
  out += line.substr(0, indent);
  const std::vector<std::string> pieces = broken(line.substr(indent), width - indent);
  for (std::size_t i = 0; i < pieces.size(); ++i)
    out += (i == 0 ? "" : '\n' + std::string(indent, ' ')) + pieces[i];
}

}  // namespace detail

/// `text` with lines that fit `width`, broken at blanks: what is the last column of a table or a list goes on below
/// itself. A command to copy (it begins with one of our programs, behind blanks) stays on its line. 0: any width.
[[nodiscard]] inline std::string wrapped(std::string_view text, unsigned width) {
  if (width == 0) return std::string{text};
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    detail::append_wrapped(out, text.substr(0, end), width);
    if (end < text.size()) out += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace vmux::app
