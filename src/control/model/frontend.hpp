// SPDX-License-Identifier: BSD-3-Clause
// How a VM reaches a port, apart from what is served there (device.hpp): one implementation for each transport.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/model/counters.hpp"
#include "control/model/spec/spec.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/state/fd_bag.hpp"

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

  /// Who is at the other end, and what it has given.
  struct Client {
    pid_t pid = 0;                                ///< 0: nobody, or the kernel does not say
    std::shared_ptr<const memory::Table> memory;  ///< see AddressSpace::table(); null: nothing
  };
  [[nodiscard]] virtual Client client() const { return {}; }

  /// The numbers of the descriptors by which the next daemon finds what this one was doing. Nothing: it begins anew.
  /// Always the same; any thread.
  virtual void record(state::FdBag& /*numbers*/) const {}
  /// Of one that was made of what a daemon left: serves from here on.
  [[nodiscard]] virtual Result<void> go_on() { return {}; }
};

/// Descriptors of the daemon before by their numbers, as far as they are open there.
using FetchFds = std::function<Result<std::map<int, UniqueFd>>(const std::vector<int>&)>;

struct FrontendRequest {
  std::string name;    ///< of the port
  std::string socket;  ///< path
  SocketAccess access;
  bool connects = false;  ///< the VMM listens at the path
  bool is_kept = false;   ///< another daemon is to go on when this one dies: see Frontend::record()
  /// What record() of a daemon named that is gone, and how the descriptors that these name in turn are got; nullptr:
  /// the frontend begins anew. One that cannot go on with it ends what there was, and says so in the log.
  const state::FdBag* left = nullptr;
  FetchFds fetch;
};

}  // namespace vmux::control
