// SPDX-License-Identifier: BSD-3-Clause
// Which flow a frame belongs to, as a number: for choosing a queue, so that the frames of a flow stay in order.
#pragma once

#include <cstdint>

#include "packet/frame.hpp"

namespace vmux::packet {

/// Of addresses and ports; fragments and what has no ports: of addresses; what is not IP: 0. Tags do not matter. Every
/// bit of it is well mixed. Pure, and the same in every process.
[[nodiscard]] std::uint32_t flow_hash(Slice header) noexcept;

}  // namespace vmux::packet
