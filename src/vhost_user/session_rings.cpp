// SPDX-License-Identifier: BSD-3-Clause
// Rings: what is said of them, one thing at a time and in any order, and when they run.
//
// A ring runs when it has a size, addresses and a kick (or the word that there is none), is enabled, and features have
// been accepted; from then on, without a first kick being waited for, as that may have come before. It stops when one
// of these ends, and at GET_VRING_BASE. A ring that is not enabled stands still: what its driver sends waits.
#include <sys/epoll.h>
#include <cstring>

#include <utility>

#include "base/logf.hpp"
#include "vhost_user/session.hpp"
#include "vhost_user/session_reply.hpp"
#include "vmux/memory/ordered.hpp"
#include "wire/virtio.hpp"

namespace vmux::vhost_user {
namespace {

namespace wv = wire::vhost_user;
namespace split = wire::virtio::split;
using virtio::QueueState;

constexpr std::uint32_t kMaxSize = wire::virtio::kMaxSplitSize;

/// "SET_VRING_BASE": of a split ring the next available index. Who says nothing of the used index of a packed one had
/// completed all that it had taken.
QueueState state_of(std::uint32_t base, bool is_packed) noexcept {
  QueueState state;
  if (!is_packed) {
    state.next_avail = static_cast<std::uint16_t>(base);
    return state;
  }
  const std::uint32_t avail = base & 0xffff;
  const std::uint32_t used = (base >> wv::kPackedUsedShift) != 0 ? base >> wv::kPackedUsedShift : avail;
  state.next_avail = static_cast<std::uint16_t>(avail & wv::kPackedIndexMask);
  state.avail_wrap = (avail & wv::kPackedWrap) != 0;
  state.next_used = static_cast<std::uint16_t>(used & wv::kPackedIndexMask);
  state.used_wrap = (used & wv::kPackedWrap) != 0;
  return state;
}

std::uint32_t base_of(const QueueState& state, bool is_packed) noexcept {
  if (!is_packed) return state.next_avail;
  const std::uint32_t avail = state.next_avail | (state.avail_wrap ? wv::kPackedWrap : 0u);
  const std::uint32_t used = state.next_used | (state.used_wrap ? wv::kPackedWrap : 0u);
  return avail | used << wv::kPackedUsedShift;
}

}  // namespace

bool Session::is_packed() const noexcept { return (accepted_.value_or(0) & wire::virtio::feature::ring_packed) != 0; }

// Without PROTOCOL_FEATURES nobody ever says so.
bool Session::is_enabled(const Ring& ring) const noexcept {
  return ring.enabled.value_or((features_ & wv::feature::protocol_features) == 0);
}

Result<void> Session::set_vring_num(const Message& message) {
  const auto body = body_of<wv::RingState>(message.payload);
  Ring* const ring = this->ring(body.index);
  if (ring == nullptr) return fail(Errc::protocol, "there is no such ring");
  if (body.num == 0 || body.num > kMaxSize) return fail(Errc::protocol, "a size that no ring has");
  if (ring->runs && ring->size != body.num) return fail(Errc::busy, "the ring runs");
  ring->size = static_cast<std::uint16_t>(body.num);
  return update_ring(body.index);
}

// While the ring runs, this says whether its used ring is logged; it may also move it.
Result<void> Session::set_vring_addr(const Message& message) {
  const auto body = body_of<wv::RingAddresses>(message.payload);
  Ring* const ring = this->ring(body.index);
  if (ring == nullptr) return fail(Errc::protocol, "there is no such ring");
  const auto& old = ring->addresses;
  if (old && std::memcmp(&*old, &body, sizeof body) == 0) return update_ring(body.index);
  const bool stays =
      old && old->descriptors == body.descriptors && old->available == body.available && old->used == body.used;
  if (!stays) stop_ring(body.index);
  carry_over_log();
  ring->addresses = body;
  return update_ring(body.index);
}

Result<void> Session::set_vring_base(const Message& message) {
  const auto body = body_of<wv::RingState>(message.payload);
  Ring* const ring = this->ring(body.index);
  if (ring == nullptr) return fail(Errc::protocol, "there is no such ring");
  if (ring->runs) return fail(Errc::busy, "the ring runs");
  ring->base = body.num;
  return update_ring(body.index);
}

// The ring stops, and is not reset: its state stays. What it has written is in the log when the reply goes out.
Result<void> Session::get_vring_base(const Message& message) {
  const auto body = body_of<wv::RingState>(message.payload);
  Ring* const ring = this->ring(body.index);
  if (ring == nullptr) return fail(Errc::protocol, "there is no such ring");
  const bool ran = ring->runs;
  stop_ring(body.index);
  ring->watch.reset();
  depart(std::move(ring->kick));
  ring->has_kick = false;
  if (ran) {
    carry_over_log();
    carry_over_log();  // readers of other pollers: see AddressSpace::take_dirty()
  }
  put_reply(stream_, message.header, wv::RingState{body.index, ring->base.value_or(base_of(ring->state, is_packed()))});
  return {};
}

Result<Session::RingFd> Session::take_ring_fd(const Message& message) noexcept {
  const std::uint64_t raw = body_of<wv::U64>(message.payload);
  const std::uint64_t index = raw & wv::kRingIndexMask;
  if ((raw & ~(wv::kRingIndexMask | wv::kRingWithoutFd)) != 0) return fail(Errc::protocol, "flags that are not known");
  if (ring(index) == nullptr) return fail(Errc::protocol, "there is no such ring");
  const bool has_none = (raw & wv::kRingWithoutFd) != 0;
  if (has_none == !message.fds.empty()) return fail(Errc::protocol, "a descriptor is missing, or one too many");
  RingFd found{static_cast<unsigned>(index), {}};
  if (has_none) return found;
  found.fd = std::move(message.fds.front());
  if (auto checked = check_eventfd(found.fd); !checked) return tl::unexpected(checked.error());
  return found;
}

Result<void> Session::set_vring_kick(const Message& message) {
  auto taken = take_ring_fd(message);
  if (!taken) return tl::unexpected(taken.error());
  const unsigned index = taken->index;
  Ring& ring = rings_[index];
  ring.watch.reset();
  depart(std::exchange(ring.kick, std::move(taken->fd)));
  ring.has_kick = true;
  if (auto watched = watch_kick(index); !watched) return watched;
  if (ring.runs) context_.device.kicked(index);  // a signal may be left in the one before
  return update_ring(index);
}

// Can come at any time: QEMU swaps it as the guest masks its vector. What was signalled to the one before may have been
// read by nobody, and a signal too many does no harm.
Result<void> Session::set_vring_call(const Message& message) {
  auto taken = take_ring_fd(message);
  if (!taken) return tl::unexpected(taken.error());
  pci::IrqSink& sink = context_.calls[taken->index];
  if (!taken->fd) {
    sink.drop();
    context_.device.call_changed(taken->index);
    return {};
  }
  if (auto prepared = sink.prepare(); !prepared) return prepared;
  sink.replace(taken->fd);
  context_.device.call_changed(taken->index);
  if (rings_[taken->index].runs) sink.signal();
  return {};
}

Result<void> Session::set_vring_err(const Message& message) {
  auto taken = take_ring_fd(message);
  if (!taken) return tl::unexpected(taken.error());
  depart(context_.calls.set_error(taken->index, std::move(taken->fd)));
  return {};
}

// Can come before anything else is said of the ring, and before features.
Result<void> Session::set_vring_enable(const Message& message) {
  const auto body = body_of<wv::RingState>(message.payload);
  Ring* const ring = this->ring(body.index);
  if (ring == nullptr) return fail(Errc::protocol, "there is no such ring");
  if (body.num > 1) return fail(Errc::protocol, "a ring is enabled or is not");
  ring->enabled = body.num == 1;
  return update_ring(body.index);
}

bool Session::should_run(const Ring& ring) const noexcept {
  return ring.size != 0 && ring.addresses && ring.has_kick && is_enabled(ring) && accepted_;
}

Result<void> Session::update_ring(unsigned index) {
  const Ring& ring = rings_[index];
  const bool is_to_run = should_run(ring);
  if (is_to_run == ring.runs) return {};
  if (is_to_run) return start_ring(index);
  stop_ring(index);
  return {};
}

void Session::stop_ring(unsigned index) noexcept {
  Ring& ring = rings_[index];
  if (!std::exchange(ring.runs, false)) return;
  ring.state = context_.device.stop_queue(index);
}

void Session::stop_rings() noexcept {
  for (unsigned i = 0; i < rings_.size(); ++i)
    stop_ring(i);
}

void Session::start_rings() noexcept {
  for (unsigned i = 0; i < rings_.size(); ++i) {
    if (auto updated = update_ring(i); !updated && complaints_.allow()) {
      logf(LogLevel::warning, "{}: ring {} stands still: {}", context_.options.name, i, updated.error().text());
    }
  }
}

std::optional<virtio::QueueSetup> Session::setup_of(const Ring& ring) const noexcept {
  const std::uint64_t features = accepted_.value_or(0);
  virtio::QueueSetup setup;
  setup.size = ring.size;
  setup.is_packed = is_packed();
  setup.has_event_idx = (features & wire::virtio::feature::event_idx) != 0;
  setup.has_indirect = (features & wire::virtio::feature::indirect_desc) != 0;
  const std::uint64_t for_driver = setup.is_packed ? 4 : split::used_event(ring.size) + 2;
  const std::uint64_t for_device = setup.is_packed ? 4 : split::avail_event(ring.size) + 2;
  const auto descriptors = map_.guest_address(ring.addresses->descriptors, std::uint64_t{ring.size} * 16);
  const auto driver = map_.guest_address(ring.addresses->available, for_driver);
  const auto device = map_.guest_address(ring.addresses->used, for_device);
  if (!descriptors || !driver || !device) return std::nullopt;
  setup.descriptors = *descriptors;
  setup.driver = *driver;
  setup.device = *device;
  return setup;
}

Result<void> Session::start_ring(unsigned index) {
  Ring& ring = rings_[index];
  const auto setup = setup_of(ring);
  if (!setup) return fail(Errc::out_of_range, "a ring lies outside the memory that was given");
  if (!virtio::can_be(*setup)) return fail(Errc::invalid_argument, "a ring that there cannot be");
  QueueState state = ring.base ? state_of(*ring.base, setup->is_packed) : ring.state;
  state.fault = virtio::Fault::none;
  if (!setup->is_packed) {
    // Where the driver believes us to be: that of a guest that has been reset begins at 0 again.
    const auto used = reader_.borrow(Iova{setup->device.raw + split::index}, ByteCount{2});
    if (used.size() != 2) return fail(Errc::out_of_range, "a ring lies outside the memory that was given");
    state.next_used = memory::load_acquire16(used, 0);
  }
  if (!virtio::can_be(*setup, state)) return fail(Errc::invalid_argument, "an index beyond the ring");
  ring.base.reset();
  // Whoever goes on with an image in which the ring stands still must find that nothing has been taken from it.
  if (context_.recorder != nullptr && !std::exchange(holds_dma_, true)) context_.device.set_dma(false);
  context_.device.start_queue(index, *setup, state);
  ring.runs = true;
  context_.device.kicked(index);
  return {};
}

Result<void> Session::watch_kick(unsigned index) {
  Ring& ring = rings_[index];
  if (!ring.kick) return {};
  auto watch =
      context_.poller.watch(ring.kick.get(), EPOLLIN | EPOLLET, [this, index](std::uint32_t) { on_kick(index); });
  if (!watch) return tl::unexpected(watch.error());
  ring.watch = std::move(*watch);
  return {};
}

void Session::on_kick(unsigned index) noexcept {
  Ring& ring = rings_[index];
  if (drain_peer_eventfd(ring.kick.get()) == 0) return;
  context_.counters.kicks.add();
  if (ring.runs) context_.device.kicked(index);
}

}  // namespace vmux::vhost_user
