// SPDX-License-Identifier: BSD-3-Clause
#include "vhost_user/messages.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "ipc/fds.hpp"

namespace vmux::vhost_user {
namespace {

namespace flags = wire::vhost_user::header_flags;
using wire::vhost_user::peek;

/// Of the whole message, or 0 when no message can be this long.
std::size_t length_of(const Header& header) noexcept {
  return header.size <= MessageStream::kMaxPayload ? sizeof(Header) + header.size : 0;
}

}  // namespace

MessageStream::MessageStream(ipc::Connection socket, ipc::StreamRecord* record)
    : socket_(std::move(socket)), record_(record) {
  if (record_ != nullptr) record_->clear();
}

void MessageStream::make_room() noexcept {
  if (begin_ != 0 && (begin_ == end_ || end_ == in_.size())) {
    std::memmove(in_.data(), in_.data() + begin_, end_ - begin_);
    base_ += begin_;
    end_ -= begin_;
    begin_ = 0;
  }
}

MessageStream::Io MessageStream::receive() {
  make_room();
  // Full of messages: take them first. So is what has two with descriptors in it: a front end must not make us hold as
  // many as it can send.
  if (end_ == in_.size() || arrived_.size() > 1) return Io::progress;
  iovec part{in_.data() + end_, in_.size() - end_};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = read_some(part, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EAGAIN || errno == EINTR ? Io::would_block : Io::closed;
  end_ += static_cast<std::size_t>(got);
  const bool has_fds = message.msg_controllen != 0 || (message.msg_flags & MSG_CTRUNC) != 0;
  if (has_fds) take_fds(message);
  if (record_ != nullptr && got > 0) note_received(static_cast<std::size_t>(got), has_fds);
  return got == 0 ? Io::closed : Io::progress;
}

ssize_t MessageStream::read_some(iovec& part, msghdr& message, int flags) noexcept {
  if (record_ == nullptr) return ::recvmsg(socket_.get(), &message, flags);
  std::span<const std::byte> bytes;
  const ssize_t got = record_->receive(socket_.get(), part.iov_len, flags, message, bytes);
  if (got > 0) std::memcpy(part.iov_base, bytes.data(), bytes.size());
  return got;
}

void MessageStream::note_received(std::size_t bytes, bool has_fds) noexcept {
  const bool has_new = has_fds && !arrived_.empty();
  const ipc::StreamFds numbers = has_new ? numbers_of(arrived_.back()) : ipc::StreamFds{};
  record_->received(bytes, has_new ? &numbers : nullptr);
}

ipc::StreamFds MessageStream::numbers_of(const Arrived& from) noexcept {
  ipc::StreamFds numbers;
  numbers.position = from.position;
  numbers.lost = from.lost ? 1 : 0;
  for (const UniqueFd& each : from.fds)
    numbers.fds[numbers.count++] = each.get();
  return numbers;
}

void MessageStream::commit(std::uint64_t image) noexcept {
  if (record_ == nullptr) return;
  record_->commit(position(), image, std::span{out_}.subspan(committed_), {});
  committed_ = out_.size();
}

// The kernel ends a read after the bytes that descriptors came with, and front ends send them with the header: so they
// belong to the last message that starts in what was read, or to the one in progress when none does.
void MessageStream::take_fds(const msghdr& message) {
  std::vector<UniqueFd> fds = ipc::fds_of(message);
  const std::uint64_t owner =
      position() + owner_of_last_byte(std::span{in_}.subspan(begin_, end_ - begin_), kLongestMessage);
  if (arrived_.empty() || arrived_.back().position != owner) arrived_.push_back({owner, {}, false});
  Arrived& all = arrived_.back();
  all.lost |= (message.msg_flags & MSG_CTRUNC) != 0;
  for (UniqueFd& fd : fds) {
    if (all.fds.size() < kMaxHeldFds) all.fds.push_back(std::move(fd));
  }
}

std::size_t MessageStream::owner_of_last_byte(std::span<const std::byte> bytes, std::size_t /*max_message*/) noexcept {
  for (std::size_t at = 0;;) {
    const auto header = peek<Header>(bytes.subspan(at));
    const std::size_t length = header ? length_of(*header) : 0;
    if (length == 0 || length >= bytes.size() - at) return at;
    at += length;
  }
}

Result<std::optional<Incoming>> MessageStream::next() {
  const std::span<const std::byte> bytes{in_.data() + begin_, end_ - begin_};
  const auto header = peek<Header>(bytes);
  if (!header) return std::nullopt;
  if ((header->flags & flags::kVersionMask) != flags::kVersion) {
    return fail(Errc::protocol, "a message is not of version 1");
  }
  const std::size_t length = length_of(*header);
  if (length == 0) return fail(Errc::protocol, "a message is too long");
  if (bytes.size() < length) return std::nullopt;
  std::optional<Incoming> message{std::in_place};
  message->header = *header;
  message->payload = bytes.subspan(sizeof(Header), length - sizeof(Header));
  if (!arrived_.empty() && arrived_.front().position <= base_ + begin_) {
    message->fds = std::move(arrived_.front().fds);
    message->lost_fds = arrived_.front().lost;
    arrived_.pop_front();
  }
  begin_ += length;
  return message;
}

std::span<std::byte> MessageStream::append_reply(const Header& to, std::size_t payload_size) {
  // Exactly these flags: QEMU ends the connection for any other.
  const Header header{to.request, flags::kVersion | flags::kReply, static_cast<std::uint32_t>(payload_size)};
  const std::size_t at = out_.size();
  out_.resize(at + sizeof header + payload_size);
  std::memcpy(out_.data() + at, &header, sizeof header);
  return std::span{out_}.subspan(at + sizeof header);
}

ssize_t MessageStream::send_some() noexcept {
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (record_ == nullptr) return ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, kFlags);
  iovec part{out_.data() + sent_, committed_ - sent_};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return record_->send(socket_.get(), message, kFlags);
}

MessageStream::Io MessageStream::flush() noexcept {
  const std::size_t end = record_ == nullptr ? out_.size() : committed_;
  while (sent_ < end) {
    const ssize_t sent = send_some();
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN ? Io::would_block : Io::closed;
    sent_ += static_cast<std::size_t>(sent);
  }
  out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(sent_));
  sent_ = committed_ = 0;
  return Io::progress;
}

Result<void> check_eventfd(const UniqueFd& fd) noexcept {
  char link[32], target[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd.get());
  const ssize_t length = ::readlink(link, target, sizeof target);
  // Without /proc, descriptors are taken for what they are said to be.
  if (length >= 0 && std::string_view{target, static_cast<std::size_t>(length)} != "anon_inode:[eventfd]") {
    return fail(Errc::invalid_argument, "a descriptor is not an eventfd");
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0) return fail_errno("cannot identify an eventfd");
  if ((flags & O_NONBLOCK) == 0 && ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_errno("cannot make an eventfd non-blocking");
  }
  return {};
}

}  // namespace vmux::vhost_user
