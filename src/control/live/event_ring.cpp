// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/event_ring.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <type_traits>

namespace vmux::control {
namespace {

constexpr auto kTexts = std::to_array<EventText>({
    {EventType::added, "added", "an object was added, at the start or by a call", nullptr},
    {EventType::removed, "removed", "it was removed", nullptr},
    {EventType::attached, "client_attached", "a VMM connected to a port", "connections of this port so far"},
    {EventType::detached, "client_detached", "it went", nullptr},
    {EventType::ready, "guest_ready", "the guest's driver is up", nullptr},
    {EventType::not_ready, "guest_not_ready", "it is down: unloaded, reset, or gone with its VM", nullptr},
    {EventType::fault, "device_fault", "a device stopped something for what its guest gave it, or reported an error",
     "faults of this port so far"},
    {EventType::reloaded, "reloaded", "the configuration file was read again, and what could be done was",
     "calls that this took"},
    {EventType::changed, "changed", "settings of it were changed while it was there", "settings that changed"},
    {EventType::mirror_begun, "mirror_begun", "copies of its frames go to another from now on: `detail` says to whom",
     "the user (uid) who asked for it"},
    {EventType::mirror_ended, "mirror_ended", "they do no longer", "the user (uid) who asked for it"},
    {EventType::capture_started, "capture_started",
     "somebody sees its frames from now on: `detail` says which, and how much of them", "their user (uid)"},
    {EventType::capture_stopped, "capture_stopped", "they do no longer: `detail` says why", "their user (uid)"},
    {EventType::trace_started, "trace_started", "somebody sees its registers, messages and commands from now on",
     "their user (uid)"},
    {EventType::trace_stopped, "trace_stopped", "they do no longer", "their user (uid)"},
    {EventType::serving, "serving",
     "somebody else serves its queues: `detail` says who (direct, shadow, software, waiting or stopped)", nullptr},
});

std::uint64_t wall_ns() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace

std::span<const EventText> event_texts() noexcept { return kTexts; }
const EventText& text_of(EventType type) noexcept { return kTexts[static_cast<std::size_t>(type)]; }

EventRing::EventRing(runtime::Poller* sleeper) : sleeper_(sleeper), slots_(new Slot[kCapacity]) {}

void EventRing::write(EventType type, const char* kind, std::string_view name, std::uint64_t number,
                      std::string_view detail) noexcept {
  Event event{0, wall_ns(), type, kind, {}, number, {}};
  name.copy(event.name.data(), std::min(name.size(), event.name.size() - 1));
  detail.copy(event.detail.data(), std::min(detail.size(), event.detail.size() - 1));
  event.sequence = last_.fetch_add(1) + 1;
  Slot& slot = slot_of(event.sequence);
  std::uint64_t before = slot.stamp.load(std::memory_order_relaxed);
  // Somebody who was stopped in the middle of an event for as long as a whole ring took still has the slot (or a later
  // event has it already): nobody waits for them.
  const bool is_free = before % 2 == 0 && before < 2 * event.sequence;
  if (!is_free || !slot.stamp.compare_exchange_strong(before, 2 * event.sequence + 1)) {
    slot.given_up.store(event.sequence);
  } else {
    static_assert(std::is_trivially_copyable_v<Event>);
    std::array<std::uint64_t, kWords> words{};
    std::memcpy(words.data(), &event, sizeof event);
    // Whoever reads one of these sees the stamp from before, so that it cannot take a half for a whole.
    for (std::size_t i = 0; i < kWords; ++i)
      slot.words[i].store(words[i], std::memory_order_release);
    slot.stamp.store(2 * event.sequence + 2);
  }
  // Published before it is looked who waits; those who wait say so before they look once more.
  if (sleeper_ != nullptr && is_expected_.load() && is_expected_.exchange(false)) sleeper_->wake();
}

EventRing::Found EventRing::look(std::uint64_t sequence, Event& into) const noexcept {
  Slot& slot = slot_of(sequence);
  const std::uint64_t stamp = slot.stamp.load();
  if (stamp > 2 * sequence + 2) return Found::lost;
  if (stamp < 2 * sequence + 2) return slot.given_up.load() >= sequence ? Found::lost : Found::nothing_yet;
  std::array<std::uint64_t, kWords> words{};
  for (std::size_t i = 0; i < kWords; ++i)
    words[i] = slot.words[i].load(std::memory_order_acquire);
  if (slot.stamp.load(std::memory_order_relaxed) != stamp) return Found::lost;
  std::memcpy(static_cast<void*>(&into), words.data(), sizeof into);
  return Found::event;
}

std::uint64_t EventRing::first_behind(std::uint64_t since) const noexcept {
  const std::uint64_t last = last_.load();
  const std::uint64_t oldest = last < kCapacity ? 1 : last - kCapacity + 1;
  return std::max(since > last ? 1 : since + 1, oldest);
}

EventRing::Slice EventRing::read(std::uint64_t since, std::size_t most) const {
  Slice slice;
  const std::uint64_t last = last_.load();
  std::uint64_t next = first_behind(since);
  slice.lost = next - 1 - (since > last ? 0 : since);
  for (; next <= last && slice.events.size() < most; ++next) {
    Event event;
    const Found found = look(next, event);
    if (found == Found::nothing_yet) break;  // it comes; those behind it are told after it
    if (found == Found::lost) ++slice.lost;
    if (found == Found::event) slice.events.push_back(event);
  }
  slice.next = next - 1;
  return slice;
}

bool EventRing::has_behind(std::uint64_t since) const noexcept {
  const std::uint64_t next = first_behind(since);
  Event event;
  return next <= last_.load() && look(next, event) != Found::nothing_yet;
}

}  // namespace vmux::control
