// SPDX-License-Identifier: BSD-3-Clause
// Requests and commands by their names, as the specifications spell them; nullptr: there is none of that number.
#pragma once

#include <cstdint>

namespace vmux::wire {

[[nodiscard]] const char* vfio_user_name(std::uint32_t command) noexcept;   ///< "VFIO_USER_DMA_MAP"
[[nodiscard]] const char* vhost_user_name(std::uint32_t request) noexcept;  ///< "VHOST_USER_SET_MEM_TABLE"
[[nodiscard]] const char* virtchnl_name(std::uint32_t op) noexcept;         ///< "VIRTCHNL_OP_ENABLE_QUEUES"
/// Of a network card's control queue; `code` has the class in bits 8 to 15 and the command in 0 to 7.
[[nodiscard]] const char* virtio_net_control_name(std::uint32_t code) noexcept;  ///< "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET"

}  // namespace vmux::wire
