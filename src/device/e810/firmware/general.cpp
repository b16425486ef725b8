// SPDX-License-Identifier: BSD-3-Clause
// Commands about the card as a whole: version, locks, capabilities, addresses, flash.
#include <algorithm>
#include <cstring>

#include "device/e810/firmware/firmware.hpp"
#include "device/e810/firmware/nvm.hpp"
#include "intel/queue_config.hpp"

namespace vmux::device::e810 {

namespace wi = wire::ice;

// API 1.5.1: drivers then ask for nothing that newer firmware has (default PHY configuration, LLDP filter, health).
Firmware::Status Firmware::get_version(Command& command) {
  wi::Version version{};
  version.rom_version = 1;
  version.firmware_build = 1;
  version.firmware_major = 7;
  version.firmware_patch = 1;
  version.api_major = 1;
  version.api_minor = 5;
  version.api_patch = 1;
  command.set_params(version);
  return Status::ok;
}

Firmware::Status Firmware::accept(Command& /*command*/) { return Status::ok; }
Firmware::Status Firmware::refuse(Command& /*command*/) { return Status::invalid; }
Firmware::Status Firmware::not_implemented(Command& /*command*/) { return Status::not_implemented; }

// There is one function, so nobody else ever holds a lock. The one of the global configuration tells more: whether a
// package is in use already.
Firmware::Status Firmware::request_resource(Command& command) {
  auto request = command.params<wi::ResourceOwnership>();
  if (request.resource == 0 || request.resource > wi::ownership::global_config_lock) return Status::invalid;
  const bool has_package = request.resource == wi::ownership::global_config_lock && active_.has_value();
  request.status = has_package ? wi::ownership::done : wi::ownership::granted;
  command.set_params(request);
  return Status::ok;
}

Firmware::Status Firmware::release_resource(Command& command) {
  const std::uint16_t resource = command.params<wi::ResourceOwnership>().resource;
  return resource == 0 || resource > wi::ownership::global_config_lock ? Status::invalid : Status::ok;
}

Firmware::Status Firmware::list_capabilities(Command& command) {
  struct Entry {
    std::uint16_t id;
    std::uint32_t number, logical, physical;
  };
  const std::uint32_t queues = identity_.queue_pairs + 1;  // one pair more for Flow Director
  const Entry entries[] = {
      {wi::capability::valid_functions, 1, 0, 0},
      {wi::capability::vsi, Switching::kMostVsis, 0, 0},
      {wi::capability::rss, intel::Rss::kMaxLutSize, 8, 0},  // entries name one of 2^8 queues
      {wi::capability::rx_queues, queues, 0, 0},
      {wi::capability::tx_queues, queues, 0, 0},
      {wi::capability::msix, identity_.vectors, 0, 0},
      {wi::capability::flow_director, 1, 0, 0},
      {wi::capability::max_mtu, intel::kMaxFrameWithFcs, 0, 0},
  };
  if (command.buffer.size() < sizeof entries / sizeof(Entry) * sizeof(wi::Capability)) return Status::no_memory;
  std::size_t at = 0;
  std::uint32_t count = 0;
  for (const Entry& entry : entries) {
    wi::Capability capability{};
    capability.id = entry.id;
    capability.major = 1;
    capability.number = entry.number;
    capability.logical_id = entry.logical;
    capability.physical_id = entry.physical;
    command.put(capability, at);
    at += sizeof capability;
    ++count;
  }
  auto answer = command.params<wi::ListCapabilities>();
  answer.count = count;
  command.set_params(answer);
  command.reply = at;
  return Status::ok;
}

Firmware::Status Firmware::manage_mac_read(Command& command) {
  wi::ManageMacRead answer{};
  answer.flags = wi::mac_read::lan_valid | wi::mac_read::port_valid;
  answer.count = 1;
  command.set_params(answer);
  command.put(wi::MacAddress{0, 0, mac_});
  command.reply = command.buffer.size();
  return Status::ok;
}

// Linux tells the address that it was given; the rules say where frames go.
Firmware::Status Firmware::manage_mac_write(Command& command) {
  mac_ = command.params<wi::ManageMacWrite>().mac;
  return Status::ok;
}

Firmware::Status Firmware::clear_pxe_mode(Command& /*command*/) {
  registers_.set(reg::GLLAN_RCTL_0, 0);
  return Status::ok;
}

// Drivers find the size of the flash by trying what can be read: EINVAL, and nothing else, means "beyond the end".
Firmware::Status Firmware::nvm_read(Command& command) {
  const auto request = command.params<wi::NvmRead>();
  const std::size_t from = std::size_t{request.offset_high} << 16 | request.offset_low, size = request.length;
  const bool is_flash = (request.flags & wi::nvm::flash_only) != 0;
  const auto readable = nvm::flash().first(is_flash ? nvm::kFlashSize : nvm::kShadowRamSize);
  if (request.module != 0 || from > readable.size() || size > readable.size() - from || size == 0) {
    return Status::invalid;
  }
  if (size > command.buffer.size()) return Status::no_memory;
  std::memcpy(command.buffer.data(), readable.data() + from, size);
  command.reply = size;
  return Status::ok;
}

Firmware::Status Firmware::nvm_checksum(Command& command) {
  auto answer = command.params<wi::NvmChecksum>();
  answer.checksum = nvm::is_checksum_right() ? wi::kChecksumRight : std::uint16_t{0};
  command.set_params(answer);
  return Status::ok;
}

}  // namespace vmux::device::e810
