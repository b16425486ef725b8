// SPDX-License-Identifier: BSD-3-Clause
// What becomes of a frame that arrives: is it for this station, which queue takes it, what the write-back says of it.
// Each frame's headers are looked at once, here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "intel/ptypes.hpp"
#include "intel/queue_config.hpp"
#include "intel/rules/filter.hpp"
#include "intel/rules/flow_table.hpp"
#include "intel/rules/rss.hpp"
#include "packet/frame.hpp"

namespace vmux::intel {

/// Traffic classes: ranges of queues, one behind the other. None: all queues are one class.
struct Channels {
  static constexpr std::size_t kMost = 4;
  struct Range {
    std::uint16_t first = 0, queues = 0;
  };
  std::array<Range, kMost> ranges{};
  std::size_t count = 0;
};

/// All that decides about arriving frames, as one value: made anew by control when something changes, immutable then.
struct RxRules {
  Filters filters;
  VlanOffload vlan;
  Rss rss;
  std::shared_ptr<const Toeplitz> toeplitz = Toeplitz::of_zeros();  ///< of `hashed_key`
  std::array<std::uint8_t, Rss::kKeySize> hashed_key{};             ///< rss.key when the hash was prepared last
  std::array<std::uint8_t, Rss::kMaxLutSize> lut{};                 ///< rss.lut within traffic class 0
  std::uint32_t lut_mask = Rss::kLutSize - 1;                       ///< the bits of a hash that choose of it
  FlowTable flows;
  Channels channels;
  std::uint16_t queues = 1;       ///< in use; whatever leads to another leads to first_queue
  std::uint16_t first_queue = 0;  ///< takes what no rule and no hash leads elsewhere

  /// After a change of `rss` or `channels`.
  void prepare_hash() noexcept;
};

/// What steer() found out about one frame.
struct RxInfo {
  static constexpr std::uint16_t kNobody = 0xffff;  ///< filtered or dropped by a rule
  enum Flag : std::uint8_t {
    has_hash = 0x01,
    has_mark = 0x02,
    multicast = 0x04,
    broadcast = 0x08,
    has_tag1 = 0x10,
    has_tag2 = 0x20,
    is_ip = 0x40,   ///< an IP header at l3
    bad_ip = 0x80,  ///< whose checksum is wrong
  };
  std::uint32_t hash = 0;
  std::uint32_t mark = 0;
  std::uint16_t queue = kNobody;
  std::uint16_t l2tag1 = 0, l2tag2 = 0;
  std::uint16_t l3 = 0;  ///< bytes from the start of view.header; 0: none
  std::uint16_t l4 = 0;  ///< of a checksum that can be verified: TCP, UDP with one, SCTP, not of a fragment; 0: none
  std::uint8_t flags = 0;
  std::uint8_t ptype = 0;
  std::uint8_t protocol = 0;  ///< of l4
  std::uint8_t cut = 0;       ///< bytes of VLAN tags to be cut out behind the addresses

  [[nodiscard]] bool is_ipv4() const noexcept { return ptype < ptype::ipv6; }
};

/// Fills one info per frame.
void steer(const RxRules& rules, std::span<const packet::FrameView> frames, std::span<RxInfo> into) noexcept;

/// What a port with these rules takes unfinished; `max_frame_with_fcs`: the largest of its queues.
[[nodiscard]] packet::Accepts accepts(const RxRules& rules, std::uint32_t max_frame_with_fcs) noexcept;

}  // namespace vmux::intel
