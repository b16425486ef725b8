// SPDX-License-Identifier: BSD-3-Clause
// Two virtio-net cards on a switch, each reached over vhost-user by a front end that speaks the protocol byte by byte
// and has a driver of its own: split and packed rings.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <map>
#include <set>

#include "device/virtio_net/nic.hpp"
#include "fake_guest/virtio_ring.hpp"
#include "protocol/vhost_rig.hpp"
#include "switch/switch.hpp"

namespace vmux {
namespace {

using namespace vhost_protocol_test;  // NOLINT: the words of the protocol
using device::virtio_net::Nic;
using fake_guest::VirtioLayout;
using fake_guest::VirtioRing;

constexpr MacAddress kMacs[] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
constexpr std::uint64_t kMergeable = 1 << 15, kMultiQueue = 1 << 22;
constexpr std::uint32_t kHeader = 12;
constexpr std::uint16_t kRing = 32;

/// Of the guest's addresses: rings are in the first region, buffers in the second.
constexpr std::uint64_t ring_at(unsigned ring) { return 0x10000 + ring * 0x4000ull; }
constexpr std::uint64_t buffer_at(unsigned ring, std::uint32_t token) {
  return kHighGuest + ring * 0x40000ull + token * 0x1000ull;
}

/// A front end and the driver behind it.
class FrontEnd {
 public:
  FrontEnd(runtime::Poller& poller, switching::Switch& network, unsigned number, bool is_packed)
      : poller_(poller), is_packed_(is_packed), mac_(kMacs[number]) {
    nic = *Nic::create({.name = "card", .mac = mac_, .doorbell = device::virtio_net::Doorbell::trap, .queue_pairs = 2},
                       poller);
    id = *network.attach(nic->port(), poller, {.name = "port" + std::to_string(number)});
    server = *vhost_user::Server::create(
        poller, *nic, {.name = "card", .announce = [this](const MacAddress& station) { nic->announce(station); }});
  }

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
    iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
    if (!fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* const head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
    }
    ASSERT_EQ(::sendmsg(socket_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
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
    const VirtioLayout layout{is_packed_, kRing, ring_at(ring), ring_at(ring) + 0x1000, ring_at(ring) + 0x2000};
    std::memset(at(layout.descriptors), 0, 0x4000);
    rings[ring] = std::make_unique<VirtioRing>(std::span{mapping_.data(), kRegionSize}, 0, layout);
    tokens_[ring].clear();
    for (std::uint32_t token = 0; token < kRing; ++token)
      tokens_[ring].push_back(token);
  }
  void start(unsigned ring, std::uint32_t base) {
    for (auto* const fds : {&kicks, &calls, &errors})
      (*fds)[ring] = new_eventfd();
    tell(ring_state(kSetEnable, ring, 1));
    tell(ring_state(kSetNum, ring, kRing));
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
    while (const auto used = rings[ring]->take_used())
      tokens_[ring].push_back(used->token);
    if (tokens_[ring].empty()) return false;
    const std::uint32_t token = tokens_[ring].front();
    tokens_[ring].pop_front();
    std::memset(at(buffer_at(ring, token)), 0, kHeader);
    std::memcpy(at(buffer_at(ring, token)) + kHeader, frame.data(), frame.size());
    rings[ring]->post({{buffer_at(ring, token), static_cast<std::uint32_t>(kHeader + frame.size()), false}}, token);
    kick(ring);
    return true;
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
  switching::PortId id{};
  std::unique_ptr<vhost_user::Server> server;

 private:
  runtime::Poller& poller_;
  bool is_packed_;
  MacAddress mac_;
  UniqueFd socket_;
  Mapping mapping_ = Mapping::create(memory.get(), 0, 2 * kRegionSize, true).value();
  std::map<unsigned, std::deque<std::uint32_t>> tokens_;  // of buffers that are not in the ring
};

class VhostUserCard : public testing::TestWithParam<bool> {
 protected:
  VhostUserCard() : a(*poller_, *switch_, 0, GetParam()), b(*poller_, *switch_, 1, GetParam()) {}
  ~VhostUserCard() override {
    for (FrontEnd* const end : {&a, &b}) {
      end->server.reset();
      static_cast<void>(switch_->detach(end->id));
    }
  }
  /// Numbered frames from one to the other, each of another length; expects each once and whole.
  void expect_arrivals(FrontEnd& from, FrontEnd& to, unsigned first, unsigned count) {
    for (unsigned number = first; number < first + count; ++number) {
      const Bytes frame = from.frame_to(to, number, 60 + number * 13 % 1400);
      ASSERT_TRUE(from.send(frame)) << number;
      from.settle();
      EXPECT_EQ(to.receive(), frame) << number;
    }
    EXPECT_FALSE(to.receive());
  }

  std::unique_ptr<runtime::Poller> poller_ = runtime::Poller::create().value();
  std::unique_ptr<switching::Switch> switch_ = switching::Switch::create("test").value();
  FrontEnd a, b;
};

TEST_P(VhostUserCard, CarriesFramesBothWaysThroughManyLapsOfItsRings) {
  a.bring_up();
  b.bring_up();
  expect_arrivals(a, b, 0, 200);
  expect_arrivals(b, a, 1000, 200);
}

TEST_P(VhostUserCard, CallsTheDriverAndIsKickedOnlyWhereThatIsWanted) {
  a.bring_up();
  b.bring_up();
  static_cast<void>(FrontEnd::signals_of(b.calls[0]));
  expect_arrivals(a, b, 0, 1);
  EXPECT_EQ(FrontEnd::signals_of(b.calls[0]), 1u);
  // A burst: the first kick finds the device asleep, and it asks for no other before it has looked.
  const unsigned before = a.kicks_sent;
  b.rings[0]->want_interrupt(/*has_event_idx=*/true);
  for (unsigned number = 0; number < 16; ++number)
    ASSERT_TRUE(a.send(a.frame_to(b, number, 64)));
  a.settle();
  EXPECT_EQ(a.kicks_sent - before, GetParam() ? 16u : 1u);  // a packed ring's kicks are wanted or are not
  EXPECT_EQ(FrontEnd::signals_of(b.calls[0]), 1u);
  for (unsigned number = 0; number < 16; ++number)
    EXPECT_EQ(b.receive(), a.frame_to(b, number, 64));
  b.rings[0]->refuse_interrupts(/*has_event_idx=*/true);
  expect_arrivals(a, b, 100, 5);
  EXPECT_EQ(FrontEnd::signals_of(b.calls[0]), 0u);
}

TEST_P(VhostUserCard, GoesOnWhereItStopped) {
  a.bring_up();
  b.bring_up();
  for (unsigned round = 0; round < 5; ++round) {
    expect_arrivals(a, b, round * 100, 21);
    const std::uint32_t tx = a.stop(1), rx = b.stop(0);
    ASSERT_TRUE(a.send(a.frame_to(b, round * 100 + 50, 99)));  // while nothing runs: it waits
    a.settle();
    EXPECT_FALSE(b.receive());
    b.start(0, rx);
    a.start(1, tx);
    EXPECT_EQ(b.receive(), a.frame_to(b, round * 100 + 50, 99));
  }
}

TEST_P(VhostUserCard, StandsStillWhileItsRingIsNotEnabled) {
  a.bring_up();
  b.bring_up();
  a.tell(ring_state(kSetEnable, 1, 0));
  ASSERT_TRUE(a.send(a.frame_to(b, 1, 64)));
  a.settle();
  EXPECT_FALSE(b.receive());
  a.tell(ring_state(kSetEnable, 1, 1));
  EXPECT_EQ(b.receive(), a.frame_to(b, 1, 64));
}

// As QEMU does when a back end has gone without a word: the rings go on from the used index.
TEST_P(VhostUserCard, GoesOnForAFrontEndThatConnectsAgain) {
  a.bring_up();
  b.bring_up();
  for (unsigned round = 0; round < 3; ++round) {
    expect_arrivals(a, b, round * 100, 37);
    const std::uint32_t tx = a.stop(1), rx = a.stop(0);
    a.hang_up();
    a.connect();
    a.start(0, rx);
    a.start(1, tx);
    expect_arrivals(b, a, round * 100, 37);
  }
}

// What a migration rests on: each page that differs in the end has its bit, whoever wrote it and why.
TEST_P(VhostUserCard, LogsEachPageThatItWritesTo) {
  a.bring_up();
  b.bring_up();
  const std::vector<std::byte> before{b.at(0), b.at(0) + 2 * kRegionSize};
  constexpr std::uint64_t kLog = (kHighGuest + kRegionSize) / 4096 / 8;
  const UniqueFd log_fd = new_memfd(kLog);
  const Mapping log = Mapping::create(log_fd.get(), 0, kLog, true).value();
  b.tell(message(kSetLogBase, Bytes{}.u64(kLog).u64(0)), {log_fd.get()});
  b.tell(number(kSetFeatures, b.features() | kLogAll));
  for (unsigned number = 0; number < 5; ++number)
    ASSERT_TRUE(a.send(a.frame_to(b, number, 3000)));
  ASSERT_TRUE(b.send(b.frame_to(a, 7, 64)));
  a.settle();
  // The driver writes as well, to its own rings: that is not the device's to log. Let it stop first.
  for (const unsigned ring : {0u, 1u})
    static_cast<void>(b.stop(ring));
  std::set<std::uint64_t> changed, logged;
  for (std::uint64_t page = 0; page < 2 * kRegionSize / 4096; ++page) {
    const std::uint64_t guest = page * 4096 < kRegionSize ? page : (kHighGuest - kRegionSize) / 4096 + page;
    if (std::memcmp(b.at(0) + page * 4096, before.data() + page * 4096, 4096) != 0) changed.insert(guest);
    if ((std::to_integer<unsigned>(log.data()[guest / 8]) >> guest % 8 & 1) != 0) logged.insert(guest);
  }
  // Of the send ring what the driver wrote: its descriptors, its available index and the frame.
  changed.erase(ring_at(1) / 4096);
  changed.erase(ring_at(1) / 4096 + 1);
  changed.erase(buffer_at(1, 0) / 4096);
  for (const std::uint64_t page : changed)
    EXPECT_TRUE(logged.contains(page)) << std::hex << page;
  EXPECT_TRUE(logged.contains(buffer_at(0, 0) / 4096));
  EXPECT_GE(changed.size(), 6u);                 // five buffers, and a ring
  EXPECT_LE(logged.size(), changed.size() + 4);  // and not just everything
}

// After a migration, for a guest that does not do so itself: RARP, from its address to everybody.
TEST_P(VhostUserCard, AnnouncesAGuestThatHasMoved) {
  a.bring_up();
  b.bring_up();
  a.tell(number(kSendRarp, 0x0000'7700'0000'0002));  // 02:00:00:00:77:00, the first byte lowest
  a.settle();
  const auto frame = b.receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->number_at(0, 6), 0xffff'ffff'ffffu);
  EXPECT_EQ(frame->number_at(6, 6), 0x0000'7700'0000'0002u);
  EXPECT_EQ(frame->number_at(12, 2), 0x3580u);  // 0x8035 in network order
}

TEST_P(VhostUserCard, TellsOfARingThatMakesNoSenseAndGoesOnWhenItIsStartedAnew) {
  a.bring_up();
  b.bring_up();
  a.rings[1]->post({{0x7000'0000, 100, false}}, 0);  // no memory there
  a.kick(1);
  a.settle();
  EXPECT_EQ(FrontEnd::signals_of(a.errors[1]), 1u);
  EXPECT_EQ(FrontEnd::signals_of(a.errors[0]), 0u);
  expect_arrivals(b, a, 0, 5);  // the other way goes on
  static_cast<void>(a.stop(1));
  a.lay_out(1);
  a.start(1, a.fresh_base());
  expect_arrivals(a, b, 0, 50);
}

TEST_P(VhostUserCard, LosesMemoryUnderTrafficAndNothingElse) {
  a.bring_up();
  b.bring_up();
  b.tell(message(kSetMemTable, Bytes{}.u32(1).u32(0).append(region(kLowGuest, kRegionSize, kLowUser, 0))),
         {b.memory.get()});  // the buffers are gone
  for (unsigned number = 0; number < 5; ++number)
    ASSERT_TRUE(a.send(a.frame_to(b, number, 64)));
  a.settle();
  EXPECT_FALSE(b.receive());
  b.tell(both_regions(), {b.memory.get(), b.memory.get()});
  static_cast<void>(b.stop(0));
  b.lay_out(0);
  b.start(0, b.fresh_base());
  b.refill(0);
  expect_arrivals(a, b, 100, 10);
}

TEST_P(VhostUserCard, SpreadsWhatItReceivesOverTheRingsThatRun) {
  a.bring_up();
  b.bring_up(2);
  EXPECT_EQ(b.server->agreement().running_rings, 4u);
  std::array<unsigned, 2> got{};
  for (unsigned number = 0; number < 64; ++number) {
    // UDP of another source port each.
    Bytes frame = a.frame_to(b, number, 64);
    const Bytes ip = Bytes{}
                         .u8(8)
                         .u8(0)
                         .u8(0x45)
                         .u8(0)
                         .u8(0)
                         .u8(46)
                         .u32(0)
                         .u8(64)
                         .u8(17)
                         .u16(0)
                         .u32(0x0101'000a)
                         .u32(0x0201'000a)
                         .u16(number)
                         .u16(53)
                         .u8(0)
                         .u8(26)
                         .u16(0);
    std::copy(ip.begin(), ip.end(), frame.begin() + 12);
    ASSERT_TRUE(a.send(frame));
    a.settle();
    for (const unsigned pair : {0u, 1u})
      got[pair] += b.receive(2 * pair) == frame ? 1u : 0u;
  }
  EXPECT_EQ(got[0] + got[1], 64u);
  EXPECT_GT(std::min(got[0], got[1]), 8u);
  // And over those alone.
  static_cast<void>(b.stop(2));
  expect_arrivals(a, b, 0, 20);
}

INSTANTIATE_TEST_SUITE_P(Rings, VhostUserCard, testing::Bool(),
                         [](const auto& how) { return how.param ? "packed" : "split"; });

}  // namespace
}  // namespace vmux
