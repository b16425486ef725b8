// SPDX-License-Identifier: BSD-3-Clause
// Arguments as people write them, made such that CLI11 parses them, which knows neither abbreviations nor what was
// meant by a word that it does not know.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "app/console/exit.hpp"
#include "app/console/screen.hpp"

namespace vmux::app {

using Words = std::vector<std::string>;

/// That of `commands` (and "help") which `word` is or begins, or a sentence; `where` is what they belong to.
[[nodiscard]] tl::expected<std::string, std::string> command_of(const std::string& word, Words commands,
                                                                const std::string& where);

/// `written` (without the program's name) with each command in full (any beginning that only one has will do), with
/// `help` before or among commands as the --help of the one that is named, and with each option's value as a word of
/// its own. Else a sentence for people: what is no command or option of `app`, and what it may have been.
[[nodiscard]] tl::expected<Words, std::string> understand(const CLI::App& app, const Words& written);

/// Parses `written` with `app`, whose name is the program's. An Exit: there is nothing to do but that, for help, the
/// version, or what cannot be understood (told as JSON, too, where `app` has --json and that was written).
[[nodiscard]] std::optional<Exit> parse(CLI::App& app, const Words& written, const Screen& screen = {});

/// Declares --color auto|always|never.
void add_colour_option(CLI::App& app, Colour& into);

}  // namespace vmux::app
