// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/vm_args.hpp"

#include "control/model/viommu_args.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmux::control {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(VmArgs, ShareTheMemoryWithQemu) {
  const auto args = vm_args("qemu", VmPort{"vm0", "vfio-user", "/tmp/a.sock"}, 512);
  ASSERT_TRUE(args);
  EXPECT_THAT(args->lines, Contains("-object memory-backend-memfd,id=vmux-mem,size=512M,share=on"));
  EXPECT_THAT(args->lines,
              Contains(R"(-device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/a.sock"}}')"));
}

TEST(VmArgs, WarnThatQemuMigratesWithoutTheNic) {
  for (const char* const vmm : {"qemu", "libvirt"}) {
    EXPECT_THAT(vm_args(vmm, VmPort{"vm0", "vfio-user", "/tmp/a"}, 512)->notes,
                Contains(HasSubstr("without the state of this NIC")))
        << vmm;
  }
  EXPECT_THAT(vm_args("qemu", VmPort{"vm0", "vhost-user", "/tmp/a"}, 512)->notes,
              Not(Contains(HasSubstr("without the state of this NIC"))));
}

TEST(VmArgs, QuoteAPathForTheShell) {
  EXPECT_THAT(vm_args("qemu", VmPort{"vm0", "vfio-user", "/tmp/it's"}, 512)->lines,
              Contains(HasSubstr(R"(/tmp/it'\''s)")));
  EXPECT_THAT(vm_args("cloud-hypervisor", VmPort{"vm0", "vfio-user", "/tmp/a b"}, 512)->lines,
              Contains("--user-device 'socket=/tmp/a b'"));
}

TEST(VmArgs, QuoteAPathForXml) {
  EXPECT_THAT(vm_args("libvirt", VmPort{"vm0", "vfio-user", "/tmp/a&b"}, 512)->lines,
              Contains(HasSubstr("/tmp/a&amp;b")));
}

TEST(VmArgs, PutAnIommuBeforeTheNic) {
  const VmArgs made = *vm_args("qemu", VmPort{"vm0", "vfio-user", "/tmp/a"}, 512);
  const auto args = with_viommu(made, "qemu", "vfio-user", "strict");
  ASSERT_TRUE(args);
  ASSERT_EQ(args->lines.size(), made.lines.size() + 1);
  EXPECT_EQ(args->lines[args->lines.size() - 2], "-device intel-iommu,caching-mode=on");
  EXPECT_EQ(args->lines.back(), made.lines.back());
  EXPECT_THAT(args->notes, Contains(HasSubstr("iommu.strict=1")));
}

TEST(VmArgs, PutAnIommuBeforeLibvirtsCommandLine) {
  const VmArgs made = *vm_args("libvirt", VmPort{"vm0", "vfio-user", "/tmp/a"}, 512);
  const auto args = with_viommu(made, "libvirt", "vfio-user", "pt");
  ASSERT_TRUE(args);
  EXPECT_THAT(args->lines, Contains("    <iommu model='intel'>"));
  EXPECT_THAT(args->notes, Contains(HasSubstr("iommu=pt")));
}

TEST(VmArgs, HaveNoIommuUnlessAsked) {
  const VmArgs made = *vm_args("cloud-hypervisor", VmPort{"vm0", "vfio-user", "/tmp/a"}, 512);
  EXPECT_EQ(with_viommu(made, "cloud-hypervisor", "vfio-user", "none")->lines, made.lines);
}

TEST(VmArgs, RefuseAnIommuThatThereIsNot) {
  EXPECT_EQ(with_viommu({}, "cloud-hypervisor", "vfio-user", "shadow").error().kind, ProblemKind::not_supported);
  EXPECT_EQ(with_viommu({}, "qemu", "vhost-user", "shadow").error().kind, ProblemKind::not_supported);
  EXPECT_EQ(with_viommu({}, "qemu", "vfio-user", "lazy").error().kind, ProblemKind::invalid);
}

VmPort vhost_port(unsigned queues = 4, bool connects = false) {
  return {"vm0", "vhost-user", "/tmp/a.sock", MacAddress{{0x52, 0x54, 0, 0, 0, 1}}, queues, connects};
}

TEST(VmArgs, GiveQemuACardOfItsOwnOverVhostUser) {
  EXPECT_THAT(vm_args("qemu", vhost_port(), 512)->lines,
              ElementsAre("-m 512", "-object memory-backend-memfd,id=vmux-mem,size=512M,share=on",
                          "-machine q35,memory-backend=vmux-mem",
                          "-chardev socket,id=vmux-vm0,path=/tmp/a.sock,reconnect-ms=100",
                          "-netdev vhost-user,id=vmux-vm0-net,chardev=vmux-vm0,queues=4",
                          "-device virtio-net-pci,netdev=vmux-vm0-net,mac=52:54:00:00:00:01,mq=on,vectors=10,"
                          "rx_queue_size=1024"));
  EXPECT_THAT(vm_args("qemu", vhost_port(1), 512)->lines, Contains(HasSubstr("mq=off,vectors=4")));
}

TEST(VmArgs, LetTheVmmListenWhereVmuxConnects) {
  EXPECT_THAT(vm_args("qemu", vhost_port(4, true), 512)->lines,
              Contains("-chardev socket,id=vmux-vm0,path=/tmp/a.sock,server=on,wait=off"));
  EXPECT_THAT(vm_args("libvirt", vhost_port(4, true), 512)->lines,
              Contains("      <source type='unix' path='/tmp/a.sock' mode='server'/>"));
  EXPECT_THAT(vm_args("cloud-hypervisor", vhost_port(4, true), 512)->lines, Contains(HasSubstr("vhost_mode=server")));
}

TEST(VmArgs, GiveLibvirtAndCloudHypervisorTheSame) {
  const auto libvirt = vm_args("libvirt", vhost_port(), 512)->lines;
  EXPECT_THAT(libvirt, Contains("    <interface type='vhostuser'>"));
  EXPECT_THAT(libvirt, Contains("      <source type='unix' path='/tmp/a.sock' mode='client'>"));
  EXPECT_THAT(libvirt, Contains(HasSubstr("queues='4'")));
  EXPECT_THAT(
      vm_args("cloud-hypervisor", vhost_port(), 512)->lines,
      Contains("--net vhost_user=true,socket=/tmp/a.sock,mac=52:54:00:00:00:01,num_queues=8,vhost_mode=client"));
}

TEST(VmArgs, WriteACommaInAPathTwiceForQemu) {
  VmPort port = vhost_port();
  port.socket = "/tmp/a,b";
  EXPECT_THAT(vm_args("qemu", port, 512)->lines, Contains(HasSubstr("path=/tmp/a,,b,reconnect")));
}

TEST(VmArgs, RefuseAnUnknownVmm) {
  EXPECT_EQ(vm_args("xen", VmPort{"vm0", "vfio-user", "/tmp/a"}, 512).error().text,
            "expected qemu, libvirt or cloud-hypervisor, got 'xen'");
}

TEST(VmArgs, RefuseATransportThatTheVmmHasNot) {
  const auto args = vm_args("qemu", VmPort{"vm0", "wire", "/tmp/a"}, 512);
  ASSERT_FALSE(args);
  EXPECT_EQ(args.error().kind, ProblemKind::not_supported);
  EXPECT_EQ(args.error().text, "qemu has no wire");
}

TEST(VmArgs, HaveTheRingsOfTheFunctionBehindTheCard) {
  VmPort port{"vm0", "vhost-user", "/tmp/a"};
  port.ring_size = 512;
  port.options = {"event_idx=off"};
  EXPECT_THAT(vm_args("qemu", port, 512)->lines, Contains(HasSubstr(",rx_queue_size=512,event_idx=off")));
  EXPECT_THAT(vm_args("libvirt", port, 512)->lines, Contains(HasSubstr("rx_queue_size='512'")));
  port.ring_size = 64;  // QEMU's have 256 at least
  EXPECT_THAT(vm_args("qemu", port, 512)->lines, Contains(HasSubstr("rx_queue_size=256")));
}

TEST(VmArgs, MakeADiskOfADisk) {
  VmPort port{"d0", "vhost-user", "/tmp/a"};
  port.is_disk = true;
  port.queues = 2;
  port.ring_size = 128;
  EXPECT_THAT(vm_args("qemu", port, 512)->lines,
              Contains("-device vhost-user-blk-pci,chardev=vmux-d0,num-queues=2,queue-size=128"));
  EXPECT_THAT(vm_args("libvirt", port, 512)->lines, Contains("    <disk type='vhostuser' device='disk'>"));
  EXPECT_THAT(vm_args("libvirt", port, 512)->lines, Contains("      <source type='unix' path='/tmp/a'>"));
  EXPECT_THAT(vm_args("cloud-hypervisor", port, 512)->lines,
              Contains("--disk vhost_user=true,socket=/tmp/a,num_queues=2,queue_size=128"));
}

}  // namespace
}  // namespace vmux::control
