// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/admin_queue.hpp"

#include <cstring>
#include <string>

namespace vmux::device::iavf {
namespace {

// Flags of a descriptor (iavf_adminq_cmd.h).
constexpr std::uint16_t kDone = 1 << 0, kComplete = 1 << 1, kError = 1 << 2, kLargeBuffer = 1 << 9, kRead = 1 << 10,
                        kBuffer = 1 << 12, kSilent = 1 << 13;
constexpr std::size_t kLargeBufferFrom = 512;  // bytes

// Admin queue commands that a virtual function may send, and what carries our messages.
constexpr std::uint16_t kQueueShutdown = 0x0003, kSendToPf = 0x0801, kSendToVf = 0x0802;

// Results of a command (iavf_admin_queue_err).
constexpr std::uint16_t kOk = 0, kBadAddress = 11, kInvalid = 14, kNotImplemented = 17;

Iova address_of(const AdminDescriptor& descriptor) noexcept {
  return Iova{(std::uint64_t{descriptor.addr_high} << 32) | descriptor.addr_low};
}

}  // namespace

bool AdminQueue::open(const Names& names, Ring& ring) const noexcept {
  const std::uint32_t length = registers_.get(names.length);
  if (!aq_len::enable::is_set(length) || aq_len::critical::is_set(length)) return false;
  ring.base = (std::uint64_t{registers_.get(names.high)} << 32) | registers_.get(names.low);
  ring.length = aq_len::length::get(length);
  ring.head = registers_.get(names.head);
  ring.tail = registers_.get(names.tail);
  return true;
}

bool AdminQueue::fault(const Names& names) noexcept {
  registers_.set(names.length, aq_len::critical::set(registers_.get(names.length), 1));
  counters_.admin_faults.add();
  if (log_limit_.allow())
    log_line(LogLevel::warning, std::string(name_) + ": the admin queue cannot be read or written");
  return false;
}

bool AdminQueue::is_listening() const noexcept {
  Ring ring;
  return open(kReceive, ring);
}

bool AdminQueue::has_room() const noexcept {
  Ring ring;
  return open(kReceive, ring) && ring.head != ring.tail;
}

bool AdminQueue::take_completion_request() noexcept {
  const bool request = wants_completion_;
  wants_completion_ = false;
  return request;
}

/// Copies the command's buffer; the result is the command's.
std::uint16_t AdminQueue::fetch_body(const AdminDescriptor& descriptor) noexcept {
  body_size_ = 0;
  const std::uint16_t flags = descriptor.flags;
  if ((flags & kBuffer) == 0) return kOk;
  const std::size_t size = descriptor.datalen;
  if (size > body_.size() || (flags & kRead) == 0) return kInvalid;
  if (!memory_.read(address_of(descriptor), std::span{body_}.first(size))) return kBadAddress;
  body_size_ = size;
  return kOk;
}

bool AdminQueue::take(AdminMessage& into) noexcept {
  for (Ring ring; open(kSend, ring) && ring.head != ring.tail;) {
    if (ring.head >= ring.length || ring.tail >= ring.length) return fault(kSend);
    const Iova at{ring.base + std::uint64_t{ring.head} * sizeof(AdminDescriptor)};
    const auto fetched = memory_.fetch<AdminDescriptor>(at);
    if (!fetched) return fault(kSend);
    AdminDescriptor descriptor = *fetched;
    const std::uint16_t opcode = descriptor.opcode;
    const bool is_message = opcode == kSendToPf;
    if (is_message && is_listening() && !has_room()) return false;
    std::uint16_t result = kOk;
    if (is_message) result = fetch_body(descriptor);
    if (!is_message && opcode != kQueueShutdown) result = kNotImplemented;
    descriptor.retval = result;
    descriptor.flags = static_cast<std::uint16_t>(descriptor.flags | kDone | kComplete | (result != kOk ? kError : 0));
    if (!memory_.store(at, descriptor)) return fault(kSend);
    registers_.set(reg::ATQH1, ring.head + 1 == ring.length ? 0 : ring.head + 1);
    wants_completion_ |= (descriptor.flags & kSilent) == 0;
    if (!is_message || result != kOk) continue;
    into = {static_cast<wire::virtchnl::Op>(std::uint32_t{descriptor.cookie_high}), std::span{body_}.first(body_size_)};
    return true;
  }
  return false;
}

bool AdminQueue::post(wire::virtchnl::Op op, wire::virtchnl::Status status, std::span<const std::byte> body) noexcept {
  Ring ring;
  if (!open(kReceive, ring) || ring.head == ring.tail) {
    counters_.lost_replies.add();
    return false;
  }
  if (ring.head >= ring.length || ring.tail >= ring.length) return fault(kReceive);
  const Iova at{ring.base + std::uint64_t{ring.head} * sizeof(AdminDescriptor)};
  const auto fetched = memory_.fetch<AdminDescriptor>(at);
  if (!fetched) return fault(kReceive);
  AdminDescriptor descriptor = *fetched;
  const std::size_t room = descriptor.datalen;
  if (body.size() > room) {  // a driver whose buffers are too small for what it asked: it hears that it failed
    status = wire::virtchnl::Status::err_no_memory;
    body = {};
  }
  if (!body.empty() && !memory_.write(address_of(descriptor), body)) return fault(kReceive);
  descriptor.opcode = kSendToVf;
  descriptor.datalen = static_cast<std::uint16_t>(body.size());
  descriptor.retval = 0;
  descriptor.cookie_high = static_cast<std::uint32_t>(op);
  descriptor.cookie_low = static_cast<std::uint32_t>(status);
  const unsigned buffer = body.empty() ? 0u : kBuffer | (body.size() > kLargeBufferFrom ? kLargeBuffer : 0u);
  descriptor.flags = 0;
  if (!memory_.store(at, descriptor)) return fault(kReceive);
  memory::publish_fence();  // drivers go by ARQH1, and by DD where they look at the descriptor
  if (!memory_.store(at, Le<std::uint16_t>{static_cast<std::uint16_t>(kDone | kComplete | buffer)}))
    return fault(kReceive);
  registers_.set(reg::ARQH1, ring.head + 1 == ring.length ? 0 : ring.head + 1);
  return true;
}

}  // namespace vmux::device::iavf
