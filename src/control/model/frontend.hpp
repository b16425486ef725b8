// SPDX-License-Identifier: BSD-3-Clause
// How a VM reaches a port, apart from what is served there (device.hpp): one implementation for each transport.
#pragma once

#include <cstdint>
#include <string>

#include "control/model/counters.hpp"
#include "control/model/spec.hpp"

namespace vmux::control {

/// A socket, and whoever is at its other end. Made, used and destroyed on the device's home poller; it ends before the
/// device does, and takes its connection and its socket file with it.
class Frontend {
 public:
  struct State {
    std::uint64_t connections = 0;  ///< that there have been
    bool is_connected = false;
  };

  virtual ~Frontend() = default;
  [[nodiscard]] virtual State state() const noexcept = 0;  ///< any thread
  /// To a client that is about to lose the device; `for_good` asks it to unplug it. False: there is nobody to tell.
  virtual bool announce_departure(bool for_good) noexcept = 0;
  virtual void report(CounterReport& into) const = 0;
};

struct FrontendRequest {
  std::string name;    ///< of the port
  std::string socket;  ///< path
  SocketAccess access;
  bool connects = false;  ///< the VMM listens at the path
};

}  // namespace vmux::control
