// SPDX-License-Identifier: BSD-3-Clause
// What a port's policy says of the frames that it sends: the stage between what they are and where they go.
#include <algorithm>

#include "switch/policy/meter.hpp"
#include "switch/policy/sources.hpp"
#include "switch/stages/burst.hpp"
#include "switch/stages/length.hpp"

namespace vmux::switching {
namespace {

using port::DropReason;

bool takes_whole(const packet::Accepts& accepts, const packet::Offload& offload) noexcept {
  if (!accepts.checksum || offload.tunnel != 0) return false;
  const packet::Gso gso = offload.gso;
  return (gso == packet::Gso::tcp4 && accepts.gso_tcp4) || (gso == packet::Gso::tcp6 && accepts.gso_tcp6) ||
         (gso == packet::Gso::udp && accepts.gso_udp);
}

// All that it sends, also what is dropped: whoever listens wants to see what a guest tries. Not what classify() could
// not read.
void mark(MirrorSet to, Burst& burst) noexcept {
  for (std::size_t i = 0; i < burst.count; ++i) {
    if (burst.results[i].dropped != DropReason::malformed) burst.mirror(i, to);
  }
}

// What a port sends that is longer than its MTU lets pass: each piece of a super-frame counts, as it would on a wire.
void drop_longer(std::uint32_t max_frame, Burst& burst) noexcept {
  packet::Accepts pieces;
  pieces.max_frame = max_frame;
  for (std::size_t i = 0; i < burst.count; ++i) {
    if (!burst.is_dropped(i) && is_too_long(burst.views[i], pieces)) burst.drop(i, DropReason::too_long);
  }
}

void drop_spoofed(const Sources& sources, Burst& burst) noexcept {
  for (std::size_t i = 0; i < burst.count; ++i) {
    if (!burst.is_dropped(i) && !sources.allow(burst.views[i])) burst.drop(i, DropReason::spoofed);
  }
}

// For that reason, whatever else is wrong with a frame: its operator looks for what its listener sends.
void drop_all(DropReason why, Burst& burst) noexcept {
  for (std::size_t i = 0; i < burst.count; ++i)
    burst.results[i].dropped = why;
  burst.dropped = burst.count;
}

}  // namespace

bool is_super_frame_too_long(const packet::FrameView& view, const packet::Accepts& accepts,
                             std::uint32_t tag) noexcept {
  constexpr std::uint32_t kLongestWhole = 0xffff;  // bytes; longer ones are cut, see packet::Pieces
  const packet::Offload& offload = view.offload;
  if (view.length <= kLongestWhole && takes_whole(accepts, offload)) return false;
  return std::min<std::uint32_t>(view.length, std::uint32_t{offload.header_length} + offload.gso_size) + tag >
         accepts.max_frame;
}

void judge(const Policy& policy, Burst& burst) noexcept {
  burst.mirrors.fill(0);
  burst.all_mirrors = 0;
  if (policy.mirror_in != 0) mark(policy.mirror_in, burst);
  if (policy.is_destination) return drop_all(DropReason::mirror_ingress, burst);
  if (policy.sources != nullptr) drop_spoofed(*policy.sources, burst);
  if (policy.max_frame != 0) drop_longer(policy.max_frame, burst);
}

void limit_floods(Meter& meter, std::uint64_t now_ns, Burst& burst) noexcept {
  for (const Run& run : burst.all_runs()) {
    if (!run.frame.is_flood) continue;
    for (std::size_t i = run.first; i < std::size_t{run.first} + run.count; ++i) {
      if (!burst.is_dropped(i) && meter.pass({&burst.views[i], 1}, now_ns) == 0) burst.drop(i, DropReason::storm);
    }
  }
}

}  // namespace vmux::switching
