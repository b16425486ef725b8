// SPDX-License-Identifier: BSD-3-Clause
// VFIO_USER_DEVICE_GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

Bytes get_info(unsigned argsz) { return message(5, kGetInfo, Bytes{}.u32(argsz).zeroes(12)); }
Bytes get_region_info(unsigned argsz, unsigned index) {
  return message(6, kGetRegionInfo, Bytes{}.u32(argsz).u32(0).u32(index).u32(0).u64(0).u64(0));
}
Bytes get_io_fds(unsigned argsz, unsigned index, unsigned flags = 0, unsigned count = 0) {
  return message(7, kGetRegionIoFds, Bytes{}.u32(argsz).u32(flags).u32(index).u32(count));
}
Bytes get_irq_info(unsigned argsz, unsigned index) {
  return message(8, kGetIrqInfo, Bytes{}.u32(argsz).u32(0).u32(index).u32(0));
}

TEST(GetInfo, TellsOfAResettablePciDevice) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_info(16));
  ASSERT_TRUE(is_success(reply, 5, kGetInfo, 16));
  EXPECT_EQ(reply.size, 32u);
  EXPECT_EQ(reply.payload.number_at(0, 4), 16u);
  EXPECT_EQ(reply.payload.number_at(4, 4), 3u);   // RESET | PCI
  EXPECT_EQ(reply.payload.number_at(8, 4), 9u);   // regions
  EXPECT_EQ(reply.payload.number_at(12, 4), 5u);  // interrupts
}

TEST(GetInfo, TakesTheArgszOfCloudHypervisor) {
  Rig rig{Profile::cloud_hypervisor};
  EXPECT_TRUE(is_success(rig.ask(get_info(32)), 5, kGetInfo, 16));
}

TEST(GetInfo, RefusesSmallArgsz) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(get_info(15)), EINVAL));
}

TEST(GetInfo, RefusesShortMessage) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(5, kGetInfo, Bytes{}.u32(16).zeroes(11))), EINVAL));
}

TEST(GetInfo, RefusesLongMessage) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(5, kGetInfo, Bytes{}.u32(16).zeroes(5000))), EINVAL));
}

TEST(GetInfo, RefusesInFullSizeForCloudHypervisor) {
  Rig rig{Profile::cloud_hypervisor};
  const auto reply = rig.ask(get_info(15));
  EXPECT_EQ(reply.size, 32u);
  EXPECT_EQ(reply.flags, kReply | kError);
}

TEST(GetInfo, ClosesSurplusDescriptor) {
  Rig rig{Profile::qemu};
  const auto event = new_eventfd();
  const auto before = open_fds();
  EXPECT_TRUE(is_error(rig.ask(get_info(16), {event.get()}), EINVAL));
  EXPECT_EQ(open_fds(), before);
}

TEST(GetRegionInfo, DescribesMappableBarInTwoStepsWithTheDescriptorOnBoth) {
  Rig rig{Profile::qemu};
  const auto first = rig.ask(get_region_info(32, kBar0));
  ASSERT_TRUE(is_success(first, 6, kGetRegionInfo, 32));
  EXPECT_EQ(first.payload.number_at(0, 4), 64u);  // argsz that is needed: header, one area
  ASSERT_EQ(first.fds.size(), 1u);

  const auto second = rig.ask(get_region_info(64, kBar0));
  ASSERT_TRUE(is_success(second, 6, kGetRegionInfo, 64));
  EXPECT_EQ(second.payload.number_at(4, 4), 0xfu);  // READ | WRITE | MMAP | CAPS
  EXPECT_EQ(second.payload.number_at(8, 4), 0u);
  EXPECT_EQ(second.payload.number_at(12, 4), 32u);  // cap_offset
  EXPECT_EQ(second.payload.number_at(16, 8), 0x4000u);
  EXPECT_EQ(second.payload.number_at(24, 8), 0u);
  EXPECT_EQ(second.payload.number_at(32, 2), 1u);  // VFIO_REGION_INFO_CAP_SPARSE_MMAP
  EXPECT_EQ(second.payload.number_at(34, 2), 1u);  // version
  EXPECT_EQ(second.payload.number_at(36, 4), 0u);  // next
  EXPECT_EQ(second.payload.number_at(40, 4), 1u);  // nr_areas
  EXPECT_EQ(second.payload.number_at(48, 8), 0x1000u);
  EXPECT_EQ(second.payload.number_at(56, 8), 0x1000u);
  ASSERT_EQ(second.fds.size(), 1u);
  struct stat status {};
  ASSERT_EQ(::fstat(second.fds[0].get(), &status), 0);
  EXPECT_GE(status.st_size, 0x2000);
}

// QEMU 10.1 refuses a reply whose CAPS flag comes with an offset outside of [32, argsz].
TEST(GetRegionInfo, HasSoundCapOffsetInTheShortReply) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_region_info(32, kBar0));
  EXPECT_GE(reply.payload.number_at(12, 4), 32u);
  EXPECT_LE(reply.payload.number_at(12, 4), reply.payload.number_at(0, 4));
}

TEST(GetRegionInfo, DescribesConfigSpaceWithoutDescriptor) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_region_info(32, kConfig));
  ASSERT_TRUE(is_success(reply, 6, kGetRegionInfo, 32));
  EXPECT_EQ(reply.payload.number_at(0, 4), 32u);
  EXPECT_EQ(reply.payload.number_at(4, 4), 3u);
  EXPECT_GE(reply.payload.number_at(16, 8), 256u);
  EXPECT_TRUE(reply.fds.empty());
}

TEST(GetRegionInfo, AnswersAnAbsentRegionWithSizeZero) {
  Rig rig{Profile::cloud_hypervisor};
  const auto reply = rig.ask(get_region_info(32, 8));
  ASSERT_TRUE(is_success(reply, 6, kGetRegionInfo, 32));
  EXPECT_EQ(reply.payload.number_at(16, 8), 0u);
}

TEST(GetRegionInfo, RefusesIndexBeyondTheLast) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(get_region_info(32, 9)), EINVAL));
}

TEST(GetRegionInfo, RefusesSmallArgsz) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(get_region_info(31, 0)), EINVAL));
}

TEST(GetRegionInfo, RefusesShortMessage) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(6, kGetRegionInfo, Bytes{}.u32(32).zeroes(27))), EINVAL));
}

TEST(GetRegionInfo, RefusesInFullSizeForCloudHypervisor) {
  Rig rig{Profile::cloud_hypervisor};
  EXPECT_EQ(rig.ask(get_region_info(32, 9)).size, 48u);
}

TEST(GetRegionInfo, SendsNoDescriptorWithoutAReply) {
  Rig rig{Profile::qemu};
  auto silent = get_region_info(64, kBar0);
  silent[8] = kNoReply;
  rig.send(silent);
  const auto reply = rig.ask(message(3, kReset));
  EXPECT_TRUE(is_success(reply, 3, kReset, 0));
  EXPECT_TRUE(reply.fds.empty());
}

TEST(GetRegionIoFds, OffersNone) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_io_fds(512, kBar0));
  ASSERT_TRUE(is_success(reply, 7, kGetRegionIoFds, 16));
  EXPECT_EQ(reply.payload.number_at(0, 4), 16u);
  EXPECT_EQ(reply.payload.number_at(12, 4), 0u);
  EXPECT_TRUE(reply.fds.empty());
}

TEST(GetRegionIoFds, DescribesTheEventsOfABarWithTheirEventfds) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_io_fds(512, kBar2));
  ASSERT_TRUE(is_success(reply, 7, kGetRegionIoFds, 96));
  EXPECT_EQ(reply.payload.number_at(0, 4), 96u);
  EXPECT_EQ(reply.payload.number_at(8, 4), kBar2);
  EXPECT_EQ(reply.payload.number_at(12, 4), 2u);
  Bytes parts;
  parts.assign(reply.payload.begin() + 16, reply.payload.end());
  EXPECT_EQ(parts, Bytes{}
                       .u64(8)
                       .u64(2)
                       .u32(0)
                       .u32(0)
                       .u32(3)
                       .u32(0)
                       .u64(0x1234)  // DATAMATCH | PIO
                       .append(Bytes{}.u64(16).u64(4).u32(1).u32(0).u32(2).u32(0).u64(0)));
  EXPECT_EQ(reply.fds.size(), 2u);
}

TEST(GetRegionIoFds, SaysHowMuchRoomItNeeds) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_io_fds(95, kBar2));
  ASSERT_TRUE(is_success(reply, 7, kGetRegionIoFds, 16));
  EXPECT_EQ(reply.payload.number_at(0, 4), 96u);
  EXPECT_TRUE(reply.fds.empty());
  EXPECT_TRUE(is_success(rig.ask(get_io_fds(96, kBar2)), 7, kGetRegionIoFds, 96));
}

TEST(GetRegionIoFds, SendsNoMoreDescriptorsThanTheClientTakes) {
  Rig rig{Profile::cloud_hypervisor};  // max_msg_fds 1
  const auto reply = rig.ask(get_io_fds(512, kBar2));
  ASSERT_TRUE(is_success(reply, 7, kGetRegionIoFds, 56));
  EXPECT_EQ(reply.payload.number_at(12, 4), 1u);
  EXPECT_EQ(reply.fds.size(), 1u);
}

TEST(GetRegionIoFds, SignalIsAWriteToTheDevice) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_io_fds(512, kBar2));
  ASSERT_EQ(reply.fds.size(), 2u);
  signal_eventfd(reply.fds[0].get());
  rig.settle();
  signal_eventfd(reply.fds[0].get());
  rig.settle();
  signal_eventfd(reply.fds[1].get());
  rig.settle();
  ASSERT_EQ(rig.device.writes.size(), 3u);
  EXPECT_EQ(rig.device.writes[0], (std::pair{std::uint64_t{8}, Bytes{}.u16(0x1234)}));
  EXPECT_EQ(rig.device.writes[1], rig.device.writes[0]);
  EXPECT_EQ(rig.device.writes[2], (std::pair{std::uint64_t{16}, Bytes{}.u32(0)}));
}

TEST(GetRegionIoFds, WhatTheDeviceAsksForInSuchAWriteIsSent) {
  Rig rig{Profile::qemu};
  EXPECT_EQ(rig.ask(dma_map(2, 0xc0000, 0x10000)).error, 0u);
  EXPECT_EQ(rig.ask(region_write(3, kConfig, 4, Bytes{}.u16(6))).error, 0u);  // bus master on
  std::array<std::byte, 8> bytes{};
  rig.device.on_write = [&] { rig.function->dma_read(Iova{0xc0000}, bytes, [](Result<void>) {}); };
  const auto reply = rig.ask(get_io_fds(512, kBar2));
  ASSERT_EQ(reply.fds.size(), 2u);
  signal_eventfd(reply.fds[0].get());
  const auto request = rig.receive();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->flags, 0u);  // a command
}

TEST(GetRegionIoFds, MemoryThatIsFoundToBeTruncatedInSuchAWriteEndsTheSession) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(0x1000);
  EXPECT_EQ(rig.ask(dma_map(2, 0, 0x1000), {file.get()}).error, 0u);
  memory::GuestMemory reader;
  rig.function->memory().attach(reader);
  rig.device.on_write = [&] { static_cast<void>(reader.fetch<std::uint32_t>(Iova{0})); };
  const auto reply = rig.ask(get_io_fds(512, kBar2));
  ASSERT_EQ(reply.fds.size(), 2u);
  ASSERT_EQ(::ftruncate(file.get(), 0), 0);
  signal_eventfd(reply.fds[0].get());
  EXPECT_TRUE(rig.is_closed());
  rig.function->memory().detach(reader);
}

TEST(GetRegionIoFds, AskedTwiceGivesTheSameEvents) {
  Rig rig{Profile::qemu};
  const auto first = rig.ask(get_io_fds(512, kBar2));
  const auto again = rig.ask(get_io_fds(512, kBar2));
  ASSERT_EQ(again.fds.size(), 2u);
  signal_eventfd(first.fds[0].get());
  rig.settle();
  EXPECT_EQ(rig.device.writes.size(), 1u);
  signal_eventfd(first.fds[1].get());
  signal_eventfd(again.fds[1].get());
  rig.settle();
  EXPECT_EQ(rig.device.writes.size(), 2u);  // what comes together is one
}

TEST(GetRegionIoFds, DescriptorsOfAClientThatWentReachNobody) {
  const std::size_t before = open_fds();
  {
    Rig rig{Profile::qemu};
    const auto reply = rig.ask(get_io_fds(512, kBar2));
    rig.hang_up();
    rig.connect();
    rig.greet(Profile::qemu);
    signal_eventfd(reply.fds[0].get());
    rig.settle();
    EXPECT_TRUE(rig.device.writes.empty());
  }
  EXPECT_EQ(open_fds(), before);
}

TEST(GetRegionIoFds, EventfdThatWasMadeToBlockHoldsNobodyUp) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_io_fds(512, kBar2));
  ASSERT_EQ(::fcntl(reply.fds[0].get(), F_SETFL, 0), 0);
  signal_eventfd(reply.fds[0].get());
  std::uint64_t taken = 0;
  EXPECT_EQ(::read(reply.fds[0].get(), &taken, sizeof taken), 8);  // before the server looks
  EXPECT_TRUE(is_success(rig.ask(message(3, kReset)), 3, kReset, 0));
}

TEST(GetRegionIoFds, RefusesAbsentRegion) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(get_io_fds(512, 4)), EINVAL));
}

TEST(GetRegionIoFds, RefusesIndexBeyondTheLast) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(get_io_fds(512, 512)), EINVAL));
}

TEST(GetRegionIoFds, RefusesFlagsCountAndSmallArgsz) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(get_io_fds(512, kBar0, 1)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(get_io_fds(512, kBar0, 0, 1)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(get_io_fds(15, kBar0)), EINVAL));
}

TEST(GetIrqInfo, DescribesMsix) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_irq_info(16, 2));
  ASSERT_TRUE(is_success(reply, 8, kGetIrqInfo, 16));
  EXPECT_EQ(reply.payload.number_at(0, 4), 16u);
  EXPECT_EQ(reply.payload.number_at(4, 4) & 1, 1u);  // EVENTFD
  EXPECT_EQ(reply.payload.number_at(8, 4), 2u);
  EXPECT_EQ(reply.payload.number_at(12, 4), kVectors);
}

TEST(GetIrqInfo, DescribesIntxAsMaskableAndAutomasked) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_irq_info(16, 0));
  EXPECT_EQ(reply.payload.number_at(4, 4), 7u);
  EXPECT_EQ(reply.payload.number_at(12, 4), 1u);
}

TEST(GetIrqInfo, AnswersAbsentKindWithCountZero) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(get_irq_info(16, 1));
  EXPECT_EQ(reply.payload.number_at(4, 4), 0u);  // no eventfd either: DPDK takes the kind that has the flag
  EXPECT_EQ(reply.payload.number_at(12, 4), 0u);
}

TEST(GetIrqInfo, RefusesIndexBeyondTheLastAndSmallArgsz) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(get_irq_info(16, 5)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(get_irq_info(12, 0)), EINVAL));
}

TEST(GetIrqInfo, RefusesInFullSizeForCloudHypervisor) {
  Rig rig{Profile::cloud_hypervisor};
  EXPECT_EQ(rig.ask(get_irq_info(16, 5)).size, 32u);
}

TEST(Info, SurvivesAPeerThatLeavesBeforeTheReply) {
  Rig rig{Profile::qemu};
  const auto before = open_fds();
  rig.send(get_region_info(64, kBar0));
  rig.hang_up();
  EXPECT_EQ(open_fds(), before - 2);
  EXPECT_EQ(rig.device.attachments, 0);
}

}  // namespace
}  // namespace vmux::protocol_test
