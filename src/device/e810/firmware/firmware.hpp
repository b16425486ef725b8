// SPDX-License-Identifier: BSD-3-Clause
// The card's firmware: executes the commands of the firmware admin queue, which a table lists (firmware.cpp), and tells
// of the link. Home thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/mac.hpp"
#include "device/e810/control_queue.hpp"
#include "device/e810/firmware/scheduler.hpp"
#include "device/e810/firmware/switching.hpp"
#include "device/e810/interrupts.hpp"
#include "device/e810/queues/data_path.hpp"
#include "device/e810/state.hpp"
#include "intel/rules/filter.hpp"
#include "wire/ice_aq.hpp"

namespace vmux::device::e810 {

/// What the card is told by its owner.
struct Identity {
  MacAddress mac{};
  unsigned queue_pairs = 4, vectors = 0;
  bool link_up = true;  ///< the cable is plugged
};

/// What the driver has told of RSS: one instance, whichever VSI's it is.
struct RssSettings {
  std::array<std::uint8_t, wire::ice::kRssKeySize> key{};
  std::vector<std::uint8_t> lut;  ///< as the driver gave it: queues of the station's own counting; empty: none
};

/// A package as its metadata names it.
struct Package {
  wire::ice::PackageVersion version{};
  std::array<char, wire::ice::kPackageNameSize> name{};
  std::uint32_t track_id = 0;
};

class Firmware final : public CommandHandler {
 public:
  Firmware(Registers& registers, NicCounters& counters, InterruptUnit& interrupts, DataPath& data, ControlQueue& queue,
           Identity& identity);

  [[nodiscard]] wire::ice::Status execute(Command& command) noexcept override;
  /// A reset of the function: what its driver has set up is gone. One of the device: the package, too.
  void reset(ClearedBy kind);
  /// Told of by an event, if the driver wants to hear of it; later, if there is no room for it now.
  void link_changed() noexcept;
  [[nodiscard]] bool is_event_due() const noexcept { return is_link_event_due_; }
  /// The driver has given receive descriptors of the admin queue.
  void event_room() noexcept;
  /// The cable is plugged, and the driver has not switched the PHY off.
  [[nodiscard]] bool is_link_up() const noexcept;
  [[nodiscard]] const MacAddress& mac() const noexcept { return mac_; }
  void set_mac(const MacAddress& mac) noexcept { mac_ = mac; }
  /// How many numbers of a type of resources there are. Drivers have tables by the numbers of profiles.
  [[nodiscard]] static std::uint16_t most_of(std::uint16_t type) noexcept;
  [[nodiscard]] const Switching& switching() const noexcept { return switching_; }

  void save(SavedState& into) const;
  void load(const SavedState& from);

  using Status = wire::ice::Status;
  using Handler = Status (Firmware::*)(Command&);
  /// A row of the table of commands.
  struct Row {
    std::uint16_t opcode;
    std::uint16_t least_buffer;  ///< bytes; 0: none is needed
    Handler handler;
    const char* name;
  };
  [[nodiscard]] static const Row* find(std::uint16_t opcode) noexcept;
  [[nodiscard]] static std::span<const Row> rows() noexcept;

 private:
  // general.cpp
  Status get_version(Command& command);
  Status accept(Command& command);           ///< nothing to be done
  Status refuse(Command& command);           ///< EINVAL: there is no such thing in this card
  Status not_implemented(Command& command);  ///< ENOSYS: firmware that is older than the command
  Status request_resource(Command& command);
  Status release_resource(Command& command);
  Status list_capabilities(Command& command);
  Status manage_mac_read(Command& command);
  Status manage_mac_write(Command& command);
  Status clear_pxe_mode(Command& command);
  Status nvm_read(Command& command);
  Status nvm_checksum(Command& command);
  // switch.cpp
  Status get_switch_config(Command& command);
  Status alloc_resource(Command& command);
  Status free_resource(Command& command);
  Status get_allocated_resources(Command& command);
  Status add_vsi(Command& command);
  Status update_vsi(Command& command);
  Status get_vsi(Command& command);
  Status free_vsi(Command& command);
  Status rules(Command& command);
  Status clear_pf_config(Command& command);
  Status set_rss_key(Command& command);
  Status set_rss_lut(Command& command);
  Status get_rss_key(Command& command);
  Status get_rss_lut(Command& command);
  [[nodiscard]] Status apply_rule(Command& command, std::size_t& at);
  [[nodiscard]] Status apply_lookup(Command& command, std::size_t& at);
  [[nodiscard]] Status apply_list(Command& command, std::size_t& at);
  void publish();
  // scheduling.cpp
  Status get_default_topology(Command& command);
  Status add_elements(Command& command);
  Status configure_elements(Command& command);
  Status get_elements(Command& command);
  Status move_elements(Command& command);
  Status suspend_or_resume_elements(Command& command);
  Status delete_elements(Command& command);
  Status rate_profiles(Command& command);
  Status query_scheduler_resources(Command& command);
  Status query_port_ets(Command& command);
  Status add_tx_queues(Command& command);
  Status disable_tx_queues(Command& command);
  void forget_tx_queue(std::uint16_t queue);
  // link.cpp
  Status get_phy_capabilities(Command& command);
  Status set_phy_config(Command& command);
  Status get_link_status(Command& command);
  Status restart_autonegotiation(Command& command);
  Status set_event_mask(Command& command);
  [[nodiscard]] wire::ice::LinkStatus link_status() const noexcept;
  void post_link_event() noexcept;
  // package.cpp
  Status download_package(Command& command);
  Status update_package(Command& command);
  Status get_package_info(Command& command);

  Registers& registers_;
  NicCounters& counters_;
  InterruptUnit& interrupts_;
  DataPath& data_;
  ControlQueue& queue_;
  Identity& identity_;

  MacAddress mac_{};
  Switching switching_;
  Scheduler scheduler_;
  std::map<std::uint16_t, std::uint32_t> tx_queues_;            // their leaves in the scheduler
  std::map<std::uint16_t, std::set<std::uint16_t>> resources_;  // numbers in use, by type
  std::uint16_t next_rate_profile_ = 1;
  RssSettings rss_;
  wire::ice::PhyConfig phy_{};
  bool are_link_events_on_ = false, is_link_event_due_ = false;
  std::uint16_t event_mask_ = 0;
  std::optional<Package> downloading_, active_;  // a package that is on its way, and the one in use
};

}  // namespace vmux::device::e810
