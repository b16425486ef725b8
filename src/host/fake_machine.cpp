// SPDX-License-Identifier: BSD-3-Clause
#include "host/fake_machine.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/text/format.hpp"
#include "host/look/function.hpp"

namespace vmux::host::fake {
namespace fs = std::filesystem;
namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// The part of a path between `before` and `after`; "" if it is not of that form.
std::string between(const std::string& path, const std::string& before, const std::string& after) {
  if (path.rfind(before, 0) != 0 || !ends_with(path, after) || path.size() < before.size() + after.size()) return "";
  return path.substr(before.size(), path.size() - before.size() - after.size());
}

template <class Value>
void merge(std::optional<Value>& into, const std::optional<Value>& from) {
  if (from) into = from;
}

}  // namespace

Result<Link> FakeNetwork::link(const std::string& name) {
  for (const Link& link : all_links) {
    if (link.name == name || std::count(link.other_names.begin(), link.other_names.end(), name) != 0) return link;
  }
  return fail(Errc::system, "rtnetlink", ENODEV);
}

Result<> FakeNetwork::set_vf(const std::string& interface, unsigned vf, const VfSettings& settings) {
  if (refuses_vf != 0 && refusals_left > 0) {
    --refusals_left;
    return fail(Errc::system, "its MAC address", refuses_vf);
  }
  if (vf >= all_vfs[interface].size()) return fail(Errc::system, "rtnetlink", EINVAL);
  VfSettings& now = all_vfs[interface][vf];
  merge(now.mac, settings.mac);
  merge(now.vlan, settings.vlan);
  merge(now.qos, settings.qos);
  merge(now.is_trusted, settings.is_trusted);
  merge(now.checks_spoofing, settings.checks_spoofing);
  merge(now.link, settings.link);
  return {};
}

Result<> FakeNetwork::set_up(const std::string& interface, bool up) {
  on_up(interface, up);
  return {};
}

std::string FakeMachine::make_root() {
  const fs::path place =
      fs::is_directory("/dev/shm") ? fs::path{"/dev/shm"} : fs::temp_directory_path();  // fsync costs nothing
  std::string root = (place / "fake-machine-XXXXXX").string();
  if (::mkdtemp(root.data()) == nullptr) std::abort();
  return root;
}

FakeMachine::~FakeMachine() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

void FakeMachine::begin() {
  put("/proc/sys/kernel/random/boot_id", "boot-1\n");
  put("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vmx ept\n");
  put("/proc/self/status", "Name:\tx\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n");
  put("/proc/self/limits",
      "Limit                     Soft Limit           Hard Limit           Units\n"
      "Max open files            1024                 524288               files\n"
      "Max locked memory         8388608              8388608              bytes\n");
  put("/sys/bus/pci/drivers_probe", "");
  put("/sys/devices/system/cpu/online", "0-7\n");
  net.on_up = [this](const std::string& name, bool up) {
    put("/sys/class/net/" + name + "/flags", up ? "0x1003\n" : "0x1002\n");
  };
}

void FakeMachine::put(const std::string& path, const std::string& content) {
  fs::create_directories(fs::path{root_ + path}.parent_path());
  std::ofstream{root_ + path, std::ios::binary} << content;
}

void FakeMachine::put_link(const std::string& path, const std::string& target) {
  const fs::path place = root_ + path;
  fs::create_directories(place.parent_path());
  fs::remove(place);
  // Relative, so that it stays below the root; a link to a file of another root (a descriptor in /proc) is never
  // followed.
  fs::create_symlink(path.rfind("/proc", 0) == 0 ? fs::path{target}
                                                 : fs::path{target}.lexically_relative(fs::path{path}.parent_path()),
                     place);
}

void FakeMachine::take(const std::string& path) { fs::remove_all(root_ + path); }

void FakeMachine::add_driver(const std::string& name) {
  put(kPciDrivers + name + "/bind", "");
  put(kPciDrivers + name + "/unbind", "");
}

void FakeMachine::add_function(const std::string& address, const FunctionSpec& spec) {
  const std::string place = "/sys/devices/pci0000:00/" + (spec.bridge.empty() ? "" : spec.bridge + "/") + address;
  put(place + "/class", fmt::format("0x{:06x}\n", spec.class_code));
  put(place + "/vendor", "0x8086\n");
  put(place + "/device", "0x10c9\n");
  put(place + "/driver_override", "(null)\n");
  put(place + "/numa_node", fmt::format("{}\n", spec.numa_node));
  put(place + "/config", std::string(64, '\0'));
  if (spec.max_vfs > 0) {
    put(place + "/sriov_totalvfs", fmt::format("{}\n", spec.max_vfs));
    put(place + "/sriov_numvfs", "0\n");
    put(place + "/sriov_offset", "128\n");
    put(place + "/sriov_stride", "2\n");
    put(place + "/sriov_drivers_autoprobe", "1\n");
  }
  put_link(kPciDevices + address, place);
  if (spec.group >= 0) {
    const std::string group = fmt::format("/sys/kernel/iommu_groups/{}", spec.group);
    put(group + "/type", "DMA-FQ\n");
    put_link(group + "/devices/" + address, place);
    put_link(place + "/iommu_group", group);
  }
  natives_[address] = {spec.driver, spec.interface};
  if (!spec.driver.empty()) {
    add_driver(spec.driver);
    attach(address, spec.driver, /*is_boot=*/true);
  }
}

void FakeMachine::add_node(unsigned node, const std::string& cpus, const std::map<unsigned, unsigned>& pages_by_kib) {
  const std::string path = fmt::format("/sys/devices/system/node/node{}", node);
  put(path + "/cpulist", cpus + "\n");
  for (const auto& [kib, count] : pages_by_kib) {
    put(fmt::format("{}/hugepages/hugepages-{}kB/nr_hugepages", path, kib), fmt::format("{}\n", count));
    put(fmt::format("{}/hugepages/hugepages-{}kB/free_hugepages", path, kib), fmt::format("{}\n", count));
  }
}

void FakeMachine::add_disk(const std::string& address, const std::string& name, const std::string& number) {
  const std::string place = Machine::resolve(kPciDevices + address) + "/ata1/block/" + name;
  put(place + "/dev", number + ":0\n");
  put(place + "/" + name + "1/dev", number + ":1\n");
  put(place + "/" + name + "1/partition", "1\n");
  put_link("/sys/class/block/" + name, place);
  put_link("/sys/class/block/" + name + "1", place + "/" + name + "1");
  fs::create_directories(root_ + "/sys/class/block");
  put_link("/sys/class/block/" + name, place);
}

void FakeMachine::attach(const std::string& address, const std::string& driver, bool is_boot) {
  const std::string place = Machine::resolve(kPciDevices + address);
  put_link(place + "/driver", kPciDrivers + driver);
  put(place + "/driver/unbind", "");
  const Native& native = natives_[address];
  if (driver != native.driver || native.interface.empty()) return;
  const std::string net_place = place + "/net/" + native.interface;
  put(net_place + "/address", "52:54:00:11:22:33\n");
  put(net_place + "/operstate", "up\n");
  put(net_place + "/speed", "1000\n");
  put(net_place + "/flags", is_boot ? "0x1003\n" : "0x1002\n");  // nobody sets it up again
  put_link("/sys/class/net/" + native.interface, net_place);
}

void FakeMachine::detach(const std::string& address) {
  const std::string place = Machine::resolve(kPciDevices + address);
  take(place + "/driver");
  if (natives_[address].interface.empty()) return;
  take("/sys/class/net/" + natives_[address].interface);
  take(place + "/net");
}

void FakeMachine::probe(const std::string& address) {
  if (!Machine::link(kPciDevices + address + "/driver").empty()) return;
  std::string wanted = Machine::text(kPciDevices + address + "/driver_override");
  if (wanted == "(null)") wanted = natives_[address].chosen.value_or(natives_[address].driver);
  if (!wanted.empty() && picky.count(wanted) == 0 && exists(kPciDrivers + wanted)) attach(address, wanted);
}

Result<> FakeMachine::bind(const std::string& driver, const std::string& address) {
  const std::string override = Machine::text(kPciDevices + address + "/driver_override");
  const bool matches = override == driver || (override == "(null)" && natives_[address].driver == driver);
  if (!matches) return fail(Errc::system, "write", ENODEV);
  attach(address, driver);
  return {};
}

void FakeMachine::remove_function(const std::string& address) {
  detach(address);
  const std::string group = Machine::resolve(kPciDevices + address + "/iommu_group");
  take(Machine::resolve(kPciDevices + address));
  take(kPciDevices + address);
  if (!group.empty()) take(group);
  natives_.erase(address);
}

Result<> FakeMachine::set_vfs(const std::string& address, const std::string& value) {
  const std::string path = kPciDevices + address;
  const unsigned now = static_cast<unsigned>(number(path + "/sriov_numvfs").value_or(0));
  const unsigned wanted = static_cast<unsigned>(parse_decimal(value).value_or(0));
  if (now != 0 && wanted != 0) return fail(Errc::system, "write", EBUSY);
  if (wanted > number(path + "/sriov_totalvfs").value_or(0)) return fail(Errc::system, "write", ERANGE);
  const PciAddress physical = *parse_pci_address(address);
  for (unsigned i = 0; i < std::max(now, wanted); ++i) {
    const std::string vf = offset(physical, 128 + 2 * i).text();
    if (i >= wanted) {
      remove_function(vf);
      take(fmt::format("{}/virtfn{}", path, i));
      continue;
    }
    const bool is_probed = Machine::text(path + "/sriov_drivers_autoprobe") == "1";
    add_function(vf, {.driver = is_probed ? "igbvf" : "",
                      .group = 100 + static_cast<int>(i),
                      .interface = fmt::format("{}v{}", natives_[address].interface, i)});
    natives_[vf].driver = "igbvf";
    put_link(fmt::format("{}/virtfn{}", path, i), Machine::resolve(kPciDevices + vf));
    put_link(kPciDevices + vf + "/physfn", Machine::resolve(path));
  }
  put(path + "/sriov_numvfs", value + "\n");
  const VfSettings fresh{"00:00:00:00:00:00", 0, 0, false, true, VfLink::automatic};
  net.all_vfs[natives_[address].interface].assign(wanted, fresh);
  return {};
}

std::string FakeMachine::set_pages(const std::string& path, std::uint64_t wanted) {
  const std::uint64_t given = std::min<std::uint64_t>(wanted, most_pages);
  const auto used = pages_in_use.find(path);
  const std::uint64_t surplus = used == pages_in_use.end() || used->second <= given ? 0 : used->second - given;
  put(path.substr(0, path.rfind('/')) + "/surplus_hugepages", std::to_string(surplus) + "\n");
  return std::to_string(given + surplus);
}

Result<> FakeMachine::mount_hugepages(const std::string& path, const std::string& size) {
  if (const auto found = refuses.find(path); found != refuses.end()) return fail(Errc::system, "mount", found->second);
  written.push_back("mount " + path);
  const std::uint64_t mib = parse_size_kib(size).value_or(0) >> 10;
  put("/proc/self/mountinfo", Machine::read("/proc/self/mountinfo").value_or("") +
                                  fmt::format("30 20 0:40 / {} rw - hugetlbfs hugetlbfs rw,pagesize={}M\n", path, mib));
  return {};
}

Result<> FakeMachine::unmount(const std::string& path) {
  written.push_back("umount " + path);
  std::string rest;
  for (const std::string& line : lines(Machine::text("/proc/self/mountinfo")))
    if (line.find(" / " + path + " ") == std::string::npos) rest += line + "\n";
  return put("/proc/self/mountinfo", rest), Result<>{};
}

Result<> FakeMachine::act(const std::string& path, const std::string& value) {
  if (path == "/sys/bus/pci/drivers_probe") return probe(value), Result<>{};
  if (const std::string driver = between(path, kPciDrivers, "/bind"); !driver.empty()) return bind(driver, value);
  if (const std::string address = between(path, kPciDevices, "/driver/unbind"); !address.empty())
    return detach(address), Result<>{};
  if (const std::string address = between(path, kPciDevices, "/sriov_numvfs"); !address.empty())
    return set_vfs(address, value);
  std::string content = value;
  if (ends_with(path, "/driver_override") && value.empty()) content = "(null)";
  if (ends_with(path, "/nr_hugepages")) content = set_pages(path, parse_decimal(value).value_or(0));
  return put(path, content + "\n"), Result<>{};
}

Result<> FakeMachine::write(const std::string& path, std::string_view value) {
  if (crashes_at >= 0 && crashes_at-- == 0) throw Crash{};
  std::string line{value};
  while (!line.empty() && line.back() == '\n')
    line.pop_back();
  if (before_write) before_write(path);
  written.push_back(line + " > " + path);
  if (const auto found = refuses.find(path); found != refuses.end()) return fail(Errc::system, "write", found->second);
  if (!exists(path)) return fail(Errc::system, "open", ENOENT);
  return act(path, line);
}

Result<> FakeMachine::replace(const std::string& path, std::string_view content) {
  if (const auto found = refuses.find(path); found != refuses.end()) return fail(Errc::system, "open", found->second);
  return Machine::replace(path, content);
}

Ran FakeMachine::run(const std::vector<std::string>& arguments, unsigned) {
  const std::string line = fmt::format("{}", fmt::join(arguments, " "));
  if (arguments[0] == "modprobe") {
    const std::string module = "/lib/modules/available/" + arguments.back();
    const bool is_rehearsal = arguments[1] == "--dry-run";
    if (!is_rehearsal) written.push_back(line);
    if (!exists(module)) return {1, "modprobe: FATAL: Module not found\n"};
    // The file of a module whose driver has another name says that name.
    const std::string driver = Machine::text(module);
    if (!is_rehearsal) add_driver(driver.empty() ? arguments.back() : driver);
    return {0, ""};
  }
  const auto found = programs.find(line);
  return found == programs.end() ? Ran{127, ""} : found->second;
}

std::string FakeMachine::device_number(const std::string& path) const {
  const auto found = device_numbers.find(path);
  return found == device_numbers.end() ? "" : found->second;
}

namespace {
/// A file below the root that is locked while the device is claimed.
UniqueFd lock_of(const std::string& root, const std::string& path) {
  std::string name = path;
  std::replace(name.begin(), name.end(), '/', '_');
  UniqueFd fd{::open((root + "/claim" + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  return ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 ? std::move(fd) : UniqueFd{};
}
}  // namespace

Result<UniqueFd> FakeMachine::claim(const std::string& path) const {
  UniqueFd fd = claimed.count(path) != 0 ? UniqueFd{} : lock_of(root_, path);
  if (!fd) return fail(Errc::system, "open exclusively", EBUSY);
  return fd;
}

bool FakeMachine::is_claimed(const std::string& path) const { return !lock_of(root_, path); }

void FakeMachine::sleep(std::chrono::milliseconds time) {
  slept += time;
  if (on_sleep) on_sleep();
}

int FakeMachine::access(const std::string& path) const {
  const auto found = inaccessible.find(path);
  if (found != inaccessible.end()) return found->second;
  return exists(path) ? 0 : ENOENT;
}

void make_good_host(FakeMachine& machine) {
  machine.put("/dev/kvm", "");
  machine.put("/dev/vfio/vfio", "");
  machine.put("/proc/cmdline", "root=/dev/sda1 intel_iommu=on iommu=pt isolcpus=2-7\n");
  machine.put("/proc/interrupts", "  24:  0  0  IR-PCI-MSI 1048576-edge  ens1\n");
  machine.put("/sys/class/iommu/dmar0/intel-iommu/cap", "c9de008cee690462\n");
  machine.put("/sys/module/kvm_intel/parameters/nested", "Y\n");
  machine.put("/sys/module/kvm_intel/parameters/enable_apicv", "Y\n");
  machine.put("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n");
  machine.put("/sys/module/vfio_pci/parameters/ids", "\n");
  machine.put("/sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "65535\n");
  machine.put("/sys/devices/system/cpu/isolated", "2-7\n");
  machine.put("/lib/modules/available/vfio-pci", "");
  machine.add_driver("vfio-pci");
  machine.add_node(0, "0-3", {{2048, 512}});
  machine.add_node(1, "4-7", {{2048, 0}});
  machine.add_function("0000:00:02.0", {.class_code = 0x060400, .driver = "pcieport", .group = 2});
  machine.add_function("0000:01:00.0",
                       {.group = 13, .numa_node = 0, .max_vfs = 7, .interface = "ens1", .bridge = "0000:00:02.0"});
  machine.add_function("0000:02:00.0", {.driver = "e1000e", .group = 14, .numa_node = 1, .interface = "ens2"});
  machine.add_function("0000:00:1f.2", {.class_code = 0x010601, .driver = "ahci", .group = 5});
  machine.add_function("0000:00:1f.3", {.class_code = 0x0c0500, .driver = "i801_smbus", .group = 5});
  machine.programs["qemu-system-x86_64 --version"] = {0, "QEMU emulator version 10.1.2 (Debian 1:10.1.2)\n"};
  machine.programs["qemu-system-x86_64 -device help"] = {0, "name \"vfio-user-pci\", bus PCI\n"};
}

}  // namespace vmux::host::fake
