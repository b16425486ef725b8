// SPDX-License-Identifier: BSD-3-Clause
// Memory that the front end gives and takes back, and the log of what is written there.
#include <algorithm>
#include <array>
#include <utility>

#include "vhost_user/session.hpp"
#include "vhost_user/session_reply.hpp"
#include "vmux/base/clock.hpp"
#include "wire/virtio.hpp"

namespace vmux::vhost_user {
namespace {

namespace wv = wire::vhost_user;

constexpr std::uint64_t kLogShare = 20;  // a look takes a twentieth of the time, however large the guest

}  // namespace

// Rings stop first, whatever the new table has: an access between the old regions' end and the new ones' begin would
// look like a guest's mistake. They go on where they were, if they lie in what there is now.
Result<void> Session::set_mem_table(const Message& message) {
  const auto table = body_of<wv::MemoryTable>(message.payload);
  const std::size_t count = table.count;
  if (count > wv::kMaxTableRegions || message.payload.size() != sizeof table + count * sizeof(wv::Region)) {
    return fail(Errc::protocol, "its length does not fit the number of regions");
  }
  if (message.fds.size() != count) return fail(Errc::protocol, "there is not a descriptor for each region");
  std::array<Region, wv::kMaxTableRegions> regions;
  for (std::size_t i = 0; i < count; ++i) {
    const auto raw = message.payload.subspan(sizeof table + i * sizeof(wv::Region));
    regions[i] = Region::of(body_of<wv::Region>(raw));
  }
  stop_rings();
  carry_over_log();
  auto replaced = map_.replace(std::span{regions}.first(count), message.fds, hold_up());
  if (!replaced) is_held_up_ = false;
  start_rings();
  return replaced;
}

Result<void> Session::add_mem_reg(const Message& message) {
  auto added = map_.add(Region::of(body_of<wv::SingleRegion>(message.payload).region), std::move(message.fds.front()));
  start_rings();
  return added;
}

Result<void> Session::rem_mem_reg(const Message& message) {
  stop_rings();
  carry_over_log();
  auto removed = map_.remove(Region::of(body_of<wv::SingleRegion>(message.payload).region), hold_up());
  if (!removed) is_held_up_ = false;
  start_rings();
  return removed;
}

// A reply is waited for, whatever the flags say. What has been marked so far goes into the log that there was.
Result<void> Session::set_log_base(const Message& message) {
  const auto log = body_of<wv::Log>(message.payload);
  carry_over_log();
  auto created = DirtyLog::create(std::move(message.fds.front()), log.offset, log.size);
  if (!created) return tl::unexpected(created.error());
  if (context_.recorder != nullptr && log_) departed_logs_.push_back(std::move(log_));
  log_ = std::move(*created);
  put_reply(stream_, message.header, wv::U64{0});
  return {};
}

Result<void> Session::set_logging(bool is_on) {
  if (is_on == context_.memory.is_logging()) return {};
  if (!is_on) {
    carry_over_log();
    context_.memory.stop_dirty_log();
    log_timer_.disarm();
    return {};
  }
  if (!log_) return fail(Errc::invalid_argument, "there is no dirty log");
  auto started = context_.memory.start_dirty_log();
  if (started) log_timer_.arm_after(kLogPeriod_ns);
  return started;
}

// A ring may have its used ring logged elsewhere than where it lies ("log_guest_addr"): that may have changed whenever
// we look.
void Session::carry_over_log() {
  if (!log_ || !context_.memory.is_logging()) return;
  log_->take_from(context_.memory);
  for (const Ring& ring : rings_) {
    if (!ring.addresses || (ring.addresses->flags & wv::kRingLogged) == 0) continue;
    const std::uint64_t size = is_packed() ? 4 : wire::virtio::split::avail_event(ring.size) + 2;
    const auto at = map_.guest_address(ring.addresses->used, size);
    if (!at || at->raw != ring.addresses->log) log_->mark(ring.addresses->log, size);
  }
}

void Session::on_log_timer() {
  const std::uint64_t start = monotonic_ns();
  carry_over_log();
  const std::uint64_t took = monotonic_ns() - start;
  log_timer_.arm_after(std::max(kLogPeriod_ns, took * kLogShare));
}

}  // namespace vmux::vhost_user
