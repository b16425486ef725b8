// SPDX-License-Identifier: BSD-3-Clause
// The generated tree: what sysfs and /dev would hold if the kernel had these PCI functions, bound to vfio-pci. Ordinary
// files, directories and symbolic links below one root, so that listing, links and relative paths need no help.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "preload/process/settings.hpp"
#include "vmux/base/result.hpp"

namespace vmux::preload {

/// A function as its server describes it.
struct Identity {
  PciAddress address;
  std::string socket;
  std::vector<std::uint8_t> config;             ///< 256 or 4096 bytes
  std::array<std::uint64_t, 7> region_sizes{};  ///< BARs 0 to 5 and the ROM
  unsigned group = 0;                           ///< IOMMU group, and number of its character device
};

/// One line of the `resource` file per BAR, the ROM, and the six that bridges use: start, end, flags
/// (include/linux/ioport.h). Addresses are made up: the function has none on this machine.
[[nodiscard]] std::string resource_text(const Identity& identity);

/// First IOMMU group number that neither the machine (below `host_root`) nor another of our functions uses.
[[nodiscard]] unsigned first_free_group(const std::string& host_root);

/// Makes the tree below `root`, an empty directory. What the machine itself has in the directories that get listed
/// (below `host_root`, "" for the machine) is linked in.
[[nodiscard]] Result<void> build_tree(const std::string& root, const std::string& host_root,
                                      const std::vector<Identity>& identities);

// Device numbers of the character devices: those of the kernel where it has fixed ones.
inline constexpr unsigned kMiscMajor = 10, kVfioMinor = 196, kIommuMinor = 124, kGroupMajor = 510, kCdevMajor = 511;

}  // namespace vmux::preload
