// SPDX-License-Identifier: BSD-3-Clause
// Why frames are dropped: a row for each reason, from which the counters, their names and their documentation come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vmux::port {

// name, what a port's counter of that name holds. A new reason is a row, behind the others.
#define VMUX_DROP_REASONS(ROW)                                                                                      \
  ROW(no_room, "frames for the port that found no buffers of its receiver")                                         \
  ROW(not_ready, "frames for the port while it could not receive (no driver, link down)")                           \
  ROW(too_long, "frames for the port that are longer than it takes, and not to be cut")                             \
  ROW(filtered, "VLAN rules, bridge group addresses, a station behind the same port; mostly of what the port sent") \
  ROW(malformed, "frames that could not be parsed, or sent on, as far as needed; mostly of what the port sent")     \
  ROW(ring_full, "frames that the port sent, and whose way to another poller was full")                             \
  ROW(mirror_ingress, "frames that the port sent while others were mirrored to it")                                 \
  ROW(mirror_full, "copies for the port's mirror (no frame of its own) whose way to another poller was full")       \
  ROW(limited, "frames for the port beyond its limit_out")                                                          \
  ROW(spoofed, "frames that the port sent as somebody else (anti_spoof)")                                           \
  ROW(storm, "frames that the port sent to all or to nobody known, beyond its limit_flood")                         \
  ROW(isolated, "frames for the port from another of its isolation group")                                          \
  ROW(rule, "frames that the port sent, or that were for it, and that a rule of its switch drops")

enum class DropReason : std::uint8_t {
  none,
#define VMUX_ROW(name, help) name,
  VMUX_DROP_REASONS(VMUX_ROW)
#undef VMUX_ROW
};

struct DropReasonRow {
  DropReason reason;
  const char* name;
  const char* counter;  ///< name of the counter
  const char* help;
};

inline constexpr auto kDropReasons = std::to_array<DropReasonRow>({
#define VMUX_ROW(name, help) {DropReason::name, #name, "drop_" #name, help},
    VMUX_DROP_REASONS(VMUX_ROW)
#undef VMUX_ROW
});
#undef VMUX_DROP_REASONS

/// Place of a reason in kDropReasons; not of `none`.
[[nodiscard]] constexpr std::size_t index_of(DropReason reason) noexcept {
  return static_cast<std::size_t>(reason) - 1;
}

}  // namespace vmux::port
