// SPDX-License-Identifier: BSD-3-Clause
#include <signal.h>

#include <atomic>
#include <thread>
#include <vector>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

class Mapped {
 public:
  Mapped(const Opened& it, unsigned region, std::uint64_t offset, std::size_t size)
      : size_(size),
        at_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, it.device, Opened::at(region, offset))) {}
  ~Mapped() {
    if (at_ != MAP_FAILED) munmap(at_, size_);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  template <class T = std::uint32_t>
  volatile T& at(std::uint64_t offset) const {
    return *reinterpret_cast<volatile T*>(static_cast<std::uint8_t*>(at_) + offset);
  }
  bool is_there() const { return at_ != MAP_FAILED; }

 private:
  std::size_t size_;
  void* at_;
};

TEST(Mmap, SharedAreaIsTheServersMemory) {
  const Opened it;
  const Mapped area{it, 0, probe::kSharedAt, probe::kSharedSize};
  ASSERT_TRUE(area.is_there());
  const std::uint32_t before = it.read(probe::kAccesses);
  area.at(8) = 0x1234;
  EXPECT_EQ(it.read(probe::kSharedAt + 8), 0x1234u);
  it.write<std::uint32_t>(probe::kSharedAt + 12, 0x5678);
  EXPECT_EQ(area.at(12), 0x5678u);
  EXPECT_EQ(it.read(probe::kAccesses), before + 1);  // none of these reached the device but the counter's own reading
}
TEST(Mmap, WholeBarWorksInItsTrappingPartsToo) {
  const Opened it;
  const Mapped bar{it, 0, 0, probe::kBarSize};
  ASSERT_TRUE(bar.is_there());
  bar.at<std::uint64_t>(probe::kScratch) = 0x1122334455667788;
  EXPECT_EQ(bar.at<std::uint32_t>(probe::kScratch + 4), 0x11223344u);
  EXPECT_EQ(bar.at<std::uint16_t>(probe::kScratch), 0x7788u);
  EXPECT_EQ(bar.at<std::uint8_t>(probe::kScratch + 1), 0x77u);
  bar.at<std::uint8_t>(probe::kScratch) = 1;
  bar.at<std::uint32_t>(probe::kScratch + 4) = 0;
  EXPECT_EQ(it.read<std::uint64_t>(probe::kScratch), 0x55667701u);
  bar.at(probe::kSharedAt) = 77;
  EXPECT_EQ(it.read(probe::kSharedAt), 77u);
}
TEST(Mmap, TrappedAccessesOfManyThreadsAllArrive) {
  const Opened it;
  const Mapped bar{it, 0, 0, probe::kBarSize};
  const std::uint32_t before = it.read(probe::kAccesses);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 100; ++round)
        bar.at(probe::kScratch) = 1;
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(it.read(probe::kAccesses), before + 401);
}
TEST(Mmap, OutlivesTheDescriptorAsInTheKernel) {
  Opened it;
  const Mapped bar{it, 0, 0, probe::kBarSize};
  it.device.reset();
  bar.at(probe::kScratch) = 9;
  EXPECT_EQ(bar.at(probe::kScratch), 9u);
}
TEST(Mmap, WhatTheKernelDoesNotMapIsRefused) {
  const Opened it;
  const auto attempt = [&](unsigned region, std::uint64_t offset, std::size_t size, int flags) {
    return errno_of(mmap(nullptr, size, PROT_READ, flags, it.device, Opened::at(region, offset)));
  };
  EXPECT_EQ(attempt(0, 0, kPage, MAP_PRIVATE), EINVAL);
  EXPECT_EQ(attempt(0, probe::kBarSize, kPage, MAP_SHARED), EINVAL);
  EXPECT_EQ(attempt(0, 0, 2 * probe::kBarSize, MAP_SHARED), EINVAL);
  EXPECT_EQ(attempt(1, 0, kPage, MAP_SHARED), EINVAL);
  EXPECT_EQ(attempt(2, 0, kPage, MAP_SHARED), EINVAL);  // I/O ports
  EXPECT_EQ(attempt(VFIO_PCI_CONFIG_REGION_INDEX, 0, kPage, MAP_SHARED), EINVAL);
  EXPECT_EQ(errno_of(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, it.container, 0)), ENODEV);
}

std::atomic<int> faults = 0;
std::uint8_t* forbidden = nullptr;

TEST(Mmap, ProgramsOwnFaultHandlerStillRuns) {
  const Opened it;
  const Mapped bar{it, 0, 0, probe::kBarSize};
  struct sigaction wanted {
  }, before{};
  wanted.sa_handler = [](int) {
    ++faults;
    mprotect(forbidden, kPage, PROT_READ | PROT_WRITE);
  };
  ASSERT_EQ(sigaction(SIGSEGV, &wanted, nullptr), 0);
  const Memory memory{kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  forbidden = memory.data();
  ASSERT_EQ(mprotect(forbidden, kPage, PROT_NONE), 0);
  *static_cast<volatile std::uint8_t*>(forbidden) = 1;
  EXPECT_EQ(faults, 1);
  bar.at(probe::kScratch) = 5;
  EXPECT_EQ(bar.at(probe::kScratch), 5u);
  EXPECT_EQ(faults, 1);
  ASSERT_EQ(sigaction(SIGSEGV, nullptr, &before), 0);
  EXPECT_EQ(before.sa_handler, wanted.sa_handler);
}
TEST(Mmap, ThreadThatBlocksAllSignalsReachesRegisters) {
  const Opened it;
  std::uint32_t found = 0;
  const auto body = [&](auto set_mask) {
    std::thread{[&, set_mask] {
      sigset_t all;
      sigfillset(&all);
      ASSERT_EQ(set_mask(&all), 0);
      const Mapped bar{it, 0, 0, probe::kBarSize};
      bar.at(probe::kScratch) = 6;
      found = bar.at(probe::kScratch);
    }}.join();
  };
  body([](const sigset_t* set) { return pthread_sigmask(SIG_SETMASK, set, nullptr); });
  EXPECT_EQ(found, 6u);
  found = 0;
  body([](const sigset_t* set) { return sigprocmask(SIG_BLOCK, set, nullptr); });
  EXPECT_EQ(found, 6u);
}
TEST(Mmap, ProgramsOwnFaultHandlerRunsAsTheKernelWouldRunIt) {
  const Opened it;
  const Mapped bar{it, 0, 0, probe::kBarSize};
  bar.at(probe::kScratch) = 5;
  static sigset_t within;
  struct sigaction wanted {
  }, after{};
  sigemptyset(&wanted.sa_mask);
  sigaddset(&wanted.sa_mask, SIGUSR1);
  wanted.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
  wanted.sa_sigaction = [](int, siginfo_t* info, void*) {
    pthread_sigmask(SIG_SETMASK, nullptr, &within);
    mprotect(info->si_addr, kPage, PROT_READ | PROT_WRITE);
  };
  ASSERT_EQ(sigaction(SIGSEGV, &wanted, nullptr), 0);
  const Memory memory{kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_NONE), 0);
  *static_cast<volatile std::uint8_t*>(memory.data()) = 1;
  EXPECT_EQ(sigismember(&within, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&within, SIGUSR2), 0);
  ASSERT_EQ(sigaction(SIGSEGV, nullptr, &after), 0);
  EXPECT_EQ(after.sa_handler, SIG_DFL);
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 0);
}
TEST(MmapDeathTest, RealFaultStillKills) {
  const Opened it;
  const Mapped bar{it, 0, 0, probe::kBarSize};
  bar.at(probe::kScratch) = 5;
  const Memory memory{kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_NONE), 0);
  EXPECT_EXIT(*static_cast<volatile std::uint8_t*>(memory.data()) = 1, ::testing::KilledBySignal(SIGSEGV), "");
}

}  // namespace
}  // namespace vmux::tests
