// SPDX-License-Identifier: BSD-3-Clause
#include "host/look/disks.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

constexpr const char* kBlock = "/sys/class/block/";

/// The kernel writes ! for the / of names such as cciss/c0d0.
std::string file_of(std::string name) {
  std::replace(name.begin(), name.end(), '!', '/');
  return "/dev/" + name;
}

bool is_partition(const Machine& machine, const std::string& name) {
  return machine.exists(kBlock + name + "/partition");
}

/// With native multipath (nvme_core.multipath) the controller has a hidden path "nvme0c1n2", and what is mounted is the
/// head "nvme0n2" below the virtual subsystem. "" if the name is no path's.
std::string head_of(const std::string& name) {
  const std::size_t c = name.rfind("nvme", 0) == 0 ? name.find('c', 4) : std::string::npos;
  const std::size_t n = c == std::string::npos ? c : name.find('n', c);
  if (n == std::string::npos || !parse_decimal(std::string_view{name}.substr(4, c - 4)) ||
      !parse_decimal(std::string_view{name}.substr(c + 1, n - c - 1)))
    return "";
  return name.substr(0, c) + name.substr(n);
}

/// Whole disks; not those hidden ones, which have no file.
std::set<std::string> disks_of(const Machine& machine, PciAddress address) {
  std::vector<std::string> names;
  for (const std::string& name : machine.list(kBlock)) {
    if (is_below(machine.resolve(kBlock + name), address) && !is_partition(machine, name)) names.push_back(name);
  }
  for (const std::string& controller : machine.list("/sys/class/nvme")) {
    const std::string path = "/sys/class/nvme/" + controller;
    if (!is_below(machine.resolve(path), address)) continue;
    for (const std::string& child : machine.list(path))
      names.push_back(child);
  }
  std::set<std::string> disks;
  for (const std::string& name : names) {
    const std::string head = head_of(name);
    const std::string& disk = head.empty() ? name : head;
    if (machine.exists(kBlock + disk + "/dev")) disks.insert(disk);
  }
  return disks;
}

/// A block device, its partitions and what is built from them (dm, md), by name.
void collect_holders(const Machine& machine, const std::string& name, std::set<std::string>& all,
                     std::vector<std::string>& users) {
  if (!all.insert(name).second) return;
  const std::string path = kBlock + name;
  for (const std::string& holder : machine.list(path + "/holders")) {
    users.push_back(fmt::format("{} is part of {}", file_of(name), file_of(holder)));
    collect_holders(machine, holder, all, users);
  }
  for (const std::string& part : machine.list(path)) {
    if (machine.exists(path + "/" + part + "/partition")) collect_holders(machine, part, all, users);
  }
}

/// Fields 3, 5 and the source of a line of /proc/self/mountinfo (proc(5)).
struct Mount {
  std::string number, place, source;
};

std::vector<Mount> mounts(const Machine& machine) {
  std::vector<Mount> all;
  for (const std::string& line : lines(machine.text("/proc/self/mountinfo"))) {
    const std::vector<std::string> parts = words(line);
    const auto dash = std::find(parts.begin(), parts.end(), "-");
    if (parts.size() < 5 || parts.end() - dash < 3) continue;
    all.push_back({parts[2], parts[4], *(dash + 2)});
  }
  return all;
}

std::string place_of(const Machine& machine, const std::vector<Mount>& all, const std::string& name) {
  const std::string number = machine.text(kBlock + name + "/dev");
  const auto mounted = std::find_if(all.begin(), all.end(), [&](const Mount& mount) {
    return mount.number == number || mount.source == file_of(name);  // btrfs shows numbers of its own
  });
  return mounted == all.end() ? "" : mounted->place;
}

/// Of a mounted btrfs over several disks one alone is in the table of mounts; sysfs lists them all.
void btrfs_users(const Machine& machine, const std::vector<Mount>& all, const std::set<std::string>& names,
                 std::vector<std::string>& users) {
  for (const std::string& id : machine.list("/sys/fs/btrfs")) {
    const std::vector<std::string> members = machine.list("/sys/fs/btrfs/" + id + "/devices");
    std::string place;
    for (const std::string& member : members) {
      if (place.empty()) place = place_of(machine, all, member);
    }
    for (const std::string& member : members) {
      if (names.count(member) == 0 || !place_of(machine, all, member).empty()) continue;
      users.push_back(fmt::format("{} belongs to the btrfs {}{}", file_of(member), id,
                                  place.empty() ? "" : ", mounted on " + place));
    }
  }
}

/// Files of which one line is a device that is handed on: what hands it on, the directories in which any name may stand
/// for *, and the file. Some open it in a way that leaves it open to others as well.
struct Exporter {
  const char* what;
  std::vector<const char*> path;
};
void exporter_users(const Machine& machine, const std::map<std::string, std::string>& files_by_number,
                    std::vector<std::string>& users) {
  static const std::vector<Exporter> kExporters{
      {"is exported by LIO (target)", {"/sys/kernel/config/target/core", "", "", "udev_path"}},
      {"is exported by nvmet", {"/sys/kernel/config/nvmet/subsystems", "", "namespaces", "", "device_path"}},
      {"is behind a loop device", {"/sys/class/block", "", "loop/backing_file"}},
  };
  for (const Exporter& exporter : kExporters) {
    std::vector<std::string> paths{""};
    for (const char* const part : exporter.path) {
      std::vector<std::string> longer;
      for (const std::string& path : paths) {
        const std::vector<std::string> names = *part != '\0' ? std::vector<std::string>{part} : machine.list(path);
        for (const std::string& name : names)
          longer.push_back(path.empty() ? name : path + "/" + name);
      }
      paths = std::move(longer);
    }
    for (const std::string& path : paths) {
      const std::string file = machine.text(path);
      if (file.rfind("/dev/", 0) != 0) continue;
      const auto by_number = files_by_number.find(machine.device_number(file));
      const bool is_named = std::any_of(files_by_number.begin(), files_by_number.end(),
                                        [&](const auto& each) { return each.second == file; });
      if (is_named || by_number != files_by_number.end())
        users.push_back(fmt::format("{} {}", is_named ? file : by_number->second, exporter.what));
    }
  }
}

struct Signature {
  const char* type;  ///< as blkid(8) calls it
  const char* whole;
};
constexpr auto kSignatures = std::to_array<Signature>({
    {"LVM1_member", "an LVM volume group"},
    {"LVM2_member", "an LVM volume group"},
    {"linux_raid_member", "a Linux RAID (md)"},
    {"zfs_member", "a ZFS pool"},
    {"bcache", "a bcache"},
    {"bcachefs", "a bcachefs"},
    {"drbd", "a DRBD resource"},
    {"ceph_bluestore", "a Ceph cluster"},
});

/// The superblock's num_devices (fs/btrfs: struct btrfs_super_block, at 64 KiB).
bool has_many_members(const Machine& machine, const std::string& file) {
  constexpr std::uint64_t kSuperblock = 0x10000, kDevices = 0x88;
  const auto count = machine.piece(file, kSuperblock + kDevices, 8);
  return count && count->size() == 8 && count->compare(0, 8, std::string("\1\0\0\0\0\0\0\0", 8)) != 0;
}

/// What the device is written to be a part of, whether that is at work now or not; "" for nothing.
std::string whole_of(Machine& machine, const std::string& file) {
  const std::vector<std::string> probe{"blkid", "--probe", "--output", "value", "--match-tag", "TYPE", file};
  Ran ran = machine.run(probe);
  if (ran.status == 127) {
    std::vector<std::string> absolute = probe;
    absolute.front() = "/sbin/blkid";
    ran = machine.run(absolute);
  }
  const std::string type = ran.status == 0 ? ran.out.substr(0, ran.out.find('\n')) : "";
  if (type == "btrfs") return has_many_members(machine, file) ? "a btrfs over several disks" : "";
  const auto known =
      std::find_if(kSignatures.begin(), kSignatures.end(), [&](const Signature& each) { return type == each.type; });
  if (known != kSignatures.end()) return known->whole;
  constexpr std::string_view kMember = "_member";
  const bool is_member =
      type.size() > kMember.size() && type.compare(type.size() - kMember.size(), kMember.size(), kMember) == 0;
  return is_member ? "a larger whole (" + type + ")" : "";
}

/// Whether its name, as a word, is in one of the sentences.
bool is_told(const std::vector<std::string>& users, const std::set<std::string>& names) {
  return std::any_of(users.begin(), users.end(), [&](const std::string& user) {
    return std::any_of(names.begin(), names.end(), [&](const auto& name) { return has_word(user, file_of(name)); });
  });
}

/// The whole disk is claimed: nobody can claim a partition of it from then on, and it cannot be had while somebody has
/// one claimed (bd_may_claim() of the kernel).
void claim(Machine& machine, const std::string& disk, Usage& usage) {
  auto claimed = machine.claim(file_of(disk));
  if (claimed) {
    usage.claims.push_back(std::move(*claimed));
    return;
  }
  std::set<std::string> tree;
  std::vector<std::string> ignored;
  collect_holders(machine, disk, tree, ignored);
  if (claimed.error().sys != EBUSY || is_told(usage.users, tree)) return;
  std::string where = disk;
  for (const std::string& name : tree) {
    const auto part = is_partition(machine, name) ? machine.claim(file_of(name)) : Result<UniqueFd>{};
    if (!part && part.error().sys == EBUSY) where = name;
  }
  usage.users.push_back(
      fmt::format("{} is claimed by the kernel or a program (mounted elsewhere, ZFS, bcache, DRBD, an "
                  "exported disk, ...)",
                  file_of(where)));
}

}  // namespace

void disk_users(Machine& machine, const PciFunction& function, Openers& openers, Usage& usage) {
  const std::set<std::string> disks = disks_of(machine, function.address);
  if (disks.empty()) return;
  std::set<std::string> names;
  for (const std::string& disk : disks)
    collect_holders(machine, disk, names, usage.users);
  const std::vector<Mount> all = mounts(machine);
  const std::vector<std::string> swaps = lines(machine.text("/proc/swaps"));
  std::map<std::string, std::string> files_by_number;
  for (const std::string& name : names) {
    const std::string file = file_of(name), number = machine.text(kBlock + name + "/dev");
    openers.watch_file(file, number);  // a VM may have a whole disk
    files_by_number.emplace(number, file);
    if (const std::string place = place_of(machine, all, name); !place.empty())
      usage.users.push_back(fmt::format("{} is mounted on {}", file, place));
    const bool swaps_here = std::any_of(swaps.begin(), swaps.end(),
                                        [&](const std::string& line) { return line.rfind(file + " ", 0) == 0; });
    if (swaps_here) usage.users.push_back(file + " holds swap");
    if (machine.exists(kBlock + name + "/bcache")) usage.users.push_back(file + " belongs to a bcache");
  }
  btrfs_users(machine, all, names, usage.users);
  exporter_users(machine, files_by_number, usage.users);
  for (const std::string& disk : disks)
    claim(machine, disk, usage);
  for (const std::string& name : names) {
    if (disks.count(name) == 0 && !is_partition(machine, name)) continue;
    const std::string whole = is_told(usage.users, {name}) ? "" : whole_of(machine, file_of(name));
    if (!whole.empty()) usage.users.push_back(fmt::format("{} is a member of {}", file_of(name), whole));
  }
}

}  // namespace vmux::host
