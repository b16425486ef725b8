// SPDX-License-Identifier: BSD-3-Clause
// A served device that is handed over to another object again and again, and the raw other end of its socket.
#pragma once

#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/rig.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::protocol_test {

/// BAR 0: the page at 0x1000 may be mapped. BAR 2: 64 bytes of registers to which each write is added, and which a read
/// doubles: whatever is served twice, or not at all, shows. MSI-X in BAR 1.
class AddingDevice final : public pci::Device, public pci::Savable {
 public:
  struct State {
    static constexpr std::string_view kSection = "test.adding";
    static constexpr std::uint16_t kVersion = 1;
    std::array<std::uint8_t, 64> registers{};
    bool is_asserted = false;
    static void describe(auto& fields, auto& self) {
      fields("registers", self.registers);
      fields("is_asserted", self.is_asserted);
    }
  };

  [[nodiscard]] static pci::FunctionSpec describe() {
    auto spec = TestDevice::describe();
    spec.capabilities.emplace_back(pci::Msi{4, true});
    return spec;
  }

  void read_bar(pci::Region, RegionOffset offset, std::span<std::byte> into) noexcept override {
    for (std::size_t i = 0; i < into.size(); ++i) {
      auto& value = state.registers[(offset.raw + i) % state.registers.size()];
      into[i] = static_cast<std::byte>(value);
      value = static_cast<std::uint8_t>(value * 2);
    }
  }
  void write_bar(pci::Region, RegionOffset offset, std::span<const std::byte> from) noexcept override {
    ++writes;
    for (std::size_t i = 0; i < from.size(); ++i) {
      auto& value = state.registers[(offset.raw + i) % state.registers.size()];
      value = static_cast<std::uint8_t>(value + std::to_integer<unsigned>(from[i]));
    }
    if (on_write) on_write();
  }
  void reset(pci::ResetKind kind) noexcept override {
    resets.push_back(kind);
    state = {};
  }
  void attached(bool is_attached) noexcept override { attachments += is_attached ? 1 : -1; }
  pci::Savable* savable() noexcept override { return is_savable ? this : nullptr; }

  void set_level(bool asserted) {
    state.is_asserted = asserted;
    function->interrupts().set_level(asserted);
  }
  void save(state::Writer& into) const override { into.add(state); }
  tl::expected<void, std::string> load(state::Reader& from) override {
    if (auto done = from.load(state); !done) return done;
    function->interrupts().set_level(state.is_asserted);
    return {};
  }
  pci::DmaClaim claim_dma(bool is_write, Iova, std::size_t size) override {
    if (!claims) return {};
    const std::span<std::byte> into = is_write ? std::span<std::byte>{} : std::span{fetched}.first(size);
    return {into, [this](Result<void> done) { outcomes.push_back(done.has_value()); }};
  }

  State state;
  pci::Function* function = nullptr;
  std::function<void()> on_write;
  unsigned writes = 0;
  std::vector<pci::ResetKind> resets;
  int attachments = 0;
  bool is_savable = true, claims = true;
  std::vector<std::byte> fetched = std::vector<std::byte>(1 << 16);
  std::vector<bool> outcomes;
};

/// One server with its device; what is handed over goes from one of these to the next.
struct Served {
  explicit Served(runtime::Poller& on) : poller(on) { device.function = function.get(); }
  runtime::Poller& poller;
  AddingDevice device;
  std::unique_ptr<pci::Function> function = pci::Function::create(AddingDevice::describe(), device).value();
  std::unique_ptr<vfio_user::Server> server;
};

class HandoverRig {
 public:
  explicit HandoverRig(vfio_user::ServerOptions with = {}) : options(std::move(with)) {
    served->server = vfio_user::Server::create(*poller, *served->function, options).value();
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer.reset(ends[0]);
    const int small = 8192;  // long replies do not fit, and leave in pieces
    ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    EXPECT_TRUE(served->server->adopt(UniqueFd{ends[1]}));
  }

  /// Everything is destroyed, and goes on in new objects.
  void hand_over() { resume(suspend()); }
  state::Suspended suspend() {
    auto suspended = served->server->suspend();
    EXPECT_TRUE(suspended) << suspended.error().text();
    served.reset();
    return std::move(*suspended);
  }
  void resume(const state::Suspended& suspended) {
    served = std::make_unique<Served>(*poller);
    if (on_new) on_new();
    auto server = vfio_user::Server::adopt(*poller, *served->function, options, suspended);
    ASSERT_TRUE(server) << server.error();
    served->server = std::move(*server);
    // It resets itself in order to be loaded; the client and the guest have no part in it.
    for (const pci::ResetKind kind : served->device.resets)
      EXPECT_EQ(kind, pci::ResetKind::client_request);
    served->device.resets.clear();
  }

  void settle() {
    for (int idle = 0; idle < 3;)
      idle = poller->run_once() ? 0 : idle + 1;
  }
  void send(const Bytes& bytes, const std::vector<int>& with = {}) { send_on(peer.get(), bytes, with); }
  static void send_on(int socket, const Bytes& bytes, const std::vector<int>& with = {}) {
    iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(with.size() * sizeof(int)));
    if (!with.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(with.size() * sizeof(int));
      std::memcpy(CMSG_DATA(head), with.data(), with.size() * sizeof(int));
    }
    ASSERT_EQ(::sendmsg(socket, &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  /// What the server has sent, at most `most` bytes; descriptors are kept.
  Bytes read_on(int socket, std::size_t most = 1 << 20) {
    Bytes all;
    while (all.size() < most) {
      std::vector<std::uint8_t> buffer(std::min<std::size_t>(most - all.size(), 65536));
      alignas(cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))];
      iovec part{buffer.data(), buffer.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t got = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (got == 0) has_ended = true;
      if (got <= 0) break;
      all.insert(all.end(), buffer.begin(), buffer.begin() + got);
      for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
        for (std::size_t i = 0; i < (head->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
          int fd = -1;
          std::memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
          fds.emplace_back(fd);
        }
      }
    }
    return all;
  }
  /// Runs the server until it has nothing to do, and takes what it says.
  Bytes take() {
    Bytes all;
    for (;;) {
      settle();
      const Bytes more = read_on(peer.get());
      if (more.empty()) return all;
      all.append(more);
    }
  }
  Bytes ask(const Bytes& request, const std::vector<int>& with = {}) {
    send(request, with);
    return take();
  }

  vfio_user::ServerOptions options;
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<Served> served = std::make_unique<Served>(*poller);
  std::function<void()> on_new;  ///< before a new object takes over
  UniqueFd peer;
  std::vector<UniqueFd> fds;  ///< that the server sent
  bool has_ended = false;
};

inline constexpr unsigned kIntx = 0, kMsix = 2, kReq = 4;                                   // VFIO_PCI_*_IRQ_INDEX
inline constexpr unsigned kNone = 1, kEventfd = 4, kMask = 8, kUnmask = 16, kTrigger = 32;  // flags of SET_IRQS

/// DEVICE_FEATURE.
inline Bytes feature(unsigned id, unsigned flags, const Bytes& data) {
  return message(id, kDeviceFeature, Bytes{}.u32(8 + data.size() + 64).u32(flags).append(data));
}

}  // namespace vmux::protocol_test
