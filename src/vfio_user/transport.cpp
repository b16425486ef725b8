// SPDX-License-Identifier: BSD-3-Clause
#include "vfio_user/transport.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "ipc/fds.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::vfio_user {
namespace {

constexpr std::size_t kFirstBuffer = 64 << 10;

}  // namespace

Transport::Transport(ipc::Connection socket, std::size_t max_message, StreamRecord* record)
    : socket_(std::move(socket)), max_message_(max_message), record_(record), in_(kFirstBuffer) {
  out_.reserve(kFirstBuffer);
  if (record_ != nullptr) record_->clear();
}

void Transport::make_room() {
  if (in_begin_ == in_end_) {
    in_base_ += in_begin_;
    in_begin_ = in_end_ = 0;
  }
  // A long message is being received: make the buffer long enough for all of it.
  const auto header = wire::vfio_user::peek<Header>(std::span{in_}.subspan(in_begin_, in_end_ - in_begin_));
  const std::size_t wanted = header ? std::min<std::size_t>(header->size, max_message_) : sizeof(Header);
  if (in_begin_ != 0 && (in_end_ == in_.size() || in_begin_ + wanted > in_.size())) {
    std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
    in_base_ += in_begin_;
    in_end_ -= in_begin_;
    in_begin_ = 0;
  }
  if (wanted > in_.size()) in_.resize(wanted);
}

std::size_t Transport::missing() const noexcept {
  const auto header = wire::vfio_user::peek<Header>(std::span{in_}.subspan(in_begin_, buffered()));
  return header && header->size > buffered() ? header->size - buffered() : 0;
}

Transport::Io Transport::receive(bool may_sleep, std::size_t limit) {
  make_room();
  // Full of complete messages: take them first. So is what has two messages with descriptors in it, of which the first
  // is complete: a client must not make us hold as many as it can send.
  if (in_end_ == in_.size() || arrived_.size() > 1) return Io::progress;
  iovec part{in_.data() + in_end_, std::min(in_.size() - in_end_, limit)};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = read_some(part, message, (may_sleep ? 0 : MSG_DONTWAIT) | MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EAGAIN || errno == EINTR ? Io::would_block : Io::closed;
  const bool has_fds = message.msg_controllen != 0 || (message.msg_flags & MSG_CTRUNC) != 0;
  in_end_ += static_cast<std::size_t>(got);
  if (has_fds) [[unlikely]]
    take_fds(message, static_cast<std::uint64_t>(got));
  if (record_ != nullptr && got > 0) note_received(static_cast<std::size_t>(got), has_fds);
  return got == 0 ? Io::closed : Io::progress;
}

ssize_t Transport::read_some(iovec& part, msghdr& message, int flags) {
  if (record_ == nullptr) return ::recvmsg(socket_.get(), &message, flags);
  std::span<const std::byte> bytes;
  const ssize_t got = record_->receive(socket_.get(), part.iov_len, flags, message, bytes);
  if (got > 0) std::memcpy(part.iov_base, bytes.data(), bytes.size());
  return got;
}

void Transport::note_received(std::size_t bytes, bool has_fds) noexcept {
  const bool has_new = has_fds && !arrived_.empty();
  StreamFds fds;
  if (has_new) fds = numbers_of(arrived_.back().position, arrived_.back().fds, arrived_.back().lost);
  record_->received(bytes, has_new ? &fds : nullptr);
}

StreamFds Transport::numbers_of(std::uint64_t position, std::span<const UniqueFd> fds, bool lost) noexcept {
  StreamFds numbers;
  numbers.position = position;
  numbers.lost = lost ? 1 : 0;
  for (const UniqueFd& each : fds)
    numbers.fds[numbers.count++] = each.get();
  return numbers;
}

void Transport::commit(std::uint64_t image) noexcept {
  if (record_ == nullptr) return;
  StreamFds fds[kMostDepartures];
  std::size_t count = 0;
  for (std::size_t i = committed_departures_; i < departing_.size() && count < kMostDepartures; ++i) {
    StreamFds& each = fds[count++];
    each = {};
    each.position = departing_[i].position;
    each.count = static_cast<std::uint32_t>(departing_[i].fds.size());
    std::ranges::copy(departing_[i].fds, each.fds);
  }
  committed_departures_ += count;
  const std::span<const std::byte> output = std::span{out_}.last(static_cast<std::size_t>(queued_end() - committed_));
  record_->commit(position(), image, output, std::span{fds}.first(count));
  committed_ = queued_end();
}

// The kernel ends a read after the bytes that descriptors came with, so they belong to the last message that starts in
// what was read, or to the one in progress when none does. (A sender that puts several messages with descriptors into
// one sendmsg() cannot be understood; none does.)
void Transport::take_fds(const msghdr& message, std::uint64_t got) {
  std::vector<UniqueFd> fds = ipc::fds_of(message);
  const bool lost = (message.msg_flags & MSG_CTRUNC) != 0;
  if (got == 0 || (fds.empty() && !lost)) return;
  const std::uint64_t owner =
      position() + owner_of_last_byte(std::span{in_}.subspan(in_begin_, in_end_ - in_begin_), max_message_);
  if (arrived_.empty() || arrived_.back().position != owner) arrived_.push_back({owner, {}, false});
  auto& all = arrived_.back();
  all.lost |= lost;
  for (auto& fd : fds) {
    if (all.fds.size() < kMaxFds) all.fds.push_back(std::move(fd));
  }
}

std::size_t Transport::owner_of_last_byte(std::span<const std::byte> bytes, std::size_t max_message) noexcept {
  for (std::size_t at = 0;;) {
    const auto header = wire::vfio_user::peek<Header>(bytes.subspan(at));
    if (!header || header->size < sizeof(Header) || header->size > max_message) return at;
    if (header->size >= bytes.size() - at) return at;
    at += header->size;
  }
}

Result<std::optional<Incoming>> Transport::next() {
  const std::span<const std::byte> bytes{in_.data() + in_begin_, in_end_ - in_begin_};
  const auto header = wire::vfio_user::peek<Header>(bytes);
  if (!header) return std::nullopt;
  if (header->size < sizeof(Header)) return fail(Errc::protocol, "message size is smaller than its header");
  if (header->size > max_message_) return fail(Errc::protocol, "message is too long");
  if (bytes.size() < header->size) return std::nullopt;
  std::optional<Incoming> message{std::in_place};
  message->header = *header;
  message->payload = bytes.subspan(sizeof(Header), header->size - sizeof(Header));
  if (!arrived_.empty() && arrived_.front().position <= in_base_ + in_begin_) [[unlikely]] {
    message->fds = std::move(arrived_.front().fds);
    message->lost_fds = arrived_.front().lost;
    arrived_.pop_front();
  }
  in_begin_ += header->size;
  return message;
}

Header Transport::broken_header() const noexcept {
  return wire::vfio_user::peek<Header>(std::span{in_}.subspan(in_begin_, in_end_ - in_begin_)).value_or(Header{});
}

std::span<std::byte> Transport::append(std::size_t size) {
  const std::size_t at = out_.size();
  out_.resize(at + size);
  return std::span{out_}.subspan(at, size);
}

void Transport::attach_fds(std::span<const int> fds) {
  VMUX_ASSERT(fds.size() <= kMaxFds);
  departing_.push_back({queued_end(), {fds.begin(), fds.end()}, {}});
}

void Transport::rollback(std::uint64_t mark) noexcept {
  VMUX_ASSERT(mark >= out_base_ + out_sent_ && mark <= queued_end());
  out_.resize(static_cast<std::size_t>(mark - out_base_));
  while (!departing_.empty() && departing_.back().position >= mark)
    departing_.pop_back();
}

// Descriptors must not part from their message, nor share a read with a later one: see take_fds(). So a message with
// descriptors is sent alone, and what comes before it ends there. Returns how much to send.
std::size_t Transport::add_fds(msghdr& message, std::span<char> control, std::uint64_t position,
                               std::size_t length) const noexcept {
  const Departing& next = departing_.front();
  if (next.position != position) return static_cast<std::size_t>(next.position - position);
  const std::size_t bytes = next.fds.size() * sizeof(int);
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(bytes);
  cmsghdr* const part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(bytes);
  std::memcpy(CMSG_DATA(part), next.fds.data(), bytes);
  const auto header = wire::vfio_user::peek<Header>(std::span{out_}.subspan(out_sent_, length));
  return header ? std::min<std::size_t>(header->size, length) : length;
}

// Without descriptors by send(), which has no msghdr for the kernel to fetch: 3 % of what a register access takes here.
ssize_t Transport::send_some(msghdr& message, int flags) noexcept {
  if (record_ != nullptr) return record_->send(socket_.get(), message, flags);
  if (message.msg_control != nullptr) return ::sendmsg(socket_.get(), &message, flags);
  return ::send(socket_.get(), message.msg_iov->iov_base, message.msg_iov->iov_len, flags);
}

Transport::Io Transport::flush() noexcept {
  while (out_sent_ < out_.size()) {
    const std::uint64_t position = out_base_ + out_sent_;
    std::size_t length = out_.size() - out_sent_;
    msghdr message{};
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
    if (!departing_.empty()) [[unlikely]] {
      length = add_fds(message, control, position, length);
    }
    iovec part{out_.data() + out_sent_, length};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t sent = send_some(message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) {
        // Nothing else would tell whoever waits for events of it that descriptors could not be sent, say.
        ::shutdown(socket_.get(), SHUT_RDWR);
        return Io::closed;
      }
      forget_sent();
      return Io::would_block;
    }
    if (message.msg_control != nullptr) {
      departing_.pop_front();
      if (committed_departures_ != 0) --committed_departures_;
    }
    out_sent_ += static_cast<std::size_t>(sent);
  }
  out_base_ += out_sent_;
  out_sent_ = 0;
  out_.clear();
  return Io::progress;
}

// A peer that always leaves something unread must not make the queue grow by all that was ever sent. What is moved is
// no more than what was sent since the last time.
void Transport::forget_sent() noexcept {
  if (out_sent_ < out_.size() - out_sent_) return;
  out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_sent_));
  out_base_ += out_sent_;
  out_sent_ = 0;
}

bool is_eventfd(int fd) noexcept {
  char link[32], target[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = ::readlink(link, target, sizeof target);
  if (length < 0) return true;  // no /proc here
  return std::string_view{target, static_cast<std::size_t>(length)}.find("[eventfd]") != std::string_view::npos;
}

}  // namespace vmux::vfio_user
