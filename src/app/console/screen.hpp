// SPDX-License-Identifier: BSD-3-Clause
// What the output is seen on. A file or a pipe has no width and no colours.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "base/text/text.hpp"

namespace vmux::app {

struct Screen {
  unsigned width = 0;  ///< columns; 0: lines are as long as they are
  bool has_colour = false;
  unsigned height = 0;  ///< lines; 0: as many as there are
};

/// What --color says.
enum class Colour : unsigned char { automatic, always, never };
[[nodiscard]] inline Screen with(Screen screen, Colour colour) noexcept {
  if (colour != Colour::automatic) screen.has_colour = colour == Colour::always;
  return screen;
}

/// What a terminal is known by.
struct Terminal {
  unsigned columns = 0;                                       ///< as its driver tells; 0: it does not
  std::optional<std::string> columns_wanted, no_color, term;  ///< $COLUMNS, $NO_COLOR (no-color.org), $TERM
};
[[nodiscard]] inline Screen screen_of(const Terminal& terminal) {
  Screen screen;
  const auto wanted = parse_number(terminal.columns_wanted.value_or(""), 10'000);
  screen.width = wanted && *wanted > 0 ? static_cast<unsigned>(*wanted) : terminal.columns;
  if (screen.width == 0) screen.width = 80;
  const bool is_dumb = terminal.term.value_or("").empty() || *terminal.term == "dumb";
  screen.has_colour = !is_dumb && terminal.no_color.value_or("").empty();
  return screen;
}

/// That of standard output.
[[nodiscard]] inline Screen screen_of_stdout() {
  if (::isatty(STDOUT_FILENO) != 1) return {};
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>{value};
  };
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) size = {};
  Screen screen = screen_of({size.ws_col, variable("COLUMNS"), variable("NO_COLOR"), variable("TERM")});
  screen.height = size.ws_row;
  return screen;
}

}  // namespace vmux::app
