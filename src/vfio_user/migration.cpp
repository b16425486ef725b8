// SPDX-License-Identifier: BSD-3-Clause
#include "vfio_user/migration.hpp"

#include <array>

namespace vmux::vfio_user {
namespace {

using S = MigrationState;

struct Arc {
  S from, to;
};
// "Direct State Transitions"
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
});
constexpr std::size_t kStates = 8;
constexpr std::size_t index(S state) noexcept { return static_cast<std::size_t>(state); }
constexpr bool is_saving(S state) noexcept { return state == S::stop_copy || state == S::pre_copy; }

}  // namespace

std::optional<S> next_on_way(S from, S to, bool has_pre_copy) noexcept {
  if (from == S::stop_copy && to == S::pre_copy) return std::nullopt;  // "explicitly not allowed"
  // Distances to the goal, grown backwards from it along the arcs.
  std::array<unsigned, kStates> distance;
  distance.fill(kStates);
  distance[index(to)] = 0;
  for (unsigned round = 0; round < kStates; ++round) {
    for (const auto& [start, end] : kArcs) {
      if (!has_pre_copy && (start == S::pre_copy || end == S::pre_copy)) continue;
      if (distance[index(end)] == kStates || (end != to && is_saving(end))) continue;
      if (distance[index(end)] + 1 < distance[index(start)]) distance[index(start)] = distance[index(end)] + 1;
    }
  }
  for (const auto& [start, end] : kArcs) {
    if (start != from || (end != to && is_saving(end))) continue;
    if (!has_pre_copy && end == S::pre_copy) continue;
    if (distance[index(from)] < kStates && distance[index(end)] + 1 == distance[index(from)]) return end;
  }
  return std::nullopt;
}

Result<void> MigrationMachine::go(pci::Migratable& device, S to) {
  if (index(to) >= kStates || to == S::error) return fail(Errc::invalid_argument, "not a state to go to");
  while (state_ != to) {
    const auto next = next_on_way(state_, to, device.supports_pre_copy());
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
