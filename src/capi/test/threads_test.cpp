// SPDX-License-Identifier: BSD-3-Clause
// What any thread may do while another serves: for ThreadSanitizer as much as for what it asserts.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "capi/test/rig.hpp"
#include "vfio-user/vmux-extensions.h"

namespace capi_test {
namespace {

constexpr std::uint64_t kSize = 0x10000, kStays = 0x1000000, kGoes = 0x2000000;
constexpr int kRounds = 200;
constexpr std::uint32_t kVectors = 4;
constexpr const char* kTwinSocket = R"({"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}})";

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

/// One that has MSI-X's table, in BAR 0, and whose client listens to vector 0.
class CapiMaskThreads : public testing::Test {
 protected:
  CapiMaskThreads() {
    std::string msix = Bytes{}.u8(0x11).u8(0).u16(kVectors - 1).u32(0).u32(0x800);
    vfu_setup_region(one.ctx, 0, 4096, on_access, kMem, nullptr, 0, -1, 0);
    static_cast<void>(vfu_pci_init(one.ctx, VFU_PCI_TYPE_CONVENTIONAL, 0, 0));
    EXPECT_GT(vfu_pci_add_capability(one.ctx, 0, 0, msix.data()), 0);
    EXPECT_EQ(vmux_emulate_irqs(one.ctx, VMUX_IRQ_MSIX), 0);
    one.attach();
    EXPECT_EQ(one.error_of(8, Bytes{}.u32(20).u32(4 | 32).u32(VFU_DEV_MSIX_IRQ).u32(0).u32(1), {event}), 0u);
  }
  ~CapiMaskThreads() override { ::close(event); }
  void mask(unsigned bit) { EXPECT_EQ(one.write(0, 12, Bytes{}.u32(bit)), 0u); }
  std::uint64_t take() {
    std::uint64_t count = 0;
    return ::read(event, &count, sizeof count) == sizeof count ? count : 0;
  }
  Device one;
  int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
};

TEST_F(CapiMaskThreads, NoTriggerIsLostWhileAGuestMasksAndUnmasks) {
  std::atomic<int> sent = 0, heard = 0;
  std::thread device{[&] {
    for (int round = 1; round <= kRounds; ++round) {
      EXPECT_EQ(vfu_irq_trigger(one.ctx, 0), 0);
      sent = round;
      while (heard < round)
        std::this_thread::yield();
    }
  }};
  for (unsigned step = 0; heard < kRounds; ++step) {
    mask(step % 2);
    const auto before = static_cast<std::uint64_t>(heard.load());
    const std::uint64_t got = take();
    EXPECT_LE(got, 1u);
    heard = static_cast<int>(before + got);
  }
  device.join();
  mask(0);
  EXPECT_EQ(take(), 0u);
  EXPECT_EQ(vmux_irq_is_pending(one.ctx, VFU_DEV_MSIX_IRQ, 0), 0);
  EXPECT_EQ(sent, kRounds);
}

TEST(CapiLevelThreads, ALevelThatStaysHighIsToldAfterEachUnmask) {
  const int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  Device level;
  EXPECT_EQ(vmux_emulate_irqs(level.ctx, VMUX_IRQ_INTX), 0);
  level.attach();
  EXPECT_EQ(level.error_of(8, Bytes{}.u32(20).u32(4 | 32).u32(VFU_DEV_INTX_IRQ).u32(0).u32(1), {event}), 0u);
  std::thread device{[&] { EXPECT_EQ(vmux_set_intx(level.ctx, true), 0); }};
  int heard = 0;
  while (heard < kRounds) {
    std::uint64_t count = 0;
    heard += ::read(event, &count, sizeof count) == sizeof count ? static_cast<int>(count) : 0;
    EXPECT_EQ(level.error_of(8, Bytes{}.u32(20).u32(1 | 16).u32(VFU_DEV_INTX_IRQ).u32(0).u32(1)), 0u);
  }
  device.join();
  EXPECT_EQ(heard, kRounds);
  ::close(event);
}

// The device's thread sleeps in vfu_run_ctx(), and another one asks; a third waits with vfu_sgl_read() meanwhile.
TEST(CapiAsyncThreads, WakeTheThreadThatServes) {
  Device one{0};
  ASSERT_GE(vmux_setup_async_dma(one.ctx), 0);
  ASSERT_EQ(vfu_realize_ctx(one.ctx), 0);
  std::thread server{[&] {
    ASSERT_EQ(vfu_attach_ctx(one.ctx), 0);
    while (vfu_run_ctx(one.ctx) >= 0)
      continue;
  }};
  ASSERT_TRUE(one.client.connect(one.path));
  one.client.send(1, version(kTwinSocket));
  const Received greeting = one.client.receive();
  const Peer twin{greeting.fds.at(0)};
  one.client.send(2, Bytes{}.u32(32).u32(3).u64(0).u64(0x10000).u64(0x4000));
  EXPECT_EQ(one.client.receive().error, 0u);
  constexpr int kEach = 50;
  static std::atomic<int> ended;
  const auto piece_of = [&](std::string& bytes) {
    auto* const sg = reinterpret_cast<dma_sg_t*>(bytes.data());
    EXPECT_EQ(vfu_addr_to_sgl(one.ctx, dma_address(0x10000), 4, sg, 1, PROT_READ), 1);
    return sg;
  };
  for (int round = 0; round < 16; ++round) {  // a call that is lost, or left, is so as a round ends
    ended = 0;
    std::thread answers{[&] {
      for (int left = 2 * kEach; left > 0; --left) {
        const Received asked = twin.receive();
        twin.raw(Bytes{}.u16(asked.id).u16(asked.command).u32(36).u32(1).u32(0).text(asked.payload).text("abcd"));
      }
    }};
    std::thread waits{[&] {
      std::string bytes(40, '\0'), word(4, '\0');
      for (int i = 0; i < kEach; ++i)
        EXPECT_EQ(vfu_sgl_read(one.ctx, piece_of(bytes), 1, word.data(), 0), 0);
    }};
    std::string bytes(40, '\0');
    std::vector<std::string> words(kEach, std::string(4, '\0'));
    for (std::string& word : words) {
      EXPECT_EQ(vmux_sgl_read_async(
                    one.ctx, piece_of(bytes), 1, word.data(),
                    [](vfu_ctx_t*, void*, int error) { ended += error == 0 ? 1 : 0; }, nullptr),
                0);
    }
    waits.join();
    answers.join();
    while (ended != kEach)
      std::this_thread::yield();
    for (const std::string& word : words)
      EXPECT_EQ(word, "abcd");
  }
  one.client.close();
  server.join();
}

int read_and_wait(vfu_ctx_t* ctx) {
  std::string bytes(40, '\0'), word(4, '\0');
  auto* const sg = reinterpret_cast<dma_sg_t*>(bytes.data());
  if (vfu_addr_to_sgl(ctx, dma_address(0x10000), 4, sg, 1, PROT_READ) != 1) return -1;
  return vfu_sgl_read(ctx, sg, 1, word.data(), 0);
}

std::string g_words[2];
std::atomic<int> g_last_error, g_how_many;
void on_end(vfu_ctx_t* ctx, void* /*arg*/, int error) {
  g_last_error = error;
  if (g_how_many++ % 2 == 0) static_cast<void>(read_and_wait(ctx));  // while the next has ended and was not told
}
void read_twice_without_waiting(vfu_ctx_t* ctx) {
  std::string bytes(40, '\0');
  auto* const sg = reinterpret_cast<dma_sg_t*>(bytes.data());
  EXPECT_EQ(vfu_addr_to_sgl(ctx, dma_address(0x10000), 4, sg, 1, PROT_READ), 1);
  for (std::string& word : g_words) {
    word.assign(4, '\0');
    EXPECT_EQ(vmux_sgl_read_async(ctx, sg, 1, word.data(), on_end, nullptr), 0);
  }
}
ssize_t read_inside(vfu_ctx_t* ctx, char* /*bytes*/, size_t count, loff_t /*at*/, bool is_write) {
  read_twice_without_waiting(ctx);
  if (is_write && read_and_wait(ctx) != 0) return -1;  // takes the answers to the others, too
  return static_cast<ssize_t>(count);
}

/// A device whose thread sleeps in the library, for one client after another.
class CapiAsyncAsleep : public testing::Test {
 protected:
  CapiAsyncAsleep() {
    EXPECT_EQ(vfu_setup_region(one.ctx, 0, 4096, read_inside, kMem, nullptr, 0, -1, 0), 0);
    EXPECT_GE(vmux_setup_async_dma(one.ctx), 0);
    EXPECT_EQ(vfu_realize_ctx(one.ctx), 0);
    g_how_many = 0;
    g_last_error = -1;
  }
  void serve(int clients) {
    server = std::thread{[this, clients] {
      for (int i = 0; i < clients; ++i) {
        ASSERT_EQ(vfu_attach_ctx(one.ctx), 0);
        while (vfu_run_ctx(one.ctx) >= 0)
          continue;
      }
    }};
  }
  /// A client that gives memory by message.
  Peer connect(Peer& twin) {
    Peer client;
    EXPECT_TRUE(client.connect(one.path));
    client.send(1, version(kTwinSocket));
    const Received greeting = client.receive();
    EXPECT_EQ(greeting.error, 0u);
    twin = Peer{greeting.fds.at(0)};
    client.send(2, Bytes{}.u32(32).u32(3).u64(0).u64(0x10000).u64(0x4000));
    EXPECT_EQ(client.receive().error, 0u);
    return client;
  }
  static void answer(const Peer& twin) {
    const Received asked = twin.receive();
    twin.raw(Bytes{}.u16(asked.id).u16(asked.command).u32(36).u32(1).u32(0).text(asked.payload).text("abcd"));
  }
  static void wait_for(int how_many) {
    while (g_how_many != how_many)
      std::this_thread::yield();
  }
  Device one{0};
  std::thread server;
};

TEST_F(CapiAsyncAsleep, IsWokenByWhoeverAsksAndGoesOnServing) {
  serve(1);
  Peer twin, client = connect(twin);
  std::this_thread::sleep_for(std::chrono::milliseconds{5});  // so that it sleeps, as a rule
  read_twice_without_waiting(one.ctx);                        // from this thread
  for (int i = 0; i < 3; ++i)
    answer(twin);
  wait_for(2);
  client.send(10, Bytes{}.u64(0).u32(0).u32(4).text("1234"));
  for (int i = 0; i < 4; ++i)
    answer(twin);
  EXPECT_EQ(client.receive().error, 0u);
  wait_for(4);
  client.send(4, Bytes{}.u32(16).u32(0).u32(0).u32(0));
  EXPECT_EQ(client.receive().command, 4u);
  EXPECT_EQ(g_words[1], "abcd");
  client.close();
  server.join();
}

TEST_F(CapiAsyncAsleep, TakesTheNextClientWhateverTheLastOneHasLeft) {
  serve(2);
  Peer twin, client = connect(twin);
  client.send(9, Bytes{}.u64(0).u32(0).u32(4));
  EXPECT_EQ(client.receive().error, 0u);
  EXPECT_EQ(twin.receive().command, 11u);  // and no answer
  client.close();
  wait_for(2);
  EXPECT_EQ(g_last_error, ENOTCONN);
  Peer next_twin, next = connect(next_twin);
  next.close();
  server.join();
}

}  // namespace
}  // namespace capi_test
