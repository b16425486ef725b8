// SPDX-License-Identifier: BSD-3-Clause
// The device models and backends that a port or an uplink can be made of: one table (catalogue.cpp), and what the rest
// of control knows of its entries.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/model/spec.hpp"
#include "port/port.hpp"
#include "vmux/base/result.hpp"
#include "vmux/pci/endpoint.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// A counter of a model or backend that goes beyond those of every port, by its own name.
using CounterReport = std::vector<std::pair<std::string, std::uint64_t>>;

/// A live NIC: a model or a physical device, with the function it serves. Made, used and destroyed on its home poller.
class Nic {
 public:
  virtual ~Nic() = default;
  [[nodiscard]] virtual pci::Endpoint& function() noexcept = 0;
  /// Its side towards the switch; nullptr: it has none, frames go another way (a physical function).
  [[nodiscard]] virtual port::Port* port() noexcept = 0;
  /// The lanes of that side (port/port.hpp): the first on the home poller, each next one on the next of the request's
  /// pollers. Mostly there is one, port(). Always the same; any thread.
  [[nodiscard]] virtual std::vector<port::Port*> lanes() {
    return port() == nullptr ? std::vector<port::Port*>{} : std::vector{port()};
  }
  /// The guest's driver is up, as far as the NIC can tell.
  [[nodiscard]] virtual bool is_ready() noexcept { return port() != nullptr && port()->is_ready(); }
  virtual void report(CounterReport& /*into*/) const {}
};

struct NicRequest {
  std::string name;
  MacAddress mac;
  Doorbell doorbell{};
  unsigned queues = 1;  ///< pairs
  std::optional<std::string> device;
  std::string variant;                    ///< one of the model's; empty when it has none
  std::vector<runtime::Poller*> pollers;  ///< home first; queue pair i may go to poller i modulo their number
};

/// A live uplink. Made on the control thread (set-up may block), attached and destroyed on its poller.
class Uplink {
 public:
  virtual ~Uplink() = default;
  [[nodiscard]] virtual port::Port& port() noexcept = 0;
  /// As those of a Nic.
  [[nodiscard]] virtual std::vector<port::Port*> lanes() { return {&port()}; }
  virtual void report(CounterReport& /*into*/) const {}
};

struct UplinkRequest {
  std::string name;
  std::string device;
  unsigned queues = 1;
  std::vector<runtime::Poller*> pollers;  ///< home first; queue i may go to poller i modulo their number
};

using MakeNic = Result<std::unique_ptr<Nic>> (*)(const NicRequest&, runtime::Poller&);
using MakeUplink = Result<std::unique_ptr<Uplink>> (*)(const UplinkRequest&, runtime::Poller&);

/// For models whose work may block (a physical device that resets takes a tenth of a second): the name of the thread
/// that the NIC is to have, instead of a place on a poller that moves frames. NICs of one name share it.
using NameThread = std::string (*)(const NicRequest&);
/// A sentence about why a NIC could not be made, and what helps; empty: the error says it all.
using ExplainNic = std::string (*)(const NicRequest&, const Error&);

struct ModelEntry {
  const char* name;  ///< as `vmuxctl port add --model` has it
  const char* mode;  ///< as `vmux -m` has it; either is taken everywhere
  const char* description;
  bool takes_device;     ///< needs a physical function (vmux -d)
  unsigned max_queues;   ///< pairs
  Doorbell doorbell;     ///< of ports that are not told which: poll where MSI-X lets the VMM keep the pages mapped
  MakeNic make;          ///< nullptr: not built yet
  bool has_port = true;  ///< false: no side towards a switch
  NameThread own_thread = nullptr;  ///< nullptr: a poller like others
  ExplainNic explain = nullptr;
  std::span<const std::string_view> variants = {};  ///< the first is what ports get that do not say

  /// Pairs of a port that asks for so many; as many as suit a small VM when it does not say.
  [[nodiscard]] unsigned queues(std::optional<unsigned> asked) const noexcept {
    return asked.value_or(std::min(max_queues, 4u));
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

  /// By name or mode; nullptr when unknown.
  [[nodiscard]] const ModelEntry* model(std::string_view name) const noexcept;
  [[nodiscard]] const BackendEntry* backend(std::string_view name) const noexcept;
  [[nodiscard]] std::string model_names() const;  ///< as modes, comma separated; the same for the next two
  [[nodiscard]] std::string built_model_names() const;
  [[nodiscard]] std::string built_backend_names() const;
};

/// What this build of vMux has.
[[nodiscard]] const Catalogue& builtin_catalogue() noexcept;

}  // namespace vmux::control
