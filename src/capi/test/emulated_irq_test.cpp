// SPDX-License-Identifier: BSD-3-Clause
// Interrupts that the library emulates: PCI Local Bus 3.0, 6.8, by the bytes that a guest reads and writes.
#include <random>

#include "capi/test/rig.hpp"
#include "vfio-user/vmux-extensions.h"

namespace capi_test {
namespace {

constexpr unsigned kNone = 1, kEventfd = 4, kMask = 8, kUnmask = 16, kTrigger = 32;
constexpr unsigned kIntx = VFU_DEV_INTX_IRQ, kMsi = VFU_DEV_MSI_IRQ, kMsix = VFU_DEV_MSIX_IRQ;
constexpr unsigned kConfig = VFU_PCI_DEV_CFG_REGION_IDX, kVectors = 70, kEntry = 16, kControl = 12;
constexpr std::uint64_t kTable = 0x1000, kPba = 0x1800;

std::uint64_t drain(int fd) {
  std::uint64_t value = 0;
  return ::read(fd, &value, sizeof value) == sizeof value ? value : 0;
}

/// Where table and pending bits are to lie, as the capability has it.
struct Layout {
  unsigned vectors = kVectors;
  std::uint64_t table = kTable, pba = kPba;
  unsigned table_bar = 0, pba_bar = 0;
  int flags = 0;
};
ssize_t add_msix(Device& one, const Layout& at = {}) {
  static_cast<void>(vfu_pci_init(one.ctx, VFU_PCI_TYPE_CONVENTIONAL, 0, 0));
  std::string bytes = Bytes{}.u8(0x11).u8(0).u16(at.vectors - 1).u32(at.table | at.table_bar).u32(at.pba | at.pba_bar);
  return vfu_pci_add_capability(one.ctx, 0, at.flags, bytes.data());
}

/// A device and its client, with eventfds for two vectors.
class CapiEmulated : public testing::Test {
 protected:
  CapiEmulated() {
    for (int& fd : fds)
      fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  }
  ~CapiEmulated() override {
    for (const int fd : fds)
      ::close(fd);
  }
  unsigned set(unsigned flags, unsigned kind, unsigned start, unsigned count, const std::vector<int>& with = {}) {
    return one.error_of(8, Bytes{}.u32(20).u32(flags).u32(kind).u32(start).u32(count), with);
  }
  std::uint64_t get(unsigned region, std::uint64_t at, unsigned size) {
    return number(one.read(region, at, size).payload, 16, size);
  }
  unsigned put(unsigned region, std::uint64_t at, std::uint64_t value, unsigned size) {
    return one.write(region, at, std::string(reinterpret_cast<const char*>(&value), size));
  }
  Device one;
  int fds[2];
};

class CapiEmulatedMsix : public CapiEmulated {
 protected:
  CapiEmulatedMsix() {
    one.device.region.resize(0x4000);
    EXPECT_EQ(vfu_setup_region(one.ctx, 0, 0x4000, on_access, kMem, nullptr, 0, -1, 0), 0);
    capability = add_msix(one);
    EXPECT_EQ(vmux_emulate_irqs(one.ctx, VMUX_IRQ_MSIX), 0);
    EXPECT_EQ(vfu_setup_irq_state_callback(one.ctx, VFU_DEV_MSIX_IRQ, on_irq_state), 0);
    one.attach();
  }
  void listen() { EXPECT_EQ(set(kTrigger | kEventfd, kMsix, 3, 2, {fds[0], fds[1]}), 0u); }
  unsigned mask(unsigned vector, std::uint64_t bits) { return put(0, kTable + kEntry * vector + kControl, bits, 4); }
  ssize_t capability = 0;
};

TEST_F(CapiEmulatedMsix, HasAsManyVectorsAsTheCapability) {
  EXPECT_EQ(one.call(7, Bytes{}.u32(16).u32(0).u32(kMsix).u32(0)).payload,
            Bytes{}.u32(16).u32(1).u32(2).u32(kVectors).str());
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), -1);
  EXPECT_EQ(errno, ENOENT);
  listen();
  EXPECT_EQ(vfu_irq_trigger(one.ctx, kVectors), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(drain(fds[0]), 1u);  // an entry that nobody has written masks nothing: a VMM keeps the table
}

TEST_F(CapiEmulatedMsix, KeepsATriggerOfAMaskedEntryAndSendsItOnceAtTheUnmask) {
  listen();
  EXPECT_EQ(mask(3, 1), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 4), 0);
  EXPECT_EQ(drain(fds[0]), 0u);
  EXPECT_EQ(drain(fds[1]), 1u);
  EXPECT_EQ(get(0, kPba, 8), 1u << 3);
  EXPECT_EQ(vmux_irq_is_pending(one.ctx, VFU_DEV_MSIX_IRQ, 3), 1);
  EXPECT_EQ(vmux_irq_is_pending(one.ctx, VFU_DEV_MSIX_IRQ, 4), 0);
  EXPECT_EQ(mask(3, 0), 0u);
  EXPECT_EQ(drain(fds[0]), 1u);
  EXPECT_EQ(get(0, kPba, 8), 0u);
  EXPECT_EQ(mask(3, 1), 0u);
  EXPECT_EQ(mask(3, 0), 0u);
  EXPECT_EQ(drain(fds[0]), 0u);
}

TEST_F(CapiEmulatedMsix, KeepsTriggersOfAllWhileTheFunctionIsMasked) {
  listen();
  const auto control = static_cast<std::uint64_t>(capability) + 3;
  EXPECT_EQ(put(kConfig, control, 0xc0, 1), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 4), 0);
  EXPECT_EQ(mask(4, 1), 0u);
  EXPECT_EQ(drain(fds[0]) + drain(fds[1]), 0u);
  EXPECT_EQ(put(kConfig, control, 0x80, 1), 0u);
  EXPECT_EQ(drain(fds[0]), 1u);
  EXPECT_EQ(drain(fds[1]), 0u);  // its own mask holds on
  EXPECT_EQ(get(0, kPba, 4), 1u << 4);
}

TEST_F(CapiEmulatedMsix, HasTheClientsMasksAndTellsTheProgramOfThem) {
  listen();
  EXPECT_EQ(set(kMask | kNone, kMsix, 3, 1), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(drain(fds[0]), 0u);
  EXPECT_EQ(set(kUnmask | kNone, kMsix, 3, 1), 0u);
  EXPECT_EQ(drain(fds[0]), 1u);
  EXPECT_EQ(one.device.calls, (std::vector<std::string>{"mask 3+1", "unmask 3+1"}));
}

TEST_F(CapiEmulatedMsix, KeepsATriggerUntilSomebodyListens) {
  EXPECT_EQ(set(kTrigger | kEventfd, kMsix, 69, 1, {fds[0]}), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(get(0, kPba, 8), 1u << 3);
  EXPECT_EQ(set(kTrigger | kEventfd, kMsix, 3, 1, {fds[1]}), 0u);
  EXPECT_EQ(drain(fds[1]), 1u);
  EXPECT_EQ(get(0, kPba, 8), 0u);
  EXPECT_EQ(mask(69, 1), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 69), 0);
  EXPECT_EQ(get(0, kPba + 8, 8), 1u << 5);
  EXPECT_EQ(set(kTrigger | kNone, kMsix, 0, 0), 0u);  // off
  EXPECT_EQ(get(0, kPba + 8, 8), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 69), -1);
}

TEST_F(CapiEmulatedMsix, RefusesWhatIsNoEventfd) {
  const int file = memory_file(4096);
  EXPECT_EQ(set(kTrigger | kEventfd, kMsix, 0, 1, {file}), kInvalid);
  EXPECT_EQ(set(kUnmask | kEventfd, kMsix, 0, 1, {fds[0]}), static_cast<unsigned>(ENOTTY));
  ::close(file);
}

TEST_F(CapiEmulatedMsix, HasATableOfBytes) {
  EXPECT_EQ(get(0, kTable + kControl, 4), 1u);  // masked from the start
  EXPECT_EQ(put(0, kTable, 0xfee0'1007, 4), 0u);
  EXPECT_EQ(put(0, kTable + 4, 0x1234'5678'9abc'def0, 8), 0u);
  EXPECT_EQ(put(0, kTable + kControl, ~0u, 4), 0u);
  EXPECT_EQ(one.read(0, kTable, 16).payload.substr(16),
            Bytes{}.u32(0xfee0'1004).u64(0x1234'5678'9abc'def0).u32(1).str());  // reserved bits read as zero
  EXPECT_EQ(put(0, kPba, ~0u, 4), 0u);
  EXPECT_EQ(get(0, kPba, 4), 0u);
  EXPECT_TRUE(one.device.calls.empty());
}

TEST_F(CapiEmulatedMsix, LeavesTheRestOfTheRegionToTheProgram) {
  const std::string bytes(0x1000, 'x');
  EXPECT_EQ(one.write(0, 0xf80, bytes), 0u);  // over both ends of table and pending bits
  EXPECT_EQ(one.device.calls, (std::vector<std::string>{"write 3968+128", "write 5216+928", "write 6160+1904"}));
  const std::string got = one.read(0, 0xf80, 0x1000).payload.substr(16);
  EXPECT_EQ(got.substr(0, 0x80), bytes.substr(0, 0x80));
  EXPECT_EQ(number(got, 0x80 + kControl, 4), 0u);  // 'x' is an even number
  EXPECT_EQ(number(got, 0x80 + 4, 4), 0x7878'7878u);
  EXPECT_EQ(number(got, kPba - 0xf80, 8), 0u);
  one.device.access_errno = EXDEV;
  EXPECT_EQ(one.write(0, kTable, "abcd"), 0u);
  EXPECT_EQ(one.write(0, kTable + kVectors * kEntry - 2, "abcd"), static_cast<unsigned>(EXDEV));
}

TEST_F(CapiEmulatedMsix, TakesAccessesOfAnySizeAtAnyPlace) {
  std::string model;  // a second reading of the table
  for (unsigned i = 0; i < kVectors; ++i)
    model += Bytes{}.u64(0).u32(0).u32(1).str();
  std::mt19937 random{7};
  const auto below = [&](std::size_t end) { return std::uniform_int_distribution<std::size_t>{0, end - 1}(random); };
  for (int round = 0; round < 2000; ++round) {
    const std::size_t at = below(model.size()), size = 1 + below(std::min<std::size_t>(24, model.size() - at));
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i)
      bytes += static_cast<char>(below(256));
    ASSERT_EQ(one.write(0, kTable + at, bytes), 0u);
    model.replace(at, size, bytes);
    for (std::size_t i = at / kEntry; i <= (at + size - 1) / kEntry; ++i) {
      model[i * kEntry] = static_cast<char>(model[i * kEntry] & ~3);
      const char bit = static_cast<char>(model[i * kEntry + kControl] & 1);
      model.replace(i * kEntry + kControl, 4, std::string{bit, '\0', '\0', '\0'});
    }
  }
  EXPECT_EQ(one.read(0, kTable, static_cast<std::uint32_t>(model.size())).payload.substr(16), model);
  EXPECT_TRUE(one.device.calls.empty());
  EXPECT_EQ(one.read(0, 0x3ffd, 4).error, kInvalid);
}

TEST_F(CapiEmulatedMsix, IsAsNewAfterAReset) {
  listen();
  EXPECT_EQ(put(kConfig, static_cast<std::uint64_t>(capability) + 3, 0xc0, 1), 0u);
  EXPECT_EQ(put(0, kTable, 0x1000, 4), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(one.error_of(13, ""), 0u);
  EXPECT_EQ(get(0, kTable, 4), 0u);
  EXPECT_EQ(get(0, kPba, 8), 0u);
  EXPECT_EQ(get(kConfig, static_cast<std::uint64_t>(capability), 4) >> 16, kVectors - 1);
  EXPECT_EQ(drain(fds[0]), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);  // eventfds stay
  EXPECT_EQ(drain(fds[0]), 1u);
}

TEST_F(CapiEmulatedMsix, ForgetsItsClient) {
  listen();
  EXPECT_EQ(mask(3, 1), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  one.client.close();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), -1);
  EXPECT_EQ(errno, ENOENT);
  one.attach();
  EXPECT_EQ(get(0, kPba, 8), 0u);
  EXPECT_EQ(vfu_setup_region(one.ctx, 0, 0x4000, on_access, kMem, nullptr, 0, -1, 0), -1);  // too late
  EXPECT_EQ(vmux_emulate_irqs(one.ctx, 0), -1);
}

TEST_F(CapiEmulatedMsix, GoesOnInAnotherProcess) {
  listen();
  EXPECT_EQ(put(0, kTable + 3 * kEntry, 0x1111'2222'3333'4444, 8), 0u);
  EXPECT_EQ(mask(4, 0), 0u);
  EXPECT_EQ(put(kConfig, static_cast<std::uint64_t>(capability) + 3, 0xc0, 1), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 4), 0);
  std::vector<char> saved(static_cast<std::size_t>(vmux_save_irqs(one.ctx, nullptr, 0)));
  ASSERT_LE(saved.size(), 65536u);
  EXPECT_EQ(vmux_save_irqs(one.ctx, saved.data(), saved.size()), static_cast<ssize_t>(saved.size()));
  const std::string table = one.read(0, kTable, kVectors * kEntry).payload;
  one.client.close();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);  // all of it is gone
  one.attach();
  EXPECT_NE(one.read(0, kTable, kVectors * kEntry).payload, table);
  EXPECT_EQ(vmux_load_irqs(one.ctx, saved.data(), saved.size() - 1), -1);
  EXPECT_EQ(errno, EINVAL);
  ASSERT_EQ(vmux_load_irqs(one.ctx, saved.data(), saved.size()), 0);
  EXPECT_EQ(one.read(0, kTable, kVectors * kEntry).payload, table);
  listen();
  EXPECT_EQ(drain(fds[1]), 0u);
  EXPECT_EQ(get(0, kPba, 8), 1u << 4);
  EXPECT_EQ(put(kConfig, static_cast<std::uint64_t>(capability) + 3, 0x80, 1), 0u);
  EXPECT_EQ(drain(fds[1]), 1u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);  // its entry is masked still
  EXPECT_EQ(drain(fds[0]), 0u);

  Device other;
  vfu_setup_region(other.ctx, 0, 0x4000, on_access, kMem, nullptr, 0, -1, 0);
  EXPECT_GT(add_msix(other, {.vectors = kVectors - 1}), 0);
  EXPECT_EQ(vmux_save_irqs(other.ctx, nullptr, 0), -1);
  EXPECT_EQ(vmux_emulate_irqs(other.ctx, VMUX_IRQ_MSIX), 0);
  other.attach();
  EXPECT_EQ(vmux_load_irqs(other.ctx, saved.data(), saved.size()), -1);
}

TEST(CapiEmulatedSetup, IsRefusedWhereTheDescriptionDoesNotFit) {
  const std::vector<Layout> layouts{
      {.table_bar = 1},                             // absent
      {.table_bar = 6},                             // no BAR
      {.table_bar = 2},                             // I/O
      {.table = 0x3f80},                            // over the end
      {.pba = 0x3ff8},                              // 16 bytes, of which 8 are inside
      {.pba = kTable + 0x458},                      // in the last entry
      {.flags = VFU_CAP_FLAG_CALLBACK},             // the program's
      {.flags = VFU_CAP_FLAG_READONLY},             // and nobody's
      {.vectors = 2048, .table = 0, .pba = 0x3ff8}  // 32 KiB
  };
  for (const Layout& layout : layouts) {
    Device one;
    vfu_setup_region(one.ctx, 0, 0x4000, on_access, kMem, nullptr, 0, -1, 0);
    vfu_setup_region(one.ctx, 2, 0x4000, on_access, VFU_REGION_FLAG_RW, nullptr, 0, -1, 0);
    vfu_setup_region(one.ctx, kConfig, 256, on_access, VFU_REGION_FLAG_RW, nullptr, 0, -1, 0);
    EXPECT_GT(add_msix(one, layout), 0);
    EXPECT_EQ(vmux_emulate_irqs(one.ctx, VMUX_IRQ_MSIX), 0);
    EXPECT_EQ(vfu_realize_ctx(one.ctx), -1) << &layout - layouts.data();
    EXPECT_EQ(errno, EINVAL);
  }
  for (const unsigned kinds : {VMUX_IRQ_MSIX, VMUX_IRQ_MSI}) {
    Device one;  // without a capability
    EXPECT_EQ(vmux_emulate_irqs(one.ctx, kinds), 0);
    EXPECT_EQ(vfu_realize_ctx(one.ctx), -1);
    EXPECT_EQ(vmux_emulate_irqs(one.ctx, 1u << VFU_DEV_ERR_IRQ), -1);
  }
  Device other;
  vfu_setup_region(other.ctx, 0, 0x4000, on_access, kMem, nullptr, 0, -1, 0);
  EXPECT_GT(add_msix(other), 0);
  EXPECT_EQ(vfu_setup_device_nr_irqs(other.ctx, VFU_DEV_MSIX_IRQ, kVectors - 1), 0);
  EXPECT_EQ(vmux_emulate_irqs(other.ctx, VMUX_IRQ_MSIX), 0);
  EXPECT_EQ(vfu_realize_ctx(other.ctx), -1);
  EXPECT_EQ(vfu_setup_device_nr_irqs(other.ctx, VFU_DEV_MSIX_IRQ, kVectors), 0);
  EXPECT_EQ(vfu_realize_ctx(other.ctx), 0);
}

TEST(CapiEmulatedSetup, TakesThePagesOfTheTableOutOfWhatClientsMap) {
  Device one;
  const int fd = memory_file(0x10000);
  iovec areas[] = {{dma_address(0), 0x3000}, {dma_address(0x8000), 0x8000}};
  vfu_setup_region(one.ctx, 0, 0x10000, on_access, kMem, areas, 2, fd, 0);
  vfu_setup_region(one.ctx, 2, 0x4000, nullptr, kMem, nullptr, 0, fd, 0);  // all of it
  EXPECT_GT(add_msix(one, {.pba = 0x1000, .pba_bar = 2}), 0);
  EXPECT_EQ(vmux_emulate_irqs(one.ctx, VMUX_IRQ_MSIX), 0);
  one.attach();
  const auto info = [&](unsigned region) {
    Received got = one.call(5, Bytes{}.u32(256).u32(0).u32(region).u32(0).u64(0).u64(0));
    for (const int each : got.fds)
      ::close(each);
    return got.payload.substr(40);
  };
  EXPECT_EQ(info(0), Bytes{}.u32(3).u32(0).u64(0).u64(0x1000).u64(0x2000).u64(0x1000).u64(0x8000).u64(0x8000).str());
  EXPECT_EQ(info(2), Bytes{}.u32(2).u32(0).u64(0).u64(0x1000).u64(0x2000).u64(0x2000).str());
  // What has no callback beside the pending bits reads as zero, and ignores writes.
  EXPECT_EQ(one.write(2, 0, std::string(0x2000, 'x')), 0u);
  EXPECT_EQ(one.read(2, 0, 0x2000).payload.substr(16), std::string(0x2000, '\0'));
  ::close(fd);
}

TEST(CapiEmulatedSetup, LeavesNothingToMapOfAPageThatIsTheTables) {
  Device one;
  const int fd = memory_file(0x1000);
  vfu_setup_region(one.ctx, 0, 0x1000, on_access, kMem, nullptr, 0, fd, 0);
  EXPECT_GT(add_msix(one, {.vectors = 4, .table = 0x800, .pba = 0xc00}), 0);
  EXPECT_EQ(vmux_emulate_irqs(one.ctx, VMUX_IRQ_MSIX), 0);
  one.attach();
  const Received got = one.call(5, Bytes{}.u32(256).u32(0).u32(0).u32(0).u64(0).u64(0));
  EXPECT_EQ(got.payload.substr(0, 8), Bytes{}.u32(32).u32(3).str());  // read and write
  EXPECT_TRUE(got.fds.empty());
  ::close(fd);
}

TEST_F(CapiEmulated, HasMasksAndPendingBitsOfMsi) {
  ASSERT_EQ(vfu_pci_init(one.ctx, VFU_PCI_TYPE_CONVENTIONAL, 0, 0), 0);
  std::string bytes = Bytes{}.u8(5).u8(0).u16(0x0184).u32(0).u32(0).u16(0).u16(0).u32(0).u32(0);  // 4 vectors, masks
  const auto at = static_cast<std::uint64_t>(vfu_pci_add_capability(one.ctx, 0, 0, bytes.data()));
  ASSERT_EQ(vmux_emulate_irqs(one.ctx, VMUX_IRQ_MSI), 0);
  one.attach();
  ASSERT_EQ(set(kTrigger | kEventfd, kMsi, 0, 2, {fds[0], fds[1]}), 0u);
  EXPECT_EQ(put(kConfig, at + 0x10, 2, 4), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 0), 0);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 1), 0);
  EXPECT_EQ(drain(fds[0]), 1u);
  EXPECT_EQ(drain(fds[1]), 0u);
  EXPECT_EQ(get(kConfig, at + 0x14, 4), 2u);
  EXPECT_EQ(put(kConfig, at + 0x10, 0, 1), 0u);
  EXPECT_EQ(drain(fds[1]), 1u);
  EXPECT_EQ(get(kConfig, at + 0x14, 4), 0u);
  EXPECT_EQ(vmux_irq_is_pending(one.ctx, VFU_DEV_MSI_IRQ, 4), -1);
  EXPECT_EQ(put(kConfig, at + 0x10, 0xf, 4), 0u);
  EXPECT_EQ(put(kConfig, at + 2, 0x0121, 2), 0u);
  EXPECT_EQ(one.error_of(13, ""), 0u);
  EXPECT_EQ(get(kConfig, at + 0x10, 4), 0u);
  EXPECT_EQ(get(kConfig, at + 2, 2), 0x0184u);
}

TEST_F(CapiEmulated, HasTheLevelOfIntx) {
  ASSERT_EQ(vmux_emulate_irqs(one.ctx, VMUX_IRQ_INTX), 0);
  one.attach();
  EXPECT_EQ(get(kConfig, 0x3d, 1), 1u);
  EXPECT_EQ(one.call(7, Bytes{}.u32(16).u32(0).u32(kIntx).u32(0)).payload, Bytes{}.u32(16).u32(7).u32(0).u32(1).str());
  ASSERT_EQ(set(kTrigger | kEventfd, kIntx, 0, 1, {fds[0]}), 0u);
  EXPECT_EQ(vmux_set_intx(one.ctx, true), 0);
  EXPECT_EQ(vmux_set_intx(one.ctx, true), 0);
  EXPECT_EQ(drain(fds[0]), 1u);
  EXPECT_EQ(get(kConfig, 6, 2), 8u);
  EXPECT_EQ(set(kUnmask | kNone, kIntx, 0, 1), 0u);  // it is high still
  EXPECT_EQ(drain(fds[0]), 1u);
  EXPECT_EQ(put(kConfig, 5, 4, 1), 0u);  // interrupt disable
  EXPECT_EQ(set(kUnmask | kNone, kIntx, 0, 1), 0u);
  EXPECT_EQ(drain(fds[0]), 0u);
  EXPECT_EQ(put(kConfig, 5, 0, 1), 0u);
  EXPECT_EQ(drain(fds[0]), 1u);
  EXPECT_EQ(vmux_set_intx(one.ctx, false), 0);
  EXPECT_EQ(set(kUnmask | kNone, kIntx, 0, 1), 0u);
  EXPECT_EQ(drain(fds[0]), 0u);
  EXPECT_EQ(get(kConfig, 6, 2), 0u);
  EXPECT_EQ(set(kUnmask | kEventfd, kIntx, 0, 1, {fds[1]}), static_cast<unsigned>(ENOTTY));
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 0), -1);
  Device other;
  EXPECT_EQ(vmux_set_intx(other.ctx, true), -1);
}

}  // namespace
}  // namespace capi_test
