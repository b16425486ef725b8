// SPDX-License-Identifier: BSD-3-Clause
// The transport vhost-user as a row of the catalogue.
#pragma once

#include "control/model/catalogue.hpp"

namespace vmux::control {

/// For virtio devices.
[[nodiscard]] Result<std::unique_ptr<Frontend>> make_vhost_user(const FrontendRequest& request, Device& device,
                                                                runtime::Poller& poller);
void describe_vhost_user(CounterDescriptions& into);
[[nodiscard]] tl::expected<state::Suspended, std::string> look_at_vhost_user(const state::FdBag& left,
                                                                             const FetchFds& fetch);

inline constexpr TransportEntry kVhostUserTransport{
    kVhostUser.data(),  "a virtio device over vhost-user: QEMU, cloud-hypervisor, DPDK's virtio-user",
    make_vhost_user,    describe_vhost_user,
    look_at_vhost_user, /*can_connect=*/true};

}  // namespace vmux::control
