// SPDX-License-Identifier: BSD-3-Clause
// Specifications in the words of the switch. Pure.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "control/model/spec/spec.hpp"
#include "switch/switch.hpp"

namespace vmux::control {

/// A guest that hears of its link looks at registers before it believes it, and those are there as long as the
/// connection is. Pollers move frames meanwhile; only the control thread waits.
inline constexpr std::chrono::milliseconds kNotice{200};

[[nodiscard]] switching::SwitchOptions options_of(const SwitchSpec& spec);
[[nodiscard]] switching::PortConfig port_config(const PortSpec& spec);
[[nodiscard]] switching::PortConfig port_config(const UplinkSpec& spec);
[[nodiscard]] std::vector<switching::Station> stations_of(const PortSpec& spec);
/// Who the port may be; anyone, if it does not say.
[[nodiscard]] std::optional<switching::SourceRules> sources_of(const PortSpec& spec);
/// Of a port or an uplink.
template <class Spec>
[[nodiscard]] switching::Limits limits_of(const Spec& spec) {
  switching::Limits limits;
  limits.in = spec.limit_in.value_or(switching::Limit{});
  limits.out = spec.limit_out.value_or(switching::Limit{});
  limits.flood = spec.limit_flood.value_or(switching::Limit{});
  if constexpr (requires { spec.fair_share; }) limits.shares_out = spec.fair_share.value_or(false);
  return limits;
}
template <class Spec>
[[nodiscard]] std::uint16_t groups_of(const Spec& spec) noexcept {
  return static_cast<std::uint16_t>(spec.group_filter_mask.value_or(0));
}
[[nodiscard]] switching::Rule rule_of(const RuleSpec& spec);
/// Bytes of the longest frame of a link with this MTU; 0: as long as the port takes.
[[nodiscard]] std::uint32_t max_frame_of(const PortSpec& spec) noexcept;
/// Each lane with its poller: there are at least as many pollers.
[[nodiscard]] std::vector<switching::Lane> zip(const std::vector<port::Port*>& ports,
                                               const std::vector<runtime::Poller*>& pollers);

}  // namespace vmux::control
