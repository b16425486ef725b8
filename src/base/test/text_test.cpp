// SPDX-License-Identifier: BSD-3-Clause
#include "base/text/text.hpp"

#include <gtest/gtest.h>

namespace vmux {
namespace {

struct NumberRow {
  const char* text;
  std::optional<std::uint64_t> value;
};
class NumberText : public testing::TestWithParam<NumberRow> {};
TEST_P(NumberText, IsReadByTheOneRule) {
  EXPECT_EQ(parse_number(GetParam().text), GetParam().value) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    Rows, NumberText,
    testing::Values(NumberRow{"0", 0}, NumberRow{"7", 7}, NumberRow{"4094", 4094}, NumberRow{"0x10", 16},
                    NumberRow{"0x0010", 16}, NumberRow{"0xFf", 255}, NumberRow{"18446744073709551615", ~0ull},
                    NumberRow{"0xffffffffffffffff", ~0ull},
                    // Some read these in eights, some in tens: nobody here.
                    NumberRow{"0100", {}}, NumberRow{"00", {}}, NumberRow{"08", {}}, NumberRow{"0o17", {}},
                    NumberRow{"0b11", {}},
                    // What C, Python, YAML or CLI11 let through.
                    NumberRow{"", {}}, NumberRow{"+5", {}}, NumberRow{"-5", {}}, NumberRow{" 5", {}},
                    NumberRow{"5 ", {}}, NumberRow{"5\n", {}}, NumberRow{"1_000", {}}, NumberRow{"1'000", {}},
                    NumberRow{"1,000", {}}, NumberRow{"1e3", {}}, NumberRow{"1.0", {}}, NumberRow{"0x", {}},
                    NumberRow{"0X10", {}}, NumberRow{"0x 1", {}}, NumberRow{"0x-1", {}}, NumberRow{"10h", {}},
                    NumberRow{"ten", {}}, NumberRow{"18446744073709551616", {}}, NumberRow{"0x10000000000000000", {}}));

TEST(NumberText, IsNoNumberAboveTheLimit) {
  EXPECT_EQ(parse_number("4094", 4094), 4094u);
  EXPECT_FALSE(parse_number("4095", 4094));
  EXPECT_FALSE(parse_number("0xfff", 4094));
}

TEST(HexText, NeedsNoPrefix) {
  EXPECT_EQ(parse_hex("c9de"), 0xc9deu);
  EXPECT_EQ(parse_hex("0x0200"), 0x200u);
  EXPECT_FALSE(parse_hex("0x"));
  EXPECT_FALSE(parse_hex("-1"));
  EXPECT_FALSE(parse_hex("100", 0xff));
}

struct MacRow {
  const char* text;
  bool is_mac, is_station;
};
class MacText : public testing::TestWithParam<MacRow> {};
TEST_P(MacText, IsSixPairs) {
  EXPECT_EQ(parse_any_mac(GetParam().text).has_value(), GetParam().is_mac) << GetParam().text;
  EXPECT_EQ(parse_mac(GetParam().text).has_value(), GetParam().is_station) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    Rows, MacText,
    testing::Values(MacRow{"52:54:00:12:34:56", true, true}, MacRow{"52-54-00-AB-cd-0e", true, true},
                    MacRow{"01:00:5e:00:00:01", true, false}, MacRow{"ff:ff:ff:ff:ff:ff", true, false},
                    MacRow{"00:00:00:00:00:00", true, false}, MacRow{"", false, false},
                    MacRow{"02:00:00:00:00", false, false}, MacRow{"02:00:00:00:00:0g", false, false},
                    MacRow{"02:00:00:00:00:001", false, false}, MacRow{"02:00:00:00:00:00:01", false, false},
                    MacRow{"02.00.00.00.00.01", false, false}, MacRow{" 2:00:00:00:00:01", false, false},
                    MacRow{"2:0:0:0:0:1", false, false}, MacRow{"0x:00:00:00:00:01", false, false},
                    MacRow{"+2:00:00:00:00:01", false, false}, MacRow{"020000000001", false, false}));

TEST(MacAddress, RoundTripsThroughText) {
  EXPECT_EQ(to_text(parse_mac("52-54-00-AB-cd-0e").value()), "52:54:00:ab:cd:0e");
}

TEST(MacAddress, OffsetCarriesButKeepsTheVendorPart) {
  const MacAddress base{{0x52, 0x54, 0, 0xff, 0xff, 0xfe}};
  EXPECT_EQ(to_text(offset_mac(base, 1)), "52:54:00:ff:ff:ff");
  EXPECT_EQ(to_text(offset_mac(base, 3)), "52:54:00:00:00:01");
}

struct PciRow {
  const char* text;
  const char* as;  ///< as the kernel writes it; "" for no address
};
class PciText : public testing::TestWithParam<PciRow> {};
TEST_P(PciText, IsReadAndWrittenAsTheKernelDoes) {
  const auto address = parse_pci_address(GetParam().text);
  EXPECT_EQ(address ? address->text() : "", GetParam().as) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    Rows, PciText,
    testing::Values(PciRow{"0000:08:00.0", "0000:08:00.0"}, PciRow{"af:1f.7", "0000:af:1f.7"},
                    PciRow{"ABCD:EF:1F.7", "abcd:ef:1f.7"}, PciRow{"10000:e1:00.0", "10000:e1:00.0"},
                    PciRow{"ffffffff:ff:1f.7", "ffffffff:ff:1f.7"}, PciRow{"00000000:01:00.0", "0000:01:00.0"},
                    PciRow{"0:1:0.0", "0000:01:00.0"}, PciRow{"", ""}, PciRow{"ens1", ""}, PciRow{"08:00", ""},
                    PciRow{"0000:08:20.0", ""}, PciRow{"0000:08:00.8", ""}, PciRow{"0000.08:00.0", ""},
                    PciRow{"0000:0g:00.0", ""}, PciRow{"0000:100:00.0", ""}, PciRow{"0000:008:00.0", ""},
                    PciRow{"100000000:01:00.0", ""}, PciRow{"000000000:01:00.0", ""}, PciRow{"0000:08:00.00", ""},
                    PciRow{"0x0:08:00.0", ""}, PciRow{"-1:00.0", ""}, PciRow{":08:00.0", ""}, PciRow{"08:.0", ""},
                    PciRow{"0000:01:00.0/x", ""}, PciRow{"1:2:3:4.5", ""}, PciRow{"pci0000:00", ""},
                    PciRow{" 08:00.0", ""}, PciRow{"08:00.0 ", ""}));

TEST(CpuList, KeepsTheOrderWritten) {
  EXPECT_EQ(parse_cpu_list("4-6,2").value(), (std::vector<unsigned>{4, 5, 6, 2}));
  EXPECT_EQ(parse_cpu_list("8191").value(), std::vector<unsigned>{8191});
}
class CpuText : public testing::TestWithParam<const char*> {};
TEST_P(CpuText, IsRefused) { EXPECT_FALSE(parse_cpu_list(GetParam())) << GetParam(); }
INSTANTIATE_TEST_SUITE_P(Bad, CpuText,
                         testing::Values("", "1,", ",1", "1,,2", "2-1", "1-", "-1", "x", "1,0-2", "8192", "010", "0-07",
                                         "0-4000000000", "4294967297", "1-2-3", "0, 1", " 0", "0\n", "0-3:2"));

struct SizeRow {
  const char* text;
  std::optional<std::uint64_t> bytes;
};
class SizeText : public testing::TestWithParam<SizeRow> {};
TEST_P(SizeText, IsInPowersOf1024) { EXPECT_EQ(parse_size(GetParam().text), GetParam().bytes) << GetParam().text; }
INSTANTIATE_TEST_SUITE_P(Rows, SizeText,
                         testing::Values(SizeRow{"2M", 2u << 20}, SizeRow{"1G", 1u << 30}, SizeRow{"1g", 1u << 30},
                                         SizeRow{"2048K", 2u << 20}, SizeRow{"2048kB", 2u << 20},
                                         SizeRow{"2MB", 2u << 20}, SizeRow{"2MiB", 2u << 20}, SizeRow{"1T", 1ull << 40},
                                         SizeRow{"0M", 0}, SizeRow{"2", {}}, SizeRow{"M", {}}, SizeRow{"", {}},
                                         SizeRow{"02M", {}}, SizeRow{"2 M", {}}, SizeRow{"1.5G", {}},
                                         SizeRow{"-2M", {}}, SizeRow{"0x2M", {}}, SizeRow{"2MM", {}},
                                         SizeRow{"2Mi", {}}, SizeRow{"2X", {}}, SizeRow{"17179869184G", {}},
                                         SizeRow{"99999999999999999999K", {}}));

struct ModeRow {
  const char* text;
  std::optional<unsigned> mode;
};
class ModeText : public testing::TestWithParam<ModeRow> {};
TEST_P(ModeText, IsOctal) { EXPECT_EQ(parse_mode(GetParam().text), GetParam().mode) << GetParam().text; }
INSTANTIATE_TEST_SUITE_P(Rows, ModeText,
                         testing::Values(ModeRow{"660", 0660}, ModeRow{"0660", 0660}, ModeRow{"0o660", 0660},
                                         ModeRow{"0", 0}, ModeRow{"777", 0777}, ModeRow{"1777", {}},
                                         ModeRow{"0800", {}}, ModeRow{"", {}}, ModeRow{"0o", {}}, ModeRow{"0x1b0", {}},
                                         ModeRow{"-660", {}}, ModeRow{" 660", {}}, ModeRow{"660 ", {}},
                                         ModeRow{"rw-rw----", {}}, ModeRow{"u=rw", {}}));

TEST(Split, AlwaysHasAPart) {
  EXPECT_EQ(split("", ','), std::vector<std::string_view>{""});
  EXPECT_EQ(split("a,,b,", ','), (std::vector<std::string_view>{"a", "", "b", ""}));
  EXPECT_EQ(trim(" \ta b\n"), "a b");
  EXPECT_EQ(trim(" "), "");
}

}  // namespace
}  // namespace vmux
