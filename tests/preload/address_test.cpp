// SPDX-License-Identifier: BSD-3-Clause
// Calls about addresses where a BAR is mapped: what Linux 6.1 answers for a VMA of vfio-pci, and the registers stay
// registers.
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <vector>

#include "preload/faults.hpp"
#include "preload/program.hpp"

namespace vmux::tests {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

/// A device whose BAR is mapped as a whole, for a program that survives faults.
class Address : public ::testing::Test {
 protected:
  ~Address() override {
    if (bar_ != MAP_FAILED) munmap(bar_, size_);
  }
  std::uint8_t* map(int protection = kReadWrite, std::size_t size = probe::kBarSize, std::uint64_t offset = 0) {
    size_ = size;
    bar_ = mmap(nullptr, size, protection, MAP_SHARED, it_.device, Opened::at(0, offset));
    EXPECT_NE(bar_, MAP_FAILED) << strerror(errno);
    return static_cast<std::uint8_t*>(bar_);
  }
  static volatile std::uint32_t& word(std::uint8_t* bar, std::uint64_t at) {
    return *reinterpret_cast<volatile std::uint32_t*>(bar + at);
  }
  /// Is what lies at `bar` the scratch register?
  bool is_register(std::uint8_t* bar) {
    const std::uint32_t value = ++last_;
    it_.write(probe::kScratch, value);
    return Faults::reading(bar) == 0 && word(bar, probe::kScratch) == value;
  }
  bool is_shared_memory(std::uint8_t* at) {
    const std::uint32_t value = ++last_;
    it_.write(probe::kSharedAt, value);
    return Faults::reading(at) == 0 && word(at, 0) == value;
  }
  std::uint8_t* hole(std::size_t size = probe::kBarSize) {
    void* at = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return static_cast<std::uint8_t*>(at);
  }

  Opened it_;
  const Faults faults_;
  void* bar_ = MAP_FAILED;
  std::size_t size_ = probe::kBarSize;
  std::uint32_t last_ = 0x5000;
};

TEST_F(Address, ProtectionHoldsForRegisters) {
  std::uint8_t* bar = map();
  ASSERT_EQ(mprotect(bar, kPage, PROT_NONE), 0);
  EXPECT_EQ(Faults::reading(bar), SIGSEGV);
  ASSERT_EQ(mprotect(bar, kPage, PROT_READ), 0);
  EXPECT_TRUE(is_register(bar));
  EXPECT_EQ(Faults::writing(bar), SIGSEGV);
  ASSERT_EQ(mprotect(bar, kPage, kReadWrite), 0);
  word(bar, probe::kScratch) = 77;
  EXPECT_EQ(it_.read(probe::kScratch), 77u);
}
TEST_F(Address, ProtectionReachesRegistersSharedMemoryAndTheProgramsOwn) {
  std::uint8_t* room = hole(probe::kBarSize + 2 * kPage);
  bar_ = mmap(room + kPage, probe::kBarSize, kReadWrite, MAP_SHARED | MAP_FIXED, it_.device, 0);
  ASSERT_EQ(bar_, room + kPage);
  ASSERT_EQ(mprotect(room, probe::kBarSize + 2 * kPage, PROT_READ), 0);
  EXPECT_EQ(Faults::reading(room), 0);
  EXPECT_EQ(Faults::reading(room + kPage + probe::kBarSize), 0);
  EXPECT_TRUE(is_register(room + kPage));
  EXPECT_TRUE(is_shared_memory(room + kPage + probe::kSharedAt));
  EXPECT_EQ(Faults::writing(room + kPage), SIGSEGV);
  EXPECT_EQ(Faults::writing(room + kPage + probe::kSharedAt), SIGSEGV);
  munmap(room, kPage);
  munmap(room + kPage + probe::kBarSize, kPage);
}
TEST_F(Address, ProtectionIsGivenWhenMappedToo) {
  std::uint8_t* bar = map(PROT_READ);
  EXPECT_TRUE(is_register(bar));
  EXPECT_EQ(Faults::writing(bar), SIGSEGV);
  EXPECT_EQ(Faults::writing(bar + probe::kSharedAt), SIGSEGV);
  ASSERT_EQ(mprotect(bar, probe::kBarSize, PROT_NONE), 0);
  EXPECT_EQ(Faults::reading(bar + probe::kSharedAt), SIGSEGV);
  ASSERT_EQ(mprotect(bar, probe::kBarSize, kReadWrite), 0);
  EXPECT_TRUE(is_register(bar));
  EXPECT_EQ(Faults::writing(bar), 0);
}
TEST_F(Address, ProtectionThatTheKernelRefuses) {
  std::uint8_t* bar = map();
  EXPECT_EQ(errno_of(mprotect(bar + 1, kPage, PROT_READ)), EINVAL);
  EXPECT_EQ(errno_of(mprotect(bar, kPage, 0x40)), EINVAL);
  EXPECT_EQ(errno_of(mprotect(bar, kPage, PROT_READ | PROT_GROWSDOWN)), EINVAL);
  ASSERT_EQ(munmap(bar + kPage, kPage), 0);
  EXPECT_EQ(errno_of(mprotect(bar, 3 * kPage, PROT_READ)), ENOMEM);  // a hole; what lies before it is changed
  EXPECT_EQ(Faults::writing(bar), SIGSEGV);
}
TEST_F(Address, PartsAreUnmappedByPages) {
  std::uint8_t* bar = map();
  EXPECT_EQ(errno_of(munmap(bar + 8, kPage)), EINVAL);
  EXPECT_EQ(errno_of(munmap(bar, 0)), EINVAL);
  EXPECT_TRUE(is_register(bar));
  ASSERT_EQ(munmap(bar + kPage, 1), 0);
  EXPECT_EQ(Faults::reading(bar + 2 * kPage - 4), SIGSEGV);
  EXPECT_TRUE(is_register(bar));
  EXPECT_TRUE(is_shared_memory(bar + probe::kSharedAt));
}
TEST_F(Address, WhatIsMappedOverABarIsThatNow) {
  std::uint8_t* bar = map();
  EXPECT_EQ(errno_of(mmap(bar, kPage, kReadWrite, MAP_SHARED | MAP_FIXED, 999, 0)), EBADF);
  EXPECT_TRUE(is_register(bar));  // nothing took its place
  EXPECT_EQ(errno_of(mmap(bar, kPage, kReadWrite, MAP_SHARED | MAP_FIXED_NOREPLACE, it_.device, 0)), EEXIST);
  EXPECT_TRUE(is_register(bar));
  ASSERT_EQ(mmap(bar, kPage, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), bar);
  word(bar, 0) = 5;
  ASSERT_EQ(mprotect(bar, kPage, PROT_NONE), 0);
  EXPECT_EQ(Faults::reading(bar), SIGSEGV);
  ASSERT_EQ(mmap(bar + kPage, kPage, kReadWrite, MAP_SHARED | MAP_FIXED, it_.device, 0), bar + kPage);
  EXPECT_TRUE(is_register(bar + kPage));
}
TEST_F(Address, MapsAtOffsetsOfPagesOnly) {
  EXPECT_EQ(errno_of(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, it_.device, Opened::at(0, 2048))), EINVAL);
  EXPECT_EQ(errno_of(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, it_.device, Opened::at(0, probe::kSharedAt + 8))),
            EINVAL);
  EXPECT_EQ(errno_of(mmap(nullptr, 0, PROT_READ, MAP_SHARED, it_.container, 0)), EINVAL);
}
TEST_F(Address, MovesWithAllThatIsInIt) {
  std::uint8_t *bar = map(), *to = hole();
  ASSERT_EQ(mremap(bar, probe::kBarSize, probe::kBarSize, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
  bar_ = to;
  EXPECT_TRUE(is_register(to));
  EXPECT_TRUE(is_shared_memory(to + probe::kSharedAt));
  EXPECT_EQ(Faults::reading(bar), SIGSEGV);
  word(to, probe::kSharedAt) = 12;
  EXPECT_EQ(it_.read(probe::kSharedAt), 12u);
}
TEST_F(Address, MovesItsProtectionToo) {
  std::uint8_t *bar = map(PROT_READ), *to = hole();
  ASSERT_EQ(mremap(bar, probe::kBarSize, probe::kBarSize, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
  bar_ = to;
  EXPECT_EQ(Faults::writing(to), SIGSEGV);
  EXPECT_EQ(Faults::writing(to + probe::kSharedAt), SIGSEGV);
}
TEST_F(Address, ShrinksInItsPlaceAndNeverGrows) {
  std::uint8_t* bar = map();
  EXPECT_EQ(mremap(bar, probe::kBarSize, probe::kBarSize, 0), bar);
  ASSERT_EQ(mremap(bar, probe::kBarSize, 2 * kPage, 0), bar);
  EXPECT_TRUE(is_register(bar));
  EXPECT_EQ(Faults::reading(bar + probe::kSharedAt), SIGSEGV);
  EXPECT_EQ(errno_of(mremap(bar, 2 * kPage, 4 * kPage, MREMAP_MAYMOVE)), EFAULT);
  EXPECT_EQ(errno_of(mremap(bar, 0, kPage, MREMAP_MAYMOVE)), EFAULT);
  EXPECT_TRUE(is_register(bar));
}
TEST_F(Address, SharedMemoryOfTheServerDoesNotGrowEither) {
  std::uint8_t* area = map(kReadWrite, probe::kSharedSize, probe::kSharedAt);
  EXPECT_EQ(errno_of(mremap(area, probe::kSharedSize, 2 * probe::kSharedSize, MREMAP_MAYMOVE)), EFAULT);
  EXPECT_TRUE(is_shared_memory(area));
}
TEST_F(Address, MovesThatTheKernelRefuses) {
  std::uint8_t *bar = map(), *to = hole();
  constexpr int fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
  EXPECT_EQ(errno_of(mremap(bar, kPage, kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, to)), EINVAL);
  EXPECT_EQ(errno_of(mremap(bar, kPage, kPage, MREMAP_FIXED, to)), EINVAL);
  EXPECT_EQ(errno_of(mremap(bar, kPage, kPage, 8)), EINVAL);
  EXPECT_EQ(errno_of(mremap(bar + 1, kPage, kPage, 0)), EINVAL);
  EXPECT_EQ(errno_of(mremap(bar, kPage, 0, 0)), EINVAL);
  EXPECT_EQ(errno_of(mremap(bar, kPage, kPage, fixed, to + 1)), EINVAL);
  EXPECT_EQ(errno_of(mremap(bar, 2 * kPage, 2 * kPage, fixed, bar + kPage)), EINVAL);
  ASSERT_EQ(mprotect(bar, kPage, PROT_READ), 0);  // two VMAs now
  EXPECT_EQ(errno_of(mremap(bar, probe::kBarSize, probe::kBarSize, fixed, to)), EFAULT);
  EXPECT_TRUE(is_register(bar));
  EXPECT_TRUE(is_shared_memory(bar + probe::kSharedAt));
}
TEST_F(Address, MemoryThatMovesOverABarTakesItsPlace) {
  std::uint8_t* bar = map();
  auto* memory = static_cast<std::uint8_t*>(mmap(nullptr, kPage, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  *memory = 9;
  ASSERT_EQ(mremap(memory, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, bar), bar);
  EXPECT_EQ(*bar, 9);
  EXPECT_EQ(mprotect(bar, kPage, PROT_READ), 0);
  EXPECT_EQ(*bar, 9);
}
TEST_F(Address, AdviceIsTakenAsForADevice) {
  struct Row {
    int advice, error;
  };
  std::uint8_t* bar = map();
  for (const Row row : std::to_array<Row>({{MADV_NORMAL, 0},
                                           {MADV_RANDOM, 0},
                                           {MADV_SEQUENTIAL, 0},
                                           {MADV_WILLNEED, 0},
                                           {MADV_DONTNEED, EINVAL},
                                           {MADV_FREE, EINVAL},
                                           {MADV_REMOVE, ENODEV},
                                           {MADV_DONTFORK, 0},
                                           {MADV_DOFORK, EINVAL},
                                           {MADV_DONTDUMP, 0},
                                           {MADV_DODUMP, EINVAL},
                                           {MADV_WIPEONFORK, EINVAL},
                                           {MADV_KEEPONFORK, 0},
                                           {MADV_COLD, EINVAL},
                                           {MADV_PAGEOUT, EINVAL},
                                           {MADV_POPULATE_READ, EINVAL},
                                           {9999, EINVAL}})) {
    EXPECT_EQ(errno_of(madvise(bar, probe::kBarSize, row.advice)), row.error) << row.advice;
  }
  EXPECT_EQ(errno_of(madvise(bar + 1, kPage, MADV_NORMAL)), EINVAL);
  EXPECT_TRUE(is_register(bar));
  EXPECT_TRUE(is_shared_memory(bar + probe::kSharedAt));
}
TEST_F(Address, LocksAndWritesBackAsForADevice) {
  std::uint8_t* bar = map();
  EXPECT_EQ(errno_of(mlock(bar + 8, probe::kBarSize - 8)), 0);
  EXPECT_EQ(errno_of(mlock2(bar, kPage, MLOCK_ONFAULT)), 0);
  EXPECT_EQ(errno_of(mlock2(bar, kPage, 64)), EINVAL);
  EXPECT_EQ(errno_of(munlock(bar, probe::kBarSize)), 0);
  EXPECT_EQ(errno_of(msync(bar, kPage, MS_SYNC)), EINVAL);
  EXPECT_EQ(errno_of(msync(bar, kPage, MS_ASYNC)), 0);
  EXPECT_EQ(errno_of(msync(bar + 1, kPage, MS_ASYNC)), EINVAL);
  EXPECT_EQ(errno_of(remap_file_pages(bar, kPage, 0, 1, 0)), EINVAL);
  EXPECT_TRUE(is_register(bar));
}
TEST_F(Address, ForkedChildrenHaveItUnlessAdvisedOtherwise) {
  std::uint8_t* bar = map();
  ASSERT_EQ(madvise(bar + kPage, kPage, MADV_DONTFORK), 0);
  const pid_t child = fork();
  if (child == 0) _exit(Faults::reading(bar) == 0 && Faults::reading(bar + kPage) == SIGSEGV ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Faults::reading(bar + kPage), 0);
}
TEST_F(Address, HandlerThatJumpsAwayKeepsNothingOpen) {
  std::uint8_t* bar = map(PROT_NONE);
  EXPECT_EQ(Faults::reading(bar), SIGSEGV);
  munmap(bar, probe::kBarSize);
  bar_ = MAP_FAILED;
  it_.device.reset();
  EXPECT_EQ(errno_of(ioctl(it_.group, VFIO_GROUP_UNSET_CONTAINER)), 0);
}
TEST_F(Address, CallsByNumberAreTheSame) {
  std::uint8_t *bar = map(), *to = hole();
  ASSERT_EQ(syscall(SYS_mprotect, bar, kPage, PROT_NONE), 0);
  EXPECT_EQ(Faults::reading(bar), SIGSEGV);
  ASSERT_EQ(syscall(SYS_mprotect, bar, kPage, kReadWrite), 0);
  EXPECT_EQ(errno_of(syscall(SYS_madvise, bar, kPage, MADV_DONTNEED)), EINVAL);
  EXPECT_EQ(errno_of(syscall(SYS_msync, bar, kPage, MS_SYNC)), EINVAL);
  ASSERT_EQ(syscall(SYS_mremap, bar, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to),
            static_cast<long>(reinterpret_cast<std::uintptr_t>(to)));
  EXPECT_TRUE(is_register(to));
  munmap(to, probe::kBarSize);
}

}  // namespace
}  // namespace vmux::tests
