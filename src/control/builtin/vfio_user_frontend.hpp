// SPDX-License-Identifier: BSD-3-Clause
// The transport vfio-user as a row of the catalogue.
#pragma once

#include "control/model/catalogue.hpp"

namespace vmux::control {

/// For devices that have a PCI function.
[[nodiscard]] Result<std::unique_ptr<Frontend>> make_vfio_user(const FrontendRequest& request, Device& device,
                                                               runtime::Poller& poller);
void describe_vfio_user(CounterDescriptions& into);
[[nodiscard]] tl::expected<state::Suspended, std::string> look_at_vfio_user(const state::FdBag& left,
                                                                            const FetchFds& fetch);

inline constexpr TransportEntry kVfioUserTransport{
    kVfioUser.data(), "a PCI function over vfio-user: QEMU 10.1 or newer, cloud-hypervisor, DPDK", make_vfio_user,
    describe_vfio_user, look_at_vfio_user};

}  // namespace vmux::control
