// SPDX-License-Identifier: BSD-3-Clause
// JSON as tables for people. Pure; a member that is missing prints as "-".
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "control/params.hpp"

namespace vmux::app {

using Row = std::vector<std::string>;

[[nodiscard]] const control::Json& member(const control::Json& object, const char* key);
/// On one line and without anything that a terminal would obey, whatever the daemon sent.
[[nodiscard]] std::string text(const control::Json& value);
[[nodiscard]] std::string text(const control::Json& object, const char* key);

/// A list of plain values, as users write them: "0,1".
[[nodiscard]] std::string list_text(const control::Json& list);

/// Columns as wide as their widest cell; numbers to the right, with their heading. The first row is the heading.
[[nodiscard]] std::string table(const std::vector<Row>& rows);
/// A list of objects: each key is a column, headed by the key in capitals.
[[nodiscard]] std::string table_of(const control::Json& list, std::initializer_list<const char*> keys);
/// An object, one member a line.
[[nodiscard]] std::string lines_of(const control::Json& object, const std::string& indent = "");

}  // namespace vmux::app
