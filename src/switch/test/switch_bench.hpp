// SPDX-License-Identifier: BSD-3-Clause
// Switches of fake ports that a test drives round by round.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "switch/switch.hpp"
#include "switch/test/fake_port.hpp"

namespace vmux::switching::test {

inline const VlanConfig kPlain{};
inline VlanConfig access(std::uint16_t vlan) { return {.mode = VlanMode::access, .tag = vlan, .allowed = {}}; }
inline VlanConfig trunk(std::uint16_t native, std::vector<std::uint16_t> allowed) {
  return {.mode = VlanMode::trunk, .tag = native, .allowed = std::move(allowed)};
}
inline VlanConfig tagged_only(std::vector<std::uint16_t> allowed) {
  return {.mode = VlanMode::trunk, .tag = 0, .allowed = std::move(allowed), .only_tagged = true};
}

inline Bytes from_address(Bytes bytes, const Bytes& address) {
  std::copy(address.begin(), address.end(), bytes.begin() + 6);
  return bytes;
}
inline packet::Offload beside(std::uint16_t tci) { return {.has_vlan = true, .vlan_tci = tci}; }

// A switch on one poller that the test drives round by round.
class Bench {
 public:
  explicit Bench(const std::vector<VlanConfig>& vlans, SwitchOptions options = {})
      : poller{*runtime::Poller::create()}, sw{*Switch::create("sw", options)} {
    for (const VlanConfig& vlan : vlans) {
      ports.push_back(std::make_unique<FakePort>());
      const std::string name = "p" + std::to_string(ports.size() - 1);
      ids.push_back(*sw->attach(*ports.back(), *poller, {.name = name, .vlan = vlan}));
    }
  }
  void run() {
    while (poller->run_once(0)) {
    }
  }
  // Lets a station be heard, and empties all inboxes.
  void introduce(std::size_t at, Bytes bytes) {
    ports[at]->send(std::move(bytes));
    run();
    for (const auto& port : ports)
      port->inbox.clear();
  }
  FakePort& operator[](std::size_t index) { return *ports[index]; }

  std::unique_ptr<runtime::Poller> poller;
  std::vector<std::unique_ptr<FakePort>> ports;
  std::unique_ptr<Switch> sw;  // goes first
  std::vector<PortId> ids;
};

// Two pollers, driven in turn by the test.
class CrossBench {
 public:
  CrossBench() {
    for (std::size_t i = 0; i < 4; ++i) {  // ports 0 and 1 here, 2 and 3 there
      ids.push_back(*sw->attach(ports[i], i < 2 ? *here : *there, {.name = "p" + std::to_string(i)}));
    }
  }
  void run() {
    while (step()) {
    }
  }
  // A round of each; true when either found something.
  bool step() {
    const bool worked_here = here->run_once(0), worked_there = there->run_once(0);
    return worked_here || worked_there;
  }
  void introduce(std::size_t at, std::uint8_t station) {
    ports[at].send(frame(9, station));
    run();
    for (FakePort& port : ports)
      port.inbox.clear();
  }
  std::unique_ptr<runtime::Poller> here = *runtime::Poller::create(), there = *runtime::Poller::create();
  std::array<FakePort, 4> ports;
  std::unique_ptr<Switch> sw = *Switch::create("sw");
  std::vector<PortId> ids;
};

}  // namespace vmux::switching::test
