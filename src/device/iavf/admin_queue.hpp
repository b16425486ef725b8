// SPDX-License-Identifier: BSD-3-Clause
// The admin queue pair: ATQ carries the driver's commands, ARQ our answers and events. Home thread.
// Descriptor and flags as in Intel's published iavf_adminq_cmd.h; the protocol inside is wire/virtchnl.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device/iavf/state.hpp"
#include "vmux/base/le.hpp"
#include "vmux/base/log.hpp"
#include "vmux/memory/guest_memory.hpp"
#include "wire/virtchnl.hpp"

namespace vmux::device::iavf {

struct AdminDescriptor {
  Le<std::uint16_t> flags, opcode, datalen, retval;
  Le<std::uint32_t> cookie_high;  ///< virtchnl opcode
  Le<std::uint32_t> cookie_low;   ///< virtchnl status
  Le<std::uint32_t> param0, param1, addr_high, addr_low;
};
static_assert(sizeof(AdminDescriptor) == 32 && offsetof(AdminDescriptor, cookie_high) == 8 &&
              offsetof(AdminDescriptor, addr_low) == 28);

/// A message of the driver, copied out of its memory.
struct AdminMessage {
  wire::virtchnl::Op op = wire::virtchnl::Op::unknown;
  std::span<const std::byte> body;  ///< valid until the next take()
};

class AdminQueue {
 public:
  static constexpr std::size_t kMaxMessage = 4096;  ///< bytes; what all drivers give their buffers

  AdminQueue(Registers& registers, NicCounters& counters, const char* name)
      : registers_(registers), counters_(counters), name_(name) {}

  /// Attach this to the function: the only access to guest memory on this side.
  [[nodiscard]] memory::GuestMemory& memory() noexcept { return memory_; }

  /// The next virtchnl message that may be answered now: while the answer would find no room it stays on the ring, so a
  /// driver that does not listen cannot make us store anything. Other commands are completed on the way.
  [[nodiscard]] bool take(AdminMessage& into) noexcept;
  /// Puts a message into the receive queue; false when there is no room (or no queue) for it.
  bool post(wire::virtchnl::Op op, wire::virtchnl::Status status, std::span<const std::byte> body) noexcept;
  [[nodiscard]] bool has_room() const noexcept;
  [[nodiscard]] bool is_listening() const noexcept;
  /// True once when a command asked to be told of its completion.
  [[nodiscard]] bool take_completion_request() noexcept;
  [[nodiscard]] bool is_completion_wanted() const noexcept { return wants_completion_; }
  void set_completion_wanted(bool wanted) noexcept { wants_completion_ = wanted; }

 private:
  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t length = 0, head = 0, tail = 0;
  };
  struct Names {  // offsets of a ring's registers
    std::uint32_t low, high, length, head, tail;
  };
  static constexpr Names kSend{reg::ATQBAL1, reg::ATQBAH1, reg::ATQLEN1, reg::ATQH1, reg::ATQT1};
  static constexpr Names kReceive{reg::ARQBAL1, reg::ARQBAH1, reg::ARQLEN1, reg::ARQH1, reg::ARQT1};

  [[nodiscard]] bool open(const Names& names, Ring& ring) const noexcept;
  [[nodiscard]] std::uint16_t fetch_body(const AdminDescriptor& descriptor) noexcept;
  bool fault(const Names& names) noexcept;

  Registers& registers_;
  NicCounters& counters_;
  const char* name_;
  memory::GuestMemory memory_;
  RateLimit log_limit_;
  bool wants_completion_ = false;
  std::array<std::byte, kMaxMessage> body_{};
  std::size_t body_size_ = 0;
};

}  // namespace vmux::device::iavf
