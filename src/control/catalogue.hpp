// SPDX-License-Identifier: BSD-3-Clause
// The device models and backends that a port or an uplink can be made of: one table (catalogue.cpp), and what the rest
// of control knows of its entries.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "control/spec.hpp"
#include "port/port.hpp"
#include "vmux/base/result.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// A counter of a model or backend that goes beyond those of every port, by its own name.
using CounterReport = std::vector<std::pair<std::string, std::uint64_t>>;

/// A live NIC: a model with the function it serves. Made, used and destroyed on its home poller.
class Nic {
 public:
  virtual ~Nic() = default;
  [[nodiscard]] virtual pci::Function& function() noexcept = 0;
  [[nodiscard]] virtual port::Port& port() noexcept = 0;
  virtual void report(CounterReport& /*into*/) const {}
};

struct NicRequest {
  std::string name;
  MacAddress mac;
  Doorbell doorbell{};
  unsigned queues = 1;
  std::optional<std::string> device;
};

/// A live uplink. Made on the control thread (set-up may block), attached and destroyed on its poller.
class Uplink {
 public:
  virtual ~Uplink() = default;
  [[nodiscard]] virtual port::Port& port() noexcept = 0;
  virtual void report(CounterReport& /*into*/) const {}
};

struct UplinkRequest {
  std::string name;
  std::string device;
  unsigned queues = 1;
};

using MakeNic = Result<std::unique_ptr<Nic>> (*)(const NicRequest&, runtime::Poller&);
using MakeUplink = Result<std::unique_ptr<Uplink>> (*)(const UplinkRequest&, runtime::Poller&);

struct ModelEntry {
  const char* name;  ///< as `vmuxctl port add --model` has it
  const char* mode;  ///< as `vmux -m` has it; either is taken everywhere
  const char* description;
  bool takes_device;    ///< needs a physical function (vmux -d)
  unsigned max_queues;  ///< pairs
  Doorbell doorbell;    ///< of ports that are not told which: poll where MSI-X lets the VMM keep the pages mapped
  MakeNic make;         ///< nullptr: not built yet
};

enum class DeviceRule : unsigned char { none, interface_name, text };

struct BackendEntry {
  const char* name;
  const char* description;
  DeviceRule device;
  const char* expects;  ///< what `device` is, for messages
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
