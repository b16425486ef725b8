// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/table.hpp"

#include <algorithm>
#include <cctype>

#include "app/console/wrap.hpp"
#include "base/text/format.hpp"
#include "base/text/printable.hpp"

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

std::string cell_text(const Json& object, const std::string& key) {
  const Json& value = member(object, key.c_str());
  return value.is_array() ? list_text(value) : text(value);
}

bool goes_on(const Json& row) { return !member(row, kGoesOn).is_null(); }

namespace {

using Row = std::vector<std::string>;

constexpr std::size_t kGap = 2;  // between columns

bool is_number(const std::string& cell) {
  return !cell.empty() && std::all_of(cell.begin(), cell.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string heading_of(std::string key) {
  std::transform(key.begin(), key.end(), key.begin(), [](char c) {
    return c == '_' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  return key;
}

std::vector<Row> cells_of(const Table& table, bool has_headings) {
  std::vector<Row> cells(has_headings ? 1 : 0);
  if (has_headings)
    std::transform(table.columns.begin(), table.columns.end(), std::back_inserter(cells[0]), heading_of);
  for (const Json& object : table.rows) {
    Row row;
    for (const std::string& key : table.columns)
      row.push_back(goes_on(object) && member(object, key.c_str()).is_null() ? "" : cell_text(object, key));
    cells.push_back(std::move(row));
  }
  return cells;
}

struct Column {
  std::size_t width = 0;
  bool is_right = false;
};

std::vector<Column> measure(const std::vector<Row>& cells, std::size_t columns, bool has_headings) {
  const std::size_t first = has_headings ? 1 : 0;
  std::vector<Column> measured(columns, Column{0, cells.size() > first});
  for (std::size_t r = 0; r < cells.size(); ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      measured[c].width = std::max(measured[c].width, cells[r][c].size());
      if (r >= first && !is_number(cells[r][c])) measured[c].is_right = false;
    }
  }
  return measured;
}

/// Select Graphic Rendition (ECMA-48, 8.3.117) of what is good, doubtful and bad.
const char* colour_of(const std::string& column, const std::string& cell) {
  if (column != "verdict") return nullptr;
  return cell == "good" ? "32" : cell == "warn" ? "33" : cell == "bad" ? "31" : nullptr;
}

std::string painted(const std::string& padded, const std::string& cell, const char* colour) {
  return colour == nullptr ? padded : fmt::format("\x1b[{}m{}\x1b[0m{}", colour, cell, padded.substr(cell.size()));
}

/// The last cell of a row, which begins at `indent`, on as many lines as it takes.
std::string wrapped_cell(const std::string& cell, std::size_t indent, unsigned width) {
  if (width < indent + kLeastRoom) return cell;
  return fmt::format("{}", fmt::join(broken(cell, width - indent), '\n' + std::string(indent, ' ')));
}

}  // namespace

std::string render(const Table& table, const Screen& screen, bool has_headings) {
  const std::vector<Row> cells = cells_of(table, has_headings);
  const std::vector<Column> columns = measure(cells, table.columns.size(), has_headings);
  std::string out;
  for (const Row& row : cells) {
    std::string line;
    std::size_t indent = 0;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const bool is_last = c + 1 == columns.size();
      const std::size_t width = columns[c].width;
      const std::string padded = columns[c].is_right ? fmt::format("{:>{}}", row[c], width)
                                 : is_last           ? wrapped_cell(row[c], indent, screen.width)
                                                     : fmt::format("{:<{}}", row[c], width + kGap);
      line += screen.has_colour ? painted(padded, row[c], colour_of(table.columns[c], row[c])) : padded;
      if (columns[c].is_right && !is_last) line.append(kGap, ' ');
      indent += width + kGap;
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return out + table.after;
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
    } else {
      out += fmt::format("{}{:<{}}  {}\n", indent, key, width, cell_text(object, item.key()));
    }
  }
  return out;
}

}  // namespace vmux::app
