// SPDX-License-Identifier: BSD-3-Clause
// Virtio functions behind vhost-user ports as devices of the catalogue.
#pragma once

#include <string>

#include "control/model/catalogue.hpp"

namespace vmux::control {

/// A network function, with a card in software that stands in for it.
Result<std::unique_ptr<Device>> make_vdpa_net(const DeviceRequest& request, runtime::Poller& poller);
/// A disk.
Result<std::unique_ptr<Device>> make_vdpa_blk(const DeviceRequest& request, runtime::Poller& poller);
void describe_vdpa_net(CounterDescriptions& into);
void describe_vdpa_blk(CounterDescriptions& into);
/// One of a few threads, always the same for an IOMMU group: pinning memory, resets and commands wait there, and frames
/// and requests that are not the function's alone are moved there.
[[nodiscard]] std::string thread_of_vdpa(const DeviceRequest& request);

}  // namespace vmux::control
