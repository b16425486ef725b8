// SPDX-License-Identifier: BSD-3-Clause
// What a session hands over beside its stream: memory, interrupts, transfers under way, the socket it listens at.
#include "protocol/handover_rig.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace vmux::protocol_test {
namespace {

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
