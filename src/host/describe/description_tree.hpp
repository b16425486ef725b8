// SPDX-License-Identifier: BSD-3-Clause
// What TOML and YAML have in common, as far as a host's description needs it: tables, lists, scalars, and the line each
// stands on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/failure.hpp"

namespace vmux::host {

struct Value {
  enum class Kind : std::uint8_t { scalar, list, table };
  Kind kind = Kind::scalar;
  unsigned line = 0;
  /// Of a scalar: all that it can be read as. In TOML that is one of them; in YAML `1` is a text and a number.
  std::optional<std::string> text;
  std::optional<std::int64_t> number;
  std::optional<bool> flag;
  std::vector<Value> list;        ///< of a list its elements, of a table its values
  std::vector<std::string> keys;  ///< of a table, in the order of its values; none twice
  std::vector<unsigned> key_lines;

  [[nodiscard]] const Value* find(std::string_view key) const noexcept;
  /// Of a key; the table's own if it does not have it.
  [[nodiscard]] unsigned line_of(std::string_view key) const noexcept;
  void add(std::string key, unsigned key_line, Value value);
};

/// The file's outermost table. A mistake is told with `name` and its line.
[[nodiscard]] Outcome<Value> read_toml(std::string_view text, const std::string& name);
[[nodiscard]] Outcome<Value> read_yaml(std::string_view text, const std::string& name);

}  // namespace vmux::host
