// SPDX-License-Identifier: BSD-3-Clause
// A thousand rounds of attaching and detaching, whole ones and ones that fail half way: neither the program nor the
// server may hold more afterwards than before.
#include <malloc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "preload/iommufd_abi.hpp"
#include "preload/program.hpp"

namespace vmux::tests {
namespace {

constexpr int kWarmUp = 50, kRounds = 1000;

struct Held {
  std::size_t descriptors = 0, mappings = 0, resident_kib = 0, heap = 0;
};

std::size_t resident_kib(const std::string& process) {
  std::ifstream file{process + "/statm"};
  std::size_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * kPage / 1024;
}

Held held_by(const std::string& process) {
  Held held;
  const std::filesystem::directory_iterator open{process + "/fd"};
  held.descriptors = static_cast<std::size_t>(std::distance(begin(open), end(open)));
  std::ifstream maps{process + "/maps"};
  held.mappings = static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>{maps}, {}, '\n'));
  held.resident_kib = resident_kib(process);
  return held;
}

/// Both sides with one device open: the server serves it only when it is done with all clients before.
struct Both {
  Held program, server;
  Both() {
    const Opened it;
    server = held_by(std::string{"/proc/"} + getenv("PROBE_SERVER_PID"));
    server.heap = it.read<std::uint64_t>(probe::kHeap);
    program = held_by("/proc/self");
    program.heap = mallinfo2().uordblks;
  }
};

/// malloc keeps freed pieces for each thread, so its count wavers by some of them; a leak of a byte in each round does
/// not fit in here.
constexpr std::size_t kWaver = 900, kResidentWaverKib = 128;

void expect_same(const char* whose, const Held& before, const Held& after) {
  EXPECT_EQ(after.descriptors, before.descriptors) << whose;
  EXPECT_EQ(after.mappings, before.mappings) << whose;
  EXPECT_LE(after.heap, before.heap + kWaver) << whose;
  EXPECT_LE(after.resident_kib, before.resident_kib + kResidentWaverKib) << whose;
}

/// Standard error goes nowhere while one lives: rounds that fail say so, a thousand times.
class Quiet {
 public:
  Quiet() {
    const Fd nowhere{open("/dev/null", O_WRONLY)};
    dup2(nowhere, STDERR_FILENO);
  }
  ~Quiet() { dup2(before_, STDERR_FILENO); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  Fd before_{dup(STDERR_FILENO)};
};

void expect_no_leak(const std::function<void(int)>& round, int rounds = kRounds) {
  const Quiet quiet;
  (void)Both{};
  for (int i = 0; i < kWarmUp; ++i)
    round(i);
  const Both before;
  for (int i = 0; i < rounds && !::testing::Test::HasFailure(); ++i)
    round(i);
  const Both after;
  expect_same("the program", before.program, after.program);
  expect_same("the server", before.server, after.server);
}

constexpr std::uint32_t kEvent = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;

struct Shared {
  Fd file = shareable(2 * kPage), event{eventfd(0, 0)};
  Memory memory{2 * kPage, MAP_SHARED, file};
};

/// All that a driver sets up, and takes nothing of it down: closing does.
void use_all(const Opened& it, const Shared& shared, void** bar) {
  ASSERT_EQ(map_dma(it.container, 0, shared.memory.address(), 2 * kPage), 0);
  ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {shared.event}), 0);
  *bar = mmap(nullptr, probe::kBarSize, PROT_READ | PROT_WRITE, MAP_SHARED, it.device, 0);
  ASSERT_NE(*bar, MAP_FAILED);
  it.enable_bus_master();
  ASSERT_EQ(it.run(probe::kFill, 0, 64), 1u);
}

TEST(Rounds, WholeLifeOfADevice) {
  const Shared shared;
  expect_no_leak([&](int) {
    const Opened it;
    void* bar = nullptr;
    use_all(it, shared, &bar);
    munmap(bar, probe::kBarSize);
  });
}
TEST(Rounds, MessageDmaAndItsThread) {
  const Memory memory{kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  expect_no_leak([&](int) {
    const Opened it;
    it.enable_bus_master();
    ASSERT_EQ(map_dma(it.container, 0, memory.address(), kPage), 0);
    ASSERT_EQ(it.run(probe::kFill, 0, 64), 1u);
  });
}
TEST(Rounds, Iommufd) {
  const Shared shared;
  expect_no_leak([&](int) {
    Cdev it;
    it.bind();
    ASSERT_EQ(it.attach(it.ioas), 0);
    iommufd::Map map{.flags = iommufd::kFixedReadWrite,
                     .id = it.ioas,
                     .address = shared.memory.address(),
                     .length = kPage,
                     .iova = 0};
    ASSERT_EQ(ioctl(it.iommufd, iommufd::command(0x85), &map), 0);
    it.enable_bus_master();
    ASSERT_EQ(it.run(probe::kFill, 0, 64), 1u);
  });
}

// Errnos: drivers/vfio/group.c (vfio_device_get_from_name), vfio_iommu_type1.c (vfio_dma_do_map, vfio_dma_do_unmap,
// vaddr_get_pfns), pci/vfio_pci_rdwr.c (vfio_pci_bar_rw), pci/vfio_pci_config.c (vfio_pci_config_rw), vfio_main.c
// (vfio_set_irqs_validate_and_prepare).
TEST(Rounds, RequestsThatAreRefused) {
  const Shared shared;
  expect_no_leak([&](int) {
    const Opened it;
    std::uint32_t value = 0;
    ASSERT_EQ(errno_of(ioctl(it.group, VFIO_GROUP_GET_DEVICE_FD, "0000:41:00.0")), ENODEV);
    ASSERT_EQ(map_dma(it.container, 0, shared.memory.address(), 2 * kPage), 0);
    ASSERT_EQ(map_dma(it.container, 0, shared.memory.address(), 2 * kPage), EEXIST);
    ASSERT_EQ(map_dma(it.container, kPage, shared.memory.address(), 2 * kPage), EEXIST);
    ASSERT_EQ(map_dma(it.container, 0x100000, 0x1000, kPage), EFAULT);
    ASSERT_EQ(unmap_dma(it.container, 0x200000, kPage).error, 0);
    ASSERT_EQ(unmap_dma(it.container, 0x200000, kPage).size, 0u);
    ASSERT_EQ(unmap_dma(it.container, 0, kPage).error, EINVAL);
    ASSERT_EQ(errno_of(pread(it.device, &value, 4, Opened::at(0, probe::kBarSize))), EINVAL);
    ASSERT_EQ(errno_of(pread(it.device, &value, 4, Opened::at(VFIO_PCI_CONFIG_REGION_INDEX, 0x1000))), EFAULT);
    ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 3, 2, {shared.event, shared.event}), EINVAL);
    ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {4000}), EBADF);
    ASSERT_EQ(errno_of(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, it.device, Opened::at(1, 0))), EINVAL);
  });
}
TEST(Rounds, MapThatOneOfTwoServersRefuses) {
  const Memory memory{kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  expect_no_leak([&](int) {
    const Opened it;
    const Fd group{open(("/dev/vfio/" + group_of("0000:40:00.1")).c_str(), O_RDWR | O_CLOEXEC)};
    const int number = it.container;
    ASSERT_EQ(ioctl(group, VFIO_GROUP_SET_CONTAINER, &number), 0);
    const Fd other{ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:40:00.1")};
    ASSERT_NE(map_dma(it.container, 0, memory.address(), kPage), 0);
    ASSERT_EQ(unmap_dma(it.container, 0, kPage).size, 0u);
  });
}

/// Cuts every connection to a server that the process has: what both sides see of a server that closes.
int cut_connections() {
  int cut = 0;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    const int fd = std::stoi(entry.path().filename());
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && shutdown(fd, SHUT_RDWR) == 0) ++cut;
  }
  return cut;
}

TEST(Rounds, ServerThatClosesInTheMiddle) {
  const Shared shared;
  expect_no_leak([&](int round) {
    const Opened it;
    void* bar = nullptr;
    if (round % 2 == 0) use_all(it, shared, &bar);
    ASSERT_EQ(cut_connections(), 1);
    std::uint32_t value = 0;
    const ssize_t read = pread(it.device, &value, 4, Opened::at(0, 0));
    ASSERT_EQ(errno_of(read), EIO);
    ASSERT_EQ(errno_of(ioctl(it.device, VFIO_DEVICE_RESET)), ENODEV);
    ASSERT_EQ(set_irqs(it.device, VFIO_PCI_MSIX_IRQ_INDEX, kEvent, 0, 1, {shared.event}), ENODEV);
    ASSERT_EQ(map_dma(it.container, 0x100000, shared.memory.address(), kPage), ENODEV);
    if (bar != nullptr) munmap(bar, probe::kBarSize);
  });
}
TEST(Rounds, ProgramsThatAreKilled) {
  const Shared shared;
  expect_no_leak(
      [&](int) {
        const pid_t child = fork();
        if (child == 0) {
          const Opened it;
          void* bar = nullptr;
          use_all(it, shared, &bar);
          kill(getpid(), SIGKILL);
        }
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
      },
      200);
}

}  // namespace
}  // namespace vmux::tests
