// SPDX-License-Identifier: BSD-3-Clause
// A burst of frames on its way through the switch: what the stages hand on to each other.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/frame.hpp"
#include "port/port.hpp"
#include "switch/mac_table.hpp"
#include "switch/member.hpp"

namespace vmux::switching {

/// What a bridge has to know of a frame.
struct Frame {
  StationKey source = 0;  ///< 0: not to be learnt
  StationKey target = 0;  ///< the station that it is for; 0: a group
  PortId from;
  PortId to;  ///< where that station is
  std::uint16_t vlan = 0;
  std::uint16_t tci = 0;  ///< of its tag, if any
  bool is_flood = false;
  /// A tag of the switch, in the bytes or beside them. One in the bytes where has_tag is false is its sender's own,
  /// which is kept.
  bool has_tag = false, tag_in_bytes = false;
  std::uint8_t mark = 0;  ///< by a rule; 0: none
  /// A rule names the port that it is for, and no station.
  [[nodiscard]] bool is_redirected() const noexcept { return !is_flood && target == 0 && to != PortId{}; }
};

/// Frames side by side that are alike in all that a Frame is made of.
struct Run {
  Frame frame;
  std::uint8_t first = 0, count = 0;
};

/// The verdict on each frame is a reason to drop it, if there is one (`results`, which its sender is told), and a set
/// of destinations for copies of it (`mirrors`). Neither says anything about the other: a frame that is dropped may be
/// mirrored all the same.
struct Burst {
  std::array<packet::FrameView, port::kMaxBurst> views;
  std::array<port::FrameResult, port::kMaxBurst> results;
  std::array<MirrorSet, port::kMaxBurst> mirrors;  ///< where all_mirrors is not empty
  std::array<Run, port::kMaxBurst> runs;
  std::size_t count = 0, run_count = 0;
  std::size_t dropped = 0;    ///< frames with a verdict against them
  MirrorSet all_mirrors = 0;  ///< those that some frame is for; set by judge(), so only of ports with a policy
  Member* sender = nullptr;   ///< nullptr: they came over a link,
  ShardRef origin = kHere;    ///< that of this peer

  [[nodiscard]] std::span<Run> all_runs() noexcept { return std::span{runs}.first(run_count); }
  [[nodiscard]] std::span<const Run> all_runs() const noexcept { return std::span{runs}.first(run_count); }
  [[nodiscard]] bool is_dropped(std::size_t index) const noexcept {
    return results[index].dropped != port::DropReason::none;
  }
  /// A stage's verdict on a frame that has none yet.
  void drop(std::size_t index, port::DropReason why) noexcept {
    results[index].dropped = why;
    ++dropped;
  }
  /// A stage's wish for copies of a frame, besides those that others have; behind judge().
  void mirror(std::size_t index, MirrorSet to) noexcept {
    mirrors[index] = static_cast<MirrorSet>(mirrors[index] | to);
    all_mirrors = static_cast<MirrorSet>(all_mirrors | to);
  }
  /// True when no frame of it is left.
  [[nodiscard]] bool is_dropped(const Run& run) const noexcept {
    if (dropped == 0) [[likely]]
      return false;
    std::size_t gone = 0;
    for (std::size_t i = 0; i < run.count; ++i)
      gone += is_dropped(std::size_t{run.first} + i) ? 1 : 0;
    return gone == run.count;
  }
  /// Only the first `kept` frames are left: the others stay with their sender, as if they had not been taken.
  void cut(std::size_t kept) noexcept {
    count = kept;
    while (run_count > 0 && runs[run_count - 1].first >= kept)
      --run_count;
    if (run_count > 0) {
      Run& last = runs[run_count - 1];
      last.count = static_cast<std::uint8_t>(std::min<std::size_t>(last.count, kept - last.first));
    }
    dropped = 0;
    for (std::size_t i = 0; i < kept; ++i)
      dropped += is_dropped(i) ? 1 : 0;
  }
  /// The same on those frames of a run that have none.
  void drop(const Run& run, port::DropReason why) noexcept {
    for (std::size_t i = run.first; i < std::size_t{run.first} + run.count; ++i) {
      if (!is_dropped(i)) drop(i, why);
    }
  }
  /// The first frames of a run, side by side, that no verdict is against; of a count of 0 if there are none.
  [[nodiscard]] Share first_share(std::size_t run) const noexcept {
    const Run& all = runs[run];
    if (dropped == 0) [[likely]]
      return {all.first, all.count, static_cast<std::uint8_t>(run)};
    return share_from(run, all.first);
  }
  /// Those behind them.
  [[nodiscard]] Share share_behind(Share share) const noexcept {
    return share_from(share.run, std::size_t{share.first} + share.count);
  }

 private:
  [[nodiscard]] Share share_from(std::size_t run, std::size_t at) const noexcept {
    const std::size_t end = std::size_t{runs[run].first} + runs[run].count;
    while (at < end && is_dropped(at))
      ++at;
    const std::size_t begin = at;
    while (at < end && !is_dropped(at))
      ++at;
    return {static_cast<std::uint8_t>(begin), static_cast<std::uint8_t>(at - begin), static_cast<std::uint8_t>(run)};
  }
};

/// What decides about the frames of a port when they enter.
struct Ingress {
  PortId from;
  const VlanRules& vlan;
  std::uint16_t forwarded_groups;  ///< SwitchOptions
};

/// The first stage: fills runs and results from views. Pure, and decided on bytes that the sender cannot change.
void classify(const Ingress& ingress, Burst& burst) noexcept;

/// Before the first, of ports with VlanRules::is_retagged: headers that change are in `rooms`, one for each
/// frame. What cannot be done is left to classify(), which finds it malformed.
using HeaderRooms = std::array<std::array<std::byte, packet::kLongestHeader>, port::kMaxBurst>;
void retag_on_entry(const VlanRules& rules, HeaderRooms& rooms, Burst& burst) noexcept;

/// The second stage, of ports that have a policy: what it says of the burst's frames. Pure.
void judge(const Policy& policy, Burst& burst) noexcept;

/// Behind locate(), which says what is flooded, and of ports with such a limit.
void limit_floods(Meter& meter, std::uint64_t now_ns, Burst& burst) noexcept;

}  // namespace vmux::switching
