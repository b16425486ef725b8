// SPDX-License-Identifier: BSD-3-Clause
// Guest memory by message that nobody waits for. Client and device are one thread where nothing else is said: whatever
// waited for the other would wait for ever.
#include <poll.h>

#include <string>
#include <thread>

#include "capi/test/rig.hpp"
#include "vfio-user/vmux-extensions.h"

namespace capi_test {
namespace {

constexpr const char* kTwin =
    R"({"capabilities":{"max_msg_fds":8,"max_data_xfer_size":4096,"twin_socket":{"supported":true}}})";
constexpr const char* kSmall = R"({"capabilities":{"max_data_xfer_size":4096}})";
constexpr unsigned kDmaRead = 11, kDmaWrite = 12, kReply = 1, kError = 0x20;
constexpr int kBoth = PROT_READ | PROT_WRITE;

std::vector<std::string> g_ended;  // what was called back, in order
void on_done(vfu_ctx_t* /*ctx*/, void* arg, int error) {
  g_ended.push_back(std::string{static_cast<const char*>(arg)} + " " + std::to_string(error));
}
char* name(const char* text) { return const_cast<char*>(text); }

class CapiAsync : public testing::Test {
 public:  // callbacks are no members
  CapiAsync() {
    g_ended.clear();
    ready = vmux_setup_async_dma(one.ctx);
    EXPECT_GE(ready, 0);
    one.with_quiesce();
  }
  void attach(const char* json) {
    one.attach(json);
    if (!one.greeting.fds.empty()) twin = Peer{one.greeting.fds[0]};
    EXPECT_EQ(one.map(0x10000, 0x4000, -1), 0u);
  }
  /// The pieces of [start, start + length).
  std::string pieces(std::uint64_t start, std::size_t length, int prot = kBoth) {
    std::string bytes(40 * 4, '\0');
    count = vfu_addr_to_sgl(one.ctx, dma_address(start), length, reinterpret_cast<dma_sg_t*>(bytes.data()), 4, prot);
    EXPECT_GT(count, 0);
    return bytes;
  }
  int read(std::uint64_t start, std::string& into, const char* called = "read") {
    std::string sg = pieces(start, into.size());
    return vmux_sgl_read_async(one.ctx, reinterpret_cast<dma_sg_t*>(sg.data()), static_cast<std::size_t>(count),
                               into.data(), on_done, name(called));
  }
  int write(std::uint64_t start, const std::string& from, const char* called = "write") {
    std::string sg = pieces(start, from.size());
    return vmux_sgl_write_async(one.ctx, reinterpret_cast<dma_sg_t*>(sg.data()), static_cast<std::size_t>(count),
                                from.data(), on_done, name(called));
  }
  [[nodiscard]] Peer& asked() { return twin.fd() >= 0 ? twin : one.client; }
  /// The client answers one question, of its memory.
  void answer(unsigned error = 0) { answer_to(asked().receive(), error); }
  void answer_to(const Received& question, unsigned error = 0) {
    const std::uint64_t at = number(question.payload, 0, 8) - 0x10000, size = number(question.payload, 8, 8);
    std::string reply = question.payload.substr(0, 16);
    if (question.command == kDmaRead) {
      reply += memory.substr(at, size);
    } else {
      EXPECT_EQ(question.command, kDmaWrite);
      memory.replace(at, size, question.payload.substr(16));
    }
    asked().raw(Bytes{}
                    .u16(question.id)
                    .u16(question.command)
                    .u32(16 + (error == 0 ? reply.size() : 0))
                    .u32(kReply | (error == 0 ? 0 : kError))
                    .u32(error)
                    .text(error == 0 ? reply : ""));
  }
  [[nodiscard]] bool is_ready() const {
    pollfd both[] = {{ready, POLLIN, 0}, {vfu_get_poll_fd(one.ctx), POLLIN, 0}};
    return ::poll(both, 2, 0) > 0;
  }
  /// Serves until there is nothing to do, as a program does that waits by poll().
  void serve() {
    while (is_ready())
      ASSERT_GE(vfu_run_ctx(one.ctx), 0) << std::strerror(errno);
  }
  /// The client is asked for memory, and sends what the device is to quiesce for, which takes its time.
  void begin_to_quiesce() {
    EXPECT_EQ(read(0x10000, asked_for), 0);
    serve();
    one.device.quiesce_errno = EBUSY;
    one.client.send(2, Bytes{}.u32(32).u32(3).u64(0).u64(0x80000).u64(0x1000));
  }
  using Calls = std::vector<std::string>;

  Device one;
  Peer twin;
  std::string memory = std::string(0x4000, '.'), asked_for = std::string(16, '\0');
  int ready = -1, count = 0;
};

class CapiAsyncOnEither : public CapiAsync, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { attach(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Sockets, CapiAsyncOnEither, testing::Values(kTwin, kSmall),
                         [](const auto& sockets) { return sockets.param == kTwin ? "twin" : "one"; });

TEST_P(CapiAsyncOnEither, TransfersEndInTheirOrderInsideVfuRunCtx) {
  std::string back(6000, '\0');
  const std::string text(5000, 'x');
  EXPECT_EQ(write(0x10010, text), 0);
  EXPECT_EQ(read(0x10000, back), 0);
  EXPECT_TRUE(g_ended.empty());
  serve();
  for (int i = 0; i < 4; ++i) {  // 4096 bytes at a time
    EXPECT_EQ(g_ended.size(), i < 2 ? 0u : 1u) << i;
    answer();
    serve();
  }
  EXPECT_EQ(g_ended, (Calls{"write 0", "read 0"}));
  EXPECT_EQ(back, std::string(16, '.') + text + std::string(984, '.'));
  EXPECT_FALSE(is_ready());
}

TEST_P(CapiAsyncOnEither, RequestsOfTheClientGoOnMeanwhile) {
  std::string back(16, '\0');
  EXPECT_EQ(read(0x10000, back), 0);
  serve();
  const Received question = asked().receive();
  EXPECT_EQ(one.map(0x80000, 0x1000, -1), 0u);  // served although our question is open
  one.client.send(4, Bytes{}.u32(16).u32(0).u32(0).u32(0));
  answer_to(question);  // crosses it
  serve();
  const Received info = one.client.receive();
  EXPECT_EQ(info.command, 4u);
  EXPECT_EQ(info.error, 0u);
  EXPECT_EQ(g_ended, Calls{"read 0"});
}

TEST_P(CapiAsyncOnEither, ADeviceThatQuiescesGetsItsAnswers) {
  begin_to_quiesce();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EBUSY);
  one.client.send(4, Bytes{}.u32(16).u32(0).u32(0).u32(0), {}, 0, 99);  // waits for the first
  answer();
  EXPECT_TRUE(is_ready());
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(g_ended, Calls{"read 0"});
  EXPECT_FALSE(one.client.has_input());
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
  serve();
  EXPECT_EQ(one.client.receive().command, 2u);
  EXPECT_EQ(one.client.receive().id, 99u);
}

TEST_P(CapiAsyncOnEither, TheClientsErrnoIsTold) {
  std::string back(16, '\0');
  EXPECT_EQ(read(0x10000, back, "refused"), 0);
  EXPECT_EQ(read(0x10000, back, "next"), 0);
  serve();
  answer(EXDEV);
  serve();
  answer();
  serve();
  EXPECT_EQ(g_ended, (Calls{"refused " + std::to_string(EXDEV), "next 0"}));
}

TEST_P(CapiAsyncOnEither, TheyEndWithTheirClientBeforeTheDeviceQuiesces) {
  std::string back(16, '\0');
  EXPECT_EQ(read(0x10000, back, "sent"), 0);
  serve();
  EXPECT_EQ(read(0x10000, back, "not sent"), 0);
  one.client.close();
  one.device.quiesce_errno = EBUSY;
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EBUSY);
  const std::string gone = " " + std::to_string(ENOTCONN);
  EXPECT_EQ(g_ended, (Calls{"sent" + gone, "not sent" + gone}));
  EXPECT_EQ(read(0x10000, back), -1);
  EXPECT_EQ(errno, ENOTCONN);
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
  EXPECT_EQ(g_ended.size(), 2u);
}

TEST_P(CapiAsyncOnEither, ACallbackMayAskAgain) {
  struct Again {
    CapiAsyncOnEither* test;
    int left;
    std::string bytes;
    static void on_end(vfu_ctx_t* ctx, void* arg, int error) {
      auto& self = *static_cast<Again*>(arg);
      EXPECT_EQ(error, 0);
      if (--self.left == 0) return;
      std::string sg = self.test->pieces(0x10000, self.bytes.size());
      EXPECT_EQ(vmux_sgl_read_async(ctx, reinterpret_cast<dma_sg_t*>(sg.data()), 1, self.bytes.data(), on_end, arg), 0);
    }
  } again{this, 3, std::string(8, '\0')};
  std::string sg = pieces(0x10000, 8);
  ASSERT_EQ(vmux_sgl_read_async(one.ctx, reinterpret_cast<dma_sg_t*>(sg.data()), 1, again.bytes.data(), Again::on_end,
                                &again),
            0);
  for (int i = 0; i < 3; ++i) {
    serve();
    answer();
  }
  serve();
  EXPECT_EQ(again.left, 0);
  EXPECT_FALSE(is_ready());
}

// A megabyte does not fit into a socket that nobody reads from.
TEST_F(CapiAsync, AClientThatIsSlowIsNotWaitedFor) {
  for (const bool has_twin : {true, false}) {
    SCOPED_TRACE(has_twin);
    Device slow;
    const int more = vmux_setup_async_dma(slow.ctx);
    slow.attach(
        has_twin ? R"({"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576,"twin_socket":{"supported":true}}})"
                 : R"({"capabilities":{"max_data_xfer_size":1048576}})");
    const Peer second{has_twin ? slow.greeting.fds.at(0) : -1};
    const Peer& from = has_twin ? second : slow.client;
    ASSERT_EQ(slow.map(0x10000, 1 << 20, -1), 0u);
    const std::string text(1 << 20, 'x');
    std::string sg(40, '\0');
    auto* const piece = reinterpret_cast<dma_sg_t*>(sg.data());
    ASSERT_EQ(vfu_addr_to_sgl(slow.ctx, dma_address(0x10000), text.size(), piece, 1, kBoth), 1);
    ASSERT_EQ(vmux_sgl_write_async(slow.ctx, piece, 1, text.data(), on_done, name("write")), 0);
    EXPECT_EQ(vfu_run_ctx(slow.ctx), 0);
    pollfd has_room{more, POLLIN, 0};
    EXPECT_EQ(::poll(&has_room, 1, 0), 0);
    std::thread device{[&] {
      while (g_ended.empty()) {
        pollfd both[] = {{more, POLLIN, 0}, {vfu_get_poll_fd(slow.ctx), POLLIN, 0}};
        EXPECT_GT(::poll(both, 2, -1), 0);
        EXPECT_GE(vfu_run_ctx(slow.ctx), 0);
      }
    }};
    const Received asked = from.receive();
    EXPECT_EQ(asked.payload.size(), 16 + text.size());
    from.raw(Bytes{}.u16(asked.id).u16(asked.command).u32(32).u32(kReply).u32(0).text(asked.payload.substr(0, 16)));
    device.join();
    EXPECT_EQ(g_ended, Calls{"write 0"});
    g_ended.clear();
  }
}

// Requests are kept while the device quiesces, and not without end: a client that sends on is let go.
TEST_F(CapiAsync, AClientThatSendsWithoutEndDoesNotKeepADeviceFromQuiescing) {
  attach(kSmall);
  begin_to_quiesce();
  int calls = 0;
  for (; g_ended.empty() && calls < 100; ++calls) {
    for (int i = 0; i < 64; ++i)
      one.client.send(4, Bytes{}.u32(16).u32(0).u32(0).u32(0));
    EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
    EXPECT_EQ(errno, EBUSY);
  }
  EXPECT_GE(calls, 1024 / 64);
  EXPECT_EQ(g_ended, Calls{"read " + std::to_string(ENOTCONN)});
  EXPECT_EQ(vfu_device_quiesced(one.ctx, 0), 0);
}

// The second socket stays open, and nobody answers there.
TEST_F(CapiAsync, AClientThatGoesWhileTheDeviceQuiescesIsFoundGone) {
  attach(kTwin);
  begin_to_quiesce();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  one.client.close();
  EXPECT_TRUE(is_ready());
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(g_ended, Calls{"read " + std::to_string(ENOTCONN)});
}

TEST_F(CapiAsync, WhatIsMappedIsCopiedAtOnceAndPiecesFollowEachOther) {
  attach(kTwin);
  const int fd = memory_file(0x1000);
  ASSERT_EQ(::pwrite(fd, "mapped", 6, 0x1000 - 6), 6);
  ASSERT_EQ(one.map(0xf000, 0x1000, fd), 0u);
  std::string back(6, '\0');
  EXPECT_EQ(read(0x10000 - 6, back), 1);
  EXPECT_EQ(back, "mapped");
  EXPECT_TRUE(g_ended.empty());
  EXPECT_EQ(write(0xf000, "ab"), 1);
  std::string both(10, '\0');  // the end of one range and the beginning of the next
  memory.replace(0, 4, "wxyz");
  EXPECT_EQ(read(0x10000 - 6, both), 0);
  EXPECT_EQ(count, 2);
  serve();
  answer();
  serve();
  EXPECT_EQ(both, "mappedwxyz");
  EXPECT_EQ(g_ended, Calls{"read 0"});
  EXPECT_FALSE(is_ready());
  ::close(fd);
}

TEST_F(CapiAsync, IsRefusedWhereItMakesNoSense) {
  EXPECT_EQ(vmux_setup_async_dma(one.ctx), ready);  // once is enough
  attach(kTwin);
  EXPECT_EQ(vmux_setup_async_dma(one.ctx), -1);
  EXPECT_EQ(errno, EINVAL);
  std::string text(4, 'x'), sg = pieces(0x10000, 4, PROT_READ), of_what_goes = pieces(0x10000, 4);
  auto* const piece = reinterpret_cast<dma_sg_t*>(sg.data());
  EXPECT_EQ(vmux_sgl_write_async(one.ctx, piece, 1, text.data(), on_done, nullptr), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(vmux_sgl_read_async(one.ctx, piece, 1, text.data(), nullptr, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(one.unmap(0x10000, 0x4000), 0u);
  EXPECT_EQ(
      vmux_sgl_read_async(one.ctx, reinterpret_cast<dma_sg_t*>(of_what_goes.data()), 1, text.data(), on_done, nullptr),
      -1);
  EXPECT_EQ(errno, EINVAL);
  Device without;
  without.attach();
  EXPECT_EQ(vmux_sgl_read_async(without.ctx, piece, 1, text.data(), on_done, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
}

}  // namespace
}  // namespace capi_test
