// SPDX-License-Identifier: BSD-3-Clause
// The life of a context: its socket, the version, turns, and how clients go.
#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "capi/test/rig.hpp"
#include "vfio-user/vmux-extensions.h"

namespace capi_test {
namespace {

bool is_readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 0) == 1 && (one.revents & POLLIN) != 0;
}

/// What of its program a library could change without being asked.
struct Program {
  std::size_t threads = 0;
  sigset_t blocked{};
  std::vector<void (*)(int)> handlers;
  mode_t mask = ::umask(0);
  std::string locale = std::setlocale(LC_ALL, nullptr);
  Program() {
    ::umask(mask);
    for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator{"/proc/self/task"})
      ++threads;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    for (int signal = 1; signal < NSIG; ++signal) {
      struct sigaction action {};
      ::sigaction(signal, nullptr, &action);
      handlers.push_back(action.sa_handler);
    }
  }
  [[nodiscard]] bool is_as(const Program& before) const {
    return threads == before.threads && std::memcmp(&blocked, &before.blocked, sizeof blocked) == 0 &&
           handlers == before.handlers && mask == before.mask && locale == before.locale;
  }
};

TEST(CapiContext, LeavesItsProgramAsItWas) {
  const Program before;
  const int file = memory_file(0x1000);
  {
    Device one;
    one.with_bar0().attach();
    EXPECT_TRUE(Program{}.is_as(before));
    EXPECT_EQ(one.map(0x10000, 0x1000, file), 0u);
    EXPECT_EQ(one.read(0, 0, 4).error, 0u);
    EXPECT_TRUE(Program{}.is_as(before));
  }
  EXPECT_TRUE(Program{}.is_as(before));
  Device asks;
  EXPECT_EQ(vmux_guard_memory(asks.ctx), 0);
  asks.attach();
  EXPECT_EQ(asks.map(0x10000, 0x1000, file), 0u);
  EXPECT_FALSE(Program{}.is_as(before));  // the handler of SIGBUS that it has asked for
  ::close(file);
}

TEST(CapiContext, RefusesWhatItDoesNotHave) {
  EXPECT_EQ(vfu_create_ctx(VFU_TRANS_SOCK, "/tmp/x", 2, nullptr, VFU_DEV_TYPE_PCI), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(vfu_create_ctx(VFU_TRANS_MAX, "/tmp/x", 0, nullptr, VFU_DEV_TYPE_PCI), nullptr);
  EXPECT_EQ(errno, ENOTSUP);
  EXPECT_EQ(vfu_create_ctx(VFU_TRANS_SOCK, "/tmp/x", 0, nullptr, static_cast<vfu_dev_type_t>(1)), nullptr);
  EXPECT_EQ(errno, ENOTSUP);
  EXPECT_EQ(vfu_create_ctx(VFU_TRANS_SOCK, std::string(108, 'x').c_str(), 0, nullptr, VFU_DEV_TYPE_PCI), nullptr);
  EXPECT_EQ(errno, ENAMETOOLONG);
}

TEST(CapiContext, HasItsPathForItselfAndTakesItAwayAtTheEnd) {
  std::string path;
  {
    Device one;
    path = one.path;
    EXPECT_EQ(vfu_create_ctx(VFU_TRANS_SOCK, path.c_str(), 0, nullptr, VFU_DEV_TYPE_PCI), nullptr);
    EXPECT_EQ(errno, EADDRINUSE);
    EXPECT_EQ(::access(path.c_str(), F_OK), 0);
    EXPECT_EQ(vfu_get_private(one.ctx), &one.device);
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(CapiContext, RunsOnlyWhenRealizedAndAttached) {
  Device one;
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(vfu_realize_ctx(one.ctx), 0);
  EXPECT_EQ(vfu_realize_ctx(one.ctx), 0);
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST(CapiContext, AttachesWithoutWaitingForTheClientsVersion) {
  Device one;
  ASSERT_EQ(vfu_realize_ctx(one.ctx), 0);
  EXPECT_EQ(vfu_attach_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_FALSE(is_readable(vfu_get_poll_fd(one.ctx)));
  ASSERT_TRUE(one.client.connect(one.path));
  EXPECT_TRUE(is_readable(vfu_get_poll_fd(one.ctx)));
  EXPECT_EQ(vfu_attach_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EAGAIN);  // it is there, and has said nothing
  EXPECT_FALSE(is_readable(vfu_get_poll_fd(one.ctx)));
  one.client.send(1, version());
  EXPECT_TRUE(is_readable(vfu_get_poll_fd(one.ctx)));
  EXPECT_EQ(vfu_attach_ctx(one.ctx), 0);
  EXPECT_EQ(vfu_attach_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(CapiContext, TakesTheNextClientWhenOneGoesWithoutAWord) {
  Device one;
  ASSERT_EQ(vfu_realize_ctx(one.ctx), 0);
  for (int i = 0; i < 3; ++i) {
    Peer silent;
    ASSERT_TRUE(silent.connect(one.path));
    EXPECT_EQ(vfu_attach_ctx(one.ctx), -1);
    EXPECT_EQ(errno, EAGAIN);
  }
  one.attach();
}

TEST(CapiContext, TellsWhatItOffers) {
  Device one;
  one.with_migration().attach(R"({"capabilities":{"write_multiple":true}})");
  EXPECT_EQ(number(one.greeting.payload, 0, 4), 0x10000u);  // 0.1, as the client
  EXPECT_STREQ(one.greeting.payload.data() + 4,
               R"({"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576,"migration":{"pgsize":4096},)"
               R"("write_multiple":true}})");
}

class CapiVersion : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Each, CapiVersion,
                         testing::Values(std::string{}, Bytes{}.u16(1).u16(0).str(),
                                         Bytes{}.u16(0).u16(0).text("{}").str(), version("{"), version("[1]"),
                                         version(R"({"capabilities":7})"),
                                         version(R"({"capabilities":{"max_msg_fds":"x"}})"),
                                         version(R"({"capabilities":{"max_msg_fds":1025}})"),
                                         version(R"({"capabilities":{"migration":"x"}})"),
                                         version(R"({"capabilities":{"migration":{"pgsize":4095}}})")));
TEST_P(CapiVersion, IsRefusedWithAReplyAndTheNextClientIsServed) {
  Device one;
  ASSERT_EQ(vfu_realize_ctx(one.ctx), 0);
  ASSERT_TRUE(one.client.connect(one.path));
  one.client.send(1, GetParam());
  EXPECT_EQ(vfu_attach_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(one.client.receive().error, static_cast<unsigned>(EINVAL));
  EXPECT_TRUE(one.client.receive().is_end);
  one.client.close();
  one.attach();
}

TEST(CapiContext, ServesOneRequestAndLeavesTheNextInTheSocket) {
  Device one;
  one.with_bar0().attach();
  const std::string access = Bytes{}.u64(8).u32(0).u32(4);
  one.client.send(9, access);
  one.client.send(9, access);
  EXPECT_EQ(vfu_run_ctx(one.ctx), 1);
  EXPECT_TRUE(is_readable(vfu_get_poll_fd(one.ctx)));
  EXPECT_EQ(vfu_run_ctx(one.ctx), 1);
  EXPECT_FALSE(is_readable(vfu_get_poll_fd(one.ctx)));
  EXPECT_EQ(vfu_run_ctx(one.ctx), 0);
}

TEST(CapiContext, IsPolledAtTheSocketSoThatProgramsFindItsPeer) {
  Device one;
  one.attach();
  ucred peer{};
  socklen_t size = sizeof peer;
  ASSERT_EQ(::getsockopt(vfu_get_poll_fd(one.ctx), SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
  EXPECT_EQ(peer.pid, ::getpid());
}

TEST(CapiContext, IsReadableForWhatCameBehindARequestThatWaits) {
  Device one;
  one.with_bar0().with_quiesce().attach();
  one.device.quiesce_errno = EBUSY;
  one.client.send(13, "");
  one.client.send(10, Bytes{}.u64(8).u32(0).u32(4).text("abcd"));
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
  EXPECT_EQ(one.client.receive().command, 13u);
  EXPECT_TRUE(is_readable(vfu_get_poll_fd(one.ctx)));
  EXPECT_EQ(vfu_run_ctx(one.ctx), 1);
  EXPECT_EQ(one.client.receive().command, 10u);
}

TEST(CapiContext, ServesAShortRequestThatCameWithTheOneThatWaits) {
  Device one;
  one.with_quiesce().attach();
  one.device.quiesce_errno = EBUSY;
  one.client.raw(Bytes{}.u16(1).u16(13).u32(16).u32(0).u32(0).u16(2).u16(13).u32(16).u32(0).u32(0));
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_FALSE(is_readable(vfu_get_poll_fd(one.ctx)));
  one.device.quiesce_errno = 0;
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
  EXPECT_EQ(one.client.receive().id, 1u);
  EXPECT_EQ(one.client.receive().id, 2u);
  EXPECT_EQ(one.device.calls, (std::vector<std::string>{"quiesce", "reset 0", "quiesce", "reset 0"}));
}

TEST(CapiContext, AnswersInTheOrderOfBytesHoweverTheyArrive) {
  Device one;
  one.with_bar0().attach();
  const std::string request = Bytes{}.u16(9).u16(9).u32(32).u32(0).u32(0).u64(4).u32(0).u32(2).str();
  for (const char byte : request.substr(0, request.size() - 1)) {
    one.client.raw(std::string(1, byte));
    EXPECT_EQ(vfu_run_ctx(one.ctx), 0);
  }
  one.client.raw(request.substr(request.size() - 1));
  EXPECT_EQ(vfu_run_ctx(one.ctx), 1);
  EXPECT_EQ(one.client.receive().payload.size(), 18u);
}

TEST(CapiContext, SaysNothingToWhoWantsNoReply) {
  Device one;
  one.with_bar0().attach();
  one.client.send(9, Bytes{}.u64(0).u32(0).u32(4), {}, 0x10);
  one.client.send(9, Bytes{}.u64(0).u32(99).u32(4), {}, 0x10);
  EXPECT_EQ(vfu_run_ctx(one.ctx), 1);
  EXPECT_EQ(vfu_run_ctx(one.ctx), 1);
  EXPECT_FALSE(one.client.has_input());
}

TEST(CapiContext, RefusesUnknownCommandsRepliesAndEmptyOnes) {
  Device one;
  one.attach();
  EXPECT_EQ(one.error_of(19, "x"), static_cast<unsigned>(EINVAL));
  EXPECT_EQ(one.error_of(4, ""), static_cast<unsigned>(EINVAL));
  one.client.send(4, Bytes{}.u32(16).u32(0).u32(0).u32(0), {}, 1);
  EXPECT_EQ(vfu_run_ctx(one.ctx), 0);
  EXPECT_EQ(one.client.receive().error, static_cast<unsigned>(EINVAL));
}

TEST(CapiContext, EndsAStreamThatMakesNoSense) {
  for (const unsigned size : {15u, (1u << 20) + 33u}) {
    Device one;
    one.attach();
    one.client.raw(Bytes{}.u16(5).u16(4).u32(size).u32(0).u32(0));
    EXPECT_EQ(vfu_run_ctx(one.ctx), 0);
    EXPECT_EQ(one.client.receive().error, static_cast<unsigned>(EINVAL));
    EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
    EXPECT_EQ(errno, ENOTCONN);
    EXPECT_TRUE(one.client.receive().is_end);
  }
}

TEST(CapiContext, ForgetsAClientThatGoes) {
  Device one;
  one.with_quiesce().with_migration().attach();
  ASSERT_EQ(one.map(0x1000, 0x1000, -1), 0u);
  ASSERT_EQ(one.error_of(16, Bytes{}.u32(16).u32(1u << 17 | 2).u32(1).u32(0)), 0u);  // stopped
  one.device.calls.clear();
  one.client.close();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, ENOTCONN);
  EXPECT_EQ(one.device.calls, (std::vector<std::string>{"quiesce", "unregister 4096", "reset 1"}));
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, ENOTCONN);
  one.attach();
  EXPECT_EQ(one.map(0x1000, 0x1000, -1), 0u);  // it runs again, for the next one
}

TEST(CapiContext, LogsWhatItsLevelLetsThrough) {
  Device one;
  static std::vector<std::string> lines;
  lines.clear();
  EXPECT_EQ(vfu_setup_log(one.ctx, nullptr, 8), -1);
  EXPECT_EQ(errno, EINVAL);
  vfu_log(one.ctx, LOG_ERR, "nobody");
  ASSERT_EQ(vfu_setup_log(
                one.ctx, [](vfu_ctx_t*, int, const char* text) { lines.emplace_back(text); }, LOG_INFO),
            0);
  errno = ENOENT;
  vfu_log(one.ctx, LOG_INFO, "%d %m", 5);
  vfu_log(one.ctx, LOG_DEBUG, "too fine");
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(lines, std::vector<std::string>{"5 No such file or directory"});
}

TEST(CapiContext, WaitsForClientsAndRequestsIfToldTo) {
  Device one{0};
  one.with_bar0();
  ASSERT_EQ(vfu_realize_ctx(one.ctx), 0);
  std::thread server{[&] {
    EXPECT_EQ(vfu_attach_ctx(one.ctx), 0);
    EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
    EXPECT_EQ(errno, ENOTCONN);
  }};
  ASSERT_TRUE(one.client.connect(one.path));
  one.client.send(1, version());
  EXPECT_EQ(one.client.receive().error, 0u);
  one.client.send(9, Bytes{}.u64(0).u32(0).u32(4));
  EXPECT_EQ(one.client.receive().payload.size(), 20u);
  one.client.close();
  server.join();
}

// In a process of its own: its standard input and output are what the client has.
TEST(CapiContext, ServesPipes) {
  int to[2], from[2];
  ASSERT_EQ(::pipe(to), 0);
  ASSERT_EQ(::pipe(from), 0);
  std::fflush(nullptr);  // what is buffered is not the child's to print
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(to[0], STDIN_FILENO);
    ::dup2(from[1], STDOUT_FILENO);
    for (const int fd : {to[0], to[1], from[0], from[1]})
      ::close(fd);
    Seen device;
    vfu_ctx_t* const ctx = vfu_create_ctx(VFU_TRANS_PIPE, "", 0, &device, VFU_DEV_TYPE_PCI);
    vfu_setup_region(ctx, 0, 4096, on_access, VFU_REGION_FLAG_RW, nullptr, 0, -1, 0);
    vfu_realize_ctx(ctx);
    const bool is_good = vfu_attach_ctx(ctx) == 0 && vfu_run_ctx(ctx) == -1 && errno == ENOTCONN;
    ::_exit(is_good ? 0 : 1);
  }
  ::close(to[0]);
  ::close(from[1]);
  const auto ask = [&](unsigned command, const std::string& payload) {
    const std::string all = Bytes{}.u16(3).u16(command).u32(16 + payload.size()).u32(0).u32(0).text(payload);
    EXPECT_EQ(::write(to[1], all.data(), all.size()), static_cast<ssize_t>(all.size()));
    std::string reply(4096, '\0');
    reply.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(from[0], reply.data(), reply.size()), 0)));
    return reply;
  };
  EXPECT_EQ(number(ask(1, version()), 8, 8), 1u);  // a reply, and no error
  EXPECT_EQ(ask(10, Bytes{}.u64(4).u32(0).u32(2).text("ab")).size(), 32u);
  EXPECT_EQ(ask(9, Bytes{}.u64(4).u32(0).u32(2)).substr(32), "ab");
  ::close(to[1]);
  ::close(from[0]);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace capi_test
