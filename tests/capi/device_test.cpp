// SPDX-License-Identifier: BSD-3-Clause
// A program in C with the shared library, in a process of its own, and this project's client.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <thread>

#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/vfio_user/client.hpp"

extern char** environ;

namespace vmux {
namespace {

using vfio_user::Client;

constexpr std::uint64_t kMemory = 0x10000;

struct Engine {
  std::uint64_t source, target;
  std::uint32_t length, go, status, padding;
};

/// A program that serves at a path of its own.
class Program {
 public:
  explicit Program(const char* file) : path("/tmp/capi_device." + std::to_string(::getpid())) {
    std::string name = file;
    char* arguments[] = {name.data(), path.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&child_, file, nullptr, nullptr, arguments, environ), 0);
    while (::access(path.c_str(), F_OK) != 0 && ::waitpid(child_, nullptr, WNOHANG) == 0)
      std::this_thread::yield();
  }
  ~Program() {
    if (child_ > 0) terminate();
    ::unlink(path.c_str());
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  /// Its status as of waitpid().
  int terminate() {
    ::kill(child_, SIGTERM);
    int status = -1;
    EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    child_ = -1;
    return status;
  }
  /// Its path is there a moment before it listens.
  Result<std::unique_ptr<Client>> connect(const vfio_user::ClientOptions& options = {}) const {
    for (;;) {
      auto made = Client::connect(path, options);
      if (made || made.error().sys != ECONNREFUSED) return made;
      std::this_thread::yield();
    }
  }
  std::string path;

 private:
  pid_t child_ = -1;
};

class CapiDevice : public testing::Test {
 protected:
  ~CapiDevice() override {
    EXPECT_EQ(program.terminate(), 0);
    EXPECT_NE(::access(program.path.c_str(), F_OK), 0);
  }
  std::unique_ptr<Client> attach() {
    auto made = program.connect({.minor = 1, .twin_socket = true});
    EXPECT_TRUE(made) << made.error().text();
    return made ? std::move(*made) : nullptr;
  }
  /// Has the engine copy; its status.
  static std::uint32_t copy(Client& client, std::uint64_t from, std::uint64_t to, std::uint32_t length) {
    Engine engine{from, to, length, 1, 0, 0};
    const auto bytes = std::as_writable_bytes(std::span{&engine, 1});
    EXPECT_TRUE(client.write(pci::Region::bar0, RegionOffset{0}, bytes.first(20)));
    EXPECT_TRUE(client.write(pci::Region::bar0, RegionOffset{20}, bytes.subspan(20, 4)));
    EXPECT_TRUE(client.read(pci::Region::bar0, RegionOffset{0}, bytes));
    return engine.status;
  }
  Program program{CAPI_DEVICE};
};

TEST_F(CapiDevice, CopiesMemoryOfADescriptorAndInterrupts) {
  const auto client = attach();
  ASSERT_NE(client, nullptr);
  const auto memory = make_memfd("memory", 0x2000);
  ASSERT_TRUE(memory);
  ASSERT_EQ(::pwrite(memory->get(), "hello", 5, 0x10), 5);
  ASSERT_TRUE(client->dma_map(Iova{kMemory}, ByteCount{0x2000}, memory::Access::read_write, memory->get(), 0));
  const auto event = make_eventfd();
  ASSERT_TRUE(event);
  const int fd = event->get();
  ASSERT_TRUE(client->set_irqs(pci::Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {&fd, 1}));
  EXPECT_EQ(copy(*client, kMemory + 0x10, kMemory + 0x1000, 5), 0u);
  char got[6]{};
  EXPECT_EQ(::pread(memory->get(), got, 5, 0x1000), 5);
  EXPECT_STREQ(got, "hello");
  EXPECT_EQ(drain_eventfd(fd), 1u);
  EXPECT_EQ(copy(*client, kMemory + 0x4000, kMemory, 5), static_cast<std::uint32_t>(ENOENT));
}

TEST_F(CapiDevice, HasMasksAndPendingBitsOfMsixInItsBar) {
  const auto client = attach();
  ASSERT_NE(client, nullptr);
  const auto event = make_eventfd();
  ASSERT_TRUE(event);
  const int fd = event->get();
  ASSERT_TRUE(client->set_irqs(pci::Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {&fd, 1}));
  const auto mask = [&](std::uint32_t bits) {
    return client->write(pci::Region::bar0, RegionOffset{0x80c}, std::as_bytes(std::span{&bits, 1})).has_value();
  };
  const auto pending = [&] {
    std::uint64_t bits = 0;
    EXPECT_TRUE(client->read(pci::Region::bar0, RegionOffset{0xc00}, std::as_writable_bytes(std::span{&bits, 1})));
    return bits;
  };
  EXPECT_TRUE(mask(1));
  EXPECT_EQ(copy(*client, 0, 0, 5), static_cast<std::uint32_t>(ENOENT));
  EXPECT_EQ(drain_eventfd(fd), 0u);
  EXPECT_EQ(pending(), 1u);
  EXPECT_TRUE(mask(0));
  EXPECT_EQ(drain_eventfd(fd), 1u);
  EXPECT_EQ(pending(), 0u);
}

TEST_F(CapiDevice, HearsADoorbellInAPageThatItsClientMaps) {
  const auto client = attach();
  ASSERT_NE(client, nullptr);
  const auto event = make_eventfd();
  ASSERT_TRUE(event);
  const int fd = event->get();
  ASSERT_TRUE(client->set_irqs(pci::Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {&fd, 1}));
  const auto region = client->region_info(static_cast<std::uint32_t>(pci::Region::bar4));
  ASSERT_TRUE(region);
  ASSERT_TRUE(region->mappable);
  const auto page = Mapping::create(region->fd.get(), region->fd_offset, 4096, /*writable=*/true);
  ASSERT_TRUE(page);
  for (std::uint32_t value = 1; value <= 3; ++value) {
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(page->data()), value, __ATOMIC_RELEASE);
    pollfd heard{fd, POLLIN, 0};
    ASSERT_EQ(::poll(&heard, 1, 60'000), 1);
    EXPECT_EQ(drain_eventfd(fd), 1u);
  }
}

struct Memory final : vfio_user::DmaTarget {
  bool read(Iova from, std::span<std::byte> into) noexcept override {
    std::memcpy(into.data(), bytes.data() + (from.raw - kMemory), into.size());
    return true;
  }
  bool write(Iova to, std::span<const std::byte> from) noexcept override {
    std::memcpy(bytes.data() + (to.raw - kMemory), from.data(), from.size());
    return true;
  }
  std::array<char, 0x2000> bytes{};
};

TEST_F(CapiDevice, CopiesMemoryThatItHasToAskFor) {
  const auto client = attach();
  ASSERT_NE(client, nullptr);
  Memory memory;
  std::memcpy(memory.bytes.data(), "world", 5);
  client->set_dma_target(&memory);
  ASSERT_TRUE(client->dma_map(Iova{kMemory}, ByteCount{0x2000}, memory::Access::read_write, -1, 0));
  EXPECT_EQ(copy(*client, kMemory, kMemory + 0x1800, 5), 0u);
  EXPECT_STREQ(memory.bytes.data() + 0x1800, "world");
}

TEST_F(CapiDevice, ServesOneClientAfterAnother) {
  for (int round = 0; round < 3; ++round) {
    const auto client = attach();
    ASSERT_NE(client, nullptr);
    std::byte lines[1];
    std::string seen;
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(client->read(pci::Region::bar2, RegionOffset{1}, lines));
      seen += lines[0] == std::byte{0} ? '0' : '1';
    }
    EXPECT_EQ(seen, "000111");  // reset when the last one went
  }
}

TEST(CapiDocs, HaveAProgramThatServesOneClientAfterAnother) {
  Program program{CAPI_SHORTEST};
  for (const std::uint32_t value : {0x1234'5678u, 0x9abc'def0u}) {
    const auto client = program.connect();
    ASSERT_TRUE(client) << client.error().text();
    std::uint32_t copy = 0;
    EXPECT_TRUE((*client)->write(pci::Region::bar0, RegionOffset{0}, std::as_bytes(std::span{&value, 1})));
    EXPECT_TRUE((*client)->read(pci::Region::bar0, RegionOffset{0}, std::as_writable_bytes(std::span{&copy, 1})));
    EXPECT_EQ(copy, value);
    const auto beyond =
        (*client)->read(pci::Region::bar0, RegionOffset{2}, std::as_writable_bytes(std::span{&copy, 1}));
    EXPECT_FALSE(beyond);
  }
  EXPECT_TRUE(WIFSIGNALED(program.terminate()));
}

// It is a guest in its program: a program in C gets no second C++ run-time library from it, and no names but the
// interface's.
TEST(CapiLibrary, ShowsItsFunctionsAndNothingElse) {
  void* const library = ::dlopen(CAPI_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  EXPECT_NE(::dlsym(library, "vfu_create_ctx"), nullptr);
  EXPECT_NE(::dlvsym(library, "dma_sg_size", "LIBVFIO_USER_0"), nullptr);
  EXPECT_NE(::dlvsym(library, "vmux_watch", "VMUX_1"), nullptr);
  Dl_info where{};
  void* const other = ::dlsym(library, "_Znwm");  // operator new
  const bool is_ours = other != nullptr && ::dladdr(other, &where) != 0 && std::strstr(where.dli_fname, "libvfio-user");
  EXPECT_FALSE(is_ours);
  ::dlclose(library);
}

}  // namespace
}  // namespace vmux
