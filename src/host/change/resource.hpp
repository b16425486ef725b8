// SPDX-License-Identifier: BSD-3-Clause
// What this room changes, as things with a state that can be read and set. A change is "set", its undoing is "set" with
// what was read before, a description of the host is a list of states: each kind is one row of a table.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "host/change/actuator.hpp"
#include "host/failure.hpp"
#include "host/look/function.hpp"

namespace vmux::host {

/// One thing of the machine: kind "driver" and name "0000:01:00.0".
struct Resource {
  std::string kind, name;
  friend auto operator<=>(const Resource&, const Resource&) = default;
  [[nodiscard]] std::string text() const { return kind + " " + name; }
};

/// By key; which keys there are is the kind's.
using State = std::map<std::string, std::string>;
[[nodiscard]] std::string to_text(const State& state);
/// Whether `now` has all that `wanted` says.
[[nodiscard]] bool has(const State& now, const State& wanted);

/// Whether `now` says something else than `wanted`. What it does not say (a driver may not tell) is no contradiction.
[[nodiscard]] bool contradicts(const State& now, const State& wanted);

struct Kind {
  const char* name;
  /// nullopt: there is no such thing (any more).
  Outcome<std::optional<State>> (*read)(Machine&, const std::string& name);
  /// From the state it has to another one; both have all keys.
  Outcome<> (*write)(Actuator&, const std::string& name, const State& from, const State& to);
};
[[nodiscard]] const Kind* find_kind(const std::string& name) noexcept;

/// The value that means: whatever the kernel chooses. Never read, not checked after it was set.
inline constexpr const char* kAny = "any";

// The kinds. Their names and keys:
//   driver     0000:01:00.0          driver ("" none), override ("" none)
//   vfs        0000:01:00.0          count, autoprobe (0 or 1, "" where the kernel has no such switch)
//   vf         0000:01:00.0/3        mac, vlan, qos, trust, spoofchk, link (a missing key: the driver does not tell)
//   link       0000:01:00.0/ens1     up (yes or no)
//   hugepages  node0/2048            count; "all/2048" on a machine without nodes; size in KiB
//   hugetlbfs  1048576               at ("" nowhere); size in KiB
//   irq        0000:01:00.0/45       cpus
extern const Kind kDriverKind, kVfsKind, kVfKind, kLinkKind, kHugepagesKind, kHugetlbfsKind, kIrqKind;

/// Of a failure to set an `irq` that the kernel lets nobody set. Others of the same function may be set.
inline constexpr Errc kManagedIrq = Errc::not_supported;

/// What `vf` takes; only members with a value.
[[nodiscard]] State state_of(const VfSettings& settings);

[[nodiscard]] Resource driver_of(PciAddress function);
[[nodiscard]] Resource vfs_of(PciAddress physical);
[[nodiscard]] Resource vf_of(PciAddress physical, unsigned index);
[[nodiscard]] Resource link_of(PciAddress function, const std::string& interface);
[[nodiscard]] Resource hugepages_of(std::optional<unsigned> node, std::uint64_t size_kib);
[[nodiscard]] Resource hugetlbfs_of(std::uint64_t size_kib);
[[nodiscard]] Resource irq_of(PciAddress function, unsigned irq);

/// The function that a resource belongs to; nullopt for huge pages.
[[nodiscard]] std::optional<PciAddress> function_of(const Resource& resource);

/// File systems of huge pages, in the order of their mounting.
struct HugepageMount {
  std::string path;
  std::uint64_t size_kib = 0;
};
[[nodiscard]] std::vector<HugepageMount> hugepage_mounts(const Machine& machine);

/// A key's value, "" if it is missing.
[[nodiscard]] std::string get(const State& state, const std::string& key);

}  // namespace vmux::host
