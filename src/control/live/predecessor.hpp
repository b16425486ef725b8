// SPDX-License-Identifier: BSD-3-Clause
// What a daemon leaves for the next one that its keeper starts: its objects, and where each keeps what it does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "control/config/configuration.hpp"
#include "control/model/inventory.hpp"
#include "control/rpc/params.hpp"
#include "keeper/lifeline.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::control {

/// Numbers of descriptors by the names that an object gave them.
using FdNames = std::map<std::string, int>;

/// The objects as a text for the next daemon (keeper/lifeline.hpp), and back. Numbers are those of the daemon's
/// descriptors.
struct Objects {
  std::vector<Step> steps;  ///< the calls that make them, each with all that was settled
  std::map<std::string, FdNames> ports, uplinks;
  std::map<std::string, std::uint32_t> marks;  ///< of ports, as the switch shows them (switching::PortConfig::mark)
  std::vector<std::string> stopped;            ///< ports of whose frames two daemons died
  int rpc = -1;                                ///< the socket at which RPC clients arrive; -1: there is none

  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] static tl::expected<Objects, std::string> from_text(const std::string& text);
};
/// The calls that make what an inventory has.
[[nodiscard]] std::vector<Step> steps_of(const Inventory& inventory);

/// The mark of a port whose number is `number`, after a process that died while its threads had `shown` these.
[[nodiscard]] std::uint32_t mark_after(std::uint32_t number, std::span<const std::uint32_t> shown);

/// A daemon that died, or made room; or one that lives and is only looked at. Its descriptors are there as long as this
/// is.
class Predecessor {
 public:
  /// The error is for people.
  [[nodiscard]] static tl::expected<std::unique_ptr<Predecessor>, std::string> read(const keeper::Lifeline& lifeline);

  [[nodiscard]] const Objects& objects() const noexcept { return objects_; }
  /// What it named for an object; empty when there is nothing of it.
  [[nodiscard]] state::FdBag port(const std::string& name) const { return bag_of(objects_.ports, name); }
  [[nodiscard]] state::FdBag uplink(const std::string& name) const { return bag_of(objects_.uplinks, name); }
  [[nodiscard]] Result<UniqueFd> rpc_socket() const;
  /// What the switch is to show of the port now (switching::PortConfig::mark), with how many processes in a row have
  /// died in the first burst that they took from it or delivered to it; 0: it had none.
  [[nodiscard]] std::uint32_t mark_of(const std::string& port) const;
  [[nodiscard]] Result<std::map<int, UniqueFd>> fetch(const std::vector<int>& numbers) const {
    return lifeline_.fetch(numbers);
  }

 private:
  Predecessor(const keeper::Lifeline& lifeline, Objects objects) noexcept
      : lifeline_(lifeline), objects_(std::move(objects)) {}
  [[nodiscard]] state::FdBag bag_of(const std::map<std::string, FdNames>& all, const std::string& name) const;

  const keeper::Lifeline& lifeline_;
  Objects objects_;
};

}  // namespace vmux::control
