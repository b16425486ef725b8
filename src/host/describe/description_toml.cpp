// SPDX-License-Identifier: BSD-3-Clause
// TOML by toml++.

#include <algorithm>

#include "base/text/format.hpp"
#include "base/text/toml.hpp"
#include "host/describe/description_tree.hpp"

namespace vmux::host {
namespace {

Value value_of(const toml::node& node) {
  Value value;
  value.line = node.source().begin.line;
  if (const auto* const table = node.as_table()) {
    value.kind = Value::Kind::table;
    for (const auto& [key, each] : *table)
      value.add(std::string{key.str()}, key.source().begin.line, value_of(each));
  } else if (const auto* const list = node.as_array()) {
    value.kind = Value::Kind::list;
    for (const toml::node& each : *list)
      value.list.push_back(value_of(each));
  } else if (const auto* const text = node.as_string()) {
    value.text = text->get();
  } else if (const auto* const number = node.as_integer()) {
    value.number = number->get();
  } else if (const auto* const flag = node.as_boolean()) {
    value.flag = flag->get();
  }
  return value;
}

}  // namespace

const Value* Value::find(std::string_view key) const noexcept {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? nullptr : &list[static_cast<std::size_t>(found - keys.begin())];
}

unsigned Value::line_of(std::string_view key) const noexcept {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? line : key_lines[static_cast<std::size_t>(found - keys.begin())];
}

void Value::add(std::string key, unsigned key_line, Value value) {
  keys.push_back(std::move(key));
  key_lines.push_back(key_line);
  list.push_back(std::move(value));
}

Outcome<Value> read_toml(std::string_view text, const std::string& name) {
  if (const auto line = stray_character(text)) {
    return refuse(Errc::invalid_argument, fmt::format("{}:{}: {}", name, *line, kStrayCharacter));
  }
  try {
    return value_of(toml::parse(text, name));
  } catch (const toml::parse_error& error) {
    return refuse(Errc::invalid_argument,
                  fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
}

}  // namespace vmux::host
