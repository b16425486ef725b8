// SPDX-License-Identifier: BSD-3-Clause
// The device models, transports and backends that a port or an uplink can be made of: tables (builtin/builtin.cpp), and
// what the rest of control knows of their entries.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "control/model/device.hpp"
#include "control/model/frontend.hpp"

namespace vmux::control {

using MakeDevice = Result<std::unique_ptr<Device>> (*)(const DeviceRequest&, runtime::Poller&);
using MakeUplink = Result<std::unique_ptr<Uplink>> (*)(const UplinkRequest&, runtime::Poller&);
/// `device` outlives what is made. not_supported for one that has not got what the transport needs.
using MakeFrontend = Result<std::unique_ptr<Frontend>> (*)(const FrontendRequest&, Device& device, runtime::Poller&);

/// For models whose work may block (a physical device that resets takes a tenth of a second): the name of the thread
/// that the device is to have, instead of a place on a poller that moves frames. Devices of one name share it.
using NameThread = std::string (*)(const DeviceRequest&);
/// A sentence about why a device could not be made, and what helps; empty: the error says it all.
using ExplainDevice = std::string (*)(const DeviceRequest&, const Error&);

/// What Frontend::record() named of a daemon that is gone, or of one that runs, as something that could go on; the
/// error is for people. Nothing is changed, and nobody notices.
using LookAtLeft = tl::expected<state::Suspended, std::string> (*)(const state::FdBag& left, const FetchFds& fetch);

/// A way in which a VM reaches a port.
struct TransportEntry {
  const char* name;  ///< as `vmuxctl port add --transport` has it
  const char* description;
  MakeFrontend make;
  DescribeCounters describe;
  LookAtLeft look_at;
  bool can_connect = false;  ///< the VMM may be the one that listens
};
inline constexpr std::string_view kVfioUser = "vfio-user", kVhostUser = "vhost-user";
inline constexpr std::string_view kOverVfioUser[] = {kVfioUser};

struct ModelEntry {
  const char* name;  ///< as `vmuxctl port add --model` has it
  const char* mode;  ///< as `vmux -m` has it; either is taken everywhere
  const char* description;
  bool takes_device;     ///< needs a physical function (vmux -d)
  unsigned max_queues;   ///< pairs
  Doorbell doorbell;     ///< of ports that are not told which: poll where MSI-X lets the VMM keep the pages mapped
  MakeDevice make;       ///< nullptr: not built yet
  bool has_port = true;  ///< false: no side towards a switch
  NameThread own_thread = nullptr;  ///< nullptr: a poller like others
  ExplainDevice explain = nullptr;
  std::span<const std::string_view> variants = {};               ///< the first is what ports get that do not say
  std::span<const std::string_view> transports = kOverVfioUser;  ///< that serve it; the same
  DeviceKind kind = DeviceKind::net;
  DescribeCounters describe = nullptr;  ///< nullptr: it counts nothing
  bool is_past_switch = false;          ///< its frames mostly go another way than through its side towards the switch
  unsigned usual_queues = 4;            ///< pairs, at most, of ports that do not say

  /// Pairs of a port that asks for so many; as many as suit a small VM when it does not say.
  [[nodiscard]] unsigned queues(std::optional<unsigned> asked) const noexcept {
    return asked.value_or(std::min(max_queues, usual_queues));
  }
};

/// Whether a device is one, as far as can be told without the machine.
using IsDevice = bool (*)(const std::string&);

struct BackendEntry {
  const char* name;
  const char* description;
  IsDevice is_device;   ///< nullptr: takes none
  const char* expects;  ///< what a device is, for messages
  unsigned max_queues;
  MakeUplink make;  ///< nullptr: not in this build
};

struct Catalogue {
  std::span<const ModelEntry> models;
  std::span<const BackendEntry> backends;
  std::span<const TransportEntry> transports;

  /// By name or mode; nullptr when unknown.
  [[nodiscard]] const ModelEntry* model(std::string_view name) const noexcept;
  [[nodiscard]] const BackendEntry* backend(std::string_view name) const noexcept;
  [[nodiscard]] const TransportEntry* transport(std::string_view name) const noexcept;
  [[nodiscard]] std::string model_names() const;  ///< as modes, comma separated; the same for the next two
  [[nodiscard]] std::string built_model_names() const;
  [[nodiscard]] std::string built_backend_names() const;
};

/// What this build of vMux has.
[[nodiscard]] const Catalogue& builtin_catalogue() noexcept;

}  // namespace vmux::control
