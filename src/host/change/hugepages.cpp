// SPDX-License-Identifier: BSD-3-Clause
// How many huge pages of a size a memory node has set aside (Documentation/admin-guide/mm/hugetlbpage.rst).

#include "host/change/resource.hpp"

#include <algorithm>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

/// "node0/2048" or "all/2048" -> the file that holds the number.
std::string file_of(const std::string& name) {
  const std::size_t slash = name.find('/');
  const std::string place = name.substr(0, slash);
  const std::string above = place == "all" ? "/sys/kernel/mm" : "/sys/devices/system/node/" + place;
  return fmt::format("{}/hugepages/hugepages-{}kB/nr_hugepages", above, name.substr(slash + 1));
}

/// What a write sets. The file shows more: also the surplus, pages beyond that number which programs still have (they
/// go when given back) or which the kernel made on demand (nr_overcommit_hugepages).
std::uint64_t persistent(const Machine& machine, const std::string& file) {
  const std::uint64_t all = machine.number(file).value_or(0);
  const std::uint64_t surplus = machine.number(file.substr(0, file.rfind('/')) + "/surplus_hugepages").value_or(0);
  return all - std::min(all, surplus);
}

Outcome<std::optional<State>> read_hugepages(Machine& machine, const std::string& name) {
  const std::string file = file_of(name);
  if (!machine.exists(file)) return std::optional<State>{};
  return State{{"count", std::to_string(persistent(machine, file))}};
}

Outcome<> write_hugepages(Actuator& hands, const std::string& name, const State& from, const State& to) {
  const std::string file = file_of(name);
  const std::string wanted = get(to, "count");
  if (auto done = hands.write(file, wanted); !done) return done;
  const std::string now = std::to_string(persistent(hands.machine(), file));
  if (hands.is_rehearsal() || now == wanted) return {};
  const bool is_less = parse_decimal(now).value_or(0) < parse_decimal(wanted).value_or(0);
  const std::string size = size_text(parse_decimal(name.substr(name.find('/') + 1)).value_or(0));
  return refuse(
      Errc::no_space,
      is_less
          ? fmt::format("the kernel found memory for {} huge pages of {} only, not {} (there were {}): free memory, "
                        "`echo 1 > /proc/sys/vm/compact_memory`, or set them aside at boot: hugepagesz={} hugepages={}",
                        now, size, wanted, get(from, "count"), size, wanted)
          : fmt::format("{} huge pages of {} stay, not {}: programs use them", now, size, wanted));
}

}  // namespace

const Kind kHugepagesKind{"hugepages", read_hugepages, write_hugepages};

}  // namespace vmux::host
