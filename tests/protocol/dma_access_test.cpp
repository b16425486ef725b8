// SPDX-License-Identifier: BSD-3-Clause
// VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE: the server asks, a raw client answers.
#include <array>
#include <cstring>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

constexpr std::uint64_t kAt = 0xc0000;

/// How a transfer that the device started went.
struct Transfer {
  bool is_done = false;
  Result<void> result;
  pci::MessageDma::Done done() {
    return [this](Result<void> how) {
      is_done = true;
      result = how;
    };
  }
};

struct DmaRig : Rig {
  explicit DmaRig(const Bytes& version) {
    EXPECT_EQ(ask(version).flags, kReply);
    EXPECT_EQ(ask(dma_map(2, kAt, 0x10000)).error, 0u);
    EXPECT_EQ(ask(region_write(3, kConfig, 4, Bytes{}.u16(6))).error, 0u);  // bus master on
  }
  void start_read() { function->dma_read(Iova{kAt}, std::as_writable_bytes(std::span{bytes}), transfer.done()); }
  void start_write() { function->dma_write(Iova{kAt}, std::as_bytes(std::span{bytes}), transfer.done()); }
  std::array<char, 8> bytes{};
  Transfer transfer;
};

Bytes spec_version() {
  return message(1, kVersion, Bytes{}.u16(0).u16(1).text(R"({"capabilities":{"max_data_xfer_size":1048576}})").u8(0));
}
Bytes read_reply(const Reply& request, const Bytes& data) {
  return message(request.id, kDmaRead, Bytes{}.u64(kAt).u64(data.size()).append(data), kReply);
}
// QEMU puts the data at byte 28 of the message and pads its end.
Bytes qemu_read_reply(const Reply& request, const Bytes& data) {
  return message(request.id, kDmaRead, Bytes{}.u64(kAt).u32(data.size()).append(data).u32(0), kReply);
}

TEST(DmaRead, BringsBytesInTheSpecifiedLayout) {
  DmaRig rig{spec_version()};
  rig.start_read();
  const auto request = rig.receive().value();
  EXPECT_EQ(request.command, kDmaRead);
  EXPECT_EQ(request.flags, 0u);
  EXPECT_EQ(request.size, 32u);
  EXPECT_EQ(request.payload.number_at(0, 8), kAt);
  EXPECT_EQ(request.payload.number_at(8, 8), 8u);
  rig.send(read_reply(request, Bytes{}.text("ABCDEFGH")));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done && rig.transfer.result);
  EXPECT_EQ(std::string(rig.bytes.data(), 8), "ABCDEFGH");
}

TEST(DmaRead, FindsOutQemusLayoutFirst) {
  DmaRig rig{qemu_version()};
  rig.start_read();
  const auto probe = rig.receive().value();
  EXPECT_EQ(probe.command, kDmaWrite);
  EXPECT_EQ(probe.payload.number_at(8, 8), 0u);  // writes nothing
  rig.send(message(probe.id, kDmaWrite, {}, kReply));
  const auto request = rig.receive().value();
  EXPECT_EQ(request.command, kDmaRead);
  rig.send(qemu_read_reply(request, Bytes{}.text("ABCDEFGH")));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done && rig.transfer.result);
  EXPECT_EQ(std::string(rig.bytes.data(), 8), "ABCDEFGH");
}

TEST(DmaRead, BelievesTheBytesMoreThanTheProbe) {
  DmaRig rig{qemu_version()};
  rig.start_read();
  rig.send(message(rig.receive().value().id, kDmaWrite, {}, kReply));
  rig.send(read_reply(rig.receive().value(), Bytes{}.text("ABCDEFGH")));
  rig.settle();
  EXPECT_EQ(std::string(rig.bytes.data(), 8), "ABCDEFGH");
}

TEST(DmaRead, MinorZeroClientOfTheSpecificationIsRecognised) {
  DmaRig rig{qemu_version()};
  rig.start_read();
  const auto probe = rig.receive().value();
  rig.send(message(probe.id, kDmaWrite, Bytes{}.u64(kAt).u64(0), kReply));
  rig.send(read_reply(rig.receive().value(), Bytes{}.text("\0\0\0\0EFGH").zeroes(4)));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done);
}

TEST(DmaWrite, SendsBytesInTheSpecifiedLayout) {
  DmaRig rig{spec_version()};
  std::memcpy(rig.bytes.data(), "ABCDEFGH", 8);
  rig.start_write();
  const auto request = rig.receive().value();
  EXPECT_EQ(request.command, kDmaWrite);
  EXPECT_EQ(request.size, 40u);
  EXPECT_EQ(request.payload.number_at(8, 8), 8u);
  EXPECT_EQ(request.payload.number_at(16, 8), 0x4847464544434241u);
  rig.send(message(request.id, kDmaWrite, Bytes{}.u64(kAt).u32(8), kReply));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done && rig.transfer.result);
}

TEST(DmaWrite, SendsBytesInQemusLayoutWithThePaddingThatQemuWants) {
  DmaRig rig{qemu_version()};
  std::memcpy(rig.bytes.data(), "ABCDEFGH", 8);
  rig.start_write();
  rig.send(message(rig.receive().value().id, kDmaWrite, {}, kReply));
  const auto request = rig.receive().value();
  EXPECT_EQ(request.size, 40u);
  EXPECT_EQ(request.payload.number_at(8, 4), 8u);
  EXPECT_EQ(request.payload.number_at(12, 8), 0x4847464544434241u);
  rig.send(message(request.id, kDmaWrite, {}, kReply));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done && rig.transfer.result);
}

TEST(DmaWrite, FallsBackWhenQemusLayoutIsRefused) {
  DmaRig rig{qemu_version()};
  std::memcpy(rig.bytes.data(), "ABCDEFGH", 8);
  rig.start_write();
  rig.send(message(rig.receive().value().id, kDmaWrite, {}, kReply));
  const auto first = rig.receive().value();
  rig.send(Bytes{}.u16(first.id).u16(kDmaWrite).u32(16).u32(kReply | kError).u32(E2BIG));
  const auto second = rig.receive().value();
  EXPECT_EQ(second.payload.number_at(16, 8), 0x4847464544434241u);
  rig.send(message(second.id, kDmaWrite, {}, kReply));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done && rig.transfer.result);
}

// A client that waits for a reply serves no request: the reply must go first.
TEST(DmaAccess, StartedInARegionAccessFollowsItsReply) {
  DmaRig rig{spec_version()};
  rig.device.on_write = [&rig] { rig.start_read(); };
  const auto first = rig.ask(region_write(7, kBar2, 0, Bytes{}.u32(1)));
  EXPECT_TRUE(is_success(first, 7, kRegionWrite, 16));
  const auto second = rig.receive().value();
  EXPECT_EQ(second.command, kDmaRead);
  rig.device.on_write = nullptr;
  rig.send(read_reply(second, Bytes{}.text("ABCDEFGH")));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done);
}

TEST(DmaAccess, RequestsOfTheClientAreServedMeanwhile) {
  DmaRig rig{spec_version()};
  rig.start_read();
  const auto request = rig.receive().value();
  EXPECT_TRUE(is_success(rig.ask(region_read(9, kBar2, 0, 4)), 9, kRegionRead, 20));
  rig.send(read_reply(request, Bytes{}.text("ABCDEFGH")));
  rig.settle();
  EXPECT_TRUE(rig.transfer.is_done);
}

// While a client waits for the reply to an UNMAP it serves no request on the same socket.
TEST(DmaAccess, StartedBehindAnUnmapThatWaitsForReadersFollowsItsReply) {
  DmaRig rig{spec_version()};
  EXPECT_EQ(rig.ask(dma_map(4, 0x100000, 0x1000)).error, 0u);
  SlowReader lagging;
  rig.function->memory().attach(lagging);
  rig.send(dma_unmap(5, 0x100000, 0x1000));
  EXPECT_FALSE(rig.receive().has_value());
  rig.start_read();
  EXPECT_FALSE(rig.receive().has_value());
  rig.function->memory().detach(lagging);
  EXPECT_EQ(rig.receive().value().id, 5u);
  EXPECT_EQ(rig.receive().value().command, kDmaRead);
}

TEST(DmaAccess, ErrorOfTheClientReachesTheDevice) {
  DmaRig rig{spec_version()};
  rig.start_read();
  const auto request = rig.receive().value();
  rig.send(Bytes{}.u16(request.id).u16(kDmaRead).u32(16).u32(kReply | kError).u32(EFAULT));
  rig.settle();
  ASSERT_TRUE(rig.transfer.is_done);
  EXPECT_EQ(rig.transfer.result.error().sys, EFAULT);
}

TEST(DmaAccess, ReplyOfTheWrongSizeIsAnErrorOfThatTransfer) {
  DmaRig rig{spec_version()};
  rig.start_read();
  rig.send(read_reply(rig.receive().value(), Bytes{}.text("ABC")));
  rig.settle();
  ASSERT_TRUE(rig.transfer.is_done);
  EXPECT_FALSE(rig.transfer.result.has_value());
  EXPECT_TRUE(is_success(rig.ask(message(3, kReset)), 3, kReset, 0));
}

TEST(DmaAccess, LongTransferGoesInParts) {
  DmaRig rig{message(1, kVersion, Bytes{}.u16(0).u16(1).text(R"({"capabilities":{"max_data_xfer_size":4}})").u8(0))};
  rig.start_read();
  const auto first = rig.receive().value();
  EXPECT_EQ(first.payload.number_at(8, 8), 4u);
  rig.send(message(first.id, kDmaRead, Bytes{}.u64(kAt).u64(4).text("ABCD"), kReply));
  const auto second = rig.receive().value();
  EXPECT_EQ(second.payload.number_at(0, 8), kAt + 4);
  rig.send(message(second.id, kDmaRead, Bytes{}.u64(kAt + 4).u64(4).text("EFGH"), kReply));
  rig.settle();
  EXPECT_EQ(std::string(rig.bytes.data(), 8), "ABCDEFGH");
}

TEST(DmaAccess, IsNeverSentToCloudHypervisor) {
  DmaRig rig{cloud_hypervisor_version()};
  rig.start_read();
  EXPECT_FALSE(rig.receive().has_value());
  EXPECT_TRUE(rig.transfer.is_done);
  EXPECT_FALSE(rig.transfer.result.has_value());
}

TEST(DmaAccess, EndsWithAnErrorWhenTheClientLeaves) {
  DmaRig rig{spec_version()};
  rig.start_read();
  rig.settle();
  rig.hang_up();
  ASSERT_TRUE(rig.transfer.is_done);
  EXPECT_EQ(rig.transfer.result.error().code, Errc::disconnected);
}

}  // namespace
}  // namespace vmux::protocol_test
