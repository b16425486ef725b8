// SPDX-License-Identifier: BSD-3-Clause
// VFIO_USER_REGION_READ, VFIO_USER_REGION_WRITE, VFIO_USER_REGION_WRITE_MULTI, VFIO_USER_DEVICE_RESET
#include <sys/mman.h>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

Bytes write_multi(unsigned id, const Bytes& writes, std::uint64_t count, unsigned flags = 0) {
  return message(id, kWriteMulti, Bytes{}.u64(count).append(writes), flags);
}
Bytes one_write(unsigned region, std::uint64_t offset, unsigned count, std::uint64_t data) {
  return Bytes{}.u64(offset).u32(region).u32(count).u64(data);
}

TEST(RegionRead, BringsTheDevicesBytes) {
  Rig rig{Profile::qemu};
  rig.device.registers[8] = 0xab;
  rig.device.registers[9] = 0xcd;
  const auto reply = rig.ask(region_read(0x1234, kBar2, 8, 4));
  ASSERT_TRUE(is_success(reply, 0x1234, kRegionRead, 20));
  EXPECT_EQ(reply.payload.number_at(0, 8), 8u);
  EXPECT_EQ(reply.payload.number_at(8, 4), kBar2);
  EXPECT_EQ(reply.payload.number_at(12, 4), 4u);
  EXPECT_EQ(reply.payload.number_at(16, 4), 0xcdabu);
}

TEST(RegionRead, BringsConfigSpace) {
  Rig rig{Profile::qemu};
  EXPECT_EQ(rig.ask(region_read(2, kConfig, 0, 4)).payload.number_at(16, 4), 0x56781234u);
}

TEST(RegionRead, TakesNoBytesToo) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_success(rig.ask(region_read(2, kBar2, 0, 0)), 2, kRegionRead, 16));
}

TEST(RegionRead, RefusesBytesBeyondTheRegion) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(region_read(2, kBar2, 62, 4)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(region_read(2, kBar2, ~0ull, 4)), EINVAL));
}

TEST(RegionRead, RefusesAbsentRegion) {
  Rig rig{Profile::qemu};
  EXPECT_EQ(rig.ask(region_read(2, 4, 0, 4)).flags, kReply | kError);
  EXPECT_TRUE(is_error(rig.ask(region_read(2, 9, 0, 4)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(region_read(2, ~0u, 0, 4)), EINVAL));
}

TEST(RegionRead, RefusesMoreThanTheLargestTransfer) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(region_read(2, kBar0, 0, (1 << 20) + 1)), EINVAL));
}

TEST(RegionRead, RefusesShortAndLongMessage) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(2, kRegionRead, Bytes{}.zeroes(15))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kRegionRead, Bytes{}.zeroes(17))), EINVAL));
}

TEST(RegionRead, ErrorForCloudHypervisorHasTheSizeItReadsAndAllOnes) {
  Rig rig{Profile::cloud_hypervisor};
  const auto reply = rig.ask(region_read(2, kBar2, 62, 4));
  EXPECT_EQ(reply.flags, kReply | kError);
  ASSERT_EQ(reply.size, 36u);
  EXPECT_EQ(reply.payload.number_at(16, 4), 0xffffffffu);
}

TEST(RegionRead, ClosesSurplusDescriptor) {
  Rig rig{Profile::qemu};
  const auto event = new_eventfd();
  const auto before = open_fds();
  EXPECT_TRUE(is_error(rig.ask(region_read(2, kBar2, 0, 4), {event.get()}), EINVAL));
  EXPECT_EQ(open_fds(), before);
}

TEST(RegionWrite, ReachesTheDeviceAndEchoes) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(region_write(7, kBar2, 12, Bytes{}.u32(0xdeadbeef)));
  ASSERT_TRUE(is_success(reply, 7, kRegionWrite, 16));
  EXPECT_EQ(reply.size, 32u);
  EXPECT_EQ(reply.payload.number_at(0, 8), 12u);
  EXPECT_EQ(reply.payload.number_at(12, 4), 4u);
  ASSERT_EQ(rig.device.writes.size(), 1u);
  EXPECT_EQ(rig.device.writes[0].first, 12u);
  EXPECT_EQ(rig.device.writes[0].second.number_at(0, 4), 0xdeadbeefu);
}

TEST(RegionWrite, PostedGetsNoReplyAndKeepsItsPlace) {
  Rig rig{Profile::qemu};
  rig.send(region_write(7, kBar2, 12, Bytes{}.u32(5), kNoReply));
  const auto reply = rig.ask(region_read(8, kBar2, 12, 4));
  EXPECT_EQ(reply.id, 8u);
  EXPECT_EQ(reply.payload.number_at(16, 4), 5u);
}

TEST(RegionAccess, IsCounted) {
  Rig rig{Profile::qemu};
  rig.send(region_write(7, kBar2, 12, Bytes{}.u32(5), kNoReply));
  static_cast<void>(rig.ask(region_read(8, kBar2, 12, 4)));
  static_cast<void>(rig.ask(region_read(9, kBar2, 12, 4)));
  EXPECT_EQ(rig.server->stats().region_writes, 1u);
  EXPECT_EQ(rig.server->stats().region_reads, 2u);
}

TEST(RegionWrite, PostedAndWrongGetsNoReplyEither) {
  Rig rig{Profile::qemu};
  rig.send(region_write(7, kBar2, 1000, Bytes{}.u32(5), kNoReply));
  EXPECT_EQ(rig.ask(region_read(8, kBar2, 12, 4)).id, 8u);
  EXPECT_EQ(rig.server->stats().errors, 1u);
}

TEST(RegionWrite, RefusesDataThatIsShorterOrLongerThanCount) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(2, kRegionWrite, Bytes{}.u64(0).u32(kBar2).u32(4).zeroes(3))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kRegionWrite, Bytes{}.u64(0).u32(kBar2).u32(4).zeroes(5))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kRegionWrite, Bytes{}.u64(0).u32(kBar2))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kRegionWrite, Bytes{}.u64(0).u32(kBar2).u32(~0u).zeroes(4))), EINVAL));
  EXPECT_TRUE(rig.device.writes.empty());
}

TEST(RegionWrite, RefusesAbsentRegion) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(region_write(2, 9, 0, Bytes{}.u32(1))), EINVAL));
}

TEST(RegionWrite, ErrorForCloudHypervisorHasTheSizeItReads) {
  Rig rig{Profile::cloud_hypervisor};
  const auto reply = rig.ask(region_write(2, kBar2, 1000, Bytes{}.u32(1)));
  EXPECT_EQ(reply.flags, kReply | kError);
  EXPECT_EQ(reply.size, 32u);
}

// QEMU turns mappings off while INTx is pending: what is mapped must work by message too.
TEST(RegionWrite, ReachesASharedPageAndIsSeenInTheMapping) {
  Rig rig{Profile::qemu};
  auto info = rig.ask(message(6, kGetRegionInfo, Bytes{}.u32(64).u32(0).u32(kBar0).u32(0).u64(0).u64(0)));
  ASSERT_EQ(info.fds.size(), 1u);
  auto* const page = static_cast<volatile std::uint32_t*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, info.fds[0].get(), 0x1000));
  ASSERT_NE(page, MAP_FAILED);
  rig.ask(region_write(7, kBar0, 0x1008, Bytes{}.u32(77)));
  EXPECT_EQ(page[2], 77u);
  page[3] = 99;
  EXPECT_EQ(rig.ask(region_read(8, kBar0, 0x100c, 4)).payload.number_at(16, 4), 99u);
  EXPECT_TRUE(rig.device.writes.empty());
  ::munmap(const_cast<std::uint32_t*>(page), 4096);
}

TEST(WriteMulti, AppliesAllInOrder) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(
      write_multi(3, one_write(kBar2, 0, 4, 1).append(one_write(kBar2, 4, 2, 2)).append(one_write(kBar2, 8, 8, 3)), 3));
  ASSERT_TRUE(is_success(reply, 3, kWriteMulti, 8));
  EXPECT_EQ(reply.payload.number_at(0, 8), 3u);
  ASSERT_EQ(rig.device.writes.size(), 3u);
  EXPECT_EQ(rig.device.writes[1].second.size(), 2u);
  EXPECT_EQ(rig.device.writes[2].second.size(), 8u);
}

TEST(WriteMulti, PostedGetsNoReply) {
  Rig rig{Profile::qemu};
  rig.send(write_multi(3, one_write(kBar2, 0, 4, 9), 1, kNoReply));
  EXPECT_EQ(rig.ask(region_read(4, kBar2, 0, 4)).payload.number_at(16, 4), 9u);
}

TEST(WriteMulti, TellsHowFarItCame) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(
      write_multi(3, one_write(kBar2, 0, 4, 1).append(one_write(9, 4, 4, 2)).append(one_write(kBar2, 8, 4, 3)), 3));
  EXPECT_EQ(reply.payload.number_at(0, 8), 1u);
  EXPECT_EQ(rig.device.writes.size(), 1u);
}

TEST(WriteMulti, RefusesCountThatDoesNotFit) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(write_multi(3, one_write(kBar2, 0, 4, 1), 2)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(write_multi(3, one_write(kBar2, 0, 4, 1), 0x0aaaaaaaaaaaaaabull)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(3, kWriteMulti, Bytes{}.u32(0))), EINVAL));
}

// A message of a mebibyte would keep the poller for seconds.
TEST(WriteMulti, HasNoMoreWritesThanAThousand) {
  Rig rig{Profile::qemu};
  Bytes writes;
  for (unsigned i = 0; i < 1024; ++i)
    writes.append(one_write(kBar2, 0, 4, i));
  EXPECT_TRUE(is_success(rig.ask(write_multi(3, writes, 1024)), 3, kWriteMulti, 8));
  writes.append(one_write(kBar2, 0, 4, 0));
  EXPECT_TRUE(is_error(rig.ask(write_multi(3, writes, 1025)), EINVAL));
}

TEST(WriteMulti, RefusesSingleWriteOfNineBytes) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(write_multi(3, one_write(kBar2, 0, 9, 1), 1)), EINVAL));
}

TEST(WriteMulti, IsNotForClientsThatDidNotOfferIt) {
  Rig rig{Profile::cloud_hypervisor};
  EXPECT_EQ(rig.ask(write_multi(3, one_write(kBar2, 0, 4, 1), 1)).flags, kReply | kError);
  EXPECT_TRUE(rig.device.writes.empty());
}

TEST(Reset, ResetsTheDevice) {
  Rig rig{Profile::cloud_hypervisor};
  EXPECT_TRUE(is_success(rig.ask(message(3, kReset)), 3, kReset, 0));
  EXPECT_EQ(rig.device.resets, std::vector{pci::ResetKind::client_request});
}

TEST(Reset, RefusesPayload) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(3, kReset, Bytes{}.u8(0))), EINVAL));
  EXPECT_TRUE(rig.device.resets.empty());
}

TEST(Region, SurvivesAPeerThatLeavesWithWritesUnderWay) {
  Rig rig{Profile::qemu};
  const auto before = open_fds();
  rig.send(region_write(7, kBar2, 12, Bytes{}.u32(5), kNoReply));
  rig.send(region_write(8, kBar2, 12, Bytes{}.u32(6)));
  rig.hang_up();
  EXPECT_EQ(rig.device.writes.size(), 2u);
  EXPECT_EQ(rig.device.resets, std::vector{pci::ResetKind::client_gone});
  EXPECT_EQ(open_fds(), before - 2);
}

}  // namespace
}  // namespace vmux::protocol_test
