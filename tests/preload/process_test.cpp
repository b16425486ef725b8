// SPDX-License-Identifier: BSD-3-Clause
// What happens to descriptors and processes around a device, and when its server goes.
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>
#include <vector>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

TEST(Descriptors, DuplicatesKeepTheDeviceOpen) {
  Opened it;
  Fd second{dup(it.device)}, third{fcntl(it.device, F_DUPFD_CLOEXEC, 100)};
  it.device.reset();
  EXPECT_EQ(ioctl(second, VFIO_DEVICE_RESET), 0);
  second.reset();
  EXPECT_EQ(ioctl(third, VFIO_DEVICE_RESET), 0);
  EXPECT_GE(static_cast<int>(third), 100);
}
TEST(Descriptors, Dup2OverADeviceClosesIt) {
  Opened it;
  const Fd other{open("/dev/null", O_RDWR)};
  ASSERT_EQ(dup2(other, it.device), static_cast<int>(it.device));
  EXPECT_EQ(errno_of(ioctl(it.device, VFIO_DEVICE_RESET)), ENOTTY);
  EXPECT_EQ(ioctl(it.group, VFIO_GROUP_UNSET_CONTAINER), 0);  // no device is open any more
}
TEST(Descriptors, NumberThatWasClosedBehindOurBackIsNotOurs) {
  Opened it;
  const int number = it.device;
  FILE* stream = freopen("/dev/null", "r+", fdopen(number, "r+"));  // the C library closes it by itself
  ASSERT_NE(stream, nullptr);
  const int other = fileno(stream);
  ASSERT_EQ(other, number);
  EXPECT_EQ(errno_of(ioctl(other, VFIO_DEVICE_RESET)), ENOTTY);
  EXPECT_EQ(write(other, "x", 1), 1);
  const Fd self{static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))};
  const Fd copy{static_cast<int>(syscall(SYS_pidfd_getfd, static_cast<int>(self), static_cast<int>(it.group), 0))};
  vfio_group_status status{sizeof status, 0};
  EXPECT_EQ(ioctl(copy, VFIO_GROUP_GET_STATUS, &status), 0);  // a duplicate made behind our back is
}
TEST(Descriptors, CloseRangeClosesDevices) {
  Opened it;
  const Fd moved{fcntl(it.device, F_DUPFD, 300)};
  it.device.reset();
  ASSERT_EQ(close_range(300, 310, 0), 0);
  EXPECT_EQ(ioctl(it.group, VFIO_GROUP_UNSET_CONTAINER), 0);
}
int sent_to_ourselves(int fd) {
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  char byte = 0;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)]{};
  iovec data{&byte, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  EXPECT_EQ(sendmsg(ends[0], &message, 0), 1);
  EXPECT_EQ(recvmsg(ends[1], &message, 0), 1);
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  close(ends[0]);
  close(ends[1]);
  return fd;
}

TEST(Descriptors, ThatComeByASocketAreTheDeviceAtOnce) {
  Opened it;
  it.write<std::uint32_t>(probe::kScratch, 0x51);
  const Fd came{sent_to_ourselves(it.device)};
  it.device.reset();
  std::uint32_t value = 0;
  EXPECT_EQ(pread(came, &value, 4, Opened::at(0, probe::kScratch)), 4);
  EXPECT_EQ(value, 0x51u);
}
TEST(Descriptors, NumbersThatWereOursAreTheProgramsAfterwards) {
  const Fd file = shareable(kPage);
  {
    const Opened it;
    const Memory memory{kPage, MAP_SHARED, file};
    EXPECT_EQ(map_dma(it.container, 0, memory.address(), kPage), 0);
    EXPECT_EQ(unmap_dma(it.container, 0, kPage).error, 0);
  }
  int copies[40];
  for (int& copy : copies)
    copy = dup(file);
  for (const int copy : copies)
    EXPECT_EQ(close(copy), 0) << copy;
}
TEST(Descriptors, ClosingAllOthersLeavesTheDevice) {
  const pid_t child = fork();
  if (child == 0) {
    const Opened it;
    const Fd file = shareable(kPage);
    const Memory memory{kPage, MAP_SHARED, file};
    if (map_dma(it.container, 0, memory.address(), kPage) != 0) _exit(1);
    for (int fd = 3; fd < 1100; ++fd) {
      if (fd != it.device && fd != it.container && fd != it.group) close(fd);
    }
    close_range(1100, ~0u, 0);
    it.enable_bus_master();
    if (it.run(probe::kFill, 0, 16) != 1 || memory.data()[3] != probe::kFillByte) _exit(2);
    closefrom(3);  // and now it too
    _exit(errno_of(ioctl(it.device, VFIO_DEVICE_RESET)) == EBADF ? 0 : 3);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(errno_of(Fd{open(("/dev/vfio/" + group_of(kBdf)).c_str(), O_RDWR)}), 0);
}
TEST(Processes, ChildAfterForkUsesTheDeviceWithItsParent) {
  const Opened it;
  it.write<std::uint32_t>(probe::kScratch, 1);
  const pid_t child = fork();
  if (child == 0) {
    bool is_right = true;
    for (std::uint32_t i = 0; i < 200; ++i) {
      std::uint32_t value = 0;
      is_right = is_right && pread(it.device, &value, 4, Opened::at(0, probe::kScratch)) == 4 && value >= 1;
    }
    close(it.device);
    _exit(is_right ? 0 : 1);
  }
  for (std::uint32_t i = 1; i < 200; ++i)
    it.write(probe::kScratch, i);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(it.read(probe::kScratch), 199u);
}
TEST(Processes, AnotherProgramSeesTheDeviceWhileItIsNotOpen) {
  FILE* pipe = popen("cat /sys/bus/pci/devices/0000:40:00.0/vendor", "r");
  char text[16]{};
  EXPECT_EQ(fscanf(pipe, "%15s", text), 1);
  pclose(pipe);
  EXPECT_STREQ(text, "0x1234");
}
/// The first line that a shell says on its standard output.
std::string said_by(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  char line[256]{};
  (void)fgets(line, sizeof line, pipe);
  pclose(pipe);
  return line;
}

TEST(Processes, AnotherProgramSeesTheDeviceThatIsOpen) {
  const Opened it;
  EXPECT_EQ(said_by("cat /sys/bus/pci/devices/0000:40:00.0/vendor 2>/dev/null"), "0x1234\n");
}
TEST(Processes, AGroupIsOpenInOneProcessOnly) {
  const std::string group = "/dev/vfio/" + group_of(kBdf),
                    open_it = "head -c0 " + group + " 2>/dev/null && echo opened";
  {
    const Opened it;
    EXPECT_EQ(said_by("head -c0 " + group + " 2>&1 | grep -o busy"), "busy\n");
    EXPECT_EQ(said_by(open_it), "");
  }
  EXPECT_EQ(said_by(open_it), "opened\n");
}
TEST(Processes, AGroupStaysOpenWhileAForkedChildHasIt) {
  const std::string group = "/dev/vfio/" + group_of(kBdf);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  pid_t child = -1;
  {
    const Fd opened{open(group.c_str(), O_RDWR)};
    child = fork();
    if (child == 0) {
      char byte;
      close(ends[1]);
      _exit(static_cast<int>(read(ends[0], &byte, 1)));  // until the parent hangs up
    }
  }
  EXPECT_EQ(errno_of(open(group.c_str(), O_RDWR)), EBUSY);
  close(ends[1]);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(errno_of(Fd{open(group.c_str(), O_RDWR)}), 0);
}
TEST(Processes, AProgramThatChangesItsRootGoesOnMappingMemory) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may change its root";
  const Opened it;
  const pid_t child = fork();
  if (child == 0) {
    if (chroot("/var/empty") != 0 && chroot("/usr") != 0) _exit(2);
    const Fd file{memfd_create("test", MFD_CLOEXEC)};
    if (ftruncate(file, kPage) != 0) _exit(3);
    const Memory memory{kPage, MAP_SHARED, file};
    const Fd event{eventfd(0, 0)};
    const int mapped = map_dma(it.container, 0, memory.address(), kPage);
    const int wired = set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX,
                               VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1, {event});
    _exit(access("/proc/self/maps", F_OK) == 0 ? 4 : mapped != 0 ? 5 : wired != 0 ? 6 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}
TEST(Processes, ThreadsUseOneDeviceAtOnce) {
  const Opened it;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      vfio_device_info info{};
      info.argsz = sizeof info;
      for (int round = 0; round < 100; ++round) {
        (void)it.read(probe::kScratch);
        EXPECT_EQ(ioctl(it.device, VFIO_DEVICE_GET_INFO, &info), 0);
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
}
TEST(Processes, ChildOfVforkClosesNothingOfItsParents) {
  const Opened it;
  it.write<std::uint32_t>(probe::kScratch, 7);
  const pid_t child = vfork();  // as Python's subprocess: the child has descriptors of its own, but our memory
  if (child == 0) {
    close(it.device);
    close_range(3, ~0u, 0);
    _exit(0);
  }
  ASSERT_GT(child, 0);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(it.read(probe::kScratch), 7u);
  EXPECT_EQ(errno_of(ioctl(it.group, VFIO_GROUP_UNSET_CONTAINER)), EBUSY);
  EXPECT_EQ(unmap_dma(it.container, 0, kPage).error, 0);
}
TEST(Processes, ClosingOnOneThreadHarmsNoCallOnAnother) {
  for (int round = 0; round < 50; ++round) {
    Opened it;
    const int number = it.device;
    std::atomic<bool> is_closed = false;
    std::thread other{[&] {
      bool was_closed = false;
      do {
        was_closed = is_closed;
        std::uint32_t value = 0;
        vfio_device_info info{};
        info.argsz = sizeof info;
        const int read_error = errno_of(pread(number, &value, 4, Opened::at(0, probe::kScratch)));
        const int info_error = errno_of(ioctl(number, VFIO_DEVICE_GET_INFO, &info));
        // Between our table and the kernel's it is an empty memory file for a moment.
        EXPECT_TRUE(read_error == 0 || read_error == EBADF) << strerror(read_error);
        EXPECT_TRUE(info_error == 0 || info_error == EBADF || info_error == ENOTTY) << strerror(info_error);
      } while (!was_closed);
    }};
    (void)it.read(probe::kScratch);
    it.device.reset();
    is_closed = true;
    other.join();
  }
}

const Opened* device_of_handler = nullptr;
std::atomic<int> handled = 0;

TEST(Signals, HandlerMayUseTheDeviceThatItInterrupts) {
  const Opened it;
  device_of_handler = &it;
  handled = 0;
  struct sigaction wanted {
  }, before{};
  wanted.sa_handler = [](int) {
    std::uint32_t value = 0;
    if (pread(device_of_handler->device, &value, 4, Opened::at(0, probe::kScratch)) == 4) ++handled;
  };
  ASSERT_EQ(sigaction(SIGALRM, &wanted, &before), 0);
  const itimerval often{{0, 200}, {0, 200}}, never{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  while (handled < 300) {
    std::uint32_t value = 0;
    ASSERT_EQ(pread(it.device, &value, 4, Opened::at(0, probe::kScratch)), 4);
    ASSERT_EQ(ioctl(it.container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
}

// The last ones: they end the server.
TEST(ServerGone, EveryCallFailsAndTheProgramLives) {
  const Opened it;
  const Fd file = shareable(kPage);
  const Memory memory{kPage, MAP_SHARED, file};
  volatile auto* bar = static_cast<volatile std::uint32_t*>(
      mmap(nullptr, probe::kBarSize, PROT_READ | PROT_WRITE, MAP_SHARED, it.device, 0));
  ASSERT_EQ(map_dma(it.container, 0, memory.address(), kPage), 0);
  const std::uint32_t leave = probe::kLeave;
  (void)pwrite(it.device, &leave, sizeof leave, Opened::at(0, probe::kCommand));
  std::uint32_t value = 0;
  EXPECT_EQ(errno_of(pread(it.device, &value, 4, Opened::at(0, 0))), EIO);
  EXPECT_EQ(errno_of(pwrite(it.device, &value, 4, Opened::at(0, 0))), EIO);
  EXPECT_EQ(errno_of(ioctl(it.device, VFIO_DEVICE_RESET)), ENODEV);
  EXPECT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0),
            ENODEV);
  EXPECT_EQ(map_dma(it.container, 0x10000, memory.address(), kPage), ENODEV);
  EXPECT_EQ(unmap_dma(it.container, 0, kPage).size, kPage);
  EXPECT_EQ(bar[0], 0xffffffffu);  // as a bus answers where nobody is
  bar[0] = 1;
}
TEST(ServerGone, OpeningTheDeviceIsENODEV) {
  const char* other = "0000:40:00.1";
  {
    const Opened it{other};
    const std::uint32_t leave = probe::kLeave;
    (void)pwrite(it.device, &leave, sizeof leave, Opened::at(0, probe::kCommand));
  }
  const Fd container{open("/dev/vfio/vfio", O_RDWR)}, group{open(("/dev/vfio/" + group_of(other)).c_str(), O_RDWR)};
  const int number = container;
  ASSERT_EQ(ioctl(group, VFIO_GROUP_SET_CONTAINER, &number), 0);
  ASSERT_EQ(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, other)), ENODEV);
}

}  // namespace
}  // namespace vmux::tests
