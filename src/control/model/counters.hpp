// SPDX-License-Identifier: BSD-3-Clause
// Counters as control shows them: values by name, and what each name means. Both come from the tables of those who
// count (base/counter_row.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/counter_row.hpp"

namespace vmux::control {

using CounterReport = std::vector<std::pair<std::string, std::uint64_t>>;

struct CounterDescription {
  std::string name;
  const char* unit;
  const char* help;
  CounterKind kind;
};
using CounterDescriptions = std::vector<CounterDescription>;
/// What a model or transport describes of its own.
using DescribeCounters = void (*)(CounterDescriptions& into);

/// Adds a table's values; `prefix` tells several of the same table apart ("tx0.").
template <class Rows, class Counters>
void report(CounterReport& into, const Rows& rows, const Counters& counters, const std::string& prefix = {}) {
  for (const auto& row : rows)
    into.emplace_back(prefix + row.text.name, row.get(counters));
}

template <class Rows>
void describe(CounterDescriptions& into, const Rows& rows, const std::string& prefix = {}) {
  for (const auto& row : rows)
    into.push_back({prefix + row.text.name, row.text.unit, row.text.help, row.text.kind});
}

}  // namespace vmux::control
