// SPDX-License-Identifier: BSD-3-Clause
#include "preload/tree/sysfs.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <span>
#include <string_view>

#include "base/text/format.hpp"

namespace vmux::preload {
namespace {

namespace fs = std::filesystem;

// include/linux/ioport.h
constexpr std::uint64_t kIo = 0x100, kMem = 0x200, kPrefetch = 0x2000, kReadOnly = 0x4000, kMem64 = 0x100000,
                        kSizeAlign = 0x40000;

/// Little-endian value of `size` bytes of config space.
unsigned config_value(const Identity& identity, std::size_t at, std::size_t size) {
  unsigned value = 0;
  for (std::size_t i = size; i-- > 0;) {
    value = (value << 8) | (at + i < identity.config.size() ? identity.config[at + i] : 0u);
  }
  return value;
}

std::uint64_t bar_flags(unsigned bar) {
  if ((bar & 1) != 0) return kIo | kSizeAlign | (bar & 0x3);
  return kMem | kSizeAlign | (bar & 0xf) | ((bar & 8) != 0 ? kPrefetch : 0) | ((bar & 6) == 4 ? kMem64 : 0);
}

/// Writes below one root; the first failure is remembered and ends the rest.
class Tree {
 public:
  explicit Tree(fs::path root) : root_(std::move(root)) {}

  void directory(const fs::path& path) {
    if (!failed_) fs::create_directories(root_ / path, failed_);
  }
  void file(const fs::path& path, std::string_view content) {
    directory(path.parent_path());
    if (failed_) return;
    std::ofstream out(root_ / path, std::ios::binary);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    if (!out.flush()) failed_ = std::make_error_code(std::errc::io_error);
  }
  /// A link with this very text.
  void link(const fs::path& path, const fs::path& target) {
    directory(path.parent_path());
    if (!failed_) fs::create_symlink(target, root_ / path, failed_);
    if (failed_ == std::errc::file_exists) failed_.clear();  // the machine has the same name: ours came first
  }
  /// A link to another place of the tree, relative as sysfs has it.
  void link_inside(const fs::path& path, const fs::path& target) {
    link(path, target.lexically_relative(path.parent_path()));
  }
  /// Shows the machine's entries of a directory beside ours.
  void merge(const fs::path& host, const fs::path& path) {
    directory(path);
    std::error_code ignored;  // a directory that the machine does not have adds nothing
    for (const auto& entry : fs::directory_iterator(host / path, ignored)) {
      link(path / entry.path().filename(), entry.path());
    }
  }
  [[nodiscard]] std::error_code failed() const { return failed_; }

 private:
  fs::path root_;
  std::error_code failed_;
};

fs::path home_of(const Identity& identity) {
  return fs::path{"sys/devices"} / bus_name(identity.address) / identity.address.text();
}

void add_identity_files(Tree& tree, const Identity& identity) {
  const fs::path home = home_of(identity);
  const auto value = [&](std::size_t at, std::size_t size) { return config_value(identity, at, size); };
  const unsigned vendor = value(0, 2), device = value(2, 2), class_code = value(9, 3);
  const unsigned subvendor = value(0x2c, 2), subdevice = value(0x2e, 2);
  const std::string modalias =
      fmt::format("pci:v{:08X}d{:08X}sv{:08X}sd{:08X}bc{:02X}sc{:02X}i{:02X}", vendor, device, subvendor, subdevice,
                  class_code >> 16, (class_code >> 8) & 0xff, class_code & 0xff);
  tree.file(home / "vendor", fmt::format("{:#06x}\n", vendor));
  tree.file(home / "device", fmt::format("{:#06x}\n", device));
  tree.file(home / "subsystem_vendor", fmt::format("{:#06x}\n", subvendor));
  tree.file(home / "subsystem_device", fmt::format("{:#06x}\n", subdevice));
  tree.file(home / "class", fmt::format("{:#08x}\n", class_code));
  tree.file(home / "revision", fmt::format("{:#04x}\n", value(8, 1)));
  tree.file(home / "modalias", modalias + "\n");
  tree.file(home / "uevent",
            fmt::format("DRIVER=vfio-pci\nPCI_CLASS={:X}\nPCI_ID={:04X}:{:04X}\nPCI_SUBSYS_ID={:04X}:"
                        "{:04X}\nPCI_SLOT_NAME={}\nMODALIAS={}\n",
                        class_code, vendor, device, subvendor, subdevice, identity.address.text(), modalias));
  tree.file(home / "config",
            std::string_view{reinterpret_cast<const char*>(identity.config.data()), identity.config.size()});
  tree.file(home / "resource", resource_text(identity));
}

void add_machine_files(Tree& tree, const Identity& identity) {
  struct Row {
    const char* name;
    const char* content;
  };
  constexpr Row kRows[] = {
      {"numa_node", "-1\n"},
      {"irq", "0\n"},
      {"enable", "1\n"},
      {"local_cpulist", "0\n"},
      {"dma_mask_bits", "64\n"},
      {"consistent_dma_mask_bits", "64\n"},
      {"msi_bus", "1\n"},
      {"power_state", "D0\n"},
      {"driver_override", "vfio-pci\n"},
  };
  for (const Row& row : kRows)
    tree.file(home_of(identity) / row.name, row.content);
}

void add_function(Tree& tree, const Identity& identity) {
  const fs::path home = home_of(identity), bdf = identity.address.text();
  const std::string group = std::to_string(identity.group), cdev = "vfio" + group;
  add_identity_files(tree, identity);
  add_machine_files(tree, identity);
  const fs::path iommu_group = fs::path{"sys/kernel/iommu_groups"} / group;
  const fs::path driver = "sys/bus/pci/drivers/vfio-pci";
  tree.link_inside(home / "driver", driver);
  tree.link_inside(home / "subsystem", "sys/bus/pci");
  tree.link_inside(home / "iommu_group", iommu_group);
  tree.file(home / "vfio-dev" / cdev / "dev", fmt::format("{}:{}\n", kCdevMajor, identity.group));
  tree.file(home / "vfio-dev" / cdev / "uevent",
            fmt::format("MAJOR={}\nMINOR={}\nDEVNAME=vfio/devices/{}\n", kCdevMajor, identity.group, cdev));
  tree.link_inside(fs::path{"sys/class/vfio-dev"} / cdev, home / "vfio-dev" / cdev);
  tree.link_inside(fs::path{"sys/bus/pci/devices"} / bdf, home);
  tree.link_inside(driver / bdf, home);
  tree.link_inside(iommu_group / "devices" / bdf, home);
  tree.file(iommu_group / "type", "DMA\n");
  tree.file(iommu_group / "reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n");
  tree.file(fs::path{"dev/vfio"} / group, "");
  tree.file(fs::path{"dev/vfio/devices"} / cdev, "");
}

}  // namespace

std::string resource_text(const Identity& identity) {
  std::string text;
  std::uint64_t next = std::uint64_t{1} << 40;  // above all memory and devices of ordinary machines
  std::uint64_t next_io = 0xc000;
  bool is_upper_half = false;
  for (std::size_t index = 0; index < 13; ++index) {
    const std::uint64_t size = index < identity.region_sizes.size() ? identity.region_sizes[index] : 0;
    const bool is_bar = index < 6;
    const unsigned bar = is_bar ? config_value(identity, 0x10 + 4 * index, 4) : 0;
    if (size == 0 || is_upper_half) {
      text += fmt::format("{:#018x} {:#018x} {:#018x}\n", 0, 0, 0);
      is_upper_half = false;
      continue;
    }
    const std::uint64_t flags = is_bar ? bar_flags(bar) : kMem | kReadOnly | kPrefetch;
    std::uint64_t& from = (flags & kIo) != 0 ? next_io : next;
    const std::uint64_t start = (from + size - 1) / size * size;
    text += fmt::format("{:#018x} {:#018x} {:#018x}\n", start, start + size - 1, flags);
    from = start + size;
    is_upper_half = (flags & kMem64) != 0;
  }
  return text;
}

unsigned first_free_group(const std::string& host_root) {
  unsigned free = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(host_root + "/sys/kernel/iommu_groups", ignored)) {
    const std::string name = entry.path().filename();
    unsigned number = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), number).ec == std::errc{}) {
      free = std::max(free, number + 1);
    }
  }
  return free;
}

Result<void> build_tree(const std::string& root, const std::string& host_root,
                        const std::vector<Identity>& identities) {
  Tree tree{root};
  const fs::path host = host_root + "/";
  for (const Identity& identity : identities)
    add_function(tree, identity);
  tree.file("dev/vfio/vfio", "");
  tree.file("dev/iommu", "");
  tree.directory("dev/vfio/devices");
  tree.directory("sys/bus/pci/drivers/vfio-pci");
  for (const char* module : {"vfio", "vfio_pci", "vfio_pci_core", "vfio_iommu_type1", "iommufd"}) {
    tree.file(fs::path{"sys/module"} / module / "initstate", "live\n");
    tree.file(fs::path{"sys/module"} / module / "refcnt", "1\n");
  }
  for (const char* listed : {"sys/bus/pci/devices", "sys/bus/pci/drivers", "sys/bus/pci/drivers/vfio-pci",
                             "sys/kernel/iommu_groups", "sys/class/vfio-dev", "dev/vfio", "dev/vfio/devices"}) {
    tree.merge(host, listed);
  }
  if (tree.failed()) return fail(Errc::system, "cannot write the generated tree", tree.failed().value());
  return {};
}

}  // namespace vmux::preload
