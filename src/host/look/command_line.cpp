// SPDX-License-Identifier: BSD-3-Clause
#include "host/look/command_line.hpp"

#include <algorithm>
#include <cctype>

#include "base/text/text.hpp"

namespace vmux::host {
namespace {

bool is_space(char c) noexcept { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string with_underscores(std::string_view name) {
  std::string text{name};
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

/// The first word of `text`, as it is written, taken off it; white space before it is skipped.
std::string_view take_word(std::string_view& text) noexcept {
  while (!text.empty() && is_space(text.front()))
    text.remove_prefix(1);
  bool is_quoted = false;
  std::size_t end = 0;
  for (; end < text.size() && (is_quoted || !is_space(text[end])); ++end)
    is_quoted ^= text[end] == '"';
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

/// Without the quote at its beginning and, then, the one at its end.
std::string_view unquoted(std::string_view text) noexcept {
  if (text.empty() || text.front() != '"') return text;
  text.remove_prefix(1);
  if (!text.empty() && text.back() == '"') text.remove_suffix(1);
  return text;
}

}  // namespace

CommandLine CommandLine::parse(std::string_view text) {
  CommandLine line;
  while (true) {
    const std::string_view written = take_word(text);
    if (written.empty() || written == "--") return line;
    const std::string_view word = unquoted(written);
    const std::size_t equals = word.find('=');
    const bool has_value = equals != std::string_view::npos && equals != 0;
    Word found{with_underscores(has_value ? word.substr(0, equals) : word), std::nullopt};
    if (has_value) found.value = unquoted(word.substr(equals + 1));
    line.words_.push_back(std::move(found));
  }
}

std::optional<std::string> CommandLine::value(std::string_view name) const {
  const std::string wanted = with_underscores(name);
  const auto found =
      std::find_if(words_.rbegin(), words_.rend(), [&](const Word& word) { return word.name == wanted; });
  return found == words_.rend() ? std::nullopt : std::optional{found->value.value_or("")};
}

std::vector<std::string> CommandLine::options(std::string_view name) const {
  const std::string wanted = with_underscores(name);
  std::vector<std::string> all;
  for (const Word& word : words_) {
    if (word.name != wanted || !word.value) continue;
    for (const std::string_view part : split(*word.value, ','))
      all.emplace_back(part);
  }
  return all;
}

std::string CommandLine::last_of(std::string_view name, const std::vector<std::string>& choices) const {
  std::string found;
  for (const std::string& option : options(name)) {
    for (const std::string& choice : choices) {
      if (option.compare(0, choice.size(), choice) == 0) found = choice;
    }
  }
  return found;
}

}  // namespace vmux::host
