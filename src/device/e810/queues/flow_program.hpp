// SPDX-License-Identifier: BSD-3-Clause
// A rule of Flow Director as a driver programs it: a descriptor that says what is done, and a frame that says to which.
#pragma once

#include <cstdint>
#include <optional>

#include "intel/rules/flow_table.hpp"
#include "intel/tx.hpp"
#include "packet/frame.hpp"

namespace vmux::device::e810 {

/// Fields of the frame that are zero are any: drivers name a field whole or not at all, and leave it zero then.
/// Nothing: the frame is none that a rule can be about.
[[nodiscard]] std::optional<intel::FlowRule> flow_rule_of(const intel::FlowProgram& program,
                                                          const packet::FrameView& frame, std::uint16_t first_queue);

}  // namespace vmux::device::e810
