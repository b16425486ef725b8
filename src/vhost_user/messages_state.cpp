// SPDX-License-Identifier: BSD-3-Clause
// A stream in the middle of its messages, as saved state.
#include <algorithm>

#include "vhost_user/messages.hpp"
#include "vhost_user/saved_session.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::vhost_user {
namespace {

const std::string kConnection = "connection", kIncoming = "connection/in";

std::vector<std::uint8_t> bytes_of(std::span<const std::byte> from) {
  const auto* const first = reinterpret_cast<const std::uint8_t*>(from.data());
  return {first, first + from.size()};
}

/// One after the other, each within the bytes.
bool are_places(std::span<const SavedStream::WithFds> messages, std::size_t size) noexcept {
  const auto comes_late = [](const auto& a, const auto& b) { return a.position >= b.position; };
  return std::none_of(messages.begin(), messages.end(), [size](const auto& each) { return each.position >= size; }) &&
         std::adjacent_find(messages.begin(), messages.end(), comes_late) == messages.end();
}

}  // namespace

Result<void> MessageStream::save(SavedStream& into, state::FdBag& fds) const {
  if (queued() > SavedStream::kMostBytes || arrived_.size() > SavedStream::kMostMessages) {
    return fail(Errc::no_space, "too much is under way to save it");
  }
  if (auto done = fds.put_copy(kConnection, socket_.get()); !done) return done;
  into.in = bytes_of(std::span{in_}.subspan(begin_, end_ - begin_));
  into.out = bytes_of(std::span{out_}.subspan(sent_));
  unsigned next = 0;
  for (const Arrived& each : arrived_) {
    const std::uint64_t begin = base_ + begin_;
    into.arrived.push_back({static_cast<std::uint32_t>(std::max(each.position, begin) - begin),
                            static_cast<std::uint8_t>(each.fds.size()), each.lost});
    for (const UniqueFd& fd : each.fds) {
      if (auto done = fds.put_copy(state::fd_name(kIncoming, next++), fd.get()); !done) return done;
    }
  }
  return {};
}

Result<void> MessageStream::save_socket(state::FdBag& fds) const { return fds.put_copy(kConnection, socket_.get()); }

tl::expected<void, std::string> MessageStream::load(const SavedStream& from, const state::FdBag& fds,
                                                    std::uint32_t deaths) {
  const auto bad = [](const char* why) { return tl::unexpected(std::string{"the saved session "} + why); };
  if (from.in.size() > in_.size()) return bad("has received more than there is room for");
  if (!are_places(from.arrived, from.in.size())) return bad("has descriptors where there are no bytes");
  unsigned next = 0;
  for (const SavedStream::WithFds& each : from.arrived) {
    if (each.fds > kMaxHeldFds) return bad("has more descriptors than there is room for");
    Arrived& arrived = arrived_.emplace_back(Arrived{each.position, {}, each.lost});
    for (unsigned i = 0; i < each.fds; ++i) {
      auto fd = fds.copy(state::fd_name(kIncoming, next++));
      if (!fd) return tl::unexpected(fd.error().text());
      arrived.fds.push_back(std::move(*fd));
    }
  }
  std::ranges::copy(std::as_bytes(std::span{from.in}), in_.begin());
  end_ = from.in.size();
  const auto out = std::as_bytes(std::span{from.out});
  out_.assign(out.begin(), out.end());
  if (record_ == nullptr) return {};
  std::vector<ipc::StreamFds> numbers;
  for (const Arrived& each : arrived_)
    numbers.push_back(numbers_of(each));
  auto begun = record_->begin_with(std::as_bytes(std::span{from.in}), numbers, deaths);
  if (!begun) return tl::unexpected(begun.error().text());
  return {};  // what is queued gets there with the first commit()
}

}  // namespace vmux::vhost_user
