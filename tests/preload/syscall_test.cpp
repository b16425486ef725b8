// SPDX-License-Identifier: BSD-3-Clause
// A program that makes its system calls by number, as some language run-times do.
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

int open_by_number(const std::string& path) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDWR | O_CLOEXEC, 0));
}
int open_how_by_number(const std::string& path, std::uint64_t resolve, std::size_t size = sizeof(open_how)) {
  open_how how{};
  how.flags = O_RDWR | O_CLOEXEC;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, size));
}

TEST(Syscall, OpensAndUsesADevice) {
  Opened it{Opened::Bare{}};
  it.container = Fd{open_by_number("/dev/vfio/vfio")};
  it.group = Fd{open_by_number("/dev/vfio/" + group_of(kBdf))};
  const int number = it.container;
  ASSERT_EQ(syscall(SYS_ioctl, static_cast<int>(it.group), VFIO_GROUP_SET_CONTAINER, &number), 0);
  ASSERT_EQ(syscall(SYS_ioctl, static_cast<int>(it.container), VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
  it.device = Fd{static_cast<int>(syscall(SYS_ioctl, static_cast<int>(it.group), VFIO_GROUP_GET_DEVICE_FD, kBdf))};
  ASSERT_GE(static_cast<int>(it.device), 0);
  const std::uint32_t written = 0x12345678;
  std::uint32_t got = 0;
  const off_t where = Opened::at(0, probe::kScratch);
  EXPECT_EQ(syscall(SYS_pwrite64, static_cast<int>(it.device), &written, sizeof written, where), 4);
  EXPECT_EQ(syscall(SYS_pread64, static_cast<int>(it.device), &got, sizeof got, where), 4);
  EXPECT_EQ(got, written);
  EXPECT_EQ(errno_of(syscall(SYS_lseek, static_cast<int>(it.device), 0, SEEK_SET)), ESPIPE);
}
TEST(Syscall, MapsARegion) {
  const Opened it;
  const long at = syscall(SYS_mmap, nullptr, probe::kSharedSize, PROT_READ | PROT_WRITE, MAP_SHARED,
                          static_cast<int>(it.device), Opened::at(0, probe::kSharedAt));
  ASSERT_NE(at, -1);
  *reinterpret_cast<volatile std::uint32_t*>(at) = 0x55aa;
  EXPECT_EQ(it.read(probe::kSharedAt), 0x55aau);
  EXPECT_EQ(syscall(SYS_munmap, at, probe::kSharedSize), 0);
}
TEST(Syscall, ClosesAndDuplicates) {
  Opened it;
  const Fd copy{static_cast<int>(syscall(SYS_fcntl, static_cast<int>(it.device), F_DUPFD_CLOEXEC, 0))};
  EXPECT_EQ(syscall(SYS_close, static_cast<int>(it.device)), 0);
  EXPECT_EQ(errno_of(ioctl(it.group, VFIO_GROUP_UNSET_CONTAINER)), EBUSY);
  EXPECT_EQ(syscall(SYS_close, static_cast<int>(copy)), 0);
  EXPECT_EQ(ioctl(it.group, VFIO_GROUP_UNSET_CONTAINER), 0);
}
TEST(Syscall, SeesTheGeneratedTree) {
  const std::string device = std::string{"/sys/bus/pci/devices/"} + kBdf;
  char target[256];
  EXPECT_GT(syscall(SYS_readlinkat, AT_FDCWD, (device + "/driver").c_str(), target, sizeof target), 0);
  struct stat status {};
  EXPECT_EQ(syscall(SYS_newfstatat, AT_FDCWD, "/dev/vfio/vfio", &status, 0), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(syscall(SYS_faccessat, AT_FDCWD, (device + "/vendor").c_str(), R_OK), 0);
}
TEST(Syscall, Openat2LeadsToUsUnlessThePathIsHeldBelowADirectory) {
  EXPECT_GE(static_cast<int>(Fd{open_how_by_number("/dev/vfio/vfio", 0)}), 0);
  const std::string vendor = std::string{"/sys/bus/pci/devices/"} + kBdf + "/vendor";
  EXPECT_EQ(errno_of(open_how_by_number(vendor, RESOLVE_BENEATH)), EXDEV);
  EXPECT_EQ(errno_of(open_how_by_number("/dev/vfio/vfio", 0, 8)), EINVAL);
}
TEST(Syscall, LeavesWhatIsNotOursToTheKernel) {
  EXPECT_EQ(syscall(SYS_getpid), getpid());
  EXPECT_EQ(errno_of(open_by_number("/nowhere")), ENOENT);
  EXPECT_EQ(errno_of(syscall(SYS_close, 999)), EBADF);
  EXPECT_EQ(errno_of(syscall(9999)), ENOSYS);
  const Fd file{open_by_number("/dev/zero")};
  std::uint8_t byte = 1;
  EXPECT_EQ(syscall(SYS_read, static_cast<int>(file), &byte, 1), 1);
  EXPECT_EQ(byte, 0);
}

}  // namespace
}  // namespace vmux::tests
