// SPDX-License-Identifier: BSD-3-Clause
// What a driver asks the device to do to a frame, and how it becomes part of the frame's view. Pure but for the bytes
// of the header, which are ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "intel/descriptors.hpp"
#include "intel/queue_config.hpp"
#include "packet/frame.hpp"

namespace vmux::intel {

/// The words of the descriptors of one frame that say something about it.
struct TxRequest {
  std::uint64_t data_high = 0;                      ///< of its first data descriptor
  std::uint64_t context_low = 0, context_high = 0;  ///< of its context descriptor, if any
  bool has_context = false;

  [[nodiscard]] std::uint32_t cmd() const noexcept { return tx_high::cmd::get(static_cast<std::uint32_t>(data_high)); }
  [[nodiscard]] bool is_segmented() const noexcept {
    return has_context && (tx_high::context_cmd::get(context_high) & context_cmd::TSO) != 0;
  }
};

/// Bytes of all headers that the request points at, as far as the frame has them; they have to be in the view's header.
/// At most kLongestHeader without two tags.
[[nodiscard]] std::uint32_t header_length(const TxRequest& request) noexcept;

/// What became of a request.
enum class Outcome : std::uint8_t {
  done,
  unfinished,  ///< a checksum was asked for that lies nowhere: the frame is as the driver made it
  lost,        ///< a super-frame that cannot be cut, a tag that cannot be put in
};

/// Makes the request part of `view`, whose header lies at the start of `room` (all of it ours, and two tags longer).
[[nodiscard]] Outcome apply(const TxRequest& request, const VlanOffload& vlan, std::span<std::byte> room,
                            packet::FrameView& view) noexcept;

}  // namespace vmux::intel
