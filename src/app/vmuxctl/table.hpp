// SPDX-License-Identifier: BSD-3-Clause
// JSON as tables for people. Pure; a member that is missing prints as "-".
#pragma once

#include <string>
#include <vector>

#include "app/console/screen.hpp"
#include "control/rpc/params.hpp"

namespace vmux::app {

[[nodiscard]] const control::Json& member(const control::Json& object, const char* key);
/// On one line and without anything that a terminal would obey, whatever the daemon sent.
[[nodiscard]] std::string text(const control::Json& value);
[[nodiscard]] std::string text(const control::Json& object, const char* key);

/// A list of plain values, as users write them: "0,1".
[[nodiscard]] std::string list_text(const control::Json& list);
/// What a table shows of a member.
[[nodiscard]] std::string cell_text(const control::Json& object, const std::string& key);

/// A list of objects: each key is a column, headed by the key in capitals.
struct Table {
  control::Json rows = control::Json::array();
  std::vector<std::string> columns;
  std::string after;  ///< lines behind it
};
/// The member of a row that tells more of the row before it, and is no row of its own.
inline constexpr const char* kGoesOn = "";
[[nodiscard]] bool goes_on(const control::Json& row);

/// Columns as wide as their widest cell; numbers to the right, with their heading; verdicts in colour and the last
/// column wrapped, if `screen` is one.
[[nodiscard]] std::string render(const Table& table, const Screen& screen = {}, bool has_headings = true);
/// An object, one member a line.
[[nodiscard]] std::string lines_of(const control::Json& object, const std::string& indent = "");

}  // namespace vmux::app
