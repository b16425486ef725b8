// SPDX-License-Identifier: BSD-3-Clause
// What passes between a client or a driver and a device, for whoever looks for the cause of something. Nothing is
// traced unless somebody asks for it: then each register access by message, each message of the protocol and each
// command of an admin or control queue is told, and no frame.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmux {

struct TraceRecord {
  enum class What : std::uint8_t {
    message,  ///< a request of the protocol
    refused,  ///< the last message was answered with an error
    read,     ///< a register was read
    write,    ///< a register is about to be written
    command,  ///< of an admin or control queue, done
  };
  std::uint64_t time_ns = 0;  ///< monotonic_ns()
  What what = What::message;
  std::uint8_t region = 0;   ///< of a register, as pci::Region
  std::uint8_t fds = 0;      ///< that came with a message
  std::uint32_t bytes = 0;   ///< of a register, a message's payload or a command's buffer
  std::uint32_t code = 0;    ///< number of a message or command
  std::int32_t result = 0;   ///< an errno, or a command's status; 0: good
  std::uint64_t offset = 0;  ///< of a register in its region; of memory that a message gives or takes: where it begins
  std::uint64_t value = 0;   ///< of a register, its first 8 bytes; of such a message: bytes of memory
};

/// Home thread of the device.
class Tracer {
 public:
  virtual ~Tracer() = default;
  /// The tracer sets the time.
  virtual void record(const TraceRecord& record) noexcept = 0;
};

/// Something that can be traced. Home thread.
class Traced {
 public:
  /// nullptr: nobody looks.
  [[nodiscard]] Tracer* tracer() const noexcept { return tracer_; }
  void set_tracer(Tracer* tracer) noexcept { tracer_ = tracer; }

 private:
  Tracer* tracer_ = nullptr;
};

}  // namespace vmux
