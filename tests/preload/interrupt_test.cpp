// SPDX-License-Identifier: BSD-3-Clause
#include <poll.h>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

constexpr std::uint32_t kEvent = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
constexpr std::uint32_t kNone = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
constexpr std::uint32_t kMask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK;

vfio_irq_info irq_info(const Opened& it, std::uint32_t index) {
  vfio_irq_info info{};
  info.argsz = sizeof info;
  info.index = index;
  EXPECT_EQ(ioctl(it.device, VFIO_DEVICE_GET_IRQ_INFO, &info), 0);
  return info;
}

TEST(Interrupts, KindsAndCountsAreTheServers) {
  const Opened it;
  EXPECT_EQ(irq_info(it, VFIO_PCI_INTX_IRQ_INDEX).count, 1u);
  EXPECT_NE(irq_info(it, VFIO_PCI_INTX_IRQ_INDEX).flags & VFIO_IRQ_INFO_AUTOMASKED, 0u);
  EXPECT_EQ(irq_info(it, VFIO_PCI_MSI_IRQ_INDEX).count, probe::kMsiVectors);
  EXPECT_EQ(irq_info(it, VFIO_PCI_MSIX_IRQ_INDEX).count, probe::kVectors);
  EXPECT_EQ(irq_info(it, VFIO_PCI_ERR_IRQ_INDEX).count, 1u);
  EXPECT_EQ(irq_info(it, VFIO_PCI_REQ_IRQ_INDEX).count, 1u);
  vfio_irq_info info{sizeof info, 0, VFIO_PCI_NUM_IRQS, 0};
  EXPECT_EQ(errno_of(ioctl(it.device, VFIO_DEVICE_GET_IRQ_INFO, &info)), EINVAL);
}
TEST(Interrupts, MsixVectorsReachTheirEventfds) {
  const Opened it;
  it.enable_bus_master();
  const Fd first{eventfd(0, 0)}, last{eventfd(0, 0)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 4, {first, -1, -1, last}), 0);
  it.write<std::uint32_t>(probe::kTrigger, 3);
  EXPECT_EQ(wait_for(last), 1u);
  it.write<std::uint32_t>(probe::kTrigger, 1);  // has no sink
  it.write<std::uint32_t>(probe::kTrigger, 0);
  EXPECT_EQ(wait_for(first), 1u);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kNone, 0, 0), 0);
}
TEST(Interrupts, MsixVectorCanBeTriggeredByTheProgram) {
  const Opened it;
  it.enable_bus_master();
  const Fd event{eventfd(0, 0)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {event}), 0);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kNone, 0, 1), 0);
  EXPECT_EQ(wait_for(event), 1u);
}
TEST(Interrupts, IntxMasksItselfUntilUnmasked) {
  const Opened it;
  const Fd event{eventfd(0, EFD_NONBLOCK)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, kEvent, 0, 1, {event}), 0);
  it.write<std::uint32_t>(probe::kLevel, 1);
  it.write<std::uint32_t>(probe::kLevel, 1);
  (void)it.read(probe::kLevel);  // both writes have happened
  EXPECT_EQ(wait_for(event), 1u);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1), 0);
  EXPECT_EQ(wait_for(event), 1u);  // the level is still high
  it.write<std::uint32_t>(probe::kLevel, 0);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1), 0);
  EXPECT_EQ(wait_for(event), 0u);
}
TEST(Interrupts, MsiVectorsReachTheirEventfds) {
  const Opened it;
  it.enable_bus_master();
  const Fd first{eventfd(0, 0)}, second{eventfd(0, 0)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSI_IRQ_INDEX, kEvent, 0, 2, {first, second}), 0);
  it.write<std::uint32_t>(probe::kTrigger, 1);
  EXPECT_EQ(wait_for(second), 1u);
  it.write<std::uint32_t>(probe::kTrigger, 0);
  EXPECT_EQ(wait_for(first), 1u);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSI_IRQ_INDEX, kNone, 0, 0), 0);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSI_IRQ_INDEX, kEvent, 1, 2, {-1, -1}), EINVAL);
}
TEST(Interrupts, IntxIsMaskedByTheProgram) {
  const Opened it;
  const Fd event{eventfd(0, EFD_NONBLOCK)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, kEvent, 0, 1, {event}), 0);
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1), 0);
  it.write<std::uint32_t>(probe::kLevel, 1);
  (void)it.read(probe::kLevel);
  EXPECT_EQ(wait_for(event), 0u);
  constexpr std::uint32_t unmask = VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_UNMASK;
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, unmask, 0, 1, {0}), 0);
  EXPECT_EQ(wait_for(event), 0u);
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, unmask, 0, 1, {1}), 0);
  EXPECT_EQ(wait_for(event), 1u);
}
TEST(Interrupts, IntxIsUnmaskedByAnEventfd) {
  const Opened it;
  const Fd event{eventfd(0, 0)}, resample{eventfd(0, 0)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, kEvent, 0, 1, {event}), 0);
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1,
                     {resample}),
            0);
  it.write<std::uint32_t>(probe::kLevel, 1);
  EXPECT_EQ(wait_for(event), 1u);
  ASSERT_EQ(eventfd_write(resample, 1), 0);
  pollfd watched{event, POLLIN, 0};
  ASSERT_EQ(poll(&watched, 1, 10'000), 1);  // the level is still high
  EXPECT_EQ(wait_for(event), 1u);
}
TEST(Interrupts, ErrAndReqReachTheirEventfds) {
  const Opened it;
  const Fd err{eventfd(0, 0)}, req{eventfd(0, 0)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_ERR_IRQ_INDEX, kEvent, 0, 1, {err}), 0);
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_REQ_IRQ_INDEX, kEvent, 0, 1, {req}), 0);
  it.write<std::uint32_t>(probe::kRequest, 1);
  EXPECT_EQ(wait_for(err), 1u);
  it.write<std::uint32_t>(probe::kRequest, 2);
  EXPECT_EQ(wait_for(req), 1u);
}
TEST(Interrupts, BadRequestsAreRefusedAsTheKernelDoes) {
  const Opened it;
  const Fd file{open("/dev/null", O_RDWR)};
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 3, 2, {-1, -1}), EINVAL);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 2, {-1}), EINVAL);  // too little data
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_NUM_IRQS, kNone, 0, 1), EINVAL);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1), EINVAL);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, 0x1000 | kNone, 0, 1), EINVAL);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE, 0, 1), ENOTTY);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {4000}), EBADF);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {file}), EINVAL);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kNone, 0, 0), EINVAL);  // never enabled
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kMask, 0, 1), ENOTTY);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_INTX_IRQ_INDEX, kMask, 0, 1), EINVAL);
}
TEST(Interrupts, OneKindIsEnabledAtATime) {
  const Opened it;
  const Fd event{eventfd(0, 0)};
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSI_IRQ_INDEX, kEvent, 0, 1, {event}), 0);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {event}), EINVAL);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSI_IRQ_INDEX, kNone, 0, 0), 0);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {-2}), 0);  // all that is negative is none
}

}  // namespace
}  // namespace vmux::tests
