// SPDX-License-Identifier: BSD-3-Clause
// A vhost-user front end that speaks the protocol byte by byte, the driver behind it, and the card that it reaches.
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "device/virtio_net/nic.hpp"
#include "fake_guest/virtio_ring.hpp"
#include "protocol/vhost_rig.hpp"
#include "rigs/sending.hpp"
#include "vmux/state/control_slots.hpp"

namespace vmux::vhost_front_end {

using namespace vhost_protocol_test;  // NOLINT: the words of the protocol
using device::virtio_net::Nic;
using fake_guest::VirtioLayout;
using fake_guest::VirtioRing;

inline constexpr MacAddress kMacs[] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
inline constexpr std::uint64_t kMergeable = 1 << 15, kMultiQueue = 1 << 22;
inline constexpr std::uint32_t kHeader = 12;
inline constexpr std::uint16_t kRingSize = 32;

/// Of the guest's addresses: rings are in the first region, buffers in the second.
[[nodiscard]] constexpr std::uint64_t ring_at(unsigned ring) { return 0x10000 + ring * 0x4000ull; }
[[nodiscard]] constexpr std::uint64_t buffer_at(unsigned ring, std::uint32_t token) {
  return kHighGuest + ring * 0x40000ull + token * 0x1000ull;
}

/// A front end and the driver behind it.
class FrontEnd {
 public:
  FrontEnd(runtime::Poller& poller, unsigned number, bool is_packed, std::vector<runtime::Poller*> more_pollers = {})
      : poller_(poller), is_packed_(is_packed), mac_(kMacs[number]), more_pollers_(std::move(more_pollers)) {
    make_nic();
    server = *vhost_user::Server::create(poller, *nic, options());
  }

  /// Card and server are no more; what the front end has given waits for the next.
  state::Suspended let_go() {
    auto suspended = server->suspend();
    EXPECT_TRUE(suspended) << suspended.error().text();
    server.reset();
    nic.reset();
    return std::move(*suspended);
  }
  /// From here on what a crash would leave is kept: see die().
  void start_record() {
    slots_ = UniqueFd{::dup(server->record().image)};
    cursors_ = UniqueFd{::dup(nic->arena()->fd())};
  }
  /// As let_go(), but nothing has been saved: what its descriptors were, the newest image, and the cursors.
  state::Suspended die() {
    state::Suspended out = let_go();
    out.image = state::ControlSlots::adopt(std::move(slots_)).value().newest().value();
    EXPECT_TRUE(out.fds.put("cursors", std::move(cursors_)));
    return out;
  }
  void take_over(const state::Suspended& from) {
    server.reset();
    make_nic();
    auto adopted = vhost_user::Server::adopt(poller_, *nic, options(), from);
    ASSERT_TRUE(adopted) << adopted.error();
    server = std::move(*adopted);
  }

  [[nodiscard]] std::string mac_text() const { return "port" + std::to_string(mac_.back()); }
  void connect() {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ASSERT_TRUE(server->adopt(UniqueFd{ends[1]}));
    socket_.reset(ends[0]);
    tell(number(kSetProtocol, kMq | kLogShm | kRarp | kAck | kSlots | kStatus));
    tell(number(kSetFeatures, features()));
    tell(both_regions(), {memory.get(), memory.get()});
  }
  void hang_up() {
    socket_.reset();
    settle();
  }
  [[nodiscard]] std::uint64_t features() const {
    return kVersion1 | kProtocolFeatures | kEventIdx | kIndirect | kMergeable | kMultiQueue |
           (is_packed_ ? kPacked : 0);
  }

  void settle() {
    for (int idle = 0; idle < 3;)
      idle = poller_.run_once() ? 0 : idle + 1;
  }
  void tell(const Bytes& bytes, const std::vector<int>& fds = {}) {
    ASSERT_EQ(send_with_fds(socket_.get(), {bytes.data(), bytes.size()}, fds), static_cast<ssize_t>(bytes.size()));
    settle();
  }
  /// The number in the reply.
  std::uint64_t ask(const Bytes& bytes, std::size_t at = 12, unsigned size = 8) {
    tell(bytes);
    Bytes reply = Bytes{}.zeroes(256);
    const auto got = ::recv(socket_.get(), reply.data(), reply.size(), MSG_DONTWAIT);
    EXPECT_GT(got, 12);
    return reply.number_at(at, size);
  }

  /// A ring as the driver lays it out anew.
  void lay_out(unsigned ring) {
    const VirtioLayout layout{is_packed_, kRingSize, ring_at(ring), ring_at(ring) + 0x1000, ring_at(ring) + 0x2000};
    std::memset(at(layout.descriptors), 0, 0x4000);
    rings[ring] = std::make_unique<VirtioRing>(std::span{mapping_.data(), kRegionSize}, 0, layout);
    tokens_[ring].clear();
    for (std::uint32_t token = 0; token < kRingSize; ++token)
      tokens_[ring].push_back(token);
  }
  void start(unsigned ring, std::uint32_t base) {
    for (auto* const fds : {&kicks, &calls, &errors})
      (*fds)[ring] = new_eventfd();
    tell(ring_state(kSetEnable, ring, 1));
    tell(ring_state(kSetNum, ring, kRingSize));
    tell(ring_state(kSetBase, ring, base));
    const std::uint64_t user = kLowUser + ring_at(ring);
    tell(message(kSetAddr, Bytes{}.u32(ring).u32(0).u64(user).u64(user + 0x2000).u64(user + 0x1000).u64(0)));
    tell(number(kSetCall, ring), {calls[ring].get()});
    tell(number(kSetErr, ring), {errors[ring].get()});
    tell(number(kSetKick, ring), {kicks[ring].get()});
  }
  [[nodiscard]] std::uint32_t fresh_base() const { return is_packed_ ? 0x8000'8000 : 0; }
  std::uint32_t stop(unsigned ring) { return static_cast<std::uint32_t>(ask(ring_state(kGetBase, ring, 0), 16, 4)); }
  void bring_up(unsigned pairs = 1) {
    connect();
    for (unsigned ring = 0; ring < 2 * pairs; ++ring) {
      lay_out(ring);
      start(ring, fresh_base());
      if (ring % 2 == 0) refill(ring);
    }
  }

  void kick(unsigned ring) {
    // The ring's words before the question whether the device wants to hear of them.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!rings[ring]->wants_kick(true)) return;
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(kicks[ring].get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    ++kicks_sent;
  }
  void refill(unsigned ring) {
    while (!tokens_[ring].empty()) {
      const std::uint32_t token = tokens_[ring].front();
      tokens_[ring].pop_front();
      rings[ring]->post({{buffer_at(ring, token), 0x1000, true}}, token);
      kick(ring);
    }
    settle();
  }
  /// False: the ring is full.
  bool send(const Bytes& frame, unsigned ring = 1) {
    take_back(ring);
    if (tokens_[ring].empty()) return false;
    const std::uint32_t token = tokens_[ring].front();
    tokens_[ring].pop_front();
    std::memset(at(buffer_at(ring, token)), 0, kHeader);
    std::memcpy(at(buffer_at(ring, token)) + kHeader, frame.data(), frame.size());
    rings[ring]->post({{buffer_at(ring, token), static_cast<std::uint32_t>(kHeader + frame.size()), false}}, token);
    kick(ring);
    return true;
  }
  /// How many have been sent since this was asked last.
  unsigned reap(unsigned ring) {
    take_back(ring);
    return std::exchange(reaped_[ring], 0);
  }
  std::optional<Bytes> receive(unsigned ring = 0) {
    const auto used = rings[ring]->take_used();
    if (!used) return std::nullopt;
    Bytes frame;
    const auto* const from = reinterpret_cast<const std::uint8_t*>(at(buffer_at(ring, used->token)));
    frame.assign(from + kHeader, from + used->length);
    tokens_[ring].push_back(used->token);
    refill(ring);
    return frame;
  }
  [[nodiscard]] std::byte* at(std::uint64_t guest) {
    return mapping_.data() + (guest >= kHighGuest ? kRegionSize + (guest - kHighGuest) : guest);
  }
  [[nodiscard]] Bytes frame_to(const FrontEnd& other, unsigned number, std::size_t length) const {
    Bytes frame;
    frame.insert(frame.end(), other.mac_.begin(), other.mac_.end());
    frame.insert(frame.end(), mac_.begin(), mac_.end());
    frame.u8(0x88).u8(0xb5).u32(number);
    while (frame.size() < length)
      frame.u8(frame.size() * 7 + number);
    return frame;
  }
  [[nodiscard]] static std::uint64_t signals_of(const UniqueFd& eventfd) {
    std::uint64_t count = 0;
    return ::read(eventfd.get(), &count, sizeof count) == sizeof count ? count : 0;
  }

  UniqueFd memory = new_memfd(2 * kRegionSize);
  std::map<unsigned, std::unique_ptr<VirtioRing>> rings;
  std::array<UniqueFd, 4> kicks, calls, errors;
  unsigned kicks_sent = 0;
  std::unique_ptr<Nic> nic;
  std::unique_ptr<vhost_user::Server> server;

 private:
  void take_back(unsigned ring) {
    while (const auto used = rings[ring]->take_used()) {
      tokens_[ring].push_back(used->token);
      ++reaped_[ring];
    }
  }
  void make_nic() {
    nic = *Nic::create({.name = "card",
                        .mac = mac_,
                        .doorbell = device::virtio_net::Doorbell::trap,
                        .queue_pairs = 2,
                        .more_pollers = more_pollers_},
                       poller_);
  }
  [[nodiscard]] vhost_user::ServerOptions options() {
    return {.name = "card",
            .announce = [this](const MacAddress& station) { nic->announce(station); },
            .keeps_record = true};
  }

  runtime::Poller& poller_;
  bool is_packed_;
  MacAddress mac_;
  std::vector<runtime::Poller*> more_pollers_;
  UniqueFd socket_, slots_, cursors_;
  Mapping mapping_ = Mapping::create(memory.get(), 0, 2 * kRegionSize, true).value();
  std::map<unsigned, unsigned> reaped_;
  std::map<unsigned, std::deque<std::uint32_t>> tokens_;  // of buffers that are not in the ring
};

}  // namespace vmux::vhost_front_end
