// SPDX-License-Identifier: BSD-3-Clause
// Sizes, offsets and values that programs were compiled with. The numbers were taken from a program compiled with
// libvfio-user's own headers.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "vfio-user/libvfio-user.h"

namespace {

struct Row {
  const char* name;
  unsigned long long value, expected;
};
#define SIZE(type, number) \
  { "sizeof " #type, sizeof(type), number }
#define AT(type, member, number) \
  { #type "." #member, offsetof(type, member), number }
#define VALUE(name, number) \
  { #name, static_cast < unsigned long long>(name), number }

// clang-format off
const Row kRows[] = {
#include "capi/test/abi_table.inc"
};
// clang-format on

TEST(CapiAbi, HasTheLayoutAndValuesThatProgramsWereCompiledWith) {
  for (const Row& row : kRows)
    EXPECT_EQ(row.value, row.expected) << row.name;
  EXPECT_EQ(dma_sg_size(), 40u);
}

TEST(CapiAbi, PutsBitFieldsWhereTheSpecificationHasThem) {
  const auto word = [](const auto& value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
  };
  pxdcap capabilities{};
  capabilities.flrc = 1;
  EXPECT_EQ(word(capabilities), 1u << 28);
  pxdc control{};
  control.iflr = 1;
  EXPECT_EQ(control.raw, 1u << 15);
  mxc msix{};
  msix.mxe = 1;
  EXPECT_EQ(word(msix), 1u << 15);
  mc msi{};
  msi.mme = 7;
  EXPECT_EQ(word(msi), 7u << 4);
  pmcs power{};
  power.pmes = 1;
  EXPECT_EQ(power.raw, 1u << 15);
  pcie_ext_cap_hdr extended{};
  extended.next = 0xfff;
  EXPECT_EQ(word(extended), 0xfffu << 20);
  vfu_pci_hdr_sts_t status{};
  status.cl = 1;
  EXPECT_EQ(status.raw, 1u << 4);
  vfu_pci_hdr_cmd_t command{};
  command.id = 1;
  EXPECT_EQ(command.raw, 1u << 10);
  vfu_bar_t bar{};
  bar.mem.prefetchable = 1;
  EXPECT_EQ(bar.raw, 1u << 3);
}

}  // namespace
