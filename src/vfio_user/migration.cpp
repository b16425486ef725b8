// SPDX-License-Identifier: BSD-3-Clause
#include "vfio_user/migration.hpp"

#include <algorithm>
#include <array>

namespace vmux::vfio_user {
namespace {

using S = MigrationState;

struct Arc {
  S from, to;
};
// "Direct State Transitions". Those of the P2P states, which that page only names, are linux/vfio.h's.
constexpr auto kArcs = std::to_array<Arc>({
    {S::running, S::stop},
    {S::stop_copy, S::stop},
    {S::resuming, S::stop},
    {S::pre_copy, S::running},
    {S::stop, S::running},
    {S::running, S::pre_copy},
    {S::stop, S::stop_copy},
    {S::pre_copy, S::stop_copy},
    {S::stop, S::resuming},
    {S::running, S::running_p2p},
    {S::running_p2p, S::running},
    {S::running_p2p, S::stop},
    {S::stop, S::running_p2p},
    {S::running_p2p, S::pre_copy_p2p},
    {S::pre_copy_p2p, S::running_p2p},
    {S::pre_copy, S::pre_copy_p2p},
    {S::pre_copy_p2p, S::pre_copy},
    {S::pre_copy_p2p, S::stop_copy},
});
constexpr std::size_t kStates = 8;
constexpr std::size_t index(S state) noexcept { return static_cast<std::size_t>(state); }
constexpr bool is_pre_copy(S state) noexcept { return state == S::pre_copy || state == S::pre_copy_p2p; }
constexpr bool is_p2p(S state) noexcept { return state == S::running_p2p || state == S::pre_copy_p2p; }
constexpr bool is_saving(S state) noexcept { return state == S::stop_copy || is_pre_copy(state); }
constexpr bool is_there(S state, OptionalStates has) noexcept {
  return (has.pre_copy || !is_pre_copy(state)) && (has.p2p || !is_p2p(state));
}

}  // namespace

std::optional<S> next_on_way(S from, S to, OptionalStates has) noexcept {
  if (from == S::stop_copy && is_pre_copy(to)) return std::nullopt;  // "explicitly not allowed"
  const auto is_usable = [&](const Arc& arc) {
    return is_there(arc.from, has) && is_there(arc.to, has) && (arc.to == to || !is_saving(arc.to));
  };
  // Distances to the goal, grown backwards from it along the arcs.
  std::array<unsigned, kStates> distance;
  distance.fill(kStates);
  distance[index(to)] = 0;
  for (unsigned round = 0; round < kStates; ++round) {
    for (const Arc& arc : kArcs) {
      if (!is_usable(arc) || distance[index(arc.to)] == kStates) continue;
      distance[index(arc.from)] = std::min(distance[index(arc.from)], distance[index(arc.to)] + 1);
    }
  }
  for (const Arc& arc : kArcs) {
    if (arc.from != from || !is_usable(arc)) continue;
    if (distance[index(from)] < kStates && distance[index(arc.to)] + 1 == distance[index(from)]) return arc.to;
  }
  return std::nullopt;
}

Result<void> MigrationMachine::go(pci::Migratable& device, S to) {
  if (index(to) >= kStates || to == S::error) return fail(Errc::invalid_argument, "not a state to go to");
  const OptionalStates has{device.supports_pre_copy(), device.supports_p2p()};
  while (state_ != to) {
    const auto next = next_on_way(state_, to, has);
    if (!next) return fail(Errc::invalid_argument, "no way leads to that migration state");
    if (auto entered = device.enter(*next); !entered) {
      if (state_ == S::resuming) state_ = S::error;
      return entered;
    }
    state_ = *next;
  }
  return {};
}

}  // namespace vmux::vfio_user
