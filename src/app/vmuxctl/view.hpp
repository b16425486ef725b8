// SPDX-License-Identifier: BSD-3-Clause
// What of a table somebody wants to see: the same words for every command that shows one. Pure.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "app/vmuxctl/table.hpp"

namespace CLI {
class App;
}

namespace vmux::app {

/// As it was written.
struct View {
  std::string columns;               ///< --columns name,model
  std::vector<std::string> filters;  ///< --filter model=iavf
  bool has_headings = true;

  [[nodiscard]] bool is_plain() const noexcept { return columns.empty() && filters.empty() && has_headings; }
};
void add_view_options(CLI::App& app, View& into);

/// The rows that all filters let pass, and the columns that are asked for; or what is wrong, as a sentence. A column is
/// any member of the rows, by its name or heading; rows that go on with others are gone where columns are named.
[[nodiscard]] tl::expected<Table, std::string> seen(Table table, const View& view);

/// The rows of a table, those of `view.columns` if there are any, as a list of objects.
[[nodiscard]] control::Json json_of(const Table& table, const View& view);

}  // namespace vmux::app
