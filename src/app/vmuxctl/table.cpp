// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/table.hpp"

#include <algorithm>
#include <cctype>

#include "base/format.hpp"
#include "base/printable.hpp"

namespace vmux::app {

using control::Json;

const Json& member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  return value.dump();
}

std::string text(const Json& object, const char* key) { return text(member(object, key)); }

std::string list_text(const Json& list) {
  std::string out;
  for (const Json& value : list)
    out += (out.empty() ? "" : ",") + text(value);
  return out.empty() ? "-" : out;
}

namespace {

bool is_number(const std::string& cell) {
  return !cell.empty() && std::all_of(cell.begin(), cell.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string table(const std::vector<Row>& rows) {
  const std::size_t columns = rows.front().size();
  std::vector<std::size_t> width(columns);
  std::vector<bool> is_right(columns, rows.size() > 1);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      width[c] = std::max(width[c], rows[r][c].size());
      if (r > 0 && !is_number(rows[r][c])) is_right[c] = false;
    }
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      if (c > 0) line += "  ";
      line += is_right[c] ? fmt::format("{:>{}}", row[c], width[c]) : fmt::format("{:<{}}", row[c], width[c]);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return out;
}

std::string table_of(const Json& list, std::initializer_list<const char*> keys) {
  std::vector<Row> rows(1);
  for (const char* key : keys) {
    std::string heading = key;
    std::transform(heading.begin(), heading.end(), heading.begin(), [](char c) {
      return static_cast<char>(c == '_' ? ' ' : std::toupper(static_cast<unsigned char>(c)));
    });
    rows.front().push_back(std::move(heading));
  }
  for (const Json& object : list) {
    Row row;
    for (const char* key : keys) {
      const Json& value = member(object, key);
      row.push_back(value.is_array() ? list_text(value) : text(value));
    }
    rows.push_back(std::move(row));
  }
  return table(rows);
}

std::string lines_of(const Json& object, const std::string& indent) {
  std::size_t width = 0;
  for (const auto& item : object.items())
    width = std::max(width, printable(item.key()).size());
  std::string out;
  for (const auto& item : object.items()) {
    const std::string key = printable(item.key());
    if (item.value().is_object()) {
      out += fmt::format("{}{}\n{}", indent, key, lines_of(item.value(), indent + "  "));
    } else if (item.value().is_array()) {
      out += fmt::format("{}{:<{}}  {}\n", indent, key, width, list_text(item.value()));
    } else {
      out += fmt::format("{}{:<{}}  {}\n", indent, key, width, text(item.value()));
    }
  }
  return out;
}

}  // namespace vmux::app
