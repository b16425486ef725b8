// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux/sets.hpp"

#include <algorithm>

#include "base/text/format.hpp"

namespace vmux::app {
namespace {

struct Rule {
  char option;
  std::optional<std::string> VmSet::*member;
  bool may_be_none;
};
constexpr Rule kRules[] = {{'m', &VmSet::mode, false}, {'d', &VmSet::device, true}, {'t', &VmSet::tap, true}};

std::size_t count(const std::vector<Occurrence>& given, char option) {
  return static_cast<std::size_t>(
      std::count_if(given.begin(), given.end(), [option](const Occurrence& one) { return one.option == option; }));
}

tl::expected<void, std::string> match(const std::vector<Occurrence>& given, const Rule& rule,
                                      std::vector<VmSet>& sets) {
  const std::size_t times = count(given, rule.option);
  const bool by_order = times == sets.size();
  if (times > sets.size()) {
    return tl::unexpected<std::string>(fmt::format("-{}: given {} times for {} VM(s); expected at most one for each -s",
                                                   rule.option, times, sets.size()));
  }
  std::vector<bool> is_given(sets.size());
  std::size_t sockets = 0;
  std::size_t seen = 0;
  for (const Occurrence& one : given) {
    if (one.option == 's') ++sockets;
    if (one.option != rule.option) continue;
    const std::size_t index = by_order ? seen++ : (sockets == 0 ? 0 : sockets - 1);
    if (is_given[index]) {
      return tl::unexpected<std::string>(
          fmt::format("-{}: given twice for -s {}; expected one for each -s, or each behind "
                      "the -s that it belongs to",
                      rule.option, sets[index].socket));
    }
    is_given[index] = true;
    if (!rule.may_be_none || one.value != "none") sets[index].*rule.member = one.value;
  }
  return {};
}

}  // namespace

tl::expected<std::vector<VmSet>, std::string> match_sets(const std::vector<Occurrence>& given) {
  std::vector<VmSet> sets;
  for (const Occurrence& one : given) {
    if (one.option == 's') sets.push_back(VmSet{one.value, {}, {}, {}});
  }
  if (sets.empty() && !given.empty()) {
    return tl::unexpected<std::string>(
        fmt::format("-{}: expected a -s PATH as well, the socket of the VM", given.front().option));
  }
  for (const Rule& rule : kRules) {
    if (auto done = match(given, rule, sets); !done) return tl::unexpected<std::string>(done.error());
  }
  return sets;
}

}  // namespace vmux::app
