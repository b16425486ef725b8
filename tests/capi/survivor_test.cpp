// SPDX-License-Identifier: BSD-3-Clause
// A program in C that is killed again and again, a parent that keeps its descriptors, and a client that counts.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "ipc/packet.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/vfio_user/client.hpp"

extern char** environ;

namespace vmux {
namespace {

using vfio_user::Client;

constexpr int kInChild = 3;  // the child's number of its end
constexpr std::size_t kFiles = 4;
constexpr std::uint64_t kMemory = 0x10000;

struct Packet {
  char what = 0;
  int number = 0;
};

/// One process after another, and what they leave.
class Parent {
 public:
  explicit Parent(std::string path) : path_(std::move(path)) { start(); }
  ~Parent() {
    end(SIGKILL);
    ::unlink(path_.c_str());
  }
  Parent(const Parent&) = delete;
  Parent& operator=(const Parent&) = delete;

  void kill_and_start() {
    end(SIGKILL);
    start();
  }
  /// Whether the process has said that what it has counts.
  [[nodiscard]] bool counts() const noexcept { return counts_; }

 private:
  using Table = std::map<int, UniqueFd>;

  void start() {
    auto pair = ipc::packet_pair();
    ASSERT_TRUE(pair);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, pair->theirs.get(), kInChild);
    std::string name = CAPI_SURVIVOR, number = std::to_string(kInChild);
    char* arguments[] = {name.data(), path_.data(), number.data(), nullptr};
    ASSERT_EQ(::posix_spawn(&child_, CAPI_SURVIVOR, &actions, nullptr, arguments, environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    own_.clear();
    counts_ = false;
    thread_ = std::thread([this, socket = std::move(pair->ours)] {
      while (serve(socket.get())) {
      }
    });
  }
  void end(int signal) {
    ::kill(child_, signal);
    ::waitpid(child_, nullptr, 0);
    thread_.join();
  }
  /// One packet; false: the process is dead.
  bool serve(int socket) {
    Packet packet;
    auto got = ipc::receive_packet(socket, std::as_writable_bytes(std::span{&packet, 1}), /*may_wait=*/true);
    if (!got || got->size == 0) return false;
    Table& table = counts_ ? counting_ : own_;
    std::array<int, kFiles> fds{};
    std::size_t count = 0;
    switch (packet.what) {
      case 'K':
        EXPECT_TRUE(table.emplace(packet.number, std::move(got->fds.at(0))).second) << packet.number;
        return true;
      case 'D':
        EXPECT_EQ(table.erase(packet.number), 1u) << packet.number;
        return true;
      case 'R':
        counting_ = std::move(own_);
        files_ = std::move(got->fds);
        counts_ = true;
        return true;
      case 'S':
        for (const UniqueFd& each : files_)
          fds[count++] = each.get();
        break;
      case 'F':
        if (const auto found = counting_.find(packet.number); found != counting_.end())
          fds[count++] = found->second.get();
        break;
      default:
        ADD_FAILURE() << packet.what;
    }
    static_cast<void>(ipc::send_packet(socket, std::as_bytes(std::span{&packet, 1}), std::span{fds}.first(count)));
    return true;
  }

  std::string path_;
  pid_t child_ = -1;
  std::thread thread_;
  Table own_, counting_;  // of the process that runs until its files count, and of the one that counts
  std::vector<UniqueFd> files_;
  std::atomic<bool> counts_{false};
};

TEST(CapiSurvivor, AnswersEachRequestOnceThoughItIsKilledTwentyTimes) {
  constexpr int kDeaths = 20;
  const std::string path = "/tmp/capi_survivor." + std::to_string(::getpid());
  Parent parent{path};
  while (!parent.counts())
    std::this_thread::yield();
  auto made = Client::connect(path, {.minor = 1, .twin_socket = true});
  ASSERT_TRUE(made) << made.error().text();
  Client& client = **made;
  const auto memory = make_memfd("memory", 4096);
  const auto event = make_eventfd();
  ASSERT_TRUE(memory && event);
  const int fd = event->get();
  ASSERT_TRUE(client.dma_map(Iova{kMemory}, ByteCount{4096}, memory::Access::read_write, memory->get(), 0));
  ASSERT_TRUE(client.set_irqs(pci::Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {&fd, 1}));

  std::atomic<int> deaths{0};
  std::thread killer([&] {
    std::mt19937 random{20};
    for (int i = 0; i < kDeaths; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds{500 + random() % 20'000});
      parent.kill_and_start();
      ++deaths;
    }
  });
  std::array<std::uint64_t, 4> sums{};
  std::uint64_t round = 0;
  for (; deaths < kDeaths || round % 8 != 0; ++round) {
    const std::size_t index = round % sums.size();
    const std::uint64_t value = 1 + round;
    sums[index] += value;
    std::uint64_t got = 0;
    ASSERT_TRUE(client.write(pci::Region::bar0, RegionOffset{static_cast<std::uint32_t>(index * 8)},
                             std::as_bytes(std::span{&value, 1})));
    ASSERT_TRUE(client.read(pci::Region::bar0, RegionOffset{static_cast<std::uint32_t>(index * 8)},
                            std::as_writable_bytes(std::span{&got, 1})));
    ASSERT_EQ(got, sums[index]) << round << ", after " << deaths;
    if (index != 0) continue;
    ASSERT_EQ(::pread(memory->get(), &got, sizeof got, 0), ssize_t{sizeof got});
    ASSERT_EQ(got, sums[0]);
    pollfd heard{fd, POLLIN, 0};
    ASSERT_EQ(::poll(&heard, 1, 60'000), 1);
    drain_eventfd(fd);
  }
  killer.join();
}

}  // namespace
}  // namespace vmux
