// SPDX-License-Identifier: BSD-3-Clause
// vhost-user: a session that goes on in another object, at any byte of any message, with everything that the front end
// has given.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "protocol/vhost_rig.hpp"
#include "rigs/sending.hpp"

namespace vmux::vhost_protocol_test {
namespace {

constexpr std::uint64_t kAll = kMq | kLogShm | kRarp | kAck | kMtu | kReset | kSlots | kStatus;
constexpr std::uint64_t kAgreed = kVersion1 | kProtocolFeatures | kIndirect | kEventIdx;
constexpr std::uint64_t kLogBytes = (kHighGuest + kRegionSize) / 4096 / 8;

/// A served device; what is handed over goes from one of these to the next.
struct Served {
  TestDevice device;
  std::unique_ptr<vhost_user::Server> server;
};

class HandoverRig {
 public:
  explicit HandoverRig(bool connects_itself = false) {
    options.name = "test";
    options.announce = [this](const auto&) { ++announced; };
    if (connects_itself) return;
    served->server = vhost_user::Server::create(*poller, served->device, options).value();
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer.reset(ends[0]);
    EXPECT_TRUE(served->server->adopt(UniqueFd{ends[1]}));
  }

  state::Suspended suspend() {
    auto suspended = served->server->suspend();
    EXPECT_TRUE(suspended) << suspended.error().text();
    served.reset();
    return std::move(*suspended);
  }
  void resume(const state::Suspended& from) {
    served = std::make_unique<Served>();
    auto server = vhost_user::Server::adopt(*poller, served->device, options, from);
    ASSERT_TRUE(server) << server.error();
    served->server = std::move(*server);
  }
  void hand_over() { resume(suspend()); }

  void settle() {
    for (int idle = 0; idle < 3;)
      idle = poller->run_once() ? 0 : idle + 1;
  }
  void send(const Bytes& bytes, const std::vector<int>& fds = {}) {
    ASSERT_EQ(send_with_fds(peer.get(), {bytes.data(), bytes.size()}, fds), static_cast<ssize_t>(bytes.size()));
  }
  /// What the server has to say when it has nothing more to do.
  Bytes take() {
    Bytes all;
    for (;;) {
      settle();
      std::uint8_t buffer[65536];
      const ssize_t got = ::recv(peer.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (got <= 0) return all;
      all.insert(all.end(), buffer, buffer + got);
    }
  }
  Bytes ask(const Bytes& bytes, const std::vector<int>& fds = {}) {
    send(bytes, fds);
    return take();
  }
  [[nodiscard]] bool is_hung_up() const {
    char byte;
    return ::recv(peer.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
  }
  [[nodiscard]] TestDevice& device() { return served->device; }

  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  vhost_user::ServerOptions options;
  unsigned announced = 0;
  std::unique_ptr<Served> served = std::make_unique<Served>();
  UniqueFd peer;
};

struct Step {
  Bytes bytes;
  std::vector<int> fds;
};

/// Every kind of message, with what comes of it to be seen in a later reply.
class Script {
 public:
  Script() {
    add(message(kGetFeatures));
    add(message(kGetProtocol));
    add(number(kSetProtocol, kAll));
    add(message(kGetQueueNum));
    add(message(kGetSlots));
    add(message(kSetOwner, {}, kNeedReply));
    add(number(kSetErr, 0), {error_.get()});
    add(number(kSetFeatures, kAgreed, kNeedReply));
    add(number(kSetStatus, 11));
    add(message(kGetStatus));
    add(both_regions(kNeedReply), {memory_.get(), memory_.get()});
    for (const unsigned ring : {0u, 1u}) {
      add(ring_state(kSetEnable, ring, 1, kNeedReply));
      add(ring_state(kSetNum, ring, 16));
      add(ring_state(kSetBase, ring, 7 + ring));
      add(ring_addresses(ring));
      add(number(kSetKick, ring, kNeedReply), {kicks_[ring].get()});
      add(number(kSetCall, ring), {calls_[ring].get()});
    }
    add(ring_state(kSetNum, 2, 16));
    add(ring_addresses(2, 0, 0, kNeedReply));
    add(number(kSetKick, 2 | 0x100));  // it cannot kick
    add(ring_state(kSetEnable, 2, 1, kNeedReply));
    add(ring_state(kSetNum, 0, 8, kNeedReply));  // refused: it runs
    add(message(kSetLogBase, Bytes{}.u64(kLogBytes).u64(0)), {log_.get()});
    add(number(kSetFeatures, kAgreed | kLogAll, kNeedReply));
    add(ring_addresses(0, 1, kLowGuest + 0x11000, kNeedReply));
    add(number(kSetMtu, 1500, kNeedReply));
    add(number(kSendRarp, 0x0000'7700'0000'0002, kNeedReply));
    add(ring_state(kGetBase, 0, 0));
    add(ring_state(kGetBase, 2, 0));
    add(number(kSetFeatures, kAgreed, kNeedReply));
    add(message(kAddRegion, Bytes{}.u64(0).append(region(1ull << 33, 0x10000, 0x6f0000000000, 0)), kNeedReply),
        {memory_.get()});
    add(message(kRemRegion, Bytes{}.u64(0).append(region(1ull << 33, 0x10000, 0x6f0000000000, 0)), kNeedReply));
    add(ring_state(kSetBase, 0, 3));
    add(number(kSetKick, 0, kNeedReply), {kicks_[0].get()});
    add(ring_state(kGetBase, 1, 0));
    add(message(kResetOwner, {}, kNeedReply));
    add(ring_state(kGetBase, 0, 0));
    add(message(kResetDevice, {}, kNeedReply));
    add(message(kGetStatus));
    add(number(kSetFeatures, kAgreed, kNeedReply));
  }
  [[nodiscard]] std::size_t size() const {
    std::size_t all = 0;
    for (const Step& step : steps_)
      all += step.bytes.size();
    return all;
  }
  /// What the front end hears; `at` is called before each byte that is due. Descriptors go with a message's first.
  Bytes play(HandoverRig& rig, const std::function<bool(std::size_t)>& is_due, const std::function<void()>& at) const {
    Bytes heard;
    std::size_t position = 0;
    for (const Step& step : steps_) {
      std::size_t sent = 0;
      const auto send_up_to = [&](std::size_t end) {
        rig.send(part(step.bytes, sent, end), sent == 0 ? step.fds : std::vector<int>{});
        sent = end;
      };
      for (std::size_t i = 0; i < step.bytes.size(); ++i, ++position) {
        if (!is_due(position)) continue;
        if (i != sent) send_up_to(i);
        rig.settle();
        at();
      }
      send_up_to(step.bytes.size());
      heard.append(rig.take());
    }
    return heard;
  }

 private:
  static Bytes part(const Bytes& bytes, std::size_t from, std::size_t to) {
    Bytes some;
    some.assign(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(to));
    return some;
  }
  void add(Bytes bytes, std::vector<int> fds = {}) { steps_.push_back({std::move(bytes), std::move(fds)}); }

  std::vector<Step> steps_;
  UniqueFd memory_ = new_memfd(2 * kRegionSize), log_ = new_memfd(kLogBytes), error_ = new_eventfd();
  std::array<UniqueFd, 2> kicks_{new_eventfd(), new_eventfd()}, calls_{new_eventfd(), new_eventfd()};
};

const auto kNever = [](std::size_t) { return false; };
const auto kAlways = [](std::size_t) { return true; };

/// A front end that has agreed, given memory and started ring 0.
struct Started : HandoverRig {
  Started() {
    ask(number(kSetProtocol, kAll));
    ask(number(kSetFeatures, kAgreed));
    ask(both_regions(), {memory.get(), memory.get()});
    start(0, 5);
  }
  void start(unsigned ring, std::uint32_t base) {
    ask(ring_state(kSetEnable, ring, 1));
    ask(ring_state(kSetNum, ring, 16));
    ask(ring_state(kSetBase, ring, base));
    ask(ring_addresses(ring));
    ask(number(kSetCall, ring), {call.get()});
    ask(number(kSetErr, ring), {error.get()});
    ask(number(kSetKick, ring), {kick.get()});
  }
  UniqueFd memory = new_memfd(2 * kRegionSize), kick = new_eventfd(), call = new_eventfd(), error = new_eventfd();
};

std::uint64_t signals_of(const UniqueFd& eventfd) {
  std::uint64_t count = 0;
  return ::read(eventfd.get(), &count, sizeof count) == sizeof count ? count : 0;
}

TEST(VhostHandover, AtAnyByteOfAnyMessageTheFrontEndHearsTheSame) {
  const Script script;
  HandoverRig plain;
  const Bytes expected = script.play(plain, kNever, {});
  ASSERT_GT(expected.size(), 400u);
  for (std::size_t at = 0; at < script.size(); ++at) {
    HandoverRig rig;
    const Bytes heard = script.play(
        rig, [at](std::size_t position) { return position == at; }, [&] { rig.hand_over(); });
    ASSERT_EQ(heard, expected) << "handed over before byte " << at;
    ASSERT_EQ(rig.announced, 1u) << at;
    ASSERT_EQ(rig.device().runs, plain.device().runs) << at;
    ASSERT_EQ(rig.device().accepted, plain.device().accepted) << at;
  }
}

TEST(VhostHandover, BeforeEveryByteTheFrontEndHearsTheSame) {
  const Script script;
  HandoverRig plain, rig;
  const Bytes expected = script.play(plain, kNever, {});
  std::size_t before = 0, most = 0;
  const Bytes heard = script.play(rig, kAlways, [&] {
    rig.hand_over();
    if (before == 0) before = open_fds();
    most = std::max(most, open_fds());
  });
  EXPECT_EQ(heard, expected);
  EXPECT_LT(most, before + 32);  // what the script gives, and no more with each time
}

TEST(VhostHandover, RingsGoOnWhereTheyWere) {
  Started rig;
  ASSERT_TRUE(rig.device().runs[0]);
  rig.device().states[0].next_avail = 21;
  rig.device().states[0].next_used = 19;
  const virtio::QueueSetup before = rig.device().setups[0];
  rig.hand_over();
  ASSERT_TRUE(rig.device().runs[0]);
  EXPECT_FALSE(rig.device().runs[1]);
  EXPECT_EQ(rig.device().states[0].next_avail, 21u);
  EXPECT_EQ(rig.device().states[0].next_used, 19u);
  EXPECT_EQ(rig.device().setups[0].descriptors, before.descriptors);
  EXPECT_EQ(rig.device().setups[0].driver, before.driver);
  EXPECT_EQ(rig.device().setups[0].device, before.device);
  EXPECT_EQ(rig.device().setups[0].size, before.size);
  EXPECT_TRUE(rig.device().setups[0].has_event_idx);
  EXPECT_TRUE(rig.device().dma);
  EXPECT_EQ(rig.ask(ring_state(kGetBase, 0, 0)).number_at(16, 4), 21u);
}

TEST(VhostHandover, PackedRingsKeepTheirLaps) {
  HandoverRig rig;
  const auto memory = new_memfd(2 * kRegionSize), kick = new_eventfd();
  rig.ask(number(kSetProtocol, kAll));
  rig.ask(number(kSetFeatures, kAgreed | kPacked));
  rig.ask(both_regions(), {memory.get(), memory.get()});
  rig.ask(ring_state(kSetEnable, 0, 1));
  rig.ask(ring_state(kSetNum, 0, 16));
  rig.ask(ring_state(kSetBase, 0, 0x0003'8005));  // available at 5 of the first lap, used at 3 of the second
  rig.ask(ring_addresses(0));
  rig.ask(number(kSetKick, 0), {kick.get()});
  rig.hand_over();
  ASSERT_TRUE(rig.device().runs[0]);
  EXPECT_EQ(rig.device().states[0], (virtio::QueueState{5, 3, true, false, virtio::Fault::none}));
  EXPECT_EQ(rig.ask(ring_state(kGetBase, 0, 0)).number_at(16, 4), 0x0003'8005u);
}

TEST(VhostHandover, KicksCallsAndErrorsReachTheNext) {
  Started rig;
  rig.hand_over();
  rig.settle();
  rig.device().heard.clear();
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(rig.kick.get(), &one, sizeof one), 8);
  rig.settle();
  EXPECT_EQ(rig.device().take_heard(), std::vector<std::string>{"kick 0"});
  static_cast<void>(signals_of(rig.call));
  rig.device().signals->queue_used(0);
  EXPECT_EQ(signals_of(rig.call), 1u);
  rig.device().signals->queue_failed(0);
  EXPECT_EQ(signals_of(rig.error), 1u);
}

// The one before may have read the signal and not looked at the ring.
TEST(VhostHandover, LooksAtEachRingOnceWithoutAKick) {
  Started rig;
  const auto suspended = rig.suspend();
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(rig.kick.get(), &one, sizeof one), 8);
  rig.resume(suspended);
  const auto heard = rig.device().take_heard();
  EXPECT_EQ(heard, (std::vector<std::string>{"start 0", "kick 0"}));
  rig.settle();
  EXPECT_EQ(rig.device().take_heard(), std::vector<std::string>{"kick 0"});
}

TEST(VhostHandover, WhatIsWrittenIsLoggedStill) {
  Started rig;
  const auto log_fd = new_memfd(kLogBytes);
  const Mapping log = Mapping::create(log_fd.get(), 0, kLogBytes, true).value();
  rig.ask(message(kSetLogBase, Bytes{}.u64(kLogBytes).u64(0)), {log_fd.get()});
  rig.ask(number(kSetFeatures, kAgreed | kLogAll));
  const auto is_logged = [&log](std::uint64_t page) {
    return (std::to_integer<unsigned>(log.data()[page / 8]) >> page % 8 & 1) != 0;
  };
  memory::GuestMemory writer;
  rig.device().space->attach(writer);
  ASSERT_TRUE(writer.store(Iova{0x5000}, 1));
  rig.device().space->detach(writer);
  const auto suspended = rig.suspend();
  EXPECT_TRUE(is_logged(5));  // whether anybody goes on or not
  EXPECT_FALSE(is_logged(6));
  rig.resume(suspended);
  std::memset(log.data(), 0, log.size());
  rig.device().space->attach(writer);
  ASSERT_TRUE(writer.store(Iova{0x7000}, 1));
  rig.device().space->detach(writer);
  rig.ask(ring_state(kGetBase, 0, 0));
  EXPECT_TRUE(is_logged(7));
}

TEST(VhostHandover, DescriptorsOfHalfAMessageComeAlong) {
  HandoverRig rig;
  rig.ask(number(kSetProtocol, kAll));
  const auto memory = new_memfd(2 * kRegionSize);
  const Bytes table = both_regions(kNeedReply);
  Bytes head, tail;
  head.assign(table.begin(), table.begin() + 20);
  tail.assign(table.begin() + 20, table.end());
  rig.send(head, {memory.get(), memory.get()});
  rig.settle();
  rig.hand_over();
  EXPECT_EQ(rig.ask(tail).number_at(12, 8), 0u);
  EXPECT_EQ(rig.device().space->size(), 2u);
}

TEST(VhostHandover, FrontEndIsNotHungUpOnWhileNobodyServesIt) {
  HandoverRig rig;
  const auto suspended = rig.suspend();
  rig.send(message(kGetProtocol));
  EXPECT_FALSE(rig.is_hung_up());
  rig.resume(suspended);
  EXPECT_EQ(rig.take().number_at(0, 4), kGetProtocol);
  EXPECT_EQ(rig.served->server->stats().connections, 1u);
}

TEST(VhostHandover, GivenUpTheFrontEndReadsTheEnd) {
  HandoverRig rig;
  vhost_user::Server::give_up(rig.suspend());
  EXPECT_TRUE(rig.is_hung_up());
}

TEST(VhostHandover, MemoryThatComesAgainKeepsItsMapping) {
  Started rig;
  rig.hand_over();
  const std::byte* const before = rig.device().space->windows().at(0).host;
  rig.ask(both_regions(), {rig.memory.get(), rig.memory.get()});
  EXPECT_EQ(rig.device().space->windows().at(0).host, before);
  EXPECT_TRUE(rig.device().runs[0]);
}

// An image is somebody else's: whatever it says, it is refused, and the next object may try, or it works.
TEST(VhostHandover, AnImageWithAnyByteChangedIsRefusedOrWorks) {
  Started rig;
  auto suspended = rig.suspend();
  unsigned refused = 0, taken = 0;
  for (std::size_t at = 16; at < suspended.image.size(); ++at) {
    std::byte& byte = suspended.image[at];
    const std::byte before = byte;
    byte ^= std::byte{0x41};
    Served other;
    auto server = vhost_user::Server::adopt(*rig.poller, other.device, rig.options, suspended);
    server ? ++taken : ++refused;
    if (server) {
      auto again = (*server)->suspend();
      ASSERT_TRUE(again);
    }
    byte = before;
  }
  EXPECT_GT(refused, 100u);
  rig.resume(suspended);
  EXPECT_EQ(rig.ask(message(kGetProtocol)).number_at(0, 4), kGetProtocol);
  EXPECT_TRUE(rig.device().runs[0]);
}

TEST(VhostHandover, OfADeviceWithOtherFeaturesIsRefused) {
  Started rig;
  const auto suspended = rig.suspend();
  {
    Served other;
    other.device.offered = kIndirect;
    const auto server = vhost_user::Server::adopt(*rig.poller, other.device, rig.options, suspended);
    ASSERT_FALSE(server);
    EXPECT_NE(server.error().find("not offered"), std::string::npos) << server.error();
    Served fewer;
    fewer.device.queues = 3;
    EXPECT_FALSE(vhost_user::Server::adopt(*rig.poller, fewer.device, rig.options, suspended));
  }
  EXPECT_FALSE(rig.is_hung_up());
  rig.resume(suspended);
  EXPECT_TRUE(rig.device().runs[0]);
}

/// A server that has a path.
struct AtAPath : HandoverRig {
  explicit AtAPath(bool connects) : HandoverRig(true) {
    char name[] = "/tmp/vmux-vhost-XXXXXX";
    directory = ::mkdtemp(name);
    options.path = directory + "/socket";
    options.connects = connects;
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, options.path.c_str(), sizeof address.sun_path - 1);
  }
  ~AtAPath() {
    served.reset();
    std::filesystem::remove_all(directory);
  }
  void create() { served->server = vhost_user::Server::create(*poller, served->device, options).value(); }
  [[nodiscard]] UniqueFd connect() const {
    UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return socket;
  }
  template <class F>
  void until(F condition) {
    while (!condition())
      poller->run_once(10'000'000);
  }
  std::string directory;
  sockaddr_un address{};
};

TEST(VhostHandover, ListenerKeepsItsFileAndWhoWaits) {
  AtAPath rig{false};
  rig.create();
  rig.peer = rig.connect();
  rig.ask(message(kGetFeatures));
  const auto next = rig.connect();
  rig.hand_over();
  EXPECT_TRUE(std::filesystem::exists(rig.options.path));
  EXPECT_EQ(rig.ask(message(kGetFeatures)).number_at(0, 4), kGetFeatures);
  rig.peer = UniqueFd{::dup(next.get())};  // the first hangs up
  const auto question = message(kGetProtocol);
  ASSERT_EQ(::send(rig.peer.get(), question.data(), question.size(), 0), 12);
  rig.until([&] { return rig.served->server->stats().connections == 2; });
  EXPECT_EQ(rig.take().number_at(0, 4), kGetProtocol);
  rig.served.reset();
  EXPECT_FALSE(std::filesystem::exists(rig.options.path));
}

TEST(VhostHandover, ListenerWithoutAFrontEndGoesOnListening) {
  AtAPath rig{false};
  rig.create();
  rig.hand_over();
  rig.peer = rig.connect();
  EXPECT_EQ(rig.ask(message(kGetFeatures)).number_at(0, 4), kGetFeatures);
}

// The front end listens: the session goes on, and when it ends the next object connects again.
TEST(VhostHandover, WhoConnectsGoesOnAndConnectsAgainLater) {
  AtAPath rig{true};
  rig.create();
  rig.hand_over();  // before there is anybody
  UniqueFd listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)};
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&rig.address), sizeof rig.address), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  for (std::uint64_t round = 1; round <= 3; ++round) {
    rig.until([&] {
      rig.peer.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
      return static_cast<bool>(rig.peer);
    });
    EXPECT_EQ(rig.ask(message(kGetFeatures)).number_at(0, 4), kGetFeatures);
    rig.hand_over();
    EXPECT_EQ(rig.ask(message(kGetProtocol)).number_at(0, 4), kGetProtocol);
    EXPECT_EQ(rig.served->server->stats().connections, round);
    EXPECT_LT(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK), 0);  // nobody has connected anew
    rig.peer.reset();
  }
}

}  // namespace
}  // namespace vmux::vhost_protocol_test
