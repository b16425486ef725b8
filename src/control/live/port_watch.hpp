// SPDX-License-Identifier: BSD-3-Clause
// Sees what happens to the ports of a poller, and writes it down.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/live/event_ring.hpp"
#include "control/model/device.hpp"
#include "control/model/frontend.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// Looks at ports whenever their poller had an event (that is when clients come, go and write registers), and a few
/// hundred times a second besides while it runs. One for each poller, so that a round costs the same with any number of
/// ports. Made before and destroyed after its ports, while the poller does not run or on its thread.
class PortWatch final : public runtime::Task {
 public:
  PortWatch(runtime::Poller& poller, EventRing& events) : poller_(poller), events_(events) { poller.add_task(*this); }
  ~PortWatch() override { poller_.remove_task(*this); }
  PortWatch(const PortWatch&) = delete;
  PortWatch& operator=(const PortWatch&) = delete;

  // On the poller's thread.
  void add(std::string name, Device& device, Frontend& frontend);
  /// What happened until now is written; what is destroyed next is not looked at any more.
  void remove(const std::string& name) noexcept;

  unsigned poll() noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override { return false; }

 private:
  struct Port {
    std::string name;
    Device* device;
    Frontend* frontend;
    Frontend::State client{};
    std::uint64_t faults = 0;
    bool is_ready = false;
    const char* serving = nullptr;  // Device::serving_mode(), which is static text
  };
  void look(Port& port) noexcept;

  runtime::Poller& poller_;
  EventRing& events_;
  std::vector<Port> ports_;
  std::uint64_t seen_events_ = 0, looked_ns_ = 0;
};

}  // namespace vmux::control
