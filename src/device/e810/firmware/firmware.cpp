// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/firmware/firmware.hpp"

#include <algorithm>

namespace vmux::device::e810 {

namespace op = wire::ice::op;

// By opcode. What is not here is answered with ENOSYS and counted, as firmware does that does not know it.
std::span<const Firmware::Row> Firmware::rows() noexcept {
  using F = Firmware;
  static constexpr Row kRows[] = {
      {op::get_version, 0, &F::get_version, "get version"},
      {op::driver_version, 0, &F::accept, "driver version"},
      {op::queue_shutdown, 0, &F::accept, "queue shutdown"},
      {op::request_resource, 0, &F::request_resource, "request resource ownership"},
      {op::release_resource, 0, &F::release_resource, "release resource ownership"},
      {op::list_function_capabilities, 32, &F::list_capabilities, "discover function capabilities"},
      {op::list_device_capabilities, 32, &F::list_capabilities, "discover device capabilities"},
      {op::manage_mac_read, 16, &F::manage_mac_read, "manage MAC address, read"},
      {op::manage_mac_write, 0, &F::manage_mac_write, "manage MAC address, write"},
      {op::clear_pxe_mode, 0, &F::clear_pxe_mode, "clear PXE mode"},
      {op::get_switch_config, 6, &F::get_switch_config, "get switch configuration"},
      {op::set_port_parameters, 0, &F::accept, "set port parameters"},
      {op::alloc_resource, 6, &F::alloc_resource, "allocate resources"},
      {op::free_resource, 6, &F::free_resource, "free resources"},
      {op::get_allocated_resources, 0, &F::get_allocated_resources, "get allocated resources"},
      {0x020d, 0, &F::not_implemented, "get VLAN mode"},  // so that the driver uses single VLAN mode
      {op::add_vsi, 128, &F::add_vsi, "add VSI"},
      {op::update_vsi, 128, &F::update_vsi, "update VSI"},
      {op::get_vsi, 128, &F::get_vsi, "get VSI"},
      {op::free_vsi, 0, &F::free_vsi, "free VSI"},
      {op::add_rules, 8, &F::rules, "add switch rules"},
      {op::update_rules, 8, &F::rules, "update switch rules"},
      {op::remove_rules, 8, &F::rules, "remove switch rules"},
      {op::clear_pf_config, 0, &F::clear_pf_config, "clear PF configuration"},
      {op::get_default_topology, 224, &F::get_default_topology, "get default scheduler topology"},
      {op::add_elements, 32, &F::add_elements, "add scheduler elements"},
      {op::configure_elements, 24, &F::configure_elements, "configure scheduler elements"},
      {op::get_elements, 24, &F::get_elements, "get scheduler elements"},
      {op::move_elements, 16, &F::move_elements, "move scheduler elements"},
      {op::suspend_elements, 4, &F::suspend_or_resume_elements, "suspend scheduler elements"},
      {op::resume_elements, 4, &F::suspend_or_resume_elements, "resume scheduler elements"},
      {op::query_port_ets, 0, &F::query_port_ets, "query port ETS"},
      {op::delete_elements, 12, &F::delete_elements, "delete scheduler elements"},
      {op::add_rate_profiles, 12, &F::rate_profiles, "add rate limiter profiles"},
      {op::query_scheduler_resources, 320, &F::query_scheduler_resources, "query scheduler resources"},
      {op::remove_rate_profiles, 12, &F::rate_profiles, "remove rate limiter profiles"},
      {op::get_phy_capabilities, 560, &F::get_phy_capabilities, "get PHY capabilities"},
      {op::set_phy_config, 24, &F::set_phy_config, "set PHY configuration"},
      {op::set_mac_config, 0, &F::accept, "set MAC configuration"},
      {op::restart_autonegotiation, 0, &F::restart_autonegotiation, "restart autonegotiation"},
      {op::get_link_status, 32, &F::get_link_status, "get link status"},
      {op::set_event_mask, 0, &F::set_event_mask, "set event mask"},
      {0x06e0, 0, &F::refuse, "get link topology"},  // no part of the board has an address
      {0x06e9, 0, &F::accept, "set port identification LED"},
      {0x06ea, 0, &F::refuse, "get port options"},
      {op::nvm_read, 1, &F::nvm_read, "read NVM"},
      {op::nvm_checksum, 0, &F::nvm_checksum, "NVM checksum"},
      {op::lldp_set_mib_change, 0, &F::accept, "configure LLDP MIB change event"},
      {op::lldp_stop, 0, &F::accept, "stop LLDP agent"},
      {op::lldp_start, 0, &F::refuse, "start LLDP agent"},  // there is none
      {op::set_rss_key, 52, &F::set_rss_key, "set RSS key"},
      {op::set_rss_lut, 64, &F::set_rss_lut, "set RSS table"},
      {op::get_rss_key, 52, &F::get_rss_key, "get RSS key"},
      {op::get_rss_lut, 64, &F::get_rss_lut, "get RSS table"},
      {op::add_tx_queues, 56, &F::add_tx_queues, "add transmit queues"},
      {op::disable_tx_queues, 0, &F::disable_tx_queues, "disable transmit queues"},
      {op::download_package, 8, &F::download_package, "download package"},
      {op::upload_section, 0, &F::refuse, "upload section"},  // what was downloaded is not kept
      {op::update_package, 8, &F::update_package, "update package"},
      {op::get_package_info, 4, &F::get_package_info, "get package info list"},
      {0xff32, 0, &F::not_implemented, "query firmware log"},
  };
  static_assert(std::is_sorted(std::begin(kRows), std::end(kRows),
                               [](const Row& a, const Row& b) { return a.opcode < b.opcode; }));
  return kRows;
}

const Firmware::Row* Firmware::find(std::uint16_t opcode) noexcept {
  const auto all = rows();
  const auto at = std::lower_bound(all.begin(), all.end(), opcode,
                                   [](const Row& row, std::uint16_t wanted) { return row.opcode < wanted; });
  return at != all.end() && at->opcode == opcode ? &*at : nullptr;
}

Firmware::Firmware(Registers& registers, NicCounters& counters, InterruptUnit& interrupts, DataPath& data,
                   ControlQueue& queue, Identity& identity)
    : registers_(registers),
      counters_(counters),
      interrupts_(interrupts),
      data_(data),
      queue_(queue),
      identity_(identity) {}

Firmware::Status Firmware::execute(Command& command) noexcept {
  const Row* const row = find(command.descriptor.opcode);
  if (row == nullptr) {
    counters_.unknown_commands.note(command.descriptor.opcode);
    return Status::not_implemented;
  }
  if (command.buffer.size() < row->least_buffer) return Status::invalid;
  return (this->*row->handler)(command);
}

void Firmware::reset(ClearedBy kind) {
  mac_ = identity_.mac;
  switching_.reset();
  scheduler_.reset();
  tx_queues_.clear();
  resources_.clear();
  next_rate_profile_ = 1;
  rss_ = {};
  phy_ = {};
  phy_.type_low = wire::ice::phy::type_100g_cr4;
  phy_.capabilities = wire::ice::phy::link_enabled | wire::ice::phy::autonegotiation;
  are_link_events_on_ = is_link_event_due_ = false;
  event_mask_ = 0;
  downloading_.reset();
  if (kind == ClearedBy::core_reset) active_.reset();
  publish();
}

}  // namespace vmux::device::e810
