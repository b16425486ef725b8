// SPDX-License-Identifier: BSD-3-Clause
// vhost-user: memory that comes and goes, by table and by slot, and the log of what is written there.
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "protocol/vhost_rig.hpp"

namespace vmux::vhost_protocol_test {
namespace {

constexpr auto kAnything = memory::Access::read_write;

bool knows(const Rig& rig, std::uint64_t at, std::uint64_t size) {
  return rig.device.space->knows(Iova{at}, ByteCount{size}, kAnything);
}

Bytes one_region(std::uint64_t guest, std::uint64_t size, std::uint64_t user, std::uint64_t offset,
                 unsigned flags = kNeedReply) {
  return message(kSetMemTable, Bytes{}.u32(1).u32(0).append(region(guest, size, user, offset)), flags);
}
Bytes slot(unsigned request, std::uint64_t guest, std::uint64_t size, std::uint64_t user, std::uint64_t offset = 0) {
  return message(request, Bytes{}.u64(0).append(region(guest, size, user, offset)), kNeedReply);
}

TEST(VhostMemory, IsThereWhenTheTableIsAcknowledged) {
  Rig rig;
  rig.greet();
  EXPECT_TRUE(is_number(rig.ask(both_regions(kNeedReply), {rig.memory.get(), rig.memory.get()}), kSetMemTable, 0));
  EXPECT_TRUE(knows(rig, kLowGuest, kRegionSize));
  EXPECT_TRUE(knows(rig, kHighGuest, kRegionSize));
  EXPECT_FALSE(knows(rig, kRegionSize, 1));
}

TEST(VhostMemory, OfTheOldTableIsGoneWithTheNewOne) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  EXPECT_TRUE(is_number(rig.ask(one_region(kHighGuest, 4096, kHighUser, 0), {rig.memory.get()}), kSetMemTable, 0));
  EXPECT_FALSE(knows(rig, kLowGuest, 1));
  EXPECT_TRUE(knows(rig, kHighGuest, 4096));
  EXPECT_FALSE(knows(rig, kHighGuest + 4096, 1));
  EXPECT_TRUE(is_number(rig.ask(message(kSetMemTable, Bytes{}.u32(0).u32(0), kNeedReply)), kSetMemTable, 0));
  EXPECT_EQ(rig.device.space->size(), 0u);
}

TEST(VhostMemory, ThatStaysKeepsItsMapping) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  const auto before = rig.device.space->windows().front().host;
  rig.ask(one_region(kLowGuest, kRegionSize, kLowUser, 0), {rig.memory.get()});
  EXPECT_EQ(rig.device.space->windows().front().host, before);
}

TEST(VhostMemory, OfAnotherFileIsAnother) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  const auto other = new_memfd(kRegionSize);
  ASSERT_EQ(::pwrite(other.get(), "other", 5, 0), 5);
  rig.ask(one_region(kLowGuest, kRegionSize, kLowUser, 0), {other.get()});
  EXPECT_EQ(std::memcmp(rig.device.space->windows().front().host, "other", 5), 0);
}

struct BadRegion {
  const char* what;
  std::uint64_t guest, size, user, offset;
};

TEST(VhostMemory, RefusesRegionsThatThereCannotBe) {
  constexpr BadRegion kBad[] = {
      {"empty", 0, 0, kLowUser, 0},
      {"beyond its file", 0, 2 * kRegionSize + 4096, kLowUser, 0},
      {"beyond its file by the offset", 0, 2 * kRegionSize, kLowUser, 4096},
      {"wraps as the guest sees it", ~0ull - 4095, 8192, kLowUser, 0},
      {"wraps as the front end sees it", 0, 8192, ~0ull - 4095, 0},
      {"wraps in its file", 0, 8192, kLowUser, ~0ull - 4095},
      {"half a page", 0, 2048, kLowUser, 0},
      {"at half a page", 2048, 4096, kLowUser, 0},
      {"at half a page of its file", 0, 4096, kLowUser, 2048},
  };
  for (const BadRegion& bad : kBad) {
    SCOPED_TRACE(bad.what);
    Rig rig;
    rig.greet();
    const auto fd = rig.memory.get();
    EXPECT_TRUE(is_number(rig.ask(one_region(bad.guest, bad.size, bad.user, bad.offset), {fd}), kSetMemTable, 1));
    EXPECT_TRUE(is_number(rig.ask(slot(kAddRegion, bad.guest, bad.size, bad.user, bad.offset), {fd}), kAddRegion, 1));
    EXPECT_EQ(rig.device.space->size(), 0u);
  }
}

TEST(VhostMemory, RefusesRegionsThatOverlap) {
  Rig rig;
  rig.greet();
  EXPECT_TRUE(is_number(rig.ask(slot(kAddRegion, 0, 8192, kLowUser), {rig.memory.get()}), kAddRegion, 0));
  EXPECT_TRUE(is_number(rig.ask(slot(kAddRegion, 4096, 8192, kHighUser), {rig.memory.get()}), kAddRegion, 1));
}

TEST(VhostMemory, ComesAndGoesBySlot) {
  Rig rig;
  rig.greet();
  EXPECT_TRUE(is_number(rig.ask(slot(kAddRegion, 0, 8192, kLowUser), {rig.memory.get()}), kAddRegion, 0));
  EXPECT_TRUE(knows(rig, 0, 8192));
  EXPECT_TRUE(is_number(rig.ask(slot(kRemRegion, 0, 4096, kLowUser)), kRemRegion, 1));   // not that one
  EXPECT_TRUE(is_number(rig.ask(slot(kRemRegion, 0, 8192, kHighUser)), kRemRegion, 1));  // nor that
  const std::size_t before = open_fds();
  EXPECT_TRUE(is_number(rig.ask(slot(kRemRegion, 0, 8192, kLowUser), {rig.memory.get()}), kRemRegion, 0));
  EXPECT_EQ(open_fds(), before);  // QEMU sends a descriptor here, too
  EXPECT_EQ(rig.device.space->size(), 0u);
  EXPECT_EQ(rig.server->stats().dma_maps, 1u);
  EXPECT_EQ(rig.server->stats().dma_unmaps, 1u);
}

TEST(VhostMemory, HasAsManySlotsAsItSays) {
  Rig rig;
  rig.greet();
  for (std::uint64_t i = 0; i < 509; ++i) {
    const auto reply = rig.ask(slot(kAddRegion, i * 4096, 4096, kLowUser + i * 4096), {rig.memory.get()});
    ASSERT_TRUE(is_number(reply, kAddRegion, 0)) << i;
  }
  EXPECT_TRUE(is_number(rig.ask(slot(kAddRegion, 1ull << 40, 4096, kHighUser), {rig.memory.get()}), kAddRegion, 1));
}

/// A reader on another thread that has not yet said it left the old table.
struct SlowReader final : memory::Observer {
  void adopt(std::shared_ptr<const memory::Table>, std::uint64_t generation) noexcept override { last = generation; }
  std::uint64_t last = 0;
};

TEST(VhostMemory, ThatGoesIsAcknowledgedWhenNobodyUsesItAndLaterRequestsWait) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  SlowReader reader;
  rig.device.space->attach(reader);
  rig.send(slot(kRemRegion, kHighGuest, kRegionSize, kHighUser));
  rig.send(message(kGetFeatures));
  rig.settle();
  EXPECT_FALSE(rig.receive());
  rig.device.space->adopted(reader, reader.last);
  rig.settle();
  const auto first = rig.receive(), second = rig.receive();
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(is_number(*first, kRemRegion, 0));
  EXPECT_EQ(second->request, kGetFeatures);
  rig.device.space->detach(reader);
}

TEST(VhostMemory, OfAGoneFrontEndIsGoneBeforeTheNextIsServed) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  SlowReader reader;
  rig.device.space->attach(reader);
  rig.hang_up();
  EXPECT_EQ(rig.device.space->size(), 0u);
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd ours{ends[0]};
  EXPECT_EQ(rig.server->adopt(UniqueFd{ends[1]}).error().code, Errc::busy);
  rig.device.space->adopted(reader, reader.last);
  rig.device.space->detach(reader);
  rig.connect();
}

TEST(VhostMemory, RingsStopBeforeItChangesAndGoOnWhereTheyWere) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  rig.start_ring(0);
  rig.device.states[0].next_avail = 7;
  (void)rig.device.take_heard();
  EXPECT_TRUE(is_number(rig.ask(one_region(kLowGuest, kRegionSize, kLowUser, 0), {rig.memory.get()}), kSetMemTable, 0));
  EXPECT_EQ(rig.device.take_heard(), (std::vector<std::string>{"stop 0", "start 0", "kick 0"}));
  EXPECT_EQ(rig.device.states[0].next_avail, 7u);
}

TEST(VhostMemory, RingsThatItHasNoMoreStandStillUntilItDoes) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  rig.start_ring(0);
  rig.device.states[0].next_avail = 7;
  EXPECT_TRUE(is_number(rig.ask(one_region(kLowGuest, 4096, kLowUser, 0), {rig.memory.get()}), kSetMemTable, 0));
  EXPECT_FALSE(rig.device.runs[0]);
  rig.give_memory();
  EXPECT_TRUE(rig.device.runs[0]);
  EXPECT_EQ(rig.device.states[0].next_avail, 7u);
}

TEST(VhostMemory, ThatMovesTakesRingsAlong) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  rig.start_ring(0);
  rig.ask(one_region(kHighGuest, kRegionSize, kLowUser, 0), {rig.memory.get()});
  EXPECT_EQ(rig.device.setups[0].descriptors.raw, kHighGuest + 0x10000);
}

TEST(VhostMemory, OfAFileThatIsCutOffEndsTheSession) {
  Rig rig;
  rig.greet();
  rig.give_memory();
  ASSERT_EQ(::ftruncate(rig.memory.get(), 0), 0);
  memory::GuestMemory reader;
  rig.device.space->attach(reader);
  EXPECT_EQ(reader.fetch<std::uint32_t>(Iova{kHighGuest}), 0u);
  rig.device.space->detach(reader);
  rig.poller->run_once(1'000'000'000);  // the patrol
  EXPECT_TRUE(rig.is_closed());
}

// --- the dirty log ---

class VhostLog : public ::testing::Test {
 protected:
  VhostLog() {
    rig.greet();
    rig.give_memory();
    rig.device.space->attach(writer);
  }
  ~VhostLog() override { rig.device.space->detach(writer); }

  void start() {
    rig.ask(message(kSetLogBase, Bytes{}.u64(kLogSize).u64(kLogAt)), {log_fd.get()});
    EXPECT_TRUE(
        is_number(rig.ask(number(kSetFeatures, kVersion1 | kProtocolFeatures | kLogAll, kNeedReply)), kSetFeatures, 0));
  }
  void write(std::uint64_t at) { EXPECT_TRUE(writer.store(Iova{at}, std::uint32_t{1})); }
  /// What the front end finds, and takes.
  [[nodiscard]] std::vector<std::uint64_t> take_pages() {
    std::vector<std::uint64_t> pages;
    auto* const bytes = reinterpret_cast<std::uint8_t*>(log.data() + kLogAt);
    for (std::uint64_t page = 0; page < kLogSize * 8; ++page) {
      if ((bytes[page / 8] >> (page % 8) & 1) == 0) continue;
      pages.push_back(page);
      bytes[page / 8] = static_cast<std::uint8_t>(bytes[page / 8] & ~(1u << (page % 8)));
    }
    return pages;
  }

  static constexpr std::uint64_t kLogAt = 64, kLogSize = (kHighGuest + kRegionSize) / 4096 / 8;
  using Pages = std::vector<std::uint64_t>;
  Rig rig;
  UniqueFd log_fd = new_memfd(kLogAt + kLogSize);
  Mapping log = Mapping::create(log_fd.get(), 0, kLogAt + kLogSize, true).value();
  memory::GuestMemory writer;
};

TEST_F(VhostLog, IsAlwaysAnswered) {
  EXPECT_EQ(rig.ask(message(kSetLogBase, Bytes{}.u64(kLogSize).u64(kLogAt)), {log_fd.get()}).flags, kVersion | kReply);
  EXPECT_FALSE(rig.receive());
}

TEST_F(VhostLog, HasEachPageThatIsWrittenOnceARingHasStopped) {
  start();
  rig.start_ring(0);
  write(0);
  write(0x3000);
  write(kHighGuest + kRegionSize - 4);
  rig.ask(ring_state(kGetBase, 0, 0));
  EXPECT_EQ(take_pages(), (Pages{0, 3, (kHighGuest + kRegionSize - 4096) / 4096}));
}

TEST_F(VhostLog, HasThemAfterAWhileWhileRingsRun) {
  start();
  rig.start_ring(0);
  write(0x5000);
  Pages pages;
  while (pages.empty()) {  // a round may end for something else
    rig.poller->run_once(1'000'000'000);
    pages = take_pages();
  }
  EXPECT_EQ(pages, (Pages{5}));
}

TEST_F(VhostLog, HasNothingOfWhatWasWrittenBeforeOrAfter) {
  write(0x1000);
  start();
  write(0x2000);
  EXPECT_TRUE(is_number(rig.ask(number(kSetFeatures, kVersion1 | kProtocolFeatures, kNeedReply)), kSetFeatures, 0));
  EXPECT_EQ(take_pages(), (Pages{2}));
  write(0x3000);
  rig.start_ring(0);
  rig.ask(ring_state(kGetBase, 0, 0));
  EXPECT_EQ(take_pages(), Pages{});
}

TEST_F(VhostLog, MarksTheUsedRingWhereTheFrontEndWantsIt) {
  start();
  rig.start_ring(0);
  rig.send(ring_addresses(0, /*log=*/1, /*log_address=*/kHighGuest + 0x7000));
  rig.ask(ring_state(kGetBase, 0, 0));
  EXPECT_EQ(take_pages(), (Pages{(kHighGuest + 0x7000) / 4096}));
}

TEST_F(VhostLog, DoesNotMarkTheUsedRingTwiceWhereItLies) {
  start();
  rig.start_ring(0);
  rig.send(ring_addresses(0, /*log=*/1, /*log_address=*/0x10000 + 0x1800));
  rig.ask(ring_state(kGetBase, 0, 0));
  EXPECT_EQ(take_pages(), Pages{});
}

TEST_F(VhostLog, ThatIsReplacedGetsWhatWasWrittenBefore) {
  start();
  write(0x1000);
  const auto other_fd = new_memfd(kLogAt + kLogSize);
  rig.ask(message(kSetLogBase, Bytes{}.u64(kLogSize).u64(kLogAt)), {other_fd.get()});
  EXPECT_EQ(take_pages(), (Pages{1}));
  write(0x2000);
  rig.start_ring(0);
  rig.ask(ring_state(kGetBase, 0, 0));
  EXPECT_EQ(take_pages(), Pages{});
}

TEST_F(VhostLog, LeavesOutWhatItHasNoRoomFor) {
  rig.ask(message(kSetLogBase, Bytes{}.u64(8).u64(kLogAt)), {log_fd.get()});
  rig.ask(number(kSetFeatures, kVersion1 | kProtocolFeatures | kLogAll, kNeedReply));
  rig.start_ring(0);
  write(63 * 4096);
  write(64 * 4096);
  write(kHighGuest);
  rig.send(ring_addresses(0, 1, ~0ull - 100));
  rig.ask(ring_state(kGetBase, 0, 0));
  EXPECT_EQ(take_pages(), (Pages{63}));
}

TEST_F(VhostLog, ThatThereCannotBeEndsTheSession) {
  for (const auto& [size, offset] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {0, 0}, {7, 0}, {kLogSize, kLogAt + 8}, {kLogSize, 4}, {~0ull, 0}, {kLogSize, ~0ull - 7}}) {
    SCOPED_TRACE(size);
    Rig other;
    other.greet();
    other.send(message(kSetLogBase, Bytes{}.u64(size).u64(offset)), {log_fd.get()});
    EXPECT_TRUE(other.is_closed());
  }
}

TEST_F(VhostLog, MustBeThereBeforeItIsSwitchedOn) {
  EXPECT_TRUE(
      is_number(rig.ask(number(kSetFeatures, kVersion1 | kProtocolFeatures | kLogAll, kNeedReply)), kSetFeatures, 1));
}

TEST_F(VhostLog, ThatIsCutOffEndsTheSession) {
  start();
  ASSERT_EQ(::ftruncate(log_fd.get(), 0), 0);
  write(0x1000);
  rig.poller->run_once(1'000'000'000);
  rig.poller->run_once(1'000'000'000);
  for (int i = 0; i < 8 && !rig.is_closed(); ++i)
    rig.poller->run_once(1'000'000'000);
  EXPECT_TRUE(rig.is_closed());
}

}  // namespace
}  // namespace vmux::vhost_protocol_test
