// SPDX-License-Identifier: BSD-3-Clause
// The migration states of VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE and the ways between them.
#pragma once

#include <cstdint>
#include <optional>

#include "vmux/base/result.hpp"
#include "vmux/pci/device.hpp"

namespace vmux::vfio_user {

using pci::MigrationState;

/// States that a device need not have.
struct OptionalStates {
  bool pre_copy = false, p2p = false;
};

/// The next state on the way ("Direct State Transitions", "Complex State Transitions"): the shortest path whose inner
/// states are not of the saving group. nullopt: no way.
[[nodiscard]] std::optional<MigrationState> next_on_way(MigrationState from, MigrationState to,
                                                        OptionalStates has) noexcept;

/// Where a device is. Home thread.
class MigrationMachine {
 public:
  [[nodiscard]] MigrationState state() const noexcept { return state_; }
  /// Walks to `to` arc by arc. After a failure the device stands where it last arrived, or in `error` when it could not
  /// use what was loaded.
  [[nodiscard]] Result<void> go(pci::Migratable& device, MigrationState to);
  /// A reset leads back to running from anywhere.
  void reset() noexcept { state_ = MigrationState::running; }
  /// The state of a device that goes on elsewhere. False: none that there is.
  [[nodiscard]] bool load(MigrationState saved) noexcept {
    state_ = saved;
    return saved <= MigrationState::pre_copy_p2p;
  }
  [[nodiscard]] bool may_save() const noexcept {
    return state_ == MigrationState::stop_copy || state_ == MigrationState::pre_copy ||
           state_ == MigrationState::pre_copy_p2p;
  }
  [[nodiscard]] bool may_load() const noexcept { return state_ == MigrationState::resuming; }

 private:
  MigrationState state_ = MigrationState::running;
};

}  // namespace vmux::vfio_user
