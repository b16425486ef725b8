// SPDX-License-Identifier: BSD-3-Clause
// What a daemon told in one round of calls, as it told it.
#pragma once

#include <cstdint>
#include <string>

#include "control/rpc/params.hpp"

namespace vmux::app {

using control::Json;

/// Answers of methods by that name (docs/rpc.md); null where there was none. They are another process's words: whoever
/// reads them takes what is not as it should be for not being there.
struct Snapshot {
  bool is_up = false;
  std::string why;            ///< it is not: a sentence
  std::uint64_t unix_ms = 0;  ///< when it was taken
  std::uint64_t took_ns = 0;  ///< all calls together
  Json version, keeper;       ///< version, keeper.status
  Json pollers;               ///< poller.list
  Json ports, stats;          ///< port.list, port.stats
  Json uplinks;               ///< uplink.list
  Json switches;              ///< a list of switch.show
  Json counters;              ///< counter.list
  Json events;                ///< the last of events, in their order
  Json findings;              ///< doctor, where the daemon has it
};

/// A member of an object; null where there is none, or `object` is none.
[[nodiscard]] const Json& member(const Json& object, const char* key) noexcept;
/// The elements of a list; none where it is no list.
[[nodiscard]] const Json& list_of(const Json& maybe) noexcept;
/// "" where it is no text.
[[nodiscard]] std::string text_of(const Json& object, const char* key);
/// 0 where it is no number.
[[nodiscard]] double number_of(const Json& value) noexcept;
/// False where it is neither true nor false.
[[nodiscard]] bool flag_of(const Json& object, const char* key) noexcept;

/// All of it, for the page. Of a MAC table the youngest kMostMacs; `mac_count` says how many there are.
[[nodiscard]] Json to_json(const Snapshot& snapshot);
inline constexpr std::size_t kMostMacs = 1000;

}  // namespace vmux::app
