// SPDX-License-Identifier: BSD-3-Clause
// The service manager's store of descriptors, the second line: when keeper and daemon have been killed at once, the
// twin still has all that the daemon had, and what leads to it is here. Always the same few descriptors, however many
// ports there are.
#include <signal.h>
#include <unistd.h>

#include "base/logf.hpp"
#include "keeper/keeper_impl.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/base/mapping.hpp"

namespace vmux::keeper {
namespace {

constexpr const char *kObjects = kStoredNames[0], *kTwin = kStoredNames[1], *kSigns = kStoredNames[2],
                     *kEpoch = kStoredNames[3];

/// What the last of them has: plain words in a memfd.
struct Whose {
  std::uint32_t epoch = 0;
  std::int32_t pid = 0;
};

}  // namespace

void Keeper::store_active() const {
  if (!options_.store || !active_) return;
  forget_stored();
  const Whose whose{active_->epoch, active_->pid};
  auto epoch = make_memfd(kEpoch, sizeof whose);
  if (!epoch || ::pwrite(epoch->get(), &whose, sizeof whose, 0) != sizeof whose) return;
  options_.store(kObjects, slots_->fd());
  options_.store(kTwin, active_->twin.get());
  options_.store(kSigns, active_->segment.fd());
  options_.store(kEpoch, epoch->get());
}

void Keeper::forget_stored() const {
  if (!options_.store) return;
  for (const char* name : kStoredNames)
    options_.store(name, -1);
}

/// True when the daemon whose it is lives: it is about to wait for a keeper, and nobody else may go on for it.
bool Keeper::take_stored() {
  auto stored = std::move(options_.stored);
  for (const char* name : kStoredNames) {
    if (!stored.contains(name)) return false;
  }
  Whose whose;
  if (::pread(stored[kEpoch].get(), &whose, sizeof whose, 0) != sizeof whose || whose.pid <= 0) return false;
  auto slots = state::ControlSlots::adopt(std::move(stored[kObjects]));
  auto segment = Segment::adopt(std::move(stored[kSigns]));
  if (!slots || !segment) return false;
  stored_.emplace(Stored{whose.epoch, whose.pid, std::move(*slots), std::move(stored[kTwin]), std::move(*segment)});
  return stored_->segment.is_alive();
}

/// Nobody waits for a keeper. One that lives all the same hangs.
bool Keeper::begin_with_stored() {
  if (!stored_) return false;
  if (stored_->segment.is_alive()) {
    ::kill(stored_->pid, SIGKILL);
    stored_->segment.wait_for_death();
  }
  slots_.emplace(std::move(stored_->slots));
  last_epoch_ = stored_->epoch;
  before_.emplace_back(stored_->epoch, std::move(stored_->twin));
  stored_.reset();
  logf(LogLevel::error, "keeper: the keeper and the daemon before are dead; what they had is taken over");
  cause_ = "keeper and daemon died";
  died_ns_ = monotonic_ns();
  active_ = spawn(executable_, "vmux");
  if (active_) send_go(*active_);
  return true;
}

}  // namespace vmux::keeper
