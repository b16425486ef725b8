// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/queues/flow_program.hpp"

#include <algorithm>
#include <utility>

#include "packet/headers.hpp"

namespace vmux::device::e810 {
namespace {

/// A field that the frame has counts with all its bits.
template <class Field>
void keep(const Field& from, Field& value, Field& mask) {
  if (std::all_of(from.begin(), from.end(), [](std::uint8_t byte) { return byte == 0; })) return;
  value = from;
  mask.fill(0xff);
}

}  // namespace

std::optional<intel::FlowRule> flow_rule_of(const intel::FlowProgram& program, const packet::FrameView& frame,
                                            std::uint16_t first_queue) {
  namespace low = intel::flow_program_low;
  namespace high = intel::flow_program_high;
  const auto headers = packet::parse(frame.header);
  if (!headers) return std::nullopt;
  intel::FlowFields said = intel::flow_fields(frame, *headers);
  if (said.ip_version == 0) return std::nullopt;
  if (!high::swap::is_set(program.high)) {  // a driver sends the frame that answers
    std::swap(said.source_ip, said.destination_ip);
    std::swap(said.source_port, said.destination_port);
  }
  intel::FlowRule rule;
  rule.value.ip_version = said.ip_version;
  rule.mask.ip_version = 0xff;
  if (said.protocol != 0) {
    rule.value.protocol = said.protocol;
    rule.mask.protocol = 0xff;
  }
  keep(said.source_ip, rule.value.source_ip, rule.mask.source_ip);
  keep(said.destination_ip, rule.value.destination_ip, rule.mask.destination_ip);
  keep(said.source_port, rule.value.source_port, rule.mask.source_port);
  keep(said.destination_port, rule.value.destination_port, rule.mask.destination_port);
  rule.id = static_cast<std::uint32_t>(high::id::get(program.high));
  rule.mark = rule.id;
  rule.action = low::drop::is_set(program.low) ? intel::FlowAction::drop : intel::FlowAction::queue;
  rule.queue = static_cast<std::uint16_t>(first_queue + low::qindex::get(program.low));
  return rule;
}

}  // namespace vmux::device::e810
