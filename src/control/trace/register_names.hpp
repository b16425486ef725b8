// SPDX-License-Identifier: BSD-3-Clause
// Names of what every PCI function has, whoever made it; a model's own registers are its device's to name.
#pragma once

#include <cstdint>
#include <string>

#include "vmux/pci/spec.hpp"

namespace vmux::control {

[[nodiscard]] std::string name_of(pci::Region region);  ///< "bar0", "config"
/// In the header of configuration space ([PCI] figure 6-1): "Command"; empty: behind it, or between fields.
[[nodiscard]] std::string config_register_name(std::uint64_t offset);
/// In the table of MSI-X ([PCI] 6.8.2), from its beginning: "MSIX_TABLE[3].Message_Data".
[[nodiscard]] std::string msix_table_name(std::uint64_t offset);

/// In the BAR of a virtio device ([VIRTIO] 4.1.4): "queue_enable", "NOTIFY[2]".
[[nodiscard]] std::string virtio_register_name(std::uint64_t offset);

/// Of a row with several registers: "QTX_TAIL1[2]".
template <class Row>
[[nodiscard]] std::string register_name(const Row* row, std::uint64_t offset) {
  if (row == nullptr) return "";
  std::string name = row->name;
  if (row->count > 1 && row->stride != 0) name += '[' + std::to_string((offset - row->at) / row->stride) + ']';
  return name;
}

}  // namespace vmux::control
