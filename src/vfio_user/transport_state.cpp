// SPDX-License-Identifier: BSD-3-Clause
// A stream in the middle of its messages, as saved state.
#include <algorithm>

#include "vfio_user/saved_session.hpp"
#include "vfio_user/transport.hpp"

namespace vmux::vfio_user {
namespace {

using WithFds = SavedStream::WithFds;

std::vector<std::uint8_t> bytes_of(std::span<const std::byte> from) {
  const auto* const first = reinterpret_cast<const std::uint8_t*>(from.data());
  return {first, first + from.size()};
}

/// One after the other, each within the bytes.
bool are_places(std::span<const WithFds> messages, std::size_t size) noexcept {
  const auto is_outside = [size](const WithFds& each) {
    return each.position >= size || each.fds > Transport::kMaxFds;
  };
  const auto comes_late = [](const WithFds& a, const WithFds& b) { return a.position >= b.position; };
  return std::none_of(messages.begin(), messages.end(), is_outside) &&
         std::adjacent_find(messages.begin(), messages.end(), comes_late) == messages.end();
}

Result<std::vector<UniqueFd>> take(const state::FdBag& fds, const std::string& kind, unsigned& next, unsigned count) {
  std::vector<UniqueFd> taken;
  for (unsigned i = 0; i < count; ++i) {
    auto fd = fds.copy(state::fd_name(kind, next++));
    if (!fd) return tl::unexpected(fd.error());
    taken.push_back(std::move(*fd));
  }
  return taken;
}

}  // namespace

Result<void> Transport::save(SavedStream& into, state::FdBag& fds, const std::string& name) const {
  if (in_end_ - in_begin_ > SavedStream::kMostBytes || queued() > SavedStream::kMostBytes) {
    return fail(Errc::no_space, "too many bytes are under way to save them");
  }
  if (arrived_.size() > SavedStream::kMostMessages || departing_.size() > SavedStream::kMostMessages) {
    return fail(Errc::no_space, "too many descriptors are under way to save them");
  }
  if (auto done = fds.put_copy(name, socket_.get()); !done) return done;
  into.in = bytes_of(std::span{in_}.subspan(in_begin_, in_end_ - in_begin_));
  into.out = bytes_of(std::span{out_}.subspan(out_sent_));
  unsigned next = 0;
  for (const Arrived& each : arrived_) {
    const std::uint64_t begin = in_base_ + in_begin_;
    into.arrived.push_back({static_cast<std::uint32_t>(std::max(each.position, begin) - begin),
                            static_cast<std::uint8_t>(each.fds.size()), each.lost});
    for (const UniqueFd& fd : each.fds) {
      if (auto done = fds.put_copy(state::fd_name(name + "/in", next++), fd.get()); !done) return done;
    }
  }
  next = 0;
  for (const Departing& each : departing_) {
    into.departing.push_back({static_cast<std::uint32_t>(each.position - out_base_ - out_sent_),
                              static_cast<std::uint8_t>(each.fds.size()), false});
    for (const int fd : each.fds) {
      if (auto done = fds.put_copy(state::fd_name(name + "/out", next++), fd); !done) return done;
    }
  }
  return {};
}

tl::expected<void, std::string> Transport::load(const SavedStream& from, const state::FdBag& fds,
                                                const std::string& name) {
  const auto bad = [](const char* why) { return tl::unexpected(std::string{"the saved session "} + why); };
  if (from.in.size() > std::max(in_.size(), max_message_)) return bad("has received more than there is room for");
  if (!are_places(from.arrived, from.in.size()) || !are_places(from.departing, from.out.size()))
    return bad("has descriptors where there are no bytes");
  unsigned next = 0;
  for (const WithFds& each : from.arrived) {
    auto taken = take(fds, name + "/in", next, each.fds);
    if (!taken) return tl::unexpected(taken.error().text());
    arrived_.push_back({each.position, std::move(*taken), each.lost});
  }
  next = 0;
  for (const WithFds& each : from.departing) {
    auto taken = take(fds, name + "/out", next, each.fds);
    if (!taken) return tl::unexpected(taken.error().text());
    auto& departing = departing_.emplace_back(Departing{each.position, {}, std::move(*taken)});
    for (const UniqueFd& fd : departing.owned)
      departing.fds.push_back(fd.get());
  }
  in_.resize(std::max(in_.size(), from.in.size()));
  std::ranges::copy(std::as_bytes(std::span{from.in}), in_.begin());
  in_end_ = from.in.size();
  const auto out = std::as_bytes(std::span{from.out});
  out_.assign(out.begin(), out.end());
  if (record_ == nullptr) return {};
  std::vector<StreamFds> numbers;
  for (const Arrived& each : arrived_)
    numbers.push_back(numbers_of(each.position, each.fds, each.lost));
  if (auto begun = record_->begin_with(std::as_bytes(std::span{from.in}), numbers, from.deaths); !begun) {
    return tl::unexpected(begun.error().text());
  }
  return {};  // what is queued gets there with the first commit()
}

}  // namespace vmux::vfio_user
