// SPDX-License-Identifier: BSD-3-Clause
#include "protocol/vhost_rig.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "rigs/sending.hpp"
#include "vmux/base/mapping.hpp"

namespace vmux::vhost_protocol_test {

void TestDevice::connect(virtio::Signals& to, memory::AddressSpace& memory) {
  signals = &to;
  space = &memory;
}

bool TestDevice::accept(std::uint64_t features) noexcept {
  if (accepts) accepted = features;
  return accepts;
}

void TestDevice::read_config(std::size_t offset, std::span<std::byte> into) const noexcept {
  const Bytes config = Bytes{}.zeroes(10).u16(mtu).zeroes(20);
  for (std::size_t i = 0; i < into.size(); ++i)
    into[i] = std::byte{config[offset + i]};
}

void TestDevice::start_queue(unsigned queue, const virtio::QueueSetup& setup,
                             const virtio::QueueState& state) noexcept {
  setups[queue] = setup;
  states[queue] = state;
  runs[queue] = true;
  heard.push_back("start " + std::to_string(queue));
}

virtio::QueueState TestDevice::stop_queue(unsigned queue) noexcept {
  runs[queue] = false;
  heard.push_back("stop " + std::to_string(queue));
  return states[queue];
}

Rig::Rig(vhost_user::ServerOptions options) {
  options.name = "test";
  server = vhost_user::Server::create(*poller, device, std::move(options)).value();
  connect();
}

void Rig::connect() {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  peer_.reset(ends[0]);
  incoming_.clear();
  has_ended_ = false;
  const auto adopted = server->adopt(UniqueFd{ends[1]});
  ASSERT_TRUE(adopted.has_value()) << adopted.error().text();
}

void Rig::hang_up() {
  peer_.reset();
  settle();
}

void Rig::send(const Bytes& bytes, const std::vector<int>& fds) {
  ASSERT_EQ(send_with_fds(peer_.get(), {bytes.data(), bytes.size()}, fds), static_cast<ssize_t>(bytes.size()));
}

void Rig::settle() {
  for (int idle = 0; idle < 3;) {
    idle = poller->run_once() ? 0 : idle + 1;
  }
}

std::optional<Reply> Rig::receive() {
  std::uint8_t buffer[65536];
  const ssize_t got = ::recv(peer_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN)) has_ended_ = true;
  if (got > 0) incoming_.insert(incoming_.end(), buffer, buffer + got);
  if (incoming_.size() < 12) return std::nullopt;
  Reply reply;
  reply.request = static_cast<unsigned>(incoming_.number_at(0, 4));
  reply.flags = static_cast<unsigned>(incoming_.number_at(4, 4));
  reply.size = static_cast<unsigned>(incoming_.number_at(8, 4));
  if (incoming_.size() < 12 + std::size_t{reply.size}) return std::nullopt;
  reply.payload.assign(incoming_.begin() + 12, incoming_.begin() + 12 + reply.size);
  incoming_.erase(incoming_.begin(), incoming_.begin() + 12 + reply.size);
  return reply;
}

Reply Rig::ask(const Bytes& bytes, const std::vector<int>& fds) {
  send(bytes, fds);
  settle();
  auto reply = receive();
  EXPECT_TRUE(reply.has_value()) << "no reply to request " << bytes.number_at(0, 4);
  return reply.value_or(Reply{});
}

bool Rig::is_closed() {
  settle();
  return !receive() && has_ended_;
}

void Rig::greet(std::uint64_t protocol, std::uint64_t features) {
  ask(message(kGetFeatures));
  ask(message(kGetProtocol));
  send(number(kSetProtocol, protocol));
  send(message(kSetOwner));
  send(number(kSetFeatures, features));
  settle();
}

void Rig::give_memory() {
  mapping_ = Mapping::create(memory.get(), 0, 2 * kRegionSize, true).value();
  send(both_regions(), {memory.get(), memory.get()});
  settle();
}

std::byte* Rig::guest(std::uint64_t address) {
  return mapping_.data() + (address >= kHighGuest ? kRegionSize + (address - kHighGuest) : address);
}

void Rig::start_ring(unsigned index, std::uint32_t base) {
  kicks[index] = new_eventfd();
  calls[index] = new_eventfd();
  send(ring_state(kSetEnable, index, 1));
  send(ring_state(kSetNum, index, 16));
  send(ring_state(kSetBase, index, base));
  send(ring_addresses(index));
  send(number(kSetKick, index), {kicks[index].get()});
  send(number(kSetCall, index), {calls[index].get()});
  settle();
}

::testing::AssertionResult is_number(const Reply& reply, unsigned request, std::uint64_t value) {
  if (reply.request == request && reply.flags == (kVersion | kReply) && reply.size == 8 && reply.number() == value) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "request " << reply.request << ", flags " << reply.flags << ", size "
                                       << reply.size << ", number " << reply.number();
}

}  // namespace vmux::vhost_protocol_test
