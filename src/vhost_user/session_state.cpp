// SPDX-License-Identifier: BSD-3-Clause
// A session that goes on in another object: saved between two events, perhaps in the middle of a message.
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "ipc/left_behind.hpp"
#include "vhost_user/saved_session.hpp"
#include "vhost_user/session.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"
#include "wire/virtio.hpp"

namespace vmux::vhost_user {
namespace {

namespace wv = wire::vhost_user;

constexpr std::uint64_t kLongestWait_ns = 86'400'000'000'000;  // a day, for the first request
constexpr std::string_view kKick = "kick", kCall = "call", kError = "error";
const std::string kLog = "log", kChannel = "channel";

std::optional<SavedRing::Addresses> plain(const std::optional<wv::RingAddresses>& from) {
  if (!from) return std::nullopt;
  return SavedRing::Addresses{from->flags, from->descriptors, from->used, from->available, from->log};
}

wv::RingAddresses addresses_of(unsigned index, const SavedRing::Addresses& from) noexcept {
  wv::RingAddresses made;
  made.index = index;
  made.flags = from.flags;
  made.descriptors = from.descriptors;
  made.used = from.used;
  made.available = from.available;
  made.log = from.log;
  return made;
}

/// What the record of a process that has died says. Nothing that we send has descriptors.
SavedStream stream_of(ipc::SavedStream left) {
  return {std::move(left.in), std::move(left.out), std::move(left.arrived)};
}

tl::unexpected<std::string> bad(const char* why) { return tl::unexpected(std::string{"the saved session "} + why); }

}  // namespace

// For whoever goes on, all pages are dirty once; for the front end these have to be, if nobody does.
void Session::log_all() noexcept {
  carry_over_log();
  carry_over_log();  // readers of other pollers: see AddressSpace::take_dirty()
}

Result<void> Session::save(state::Writer& into, state::FdBag& fds, bool with_stream) const {
  if (!with_stream) context_.memory.keep_departed();
  SavedSession saved;
  saved.protocol_features = protocol_features_;
  saved.features = features_;
  saved.accepted = accepted_;
  saved.status = status_;
  saved.has_spoken = has_spoken_;
  if (speak_by_ns_ != 0 && !has_spoken_) saved.speak_by_ns = speak_by_ns_ - std::min(speak_by_ns_, monotonic_ns());
  if (held_up_) saved.held_up = SavedSession::HeldUp{held_up_->request, held_up_->flags};
  if (log_) {
    saved.log = SavedSession::Log{log_->offset(), log_->size()};
    if (auto done = fds.put_copy(kLog, log_->fd()); !done) return done;
  }
  if (const int channel = context_.calls.channel(); channel >= 0) {
    if (auto done = fds.put_copy(kChannel, channel); !done) return done;
  }
  saved.regions = map_.save();
  if (auto done = save_rings(saved, fds); !done) return done;
  if (auto done = with_stream ? stream_.save(saved.stream, fds) : stream_.save_socket(fds); !done) return done;
  into.add(saved);
  return context_.memory.save(into, fds);
}

Result<void> Session::save_rings(SavedSession& into, state::FdBag& fds) const {
  for (unsigned i = 0; i < rings_.size(); ++i) {
    const Ring& ring = rings_[i];
    const pci::IrqSink& call = std::as_const(context_.calls)[i];
    const int error = context_.calls.error(i);
    SavedRing& saved = into.rings.emplace_back(SavedRing{.size = ring.size,
                                                         .addresses = plain(ring.addresses),
                                                         .state = ring.state,
                                                         .base = ring.base,
                                                         .enabled = ring.enabled,
                                                         .has_kick = ring.has_kick,
                                                         .has_kick_fd = static_cast<bool>(ring.kick),
                                                         .has_call = call.has_listener(),
                                                         .has_error = error >= 0,
                                                         .runs = ring.runs});
    if (ring.runs) saved.state = context_.device.queue_state(i);
    const auto keep = [&fds, i](bool is_there, std::string_view kind, int fd) -> Result<void> {
      if (!is_there) return {};
      return fds.put_copy(state::fd_name(kind, i), fd);
    };
    if (auto kept = keep(saved.has_kick_fd, kKick, ring.kick.get()); !kept) return kept;
    if (auto kept = keep(saved.has_call, kCall, call.fd()); !kept) return kept;
    if (auto kept = keep(saved.has_error, kError, error); !kept) return kept;
  }
  return {};
}

void Session::let_go() noexcept {
  detach();
  ended_callback_ = nullptr;
  stream_.let_go();
}

tl::expected<void, std::string> Session::adopt(state::Reader& from, const state::FdBag& fds) {
  const auto adopted = [&]() -> tl::expected<void, std::string> {
    SavedSession saved;
    if (auto done = from.load(saved); !done) return done;
    ipc::LeftStream left;
    if (from.has(ipc::LeftStream::kSection)) {
      if (auto done = from.load(left); !done) return done;
      saved.stream = stream_of(std::move(left.stream));
    }
    if (auto done = context_.memory.load(from, fds); !done) return done;
    return load(saved, fds, left.deaths);
  }();
  if (!adopted) let_go();
  return adopted;
}

tl::expected<void, std::string> Session::load(const SavedSession& saved, const state::FdBag& fds,
                                              std::uint32_t deaths) {
  if ((saved.protocol_features & ~offered_protocol_features()) != 0 || (saved.features & ~offered_features()) != 0 ||
      (saved.accepted.value_or(0) & ~offered_features()) != 0) {
    return bad("has agreed upon what is not offered here");
  }
  if (saved.rings.size() != rings_.size()) return bad("has another number of rings");
  if (!map_.load(saved.regions)) return bad("has memory that is not the guest's");
  protocol_features_ = saved.protocol_features;
  features_ = saved.features;
  if (saved.accepted && !context_.device.accept(*saved.accepted)) return bad("has features that do not go together");
  accepted_ = saved.accepted;
  status_ = saved.status;
  has_spoken_ = saved.has_spoken;
  if (saved.speak_by_ns) speak_by_ns_ = monotonic_ns() + std::min(*saved.speak_by_ns, kLongestWait_ns);
  if (saved.held_up) held_up_ = Header{saved.held_up->request, saved.held_up->flags, 0};
  if (saved.log) {
    auto fd = fds.copy(kLog);
    auto log = fd ? DirtyLog::create(std::move(*fd), saved.log->offset, saved.log->size) : tl::unexpected(fd.error());
    if (!log) return tl::unexpected(log.error().text());
    log_ = std::move(*log);
  } else if (context_.memory.is_logging()) {
    return bad("logs what is written, and has no log");
  }
  if (auto channel = fds.copy(kChannel)) static_cast<void>(context_.calls.set_channel(std::move(*channel)));
  for (unsigned i = 0; i < rings_.size(); ++i) {
    if (auto done = load_ring(i, saved.rings[i], fds); !done) return done;
  }
  return stream_.load(saved.stream, fds, deaths);
}

// Who listens comes first: the ring runs from its start on.
tl::expected<void, std::string> Session::load_ring(unsigned index, const SavedRing& saved, const state::FdBag& fds) {
  Ring& ring = rings_[index];
  const auto take = [&fds, index](bool is_there, std::string_view kind) -> Result<UniqueFd> {
    return is_there ? fds.copy(state::fd_name(kind, index)) : UniqueFd{};
  };
  auto kick = take(saved.has_kick_fd, kKick), call = take(saved.has_call, kCall), error = take(saved.has_error, kError);
  for (auto* const fd : {&kick, &call, &error}) {
    if (!*fd) return tl::unexpected(fd->error().text());
    if (!**fd) continue;
    auto checked = check_eventfd(**fd);
    // A call that was taken away when its process died is a descriptor that goes nowhere: the request comes again.
    if (!checked && fd == &call) {
      call->reset();
      continue;
    }
    if (!checked) return tl::unexpected(checked.error().text());
  }
  ring.kick = std::move(*kick);
  if (*call) {
    pci::IrqSink& sink = context_.calls[index];
    if (auto prepared = sink.prepare(); !prepared) return tl::unexpected(prepared.error().text());
    sink.replace(*call);
  }
  static_cast<void>(context_.calls.set_error(index, std::move(*error)));
  if (saved.size > wire::virtio::kMaxSplitSize) return bad("has a ring larger than any");
  ring.size = saved.size;
  if (saved.addresses) ring.addresses = addresses_of(index, *saved.addresses);
  ring.state = saved.state;
  ring.base = saved.base;
  ring.enabled = saved.enabled;
  ring.has_kick = saved.has_kick;
  if (!saved.runs) return {};
  const auto setup = should_run(ring) ? setup_of(ring) : std::nullopt;
  if (!setup || !virtio::can_be(*setup) || !virtio::can_be(*setup, saved.state)) {
    return bad("has a ring that there cannot be");
  }
  context_.device.start_queue(index, *setup, saved.state);
  ring.runs = true;
  return {};
}

// A first turn comes at once, for what had been received and not served, or queued and not sent. Nobody reads old
// memory any more: the readers for which an answer waited were the other object's.
Result<void> Session::go_on() {
  watched_ = EPOLLIN;
  auto watch = context_.poller.watch(stream_.fd(), watched_, [this](std::uint32_t events) { on_ready(events); });
  if (!watch) return tl::unexpected(watch.error());
  watch_ = std::move(*watch);
  for (unsigned i = 0; i < rings_.size(); ++i) {
    if (auto watched = watch_kick(i); !watched) return watched;
    if (rings_[i].runs) context_.device.kicked(i);  // the signal may have been read by the one before
  }
  if (context_.memory.is_logging()) log_timer_.arm_after(kLogPeriod_ns);
  more_.arm_after(0);
  arm_patrol();
  return {};
}

}  // namespace vmux::vhost_user
