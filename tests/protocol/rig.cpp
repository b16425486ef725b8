// SPDX-License-Identifier: BSD-3-Clause
#include "protocol/rig.hpp"
#include "rigs/sending.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace vmux::protocol_test {

pci::FunctionSpec TestDevice::describe() {
  pci::FunctionSpec spec;
  spec.name = "test";
  spec.vendor_id = 0x1234;
  spec.device_id = 0x5678;
  spec.bars[0] = pci::BarSpec{pci::BarKind::memory32, false, 0x4000, {{0x1000, 0x1000}}};
  spec.bars[1] = pci::BarSpec{pci::BarKind::memory32, false, 0x1000, {}};
  spec.bars[2] = pci::BarSpec{pci::BarKind::io, false, 64, {}, {{8, 2, 0x1234}, {16, 4, {}}}};
  spec.capabilities = {pci::PowerManagement{}, pci::Msix{kVectors, pci::Region::bar1, 0, pci::Region::bar1, 0x800},
                       pci::Express{}};
  spec.intx = true;
  return spec;
}

void TestDevice::read_bar(pci::Region, RegionOffset offset, std::span<std::byte> into) noexcept {
  std::memcpy(into.data(), registers.data() + offset.raw, into.size());
}

void TestDevice::write_bar(pci::Region, RegionOffset offset, std::span<const std::byte> from) noexcept {
  std::memcpy(registers.data() + offset.raw, from.data(), from.size());
  Bytes data;
  for (const std::byte value : from)
    data.u8(std::to_integer<unsigned>(value));
  writes.emplace_back(offset.raw, std::move(data));
  if (on_write) on_write();
}

Result<void> TestDevice::enter(pci::MigrationState to) {
  if (refuses == to) return fail(Errc::busy, "told to refuse");
  entered.push_back(to);
  save_position = 0;
  return {};
}

Result<std::size_t> TestDevice::save(std::span<std::byte> into) {
  const std::size_t count = std::min({into.size(), saved.size() - save_position, std::size_t{5}});
  std::copy_n(saved.begin() + static_cast<std::ptrdiff_t>(save_position), count,
              reinterpret_cast<std::uint8_t*>(into.data()));
  save_position += count;
  return count;
}

Result<void> TestDevice::load(std::span<const std::byte> from) {
  for (const std::byte value : from)
    loaded.u8(std::to_integer<unsigned>(value));
  return {};
}

Rig::Rig(vfio_user::ServerOptions options) {
  server = vfio_user::Server::create(*poller, *function, std::move(options)).value();
  connect();
}

Rig::Rig(Profile profile) : Rig() { greet(profile); }

void Rig::connect() {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  peer_.reset(ends[0]);
  incoming_.clear();
  incoming_fds_.clear();
  has_ended_ = false;
  const auto adopted = server->adopt(UniqueFd{ends[1]});
  ASSERT_TRUE(adopted.has_value()) << adopted.error().text();
}

void Rig::hang_up() {
  peer_.reset();
  settle();
}

void Rig::greet(Profile profile) {
  const auto reply = ask(profile == Profile::qemu ? qemu_version() : cloud_hypervisor_version());
  ASSERT_EQ(reply.flags, kReply);
}

void Rig::send(const Bytes& bytes, const std::vector<int>& fds) {
  ASSERT_EQ(send_with_fds(peer_.get(), {bytes.data(), bytes.size()}, fds), static_cast<ssize_t>(bytes.size()));
}

void Rig::settle() {
  for (int idle = 0; idle < 3;) {
    idle = poller->run_once() ? 0 : idle + 1;
  }
}

bool Rig::read_some() {
  std::uint8_t buffer[65536];
  char control[CMSG_SPACE(253 * sizeof(int))];
  iovec part{buffer, sizeof buffer};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(peer_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got == 0 || (got < 0 && errno != EAGAIN)) has_ended_ = true;
  if (got <= 0) return false;
  incoming_.insert(incoming_.end(), buffer, buffer + got);
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    for (std::size_t i = 0; i < (head->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
      incoming_fds_.emplace_back(fd);
    }
  }
  return true;
}

std::optional<Reply> Rig::receive() {
  for (int idle = 0; idle < 3;) {
    if (incoming_.size() >= 16 && incoming_.size() >= incoming_.number_at(4, 4)) break;
    const bool worked = poller->run_once();
    idle = read_some() || worked ? 0 : idle + 1;
  }
  if (incoming_.size() < 16 || incoming_.size() < incoming_.number_at(4, 4)) return std::nullopt;
  Reply reply;
  reply.id = static_cast<unsigned>(incoming_.number_at(0, 2));
  reply.command = static_cast<unsigned>(incoming_.number_at(2, 2));
  reply.size = static_cast<unsigned>(incoming_.number_at(4, 4));
  reply.flags = static_cast<unsigned>(incoming_.number_at(8, 4));
  reply.error = static_cast<unsigned>(incoming_.number_at(12, 4));
  reply.payload.assign(incoming_.begin() + 16, incoming_.begin() + reply.size);
  reply.fds = std::exchange(incoming_fds_, {});
  incoming_.erase(incoming_.begin(), incoming_.begin() + reply.size);
  return reply;
}

Reply Rig::ask(const Bytes& bytes, const std::vector<int>& fds) {
  send(bytes, fds);
  auto reply = receive();
  EXPECT_TRUE(reply.has_value()) << "no reply came";
  return reply ? std::move(*reply) : Reply{};
}

bool Rig::is_closed() {
  settle();
  while (read_some()) {
  }
  return has_ended_ && incoming_.empty();
}

::testing::AssertionResult is_error(const Reply& reply, int code) {
  if (reply.flags == (kReply | kError) && reply.error == static_cast<unsigned>(code) && reply.size == 16) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "flags " << reply.flags << ", error " << reply.error << ", size "
                                       << reply.size << " instead of error " << code;
}

::testing::AssertionResult is_success(const Reply& reply, unsigned id, unsigned command, std::size_t payload) {
  if (reply.flags == kReply && reply.error == 0 && reply.id == id && reply.command == command &&
      reply.payload.size() == payload) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "id " << reply.id << ", command " << reply.command << ", flags "
                                       << reply.flags << ", error " << reply.error << ", payload "
                                       << reply.payload.size();
}

}  // namespace vmux::protocol_test
