// SPDX-License-Identifier: BSD-3-Clause
#include "control/trace/register_names.hpp"

#include <array>

#include "base/text/format.hpp"
#include "virtio/pci_transport.hpp"
#include "wire/virtio.hpp"

namespace vmux::control {
namespace {

struct Field {
  std::uint16_t at, size;  // bytes
  const char* name;
};

// [PCI] figure 6-1
constexpr auto kHeader = std::to_array<Field>({
    {0x00, 2, "Vendor_ID"},
    {0x02, 2, "Device_ID"},
    {0x04, 2, "Command"},
    {0x06, 2, "Status"},
    {0x08, 1, "Revision_ID"},
    {0x09, 3, "Class_Code"},
    {0x0c, 1, "Cache_Line_Size"},
    {0x0d, 1, "Latency_Timer"},
    {0x0e, 1, "Header_Type"},
    {0x0f, 1, "BIST"},
    {0x10, 4, "Base_Address_0"},
    {0x14, 4, "Base_Address_1"},
    {0x18, 4, "Base_Address_2"},
    {0x1c, 4, "Base_Address_3"},
    {0x20, 4, "Base_Address_4"},
    {0x24, 4, "Base_Address_5"},
    {0x28, 4, "Cardbus_CIS_Pointer"},
    {0x2c, 2, "Subsystem_Vendor_ID"},
    {0x2e, 2, "Subsystem_ID"},
    {0x30, 4, "Expansion_ROM_Base_Address"},
    {0x34, 1, "Capabilities_Pointer"},
    {0x3c, 1, "Interrupt_Line"},
    {0x3d, 1, "Interrupt_Pin"},
    {0x3e, 1, "Min_Gnt"},
    {0x3f, 1, "Max_Lat"},
});

// [VIRTIO] 4.1.4.3
namespace common = wire::virtio::pci::common;
constexpr auto kVirtioCommon = std::to_array<Field>({
    {common::device_feature_select, 4, "device_feature_select"},
    {common::device_feature, 4, "device_feature"},
    {common::driver_feature_select, 4, "driver_feature_select"},
    {common::driver_feature, 4, "driver_feature"},
    {common::config_msix_vector, 2, "config_msix_vector"},
    {common::num_queues, 2, "num_queues"},
    {common::device_status, 1, "device_status"},
    {common::config_generation, 1, "config_generation"},
    {common::queue_select, 2, "queue_select"},
    {common::queue_size, 2, "queue_size"},
    {common::queue_msix_vector, 2, "queue_msix_vector"},
    {common::queue_enable, 2, "queue_enable"},
    {common::queue_notify_off, 2, "queue_notify_off"},
    {common::queue_desc, 8, "queue_desc"},
    {common::queue_driver, 8, "queue_driver"},
    {common::queue_device, 8, "queue_device"},
    {common::queue_notif_config_data, 2, "queue_notif_config_data"},
    {common::queue_reset, 2, "queue_reset"},
    {common::admin_queue_index, 2, "admin_queue_index"},
    {common::admin_queue_num, 2, "admin_queue_num"},
});

template <std::size_t N>
std::string field_at(const std::array<Field, N>& fields, std::uint64_t offset) {
  for (const Field& field : fields) {
    if (offset >= field.at && offset < std::uint64_t{field.at} + field.size) return field.name;
  }
  return "";
}

}  // namespace

std::string virtio_register_name(std::uint64_t offset) {
  using Pci = virtio::PciTransport;
  if (offset < Pci::kIsrAt) return field_at(kVirtioCommon, offset);
  if (offset < Pci::kDeviceAt) return "ISR";
  if (offset < Pci::kNotifyAt) return fmt::format("device_config+{:#x}", offset - Pci::kDeviceAt);
  return fmt::format("NOTIFY[{}]", (offset - Pci::kNotifyAt) / Pci::kPage);
}

std::string name_of(pci::Region region) {
  const auto number = static_cast<unsigned>(region);
  switch (region) {
    case pci::Region::config:
      return "config";
    case pci::Region::rom:
      return "rom";
    default:
      return number <= static_cast<unsigned>(pci::Region::bar5) ? fmt::format("bar{}", number)
                                                                : fmt::format("region{}", number);
  }
}

std::string config_register_name(std::uint64_t offset) { return field_at(kHeader, offset); }

std::string msix_table_name(std::uint64_t offset) {
  constexpr std::array kParts{"Message_Address", "Message_Upper_Address", "Message_Data", "Vector_Control"};
  return fmt::format("MSIX_TABLE[{}].{}", offset / 16, kParts[offset % 16 / 4]);
}

}  // namespace vmux::control
