// SPDX-License-Identifier: BSD-3-Clause
// What happened lately: written by whoever sees it happen, on any thread; read by those who subscribe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// What can happen. A new event is a row of event_texts(), too.
enum class EventType : std::uint8_t {
  added,
  removed,
  attached,
  detached,
  ready,
  not_ready,
  fault,
  reloaded,
  changed,
  mirror_begun,
  mirror_ended,
  capture_started,
  capture_stopped,
  trace_started,
  trace_stopped,
  serving,
};

struct EventText {
  EventType type;
  const char* name;    ///< in results: "client_attached"
  const char* help;    ///< what happened
  const char* number;  ///< what the event's number is; nullptr: it has none
};
[[nodiscard]] std::span<const EventText> event_texts() noexcept;
[[nodiscard]] const EventText& text_of(EventType type) noexcept;

struct Event {
  std::uint64_t sequence = 0;  ///< 1 is the first of this process
  std::uint64_t time_ns = 0;   ///< since 1970, UTC
  EventType type{};
  const char* kind = nullptr;     ///< static: "port", "uplink", "switch", "daemon"
  std::array<char, 40> name{};    ///< of the object, ended by a zero byte; empty for the daemon
  std::uint64_t number = 0;       ///< as text_of() has it
  std::array<char, 48> detail{};  ///< what there is to say besides, ended by a zero byte; mostly nothing
};

/// Bounded: when it is full the oldest events are overwritten, and readers are told how many they missed. A writer
/// neither waits, nor allocates, nor makes a system call, unless somebody sleeps until something happens.
class EventRing {
 public:
  static constexpr std::size_t kCapacity = 1024;

  /// `sleeper` runs those who wait: it is woken when something happens after expect(). nullptr: nobody waits.
  explicit EventRing(runtime::Poller* sleeper = nullptr);
  EventRing(const EventRing&) = delete;
  EventRing& operator=(const EventRing&) = delete;

  /// Any thread. `kind`: static text.
  void write(EventType type, const char* kind, std::string_view name, std::uint64_t number = 0,
             std::string_view detail = {}) noexcept;

  struct Slice {
    std::vector<Event> events;  ///< in their order, none of them with a number up to `since`
    std::uint64_t lost = 0;     ///< between `since` and these: overwritten before they were read
    std::uint64_t next = 0;     ///< `since` for whoever goes on
  };
  /// At most `most` of those behind `since`, or all there are if no event has had that number yet: it is one of an
  /// earlier process then. Any thread.
  [[nodiscard]] Slice read(std::uint64_t since, std::size_t most) const;
  /// Whether read() would find something.
  [[nodiscard]] bool has_behind(std::uint64_t since) const noexcept;
  /// The sleeper is woken at the next event, once.
  void expect() noexcept { is_expected_.store(true); }

 private:
  static constexpr std::size_t kWords = (sizeof(Event) + 7) / 8;
  /// A sequence lock: `stamp` is 2n + 1 while event n is written and 2n + 2 when it is there.
  struct Slot {
    std::atomic<std::uint64_t> stamp{0};
    std::atomic<std::uint64_t> given_up{0};  // the last event that found this slot being written
    std::array<std::atomic<std::uint64_t>, kWords> words{};
  };
  enum class Found : unsigned char { event, nothing_yet, lost };
  [[nodiscard]] Found look(std::uint64_t sequence, Event& into) const noexcept;
  [[nodiscard]] Slot& slot_of(std::uint64_t sequence) const noexcept { return slots_[sequence % kCapacity]; }
  [[nodiscard]] std::uint64_t first_behind(std::uint64_t since) const noexcept;

  runtime::Poller* const sleeper_;
  const std::unique_ptr<Slot[]> slots_;
  std::atomic<std::uint64_t> last_{0};
  std::atomic<bool> is_expected_{false};
};

}  // namespace vmux::control
