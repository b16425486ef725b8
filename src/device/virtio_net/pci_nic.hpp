// SPDX-License-Identifier: BSD-3-Clause
// The card behind PCI: what a vfio-user server serves and a switch polls.
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "device/virtio_net/nic.hpp"
#include "virtio/pci_transport.hpp"

namespace vmux::device::virtio_net {

class PciNic {
 public:
  [[nodiscard]] static Result<std::unique_ptr<PciNic>> create(NicOptions options, runtime::Poller& poller) {
    const virtio::PciOptions pci{options.name, 0x020000, options.doorbell == Doorbell::poll};
    auto nic = Nic::create(std::move(options), poller);
    if (!nic) return tl::unexpected<Error>(nic.error());
    auto transport = virtio::PciTransport::create(pci, **nic);
    if (!transport) return tl::unexpected<Error>(transport.error());
    return std::unique_ptr<PciNic>{new PciNic(std::move(*nic), std::move(*transport))};
  }

  [[nodiscard]] pci::Function& function() noexcept { return transport_->function(); }
  [[nodiscard]] Nic& nic() noexcept { return *nic_; }
  [[nodiscard]] const Nic& nic() const noexcept { return *nic_; }
  [[nodiscard]] port::Port& port() noexcept { return nic_->port(); }
  [[nodiscard]] std::vector<port::Port*> lanes() noexcept { return nic_->lanes(); }
  void set_link(bool up) noexcept { nic_->set_link(up); }

 private:
  PciNic(std::unique_ptr<Nic> nic, std::unique_ptr<virtio::PciTransport> transport) noexcept
      : nic_(std::move(nic)), transport_(std::move(transport)) {}

  std::unique_ptr<Nic> nic_;
  std::unique_ptr<virtio::PciTransport> transport_;  // goes first
};

}  // namespace vmux::device::virtio_net
