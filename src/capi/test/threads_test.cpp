// SPDX-License-Identifier: BSD-3-Clause
// What any thread may do while another serves: for ThreadSanitizer as much as for what it asserts.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "capi/test/rig.hpp"

namespace capi_test {
namespace {

constexpr std::uint64_t kSize = 0x10000, kStays = 0x1000000, kGoes = 0x2000000;
constexpr int kRounds = 200;
constexpr std::uint32_t kVectors = 4;

/// A device whose client has given it memory that stays, and vectors.
class CapiThreads : public testing::Test {
 protected:
  CapiThreads() {
    EXPECT_EQ(vfu_setup_device_nr_irqs(one.ctx, VFU_DEV_MSIX_IRQ, kVectors), 0);
    one.attach();
    EXPECT_EQ(one.map(kStays, kSize, stays), 0u);
  }
  ~CapiThreads() override {
    ::close(stays);
    ::close(goes);
  }
  void listen(int eventfd) {
    EXPECT_EQ(one.error_of(8, Bytes{}.u32(20).u32(4 | 32).u32(VFU_DEV_MSIX_IRQ).u32(0).u32(1), {eventfd}), 0u);
  }
  /// Copies a word out of memory at `at`, and what it was: 0, or the errno.
  int read_word(std::uint64_t at, std::uint32_t& word) {
    std::vector<char> piece(dma_sg_size());
    auto* const sg = reinterpret_cast<dma_sg_t*>(piece.data());
    if (vfu_addr_to_sgl(one.ctx, dma_address(at), sizeof word, sg, 1, PROT_READ) != 1) return errno;
    return vfu_sgl_read(one.ctx, sg, 1, &word, VFU_SGL_DIRECT_ACCESS) == 0 ? 0 : errno;
  }
  int write_word(std::uint64_t at, std::uint32_t word) {
    std::vector<char> piece(dma_sg_size());
    auto* const sg = reinterpret_cast<dma_sg_t*>(piece.data());
    if (vfu_addr_to_sgl(one.ctx, dma_address(at), sizeof word, sg, 1, PROT_WRITE) != 1) return errno;
    if (!vfu_sg_is_mappable(one.ctx, sg)) return ENOTSUP;
    if (vfu_sgl_write(one.ctx, sg, 1, &word, VFU_SGL_DIRECT_ACCESS) != 0) return errno;
    vfu_sgl_mark_dirty(one.ctx, sg, 1);
    return 0;
  }
  Device one;
  int stays = memory_file(kSize), goes = memory_file(kSize);
  std::atomic<bool> is_over = false;
};

TEST_F(CapiThreads, MemoryThatStaysIsReadAndWrittenWhileOtherMemoryComesAndGoes) {
  std::atomic<int> failures = 0;
  std::uint32_t last = 0;
  std::thread device{[&] {
    for (std::uint32_t word = 1; !is_over || word < 2; ++word) {
      std::uint32_t read = 0;
      failures += write_word(kStays + 64, word) != 0 || read_word(kStays + 64, read) != 0 || read != word;
      last = word;
    }
  }};
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_EQ(one.map(kGoes, kSize, goes), 0u);
    EXPECT_EQ(one.unmap(kGoes, kSize), 0u);
  }
  is_over = true;
  device.join();
  EXPECT_EQ(failures, 0);
  std::uint32_t in_file = 0;
  EXPECT_EQ(::pread(stays, &in_file, sizeof in_file, 64), 4);
  EXPECT_EQ(in_file, last);
}

TEST_F(CapiThreads, MemoryThatGoesIsThereOrIsAnError) {
  std::atomic<int> others = 0;
  std::thread device{[&] {
    while (!is_over) {
      std::uint32_t word = 0;
      const int error = read_word(kGoes, word);
      others += error != 0 && error != ENOENT && error != EINVAL;
    }
  }};
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_EQ(one.map(kGoes, kSize, goes), 0u);
    EXPECT_EQ(one.unmap(kGoes, kSize), 0u);
  }
  is_over = true;
  device.join();
  EXPECT_EQ(others, 0);
}

TEST_F(CapiThreads, TriggersOfTwoThreadsReachWhoeverListensAndNobodyElse) {
  const int first = ::eventfd(0, EFD_CLOEXEC), second = ::eventfd(0, EFD_CLOEXEC);
  std::atomic<std::uint64_t> sent = 0;
  const auto trigger = [&] {
    while (!is_over) {
      sent += vfu_irq_trigger(one.ctx, 0) == 0;
    }
  };
  listen(first);
  std::thread one_thread{trigger}, other_thread{trigger};
  for (int round = 0; round < kRounds; ++round) {
    listen(round % 2 == 0 ? second : first);
  }
  is_over = true;
  one_thread.join();
  other_thread.join();
  std::uint64_t counts[2] = {};
  ASSERT_EQ(vfu_irq_trigger(one.ctx, 0), 0);  // so that neither read waits for ever
  listen(second);
  ASSERT_EQ(vfu_irq_trigger(one.ctx, 0), 0);
  EXPECT_EQ(::read(first, &counts[0], 8), 8);
  EXPECT_EQ(::read(second, &counts[1], 8), 8);
  EXPECT_EQ(counts[0] + counts[1], sent + 2);
  ::close(first);
  ::close(second);
}

}  // namespace
}  // namespace capi_test
