// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/pci/function.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>

#include "pci/bar.hpp"
#include "pci/test/test_support.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::pci {
namespace {

using namespace test;

/// BAR 0: 16 KiB, the second page shared. BAR 1: I/O. A ROM.
FunctionSpec described() {
  FunctionSpec spec;
  spec.bars[0] = BarSpec{.size = 16384, .shared = {{4096, 4096}}};
  spec.bars[1] = BarSpec{.kind = BarKind::io, .size = 8};
  spec.rom = {0x55, 0xaa, 0x01};
  return spec;
}

class FunctionTest : public ::testing::Test {
 protected:
  void map(std::uint64_t start, bool with_file = true) {
    auto file = make_memfd("guest", 4096);
    ASSERT_TRUE(file);
    memory::MapRequest request{Iova{start}, ByteCount{4096}, memory::Access::read_write, {}, 0};
    if (with_file) request.fd = std::move(*file);
    ASSERT_TRUE(function_->memory().map(std::move(request)));
  }
  RecordingDevice device_;
  std::unique_ptr<Function> function_ = make(described(), device_);
};

TEST_F(FunctionTest, RegionsAreWhatWasDescribed) {
  EXPECT_EQ(function_->region(Region::bar0).size, 16384u);
  EXPECT_EQ(function_->region(Region::bar0).shared.size(), 1u);
  EXPECT_GE(function_->region(Region::bar0).fd, 0);
  EXPECT_EQ(function_->region(Region::bar1).fd, -1);
  EXPECT_EQ(function_->region(Region::bar2).size, 0u);
  EXPECT_FALSE(function_->region(Region::rom).writable);
  EXPECT_EQ(function_->region(Region::vga).size, 0u);
  EXPECT_EQ(function_->region(static_cast<Region>(100)).size, 0u);
}

TEST_F(FunctionTest, RefusesAccessesOutsideRegions) {
  std::array<std::byte, 8> bytes{};
  EXPECT_EQ(function_->read(Region::bar2, RegionOffset{0}, bytes).error().code, Errc::not_supported);
  EXPECT_EQ(function_->read(static_cast<Region>(100), RegionOffset{0}, bytes).error().code, Errc::not_supported);
  EXPECT_EQ(function_->read(Region::bar1, RegionOffset{1}, bytes).error().code, Errc::out_of_range);
  EXPECT_EQ(function_->write(Region::bar0, RegionOffset{~0ull - 3}, bytes).error().code, Errc::out_of_range);
  EXPECT_EQ(function_->write(Region::rom, RegionOffset{0}, bytes).error().code, Errc::permission);
  EXPECT_EQ(device_.log, "");
}

TEST_F(FunctionTest, AlignedAccessIsOneCall) {
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::bar0, 8), 0x0b0a0908u);
  put<std::uint64_t>(*function_, Region::bar0, 16, 0);
  put<std::uint8_t>(*function_, Region::bar1, 7, 0);
  EXPECT_EQ(device_.log, "r0+8:4 w0+16:8 w1+7:1 ");
}

TEST_F(FunctionTest, MisalignedAccessIsSplit) {
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::bar0, 3), 0x06050403u);
  EXPECT_EQ(device_.log, "r0+3:1 r0+4:2 r0+6:1 ");
}

TEST_F(FunctionTest, BulkAccessCrossesIntoSharedMemory) {
  std::array<std::byte, 24> bytes{};
  ASSERT_TRUE(function_->write(Region::bar0, RegionOffset{4088}, bytes));
  EXPECT_EQ(device_.log, "w0+4088:8 s0+4096:16 ");
}

TEST_F(FunctionTest, SharedAreaIsOneMemoryForAll) {
  put<std::uint32_t>(*function_, Region::bar0, 4100, 0x12345678);
  EXPECT_EQ(memory::load_acquire32(function_->shared(Region::bar0), 4100), 0x12345678u);
  auto client = Mapping::create(function_->region(Region::bar0).fd, 4096, 4096, true);
  ASSERT_TRUE(client);
  EXPECT_EQ(memory::load_acquire32(client->bytes(), 4), 0x12345678u);
  memory::store_release32(client->bytes(), 8, 0x9abcdef0);
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::bar0, 4104), 0x9abcdef0u);
  EXPECT_EQ(get<std::uint16_t>(*function_, Region::bar0, 4105), 0xbcdeu);
  EXPECT_TRUE(function_->shared(Region::bar1).empty());
}

TEST_F(FunctionTest, RomIsPaddedToItsBar) {
  EXPECT_EQ(function_->region(Region::rom).size, 2048u);
  EXPECT_EQ(get<std::uint32_t>(*function_, Region::rom, 0), 0xff01aa55u);
  EXPECT_EQ(get<std::uint8_t>(*function_, Region::rom, 2047), 0xff);
}

TEST_F(FunctionTest, BusMasteringGatesReaders) {
  memory::GuestMemory queue;
  function_->attach(queue);
  map(0);
  EXPECT_FALSE(queue.fetch<std::uint8_t>(Iova{0}));
  set_bus_master(*function_, true);
  EXPECT_TRUE(queue.fetch<std::uint8_t>(Iova{0}));
  map(4096);
  EXPECT_TRUE(queue.fetch<std::uint8_t>(Iova{4096}));
  set_bus_master(*function_, false);
  EXPECT_FALSE(queue.fetch<std::uint8_t>(Iova{0}));
  EXPECT_EQ(device_.log, "master slave ");
  function_->detach(queue);
}

TEST_F(FunctionTest, ClientGoesInOrderAndTheNextOneStartsClean) {
  memory::GuestMemory queue;
  function_->attach(queue);
  function_->client_attached(nullptr);
  map(0);
  set_bus_master(*function_, true);
  std::string at_quiet;
  function_->client_gone([&] { at_quiet = device_.log; });
  EXPECT_EQ(at_quiet, "attached master slave reset3 detached ");
  EXPECT_EQ(function_->memory().size(), 0u);
  EXPECT_FALSE(function_->is_bus_master());
  EXPECT_FALSE(queue.fetch<std::uint8_t>(Iova{0}));
  function_->detach(queue);
}

/// A queue that is told of bus mastering, and looks what is left of its guest then.
class LookingDevice final : public Device {
 public:
  explicit LookingDevice(std::unique_ptr<Function>& function) : function_(function) {}
  void read_bar(Region, RegionOffset, std::span<std::byte>) noexcept override {}
  void write_bar(Region, RegionOffset, std::span<const std::byte>) noexcept override {}
  void reset(ResetKind) noexcept override {
    if (function_) look("reset");
  }
  void bus_master_changed(bool enabled) noexcept override { look(enabled ? "master" : "slave"); }
  std::string log;

 private:
  void look(const std::string& what) {
    log += what + (function_->memory().size() != 0 ? " memory" : "") +
           (function_->interrupts().is_message_signalled() ? " vectors " : " ");
  }
  std::unique_ptr<Function>& function_;
};

TEST(FunctionOrder, DmaStopsBeforeInterruptsAndMemoryGo) {
  std::unique_ptr<Function> function;
  LookingDevice device{function};
  FunctionSpec spec;
  spec.bars[0] = BarSpec{.size = 4096};
  spec.capabilities = {Msix{1, Region::bar0, 0, Region::bar0, 0x800}};
  function = make(spec, device);
  const Event event;
  ASSERT_TRUE(set_sinks(function->interrupts(), Irq::msix, 0, 1, fds(event)));
  ASSERT_TRUE(function->map({Iova{0}, ByteCount{4096}, memory::Access::read, {}, 0}));
  set_bus_master(*function, true);
  function->client_gone(nullptr);
  EXPECT_EQ(device.log, "master memory vectors slave memory vectors reset ");
}

/// A client that answers at once.
class EchoDma final : public MessageDma {
 public:
  void read(Iova from, std::span<std::byte> into, Done done) override {
    last = from;
    std::fill(into.begin(), into.end(), std::byte{0x7e});
    done({});
  }
  void write(Iova to, std::span<const std::byte>, Done done) override {
    last = to;
    done({});
  }
  Iova last{};
};

TEST_F(FunctionTest, DmaTakesTheShortWayWhereThereIsOne) {
  EchoDma client;
  function_->client_attached(&client);
  map(0);
  map(4096, /*with_file=*/false);
  set_bus_master(*function_, true);
  std::array<std::byte, 4> bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  int done = 0;
  const auto count = [&](Result<void> result) { done += result ? 1 : 100; };
  function_->dma_write(Iova{16}, bytes, count);
  bytes = {};
  function_->dma_read(Iova{16}, bytes, count);
  EXPECT_EQ(bytes[3], std::byte{4});
  function_->dma_read(Iova{4094}, bytes, count);  // half of it only by message
  EXPECT_EQ(bytes[0], std::byte{0x7e});
  function_->dma_write(Iova{4096}, bytes, count);
  EXPECT_EQ(client.last, Iova{4096});
  EXPECT_EQ(done, 4);
}

TEST_F(FunctionTest, DmaFailsWithoutMasteringMemoryOrClient) {
  map(4096, /*with_file=*/false);
  std::array<std::byte, 4> bytes{};
  Errc seen{};
  const auto note = [&](Result<void> result) { seen = result ? Errc::system : result.error().code; };
  function_->dma_read(Iova{4096}, bytes, note);
  EXPECT_EQ(seen, Errc::permission);
  set_bus_master(*function_, true);
  function_->dma_read(Iova{0}, bytes, note);
  EXPECT_EQ(seen, Errc::out_of_range);
  function_->dma_write(Iova{4096}, bytes, note);
  EXPECT_EQ(seen, Errc::disconnected);
}

TEST_F(FunctionTest, DepartureForGoodIsARequestToAVmmThatListens) {
  Event event;
  EXPECT_FALSE(function_->announce_departure(/*for_good=*/true));  // nobody has been told
  ASSERT_TRUE(set_sinks(function_->interrupts(), Irq::req, 0, 1, fds(event)));
  EXPECT_FALSE(function_->announce_departure(/*for_good=*/false));
  EXPECT_EQ(event.signals(), 0u);
  EXPECT_TRUE(function_->announce_departure(/*for_good=*/true));
  EXPECT_EQ(event.signals(), 1u);
  function_->client_gone(nullptr);
  EXPECT_FALSE(function_->announce_departure(/*for_good=*/true));
}

TEST(AlignedStep, IsTheLargestThatFitsAndIsAligned) {
  EXPECT_EQ(aligned_step(0, 100), 8u);
  EXPECT_EQ(aligned_step(4, 100), 4u);
  EXPECT_EQ(aligned_step(2, 100), 2u);
  EXPECT_EQ(aligned_step(1, 100), 1u);
  EXPECT_EQ(aligned_step(8, 7), 4u);
  EXPECT_EQ(aligned_step(8, 3), 2u);
}

/// Its vendor capability counts how often it was looked at.
class CountingDevice final : public Device {
 public:
  void read_bar(Region, RegionOffset, std::span<std::byte>) noexcept override {}
  void write_bar(Region, RegionOffset, std::span<const std::byte>) noexcept override {}
  void reset(ResetKind) noexcept override {}
  void config_reading(RegionOffset offset, std::size_t size) noexcept override {
    read = {offset.raw, size};
    function->config()[0x43] = static_cast<std::byte>(++looks);
  }
  Function* function = nullptr;
  unsigned looks = 0;
  std::pair<std::uint64_t, std::size_t> read;
};

TEST(FunctionConfig, AsksTheModelForWhatIsItsOwnBeforeItIsRead) {
  CountingDevice device;
  FunctionSpec spec;
  spec.capabilities = {VendorSpecific{{1, 2, 3}}};
  const auto function = make(spec, device);
  device.function = function.get();
  EXPECT_EQ(config<std::uint8_t>(*function, 0x43), 1u);
  EXPECT_EQ(config<std::uint32_t>(*function, 0x40) >> 24, 2u);
  EXPECT_EQ(device.read, (std::pair<std::uint64_t, std::size_t>{0x40, 4}));
  EXPECT_EQ(config<std::uint16_t>(*function, 0x40), 9u);  // the head of the capability is not the model's
  EXPECT_EQ(device.looks, 2u);
}

}  // namespace
}  // namespace vmux::pci
