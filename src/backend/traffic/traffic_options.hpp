// SPDX-License-Identifier: BSD-3-Clause
// What a generator is to send, as text and as values.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/mac.hpp"
#include "vmux/base/result.hpp"

namespace vmux::backend {

struct TrafficOptions {
  bool generates = false;   ///< false: a sink only, which says once that it is at `from`; the rest does not matter then
  std::uint32_t size = 64;  ///< bytes of a frame, FCS not counted
  std::uint32_t flows = 1;  ///< UDP source ports
  /// Frames that take turns, or as many as there are flows if that is more: 1024 of 1514 bytes lie beyond the
  /// second-level cache, as those of a busy application; 64 stay in it, as the buffers that DPDK's mempool gives out.
  std::uint32_t frames = 1024;
  MacAddress to{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  MacAddress from{0x02, 0x00, 0x00, 0x67, 0x65, 0x6e};
};

/// Of every sink: so that a switch need not flood what is meant for it.
inline constexpr TrafficOptions kSink{.from = {0x02, 0x00, 0x00, 0x73, 0x6e, 0x6b}};

/// "size=64,to=02:00:00:00:00:01,flows=4": the options of a generator.
[[nodiscard]] Result<TrafficOptions> parse_generator(std::string_view text);

}  // namespace vmux::backend
