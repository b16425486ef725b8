// SPDX-License-Identifier: BSD-3-Clause
#include "device/virtio_net/control_queue.hpp"

#include <algorithm>
#include <cstring>

namespace vmux::device::virtio_net {
namespace {

constexpr unsigned kAtOnce = 8;  // commands; drivers have one at a time, and each may change all lanes

}  // namespace

void ControlQueue::attach(memory::AddressSpace& space) {
  space.attach(ring_.memory());
  space.attach(buffers_);
}

void ControlQueue::detach(memory::AddressSpace& space) noexcept {
  space.detach(ring_.memory());
  space.detach(buffers_);
}

void ControlQueue::start(const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept {
  ring_.start(setup, state);
  report_.begin();
}

ControlQueue::Served ControlQueue::serve() noexcept {
  Served served;
  for (unsigned count = 0; ring_.runs(); ++count) {
    if (count >= kAtOnce) {
      served.has_more = true;
      break;
    }
    const auto chains = ring_.ready(1);
    if (chains.empty()) {
      if (!ring_.ask_for_kicks()) break;
      continue;
    }
    if (!answer(chains.front()) || !ring_.use(std::span{&written_, 1})) break;
  }
  served.has_news = ring_.take_interrupt();
  report_.look(ring_, counters_);
  return served;
}

// The answer is the last byte that the driver lets us write.
bool ControlQueue::answer(const virtio::Chain& chain) noexcept {
  const auto writable = ring_.writable(chain);
  if (writable.empty()) return ring_.fail(virtio::Fault::bad_header);
  std::span<const std::byte> command;
  if (!read(chain, command)) return false;
  wire::virtio::net::ControlHeader header;
  bool is_done = false;
  if (command.size() >= sizeof header) {
    std::memcpy(&header, command.data(), sizeof header);
    is_done = obey_(header.group, header.command, command.subspan(sizeof header));
  }
  counters_.frames.add();
  if (!is_done) refused_.add();
  const std::uint8_t ack = is_done ? wire::virtio::net::control::ok : wire::virtio::net::control::error;
  const virtio::Buffer& last = writable.back();
  if (!buffers_.store(Iova{last.at.raw + last.length - 1}, ack)) return ring_.fail(virtio::Fault::buffer_unmapped);
  std::uint64_t room = 0;
  for (const virtio::Buffer& buffer : writable)
    room += buffer.length;
  written_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(room, 0xffff'ffff));
  return true;
}

// False: the queue has stopped. A command that is too long is none.
bool ControlQueue::read(const virtio::Chain& chain, std::span<const std::byte>& command) noexcept {
  std::size_t size = 0;
  for (const virtio::Buffer& buffer : ring_.readable(chain)) {
    if (buffer.length > command_.size() - size) return true;
    if (!buffers_.read(buffer.at, std::span{command_}.subspan(size, buffer.length))) {
      return ring_.fail(virtio::Fault::buffer_unmapped);
    }
    size += buffer.length;
  }
  command = std::span{command_}.first(size);
  return true;
}

}  // namespace vmux::device::virtio_net
