// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/view.hpp"

#include <fnmatch.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "base/text/format.hpp"
#include "base/text/text.hpp"
#include "base/text/words.hpp"

namespace vmux::app {
namespace {

using control::Json;

/// A column's name, of that or its heading: "MAC AGE S", "mac-age-s".
std::string plain(std::string_view written) {
  std::string key{written};
  std::transform(key.begin(), key.end(), key.begin(), [](char c) {
    return c == ' ' || c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return key;
}

std::vector<std::string> columns_of(const Table& table) {
  std::vector<std::string> all = table.columns;
  for (const Json& row : table.rows) {
    for (const auto& item : row.items()) {
      const bool is_shown = item.key() != kGoesOn && !item.value().is_object();
      if (is_shown && std::find(all.begin(), all.end(), item.key()) == all.end()) all.push_back(item.key());
    }
  }
  return all;
}

tl::expected<std::string, std::string> column_named(const std::string& written, const Table& table) {
  const std::vector<std::string> known = columns_of(table);
  const auto found = std::find(known.begin(), known.end(), plain(written));
  if (found != known.end()) return *found;
  if (table.rows.empty() && !written.empty()) return plain(written);  // nobody knows what its rows would have
  const std::string guess = did_you_mean(written, known);
  return tl::unexpected<std::string>(
      fmt::format("there is no column '{}'{}", written,
                  guess.empty() ? fmt::format("; there are: {}", fmt::join(known, ", ")) : guess));
}

enum class Compare : unsigned char { unequal, at_least, at_most, equal, less, more };
struct Operator {
  std::string_view written;
  Compare compare;
};
constexpr auto kOperators = std::to_array<Operator>({
    // longer ones before their beginnings
    {"!=", Compare::unequal},
    {">=", Compare::at_least},
    {"<=", Compare::at_most},
    {"=", Compare::equal},
    {"<", Compare::less},
    {">", Compare::more},
});

struct Filter {
  std::string column;
  Compare compare;
  std::string value;
};

tl::expected<Filter, std::string> parse_filter(const std::string& written, const Table& table) {
  const std::size_t at = written.find_first_of("!=<>");
  for (const Operator& each : kOperators) {
    if (at == std::string::npos || at == 0 || written.compare(at, each.written.size(), each.written) != 0) continue;
    auto column = column_named(written.substr(0, at), table);
    if (!column) return tl::unexpected<std::string>(column.error());
    return Filter{std::move(*column), each.compare, written.substr(at + each.written.size())};
  }
  return tl::unexpected<std::string>(
      fmt::format("expected COLUMN=VALUE (or !=, <, <=, >, >= instead of =), got '{}'", written));
}

/// Whether a value is what was written, in which * and ? stand for others: as it is shown, or as JSON has it; of a
/// list, one of it.
bool matches(const Json& value, const std::string& pattern) {
  const auto is = [&pattern](const std::string& one) { return ::fnmatch(pattern.c_str(), one.c_str(), 0) == 0; };
  if (value.is_null()) return pattern.empty() || pattern == "-" || pattern == "null";
  if (value.is_boolean()) return is(text(value)) || is(value.dump());
  if (!value.is_array()) return is(text(value));
  return is(list_text(value)) ||
         std::any_of(value.begin(), value.end(), [&](const Json& one) { return matches(one, pattern); });
}

/// What is no number is neither less nor more.
bool passes(const Json& row, const Filter& filter) {
  const Json& value = member(row, filter.column.c_str());
  if (filter.compare == Compare::equal) return matches(value, filter.value);
  if (filter.compare == Compare::unequal) return !matches(value, filter.value);
  const auto wanted = parse_number(filter.value);
  const auto had = parse_number(text(value));
  if (!wanted || !had) return false;
  switch (filter.compare) {
    case Compare::less:
      return *had < *wanted;
    case Compare::more:
      return *had > *wanted;
    case Compare::at_most:
      return *had <= *wanted;
    default:
      return *had >= *wanted;
  }
}

bool is_of_numbers(const Filter& filter) {
  return filter.compare != Compare::equal && filter.compare != Compare::unequal;
}

}  // namespace

void add_view_options(CLI::App& app, View& into) {
  app.add_option("--columns", into.columns, "show these columns, in this order; any member of the JSON result is one")
      ->type_name("NAME,...");
  app.add_option("--filter", into.filters,
                 "show rows of which this is true: COLUMN=VALUE with * and ? as in file names, or !=, <, <=, >, >= "
                 "(repeat for more)")
      ->type_name("FILTER")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_flag(
      "--no-headings", [&into](std::int64_t) { into.has_headings = false; }, "no line of headings");
}

tl::expected<Table, std::string> seen(Table table, const View& view) {
  const auto wrong = [](const char* option, const std::string& text) {
    return tl::unexpected<std::string>(fmt::format("{}: {}", option, text));
  };
  std::vector<Filter> filters;
  for (const std::string& written : view.filters) {
    auto filter = parse_filter(written, table);
    if (!filter) return wrong("--filter", filter.error());
    if (is_of_numbers(*filter) && !parse_number(filter->value))
      return wrong("--filter", fmt::format("expected a number to compare with, got '{}'", filter->value));
    filters.push_back(std::move(*filter));
  }
  std::vector<std::string> columns;
  for (const std::string_view written : split(view.columns, ',')) {
    if (view.columns.empty()) break;
    auto column = column_named(std::string{written}, table);
    if (!column) return wrong("--columns", column.error());
    columns.push_back(std::move(*column));
  }
  Json rows = Json::array();
  bool is_in = false;
  for (Json& row : table.rows) {
    if (!goes_on(row))
      is_in = std::all_of(filters.begin(), filters.end(), [&](const Filter& each) { return passes(row, each); });
    if (is_in && (columns.empty() || !goes_on(row))) rows.push_back(std::move(row));
  }
  table.rows = std::move(rows);
  if (!columns.empty()) table.columns = std::move(columns);
  if (!view.is_plain()) table.after.clear();  // it is about all of them
  return table;
}

Json json_of(const Table& table, const View& view) {
  Json list = Json::array();
  for (const Json& row : table.rows) {
    if (goes_on(row)) continue;
    Json shown = row;
    if (!view.columns.empty()) {
      shown = Json::object();
      for (const std::string& column : table.columns)
        shown[column] = member(row, column.c_str());
    }
    list.push_back(std::move(shown));
  }
  return list;
}

}  // namespace vmux::app
