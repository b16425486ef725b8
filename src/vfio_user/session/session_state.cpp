// SPDX-License-Identifier: BSD-3-Clause
// A session that goes on in another object: saved between two events, perhaps in the middle of a message.
#include <sys/epoll.h>

#include <algorithm>

#include "vfio_user/saved_session.hpp"
#include "vfio_user/session/session.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::vfio_user {
namespace {

constexpr std::uint64_t kLongestWait_ns = 86'400'000'000'000;  // a day, for VERSION
const std::string kConnection = "connection", kTwin = "twin";

std::string io_name(std::size_t region) { return state::fd_name("io", region); }

}  // namespace

Result<void> Session::save(state::Writer& into, state::FdBag& fds, bool with_stream) const {
  VMUX_ASSERT(!ended_ && !(in_event_ && with_stream));
  SavedSession saved;
  saved.is_negotiated = negotiated_;
  saved.has_full_size_errors = full_size_errors_;
  saved.has_write_multiple = write_multiple_;
  saved.peer_max_fds = peer_max_fds_;
  if (version_due_ns_ != 0 && !negotiated_) {
    saved.version_due_ns = version_due_ns_ - std::min(version_due_ns_, monotonic_ns());
  }
  if (pending_unmap_) {
    saved.unmap = SavedSession::Unmap{.id = pending_unmap_->header.id,
                                      .flags = pending_unmap_->header.flags,
                                      .argsz = pending_unmap_->body.argsz,
                                      .body_flags = pending_unmap_->body.flags,
                                      .address = pending_unmap_->body.address,
                                      .size = pending_unmap_->body.size};
  }
  saved.migration = migration_.state();
  for (std::size_t region = 0; region < io_events_.size(); ++region) {
    saved.io_events[region] = static_cast<std::uint16_t>(io_events_[region].size());
    for (std::size_t i = 0; i < io_events_[region].size(); ++i) {
      if (auto done = fds.put_copy(state::fd_name(io_name(region), i), io_events_[region][i].fd.get()); !done) {
        return done;
      }
    }
  }
  if (!dma_.save(saved.dma)) return fail(Errc::no_space, "too many transfers by message are under way to save them");
  if (with_stream) {
    if (auto done = transport_.save(saved.stream, fds, kConnection); !done) return done;
  } else if (auto done = fds.put_copy(kConnection, transport_.fd()); !done) {
    return done;
  }
  if (twin_) {
    if (auto done = twin_->transport().save(saved.twin.emplace(), fds, kTwin); !done) return done;
  }
  into.add(saved);
  return {};
}

void Session::let_go() noexcept {
  detach();
  ended_callback_ = nullptr;
  dma_.forget();
  transport_.let_go();
  if (twin_) twin_->transport().let_go();
}

tl::expected<void, std::string> Session::adopt(state::Reader& from, const state::FdBag& fds) {
  SavedSession saved;
  auto adopted = [&]() -> tl::expected<void, std::string> {
    if (auto done = from.load(saved); !done) return done;
    if (from.has(LeftStream::kSection)) {
      LeftStream left;
      if (auto done = from.load(left); !done) return done;
      saved.stream = std::move(left.stream);
      saved.stream.deaths = left.deaths;
    }
    if (auto done = load(saved, fds); !done) return done;
    if (auto done = dma_.load(std::move(saved.dma)); !done) return done;
    if (!negotiated_) return {};
    auto& endpoint = context_.endpoint;
    if (auto done = endpoint.adopt(from, fds, full_size_errors_ ? nullptr : &dma_); !done) return done;
    return dma_.claim([&](bool is_write, Iova at, std::size_t size) { return endpoint.claim_dma(is_write, at, size); });
  }();
  if (!adopted) let_go();
  return adopted;
}

tl::expected<void, std::string> Session::load(const SavedSession& saved, const state::FdBag& fds) {
  const auto bad = [](const char* why) { return tl::unexpected(std::string{"the saved session "} + why); };
  negotiated_ = saved.is_negotiated;
  full_size_errors_ = saved.has_full_size_errors;
  write_multiple_ = saved.has_write_multiple;
  peer_max_fds_ = saved.peer_max_fds;
  if (saved.version_due_ns) version_due_ns_ = monotonic_ns() + std::min(*saved.version_due_ns, kLongestWait_ns);
  if (!migration_.load(saved.migration)) return bad("migrates in a way that there is not");
  if (migration_.state() != MigrationState::running && context_.endpoint.migration() == nullptr) {
    return bad("migrates a device that does not");
  }
  if (auto done = transport_.load(saved.stream, fds, kConnection); !done) return done;
  if (saved.twin) {
    auto ours = fds.copy(kTwin);
    if (!ours) return tl::unexpected(ours.error().text());
    twin_.emplace(TwinSocket::adopt(std::move(*ours), context_.options.max_transfer));
    if (auto done = twin_->transport().load(*saved.twin, fds, kTwin); !done) return done;
    dma_.go_over(twin_->transport());
  }
  for (std::size_t region = 0; region < io_events_.size(); ++region) {
    const std::size_t count = saved.io_events[region];
    if (count == 0) continue;
    if (count > context_.endpoint.region(static_cast<pci::Region>(region)).io_events.size()) {
      return bad("has eventfds for writes that there are not");
    }
    for (std::size_t i = 0; i < count; ++i) {
      auto fd = fds.copy(state::fd_name(io_name(region), i));
      if (!fd) return tl::unexpected(fd.error().text());
      io_events_[region].push_back({std::move(*fd), {}});
    }
  }
  if (!saved.unmap) return {};
  auto& [header, body] = pending_unmap_.emplace();
  header.id = saved.unmap->id;
  header.command = static_cast<std::uint16_t>(wire::vfio_user::Command::dma_unmap);
  header.flags = saved.unmap->flags;
  body.argsz = saved.unmap->argsz;
  body.flags = saved.unmap->body_flags;
  body.address = saved.unmap->address;
  body.size = saved.unmap->size;
  return {};
}

// The first event comes at once, for what had been received and not served, or queued and not sent.
Result<void> Session::go_on() {
  // Nobody reads the memory any more: the readers for which this reply waited were the other object's.
  if (pending_unmap_) reply_unmap(*std::exchange(pending_unmap_, std::nullopt));
  is_behind_ = true;
  watched_ = EPOLLIN | EPOLLOUT;
  auto watch = context_.poller.watch(transport_.fd(), watched_, [this](std::uint32_t events) { on_ready(events); });
  if (!watch) return tl::unexpected(watch.error());
  watch_ = std::move(*watch);
  if (twin_) {
    if (auto done = twin_->watch(context_.poller, [this] { on_twin_ready(); }); !done) return done;
  }
  for (std::uint32_t region = 0; region < io_events_.size(); ++region) {
    std::vector<UniqueFd> fds;
    for (IoEventFd& each : io_events_[region])
      fds.push_back(std::move(each.fd));
    if (auto done = watch_io_events(region, std::move(fds)); !done) return done;
  }
  watch_intx_unmask();
  arm_patrol();
  return {};
}

}  // namespace vmux::vfio_user
