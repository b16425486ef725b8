// SPDX-License-Identifier: BSD-3-Clause
// A pair of control queues: ATQ carries the driver's commands, ARQ what the device has to tell by itself. There are
// three pairs: to the firmware, to virtual functions (mailbox), to the PHY (sideband). Home thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "device/e810/state.hpp"
#include "vmux/base/log.hpp"
#include "vmux/base/trace.hpp"
#include "vmux/memory/guest_memory.hpp"
#include "wire/ice_aq.hpp"

namespace vmux::device::e810 {

/// A command that is being executed: what a handler reads, and where it writes its answer.
struct Command {
  wire::ice::Descriptor descriptor;  ///< a copy; with changed parameters it becomes the answer
  std::span<std::byte> buffer;       ///< what the driver sent, or zeroes as long as its buffer; the answer's data
  std::size_t reply = 0;             ///< bytes of `buffer` that go back

  /// The parameters as they lie in the descriptor; eight bytes of them where a buffer's address takes the rest.
  template <class T>
  [[nodiscard]] T params() const noexcept {
    static_assert(sizeof(T) <= sizeof descriptor.params);
    T value;
    std::memcpy(&value, descriptor.params.data(), sizeof value);
    return value;
  }
  template <class T>
  void set_params(const T& value) noexcept {
    static_assert(sizeof(T) <= sizeof descriptor.params);
    std::memcpy(descriptor.params.data(), &value, sizeof value);
  }
  /// A struct of the buffer. `at` and its size have been checked against buffer.size().
  template <class T>
  [[nodiscard]] T get(std::size_t at = 0) const noexcept {
    T value;
    std::memcpy(&value, buffer.data() + at, sizeof value);
    return value;
  }
  template <class T>
  void put(const T& value, std::size_t at = 0) noexcept {
    std::memcpy(buffer.data() + at, &value, sizeof value);
  }
  template <class T>
  [[nodiscard]] bool has(std::size_t at = 0) const noexcept {
    return at <= buffer.size() && buffer.size() - at >= sizeof(T);
  }
};

/// Whoever executes the commands of a queue.
class CommandHandler {
 public:
  virtual ~CommandHandler() = default;
  [[nodiscard]] virtual wire::ice::Status execute(Command& command) noexcept = 0;
};

class ControlQueue {
 public:
  static constexpr std::size_t kMaxBuffer = 4096;     ///< bytes
  static constexpr std::uint64_t kTurn_ns = 500'000;  ///< others of the poller want theirs

  /// The last command as its driver gave it, before the answer went over it: in the card's arena, for a successor that
  /// finds it not to have been executed.
  struct Kept {
    static constexpr std::uint64_t kNone = 0;
    std::uint64_t number;        ///< RegisterFile::commands when it is executed; kNone: there is none
    std::uint16_t size, status;  ///< of the buffer; what was found when it was read
    std::array<std::byte, sizeof(wire::ice::Descriptor)> descriptor;
    std::array<std::byte, kMaxBuffer> buffer;
  };
  enum class Most : std::uint8_t { one, turn };  ///< commands of one serve()

  struct Names {  ///< offsets of a ring's registers
    std::uint32_t low, high, length, head, tail;
  };

  ControlQueue(Registers& registers, NicCounters& counters, Kept& kept, const char* name, Names send, Names receive)
      : registers_(registers), counters_(counters), kept_(kept), name_(name), send_(send), receive_(receive) {}

  /// Attach this to the function: the only access to guest memory on this side.
  [[nodiscard]] memory::GuestMemory& memory() noexcept { return memory_; }
  [[nodiscard]] const Names& send() const noexcept { return send_; }
  [[nodiscard]] const Names& receive() const noexcept { return receive_; }

  /// Executes commands up to the tail, one or for as long as kTurn_ns. True when there was one whose completion is to
  /// be told by an interrupt.
  bool serve(CommandHandler& handler, Most most) noexcept;
  /// Whose tracer is told of each command; it outlives this.
  void set_traced(const Traced& traced) noexcept { traced_ = &traced; }
  /// serve() left some for the next time.
  [[nodiscard]] bool has_more() const noexcept { return has_more_; }
  /// The driver that has given commands is no more.
  void forget_kept() noexcept { kept_.number = Kept::kNone; }
  /// Puts an event into the receive queue; false when there is no room (or no queue) for it.
  bool post(std::uint16_t opcode, std::span<const std::byte> params, std::span<const std::byte> body) noexcept;

 private:
  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t length = 0, head = 0, tail = 0;
  };

  [[nodiscard]] bool open(const Names& names, Ring& ring) const noexcept;
  [[nodiscard]] std::optional<wire::ice::Status> fetch(Iova at, Command& command) noexcept;
  [[nodiscard]] wire::ice::Status fetch_buffer(Command& command) noexcept;
  void keep(const Command& command, wire::ice::Status status) noexcept;
  void finish(Command& command, wire::ice::Status status) noexcept;
  void trace(const Command& command) const noexcept;
  bool fault(const Names& names) noexcept;

  Registers& registers_;
  NicCounters& counters_;
  Kept& kept_;
  const char* name_;
  const Names send_, receive_;
  memory::GuestMemory memory_;
  RateLimit log_limit_;
  std::array<std::byte, kMaxBuffer> buffer_{};
  const Traced* traced_ = nullptr;
  bool has_more_ = false;
};

inline constexpr ControlQueue::Names kFirmwareSend{reg::PF_FW_ATQBAL, reg::PF_FW_ATQBAH, reg::PF_FW_ATQLEN,
                                                   reg::PF_FW_ATQH, reg::PF_FW_ATQT};
inline constexpr ControlQueue::Names kFirmwareReceive{reg::PF_FW_ARQBAL, reg::PF_FW_ARQBAH, reg::PF_FW_ARQLEN,
                                                      reg::PF_FW_ARQH, reg::PF_FW_ARQT};
inline constexpr ControlQueue::Names kMailboxSend{reg::PF_MBX_ATQBAL, reg::PF_MBX_ATQBAH, reg::PF_MBX_ATQLEN,
                                                  reg::PF_MBX_ATQH, reg::PF_MBX_ATQT};
inline constexpr ControlQueue::Names kMailboxReceive{reg::PF_MBX_ARQBAL, reg::PF_MBX_ARQBAH, reg::PF_MBX_ARQLEN,
                                                     reg::PF_MBX_ARQH, reg::PF_MBX_ARQT};
inline constexpr ControlQueue::Names kSidebandSend{reg::PF_SB_ATQBAL, reg::PF_SB_ATQBAH, reg::PF_SB_ATQLEN,
                                                   reg::PF_SB_ATQH, reg::PF_SB_ATQT};
inline constexpr ControlQueue::Names kSidebandReceive{reg::PF_SB_ARQBAL, reg::PF_SB_ARQBAH, reg::PF_SB_ARQLEN,
                                                      reg::PF_SB_ARQH, reg::PF_SB_ARQT};

}  // namespace vmux::device::e810
