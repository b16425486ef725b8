// SPDX-License-Identifier: BSD-3-Clause
#include "backend/tap/tap_port.hpp"

#include <sys/epoll.h>

#include <algorithm>

#include "backend/tap/tap_device.hpp"
#include "backend/tap/tap_link.hpp"
#include "backend/tap/tap_queue.hpp"
#include "base/logf.hpp"
#include "packet/flow.hpp"
#include "port/frame_length.hpp"

namespace vmux::backend {
namespace {

using port::DropReason;

constexpr unsigned kMaxQueues = 16;

}  // namespace

TapPort::TapPort(runtime::Poller& poller, std::string name, const packet::Accepts& accepts, TapLink link)
    : poller_(poller),
      name_(std::move(name)),
      accepts_(accepts),
      link_(std::make_unique<TapLink>(std::move(link))),
      is_up_(link_->is_up()) {}

Result<std::unique_ptr<TapPort>> TapPort::create(const TapOptions& options, runtime::Poller& poller) {
  runtime::Poller* const one = &poller;
  auto lanes = create(options, {&one, 1});
  if (!lanes) return tl::unexpected(lanes.error());
  return std::move(lanes->front());
}

Result<TapPort::Lanes> TapPort::create(const TapOptions& options, std::span<runtime::Poller* const> pollers) {
  if (!is_interface_name(options.name)) {
    return fail(Errc::invalid_argument,
                "a tap interface's name has 1 to 15 characters, without '/', ':', '%' or space");
  }
  if (options.queues == 0 || options.queues > kMaxQueues) {
    return fail(Errc::invalid_argument, "a tap interface has 1 to 16 queues");
  }
  if (pollers.empty()) return fail(Errc::invalid_argument, "a tap interface needs a poller");
  auto device = options.from.empty() ? open_tap(options.name, options.queues) : adopt_tap(options.from);
  if (!device) return tl::unexpected(device.error());
  const auto mtu = set_up_link(options.name, options.mtu, options.set_link_up);
  if (!mtu) return tl::unexpected(mtu.error());
  const packet::Accepts accepts{.checksum = true,
                                .gso_tcp4 = true,
                                .gso_tcp6 = true,
                                .gso_udp = device->has_udp_gso,
                                .vlan = false,
                                .max_frame = port::max_frame_of(*mtu)};
  Lanes lanes;
  for (runtime::Poller* const poller : pollers.first(std::min<std::size_t>(pollers.size(), options.queues))) {
    auto link = TapLink::open(options.name);
    if (!link) return tl::unexpected(link.error());
    lanes.push_back(std::unique_ptr<TapPort>(new TapPort(*poller, options.name, accepts, std::move(*link))));
  }
  for (std::size_t i = 0; i < device->queues.size(); ++i) {
    auto queue = std::make_unique<TapQueue>(std::move(device->queues[i]), device->header_size);
    lanes[i % lanes.size()]->queues_.push_back(std::move(queue));
  }
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    auto ok = pollers[i]->call([&lane = *lanes[i]] { return lane.watch_all(); });
    if (!ok) return tl::unexpected(ok.error());
  }
  return lanes;
}

std::vector<int> TapPort::queue_fds() const {
  std::vector<int> fds;
  for (const auto& queue : queues_)
    fds.push_back(queue->fd());
  return fds;
}

// Edges: whoever is to wait with what it has (a limit of the switch) is not asked for it meanwhile, and the kernel must
// not keep the poller awake with frames that nobody reads. take() reads until there are no more.
Result<void> TapPort::watch_all() {
  for (const auto& queue : queues_) {
    auto watch = poller_.watch(queue->fd(), EPOLLIN | EPOLLET,
                               [this, q = queue.get()](std::uint32_t events) { on_event(*q, events); });
    if (!watch) return tl::unexpected(watch.error());
    queue->watch = std::move(*watch);
  }
  auto watch = poller_.watch(link_->fd(), EPOLLIN, [this](std::uint32_t) { follow_link(); });
  if (!watch) return tl::unexpected(watch.error());
  link_->watch = std::move(*watch);
  return {};
}

void TapPort::unwatch_all() noexcept {
  link_->watch.reset();
  for (const auto& queue : queues_)
    queue->watch.reset();
}

TapPort::~TapPort() {
  poller_.call([this] { unwatch_all(); });
}

void TapPort::follow_link() noexcept {
  if (!link_->read_news()) return;
  is_up_ = link_->is_up();
  accepts_.max_frame = port::max_frame_of(link_->mtu());
}

void TapPort::on_event(TapQueue& queue, std::uint32_t events) noexcept {
  // A deleted interface reports an error for ever: a read tells which.
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    give_up(EBADFD);
    return;
  }
  queue.set_readable();
}

void TapPort::give_up(int error) noexcept {
  if (is_gone()) return;
  gone_.add();
  unwatch_all();
  logf(LogLevel::error, "uplink {}: the tap interface is gone (errno {}); its port stays silent", name_, error);
}

std::size_t TapPort::take(std::span<packet::FrameView> into) noexcept {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const std::size_t at = (next_ + i) % queues_.size();
    const std::size_t count = queues_[at]->peek(into, counters().drops(DropReason::malformed));
    if (queues_[at]->gone_errno() != 0) give_up(queues_[at]->gone_errno());
    if (count == 0) continue;
    current_ = at;
    return count;
  }
  return 0;
}

void TapPort::finish(std::span<const port::FrameResult> results) noexcept {
  queues_[current_]->complete(results.size());
  next_ = queues_[current_]->is_empty() ? (current_ + 1) % queues_.size() : current_;
}

port::Delivery TapPort::deliver(std::span<const packet::FrameView> frames) noexcept {
  port::Delivery done;
  while (done.taken < frames.size() && !is_gone() && write_frame(frames[done.taken], done))
    ++done.taken;
  return done;
}

// False when the kernel has no room. What fails for another reason is lost, and has been taken.
bool TapPort::write_frame(const packet::FrameView& view, port::Delivery& done) noexcept {
  TapQueue& queue = queue_for(view);
  packet::Pieces pieces{view, accepts_};
  if (pieces.count() == 0) done.lose(DropReason::malformed, view.length, done.taken);
  bool any_written = false;
  while (const packet::Piece* piece = pieces.next()) {
    switch (queue.write(pieces, *piece)) {
      case TapOutcome::done:
        any_written = true;
        break;
      case TapOutcome::again:
        if (!any_written) return false;
        done.lose(DropReason::no_room, view.length, done.taken);
        return true;
      case TapOutcome::down:
        done.lose(DropReason::not_ready, view.length, done.taken);
        return true;
      case TapOutcome::refused:
        done.lose(DropReason::malformed, view.length, done.taken);
        return true;
      case TapOutcome::gone:
        give_up(queue.gone_errno());
        return false;
    }
  }
  return true;
}

// A flow stays in one queue, so that its frames stay in order.
TapQueue& TapPort::queue_for(const packet::FrameView& view) noexcept {
  if (queues_.size() == 1) return *queues_.front();
  return *queues_[(packet::flow_hash(view.header) >> 16) % queues_.size()];  // other bits than may have chosen the lane
}

packet::Accepts TapPort::accepts() const noexcept { return accepts_; }

}  // namespace vmux::backend
