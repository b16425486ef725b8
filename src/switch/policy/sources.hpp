// SPDX-License-Identifier: BSD-3-Clause
// Whether a port sends as who it is: anti-spoofing.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "packet/headers.hpp"
#include "switch/switch.hpp"

namespace vmux::switching {

/// A port's SourceRules, made ready. Immutable; decides on the bytes of FrameView::header alone, which its sender
/// cannot change any more. What it cannot read to its end (a header that is cut short, or longer than what is copied)
/// it does not allow.
class Sources {
 public:
  explicit Sources(const SourceRules& rules);

  /// `view` has its Ethernet header.
  [[nodiscard]] bool allow(const packet::FrameView& view) const noexcept;

 private:
  [[nodiscard]] bool allow_arp(packet::Slice bytes, std::size_t at) const noexcept;
  [[nodiscard]] bool allow_ipv4(packet::Slice bytes, const packet::Headers& headers) const noexcept;
  [[nodiscard]] bool allow_ipv6(packet::Slice bytes, const packet::Headers& headers, bool is_whole) const noexcept;
  [[nodiscard]] bool allow_icmpv6(packet::Slice bytes, const packet::Headers& headers, bool is_whole) const noexcept;
  [[nodiscard]] bool allow_link_layer_options(packet::Slice bytes, bool is_whole, std::size_t at) const noexcept;

  using V4 = std::array<std::uint8_t, 4>;
  using V6 = std::array<std::uint8_t, 16>;
  std::vector<MacAddress> macs_;
  std::vector<V4> v4_;
  std::vector<V6> v6_;  // with the link-local addresses of macs_
  bool has_addresses_;
};

}  // namespace vmux::switching
