// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/vm_args.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmux::control {
namespace {

using testing::Contains;
using testing::HasSubstr;

TEST(VmArgs, ShareTheMemoryWithQemu) {
  const auto args = vm_args("qemu", "vfio-user", "/tmp/a.sock", 512);
  ASSERT_TRUE(args);
  EXPECT_THAT(args->lines, Contains("-object memory-backend-memfd,id=vmux-mem,size=512M,share=on"));
  EXPECT_THAT(args->lines,
              Contains(R"(-device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/a.sock"}}')"));
}

TEST(VmArgs, QuoteAPathForTheShell) {
  EXPECT_THAT(vm_args("qemu", "vfio-user", "/tmp/it's", 512)->lines, Contains(HasSubstr(R"(/tmp/it'\''s)")));
  EXPECT_THAT(vm_args("cloud-hypervisor", "vfio-user", "/tmp/a b", 512)->lines,
              Contains("--user-device 'socket=/tmp/a b'"));
}

TEST(VmArgs, QuoteAPathForXml) {
  EXPECT_THAT(vm_args("libvirt", "vfio-user", "/tmp/a&b", 512)->lines, Contains(HasSubstr("/tmp/a&amp;b")));
}

TEST(VmArgs, RefuseAnUnknownVmm) {
  EXPECT_EQ(vm_args("xen", "vfio-user", "/tmp/a", 512).error().text,
            "expected qemu, libvirt or cloud-hypervisor, got 'xen'");
}

TEST(VmArgs, RefuseATransportThatTheVmmHasNot) {
  const auto args = vm_args("qemu", "wire", "/tmp/a", 512);
  ASSERT_FALSE(args);
  EXPECT_EQ(args.error().kind, ProblemKind::not_supported);
  EXPECT_EQ(args.error().text, "qemu has no wire");
}

}  // namespace
}  // namespace vmux::control
