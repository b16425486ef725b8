// SPDX-License-Identifier: BSD-3-Clause
// A device that dies and another that goes on. Death is real where it matters when: a process that shares the table of
// descriptors serves, and is killed at each system call in turn. Elsewhere a context that is never used again is dead.
#include <linux/sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "capi/test/rig.hpp"
#include "vfio-user/vmux-extensions.h"

namespace capi_test {
namespace {

/// What outlives a process here: registers, and how often a callback was called for each request.
struct Shared {
  std::uint32_t registers[64];
  std::uint32_t calls, last_calls;
  std::uint64_t requests[64];
};

Shared* make_shared() {
  void* const at = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return static_cast<Shared*>(at);
}

struct Survivor : Seen {
  Shared* shared = make_shared();
  std::set<int> kept;
};

ssize_t on_count(vfu_ctx_t* ctx, char* bytes, size_t count, loff_t at, bool is_write) {
  auto& shared = *static_cast<Survivor&>(seen(ctx)).shared;
  const std::uint64_t request = vmux_request_id(ctx);
  ++shared.calls;
  auto& reg = shared.registers[at / 4];
  if (is_write) {
    // Adding is not idempotent: the number of the request, noted with the sum, is what makes it so.
    std::uint32_t value = 0;
    std::memcpy(&value, bytes, count);
    if (shared.requests[at / 4] < request) {
      reg += value;
      shared.requests[at / 4] = request;
    }
  } else {
    std::memcpy(bytes, &reg, count);
  }
  return static_cast<ssize_t>(count);
}
void on_keep(vfu_ctx_t* ctx, void*, int fd) {
  auto& all = static_cast<Survivor&>(seen(ctx));
  EXPECT_TRUE(all.kept.insert(fd).second) << fd;
}
void on_drop(vfu_ctx_t* ctx, void*, int fd) {
  EXPECT_EQ(static_cast<Survivor&>(seen(ctx)).kept.erase(fd), 1u) << fd;
  EXPECT_GE(::fcntl(fd, F_GETFD), 0);
}
/// The dead one's table is this one's.
int on_find(vfu_ctx_t*, void*, int fd) { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); }
/// Only what was kept.
int on_find_kept(vfu_ctx_t*, void* arg, int fd) {
  return static_cast<std::set<int>*>(arg)->contains(fd) ? ::fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

struct Options {
  bool emulates = false, migrates = false, quiesces = false, other_id = false;
};

/// One life of the device. Whoever takes over leaves the one before alone.
struct Life {
  vfu_ctx_t* ctx = nullptr;
  int files[VMUX_RECORD_FILES] = {-1, -1, -1};

  void describe(const Options& options) {
    EXPECT_EQ(vfu_pci_init(ctx, VFU_PCI_TYPE_CONVENTIONAL, PCI_HEADER_TYPE_NORMAL, 0), 0);
    vfu_pci_set_id(ctx, options.other_id ? 0x1111 : 0x1234, 0x5678, 0, 0);
    vfu_setup_device_reset_cb(ctx, on_reset);
    vfu_setup_device_dma(ctx, 64, on_register, on_unregister);
    vfu_setup_device_nr_irqs(ctx, VFU_DEV_INTX_IRQ, 1);
    EXPECT_EQ(vfu_setup_region(ctx, VFU_PCI_DEV_BAR0_REGION_IDX, 4096, on_count, kMem, nullptr, 0, -1, 0), 0);
    if (options.emulates) {
      msixcap msix{};
      msix.hdr.id = PCI_CAP_ID_MSIX;
      msix.mxc.ts = 3;
      msix.mtab.tbir = msix.mpba.pbir = 4;
      msix.mpba.pbao = 0x800 / 8;
      EXPECT_EQ(vfu_setup_region(ctx, VFU_PCI_DEV_BAR4_REGION_IDX, 4096, nullptr, kMem, nullptr, 0, -1, 0), 0);
      EXPECT_GT(vfu_pci_add_capability(ctx, 0, 0, &msix), 0);
      EXPECT_EQ(vmux_emulate_irqs(ctx, VMUX_IRQ_MSIX | VMUX_IRQ_INTX), 0);
    } else {
      vfu_setup_device_nr_irqs(ctx, VFU_DEV_MSIX_IRQ, 4);
    }
    if (options.quiesces) vfu_setup_device_quiesce_cb(ctx, on_quiesce);
    if (options.migrates) {
      const vfu_migration_callbacks_t callbacks{VFU_MIGR_CALLBACKS_VERS, on_transition, on_read_data, on_write_data};
      EXPECT_EQ(vfu_setup_device_migration_callbacks(ctx, &callbacks), 0);
    }
    EXPECT_EQ(vmux_record(ctx, files, on_keep, on_drop, nullptr), 0);
    EXPECT_EQ(vfu_realize_ctx(ctx), 0);
  }
};

/// A path, its client, and one process after another that serves there.
class World {
 public:
  explicit World(const Options& with = {}) : options(with) {
    static int count = 0;
    path = "/tmp/capi_record." + std::to_string(::getpid()) + "." + std::to_string(++count);
    life.ctx = vfu_create_ctx(VFU_TRANS_SOCK, path.c_str(), LIBVFIO_USER_FLAG_ATTACH_NB, &device, VFU_DEV_TYPE_PCI);
    life.describe(options);
  }
  ~World() {
    vfu_destroy_ctx(life.ctx);
    EXPECT_TRUE(device.kept.empty());
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
    ::munmap(device.shared, sizeof(Shared));
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  World& attach(const std::string& json = "{}") {
    EXPECT_TRUE(client.connect(path));
    const timeval patience{20, 0};  // for an answer that never comes
    ::setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    client.send(1, version(json));
    EXPECT_EQ(vfu_attach_ctx(life.ctx), 0);
    greeting = client.receive();
    EXPECT_EQ(greeting.error, 0u);
    return *this;
  }
  /// The process is dead; the next one restores: 0 or an errno.
  int die_and_restore(vmux_find_fd_cb_t* find = on_find_kept, const Options* with = nullptr,
                      const std::set<int>& only = {}) {
    static auto& corpses = *new std::vector<vfu_ctx_t*>;  // reachable to the last, and never used again
    corpses.push_back(life.ctx);
    const std::set<int> kept = std::exchange(device.kept, {});
    std::set<int> known = only.empty() ? kept : only;
    Life next;
    next.ctx = vmux_create_ctx_to_restore(path.c_str(), LIBVFIO_USER_FLAG_ATTACH_NB, &device);
    next.describe(with != nullptr ? *with : options);
    const int done = vmux_restore(next.ctx, life.files, find, &known);
    const int error = done == 0 ? 0 : errno;
    if (error != EINVAL) return life = next, error;
    vfu_destroy_ctx(next.ctx);
    device.kept = kept;
    corpses.pop_back();
    return error;
  }
  /// A process with the same descriptors serves, and is killed at its `stop`th stop at a system call (each has two).
  /// False: it came to its end before.
  [[nodiscard]] bool serve_until(unsigned stop) const {
    // Raw: the C library's fork() has no such flag.
    const auto child =
        static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (child == 0) {
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::kill(::getpid(), SIGSTOP);
      for (int i = 0; i < 4; ++i)  // each serves one request
        static_cast<void>(vfu_run_ctx(life.ctx));
      ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    for (unsigned i = 0; i < stop; ++i) {
      ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
      EXPECT_EQ(::waitpid(child, &status, 0), child);
      if (WIFEXITED(status)) return false;
    }
    ::kill(child, SIGKILL);
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return true;
  }
  Received call(unsigned command, const std::string& payload, const std::vector<int>& fds = {}) {
    client.send(command, payload, fds);
    EXPECT_EQ(vfu_run_ctx(life.ctx), 1) << std::strerror(errno);
    return client.receive();
  }

  Options options;
  Survivor device;
  std::string path;
  Life life;
  Peer client;
  Received greeting;
};

std::string write_of(std::uint64_t at, std::uint32_t value) { return Bytes{}.u64(at).u32(0).u32(4).u32(value); }
std::string read_of(std::uint64_t at) { return Bytes{}.u64(at).u32(0).u32(4); }
std::string map_of(std::uint64_t start, std::uint64_t size) {
  return Bytes{}.u32(32).u32(3).u64(0).u64(start).u64(size);
}
std::string irqs_of(unsigned index, unsigned flags, unsigned start, unsigned count) {
  return Bytes{}.u32(20).u32(flags).u32(index).u32(start).u32(count);
}

TEST(CapiRecord, GoesOnBetweenTwoMessages) {
  World world{};
  world.attach();
  EXPECT_EQ(world.call(10, write_of(8, 5)).error, 0u);
  ASSERT_EQ(world.die_and_restore(), 0);
  EXPECT_EQ(number(world.call(9, read_of(8)).payload, 16, 4), 5u);
}

TEST(CapiRecord, GoesOnInTheMiddleOfAMessage) {
  World world{};
  world.attach();
  const std::string whole = Bytes{}.u16(9).u16(10).u32(16 + 20).u32(0).u32(0).text(write_of(4, 7));
  world.client.raw(whole.substr(0, 21));
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), 0);
  ASSERT_EQ(world.die_and_restore(), 0);
  world.client.raw(whole.substr(21));
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), 1);
  EXPECT_EQ(world.client.receive().id, 9u);
  EXPECT_EQ(world.device.shared->registers[1], 7u);
}

TEST(CapiRecord, ServesWhatWaitedForTheDevice) {
  World world{Options{.quiesces = true}};
  world.attach();
  world.device.quiesce_errno = EBUSY;
  const int memory = memory_file(8192);
  world.client.send(2, map_of(0x1000, 8192), {memory});
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), -1);
  EXPECT_EQ(errno, EBUSY);
  world.device.quiesce_errno = 0;
  ASSERT_EQ(world.die_and_restore(), 0);
  world.device.calls.clear();
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), 1);
  EXPECT_EQ(world.client.receive().error, 0u);
  EXPECT_EQ(world.device.calls, (std::vector<std::string>{"quiesce", "register 4096"}));
  ::close(memory);
}

TEST(CapiRecord, TellsTheDeviceOfItsMemoryAnew) {
  World world{};
  world.attach();
  const int memory = memory_file(8192);
  EXPECT_EQ(world.call(2, map_of(0x4000, 4096), {memory}).error, 0u);
  EXPECT_EQ(world.call(2, map_of(0x1000, 8192), {memory}).error, 0u);
  EXPECT_EQ(world.call(3, Bytes{}.u32(24).u32(0).u64(0x4000).u64(4096)).error, 0u);
  EXPECT_EQ(world.call(2, map_of(0x8000, 4096), {memory}).error, 0u);
  world.device.calls.clear();
  ASSERT_EQ(world.die_and_restore(), 0);
  EXPECT_EQ(world.device.calls, (std::vector<std::string>{"register 4096", "register 32768"}));
  std::string piece(dma_sg_size(), '\0');
  auto* const sg = reinterpret_cast<dma_sg_t*>(piece.data());
  ASSERT_EQ(vfu_addr_to_sgl(world.life.ctx, dma_address(0x1010), 5, sg, 1, PROT_WRITE), 1);
  char text[] = "hello";
  EXPECT_EQ(vfu_sgl_write(world.life.ctx, sg, 1, text, VFU_SGL_DIRECT_ACCESS), 0);
  char got[6]{};
  EXPECT_EQ(::pread(memory, got, 5, 0x10), 5);
  EXPECT_STREQ(got, "hello");
  ::close(memory);
}

TEST(CapiRecord, InterruptsThoseWhoListenedBefore) {
  World world{};
  world.attach();
  const int events[] = {::eventfd(0, EFD_NONBLOCK), ::eventfd(0, EFD_NONBLOCK)};
  EXPECT_EQ(world.call(8, irqs_of(2, 0x24, 1, 2), {events[0], events[1]}).error, 0u);
  ASSERT_EQ(world.die_and_restore(), 0);
  ASSERT_EQ(world.die_and_restore(), 0);
  EXPECT_EQ(vfu_irq_trigger(world.life.ctx, 2), 0);
  std::uint64_t counted = 0;
  EXPECT_EQ(::read(events[1], &counted, sizeof counted), 8);
  EXPECT_EQ(::read(events[0], &counted, sizeof counted), -1);
  EXPECT_EQ(vfu_irq_trigger(world.life.ctx, 0), -1);
  for (const int each : events)
    ::close(each);
}

TEST(CapiRecord, KeepsMasksPendingBitsAndConfigurationSpace) {
  World world{Options{.emulates = true}};
  world.attach();
  const int event = ::eventfd(0, EFD_NONBLOCK);
  EXPECT_EQ(world.call(8, irqs_of(2, 0x24, 0, 1), {event}).error, 0u);
  EXPECT_EQ(world.call(10, Bytes{}.u64(12).u32(4).u32(4).u32(1)).error, 0u);  // entry 0 is masked
  EXPECT_EQ(world.call(10, Bytes{}.u64(4).u32(7).u32(2).u16(6)).error, 0u);
  EXPECT_EQ(vfu_irq_trigger(world.life.ctx, 0), 0);
  EXPECT_EQ(world.call(9, read_of(0)).error, 0u);
  ASSERT_EQ(world.die_and_restore(), 0);
  EXPECT_EQ(vmux_irq_is_pending(world.life.ctx, VFU_DEV_MSIX_IRQ, 0), 1);
  EXPECT_EQ(number(world.call(9, Bytes{}.u64(4).u32(7).u32(2)).payload, 16, 2), 6u);
  std::uint64_t counted = 0;
  EXPECT_EQ(::read(event, &counted, sizeof counted), -1);
  EXPECT_EQ(world.call(10, Bytes{}.u64(12).u32(4).u32(4).u32(0)).error, 0u);
  EXPECT_EQ(::read(event, &counted, sizeof counted), 8);
  ::close(event);
}

TEST(CapiRecord, TakesTheNextClientAtTheSamePath) {
  World world{};
  EXPECT_EQ(world.die_and_restore(), ENOTCONN);
  world.attach();
  EXPECT_EQ(world.call(10, write_of(0, 1)).error, 0u);
  world.client.close();
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), -1);
  EXPECT_EQ(world.die_and_restore(), ENOTCONN);
  world.attach();
  EXPECT_EQ(number(world.call(9, read_of(0)).payload, 16, 4), 1u);
}

TEST(CapiRecord, IsOfNoUseToAnotherDevice) {
  World world{};
  world.attach();
  const Options other{.other_id = true};
  EXPECT_EQ(world.die_and_restore(on_find_kept, &other), EINVAL);
  ASSERT_EQ(world.die_and_restore(), 0);  // nothing has changed
  EXPECT_EQ(world.call(9, read_of(0)).error, 0u);
}

TEST(CapiRecord, IsRefusedWhereItIsTorn) {
  World world{};
  world.attach();
  // The newest image starts in either half.
  const auto size = ::lseek(world.life.files[0], 0, SEEK_END);
  std::string saved(8192, '\0');
  for (const off_t at : {off_t{0}, size / 2}) {
    ASSERT_EQ(::pread(world.life.files[0], saved.data(), 1, at + 100), 1);
    const char torn = static_cast<char>(saved[0] ^ 1);
    ASSERT_EQ(::pwrite(world.life.files[0], &torn, 1, at + 100), 1);
  }
  EXPECT_EQ(world.die_and_restore(), EINVAL);
}

TEST(CapiRecord, RefusesARequestWhoseDescriptorIsLost) {
  World world{};
  world.attach();
  const std::set<int> before = world.device.kept;
  const int memory = memory_file(4096);
  const std::string whole = Bytes{}.u16(9).u16(2).u32(16 + 32).u32(0).u32(0).text(map_of(0x1000, 4096));
  world.client.raw(whole.substr(0, 40), {memory});
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), 0);
  ASSERT_EQ(world.die_and_restore(on_find_kept, nullptr, before), 0);
  world.client.raw(whole.substr(40));
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), 0);
  EXPECT_EQ(world.client.receive().error, static_cast<unsigned>(EMFILE));
  ::close(memory);
}

/// Four requests, and a death at this stop among them. False: there are no so many.
bool die_at(unsigned stop) {
  World world;
  world.attach();
  const int memory = memory_file(4096), event = ::eventfd(0, EFD_NONBLOCK);
  world.client.send(10, write_of(8, 5), {}, 0, 21);
  world.client.send(2, map_of(0x1000, 4096), {memory}, 0, 22);
  world.client.send(8, irqs_of(2, 0x24, 0, 1), {event}, 0, 23);
  world.client.send(9, read_of(8), {}, 0, 24);
  const bool is_dead = world.serve_until(stop);
  EXPECT_EQ(world.die_and_restore(on_find), 0) << stop;
  for (int i = 0; i < 4; ++i)
    EXPECT_GE(vfu_run_ctx(world.life.ctx), 0) << stop;
  for (unsigned id = 21; id < 24; ++id) {
    const Received answer = world.client.receive();
    EXPECT_EQ(answer.id, id) << stop;
    EXPECT_EQ(answer.error, 0u) << stop;
  }
  EXPECT_EQ(number(world.client.receive().payload, 16, 4), 5u) << stop;
  EXPECT_FALSE(world.client.has_input()) << stop;
  EXPECT_EQ(vfu_irq_trigger(world.life.ctx, 0), 0) << stop;
  std::uint64_t counted = 0;
  EXPECT_EQ(::read(event, &counted, sizeof counted), 8) << stop;
  world.client.close();
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), -1);
  return is_dead;
}

TEST(CapiRecord, AnswersOnceWhereverItIsKilled) {
  const int first = ::dup(STDIN_FILENO);
  unsigned stop = 1;
  while (!HasFailure() && die_at(stop)) {
    ASSERT_LT(++stop, 1000u);
    ::close_range(static_cast<unsigned>(first) + 1, ~0u, 0);  // what the dead had
  }
  EXPECT_GT(stop, 20u);
  ::close(first);
}

TEST(CapiRecord, NumbersRequestsOverProcessesAndClients) {
  World world{};
  world.attach();
  EXPECT_EQ(world.call(10, write_of(0, 1)).error, 0u);
  const std::uint64_t first = world.device.shared->requests[0];
  ASSERT_EQ(world.die_and_restore(), 0);
  EXPECT_EQ(world.call(10, write_of(0, 1)).error, 0u);
  const std::uint64_t second = world.device.shared->requests[0];
  world.client.close();
  EXPECT_EQ(vfu_run_ctx(world.life.ctx), -1);
  EXPECT_EQ(world.die_and_restore(), ENOTCONN);
  world.attach();
  EXPECT_EQ(world.call(10, write_of(0, 1)).error, 0u);
  EXPECT_GT(first, 0u);
  EXPECT_GT(second, first);
  EXPECT_GT(world.device.shared->requests[0], second);
  EXPECT_EQ(world.device.shared->registers[0], 3u);
}

}  // namespace
}  // namespace capi_test
