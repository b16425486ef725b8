// SPDX-License-Identifier: BSD-3-Clause

#include <algorithm>

#include "base/format.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

constexpr std::string_view kPrefix = "hugepages-";

void collect(const Machine& machine, const std::string& path, std::optional<unsigned> node,
             std::vector<HugepagesInfo>& into) {
  for (const std::string& name : machine.list(path)) {
    if (name.compare(0, kPrefix.size(), kPrefix) != 0) continue;
    const auto size = parse_size_kib(name.substr(kPrefix.size()));
    if (!size) continue;
    std::string pool = path;
    pool.append("/").append(name).append("/");
    into.push_back({node, *size, machine.number(pool + "nr_hugepages").value_or(0),
                    machine.number(pool + "free_hugepages").value_or(0)});
  }
}

std::uint64_t default_size(const Machine& machine) {
  const std::vector<std::string> value = words(field(machine.text("/proc/meminfo"), "Hugepagesize"));
  return value.empty() ? 2048 : parse_decimal(value.front()).value_or(2048);
}

}  // namespace

std::vector<HugepagesInfo> hugepages(const Machine& machine) {
  std::vector<HugepagesInfo> all;
  const std::string nodes = "/sys/devices/system/node/";
  for (const std::string& name : machine.list(nodes)) {
    const auto node = name.rfind("node", 0) == 0 ? parse_decimal(name.substr(4)) : std::nullopt;
    if (node) collect(machine, nodes + name + "/hugepages", static_cast<unsigned>(*node), all);
  }
  if (all.empty()) collect(machine, "/sys/kernel/mm/hugepages", std::nullopt, all);
  return all;
}

Outcome<> set_hugepages(Session& session, const HugepagesRequest& request) {
  const std::uint64_t size = request.size_kib.value_or(default_size(session.machine()));
  const std::vector<HugepagesInfo> all = hugepages(session.machine());
  std::vector<HugepagesInfo> places;
  std::copy_if(all.begin(), all.end(), std::back_inserter(places), [&](const HugepagesInfo& info) {
    return info.size_kib == size && (!request.node || info.node == request.node);
  });
  if (places.empty()) {
    std::string offered;
    for (const HugepagesInfo& info : all)
      offered += fmt::format("{}{}{}", offered.empty() ? "" : ", ", size_text(info.size_kib),
                             info.node ? fmt::format(" on node {}", *info.node) : "");
    return refuse(
        Errc::not_found,
        fmt::format("there are no huge pages of {}{}; this machine offers: {}", size_text(size),
                    request.node ? fmt::format(" on node {}", *request.node) : "", offered.empty() ? "none" : offered));
  }
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::uint64_t share = request.count / places.size() + (i < request.count % places.size() ? 1 : 0);
    if (auto done = session.set(hugepages_of(places[i].node, size), {{"count", std::to_string(share)}}); !done)
      return done;
  }
  return {};
}

}  // namespace vmux::host
