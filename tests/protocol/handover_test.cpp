// SPDX-License-Identifier: BSD-3-Clause
// A session that goes on in another object: at any byte of any message, with everything that the client has given.
#include "protocol/handover_rig.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace vmux::protocol_test {
namespace {

constexpr unsigned kIntx = 0, kMsix = 2, kReq = 4;                                   // VFIO_PCI_*_IRQ_INDEX
constexpr unsigned kNone = 1, kEventfd = 4, kMask = 8, kUnmask = 16, kTrigger = 32;  // flags of SET_IRQS

struct Step {
  const char* what;
  Bytes bytes;
  std::vector<int> fds;
};

Bytes feature(unsigned id, unsigned flags, const Bytes& data) {
  return message(id, kDeviceFeature, Bytes{}.u32(8 + data.size() + 64).u32(flags).append(data));
}

/// Every kind of message, with what comes of it to be seen in a later reply.
class Script {
 public:
  Script() {
    add("version", qemu_version());
    add("info", message(2, kGetInfo, Bytes{}.u32(16).zeroes(12)));
    for (unsigned region = 0; region < 9; ++region)
      add("region info", message(10 + region, kGetRegionInfo, Bytes{}.u32(96).u32(0).u32(region).zeroes(20)));
    for (unsigned irq = 0; irq < 5; ++irq)
      add("irq info", message(20 + irq, kGetIrqInfo, Bytes{}.u32(16).u32(0).u32(irq).u32(0)));
    add("map", dma_map(30, 0, 0x10000), {memory_.get()});
    add("map by message", dma_map(31, 0x100000, 0x1000));
    add("bus master", region_write(32, kConfig, 4, Bytes{}.u16(7)));
    add("irqs", set_irqs(33, kMsix, kEventfd | kTrigger, 0, 2), {first_.get(), second_.get()});
    add("intx", set_irqs(34, kIntx, kEventfd | kTrigger, 0, 1), {third_.get()});
    add("unmask", set_irqs(35, kIntx, kEventfd | kUnmask, 0, 1), {fourth_.get()});
    add("mask", set_irqs(36, kMsix, kNone | kMask, 1, 1));
    add("write", region_write(40, kBar2, 0, Bytes{}.u32(0x01020304)));
    add("read", region_read(41, kBar2, 0, 4));
    add("write without reply", region_write(42, kBar2, 0, Bytes{}.u32(0x11111111), kNoReply));
    add("read again", region_read(43, kBar2, 0, 8));
    add("several writes",
        message(44, kWriteMulti, Bytes{}.u64(2).append(one(kBar2, 4, 0x0203)).append(one(kBar2, 0, 9))));
    add("read config", region_read(45, kConfig, 0, 256));
    add("io fds", message(46, kGetRegionIoFds, Bytes{}.u32(128).u32(0).u32(kBar2).u32(0)));
    add("unknown", message(47, 99, Bytes{}.zeroes(5)));
    add("log", feature(48, 6 | 0x20000, Bytes{}.u64(4096).u32(0).u32(0)));
    add("stop and copy", feature(49, 2 | 0x20000, Bytes{}.u32(3).u32(~0u)));
    add("data", message(50, kMigDataRead, Bytes{}.u32(1024).u32(100)));
    add("more data", message(51, kMigDataRead, Bytes{}.u32(1024).u32(50)));
    add("run", feature(52, 2 | 0x20000, Bytes{}.u32(2).u32(~0u)));
    add("unmap", dma_unmap(53, 0x100000, 0x1000));
    add("read at last", region_read(54, kBar2, 0, 8));
    add("reset", message(55, kReset));
    add("read after reset", region_read(56, kBar2, 0, 8));
  }

  [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }
  [[nodiscard]] std::size_t size() const {
    std::size_t all = 0;
    for (const Step& step : steps_)
      all += step.bytes.size();
    return all;
  }
  /// All that the client hears when `at` is told of each place in the stream before its byte is sent.
  Bytes play(HandoverRig& rig, const std::function<void(std::size_t)>& at) const {
    Bytes heard;
    std::size_t position = 0;
    for (const Step& step : steps_) {
      // Descriptors go with the first byte.
      std::size_t sent = 0;
      for (std::size_t i = 0; i < step.bytes.size(); ++i, ++position) {
        if (!at_is_due(at, position)) continue;
        if (i != sent) rig.send(part(step.bytes, sent, i), sent == 0 ? step.fds : std::vector<int>{});
        sent = i;
        rig.settle();
        at(position);
      }
      rig.send(part(step.bytes, sent, step.bytes.size()), sent == 0 ? step.fds : std::vector<int>{});
      heard.append(rig.take());
    }
    return heard;
  }
  std::function<bool(std::size_t)> is_due = [](std::size_t) { return true; };

 private:
  [[nodiscard]] bool at_is_due(const std::function<void(std::size_t)>& at, std::size_t position) const {
    return at && is_due(position);
  }
  static Bytes part(const Bytes& bytes, std::size_t from, std::size_t to) {
    Bytes some;
    some.assign(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(to));
    return some;
  }
  static Bytes one(unsigned region, unsigned offset, std::uint64_t value) {
    return Bytes{}.u64(offset).u32(region).u32(8).u64(value);
  }
  void add(const char* what, Bytes bytes, std::vector<int> fds = {}) {
    steps_.push_back({what, std::move(bytes), std::move(fds)});
  }

  std::vector<Step> steps_;
  UniqueFd memory_ = new_memfd(0x10000);
  UniqueFd first_ = new_eventfd(), second_ = new_eventfd(), third_ = new_eventfd(), fourth_ = new_eventfd();
};

TEST(HandoverStream, AtAnyByteOfAnyMessageTheClientHearsTheSame) {
  Script script;
  HandoverRig plain;
  const Bytes expected = script.play(plain, {});
  ASSERT_GT(expected.size(), 1000u);
  for (std::size_t at = 0; at < script.size(); ++at) {
    HandoverRig rig;
    script.is_due = [at](std::size_t position) { return position == at; };
    const Bytes heard = script.play(rig, [&](std::size_t) { rig.hand_over(); });
    ASSERT_EQ(heard, expected) << "handed over before byte " << at;
    ASSERT_EQ(rig.fds.size(), plain.fds.size()) << at;
    ASSERT_EQ(rig.served->device.attachments, 1) << at;
  }
}

TEST(HandoverStream, BeforeEveryByteTheClientHearsTheSame) {
  Script script;
  HandoverRig plain;
  const Bytes expected = script.play(plain, {});
  HandoverRig rig;
  std::size_t before = 0, most = 0;
  const Bytes heard = script.play(rig, [&](std::size_t) {
    rig.hand_over();
    if (before == 0) before = open_fds();
    most = std::max(most, open_fds());
  });
  EXPECT_EQ(heard, expected);
  EXPECT_LT(most, before + 64);  // what the script gives, and no more with each time
}

// Replies that do not fit the socket are cut anywhere, and so is what is read of them.
TEST(HandoverStream, InTheMiddleOfLongRepliesNothingIsLostOrTwice) {
  HandoverRig rig;
  rig.ask(qemu_version());
  Bytes heard;
  for (unsigned id = 0; id < 20; ++id)
    rig.ask(region_write(100, kBar0, 0x1000 + id * 4, Bytes{}.u32(id * 0x01010101u)));
  for (unsigned id = 0; id < 20; ++id)
    rig.send(region_read(id, kBar0, 0x1000, 4096));
  unsigned rounds = 0;
  do {
    rig.settle();
    rig.hand_over();
    rig.settle();
    const Bytes some = rig.read_on(rig.peer.get(), 777);
    if (some.empty()) break;
    heard.append(some);
  } while (++rounds < 1000);
  ASSERT_EQ(heard.size(), 20u * (16 + 16 + 4096));
  for (unsigned id = 0; id < 20; ++id) {
    EXPECT_EQ(heard.number_at(id * 4128ul, 2), id);
    EXPECT_EQ(heard.number_at(id * 4128ul + 4, 4), 4128u);
    EXPECT_EQ(heard.number_at(id * 4128ul + 32 + 19 * 4, 4), 19u * 0x01010101u);
  }
}

TEST(HandoverStream, DescriptorsOfHalfAMessageComeAlong) {
  const auto map = dma_map(4, 0, 4096);
  Bytes head, tail;
  head.assign(map.begin(), map.begin() + 20);
  tail.assign(map.begin() + 20, map.end());
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto file = new_memfd(4096);
  rig.send(head, {file.get()});
  rig.settle();
  rig.hand_over();
  const auto reply = rig.ask(tail);
  EXPECT_EQ(reply.number_at(12, 4), 0u);
  EXPECT_NE(rig.served->function->memory().windows().at(0).host, nullptr);
}

TEST(HandoverStream, ClientIsNotHungUpOnWhileNobodyServesIt) {
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto suspended = rig.suspend();
  rig.send(region_write(3, kBar2, 0, Bytes{}.u32(5)));
  rig.send(region_read(4, kBar2, 0, 4));
  EXPECT_TRUE(rig.read_on(rig.peer.get()).empty());
  EXPECT_FALSE(rig.has_ended);
  rig.resume(suspended);
  const Bytes heard = rig.take();
  ASSERT_EQ(heard.size(), 32u + 36u);
  EXPECT_EQ(heard.number_at(0, 2), 3u);
  EXPECT_EQ(heard.number_at(64, 4), 5u);
}

// --- memory ---

TEST(HandoverMemory, StaysMappedAndTheSame) {
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto file = new_memfd(0x3000);
  rig.ask(dma_map(2, 0x10000, 0x1000, 0x2000), {file.get()});
  rig.ask(dma_map(3, 0x20000, 0x1000, 0, 1), {file.get()});
  rig.ask(dma_map(4, 0x30000, 0x1000));
  rig.ask(region_write(5, kConfig, 4, Bytes{}.u16(7)));
  const std::uint8_t mark = 0x5a;
  ASSERT_EQ(::pwrite(file.get(), &mark, 1, 0x2000), 1);
  rig.hand_over();
  rig.hand_over();
  const auto windows = rig.served->function->memory().windows();
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(std::to_integer<unsigned>(*windows[0].host), 0x5au);
  EXPECT_EQ(windows[0].host, windows[1].host + 0x2000);  // one mapping of one file
  EXPECT_EQ(windows[1].access, memory::Access::read);
  EXPECT_EQ(windows[2].host, nullptr);
  EXPECT_EQ(rig.ask(dma_unmap(6, 0x10000, 0x1000)).number_at(12, 4), 0u);
}

TEST(HandoverMemory, UnmapThatWaitsIsAnsweredOnceAndBeforeWhatComesAfterIt) {
  SlowReader reader;
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto file = new_memfd(0x1000);
  rig.ask(dma_map(2, 0, 0x1000), {file.get()});
  rig.served->function->memory().attach(reader);
  rig.send(dma_unmap(3, 0, 0x1000));
  rig.send(region_write(4, kBar2, 0, Bytes{}.u32(1)));
  EXPECT_TRUE(rig.take().empty());
  const auto suspended = [&] {
    auto made = rig.served->server->suspend();
    rig.served->function->memory().detach(reader);
    rig.served.reset();
    return std::move(*made);
  }();
  rig.resume(suspended);
  const Bytes heard = rig.take();
  ASSERT_EQ(heard.size(), 40u + 32u);
  EXPECT_EQ(heard.number_at(0, 2), 3u);
  EXPECT_EQ(heard.number_at(32, 8), 0x1000u);  // how much was unmapped
  EXPECT_EQ(heard.number_at(40, 2), 4u);
  EXPECT_TRUE(rig.served->function->memory().windows().empty());
}

TEST(HandoverMemory, WhatTheLogKnewIsAllDirtyOnce) {
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto file = new_memfd(0x4000);
  rig.ask(dma_map(2, 0, 0x4000), {file.get()});
  rig.ask(feature(3, 6 | 0x20000, Bytes{}.u64(4096).u32(0).u32(0)));
  rig.hand_over();
  ASSERT_TRUE(rig.served->function->memory().is_logging());
  std::uint64_t bits = 0;
  ASSERT_TRUE(rig.served->function->memory().take_dirty(Iova{0}, ByteCount{0x4000}, 4096, {&bits, 1}));
  EXPECT_EQ(bits, 0xfu);
  bits = 0;
  ASSERT_TRUE(rig.served->function->memory().take_dirty(Iova{0}, ByteCount{0x4000}, 4096, {&bits, 1}));
  EXPECT_EQ(bits, 0u);
}

TEST(HandoverMemory, OfABarIsTheSamePage) {
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto info = message(2, kGetRegionInfo, Bytes{}.u32(96).u32(0).u32(kBar0).zeroes(20));
  rig.ask(info);
  ASSERT_EQ(rig.fds.size(), 1u);
  void* const at = ::mmap(nullptr, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, rig.fds[0].get(), 0x1000);
  ASSERT_NE(at, MAP_FAILED);
  auto* const page = static_cast<volatile std::uint32_t*>(at);
  page[1] = 0x1234;
  const auto suspended = rig.suspend();
  page[2] = 0x5678;  // a guest does not wait
  rig.resume(suspended);
  const auto shared = rig.served->function->shared(pci::Region::bar0);
  EXPECT_EQ(shared[0x1004], std::byte{0x34});
  EXPECT_EQ(shared[0x1008], std::byte{0x78});
  shared[0x1010] = std::byte{0x9a};
  EXPECT_EQ(page[4], 0x9au);
  rig.ask(info);
  ASSERT_EQ(rig.fds.size(), 2u);
  struct stat first {
  }, second{};
  ::fstat(rig.fds[0].get(), &first);
  ::fstat(rig.fds[1].get(), &second);
  EXPECT_EQ(first.st_ino, second.st_ino);
  ::munmap(at, 0x1000);
}

// --- interrupts ---

struct Wired : HandoverRig {
  Wired() {
    ask(qemu_version());
    ask(region_write(2, kConfig, 4, Bytes{}.u16(7)));
  }
  UniqueFd a = new_eventfd(), b = new_eventfd(), unmask = new_eventfd();
};

TEST(HandoverInterrupts, ReachTheSameListeners) {
  Wired rig;
  rig.ask(set_irqs(3, kMsix, kEventfd | kTrigger, 0, 32), {rig.a.get()});
  rig.ask(set_irqs(4, kMsix, kEventfd | kTrigger, 31, 1), {rig.b.get()});
  rig.hand_over();
  EXPECT_EQ(drain_eventfd(rig.a.get()), 0u);
  EXPECT_TRUE(rig.served->function->interrupts().trigger(0));
  EXPECT_TRUE(rig.served->function->interrupts().trigger(31));
  EXPECT_EQ(drain_eventfd(rig.a.get()), 1u);
  EXPECT_EQ(drain_eventfd(rig.b.get()), 1u);
}

TEST(HandoverInterrupts, PendingOnesAreToldWhenTheirMaskGoesAndNotBefore) {
  Wired rig;
  rig.ask(set_irqs(3, kMsix, kEventfd | kTrigger, 0, 2), {rig.a.get(), rig.b.get()});
  rig.ask(set_irqs(4, kMsix, kNone | kMask, 1, 1));
  EXPECT_TRUE(rig.served->function->interrupts().trigger(1));
  rig.hand_over();
  EXPECT_EQ(drain_eventfd(rig.b.get()), 0u);
  EXPECT_TRUE(rig.served->function->interrupts().is_pending(1));
  rig.ask(set_irqs(5, kMsix, kNone | kUnmask, 1, 1));
  EXPECT_EQ(drain_eventfd(rig.b.get()), 1u);
}

TEST(HandoverInterrupts, LevelThatWasToldStaysMaskedUntilTheClientUnmasks) {
  Wired rig;
  rig.ask(set_irqs(3, kIntx, kEventfd | kTrigger, 0, 1), {rig.a.get()});
  rig.ask(set_irqs(4, kIntx, kEventfd | kUnmask, 0, 1), {rig.unmask.get()});
  rig.served->device.set_level(true);
  EXPECT_EQ(drain_eventfd(rig.a.get()), 1u);
  rig.hand_over();
  rig.settle();
  EXPECT_EQ(drain_eventfd(rig.a.get()), 0u);
  signal_eventfd(rig.unmask.get());
  rig.settle();
  EXPECT_EQ(drain_eventfd(rig.a.get()), 1u);
}

TEST(HandoverInterrupts, ClientThatWasWatchedForReleaseStillIs) {
  Wired rig;
  rig.ask(set_irqs(3, kReq, kEventfd | kTrigger, 0, 1), {rig.a.get()});
  rig.hand_over();
  EXPECT_TRUE(rig.served->server->announce_departure(true));
  EXPECT_EQ(drain_eventfd(rig.a.get()), 1u);
}

TEST(HandoverInterrupts, WritesByEventfdAreTakenOnceEach) {
  Wired rig;
  rig.ask(message(3, kGetRegionIoFds, Bytes{}.u32(128).u32(0).u32(kBar2).u32(0)));
  ASSERT_EQ(rig.fds.size(), 2u);
  signal_eventfd(rig.fds[0].get());
  rig.settle();
  EXPECT_EQ(rig.served->device.writes, 1u);
  rig.hand_over();
  rig.settle();
  EXPECT_EQ(rig.served->device.writes, 0u);  // of the new object
  const auto suspended = rig.suspend();
  signal_eventfd(rig.fds[0].get());
  rig.resume(suspended);
  rig.settle();
  EXPECT_EQ(rig.served->device.writes, 1u);
}

// --- what the device has asked the client ---

struct Asking : HandoverRig {
  explicit Asking(const Bytes& version) {
    ask(version);
    if (!fds.empty()) twin = std::move(fds[0]);
    ask(dma_map(2, 0x10000, 0x1000));
    ask(region_write(3, kConfig, 4, Bytes{}.u16(7)));
  }
  [[nodiscard]] int socket() const { return twin ? twin.get() : peer.get(); }
  void fetch(std::size_t size) {
    served->function->dma_read(Iova{0x10000}, std::span{served->device.fetched}.first(size),
                               [](Result<void>) { FAIL() << "the one before has been handed over"; });
  }
  Bytes request() {
    settle();
    return read_on(socket());
  }
  void answer(const Bytes& request, const Bytes& payload) {
    send_on(socket(), message(static_cast<unsigned>(request.number_at(0, 2)),
                              static_cast<unsigned>(request.number_at(2, 2)), payload, kReply));
    settle();
  }
  UniqueFd twin;
};

/// A client of the specification: one that names what came after the first version.
Bytes newer_version() {
  return message(1, kVersion, Bytes{}.u16(0).u16(1).text(R"({"capabilities":{"max_data_xfer_size":32}})").u8(0));
}

TEST(HandoverDma, AnswerReachesTheNewDevice) {
  for (const Bytes& version : {newer_version(), twin_version()}) {
    Asking rig{version};
    rig.fetch(8);
    const Bytes request = rig.request();
    ASSERT_EQ(request.number_at(2, 2), kDmaRead);
    rig.hand_over();
    EXPECT_TRUE(rig.request().empty());  // it is not asked again
    rig.answer(request, Bytes{}.u64(0x10000).u64(8).u64(0x1122334455667788));
    ASSERT_EQ(rig.served->device.outcomes, std::vector<bool>{true});
    EXPECT_EQ(rig.served->device.fetched[0], std::byte{0x88});
  }
}

TEST(HandoverDma, TransferInPartsGoesOnBetweenThem) {
  Asking rig{newer_version()};
  rig.fetch(80);
  std::size_t moved = 0;
  for (const unsigned count : {32u, 32u, 16u}) {
    const Bytes request = rig.request();
    ASSERT_EQ(request.number_at(16, 8), 0x10000u + moved);
    ASSERT_EQ(request.number_at(24, 8), count);
    rig.hand_over();
    Bytes data;
    data.resize(count, static_cast<std::uint8_t>(moved + 1));
    rig.answer(request, Bytes{}.u64(0x10000 + moved).u64(count).append(data));
    moved += count;
  }
  ASSERT_EQ(rig.served->device.outcomes, std::vector<bool>{true});
  EXPECT_EQ(rig.served->device.fetched[0], std::byte{1});
  EXPECT_EQ(rig.served->device.fetched[32], std::byte{33});
  EXPECT_EQ(rig.served->device.fetched[79], std::byte{65});
}

TEST(HandoverDma, OneThatNobodyClaimsIsMadeAndForgotten) {
  Asking rig{newer_version()};
  rig.fetch(8);
  const Bytes request = rig.request();
  rig.on_new = [&] { rig.served->device.claims = false; };
  rig.hand_over();
  rig.hand_over();
  rig.answer(request, Bytes{}.u64(0x10000).u64(8).u64(7));
  EXPECT_TRUE(rig.served->device.outcomes.empty());
  EXPECT_EQ(rig.ask(region_read(9, kBar2, 0, 4)).number_at(12, 4), 0u);
}

// --- ends ---

TEST(HandoverServer, SocketAndBacklogComeAlong) {
  char name[] = "/tmp/vmux-test-XXXXXX";
  const std::string directory = ::mkdtemp(name);
  vfio_user::ServerOptions options;
  options.path = directory + "/x.sock";
  {
    HandoverRig rig{options};
    rig.ask(qemu_version());
    UniqueFd second{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, options.path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::connect(second.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    HandoverRig::send_on(second.get(), qemu_version());
    rig.hand_over();
    EXPECT_EQ(::access(options.path.c_str(), F_OK), 0);
    rig.peer.reset();
    rig.settle();
    EXPECT_GT(rig.read_on(second.get()).size(), 16u);  // VERSION's reply
    EXPECT_EQ(rig.served->device.attachments, 1);
    EXPECT_EQ(rig.served->device.resets, std::vector<pci::ResetKind>{pci::ResetKind::client_gone});
    EXPECT_EQ(rig.served->server->stats().connections, 2u);
  }
  EXPECT_EQ(::rmdir(directory.c_str()), 0);  // the socket's file went with the last server
}

TEST(HandoverServer, DestructorWithoutSuspendStillResets) {
  HandoverRig rig;
  rig.ask(qemu_version());
  rig.hand_over();
  rig.served->server.reset();
  EXPECT_EQ(rig.served->device.resets, std::vector<pci::ResetKind>{pci::ResetKind::client_gone});
  rig.read_on(rig.peer.get());
  EXPECT_TRUE(rig.has_ended);
}

TEST(HandoverServer, OfADeviceThatCannotGoesOnAsBefore) {
  HandoverRig rig;
  rig.ask(qemu_version());
  rig.served->device.is_savable = false;
  const auto suspended = rig.served->server->suspend();
  ASSERT_FALSE(suspended);
  EXPECT_EQ(suspended.error().code, Errc::not_supported);
  EXPECT_EQ(rig.ask(region_read(2, kBar2, 0, 4)).number_at(12, 4), 0u);
}

TEST(HandoverServer, ThatFailsMayBeTriedAgain) {
  HandoverRig rig;
  rig.ask(qemu_version());
  rig.ask(region_write(2, kBar2, 0, Bytes{}.u32(5)));
  const auto suspended = rig.suspend();
  {
    Served other{*rig.poller};
    other.device.is_savable = false;
    EXPECT_FALSE(vfio_user::Server::adopt(*rig.poller, *other.function, rig.options, suspended));
  }
  {
    Served other{*rig.poller};
    auto cut = state::Suspended{suspended.image, {}};
    EXPECT_FALSE(vfio_user::Server::adopt(*rig.poller, *other.function, rig.options, cut));
  }
  rig.resume(suspended);
  EXPECT_EQ(rig.ask(region_read(3, kBar2, 0, 4)).number_at(32, 4), 5u);
}

TEST(HandoverServer, ThatIsGivenUpEndsTheStream) {
  HandoverRig rig;
  rig.ask(qemu_version());
  auto suspended = rig.suspend();
  rig.send(region_read(3, kBar2, 0, 4));
  vfio_user::Server::give_up(std::move(suspended));
  EXPECT_TRUE(rig.read_on(rig.peer.get()).empty());
  EXPECT_TRUE(rig.has_ended);
}

TEST(HandoverServer, LeavesNoDescriptorBehind) {
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto file = new_memfd(0x1000), event = new_eventfd();
  rig.ask(dma_map(2, 0, 0x1000), {file.get()});
  rig.ask(set_irqs(3, kMsix, kEventfd | kTrigger, 0, 1), {event.get()});
  rig.ask(set_irqs(4, kIntx, kEventfd | kUnmask, 0, 1), {event.get()});
  rig.ask(message(5, kGetRegionIoFds, Bytes{}.u32(128).u32(0).u32(kBar2).u32(0)));
  const auto before = open_fds();
  for (unsigned i = 0; i < 50; ++i)
    rig.hand_over();
  EXPECT_EQ(open_fds(), before);
}

// Whoever makes the image may be anybody: it is refused, or what it makes is a session like another.
TEST(HandoverServer, OfATamperedImageIsRefusedOrServes) {
  HandoverRig rig;
  rig.ask(qemu_version());
  rig.send(region_read(3, kBar2, 0, 4));
  rig.settle();
  const auto suspended = rig.suspend();
  for (std::size_t size = 0; size < suspended.image.size(); size += 7) {
    Served other{*rig.poller};
    state::Suspended cut;
    cut.image.assign(suspended.image.begin(), suspended.image.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(vfio_user::Server::adopt(*rig.poller, *other.function, rig.options, cut)) << size;
  }
  rig.resume(suspended);
}

}  // namespace
}  // namespace vmux::protocol_test
