// SPDX-License-Identifier: BSD-3-Clause
// What the kernel does with descriptors of VFIO whatever VFIO says to it: Linux 6.1's answers.
#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

std::string group_path() { return "/dev/vfio/" + group_of(kBdf); }
int error_of_open(const std::string& path, int flags) { return errno_of(Fd{open(path.c_str(), flags, 0600)}); }

TEST(OpenFlags, AreTakenAsForACharacterDevice) {
  const std::string group = group_path();
  EXPECT_EQ(error_of_open(group, O_RDWR | O_CREAT | O_EXCL), EEXIST);
  EXPECT_EQ(error_of_open(group, O_RDONLY | O_DIRECTORY), ENOTDIR);
  EXPECT_EQ(error_of_open(group, O_RDWR | O_TMPFILE), ENOTDIR);
  EXPECT_EQ(error_of_open(group, O_RDWR | O_DIRECT), EINVAL);
  EXPECT_EQ(error_of_open(group, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW), 0);
  EXPECT_EQ(errno_of(Fd{creat(group.c_str(), 0600)}), 0);
}
TEST(OpenFlags, StayWithTheDescriptor) {
  const Fd group{open(group_path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  EXPECT_EQ(fcntl(group, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY | O_NONBLOCK);
  EXPECT_EQ(fcntl(group, F_GETFD), FD_CLOEXEC);
  vfio_group_status status{sizeof status, 0};
  EXPECT_EQ(ioctl(group, VFIO_GROUP_GET_STATUS, &status), 0);
  EXPECT_EQ(errno_of(write(group, "x", 1)), EBADF);
  const Fd container{open("/dev/vfio/vfio", O_WRONLY)};
  char byte = 0;
  EXPECT_EQ(errno_of(read(container, &byte, 1)), EBADF);
  EXPECT_EQ(errno_of(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, container, 0)), EACCES);
}
TEST(OpenFlags, ADeviceIsNoDirectory) {
  EXPECT_EQ(error_of_open(group_path() + "/", O_RDWR), ENOTDIR);
  EXPECT_EQ(error_of_open(group_path() + "/.", O_RDWR), ENOTDIR);
  EXPECT_EQ(error_of_open(group_path() + "/..", O_RDONLY), ENOTDIR);
  EXPECT_EQ(error_of_open(group_path() + "/x", O_RDWR), ENOTDIR);
  struct stat status {};
  EXPECT_EQ(errno_of(stat((group_path() + "/").c_str(), &status)), ENOTDIR);
}
TEST(Ioctl, TheKernelsOwnAreItsOwn) {
  const Opened it;
  int on = 1;
  EXPECT_EQ(ioctl(it.device, FIOCLEX), 0);
  EXPECT_EQ(fcntl(it.device, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(ioctl(it.device, FIONCLEX), 0);
  EXPECT_EQ(fcntl(it.device, F_GETFD), 0);
  EXPECT_EQ(ioctl(it.device, FIONBIO, &on), 0);
  EXPECT_NE(fcntl(it.device, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(errno_of(ioctl(it.device, FIOASYNC, &on)), ENOTTY);
  EXPECT_EQ(errno_of(ioctl(it.device, FIONREAD, &on)), ENOTTY);
  EXPECT_EQ(errno_of(ioctl(it.device, FIOQSIZE, &on)), ENOTTY);
  EXPECT_EQ(errno_of(ioctl(it.device, FICLONE, static_cast<int>(it.group))), EINVAL);
  EXPECT_EQ(ioctl(it.device, FIGETBSZ, &on), 0);
  EXPECT_EQ(isatty(it.device), 0);
}
TEST(Descriptors, OfADeviceAreNoMemoryFiles) {
  const Opened it;
  EXPECT_EQ(errno_of(fsync(it.device)), EINVAL);
  EXPECT_EQ(errno_of(fdatasync(it.group)), EINVAL);
  EXPECT_EQ(errno_of(ftruncate(it.device, 4096)), EINVAL);
  EXPECT_EQ(errno_of(fallocate(it.device, 0, 0, 4096)), ENODEV);
  EXPECT_EQ(posix_fallocate(it.device, 0, 4096), ENODEV);
  EXPECT_EQ(errno_of(fcntl(it.device, F_GET_SEALS)), EINVAL);
  EXPECT_EQ(errno_of(fcntl(it.device, F_SETLEASE, F_WRLCK)), EINVAL);
  EXPECT_EQ(errno_of(fcntl(it.device, F_SETFL, O_DIRECT)), EINVAL);
  EXPECT_EQ(fcntl(it.device, F_GETFL) & O_ACCMODE, O_RDWR);
  EXPECT_EQ(flock(it.device, LOCK_EX | LOCK_NB), 0);
  const Fd null{open("/dev/null", O_WRONLY)}, file = shareable(kPage);
  EXPECT_EQ(errno_of(sendfile(null, it.device, nullptr, 4)), EINVAL);
  EXPECT_EQ(errno_of(sendfile(it.device, file, nullptr, 4)), EINVAL);
  EXPECT_EQ(errno_of(copy_file_range(file, nullptr, it.device, nullptr, 4, 0)), EINVAL);
  EXPECT_EQ(errno_of(syscall(SYS_ftruncate, static_cast<int>(it.device), 4096)), EINVAL);
  epoll_event event{};
  const Fd poller{epoll_create1(0)};
  EXPECT_EQ(errno_of(epoll_ctl(poller, EPOLL_CTL_ADD, it.device, &event)), EPERM);
}
TEST(Descriptors, OfADeviceThatItsGroupOpenedHaveNoType) {
  const Opened it;
  struct stat status {};
  ASSERT_EQ(fstat(it.device, &status), 0);
  EXPECT_EQ(status.st_mode, 0600u);
  EXPECT_EQ(status.st_size, 0);
}
TEST(Streams, LeadToTheDevice) {
  FILE* stream = fopen(group_path().c_str(), "r+e");
  ASSERT_NE(stream, nullptr);
  vfio_group_status status{sizeof status, 0};
  EXPECT_EQ(ioctl(fileno(stream), VFIO_GROUP_GET_STATUS, &status), 0);
  EXPECT_EQ(fcntl(fileno(stream), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fopen(group_path().c_str(), "r"), nullptr);
  EXPECT_EQ(errno, EBUSY);
  fclose(stream);
  EXPECT_EQ(error_of_open(group_path(), O_RDWR), 0);
}
TEST(Streams, OfTheGeneratedTreeAreReopened) {
  FILE* stream = fopen("/dev/null", "r");
  stream = freopen((std::string{"/sys/bus/pci/devices/"} + kBdf + "/vendor").c_str(), "r", stream);
  ASSERT_NE(stream, nullptr);
  char text[8]{};
  EXPECT_STREQ(fgets(text, sizeof text, stream), "0x1234\n");
  fclose(stream);
}
TEST(ProcLinks, LeadToWhatTheDescriptorIs) {
  Opened it;
  const auto link_of = [](int fd) { return "/proc/self/fd/" + std::to_string(fd); };
  char target[64]{};
  EXPECT_EQ(readlink(link_of(it.device).c_str(), target, sizeof target), 24);
  EXPECT_STREQ(target, "anon_inode:[vfio-device]");
  EXPECT_EQ(readlink(link_of(it.container).c_str(), target, 3), 3);
  struct stat status {};
  ASSERT_EQ(stat(link_of(it.group).c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  ASSERT_EQ(lstat(link_of(it.group).c_str(), &status), 0);
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  EXPECT_EQ(error_of_open(link_of(it.device), O_RDWR), ENXIO);
  EXPECT_EQ(error_of_open(link_of(it.group), O_RDWR), EBUSY);
  const Fd other{open(("/dev/fd/" + std::to_string(it.container)).c_str(), O_RDWR)};
  EXPECT_EQ(errno_of(ioctl(other, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)), EINVAL);  // a container of its own
}
TEST(ParentDirectories, AreWalkedAsTheKernelDoes) {
  EXPECT_EQ(error_of_open("/dev/vfio/../vfio/./" + group_of(kBdf), O_RDWR), 0);
  EXPECT_EQ(error_of_open("/tmp/../dev/vfio/vfio", O_RDWR), 0);
  EXPECT_EQ(error_of_open("/dev/vfio/nobody/../vfio", O_RDWR), ENOENT);
  const std::string device = std::string{"/sys/bus/pci/devices/"} + kBdf;  // a link, which ".." leaves where it leads
  EXPECT_EQ(error_of_open(device + "/../" + kBdf + "/vendor", O_RDONLY), 0);
  EXPECT_EQ(error_of_open(device + "/../../vendor", O_RDONLY), ENOENT);
  EXPECT_EQ(error_of_open(device + "/driver/../vfio-pci/" + kBdf + "/vendor", O_RDONLY), 0);
  EXPECT_EQ(error_of_open(device + "/iommu_group/../../bus/pci/devices", O_RDONLY), ENOENT);
  EXPECT_EQ(error_of_open(device + "/iommu_group/../../../bus/pci/devices", O_RDONLY), 0);
}

}  // namespace
}  // namespace vmux::tests
