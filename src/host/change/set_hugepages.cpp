// SPDX-License-Identifier: BSD-3-Clause

#include <algorithm>

#include "base/text/format.hpp"
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
    const std::uint64_t all = machine.number(pool + "nr_hugepages").value_or(0);
    const std::uint64_t surplus = std::min(all, machine.number(pool + "surplus_hugepages").value_or(0));
    into.push_back({node, *size, all - surplus, machine.number(pool + "free_hugepages").value_or(0), surplus});
  }
}

std::uint64_t default_size(const Machine& machine) {
  const std::vector<std::string> value = words(field(machine.text("/proc/meminfo"), "Hugepagesize"));
  return value.empty() ? 2048 : parse_decimal(value.front()).value_or(2048);
}

/// The nodes that have memory; all, where the kernel does not tell.
bool has_memory(const Machine& machine, unsigned node) {
  const auto nodes = parse_cpus(machine.text("/sys/devices/system/node/has_memory"));
  return !nodes || nodes->empty() || nodes->count(node) != 0;
}

/// How many pages a pool can have at most, with what it has; without a limit where the kernel does not tell. It is an
/// estimate: what is free may be in pieces, what holds files can mostly be freed.
std::uint64_t room_of(const Machine& machine, const HugepagesInfo& pool) {
  constexpr const char* kFreeable[] = {"MemFree", "Active(file)", "Inactive(file)"};
  const std::string path = "/sys/devices/system/node/node" + std::to_string(pool.node.value_or(0)) + "/meminfo";
  std::uint64_t kib = 0;
  bool is_told = false;
  for (const std::string& line : lines(machine.text(path))) {  // "Node 0 MemFree:  123 kB"
    const std::vector<std::string> parts = words(line);
    for (const char* key : kFreeable) {
      if (parts.size() < 4 || parts[2] != std::string{key} + ":") continue;
      is_told = true;
      kib += parse_decimal(parts[3]).value_or(0);
    }
  }
  return is_told ? pool.total + kib / pool.size_kib : ~std::uint64_t{0};
}

std::uint64_t even_share(std::uint64_t count, std::size_t places, std::size_t place) {
  return count / places + (place < count % places ? 1 : 0);
}

/// `count` over the pools: evenly, except that none gets more than it has room for while others have some. Where all of
/// them together have too little, evenly again: then it is the kernel that says what it found.
std::vector<std::uint64_t> shares_of(std::uint64_t count, const std::vector<std::uint64_t>& rooms) {
  std::vector<std::uint64_t> shares(rooms.size(), 0);
  std::vector<std::size_t> open(rooms.size());
  for (std::size_t i = 0; i < open.size(); ++i)
    open[i] = i;
  std::uint64_t left = count;
  while (left > 0 && !open.empty()) {
    std::vector<std::size_t> still_open;
    std::uint64_t given = 0;
    for (std::size_t i = 0; i < open.size(); ++i) {
      std::uint64_t& share = shares[open[i]];
      const std::uint64_t wanted = even_share(left, open.size(), i);
      const std::uint64_t more = std::min(wanted, rooms[open[i]] - std::min(rooms[open[i]], share));
      share += more;
      given += more;
      if (more == wanted) still_open.push_back(open[i]);
    }
    left -= given;
    open = std::move(still_open);
  }
  for (std::size_t i = 0; left > 0 && i < shares.size(); ++i)
    shares[i] = even_share(count, shares.size(), i);
  return shares;
}

std::string place_of(const HugepagesInfo& pool) { return pool.node ? fmt::format(" on node {}", *pool.node) : ""; }

/// Pages that programs have beyond what is set aside now: no failure, and good to know.
void tell_surplus(Session& session, std::uint64_t size) {
  for (const HugepagesInfo& pool : hugepages(session.machine())) {
    if (pool.size_kib != size || pool.surplus == 0) continue;
    session.note(
        fmt::format("{} huge pages of {}{} beyond those are in use, and go when the programs that have them "
                    "give them back (surplus)",
                    pool.surplus, size_text(size), place_of(pool)));
  }
}

std::vector<HugepagesInfo> places_of(const Machine& machine, const HugepagesRequest& request) {
  const std::uint64_t size = request.size_kib.value_or(default_size(machine));
  std::vector<HugepagesInfo> places = hugepages(machine);
  const auto is_other = [&](const HugepagesInfo& info) {
    const bool is_meant = request.node ? info.node == request.node : !info.node || has_memory(machine, *info.node);
    return info.size_kib != size || !is_meant;
  };
  places.erase(std::remove_if(places.begin(), places.end(), is_other), places.end());
  return places;
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

std::vector<Resource> hugepage_pools(const Machine& machine, const HugepagesRequest& request) {
  std::vector<Resource> pools;
  for (const HugepagesInfo& place : places_of(machine, request))
    pools.push_back(hugepages_of(place.node, place.size_kib));
  return pools;
}

Outcome<> set_hugepages(Session& session, const HugepagesRequest& request) {
  const Machine& machine = session.machine();
  const std::uint64_t size = request.size_kib.value_or(default_size(machine));
  const std::vector<HugepagesInfo> all = hugepages(machine);
  const std::vector<HugepagesInfo> places = places_of(machine, request);
  if (places.empty()) {
    std::string offered;
    for (const HugepagesInfo& info : all)
      offered += fmt::format("{}{}{}", offered.empty() ? "" : ", ", size_text(info.size_kib), place_of(info));
    return refuse(
        Errc::not_found,
        fmt::format("there are no huge pages of {}{}; this machine offers: {}", size_text(size),
                    request.node ? fmt::format(" on node {}", *request.node) : "", offered.empty() ? "none" : offered));
  }
  if (request.node && request.count > 0 && !has_memory(machine, *request.node))
    return refuse(Errc::no_space, fmt::format("node {} has no memory", *request.node));
  std::vector<std::uint64_t> rooms;
  for (const HugepagesInfo& place : places)
    rooms.push_back(room_of(machine, place));
  const std::vector<std::uint64_t> shares = shares_of(request.count, rooms);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (shares[i] < even_share(request.count, places.size(), i))
      session.note(fmt::format("node {} has room for {} huge pages of {} only; the others take its part",
                               places[i].node.value_or(0), shares[i], size_text(size)));
    if (auto done = session.set(hugepages_of(places[i].node, size), {{"count", std::to_string(shares[i])}}); !done)
      return done;
  }
  if (!session.options().is_rehearsal) tell_surplus(session, size);
  return request.mounts ? mount_hugepages(session, size) : Outcome<>{};
}

Outcome<> mount_hugepages(Session& session, std::optional<std::uint64_t> size_kib) {
  const Machine& machine = session.machine();
  const std::uint64_t size = size_kib.value_or(default_size(machine));
  const std::vector<HugepagesInfo> all = hugepages(machine);
  if (std::none_of(all.begin(), all.end(), [&](const HugepagesInfo& info) { return info.size_kib == size; }))
    return refuse(Errc::not_found, fmt::format("this machine has no huge pages of {} to mount", size_text(size)));
  const std::vector<HugepageMount> mounts = hugepage_mounts(machine);
  if (std::any_of(mounts.begin(), mounts.end(), [&](const HugepageMount& mount) { return mount.size_kib == size; }))
    return {};
  if (auto done = session.set(hugetlbfs_of(size), {{"at", "/dev/hugepages" + size_text(size)}}); !done) return done;
  session.note("libvirtd looks for mounts of huge pages when it starts: restart it");
  return {};
}

}  // namespace vmux::host
