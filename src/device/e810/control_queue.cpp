// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/control_queue.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "state/commit.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::device::e810 {
namespace {

using wire::ice::Descriptor;
using wire::ice::Status;
namespace flag = wire::ice::flag;

constexpr std::size_t kLargeBufferFrom = 512;  // bytes

Iova address_of(const Descriptor& descriptor) noexcept {
  wire::ice::U32 high, low;
  std::memcpy(&high, descriptor.params.data() + 8, sizeof high);
  std::memcpy(&low, descriptor.params.data() + 12, sizeof low);
  return Iova{std::uint64_t{high} << 32 | low};
}

bool has_buffer(const Descriptor& descriptor) noexcept {
  return (descriptor.flags & flag::BUF) != 0 && descriptor.datalen != 0;
}

}  // namespace

bool ControlQueue::open(const Names& names, Ring& ring) const noexcept {
  const std::uint32_t length = registers_.get(names.length);
  if (!aq_len::enable::is_set(length) || aq_len::critical::is_set(length)) return false;
  ring.base = std::uint64_t{registers_.get(names.high)} << 32 | registers_.get(names.low);
  ring.length = aq_len::length::get(length);
  ring.head = registers_.get(names.head);
  ring.tail = registers_.get(names.tail);
  return true;
}

bool ControlQueue::fault(const Names& names) noexcept {
  registers_.set(names.length, aq_len::critical::set(registers_.get(names.length), 1));
  counters_.admin_faults.add();
  if (log_limit_.allow()) {
    log_line(LogLevel::warning, std::string(name_) + ": a control queue cannot be read or written");
  }
  return false;
}

/// The command's buffer becomes ours: a copy, or zeroes where the driver only wants an answer.
Status ControlQueue::fetch_buffer(Command& command) noexcept {
  const std::size_t size = has_buffer(command.descriptor) ? std::size_t{command.descriptor.datalen} : 0;
  if (size > buffer_.size()) return Status::invalid;
  command.buffer = std::span{buffer_}.first(size);
  if ((command.descriptor.flags & flag::RD) == 0) {
    std::ranges::fill(command.buffer, std::byte{0});
    return Status::ok;
  }
  return memory_.read(address_of(command.descriptor), command.buffer) ? Status::ok : Status::bad_address;
}

/// A command as its driver gave it: the answer may lie there already, and the process have died before that counted.
std::optional<Status> ControlQueue::fetch(Iova at, Command& command) noexcept {
  if (kept_.number == registers_.commands() + 1) {
    std::memcpy(&command.descriptor, kept_.descriptor.data(), sizeof command.descriptor);
    const std::size_t size = std::min<std::size_t>(kept_.size, buffer_.size());
    std::copy_n(kept_.buffer.begin(), size, buffer_.begin());
    command.buffer = std::span{buffer_}.first(size);
    return static_cast<Status>(kept_.status);
  }
  const auto fetched = memory_.fetch<Descriptor>(at);
  if (!fetched) return std::nullopt;
  command.descriptor = *fetched;
  const Status status = fetch_buffer(command);
  keep(command, status);
  return status;
}

void ControlQueue::keep(const Command& command, Status status) noexcept {
  state::commit(kept_.number, Kept::kNone);
  std::memcpy(kept_.descriptor.data(), &command.descriptor, sizeof command.descriptor);
  std::ranges::copy(command.buffer, kept_.buffer.begin());
  kept_.size = static_cast<std::uint16_t>(command.buffer.size());
  kept_.status = static_cast<std::uint16_t>(status);
  state::commit(kept_.number, registers_.commands() + 1);
}

/// Drivers take an answer longer than their buffer for a broken queue.
void ControlQueue::finish(Command& command, Status status) noexcept {
  Descriptor& descriptor = command.descriptor;
  command.reply = std::min(command.reply, command.buffer.size());
  if (command.reply > 0 && !memory_.write(address_of(descriptor), command.buffer.first(command.reply))) {
    status = Status::bad_address;
  }
  if (has_buffer(descriptor) && command.reply > 0) descriptor.datalen = static_cast<std::uint16_t>(command.reply);
  descriptor.retval = static_cast<std::uint16_t>(status);
  const bool is_error = status != Status::ok;
  descriptor.flags = static_cast<std::uint16_t>(descriptor.flags | flag::DD | flag::CMP | (is_error ? flag::ERR : 0));
  counters_.commands.add();
  if (is_error) counters_.refused.add();
}

void ControlQueue::trace(const Command& command) const noexcept {
  TraceRecord record;
  record.what = TraceRecord::What::command;
  record.code = command.descriptor.opcode;
  record.bytes = static_cast<std::uint32_t>(command.buffer.size());
  record.result = command.descriptor.retval;
  traced_->tracer()->record(record);
}

bool ControlQueue::serve(CommandHandler& handler, Most most) noexcept {
  bool is_interrupt_wanted = false;
  has_more_ = false;
  const std::uint64_t until = monotonic_ns() + kTurn_ns;
  for (Ring ring; open(send_, ring) && ring.head != ring.tail;) {
    if (ring.head >= ring.length || ring.tail >= ring.length) return fault(send_);
    const Iova at{ring.base + std::uint64_t{ring.head} * sizeof(Descriptor)};
    Command command{{}, {}, 0};
    const auto fetched = fetch(at, command);
    if (!fetched) return fault(send_);
    const Status status = *fetched == Status::ok ? handler.execute(command) : *fetched;
    finish(command, status);
    if (traced_ != nullptr && traced_->tracer() != nullptr) [[unlikely]]
      trace(command);
    registers_.count_command();
    if (!memory_.store(at, command.descriptor)) return fault(send_);
    memory::publish_fence();  // drivers look at the head, and then at the descriptor
    // The command may have been a reset, or have closed the queue.
    if (!open(send_, ring)) break;
    const std::uint32_t head = ring.head + 1 == ring.length ? 0 : ring.head + 1;
    registers_.set(send_.head, head);
    is_interrupt_wanted |= (command.descriptor.flags & flag::SI) == 0;
    // Some commands take a hundred times as long as others.
    has_more_ = head != ring.tail && (most == Most::one || monotonic_ns() >= until);
    if (has_more_) break;
  }
  return is_interrupt_wanted;
}

bool ControlQueue::post(std::uint16_t opcode, std::span<const std::byte> params,
                        std::span<const std::byte> body) noexcept {
  Ring ring;
  if (!open(receive_, ring) || ring.head == ring.tail) {
    counters_.lost_events.add();
    return false;
  }
  if (ring.head >= ring.length || ring.tail >= ring.length) return fault(receive_);
  const Iova at{ring.base + std::uint64_t{ring.head} * sizeof(Descriptor)};
  const auto fetched = memory_.fetch<Descriptor>(at);
  if (!fetched) return fault(receive_);
  Descriptor descriptor = *fetched;
  body = body.first(std::min<std::size_t>(body.size(), descriptor.datalen));
  if (!body.empty() && !memory_.write(address_of(descriptor), body)) return fault(receive_);
  descriptor.opcode = opcode;
  descriptor.datalen = static_cast<std::uint16_t>(body.size());
  descriptor.retval = 0;
  // The address stays: the driver gives the same buffer again.
  std::memcpy(descriptor.params.data(), params.data(), std::min<std::size_t>(params.size(), 8));
  descriptor.flags = 0;
  if (!memory_.store(at, descriptor)) return fault(receive_);
  memory::publish_fence();
  const unsigned buffer = body.empty() ? 0u : flag::BUF | (body.size() > kLargeBufferFrom ? flag::LB : 0u);
  if (!memory_.store(at, wire::ice::U16{static_cast<std::uint16_t>(flag::DD | flag::CMP | buffer)})) {
    return fault(receive_);
  }
  registers_.set(receive_.head, ring.head + 1 == ring.length ? 0 : ring.head + 1);
  return true;
}

}  // namespace vmux::device::e810
