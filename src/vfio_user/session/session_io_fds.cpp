// SPDX-License-Identifier: BSD-3-Clause
// GET_REGION_IO_FDS: writes that come through eventfds, from KVM and not from the client.
#include <sys/epoll.h>

#include <algorithm>

#include "base/logf.hpp"
#include "vfio_user/session/session.hpp"

namespace vmux::vfio_user {

using wire::vfio_user::put;

// Only as many as the client takes descriptors in a message: the other writes come as messages, as they all may.
Result<Session::Outcome> Session::handle_get_region_io_fds(const Request& request) {
  const auto asked = wire::vfio_user::decode_get_region_io_fds(request.payload);
  if (!asked) return tl::unexpected(asked.error());
  if (asked->index >= pci::kRegionCount) return fail(Errc::invalid_argument, "index is out of range");
  const pci::RegionInfo region = context_.endpoint.region(static_cast<pci::Region>(asked->index));
  if (region.size == 0) return fail(Errc::invalid_argument, "the region does not exist");

  const std::size_t count = std::min<std::uint64_t>({region.io_events.size(), peer_max_fds_, Transport::kMaxFds});
  const auto events = std::span{region.io_events}.first(count);
  wire::vfio_user::RegionIoFds info;
  info.argsz = static_cast<std::uint32_t>(sizeof info + count * sizeof(wire::vfio_user::SubRegionIoFd));
  info.index = asked->index;
  info.count = static_cast<std::uint32_t>(count);
  if (count == 0 || asked->argsz < info.argsz) {
    put(reply(request.header, sizeof info), info);
    return Outcome::replied;
  }
  if (auto done = open_io_events(asked->index, events); !done) return tl::unexpected(done.error());
  std::vector<int> fds;
  for (const IoEventFd& open : io_events_[asked->index])
    fds.push_back(open.fd.get());
  transport_.attach_fds(fds);
  auto into = put(reply(request.header, info.argsz), info);
  for (std::uint32_t i = 0; i < count; ++i) {
    wire::vfio_user::SubRegionIoFd part;
    part.offset = events[i].offset;
    part.size = events[i].size;
    part.fd_index = i;
    part.type = static_cast<std::uint32_t>(wire::vfio_user::IoFdType::ioeventfd);
    part.flags = (events[i].value ? wire::vfio_user::io_fd_flags::kDatamatch : 0) |
                 (region.is_io ? wire::vfio_user::io_fd_flags::kPio : 0);
    part.datamatch_or_user_data = events[i].value.value_or(0);
    into = put(into, part);
  }
  return Outcome::replied;
}

Result<void> Session::open_io_events(std::uint32_t index, std::span<const pci::IoEvent> events) {
  if (!io_events_[index].empty()) return {};
  std::vector<UniqueFd> fds;
  for (std::size_t i = 0; i < events.size(); ++i) {
    auto fd = make_eventfd();
    if (!fd) return tl::unexpected(fd.error());
    fds.push_back(std::move(*fd));
  }
  return watch_io_events(index, std::move(fds));
}

/// Of the region's first writes as many as there are descriptors.
Result<void> Session::watch_io_events(std::uint32_t index, std::vector<UniqueFd> fds) {
  const auto region = static_cast<pci::Region>(index);
  const auto events = context_.endpoint.region(region).io_events;
  std::vector<IoEventFd> opened;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    auto watch = context_.poller.watch(
        fds[i].get(), EPOLLIN | EPOLLET,
        [this, fd = fds[i].get(), region, event = events[i]](std::uint32_t) { on_io_event(fd, region, event); });
    if (!watch) return tl::unexpected(watch.error());
    opened.push_back({std::move(fds[i]), std::move(*watch)});
  }
  io_events_[index] = std::move(opened);
  return {};
}

// What was signalled is taken, so that whoever watches this descriptor next does not take it for new.
void Session::on_io_event(int fd, pci::Region region, const pci::IoEvent& event) {
  in_event_ = true;
  drain_peer_eventfd(fd);
  const Le<std::uint64_t> value = event.value.value_or(0);
  const auto bytes = std::as_bytes(std::span{&value, 1}).first(event.size);
  if (context_.endpoint.tracer() != nullptr) [[unlikely]]
    trace(TraceRecord::What::write, static_cast<std::uint32_t>(region), event.offset, bytes);
  if (auto done = context_.endpoint.write(region, RegionOffset{event.offset}, bytes); !done && complaints_.allow()) {
    logf(LogLevel::warning, "{}: a write by eventfd: {}", context_.endpoint.name(), done.error().text());
  }
  if (const char* const why = context_.endpoint.failure()) end(LogLevel::error, why);
  finish_event();
}

}  // namespace vmux::vfio_user
