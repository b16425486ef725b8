// SPDX-License-Identifier: BSD-3-Clause
// VFIO_USER_DMA_MAP, VFIO_USER_DMA_UNMAP
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

constexpr std::uint64_t kPage = 4096;

TEST(DmaMap, GivesTheDeviceTheFilesBytes) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(4 * kPage);
  ASSERT_EQ(::pwrite(file.get(), "hello", 5, 2 * kPage + 7), 5);
  EXPECT_TRUE(is_success(rig.ask(dma_map(2, 0x10000, 2 * kPage, kPage), {file.get()}), 2, kDmaMap, 0));
  memory::GuestMemory reader;
  rig.function->memory().attach(reader);
  char text[5];
  EXPECT_TRUE(reader.read(Iova{0x10000 + kPage + 7}, std::as_writable_bytes(std::span{text})));
  EXPECT_EQ(std::string(text, 5), "hello");
  rig.function->memory().detach(reader);
}

TEST(DmaMap, TakesMemoryWithoutDescriptor) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_success(rig.ask(dma_map(2, 0xc0000, 0x20000)), 2, kDmaMap, 0));
  EXPECT_EQ(rig.function->memory().size(), 1u);
}

TEST(DmaMap, RefusesMemoryWithoutDescriptorWhenToldTo) {
  vfio_user::ServerOptions options;
  options.accept_message_dma = false;
  Rig rig{options};
  rig.greet(Profile::qemu);
  EXPECT_TRUE(is_error(rig.ask(dma_map(2, 0, kPage)), ENOTSUP));
}

TEST(DmaMap, RefusesOverlap) {
  Rig rig{Profile::qemu};
  rig.ask(dma_map(2, 0, 4 * kPage));
  EXPECT_TRUE(is_error(rig.ask(dma_map(3, 3 * kPage, 4 * kPage)), EEXIST));
  EXPECT_TRUE(is_success(rig.ask(dma_map(4, 4 * kPage, kPage)), 4, kDmaMap, 0));
}

TEST(DmaMap, RefusesWrappingRange) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(dma_map(2, ~std::uint64_t{0} - kPage + 1, 2 * kPage)), EINVAL));
}

TEST(DmaMap, RefusesEmptyRange) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(dma_map(2, 0, 0)), EINVAL));
}

TEST(DmaMap, RefusesRangeBeyondTheFile) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(kPage);
  const auto before = open_fds();
  EXPECT_EQ(rig.ask(dma_map(2, 0, 2 * kPage), {file.get()}).flags, kReply | kError);
  EXPECT_EQ(open_fds(), before);
}

TEST(DmaMap, RefusesUnknownFlagsAndSmallArgsz) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(dma_map(2, 0, kPage, 0, 7)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kDmaMap, Bytes{}.u32(31).u32(3).u64(0).u64(0).u64(kPage))), EINVAL));
}

TEST(DmaMap, RefusesShortAndLongMessage) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(2, kDmaMap, Bytes{}.u32(32).u32(3).zeroes(23))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(2, kDmaMap, Bytes{}.u32(32).u32(3).zeroes(25))), EINVAL));
}

TEST(DmaMap, ClosesSurplusDescriptors) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(kPage);
  const auto before = open_fds();
  EXPECT_TRUE(is_error(rig.ask(dma_map(2, 0, kPage), {file.get(), file.get()}), EINVAL));
  EXPECT_EQ(open_fds(), before);
  EXPECT_EQ(rig.function->memory().size(), 0u);
}

TEST(DmaMap, KeepsToTheLimitOfMaps) {
  vfio_user::ServerOptions options;
  options.max_dma_maps = 1;
  Rig rig{options};
  rig.greet(Profile::qemu);
  rig.ask(dma_map(2, 0, kPage));
  EXPECT_TRUE(is_error(rig.ask(dma_map(3, kPage, kPage)), ENOSPC));
}

TEST(DmaMap, ErrorForCloudHypervisorHasTheSizeItReads) {
  Rig rig{Profile::cloud_hypervisor};
  EXPECT_EQ(rig.ask(dma_map(2, 0, 0)).size, 16u);
}

// A pipe cannot be mapped; refusing memory at run time would abort the VM.
TEST(DmaMap, TakesMemoryThatThisHostCannotMapAsMemoryByMessage) {
  Rig rig{Profile::qemu};
  const UniqueFd directory{::open("/", O_RDONLY | O_CLOEXEC)};
  const auto reply = rig.ask(dma_map(2, 0, kPage), {directory.get()});
  EXPECT_EQ(rig.function->memory().size(), reply.error == 0 ? 1u : 0u);
}

TEST(DmaUnmap, EchoesItsEntryAndTakesTheMemory) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(4 * kPage);
  rig.ask(dma_map(2, 0x10000, 2 * kPage), {file.get()});
  const auto reply = rig.ask(dma_unmap(3, 0x10000, 2 * kPage));
  ASSERT_TRUE(is_success(reply, 3, kDmaUnmap, 24));
  EXPECT_EQ(reply.size, 40u);
  EXPECT_EQ(reply.payload.number_at(0, 4), 24u);
  EXPECT_EQ(reply.payload.number_at(8, 8), 0x10000u);
  EXPECT_EQ(reply.payload.number_at(16, 8), 2 * kPage);
  EXPECT_EQ(rig.function->memory().size(), 0u);
}

TEST(DmaUnmap, TakesEverythingWithTheAllFlag) {
  Rig rig{Profile::qemu};
  rig.ask(dma_map(2, 0, kPage));
  rig.ask(dma_map(3, 0x100000, kPage));
  EXPECT_TRUE(is_success(rig.ask(dma_unmap(4, 0, 0, 2)), 4, kDmaUnmap, 24));
  EXPECT_EQ(rig.function->memory().size(), 0u);
}

TEST(DmaUnmap, TakesEverythingOfNothing) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_success(rig.ask(dma_unmap(4, 0, 0, 2)), 4, kDmaUnmap, 24));
}

TEST(DmaUnmap, RefusesRangeTogetherWithTheAllFlag) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(dma_unmap(4, 0, kPage, 2)), EINVAL));
}

// The size of a reply is what was unmapped, whatever was asked for (linux/vfio.h).
TEST(DmaUnmap, TellsHowMuchThereWas) {
  Rig rig{Profile::qemu};
  rig.ask(dma_map(2, 0, kPage));
  rig.ask(dma_map(3, 0x100000, 2 * kPage));
  EXPECT_EQ(rig.ask(dma_unmap(4, 0x10000, kPage)).payload.number_at(16, 8), 0u);
  EXPECT_EQ(rig.ask(dma_unmap(5, 0, 0x200000)).payload.number_at(16, 8), 3 * kPage);
  rig.ask(dma_map(6, 0, kPage));
  EXPECT_EQ(rig.ask(dma_unmap(7, 0, 0, 2)).payload.number_at(16, 8), kPage);
}

TEST(DmaUnmap, RefusesToCutARangeInTwo) {
  Rig rig{Profile::qemu};
  rig.ask(dma_map(2, 0, 2 * kPage));
  EXPECT_EQ(rig.ask(dma_unmap(3, 0, kPage)).flags, kReply | kError);
  EXPECT_EQ(rig.function->memory().size(), 1u);
}

TEST(DmaUnmap, RefusesDirtyBitmapUnknownFlagsAndSmallArgsz) {
  Rig rig{Profile::qemu};
  rig.ask(dma_map(2, 0, kPage));
  EXPECT_TRUE(is_error(rig.ask(dma_unmap(3, 0, kPage, 1)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(dma_unmap(3, 0, kPage, 4)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(3, kDmaUnmap, Bytes{}.u32(8).u32(0).u64(0).u64(kPage))), EINVAL));
}

TEST(DmaUnmap, RefusesShortAndLongMessage) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(3, kDmaUnmap, Bytes{}.u32(24).zeroes(19))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(3, kDmaUnmap, Bytes{}.u32(24).zeroes(21))), EINVAL));
}

TEST(DmaUnmap, ErrorForCloudHypervisorHasTheSizeItReads) {
  Rig rig{Profile::cloud_hypervisor};
  const auto reply = rig.ask(dma_unmap(3, 0x10001, kPage));
  EXPECT_EQ(reply.size, 40u);
  EXPECT_EQ(reply.flags, kReply | kError);
  EXPECT_EQ(reply.payload.number_at(8, 8), 0x10001u);
}

TEST(DmaUnmap, AnswersOnlyWhenEveryReaderHasLeft) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(kPage);
  rig.ask(dma_map(2, 0, kPage), {file.get()});
  SlowReader reader;
  rig.function->memory().attach(reader);
  rig.function->memory().adopted(reader, reader.last);
  rig.send(dma_unmap(3, 0, kPage));
  rig.send(region_read(4, kBar2, 0, 4));  // waits behind it
  EXPECT_FALSE(rig.receive().has_value());
  rig.function->memory().adopted(reader, reader.last);
  const auto first = rig.receive();
  const auto second = rig.receive();
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(is_success(*first, 3, kDmaUnmap, 24));
  EXPECT_TRUE(is_success(*second, 4, kRegionRead, 20));
  rig.function->memory().detach(reader);
}

// The last reader may let go because of something that comes on another way than requests, which wait.
TEST(DmaUnmap, IsAnsweredWhenAnEventOfTheDeviceEndsTheWait) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(kPage);
  rig.ask(dma_map(2, 0, kPage), {file.get()});
  const auto events = rig.ask(message(7, kGetRegionIoFds, Bytes{}.u32(512).u32(0).u32(kBar2).u32(0)));
  ASSERT_EQ(events.fds.size(), 2u);
  SlowReader reader;
  rig.function->memory().attach(reader);
  rig.function->memory().adopted(reader, reader.last);
  rig.device.on_write = [&] { rig.function->memory().adopted(reader, reader.last); };
  rig.send(dma_unmap(3, 0, kPage));
  rig.send(region_read(4, kBar2, 0, 4));
  EXPECT_FALSE(rig.receive().has_value());
  signal_eventfd(events.fds[0].get());
  const auto first = rig.receive();
  const auto second = rig.receive();
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(is_success(*first, 3, kDmaUnmap, 24));
  EXPECT_TRUE(is_success(*second, 4, kRegionRead, 20));
  rig.function->memory().detach(reader);
}

TEST(DmaUnmap, SurvivesAPeerThatLeavesWhileAReaderLags) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(kPage);
  rig.ask(dma_map(2, 0, kPage), {file.get()});
  SlowReader reader;
  rig.function->memory().attach(reader);
  rig.function->memory().adopted(reader, reader.last);
  rig.send(dma_unmap(3, 0, kPage));
  rig.settle();
  rig.hang_up();
  EXPECT_EQ(rig.device.attachments, 0);
  // Nobody is served before the old memory is quiet.
  EXPECT_FALSE(rig.server->adopt(new_eventfd()).has_value());
  rig.function->memory().adopted(reader, reader.last);
  rig.connect();
  rig.greet(Profile::qemu);
  rig.function->memory().detach(reader);
}

TEST(DmaUnmap, SurvivesAServerThatGoesWhileAReaderLags) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(kPage);
  rig.ask(dma_map(2, 0, kPage), {file.get()});
  SlowReader reader;
  rig.function->memory().attach(reader);
  rig.function->memory().adopted(reader, reader.last);
  rig.send(dma_unmap(3, 0, kPage));
  rig.settle();
  rig.server.reset();
  rig.function->memory().adopted(reader, reader.last);
  rig.settle();
  EXPECT_EQ(rig.device.attachments, 0);
  rig.function->memory().detach(reader);
}

TEST(Dma, DisconnectClosesEveryDescriptor) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(4 * kPage);
  const auto before = open_fds();
  rig.ask(dma_map(2, 0, kPage), {file.get()});
  rig.ask(dma_map(3, kPage, kPage, kPage), {file.get()});
  rig.hang_up();
  EXPECT_EQ(open_fds(), before - 2);
  EXPECT_EQ(rig.function->memory().size(), 0u);
}

TEST(Dma, TruncatedFileEndsTheSessionOnly) {
  Rig rig{Profile::qemu};
  const auto file = new_memfd(kPage);
  rig.ask(dma_map(2, 0, kPage), {file.get()});
  memory::GuestMemory reader;
  rig.function->memory().attach(reader);
  ASSERT_EQ(::ftruncate(file.get(), 0), 0);
  char byte = 1;
  (void)reader.read(Iova{0}, std::as_writable_bytes(std::span{&byte, 1}));
  EXPECT_EQ(byte, 0);
  rig.send(region_read(4, kBar2, 0, 4));
  rig.settle();
  EXPECT_EQ(rig.device.attachments, 0);
  rig.function->memory().detach(reader);
  rig.connect();
  rig.greet(Profile::qemu);
}

}  // namespace
}  // namespace vmux::protocol_test
