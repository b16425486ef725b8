// SPDX-License-Identifier: BSD-3-Clause
// What the kernel's VFIO answers beside what we answer to the same question by message. vfio-user takes its meaning
// from linux/vfio.h, and clients are written against the kernel: so a difference is here on purpose, with its reason.
// The kernel's answers: vfio_iommu_type1.c (version 2 of type 1), vfio_main.c, vfio_pci_core.c, vfio_pci_intrs.c,
// vfio_pci_rdwr.c; for DMA logging mlx5vf. What can be asked of a kernel in a host VM, in_host/server_checks.py asks of
// both; here is that part which needs no VM, and what only a device that migrates would answer.
#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

constexpr std::uint64_t kPage = 4096, kTop = 0;  // 2^64
constexpr unsigned kIntx = 0, kMsi = 1, kMsix = 2, kErr = 3, kReq = 4;
constexpr unsigned kNone = 1, kBool = 2, kEventfd = 4, kMask = 8, kUnmask = 16, kTrigger = 32;
constexpr unsigned kGet = 1 << 16, kSet = 1 << 17, kProbe = 1 << 18;
constexpr unsigned kMigration = 1, kDeviceState = 2, kLoggingStart = 6, kLoggingStop = 7, kLoggingReport = 8,
                   kMigDataSize = 9;

struct Row {
  const char* name;
  Bytes message;
  int kernel;            // an errno, 0: success
  int ours;              // the same
  const char* why = "";  // for a difference
  bool with_fd = false;  // an eventfd goes along
  bool logging = false;  // DMA logging runs
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

Bytes map(std::uint64_t at, std::uint64_t size, unsigned flags = 3, unsigned argsz = 32, std::uint64_t offset = 0) {
  return message(9, kDmaMap, Bytes{}.u32(argsz).u32(flags).u64(offset).u64(at).u64(size));
}
Bytes unmap(std::uint64_t at, std::uint64_t size, unsigned flags = 0, unsigned argsz = 24) {
  return message(9, kDmaUnmap, Bytes{}.u32(argsz).u32(flags).u64(at).u64(size));
}
Bytes device_info(unsigned argsz) { return message(9, kGetInfo, Bytes{}.u32(argsz).zeroes(12)); }
Bytes region(unsigned index, unsigned argsz = 32) {
  return message(9, kGetRegionInfo, Bytes{}.u32(argsz).u32(0).u32(index).zeroes(20));
}
Bytes irq(unsigned index, unsigned argsz = 16) {
  return message(9, kGetIrqInfo, Bytes{}.u32(argsz).u32(0).u32(index).u32(0));
}
Bytes irqs(unsigned index, unsigned flags, unsigned start, unsigned count, const Bytes& data = {}) {
  return set_irqs(9, index, flags, start, count, data);
}
Bytes read(unsigned index, std::uint64_t at, unsigned count) { return region_read(9, index, at, count); }
Bytes write(unsigned index, std::uint64_t at, unsigned count) {
  return region_write(9, index, at, Bytes{}.zeroes(count));
}
Bytes feature(unsigned flags, const Bytes& data = {}, unsigned argsz = 4096) {
  return message(9, kDeviceFeature, Bytes{}.u32(argsz).u32(flags).append(data));
}
Bytes report(std::uint64_t iova, std::uint64_t length, std::uint64_t page) {
  return feature(kGet | kLoggingReport, Bytes{}.u64(iova).u64(length).u64(page));
}
Bytes start(std::uint64_t page, unsigned ranges, const Bytes& data = {}) {
  return feature(kSet | kLoggingStart, Bytes{}.u64(page).u32(ranges).u32(0).append(data));
}

class KernelAnswers : public ::testing::TestWithParam<Row> {};

// Memory at [0x10000, 0x14000) and [0x20000, 0x21000), nothing else; no interrupt is enabled.
TEST_P(KernelAnswers, AreOursButForAReason) {
  const Row& row = GetParam();
  EXPECT_EQ(row.kernel == row.ours, std::string{row.why}.empty()) << "a reason for each difference, and for no other";
  Rig rig{Profile::qemu};
  EXPECT_EQ(rig.ask(map(0x10000, 4 * kPage)).error, 0u);
  EXPECT_EQ(rig.ask(map(0x20000, kPage)).error, 0u);
  if (row.logging) {
    EXPECT_EQ(rig.ask(start(kPage, 0)).error, 0u);
  }
  const UniqueFd event = new_eventfd();
  const auto reply = row.with_fd ? rig.ask(row.message, {event.get()}) : rig.ask(row.message);
  EXPECT_EQ(reply.error, static_cast<unsigned>(row.ours));
}

std::string name_of(const ::testing::TestParamInfo<Row>& row) {
  std::string name;
  for (const char letter : std::string{row.param.name})
    if (std::isalnum(static_cast<unsigned char>(letter)) != 0) name += letter;
  return name;
}

INSTANTIATE_TEST_SUITE_P(DmaMap, KernelAnswers,
                         ::testing::Values(Row{"Map", map(0x30000, kPage), 0, 0},  //
                                           Row{"Map Argsz 31", map(0x30000, kPage, 3, 31), EINVAL, EINVAL},
                                           Row{"Map Argsz 0", map(0x30000, kPage, 3, 0), EINVAL, EINVAL},
                                           Row{"Map No Access", map(0x30000, kPage, 0), EINVAL, EINVAL},
                                           Row{"Map Read Only", map(0x30000, kPage, 1), 0, 0},  //
                                           Row{"Map Write Only", map(0x30000, kPage, 2), 0, 0},
                                           Row{"Map Unknown Flag", map(0x30000, kPage, 3 | 1 << 9), EINVAL, EINVAL},
                                           Row{"Map Vaddr", map(0x30000, kPage, 4), ENOENT, EINVAL,
                                               "memory comes by descriptor: no address to renew"},
                                           Row{"Map Vaddr And Read", map(0x30000, kPage, 5), EINVAL, EINVAL},
                                           Row{"Map Nothing", map(0x30000, 0), EINVAL, EINVAL},  //
                                           Row{"Map Iova Unaligned", map(0x30001, kPage), EINVAL, EINVAL},
                                           Row{"Map Size Unaligned", map(0x30000, kPage + 1), EINVAL, EINVAL},
                                           Row{"Map Offset Unaligned", map(0x30000, kPage, 3, 32, 1), EINVAL, EINVAL},
                                           Row{"Map Wraps", map(kTop - kPage, 2 * kPage), EINVAL, EINVAL},
                                           Row{"Map To The Top", map(kTop - kPage, kPage), EINVAL, EINVAL},
                                           Row{"Map All But A Page", map(kPage, kTop - kPage), EINVAL, EINVAL},
                                           Row{"Map Again", map(0x10000, 4 * kPage), EEXIST, EEXIST},
                                           Row{"Map Over Its Start", map(0xf000, 2 * kPage), EEXIST, EEXIST},
                                           Row{"Map Over Its End", map(0x13000, 2 * kPage), EEXIST, EEXIST},
                                           Row{"Map Inside", map(0x11000, kPage), EEXIST, EEXIST},
                                           Row{"Map Around", map(0xf000, 6 * kPage), EEXIST, EEXIST},
                                           Row{"Map Next To It", map(0x14000, kPage), 0, 0},
                                           Row{"Map The Msi Window", map(0xfee00000, kPage), EINVAL, 0,
                                               "no IOMMU, so no window where messages go"}),
                         name_of);

INSTANTIATE_TEST_SUITE_P(
    DmaUnmap, KernelAnswers,
    ::testing::Values(Row{"Unmap", unmap(0x10000, 4 * kPage), 0, 0},  //
                      Row{"Unmap Argsz 23", unmap(0x10000, 4 * kPage, 0, 23), EINVAL, EINVAL},
                      Row{"Unmap Nothing There", unmap(0x90000, kPage), 0, 0},
                      Row{"Unmap Several", unmap(0x10000, 0x11000), 0, 0},
                      Row{"Unmap Several And Holes", unmap(0, 0x100000), 0, 0},
                      Row{"Unmap Lower Half", unmap(0, 1ull << 63), 0, 0},  //
                      Row{"Unmap Upper Half", unmap(1ull << 63, 1ull << 63), 0, 0},
                      Row{"Unmap To The Top", unmap(kPage, kTop - kPage), 0, 0},
                      Row{"Unmap First Part", unmap(0x10000, kPage), EINVAL, EINVAL},
                      Row{"Unmap Middle", unmap(0x11000, kPage), EINVAL, EINVAL},
                      Row{"Unmap Last Part", unmap(0x13000, kPage), EINVAL, EINVAL},
                      Row{"Unmap Into It", unmap(0xf000, 2 * kPage), EINVAL, EINVAL},
                      Row{"Unmap Out Of It", unmap(0x13000, 0x10000), EINVAL, EINVAL},
                      Row{"Unmap Size 0", unmap(0x10000, 0), EINVAL, EINVAL},  //
                      Row{"Unmap Iova Unaligned", unmap(0x10001, kPage), EINVAL, EINVAL},
                      Row{"Unmap Iova Unaligned Nothing There", unmap(0x90001, kPage), EINVAL, EINVAL},
                      Row{"Unmap Size Unaligned", unmap(0x90000, kPage + 1), EINVAL, EINVAL},
                      Row{"Unmap Wraps", unmap(kTop - kPage, 2 * kPage), EINVAL, EINVAL},
                      Row{"Unmap Unknown Flag", unmap(0x10000, 4 * kPage, 1 << 9), EINVAL, EINVAL},
                      Row{"Unmap All", unmap(0, 0, 2), 0, 0},  //
                      Row{"Unmap All With A Range", unmap(0x10000, 4 * kPage, 2), EINVAL, EINVAL},
                      Row{"Unmap All With A Size", unmap(0, kPage, 2), EINVAL, EINVAL},
                      Row{"Unmap All With An Address", unmap(0x10000, 0, 2), EINVAL, EINVAL},
                      Row{"Unmap All And Bitmap", unmap(0, 0, 3), EINVAL, EINVAL},
                      Row{"Unmap Bitmap Without One", unmap(0x10000, 4 * kPage, 1), EINVAL, EINVAL},
                      Row{"Unmap Vaddr", unmap(0x90000, kPage, 4), 0, EINVAL,
                          "memory comes by descriptor: no address to renew"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(Info, KernelAnswers,
                         ::testing::Values(Row{"Info", device_info(16), 0, 0},
                                           Row{"Info Argsz 15", device_info(15), EINVAL, EINVAL},
                                           Row{"Info Argsz 0", device_info(0), EINVAL, EINVAL},  //
                                           Row{"Region Bar", region(0), 0, 0},                   //
                                           Row{"Region Absent Bar", region(4), 0, 0},            //
                                           Row{"Region Absent Rom", region(6), 0, 0},
                                           Row{"Region Absent Vga", region(8), EINVAL, 0,
                                               "cloud-hypervisor asks for every region, and must not fail"},
                                           Row{"Region 9", region(9), EINVAL, EINVAL},  //
                                           Row{"Region At The Top", region(~0u), EINVAL, EINVAL},
                                           Row{"Region Argsz 31", region(0, 31), EINVAL, EINVAL},  //
                                           Row{"Irq Intx", irq(kIntx), 0, 0},                      //
                                           Row{"Irq Absent Msi", irq(kMsi), 0, 0},                 //
                                           Row{"Irq Msix", irq(kMsix), 0, 0},                      //
                                           Row{"Irq Err", irq(kErr), 0, 0},                        //
                                           Row{"Irq Req", irq(kReq), 0, 0},                        //
                                           Row{"Irq 5", irq(5), EINVAL, EINVAL},                   //
                                           Row{"Irq At The Top", irq(~0u), EINVAL, EINVAL},        //
                                           Row{"Irq Argsz 15", irq(kIntx, 15), EINVAL, EINVAL}),
                         name_of);

constexpr const char* kSoft = "clients turn off what was never on, and trigger and mask what they have not wired yet";
constexpr const char* kMaskable = "vectors can be masked by message here, as the header describes it";
INSTANTIATE_TEST_SUITE_P(
    SetIrqs, KernelAnswers,
    ::testing::Values(
        Row{"Irqs Argsz 19", message(9, kSetIrqs, Bytes{}.u32(19).u32(kNone | kTrigger).u32(0).u32(0).u32(0)), EINVAL,
            EINVAL},
        Row{"Irqs No Flags", irqs(kIntx, 0, 0, 1), EINVAL, EINVAL},
        Row{"Irqs No Data Type", irqs(kIntx, kTrigger, 0, 1), EINVAL, EINVAL},
        Row{"Irqs No Action", irqs(kIntx, kNone, 0, 1), ENOTTY, ENOTTY},
        Row{"Irqs No Action Beyond", irqs(kIntx, kNone, 0, 2), EINVAL, EINVAL},
        Row{"Irqs Two Data Types", irqs(kIntx, kNone | kBool | kTrigger, 0, 1, Bytes{}.u8(1)), EINVAL, EINVAL},
        Row{"Irqs Two Actions", irqs(kIntx, kNone | kMask | kUnmask, 0, 1), ENOTTY, ENOTTY},
        Row{"Irqs Unknown Flag", irqs(kIntx, kNone | kTrigger | 1 << 9, 0, 1), EINVAL, EINVAL},
        Row{"Irqs Index 5", irqs(5, kNone | kTrigger, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Index At The Top", irqs(~0u, kNone | kTrigger, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Start Beyond", irqs(kMsix, kNone | kTrigger, kVectors, 1), EINVAL, EINVAL},
        Row{"Irqs Start Beyond Of None", irqs(kMsix, kNone | kTrigger, kVectors, 0), EINVAL, EINVAL},
        Row{"Irqs Intx Start 1 Of None", irqs(kIntx, kNone | kTrigger, 1, 0), EINVAL, EINVAL},
        Row{"Irqs End Beyond", irqs(kMsix, kNone | kTrigger, 1, kVectors), EINVAL, EINVAL},
        Row{"Irqs Start Wraps", irqs(kMsix, kNone | kTrigger, ~0u, 1), EINVAL, EINVAL},
        Row{"Irqs Count Wraps", irqs(kMsix, kNone | kTrigger, 1, ~0u), EINVAL, EINVAL},
        Row{"Irqs Few Booleans", irqs(kMsix, kBool | kTrigger, 0, 2, Bytes{}.u8(1)), EINVAL, EINVAL},
        Row{"Irqs No Booleans", irqs(kMsix, kBool | kTrigger, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Eventfd Of None", irqs(kMsix, kEventfd | kTrigger, 0, 0), ERANGE, EINVAL, "a count of 0 is at fault"},
        Row{"Irqs Msix Eventfd", irqs(kMsix, kEventfd | kTrigger, 0, 1), 0, 0, "", true},
        Row{"Irqs Msix Without Eventfd", irqs(kMsix, kEventfd | kTrigger, 0, 1), 0, 0},
        Row{"Irqs More Eventfds", irqs(kMsix, kEventfd | kTrigger, 0, 0), ERANGE, EINVAL, "a count of 0 is at fault",
            true},
        Row{"Irqs Absent Msi Eventfd", irqs(kMsi, kEventfd | kTrigger, 0, 1), EINVAL, EINVAL, "", true},
        Row{"Irqs Msix Off", irqs(kMsix, kNone | kTrigger, 0, 0), EINVAL, 0, kSoft},
        Row{"Irqs Absent Msi Off", irqs(kMsi, kNone | kTrigger, 0, 0), EINVAL, 0, kSoft},
        Row{"Irqs Intx Off", irqs(kIntx, kNone | kTrigger, 0, 0), EINVAL, 0, kSoft},
        Row{"Irqs Msix Trigger", irqs(kMsix, kNone | kTrigger, 0, 1), EINVAL, 0, kSoft},
        Row{"Irqs Intx Trigger", irqs(kIntx, kNone | kTrigger, 0, 1), EINVAL, 0, kSoft},
        Row{"Irqs Intx Mask", irqs(kIntx, kNone | kMask, 0, 1), EINVAL, 0, kSoft},
        Row{"Irqs Intx Unmask", irqs(kIntx, kNone | kUnmask, 0, 1), EINVAL, 0, kSoft},
        Row{"Irqs Intx Mask Of None", irqs(kIntx, kNone | kMask, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Intx Mask By Eventfd", irqs(kIntx, kEventfd | kMask, 0, 1), ENOTTY, ENOTTY, "", true},
        Row{"Irqs Msix Mask", irqs(kMsix, kNone | kMask, 0, 1), ENOTTY, 0, kMaskable},
        Row{"Irqs Msix Unmask", irqs(kMsix, kNone | kUnmask, 0, 1), ENOTTY, 0, kMaskable},
        Row{"Irqs Msix Mask By Eventfd", irqs(kMsix, kEventfd | kMask, 0, 1), ENOTTY, ENOTTY, "", true},
        Row{"Irqs Msix Mask None By Eventfd", irqs(kMsix, kEventfd | kMask, 0, 0), ENOTTY, ENOTTY},
        Row{"Irqs Absent Msi Mask None", irqs(kMsi, kNone | kMask, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Absent Msi Mask None By Eventfd", irqs(kMsi, kEventfd | kMask, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Msix Unmask By Eventfd", irqs(kMsix, kEventfd | kUnmask, 0, 1), ENOTTY, ENOTTY, "", true},
        Row{"Irqs Err Eventfd", irqs(kErr, kEventfd | kTrigger, 0, 1), 0, 0, "", true},
        Row{"Irqs Err Without Eventfd", irqs(kErr, kEventfd | kTrigger, 0, 1), 0, 0},
        Row{"Irqs Err Start 1", irqs(kErr, kEventfd | kTrigger, 1, 1), EINVAL, EINVAL, "", true},
        Row{"Irqs Err Mask", irqs(kErr, kNone | kMask, 0, 1), ENOTTY, ENOTTY},
        Row{"Irqs Err Mask Of None", irqs(kErr, kNone | kMask, 0, 0), ENOTTY, ENOTTY},
        Row{"Irqs Req Unmask", irqs(kReq, kBool | kUnmask, 0, 1, Bytes{}.u8(1)), ENOTTY, ENOTTY},
        Row{"Irqs Req Eventfd Of None", irqs(kReq, kEventfd | kTrigger, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Req Boolean Of None", irqs(kReq, kBool | kTrigger, 0, 0), EINVAL, EINVAL},
        Row{"Irqs Req Off", irqs(kReq, kNone | kTrigger, 0, 0), EINVAL, 0, kSoft},
        Row{"Irqs Req Trigger", irqs(kReq, kNone | kTrigger, 0, 1), EINVAL, 0, kSoft}),
    name_of);

constexpr const char* kWhole = "a message's reply is whole or an error: there are no short reads and writes";
INSTANTIATE_TEST_SUITE_P(
    Access, KernelAnswers,
    ::testing::Values(Row{"Read Bar", read(kBar2, 0, 4), 0, 0},  //
                      Row{"Read Nothing", read(kBar2, 0, 0), 0, 0},
                      Row{"Read Bar Over The End", read(kBar2, 62, 4), 0, EINVAL, kWhole},
                      Row{"Read Bar At The End", read(kBar2, 64, 4), EINVAL, EINVAL},
                      Row{"Read Bar At The Top", read(kBar2, ~0ull, 4), EINVAL, EINVAL},
                      Row{"Read Absent Bar", read(4, 0, 4), EINVAL, EINVAL},  //
                      Row{"Read Absent Rom", read(6, 0, 4), EINVAL, EINVAL},  //
                      Row{"Read Absent Vga", read(8, 0, 4), EINVAL, EINVAL},  //
                      Row{"Read Region 9", read(9, 0, 4), EINVAL, EINVAL},
                      Row{"Read Region 9 Nothing", read(9, 0, 0), 0, 0}, Row{"Read Config", read(kConfig, 0, 4), 0, 0},
                      Row{"Read Config Over The End", read(kConfig, 0x1000 - 2, 4), EFAULT, EFAULT},
                      Row{"Read Config Behind The End", read(kConfig, 0x2000, 4), EFAULT, EFAULT},
                      Row{"Write Bar", write(kBar2, 0, 4), 0, 0},  //
                      Row{"Write Bar Over The End", write(kBar2, 62, 4), 0, EINVAL, kWhole},
                      Row{"Write Bar At The End", write(kBar2, 64, 4), EINVAL, EINVAL},
                      Row{"Write Absent Bar", write(4, 0, 4), EINVAL, EINVAL},
                      Row{"Write Absent Rom", write(6, 0, 4), EINVAL, EINVAL},  //
                      Row{"Write Region 9", write(9, 0, 4), EINVAL, EINVAL},
                      Row{"Write Region 9 Nothing", write(9, 0, 0), 0, 0},
                      Row{"Write Config Behind The End", write(kConfig, 0x2000, 4), EFAULT, EFAULT},
                      Row{"Reset", message(9, kReset), 0, 0}),
    name_of);

constexpr const char* kSpec = "the specification of vfio-user says so";
INSTANTIATE_TEST_SUITE_P(
    Feature, KernelAnswers,
    ::testing::Values(
        Row{"Feature Argsz 7", feature(kGet | kMigration, {}, 7), EINVAL, EINVAL},
        Row{"Feature Unknown Flag", feature(kGet | kMigration | 1u << 19), EINVAL, EINVAL},
        Row{"Feature Get And Set", feature(kGet | kSet | kDeviceState), EINVAL, EINVAL},
        Row{"Feature Neither", feature(kMigration), EINVAL, EINVAL},
        Row{"Feature Unknown", feature(kGet | 99), ENOTTY, ENOTTY},  //
        Row{"Feature Unknown Neither", feature(99), ENOTTY, ENOTTY},
        Row{"Feature Unknown Probe", feature(kProbe | 99), ENOTTY, ENOTTY},
        Row{"Feature Unknown Get And Set", feature(kGet | kSet | 99), EINVAL, EINVAL},
        Row{"Feature 0", feature(kGet), ENOTTY, ENOTTY},  //
        Row{"Feature Probe", feature(kProbe | kDeviceState), 0, 0},
        Row{"Feature Probe Both", feature(kProbe | kGet | kSet | kDeviceState), 0, 0},
        Row{"Feature Probe Set Of A Get", feature(kProbe | kSet | kMigration), EINVAL, EINVAL},
        Row{"Feature Get", feature(kGet | kMigration), 0, 0},
        Row{"Feature Get Without Room", feature(kGet | kMigration, {}, 15), EINVAL, EINVAL},
        Row{"Feature Set Of A Get", feature(kSet | kMigration), EINVAL, EINVAL},
        Row{"Feature State Without Data", feature(kSet | kDeviceState, {}, 8), EINVAL, EINVAL},
        Row{"Feature State 8", feature(kSet | kDeviceState, Bytes{}.u32(8).u32(0)), EINVAL, EINVAL},
        Row{"Feature Data Size", feature(kGet | kMigDataSize), 0, ENOTTY, "vfio-user has no such feature"},
        Row{"Logging Start", start(kPage, 1, Bytes{}.u64(0).u64(kPage)), 0, 0},
        Row{"Logging Start Of No Range", start(kPage, 0), EINVAL, 0, kSpec},
        Row{"Logging Start Without Ranges", start(kPage, 2, Bytes{}.u64(0).u64(kPage)), EFAULT, EINVAL,
            "the ranges are in the message"},
        Row{"Logging Start Twice", start(kPage, 1, Bytes{}.u64(0).u64(kPage)), EINVAL, EINVAL, "", false, true},
        Row{"Logging Stop", feature(kSet | kLoggingStop), 0, 0, "", false, true},
        Row{"Logging Stop Before Start", feature(kSet | kLoggingStop), 0, 0},
        Row{"Logging Report", report(0, 16 * kPage, kPage), 0, 0, "", false, true},
        Row{"Logging Report Before Start", report(0, 16 * kPage, kPage), EINVAL, EINVAL},
        Row{"Logging Report Page 0", report(0, 16 * kPage, 0), EINVAL, EINVAL, "", false, true},
        Row{"Logging Report Page 3000", report(0, 16 * kPage, 3000), EINVAL, EINVAL, "", false, true},
        Row{"Logging Report Page 1024", report(0, 16 * kPage, 1024), EINVAL, 0, kSpec, false, true},
        Row{"Logging Report Wraps", report(kTop - kPage, 2 * kPage, kPage), EOVERFLOW, EOVERFLOW, "", false, true}),
    name_of);

}  // namespace
}  // namespace vmux::protocol_test
