// SPDX-License-Identifier: BSD-3-Clause
// Configuration space: what a guest reads, and what becomes of what it writes.
#include "capi/test/rig.hpp"

namespace capi_test {
namespace {

constexpr unsigned kConfig = VFU_PCI_DEV_CFG_REGION_IDX;

std::uint32_t word(Device& one, std::size_t at) {
  return static_cast<std::uint32_t>(number(one.read(kConfig, at, 4).payload, 16, 4));
}
unsigned put(Device& one, std::size_t at, std::uint64_t value, std::size_t size) {
  return one.write(kConfig, at, std::string(reinterpret_cast<const char*>(&value), size));
}
ssize_t add(Device& one, const std::string& bytes, int flags = 0, std::size_t at = 0) {
  static_cast<void>(vfu_pci_init(one.ctx, VFU_PCI_TYPE_CONVENTIONAL, 0, 0));  // unless the test has
  std::string copy = bytes;
  return vfu_pci_add_capability(one.ctx, at, flags, copy.data());
}
std::string pm() { return Bytes{}.u8(1).u8(0).u16(3).u16(0).u16(0); }
std::string vendor(const std::string& text) { return Bytes{}.u8(9).u8(0).u8(3 + text.size()).text(text); }
std::string express(bool has_flr) {
  return Bytes{}.u8(0x10).u8(0).u16(2).u32(has_flr ? 1u << 28 : 0).text(std::string(52, '\0'));
}

TEST(CapiConfig, HasTheIdentityThatTheProgramGave) {
  Device one;
  ASSERT_EQ(vfu_pci_init(one.ctx, VFU_PCI_TYPE_EXPRESS, 0, 0), 0);
  EXPECT_EQ(vfu_pci_init(one.ctx, VFU_PCI_TYPE_EXPRESS, 0, 0), -1);
  EXPECT_EQ(errno, EEXIST);
  vfu_pci_set_id(one.ctx, 0x1234, 0x5678, 0x9abc, 0xdef0);
  vfu_pci_set_class(one.ctx, 2, 3, 4);
  ASSERT_EQ(vfu_setup_device_nr_irqs(one.ctx, VFU_DEV_INTX_IRQ, 1), 0);
  one.attach();
  EXPECT_EQ(word(one, 0), 0x5678'1234u);
  EXPECT_EQ(word(one, 8), 0x0203'0400u);
  EXPECT_EQ(word(one, 0x2c), 0xdef0'9abcu);
  EXPECT_EQ(word(one, 0x3c), 0x0000'0100u);
  EXPECT_EQ(number(one.call(5, Bytes{}.u32(32).u32(0).u32(7).u32(0).u64(0).u64(0)).payload, 16, 8), 4096u);
}

TEST(CapiConfig, IsConventionalWithoutInit) {
  Device one;
  one.attach();
  EXPECT_EQ(number(one.call(5, Bytes{}.u32(32).u32(0).u32(7).u32(0).u64(0).u64(0)).payload, 16, 8), 256u);
  EXPECT_EQ(one.read(kConfig, 253, 4).error, kInvalid);
  Device other;
  EXPECT_EQ(vfu_pci_init(other.ctx, VFU_PCI_TYPE_EXPRESS, 1, 0), -1);
}

TEST(CapiConfig, SizesBars) {
  Device one;
  vfu_setup_region(one.ctx, 0, 256, on_access, VFU_REGION_FLAG_RW, nullptr, 0, -1, 0);
  vfu_setup_region(one.ctx, 1, 8192, on_access, kMem, nullptr, 0, -1, 0);
  vfu_setup_region(one.ctx, 2, 1 << 20, on_access, kMem | VFU_REGION_FLAG_64_BITS | VFU_REGION_FLAG_PREFETCH, nullptr,
                   0, -1, 0);
  vfu_setup_region(one.ctx, 4, std::size_t{4} << 32, on_access, kMem | VFU_REGION_FLAG_64_BITS, nullptr, 0, -1, 0);
  one.attach();
  const std::vector<std::uint32_t> sized{0xffff'ff01, 0xffff'e000, 0xfff0'000c, 0xffff'ffff, 0x0000'0004, 0xffff'fffc};
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(put(one, 0x10 + 4 * i, ~0u, 4), 0u);
    EXPECT_EQ(word(one, 0x10 + 4 * i), sized[i]) << i;
  }
  EXPECT_EQ(put(one, 0x14, 0x1234'5678, 4), 0u);
  EXPECT_EQ(word(one, 0x14), 0x1234'4000u);
  EXPECT_EQ(put(one, 0x14, 0, 1), 0u);  // of a shorter write only its bytes change
  EXPECT_EQ(word(one, 0x14), 0x1234'4000u);
  EXPECT_EQ(put(one, 0x16, 0xabcd, 2), 0u);
  EXPECT_EQ(word(one, 0x14), 0xabcd'4000u);
  EXPECT_EQ(put(one, 0x15, 0xff, 1), 0u);
  EXPECT_EQ(word(one, 0x14), 0xabcd'e000u);
  EXPECT_EQ(put(one, 0x16, 0x0000'5555'1111, 6), 0u);  // and the next one
  EXPECT_EQ(word(one, 0x14), 0x1111'e000u);
  EXPECT_EQ(word(one, 0x18), 0x0000'000cu);
}

TEST(CapiConfig, TakesTheCommandRegister) {
  Device one;
  one.attach();
  EXPECT_EQ(put(one, 4, 0x0516, 2), 0u);
  EXPECT_EQ(word(one, 4) & 0xffff, 0x0516u);
  EXPECT_EQ(put(one, 4, 0x0426, 2), 0u);  // VGA palette snooping is ignored
  EXPECT_EQ(word(one, 4) & 0xffff, 0x0406u);
  EXPECT_EQ(put(one, 4, 0x0041, 2), kInvalid);
  EXPECT_EQ(put(one, 5, 0x05, 1), 0u);  // its upper half
  EXPECT_EQ(word(one, 4) & 0xffff, 0x0501u);
  EXPECT_EQ(put(one, 4, 0x06, 1), 0u);
  EXPECT_EQ(word(one, 4) & 0xffff, 0x0506u);
  EXPECT_EQ(put(one, 5, 0x80, 1), kInvalid);
}

TEST(CapiConfig, TakesIgnoresOrRefusesTheOtherRegisters) {
  Device one;
  one.attach();
  EXPECT_EQ(put(one, 0x0c, 0x4010, 2), 0u);  // cache line size and latency timer
  EXPECT_EQ(word(one, 0x0c), 0x4010u);
  EXPECT_EQ(put(one, 0x3c, 0xff05, 2), 0u);
  EXPECT_EQ(word(one, 0x3c), 0x0005u);  // no pin appears
  EXPECT_EQ(put(one, 6, 0xffff, 2), 0u);
  EXPECT_EQ(put(one, 0x30, 0xffff'f800, 4), 0u);
  EXPECT_EQ(word(one, 0x30), 0u);
  EXPECT_EQ(put(one, 0x30, 0x1234'0000, 4), kInvalid);
  EXPECT_EQ(put(one, 0, 0x1234, 2), kInvalid);
  EXPECT_EQ(put(one, 0x32, 0xffff, 2), 0u);  // half of it
  EXPECT_EQ(word(one, 0x30), 0u);
  EXPECT_EQ(put(one, 7, 0xff, 1), 0u);
  EXPECT_EQ(put(one, 0x0a, 0xffff, 2), 0u);
  EXPECT_EQ(word(one, 8), 0u);
  EXPECT_EQ(put(one, 0x0b, 0x0000'10ff, 4), kInvalid);  // goes on to the header type, after cache line and timer
  EXPECT_EQ(put(one, 0x2e, 0x1234, 2), kInvalid);
}

TEST(CapiConfig, HasACallbackForTheRest) {
  Device one;
  one.attach();
  EXPECT_EQ(put(one, 0x80, 1, 4), kInvalid);
  vfu_pci_get_config_space(one.ctx)->raw[0x80] = 0x42;
  EXPECT_EQ(word(one, 0x80), 0x42u);

  Device other;
  vfu_setup_region(other.ctx, kConfig, 256, on_access, VFU_REGION_FLAG_RW, nullptr, 0, -1, 0);
  other.attach();
  EXPECT_EQ(put(other, 0x80, 0x1234, 2), 0u);
  EXPECT_EQ(other.device.calls, std::vector<std::string>{"write 128+2"});
  EXPECT_EQ(word(other, 0), 0u);  // the header is the library's
  EXPECT_EQ(other.device.calls.size(), 1u);
}

TEST(CapiConfig, IsAllTheCallbacksIfAskedFor) {
  Device one;
  vfu_setup_region(one.ctx, kConfig, 256, on_access, VFU_REGION_FLAG_RW | VFU_REGION_FLAG_ALWAYS_CB, nullptr, 0, -1, 0);
  one.device.region.replace(0, 4, "abcd");
  one.attach();
  EXPECT_EQ(one.read(kConfig, 0, 4).payload.substr(16), "abcd");
}

TEST(CapiConfig, PlacesAndFindsCapabilities) {
  Device one;
  ASSERT_EQ(vfu_pci_init(one.ctx, VFU_PCI_TYPE_EXPRESS, 0, 0), 0);
  EXPECT_EQ(vfu_pci_find_capability(one.ctx, false, 1), 0u);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(add(one, pm()), 0x40);
  EXPECT_EQ(add(one, vendor("abc")), 0x48);
  EXPECT_EQ(add(one, vendor("defgh"), 0, 0x90), 0x90);
  EXPECT_EQ(add(one, vendor("x")), 0x98);          // behind the last one
  EXPECT_EQ(add(one, vendor("yz"), 0, 0x4c), -1);  // overlaps
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(add(one, vendor("y"), 0, 0x20), -1);  // in the header
  EXPECT_EQ(add(one, Bytes{}.u8(0x81).u8(0).u32(0)), -1);
  EXPECT_EQ(errno, ENOTSUP);
  EXPECT_EQ(add(one, pm(), 8), -1);
  EXPECT_EQ(add(one, pm(), VFU_CAP_FLAG_CALLBACK), -1);  // there is no callback
  EXPECT_EQ(vfu_pci_get_config_space(one.ctx)->hdr.sts.raw, 1u << 4);
  EXPECT_EQ(vfu_pci_find_capability(one.ctx, false, 9), 0x48u);
  EXPECT_EQ(vfu_pci_find_next_capability(one.ctx, false, 0x48, 9), 0x90u);
  EXPECT_EQ(vfu_pci_find_next_capability(one.ctx, false, 0x98, 9), 0u);
  EXPECT_EQ(vfu_pci_find_next_capability(one.ctx, false, 4096, 9), 0u);
  EXPECT_EQ(errno, EINVAL);
}

TEST(CapiConfig, PlacesAndFindsExtendedCapabilities) {
  Device one;
  const std::string serial = Bytes{}.u16(3).u16(0).u32(4).u32(8);
  const std::string own = Bytes{}.u16(0xb).u16(0).u16(1).u16(13 << 4).text("abcde");
  ASSERT_EQ(vfu_pci_init(one.ctx, VFU_PCI_TYPE_EXPRESS, 0, 0), 0);
  EXPECT_EQ(add(one, serial, VFU_CAP_FLAG_EXTENDED, 0x200), -1);  // the first one is at 256
  EXPECT_EQ(add(one, serial, VFU_CAP_FLAG_EXTENDED), 0x100);
  EXPECT_EQ(add(one, own, VFU_CAP_FLAG_EXTENDED, 0x400), 0x400);
  EXPECT_EQ(add(one, own, VFU_CAP_FLAG_EXTENDED), 0x410);
  EXPECT_EQ(vfu_pci_find_capability(one.ctx, true, 0xb), 0x400u);
  EXPECT_EQ(vfu_pci_find_next_capability(one.ctx, true, 0x400, 0xb), 0x410u);
  EXPECT_EQ(vfu_pci_find_next_capability(one.ctx, true, 0x410, 0xb), 0u);
  one.attach();
  EXPECT_EQ(word(one, 0x100), 0x4000'0003u);
  EXPECT_EQ(put(one, 0x104, 1, 4), static_cast<unsigned>(EPERM));  // a serial number
  EXPECT_EQ(put(one, 0x408, 0x7a, 1), 0u);
  EXPECT_EQ(one.read(kConfig, 0x408, 2).payload.substr(16), "zb");
  Device conventional;
  ASSERT_EQ(vfu_pci_init(conventional.ctx, VFU_PCI_TYPE_CONVENTIONAL, 0, 0), 0);
  EXPECT_EQ(add(conventional, serial, VFU_CAP_FLAG_EXTENDED), -1);
}

TEST(CapiConfig, KeepsHeadersAndReadOnlyCapabilities) {
  Device one;
  add(one, pm());
  add(one, vendor("abc"), VFU_CAP_FLAG_READONLY);
  one.attach();
  EXPECT_EQ(put(one, 0x40, 5, 1), static_cast<unsigned>(EPERM));
  EXPECT_EQ(put(one, 0x4b, 5, 1), static_cast<unsigned>(EPERM));
  EXPECT_EQ(one.read(kConfig, 0x4b, 3).payload.substr(16), "abc");
}

TEST(CapiConfig, TakesPowerManagement) {
  Device one;
  add(one, pm());
  one.attach();
  EXPECT_EQ(put(one, 0x44, 0x0103, 2), 0u);
  EXPECT_EQ(word(one, 0x44), 0x0103u);
  EXPECT_EQ(put(one, 0x44, 0, 1), kInvalid);
  EXPECT_EQ(put(one, 0x42, 0, 2), static_cast<unsigned>(ENOTSUP));
}

TEST(CapiConfig, TakesMsiWithinWhatThereIs) {
  Device one;
  add(one, Bytes{}.u8(5).u8(0).u16(0x0184).u32(0).u32(0).u16(0).u16(0).u32(0).u32(0));  // 4 vectors
  one.attach();
  EXPECT_EQ(put(one, 0x42, 0x0030, 2), kInvalid);  // 8
  EXPECT_EQ(put(one, 0x42, 0xff21, 2), 0u);
  EXPECT_EQ(word(one, 0x40), 0x01a5'0005u);  // nothing else has changed
  EXPECT_EQ(put(one, 0x44, 0xfee0'0003, 4), 0u);
  EXPECT_EQ(word(one, 0x44), 0xfee0'0000u);
  EXPECT_EQ(put(one, 0x54, ~0u, 4), 0u);
  EXPECT_EQ(word(one, 0x54), 0u);  // pending bits
}

TEST(CapiConfig, TakesTheTwoBitsOfMsix) {
  Device one;
  add(one, Bytes{}.u8(0x11).u8(0).u16(7).u32(0x2000).u32(0x3000));
  one.attach();
  EXPECT_EQ(put(one, 0x43, 0xc0, 1), 0u);
  EXPECT_EQ(word(one, 0x40), 0xc007'0011u);
  EXPECT_EQ(put(one, 0x44, ~0u, 4), 0u);
  EXPECT_EQ(word(one, 0x44), 0x2000u);
}

TEST(CapiConfig, ResetsTheFunctionWhenAsked) {
  Device one;
  one.with_quiesce();
  add(one, express(true));
  one.attach();
  EXPECT_EQ(put(one, 0x48, 0x8010, 2), 0u);
  EXPECT_EQ(one.device.calls, (std::vector<std::string>{"quiesce", "reset 2"}));
  EXPECT_EQ(word(one, 0x48), 0x0010u);  // the request reads as zero
  EXPECT_EQ(put(one, 0x68, 0x1234, 2), 0u);
  EXPECT_EQ(word(one, 0x68) & 0xffff, 0x1234u);
  EXPECT_EQ(put(one, 0x48, 0, 4), kInvalid);
  Device other;
  add(other, express(false));
  other.attach();
  EXPECT_EQ(put(other, 0x48, 0x8000, 2), kInvalid);
  EXPECT_TRUE(other.device.calls.empty());
}

TEST(CapiConfig, ReadsAcrossHeaderCapabilitiesAndTheRest) {
  Device one;
  add(one, pm());
  add(one, vendor("abc"), 0, 0x50);
  one.attach();
  auto* const raw = vfu_pci_get_config_space(one.ctx)->raw;
  raw[0x4a] = 0x77;
  const std::string all = one.read(kConfig, 0, 256).payload.substr(16);
  EXPECT_EQ(all, std::string(reinterpret_cast<const char*>(raw), 256));
}

}  // namespace
}  // namespace capi_test
