// SPDX-License-Identifier: BSD-3-Clause
// Every register once, beside the same register of QEMU's model (hw/net/e1000.c, e1000x_common.c), which many small
// drivers were written against: what a reset leaves, and what a probing write reads back as. Where the two differ, the
// row says why. The numbers are a second reading of the manual; the model's own table has to be covered by them.
#include "device/e1000/registers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "rigs/e1000_rig.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint32_t kAll = 0xffff'ffff;

struct Value {
  std::uint32_t reset, after;  // what is read after a reset, and after `probe` was written
  friend bool operator==(const Value&, const Value&) = default;
};
struct Register {
  const char* name;
  std::uint32_t at;
  unsigned count, stride;
  std::uint32_t probe;
  Value ours, qemus;
  const char* why;  // empty: no difference
};
void PrintTo(const Register& row, std::ostream* out) { *out << row.name; }

constexpr Value kNone{0, 0};  // reads 0, takes nothing
constexpr const char* kReserved = "reserved bits read 0";
constexpr const char* kLacks = "the manual has it, and drivers for the family read back what they wrote; QEMU lacks it";

const Register kTable[] = {
    {"CTRL",
     0x0000,
     1,
     0,
     0x7bff'ffff,
     {0x0014'0241, 0x5bff'ffff},
     {0x0014'0240, 0x7bff'ffff},
     "FD is the EEPROM's default, bit 29 reserved; QEMU's RST only clears itself"},
    {"STATUS", 0x0008, 1, 0, kAll, {0x283, 0x283}, {0x8008'0783, 0x8008'0783}, "QEMU shows bits of later parts"},
    {"EECD", 0x0010, 1, 0, 0x40, {0x108, 0x1c8}, {0x188, 0x1c8}, "GNT answers REQ"},
    {"EERD", 0x0014, 1, 0, 0x1, {0, 0x5452'0010}, {0, 0x5452'0010}, ""},
    {"CTRL_EXT", 0x0018, 1, 0, kAll, {0, 0x00ff'dfff}, kNone, kLacks},
    {"FLA", 0x001c, 1, 0, kAll, {0, kAll}, kNone, kLacks},
    {"MDIC", 0x0020, 1, 0, 0x0822'0000, {0x1000'0000, 0x1822'0141}, {0, 0x1822'0141}, "READY after a reset, 13.4.8"},
    {"FCAL", 0x0028, 1, 0, kAll, {0, kAll}, kNone, kLacks},
    {"FCAH", 0x002c, 1, 0, kAll, {0, 0xffff}, kNone, kLacks},
    {"FCT", 0x0030, 1, 0, kAll, {0, 0xffff}, kNone, kLacks},
    {"VET", 0x0038, 1, 0, kAll, {0x8100, 0xffff}, {0x8100, kAll}, kReserved},
    {"ICR", 0x00c0, 1, 0, kAll, {0, 0}, {0, 0}, ""},
    {"ITR", 0x00c4, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"ICS", 0x00c8, 1, 0, kAll, {0, 0x1'ffff}, {0, kAll}, kReserved},
    {"IMS", 0x00d0, 1, 0, kAll, {0, 0x1'ffff}, {0, kAll}, kReserved},
    {"IMC", 0x00d8, 1, 0, kAll, {0, 0}, {0, 0}, ""},
    {"RCTL", 0x0100, 1, 0, kAll, {0, 0x06df'b3fe}, {0, kAll}, kReserved},
    {"FCTTV", 0x0170, 1, 0, kAll, {0, 0xffff}, kNone, kLacks},
    {"TXCW", 0x0178, 1, 0, kAll, {0, 0xc000'ffff}, kNone, kLacks},
    {"RXCW", 0x0180, 1, 0, kAll, {0, 0}, kNone, ""},
    {"TCTL", 0x0400, 1, 0, kAll, {0, 0x037f'fffa}, {0, kAll}, kReserved},
    {"TIPG", 0x0410, 1, 0, kAll, {0, 0x3fff'ffff}, kNone, kLacks},
    {"AIFS", 0x0458, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"LEDCTL", 0x0e00, 1, 0, kAll, {0x0706'8302, kAll}, {0x602, kAll}, "13.4.7's default"},
    {"PBA",
     0x1000,
     1,
     0,
     0x28,
     {0x0010'0030, 0x0018'0028},
     {0x0010'0030, 0x28},
     "TXA is what RXA leaves of 64 KiB, 13.4.16"},
    {"FCRTL", 0x2160, 1, 0, kAll, {0, 0x8000'fff8}, kNone, kLacks},
    {"FCRTH", 0x2168, 1, 0, kAll, {0, 0xfff8}, kNone, kLacks},
    {"RDFH..RDFPC", 0x2410, 5, 8, kAll, {0, 0x1fff}, {0, 0x1fff}, ""},
    {"RDBAL", 0x2800, 1, 0, kAll, {0, 0xffff'fff0}, {0, kAll}, "the low four bits read 0, 13.4.25"},
    {"RDBAH", 0x2804, 1, 0, kAll, {0, kAll}, {0, kAll}, ""},
    {"RDLEN", 0x2808, 1, 0, kAll, {0, 0xf'ff80}, {0, 0xf'ff80}, ""},
    {"RDH", 0x2810, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"RDT", 0x2818, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"RDTR", 0x2820, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"RXDCTL", 0x2828, 1, 0, kAll, {0x0100'0000, kAll}, kNone, kLacks},
    {"RADV", 0x282c, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"RSRPD", 0x2c00, 1, 0, kAll, {0, 0xfff}, kNone, kLacks},
    {"TXDMAC", 0x3000, 1, 0, kAll, {0, 0x3}, kNone, kLacks},
    {"TDFH, TDFT", 0x3410, 2, 8, kAll, {0, 0x7ff}, {0, 0x7ff}, ""},
    {"TDFHS..TDFPC", 0x3420, 3, 8, kAll, {0, 0x1fff}, {0, 0x1fff}, ""},
    {"TDBAL", 0x3800, 1, 0, kAll, {0, 0xffff'fff0}, {0, kAll}, "the low four bits read 0, 13.4.37"},
    {"TDBAH", 0x3804, 1, 0, kAll, {0, kAll}, {0, kAll}, ""},
    {"TDLEN", 0x3808, 1, 0, kAll, {0, 0xf'ff80}, {0, 0xf'ff80}, ""},
    {"TDH", 0x3810, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"TDT", 0x3818, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"TIDV", 0x3820, 1, 0, kAll, {0, 0xffff}, kNone, kLacks},
    {"TXDCTL", 0x3828, 1, 0, kAll, {0, kAll}, {0, kAll}, ""},
    {"TADV", 0x382c, 1, 0, kAll, {0, 0xffff}, {0, 0xffff}, ""},
    {"TSPMT", 0x3830, 1, 0, kAll, {0x0100'0400, kAll}, kNone, kLacks},
    // Statistics. All clear when they are read, 13.7; in QEMU only those do that ever count.
    {"CRCERRS..XOFFTXC", 0x4000, 22, 4, kAll, {0, 0}, {0, 0}, ""},
    {"FCRUC", 0x4058, 1, 0, kAll, {0, 0}, {0, kAll}, "a statistic is not written, 13.7"},
    {"PRC64..GPTC", 0x405c, 10, 4, kAll, {0, 0}, {0, 0}, ""},
    {"GORC, GOTC", 0x4088, 4, 4, kAll, {0, 0}, {0, 0}, ""},
    {"RNBC..MGTPTC", 0x40a0, 8, 4, kAll, {0, 0}, {0, 0}, ""},
    {"TOR, TOT", 0x40c0, 4, 4, kAll, {0, 0}, {0, 0}, ""},
    {"TPR..TSCTFC", 0x40d0, 12, 4, kAll, {0, 0}, {0, 0}, ""},
    {"RXCSUM", 0x5000, 1, 0, kAll, {0, 0x7ff}, kNone, "QEMU looks at no checksum"},
    {"MTA", 0x5200, 128, 4, kAll, {0, kAll}, {0, kAll}, ""},
    {"RAL0", 0x5400, 1, 0, kAll, {0x1200'5452, kAll}, {0x1200'5452, kAll}, ""},
    {"RAH0", 0x5404, 1, 0, kAll, {0x8000'5634, 0x8003'ffff}, {0x8000'5634, kAll}, kReserved},
    {"RAL1..RAL15", 0x5408, 15, 8, kAll, {0, kAll}, {0, kAll}, ""},
    {"RAH1..RAH15", 0x540c, 15, 8, kAll, {0, 0x8003'ffff}, {0, kAll}, kReserved},
    {"VFTA", 0x5600, 128, 4, kAll, {0, kAll}, {0, kAll}, ""},
    {"WUC", 0x5800, 1, 0, kAll, {0, 0xf}, {0, kAll}, kReserved},
    {"WUFC", 0x5808, 1, 0, kAll, {0, 0xf'00ff}, {0, kAll}, kReserved},
    {"WUS", 0x5810, 1, 0, kAll, {0, 0}, {0, kAll}, "what has woken the machine: nothing has"},
    {"MANC", 0x5820, 1, 0, kAll, {0, kAll}, {0x22'2300, 0x22'2300}, "no manageability: the EEPROM asks for none"},
    {"IPAV", 0x5838, 1, 0, kAll, {0, 0x1'000f}, {0, kAll}, kReserved},
    {"IP4AT", 0x5840, 7, 4, kAll, {0, kAll}, {0, kAll}, ""},
    {"IP4AT3", 0x585c, 1, 0, kAll, {0, kAll}, kNone, "QEMU's table ends a word early"},
    {"IP6AT", 0x5880, 4, 4, kAll, {0, kAll}, {0, kAll}, ""},
    {"WUPL", 0x5900, 1, 0, kAll, {0, 0xfff}, kNone, kLacks},
    {"WUPM", 0x5a00, 32, 4, kAll, {0, kAll}, {0, kAll}, ""},
    {"SWSM", 0x5b50, 1, 0, kAll, {0, kAll}, {0, kAll}, ""},
    {"FWSM", 0x5b54, 1, 0, kAll, {0, kAll}, kNone, "drivers of later parts keep their semaphores there"},
    {"SW_FW_SYNC", 0x5b5c, 1, 0, kAll, {0, kAll}, kNone, "drivers of later parts keep their semaphores there"},
    {"FFLT", 0x5f00, 4, 8, kAll, {0, 0x7ff}, {0, 0x7ff}, ""},
    {"between FFLT", 0x5f04, 3, 8, kAll, kNone, {0, 0x7ff}, "no registers, 13.6.9"},
    {"FFMT", 0x9000, 128, 8, kAll, {0, 0xf}, {0, 0xf}, ""},
    {"FFVT", 0x9800, 128, 8, kAll, {0, kAll}, {0, kAll}, ""},
    {"PBM", 0x10000, 16384, 4, kAll, kNone, {0, kAll}, "a window for diagnostics into packet memory that is not there"},
};

class E1000Register : public testing::TestWithParam<Register> {};
TEST_P(E1000Register, IsAsTheTableSaysAndDiffersFromQemusForAReason) {
  const Register& row = GetParam();
  for (unsigned i = 0; i < row.count; i += std::max(1u, row.count / 8)) {
    E1000Rig rig;
    const std::uint32_t at = row.at + i * row.stride;
    EXPECT_EQ(rig.guest->read(at), row.ours.reset) << std::hex << at;
    rig.guest->write(at, row.probe);
    EXPECT_EQ(rig.guest->read(at), row.ours.after) << std::hex << at;
    rig.guest->reset_device();
    EXPECT_EQ(rig.guest->read(at), row.ours.reset) << std::hex << at;
  }
  EXPECT_EQ(std::string{row.why}.empty(), row.ours == row.qemus);
}
INSTANTIATE_TEST_SUITE_P(All, E1000Register, testing::ValuesIn(kTable), [](const auto& row) {
  std::string name = row.param.name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

TEST(E1000Registers, TheTableHasThemAll) {
  std::set<std::uint32_t> known;
  for (const Register& row : kTable)
    for (unsigned i = 0; i < row.count; ++i)
      known.insert(row.at + i * row.stride);
  for (const device::e1000::Register& row : device::e1000::kRegisters)
    for (unsigned i = 0; i < row.count; ++i)
      EXPECT_TRUE(known.contains(row.at + i * row.stride)) << row.name << " " << i;
}

}  // namespace
}  // namespace vmux::rigs
