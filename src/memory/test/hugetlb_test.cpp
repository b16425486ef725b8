// SPDX-License-Identifier: BSD-3-Clause
// Guest memory on hugetlbfs: mapped in huge pages, whatever part of them a client asks for.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/memfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "memory/test/test_support.hpp"
#include "vmux/base/mapping.hpp"

namespace vmux::memory {
namespace {

using namespace test;

constexpr std::uint64_t kHuge = 2 << 20;
constexpr const char* kOvercommit = "/proc/sys/vm/nr_overcommit_hugepages";

/// Lets the kernel make a few huge pages on demand while it lives. One test at a time: what it found is put back.
class HugePages {
 public:
  HugePages() : file_(::open(kOvercommit, O_RDWR | O_CLOEXEC)) {
    if (!file_ || ::flock(file_.get(), LOCK_EX) != 0) return;
    char text[32] = {};
    if (::pread(file_.get(), text, sizeof text - 1, 0) <= 0) return;
    before_ = text;
    put(std::to_string(std::strtoull(text, nullptr, 10) + 16));
  }
  ~HugePages() {
    if (!before_.empty()) put(before_);
  }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;

 private:
  void put(const std::string& text) const { static_cast<void>(::pwrite(file_.get(), text.data(), text.size(), 0)); }
  UniqueFd file_;
  std::string before_;
};

class HugeMemory : public testing::Test {
 protected:
  // As a VMM does: the file, and a mapping of its own, for which the kernel sets all pages aside.
  void SetUp() override {
    fd_ = UniqueFd{::memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB)};
    if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(kSize)) != 0) GTEST_SKIP() << "no hugetlbfs in this kernel";
    auto mapping = Mapping::create(fd_.get(), 0, kSize, true);
    if (!mapping) GTEST_SKIP() << "the kernel gives no huge pages";
    guest_ = std::move(*mapping);
    space_.attach(memory_);
  }
  [[nodiscard]] UniqueFd fd() const { return std::move(*fd_.duplicate()); }
  [[nodiscard]] std::uint64_t file_size() const {
    struct stat status {};
    EXPECT_EQ(::fstat(fd_.get(), &status), 0);
    return static_cast<std::uint64_t>(status.st_size);
  }

  static constexpr std::uint64_t kSize = 3 * kHuge;  // not a power of two
  HugePages pages_;
  UniqueFd fd_;
  Mapping guest_;  // the guest's own view
  AddressSpace space_;
  GuestMemory memory_;
};

TEST_F(HugeMemory, IsReadAndWrittenAcrossItsPagesUntilItIsUnmapped) {
  ASSERT_TRUE(space_.map(range(0, kSize, fd())));
  const std::uint64_t at = kHuge - 4, value = 0x0123'4567'89ab'cdef;
  ASSERT_TRUE(memory_.store(Iova{at}, value));
  EXPECT_EQ(std::memcmp(guest_.data() + at, &value, sizeof value), 0);
  guest_.data()[kSize - 1] = std::byte{7};
  EXPECT_EQ(memory_.fetch<std::uint8_t>(Iova{kSize - 1}), 7);
  bool is_quiet = false;
  ASSERT_TRUE(space_.unmap(Iova{0}, ByteCount{kSize}, [&] { is_quiet = true; }));
  EXPECT_TRUE(is_quiet);
  EXPECT_FALSE(memory_.fetch<std::uint8_t>(Iova{kSize - 1}));
}

TEST_F(HugeMemory, IsMappedOnceForWindowsOfAnyPart) {
  const std::size_t before = mappings_of_guest_files();
  ASSERT_TRUE(space_.map(range(0x1000, kPage, fd(), kHuge - kPage)));         // the end of a huge page,
  ASSERT_TRUE(space_.map(range(0x2000, kPage, fd(), kHuge)));                 // the beginning of the next,
  ASSERT_TRUE(space_.map(range(0x10'0000, kHuge, fd(), kHuge + kHuge / 2)));  // halves of two
  EXPECT_EQ(mappings_of_guest_files(), before + 1);
  ASSERT_TRUE(memory_.store(Iova{0x2000 - 2}, std::uint32_t{0xa1b2c3d4}));
  EXPECT_EQ(guest_.data()[kHuge - 1], std::byte{0xc3});
  EXPECT_EQ(guest_.data()[kHuge], std::byte{0xb2});
  ASSERT_TRUE(memory_.store(Iova{0x10'0000 + kHuge - 1}, std::uint8_t{9}));
  EXPECT_EQ(guest_.data()[2 * kHuge + kHuge / 2 - 1], std::byte{9});
}

TEST_F(HugeMemory, IsNotMadeLongerByItsMapping) {
  ASSERT_TRUE(space_.map(range(0, kPage, fd(), kSize - kPage)));
  ASSERT_TRUE(memory_.store(Iova{0}, 1u));
  EXPECT_EQ(file_size(), kSize);
  EXPECT_EQ(code_of(space_.map(range(kPage, kPage, fd(), kSize))), Errc::out_of_range);
}

TEST_F(HugeMemory, ThatIsTruncatedReadsZeroAndPoisonsItsSpaceAlone) {
  File small{kPage};
  AddressSpace healthy;
  GuestMemory healthy_memory;
  healthy.attach(healthy_memory);
  ASSERT_TRUE(healthy.map(range(0, kPage, small.fd())));
  ASSERT_TRUE(space_.map(range(0, kSize, fd())));
  ASSERT_TRUE(memory_.store(Iova{2 * kHuge + 5}, 0x1234u));
  ASSERT_EQ(::ftruncate(fd_.get(), kHuge), 0);
  EXPECT_EQ(memory_.fetch<std::uint32_t>(Iova{2 * kHuge + 5}), 0u);
  EXPECT_TRUE(memory_.store(Iova{kSize - 4}, 1u));
  EXPECT_TRUE(space_.is_poisoned());
  EXPECT_FALSE(healthy.is_poisoned());
  EXPECT_TRUE(healthy_memory.store(Iova{0}, 7u));
  space_.unmap_all({});
  EXPECT_FALSE(space_.is_poisoned());
}

TEST_F(HugeMemory, IsLoggedInSmallPages) {
  ASSERT_TRUE(space_.map(range(0, kSize, fd())));
  ASSERT_TRUE(space_.start_dirty_log());
  ASSERT_TRUE(memory_.store(Iova{kHuge + 3 * kPage}, 1u));
  std::vector<std::uint64_t> bitmap(kSize / kPage / 64);
  ASSERT_TRUE(space_.take_dirty(Iova{0}, ByteCount{kSize}, kPage, bitmap));
  EXPECT_EQ(bitmap[kHuge / kPage / 64], 1ull << 3);
}

}  // namespace
}  // namespace vmux::memory
