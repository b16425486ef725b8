// SPDX-License-Identifier: BSD-3-Clause
// The commands of the control queue ([VIRTIO] 5.1.6.5) as a table: what each needs, and what it sets. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "device/virtio_net/settings.hpp"

namespace vmux::device::virtio_net {

/// What a command is judged by.
struct Agreed {
  std::uint64_t features = 0;
  unsigned max_pairs = 1;
};

/// Does what a command says, `data` behind its two bytes. False: it is not done, and nothing has changed.
[[nodiscard]] bool obey(Settings& settings, const Agreed& agreed, std::uint8_t group, std::uint8_t command,
                        std::span<const std::byte> data);

/// Whether settings can be so, for a saved state.
[[nodiscard]] bool can_be(const Settings& settings, const Agreed& agreed) noexcept;

/// Those of features that GUEST_OFFLOADS_SET switches.
[[nodiscard]] std::uint64_t guest_offloads_of(std::uint64_t features) noexcept;

}  // namespace vmux::device::virtio_net
