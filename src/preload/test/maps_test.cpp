// SPDX-License-Identifier: BSD-3-Clause
#include "preload/process/maps.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace vmux::preload {
namespace {

constexpr std::size_t kPage = 4096;

class Area {
 public:
  Area(std::size_t size, int protection, int flags, int fd = -1, off_t offset = 0)
      : size_(size), at_(::mmap(nullptr, size, protection, flags, fd, offset)) {}
  ~Area() { ::munmap(at_, size_); }
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;
  [[nodiscard]] std::uint64_t start() const { return reinterpret_cast<std::uint64_t>(at_); }
  [[nodiscard]] void* data() const { return at_; }

 private:
  std::size_t size_;
  void* at_;
};

bool is_same(int a, int b) {
  struct stat one {
  }, two{};
  return fstat(a, &one) == 0 && fstat(b, &two) == 0 && one.st_ino == two.st_ino && one.st_dev == two.st_dev;
}

TEST(MapsLine, ReadsSharedFile) {
  const auto vma = parse_maps_line("7f00a000-7f20b000 rw-s 00200000 00:01 77                    /memfd:x (deleted)");
  ASSERT_TRUE(vma);
  EXPECT_EQ(vma->start, 0x7f00a000u);
  EXPECT_EQ(vma->end, 0x7f20b000u);
  EXPECT_EQ(vma->offset, 0x200000u);
  EXPECT_EQ(vma->inode, 77u);
  EXPECT_TRUE(vma->shared && vma->readable && vma->writable);
  EXPECT_EQ(vma->path, "/memfd:x (deleted)");
}
TEST(MapsLine, ReadsAnonymousMemory) {
  const auto vma = parse_maps_line("1000-2000 r--p 00000000 00:00 0 ");
  ASSERT_TRUE(vma);
  EXPECT_FALSE(vma->shared || vma->writable);
  EXPECT_EQ(vma->inode, 0u);
}
TEST(MapsLine, RefusesGarbage) {
  for (const char* line : {"", "x", "1000-2000", "1000-2000 rw-p", "1000-2000 rw-p zz 00:00 0 "}) {
    EXPECT_FALSE(parse_maps_line(line)) << line;
  }
}
TEST(MemoryFinder, FindsMemfdWithOffset) {
  const UniqueFd file{memfd_create("t", MFD_CLOEXEC)};
  ASSERT_EQ(ftruncate(file.get(), 4 * kPage), 0);
  const Area area{2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 2 * kPage};
  const auto found = MemoryFinder{}.find(area.start() + kPage, kPage, true);
  ASSERT_EQ(found.error, 0);
  ASSERT_EQ(found.pieces.size(), 1u);
  ASSERT_TRUE(found.pieces[0].file);
  EXPECT_TRUE(is_same(found.pieces[0].file->get(), file.get()));
  EXPECT_EQ(found.pieces[0].offset, 3 * kPage);
}
TEST(MemoryFinder, FindsNoMemoryBehindTheEndOfAFile) {
  const UniqueFd file{memfd_create("t", MFD_CLOEXEC)};
  ASSERT_EQ(ftruncate(file.get(), kPage + 1), 0);
  const Area area{3 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()};
  EXPECT_EQ(MemoryFinder{}.find(area.start(), 2 * kPage, true).error, 0);
  EXPECT_EQ(MemoryFinder{}.find(area.start(), 3 * kPage, true).error, EFAULT);
  EXPECT_EQ(MemoryFinder{}.find(area.start() + 2 * kPage, kPage, true).error, EFAULT);
}
TEST(MemoryFinder, KeepsOneDescriptorPerFile) {
  const UniqueFd file{memfd_create("t", MFD_CLOEXEC)};
  ASSERT_EQ(ftruncate(file.get(), 4 * kPage), 0);
  const Area area{4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()};
  MemoryFinder finder;
  const auto first = finder.find(area.start(), kPage, true), second = finder.find(area.start() + kPage, kPage, true);
  EXPECT_EQ(first.pieces.at(0).file, second.pieces.at(0).file);
}
TEST(MemoryFinder, JoinsMappingsThatContinueAFile) {
  const UniqueFd file{memfd_create("t", MFD_CLOEXEC)};
  ASSERT_EQ(ftruncate(file.get(), 2 * kPage), 0);
  const Area area{2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()};
  ASSERT_EQ(::mprotect(area.data(), kPage, PROT_READ), 0);
  EXPECT_EQ(MemoryFinder{}.find(area.start(), 2 * kPage, false).pieces.size(), 1u);
  EXPECT_EQ(MemoryFinder{}.find(area.start(), 2 * kPage, true).error, EFAULT);
}
TEST(MemoryFinder, SplitsWhereMemoryChanges) {
  const UniqueFd file{memfd_create("t", MFD_CLOEXEC)};
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  const Area area{2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS};
  ASSERT_NE(::mmap(area.data(), kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.get(), 0), MAP_FAILED);
  const auto found = MemoryFinder{}.find(area.start(), 2 * kPage, true);
  ASSERT_EQ(found.pieces.size(), 2u);
  EXPECT_TRUE(found.pieces[0].file);
  EXPECT_FALSE(found.pieces[1].file);
}
TEST(MemoryFinder, PrivateCopyOfFileHasNoDescriptor) {
  const UniqueFd file{memfd_create("t", MFD_CLOEXEC)};
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  const Area area{kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get()};
  EXPECT_FALSE(MemoryFinder{}.find(area.start(), kPage, true).pieces.at(0).file);
}
TEST(MemoryFinder, HoleIsFault) {
  const Area area{3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS};
  ASSERT_EQ(::munmap(static_cast<std::byte*>(area.data()) + kPage, kPage), 0);
  EXPECT_EQ(MemoryFinder{}.find(area.start(), 3 * kPage, true).error, EFAULT);
}

}  // namespace
}  // namespace vmux::preload
