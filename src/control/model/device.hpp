// SPDX-License-Identifier: BSD-3-Clause
// What a port serves, apart from how a VM reaches it (frontend.hpp); and what a switch reaches the world by.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/model/counters.hpp"
#include "control/model/spec/spec.hpp"
#include "port/port.hpp"
#include "virtio/device.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/trace.hpp"
#include "vmux/pci/endpoint.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::control {

class Hardware;

enum class DeviceKind : unsigned char { net, blk };

/// Who serves the guest's queues, of a device where that changes.
struct Serving {
  std::string reason;                   ///< why it is not the best there is; empty: it is
  unsigned queues = 1;                  ///< of a disk; pairs of a card
  std::uint16_t ring_size = 0;          ///< descriptors: longer rings are not served directly
  std::uint64_t features = 0;           ///< of the function
  unsigned vectors = 0;                 ///< the same; 0: it is not there
  std::vector<std::string> vm_options;  ///< of QEMU's device: without these it is not the best there is
};

/// A live device: a model or a physical one. Made, used and destroyed on its home poller.
class Device {
 public:
  virtual ~Device() = default;

  /// What a transport needs of it; nullptr: such a transport cannot serve it. For vfio-user, a PCI function.
  [[nodiscard]] virtual pci::Endpoint* endpoint() noexcept { return nullptr; }
  /// For vhost-user, a virtio device that no other transport has been given.
  [[nodiscard]] virtual virtio::Device* virtio_device() noexcept { return nullptr; }

  /// Its side towards the switch (port/port.hpp): the first lane on the home poller, each next one on the next of the
  /// request's pollers. Empty: it has none, as frames go another way or it has no frames. Always the same; any thread.
  [[nodiscard]] virtual std::vector<port::Port*> lanes() { return {}; }

  /// Plugs or pulls the operator's end of the cable; the guest sees its link change. Of devices with lanes only.
  virtual void set_link(Link /*link*/) noexcept {}
  /// Gives the card another address of its own, which its driver finds at once or when it starts anew: the model's
  /// README says which. What the driver has set up stays in force until then. False: it has none to give.
  [[nodiscard]] virtual bool set_mac(const MacAddress& /*mac*/) noexcept { return false; }
  /// What the guest is told of the link's MTU, by models that tell it; nullopt: nothing.
  virtual void set_mtu(std::optional<std::uint16_t> /*mtu*/) noexcept {}

  /// The guest's driver is up, as far as the device can tell.
  [[nodiscard]] virtual bool is_ready() noexcept = 0;
  /// How often something of it stopped for what its guest gave it.
  [[nodiscard]] virtual std::uint64_t faults() const noexcept { return 0; }
  virtual void report(CounterReport& /*into*/) const {}
  /// "direct", "shadow", "software", "waiting" or "stopped", of a device that has a Serving; nullptr: it has none.
  [[nodiscard]] virtual const char* serving_mode() const noexcept { return nullptr; }
  [[nodiscard]] virtual std::optional<Serving> serving() const { return std::nullopt; }

  /// What passes between it and its driver or client is told to this tracer; nullptr: to nobody.
  virtual void set_tracer(Tracer* tracer) noexcept {
    if (pci::Endpoint* const pci = endpoint()) pci->set_tracer(tracer);
    if (virtio::Device* const virtio = virtio_device()) virtio->set_tracer(tracer);
  }
  /// The name of a register, message or command, as the datasheet or specification has it; empty: it has none. Any
  /// thread.
  [[nodiscard]] virtual std::string trace_name(const TraceRecord& record) const;
};

struct DeviceRequest {
  std::string name;
  MacAddress mac{};
  Doorbell doorbell{};
  unsigned queues = 1;  ///< pairs
  std::optional<std::string> device;
  std::string variant;                    ///< one of the model's; empty when it has none
  std::vector<runtime::Poller*> pollers;  ///< home first; queue pair i may go to poller i modulo their number
  Hardware& hardware;                     ///< for models that use some
  std::string transport;                  ///< that will serve it: one of the model's
  std::optional<std::uint16_t> mtu = {};  ///< for models that tell the guest
  /// The daemon before has it: a device of the machine is not opened by whoever makes this one, but taken over by its
  /// transport, or opened when nobody has it any more (pci::Endpoint::await_ready()).
  bool was_there = false;
};

/// A live uplink. Made on the control thread (set-up may block), attached and destroyed on its poller.
class Uplink {
 public:
  virtual ~Uplink() = default;
  /// As those of a Device; at least one.
  [[nodiscard]] virtual std::vector<port::Port*> lanes() = 0;
  /// As Frontend::record().
  virtual void record(state::FdBag& /*numbers*/) const {}
};

struct UplinkRequest {
  std::string name;
  std::string device;
  unsigned queues = 1;
  std::vector<runtime::Poller*> pollers;  ///< home first; queue i may go to poller i modulo their number
  const state::FdBag* left = nullptr;     ///< what record() of a daemon named that is gone
};

}  // namespace vmux::control
