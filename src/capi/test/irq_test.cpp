// SPDX-License-Identifier: BSD-3-Clause
// Interrupts: SET_IRQS, and triggers from any thread.
#include <atomic>
#include <thread>

#include "capi/test/rig.hpp"

namespace capi_test {
namespace {

constexpr unsigned kNone = 1, kBool = 2, kEventfd = 4, kMask = 8, kUnmask = 16, kTrigger = 32;
constexpr unsigned kMsix = VFU_DEV_MSIX_IRQ, kError = VFU_DEV_ERR_IRQ;

std::uint64_t take(int fd) {
  std::uint64_t value = 0;
  return ::read(fd, &value, sizeof value) == sizeof value ? value : 0;
}

class CapiIrq : public testing::Test {
 protected:
  CapiIrq() {
    EXPECT_EQ(vfu_setup_device_nr_irqs(one.ctx, VFU_DEV_MSIX_IRQ, 8), 0);
    EXPECT_EQ(vfu_setup_irq_state_callback(one.ctx, VFU_DEV_MSIX_IRQ, on_irq_state), 0);
    one.attach();
    for (int& fd : fds)
      fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  }
  ~CapiIrq() override {
    for (const int fd : fds)
      ::close(fd);
  }
  unsigned set(unsigned flags, unsigned kind, unsigned start, unsigned count, const std::vector<int>& with = {},
               const std::string& bytes = {}) {
    return one.error_of(8, Bytes{}.u32(20 + bytes.size()).u32(flags).u32(kind).u32(start).u32(count).text(bytes), with);
  }
  Device one;
  int fds[2];
};

TEST_F(CapiIrq, TellsHowManyThereAre) {
  EXPECT_EQ(one.call(7, Bytes{}.u32(16).u32(0).u32(kMsix).u32(0)).payload, Bytes{}.u32(16).u32(1).u32(2).u32(8).str());
  EXPECT_EQ(one.call(7, Bytes{}.u32(16).u32(0).u32(kError).u32(0)).payload, Bytes{}.u32(16).u32(1).u32(3).u32(1).str());
  EXPECT_EQ(one.error_of(7, Bytes{}.u32(16).u32(0).u32(5).u32(0)), kInvalid);
  EXPECT_EQ(vfu_setup_device_nr_irqs(one.ctx, VFU_DEV_NUM_IRQS, 1), -1);
  EXPECT_EQ(one.call(4, Bytes{}.u32(32).u32(0).u32(0).u32(0)).payload, Bytes{}.u32(16).u32(3).u32(9).u32(5).str());
}

TEST_F(CapiIrq, ReachesWhoListens) {
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 8), -1);
  EXPECT_EQ(errno, EINVAL);
  ASSERT_EQ(set(kTrigger | kEventfd, kMsix, 3, 2, {fds[0], fds[1]}), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 4), 0);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 4), 0);
  EXPECT_EQ(take(fds[0]), 1u);
  EXPECT_EQ(take(fds[1]), 2u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 5), -1);
}

TEST_F(CapiIrq, IsLetGoByRangeByKindAndWithTheClient) {
  ASSERT_EQ(set(kTrigger | kEventfd, kMsix, 3, 2, {fds[0], fds[1]}), 0u);
  EXPECT_EQ(set(kTrigger | kEventfd, kMsix, 3, 1), 0u);  // no descriptor for one
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), -1);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 4), 0);
  ASSERT_EQ(set(kTrigger | kEventfd, kMsix, 3, 1, {fds[0]}), 0u);  // the same number again
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), 0);
  EXPECT_EQ(take(fds[0]), 1u);
  EXPECT_EQ(set(kTrigger | kNone, kMsix, 0, 0), 0u);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 4), -1);
  EXPECT_EQ(errno, ENOENT);
  ASSERT_EQ(set(kTrigger | kEventfd, kMsix, 3, 1, {fds[0]}), 0u);
  one.client.close();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(vfu_irq_trigger(one.ctx, 3), -1);
}

TEST_F(CapiIrq, IsTriggeredByTheClient) {
  ASSERT_EQ(set(kTrigger | kEventfd, kMsix, 0, 2, {fds[0], fds[1]}), 0u);
  ASSERT_EQ(set(kTrigger | kEventfd, kError, 0, 1, {fds[0]}), 0u);
  EXPECT_EQ(set(kTrigger | kBool, kMsix, 0, 2, {}, std::string("\0\1", 2)), 0u);
  EXPECT_EQ(take(fds[0]), 0u);
  EXPECT_EQ(take(fds[1]), 1u);
  EXPECT_EQ(set(kTrigger | kNone, kError, 0, 1), 0u);
  EXPECT_EQ(take(fds[0]), 1u);
}

TEST_F(CapiIrq, TellsTheDeviceOfMasks) {
  EXPECT_EQ(set(kMask | kNone, kMsix, 2, 3), 0u);
  EXPECT_EQ(set(kUnmask | kNone, kMsix, 2, 1), 0u);
  EXPECT_EQ(one.device.calls, (std::vector<std::string>{"mask 2+3", "unmask 2+1"}));
}

TEST_F(CapiIrq, RefusesWhatMakesNoSense) {
  EXPECT_EQ(one.error_of(8, Bytes{}.u32(19).u32(kTrigger | kNone).u32(kMsix).u32(0).u32(0)), kInvalid);
  EXPECT_EQ(set(kTrigger | kMask | kNone, kMsix, 0, 1), kInvalid);
  EXPECT_EQ(set(kTrigger | kNone | kBool, kMsix, 0, 1, {}, "\1"), kInvalid);
  EXPECT_EQ(set(kTrigger | kNone, 5, 0, 1), kInvalid);
  EXPECT_EQ(set(kTrigger | kNone, kMsix, 7, 2), kInvalid);
  EXPECT_EQ(set(kTrigger | kNone, kMsix, 7, ~0u), kInvalid);
  EXPECT_EQ(set(kTrigger | kNone, kMsix, 1, 0), kInvalid);
  EXPECT_EQ(set(kTrigger | kNone, VFU_DEV_MSI_IRQ, 0, 0), kInvalid);  // absent
  EXPECT_EQ(set(kMask | kNone, kMsix, 0, 0), kInvalid);
  EXPECT_EQ(set(kMask | kNone, kError, 0, 1), kInvalid);
  EXPECT_EQ(set(kTrigger | kBool, kMsix, 0, 2, {}, "\1"), kInvalid);
  EXPECT_EQ(set(kTrigger | kNone, kMsix, 0, 1, {fds[0]}), kInvalid);
  EXPECT_EQ(set(kTrigger | kEventfd, kMsix, 0, 2, {fds[0]}), kInvalid);
}

int open_fds() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd)
    count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST_F(CapiIrq, LeavesNoDescriptorBehindWhenRefused) {
  const int before = open_fds();
  EXPECT_EQ(set(kTrigger | kNone, kMsix, 0, 1, {fds[0], fds[1]}), kInvalid);
  EXPECT_EQ(one.error_of(4, Bytes{}.u32(16).u32(0).u32(0).u32(0), {fds[0]}), 0u);
  static_cast<void>(vfu_run_ctx(one.ctx));
  EXPECT_EQ(open_fds(), before);
}

TEST_F(CapiIrq, IsTriggeredFromAnyThreadWhileClientsChangeTheirMinds) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> sent{0};
  std::thread device{[&] {
    while (!stop)
      sent += vfu_irq_trigger(one.ctx, 0) == 0 ? 1 : 0;
  }};
  std::uint64_t received = 0;
  for (int round = 0; round < 200 || received == 0; ++round) {
    EXPECT_EQ(set(kTrigger | kEventfd, kMsix, 0, 1, {fds[0]}), 0u);
    std::this_thread::yield();
    EXPECT_EQ(set(kTrigger | kNone, kMsix, 0, 0), 0u);
    const int stranger = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);  // has a number that was free
    std::this_thread::yield();
    EXPECT_EQ(take(stranger), 0u);
    ::close(stranger);
    received += take(fds[0]);  // one may come after the answer: it was under way
  }
  stop = true;
  device.join();
  received += take(fds[0]);
  EXPECT_LE(received, sent);
  EXPECT_GT(received, 0u);
}

}  // namespace
}  // namespace capi_test
