// SPDX-License-Identifier: BSD-3-Clause
#include "host/look/command_line.hpp"

#include <gtest/gtest.h>

namespace vmux::host {
namespace {

struct ValueRow {
  const char* line;
  std::optional<std::string> value;  ///< of "iommu"
};
class CommandLineValue : public testing::TestWithParam<ValueRow> {};
TEST_P(CommandLineValue, IsWhatTheKernelTakes) {
  EXPECT_EQ(CommandLine::parse(GetParam().line).value("iommu"), GetParam().value) << GetParam().line;
}
INSTANTIATE_TEST_SUITE_P(
    Rows, CommandLineValue,
    testing::Values(ValueRow{"", {}}, ValueRow{"quiet iommu=pt\n", "pt"}, ValueRow{"iommu=pt iommu=off", "off"},
                    ValueRow{"iommu", ""}, ValueRow{"iommu=", ""}, ValueRow{"xiommu=pt iommux=pt iommu.strict=0", {}},
                    ValueRow{"\tiommu=pt", "pt"}, ValueRow{"iommu=\"pt\"", "pt"}, ValueRow{"\"iommu=pt\"", "pt"},
                    ValueRow{"iommu=\"a b\" c", "a b"}, ValueRow{"\"iommu=a b\" c", "a b"},
                    ValueRow{"x=\"y iommu=off\" iommu=pt", "pt"}, ValueRow{"x=\"y iommu=off", {}},
                    ValueRow{"init=/bin/sh -- iommu=off", {}}, ValueRow{"iommu=pt -- iommu=off", "pt"},
                    ValueRow{"--x iommu=pt", "pt"}, ValueRow{"=iommu iommu=pt", "pt"}));

TEST(CommandLine, TakesDashesForUnderscores) {
  EXPECT_EQ(CommandLine::parse("intel-iommu=on").value("intel_iommu"), "on");
  EXPECT_EQ(CommandLine::parse("intel_iommu=on").value("intel-iommu"), "on");
}

struct SwitchRow {
  const char* line;
  const char* state;
};
class CommandLineSwitch : public testing::TestWithParam<SwitchRow> {};
TEST_P(CommandLineSwitch, IsTheLastOfAllItsLists) {
  EXPECT_EQ(CommandLine::parse(GetParam().line).last_of("intel_iommu", {"on", "off"}), GetParam().state)
      << GetParam().line;
}
INSTANTIATE_TEST_SUITE_P(Rows, CommandLineSwitch,
                         testing::Values(SwitchRow{"", ""}, SwitchRow{"intel_iommu", ""},
                                         SwitchRow{"intel_iommu=on,igfx_off", "on"},
                                         SwitchRow{"intel_iommu=igfx_off", ""}, SwitchRow{"intel_iommu=sm_off", ""},
                                         SwitchRow{"intel_iommu=sp_off,off", "off"},
                                         SwitchRow{"intel_iommu=off intel_iommu=on", "on"},
                                         SwitchRow{"intel_iommu=on intel_iommu=off", "off"},
                                         SwitchRow{"intel_iommu=off intel_iommu=sm_on", "off"},
                                         SwitchRow{"intel_iommu=on,off,on", "on"}, SwitchRow{"intel_iommu=Off", ""}));

}  // namespace
}  // namespace vmux::host
