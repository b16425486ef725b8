// SPDX-License-Identifier: BSD-3-Clause
// Guest memory: ranges and pieces of them, direct and by message, and the log of what was written.
#include <atomic>
#include <thread>

#include "capi/test/rig.hpp"
#include "vfio-user/vmux-extensions.h"

namespace capi_test {
namespace {

constexpr int kRead = PROT_READ, kBoth = PROT_READ | PROT_WRITE;

/// Pieces of [start, start + length).
struct Pieces {
  Pieces(Device& one, std::uint64_t start, std::size_t length, int prot = kBoth, std::size_t room = 4)
      : bytes(40 * room, '\0') {
    count = vfu_addr_to_sgl(one.ctx, dma_address(start), length, get(), room, prot);
    error = errno;
  }
  dma_sg_t* get() { return reinterpret_cast<dma_sg_t*>(bytes.data()); }
  std::string bytes;
  int count = 0, error = 0;
};

/// Where `length` bytes at `start` lie in this process.
char* place(Device& one, std::uint64_t start, std::size_t length, int prot = kBoth) {
  Pieces piece{one, start, length, prot};
  iovec part{};
  EXPECT_EQ(vfu_sgl_get(one.ctx, piece.get(), &part, 1, 0), 0);
  return static_cast<char*>(part.iov_base);
}

class CapiMemory : public testing::Test {
 protected:
  ~CapiMemory() override { ::close(fd); }
  Device one;
  int fd = memory_file(0x8000);
};

TEST_F(CapiMemory, ComesAndGoesWithItsCallbacks) {
  one.attach();
  EXPECT_EQ(one.map(0x10000, 0x2000, fd), 0u);
  EXPECT_EQ(one.map(0x20000, 0x1000, -1), 0u);
  const Received gone = one.call(3, Bytes{}.u32(24).u32(0).u64(0x10000).u64(0x2000));
  EXPECT_EQ(gone.payload, Bytes{}.u32(24).u32(0).u64(0x10000).u64(0x2000).str());
  EXPECT_EQ(one.unmap(0, 0, 2), 0u);
  EXPECT_EQ(one.device.calls,
            (std::vector<std::string>{"register 65536", "register 131072", "unregister 65536", "unregister 131072"}));
}

TEST_F(CapiMemory, IsRefusedWhenItMakesNoSense) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x2000, -1), 0u);
  EXPECT_EQ(one.map(0x10000, 0, -1), kInvalid);
  EXPECT_EQ(one.map(~std::uint64_t{0xfff}, 0x2000, -1), kInvalid);
  EXPECT_EQ(one.map(0x40000, (std::uint64_t{8} << 40) + 4096, -1), static_cast<unsigned>(ENOSPC));
  EXPECT_EQ(one.map(0x11000, 0x1000, -1), kInvalid);     // inside
  EXPECT_EQ(one.map(0xf000, 0x1001, -1), kInvalid);      // over the start
  EXPECT_EQ(one.map(0xf000, 0x10000, -1), kInvalid);     // around
  EXPECT_EQ(one.map(0x40000, 0x1000, -1, 7), kInvalid);  // to be mapped, and no descriptor
  EXPECT_EQ(one.map(0x40000, 0x1000, fd, 0x13), kInvalid);
  EXPECT_EQ(one.map(0x40000, 0x1000, fd, 3, 0), 0u);
  EXPECT_EQ(one.map(0x40000, 0x1000, fd, 3, 0), 0u);  // the same again
  EXPECT_EQ(one.map(0x40000, 0x1000, fd, 3, 0x1000), kInvalid);
  EXPECT_EQ(one.unmap(0x10000, 0x1000), static_cast<unsigned>(ENOENT));
  EXPECT_EQ(one.unmap(0x50000, 0x1000), static_cast<unsigned>(ENOENT));
  EXPECT_EQ(one.unmap(0x10000, 0x2000, 2), kInvalid);  // everything, and a range
  EXPECT_EQ(one.unmap(0x10000, 0x2000, 4), kInvalid);
}

TEST_F(CapiMemory, HasALimit) {
  one.attach();
  for (std::uint64_t i = 0; i < 64; ++i)
    ASSERT_EQ(one.map(i << 12, 0x1000, -1), 0u);
  EXPECT_EQ(one.map(64 << 12, 0x1000, -1), kInvalid);
}

// As a guest's IOMMU makes them: pages of one file, one by one, each found again, and gone in any order.
TEST_F(CapiMemory, HasRangesByTheTenThousand) {
  constexpr std::uint64_t kRanges = 20'000, kPage = 0x1000, kStep = 0x3000;
  vfu_setup_device_dma(one.ctx, kRanges, nullptr, on_unregister);
  one.attach();
  const int file = memory_file(kRanges * kPage);
  for (std::uint64_t i = 0; i < kRanges; ++i)
    ASSERT_EQ(one.map(i * kStep, kPage, file, 3, i * kPage), 0u) << i;
  EXPECT_EQ(one.map(kRanges * kStep, kPage, file), kInvalid);
  for (const std::uint64_t i : {std::uint64_t{0}, kRanges / 2, kRanges - 1}) {
    place(one, i * kStep, kPage)[1] = 'x';
    char byte = 0;
    EXPECT_EQ(::pread(file, &byte, 1, static_cast<off_t>(i * kPage + 1)), 1);
    EXPECT_EQ(byte, 'x');
    EXPECT_EQ(Pieces(one, i * kStep, kPage + 1).error, ENOENT);
  }
  for (std::uint64_t i = 0; i < kRanges; i += 2)
    ASSERT_EQ(one.unmap(i * kStep, kPage), 0u) << i;
  EXPECT_EQ(Pieces(one, kStep, kPage).count, 1);
  EXPECT_EQ(Pieces(one, 2 * kStep, kPage).error, ENOENT);
  EXPECT_EQ(one.unmap(0, 0, 2), 0u);
  EXPECT_EQ(one.device.calls.size(), kRanges);
  ::close(file);
}

// SPDK and QEMU are built with headers that had no limit of ranges in this call. Clang's sanitizer knows the type by
// which it should be called.
#if defined(__clang__)
__attribute__((no_sanitize("function")))
#endif
int set_up_as_older_headers_do(vfu_ctx_t* ctx) {
  using Older = int (*)(vfu_ctx_t*, vfu_dma_register_cb_t*, vfu_dma_unregister_cb_t*);
  return reinterpret_cast<Older>(reinterpret_cast<void (*)()>(vfu_setup_device_dma))(ctx, on_register, on_unregister);
}

TEST_F(CapiMemory, IsSetUpByTheCallOfOlderHeadersToo) {
  ASSERT_EQ(set_up_as_older_headers_do(one.ctx), 0);
  one.attach();
  for (std::uint64_t i = 1; i <= 65; ++i)
    ASSERT_EQ(one.map(i << 12, 0x1000, -1), 0u);
  EXPECT_EQ(one.unmap(0x1000, 0x1000), 0u);
  EXPECT_EQ(one.device.calls.front(), "register 4096");
  EXPECT_EQ(one.device.calls.back(), "unregister 4096");
}

TEST_F(CapiMemory, IsKnownByItsPieces) {
  one.attach();
  ASSERT_EQ(one.map(0x1000, 0x1000, fd), 0u);
  ASSERT_EQ(one.map(0x2000, 0x1000, fd, 1, 0x1000), 0u);  // not writable
  Pieces two{one, 0x1800, 0x1000, kRead};
  ASSERT_EQ(two.count, 2);
  EXPECT_EQ(number(two.bytes, 0, 8), 0x1000u);
  EXPECT_EQ(number(two.bytes, 16, 8), 0x800u);
  EXPECT_EQ(number(two.bytes, 24, 8), 0x800u);
  EXPECT_EQ(number(two.bytes, 40, 8), 0x2000u);
  EXPECT_EQ(number(two.bytes, 56, 8), 0x800u);
  EXPECT_EQ(number(two.bytes, 64, 8), 0u);
  EXPECT_EQ(two.error, 0);
  const Pieces crowded{one, 0x1800, 0x1000, kRead, 1};
  EXPECT_EQ(crowded.count, -3);
  EXPECT_EQ(crowded.error, 0);
  EXPECT_EQ((Pieces{one, 0x1800, 0x1000}.error), EACCES);
  EXPECT_EQ((Pieces{one, 0x2800, 0x1000, kRead}.error), ENOENT);
  EXPECT_EQ((Pieces{one, 0x0800, 0x1000, kRead}.count), -1);
}

TEST_F(CapiMemory, IsTheSameBytesAsTheClients) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x2000, fd, 3, 0x1000), 0u);
  ASSERT_EQ(::pwrite(fd, "from the client", 15, 0x1010), 15);
  Pieces piece{one, 0x10010, 15};
  EXPECT_TRUE(vfu_sg_is_mappable(one.ctx, piece.get()));
  iovec part{};
  ASSERT_EQ(vfu_sgl_get(one.ctx, piece.get(), &part, 1, 0), 0);
  EXPECT_EQ(std::string(static_cast<char*>(part.iov_base), part.iov_len), "from the client");
  EXPECT_EQ(vfu_sgl_get(one.ctx, piece.get(), &part, 1, 1), -1);
  EXPECT_EQ(errno, EINVAL);
  vfu_sgl_put(one.ctx, piece.get(), &part, 1);
  std::string copy(15, '\0');
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, copy.data(), VFU_SGL_DIRECT_ACCESS), 0);
  EXPECT_EQ(copy, "from the client");
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, copy.data(), 2), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 2, copy.data(), 0), -1);
  EXPECT_EQ(errno, ENOTSUP);
}

TEST_F(CapiMemory, MayBeginInTheMiddleOfAPageOfItsFile) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x1000, fd, 3, 0x1ff8), 0u);
  ASSERT_EQ(::pwrite(fd, "straddle", 8, 0x1ffc), 8);
  Pieces piece{one, 0x10004, 8};
  std::string copy(8, '\0');
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, copy.data(), VFU_SGL_DIRECT_ACCESS), 0);
  EXPECT_EQ(copy, "straddle");
}

TEST_F(CapiMemory, IsMappedOnceForAllRangesOfAFile) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x1000, fd, 3, 0x1000), 0u);
  ASSERT_EQ(one.map(0x90000, 0x1000, fd, 3, 0x5000), 0u);
  char* const first = place(one, 0x10000, 1);
  EXPECT_EQ(place(one, 0x90000, 1) - first, 0x4000);
  EXPECT_EQ(one.unmap(0x10000, 0x1000), 0u);
  EXPECT_EQ(one.unmap(0x90000, 0x1000), 0u);
  ASSERT_EQ(one.map(0x20000, 0x1000, fd, 3, 0x1000), 0u);  // as a guest's IOMMU does: it is still there
  EXPECT_EQ(place(one, 0x20000, 1), first);
  // Nothing of a client's stays when all of it goes.
  EXPECT_EQ(one.unmap(0, 0, 2), 0u);
  unsigned char is_in_memory = 0;
  EXPECT_EQ(::mincore(first, 4096, &is_in_memory), -1);
  EXPECT_EQ(errno, ENOMEM);
}

TEST_F(CapiMemory, ThatMayOnlyBeReadIsNoPartOfWhatMayBeWritten) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x1000, fd, 3, 0x1000), 0u);
  ASSERT_EQ(one.map(0x20000, 0x1000, fd, 1, 0x2000), 0u);
  EXPECT_NE(place(one, 0x20000, 1, kRead) - place(one, 0x10000, 1), 0x1000);
  const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  const bool was_written = ::write(null, place(one, 0x20000, 1, kRead), 1) == 1;  // it can be read
  EXPECT_TRUE(was_written);
  const int zero = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(::read(zero, place(one, 0x20000, 1, kRead), 1), -1);
  EXPECT_EQ(errno, EFAULT);
  ::close(null);
  ::close(zero);
}

TEST_F(CapiMemory, OfAFileThatIsShorterIsThereOnceTheFileIsLonger) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x2000, fd, 3, 0x7000), 0u);
  ASSERT_EQ(::ftruncate(fd, 0x9000), 0);
  place(one, 0x11000, 1)[0] = 'x';
  char byte = 0;
  EXPECT_EQ(::pread(fd, &byte, 1, 0x8000), 1);
  EXPECT_EQ(byte, 'x');
}

// One range shares a mapping with others, one has its own.
TEST_F(CapiMemory, ThatAClientTakesAwayCostsItItsDeviceWhereAProgramAsksForThat) {
  EXPECT_EQ(vmux_guard_memory(one.ctx), 0);
  one.attach();
  EXPECT_EQ(vmux_guard_memory(one.ctx), -1);
  EXPECT_EQ(errno, EINVAL);
  for (const unsigned flags : {3u, 1u}) {
    const int file = memory_file(0x4000);
    ASSERT_EQ(one.map(0x10000, 0x4000, file, flags), 0u);
    char* const bytes = place(one, 0x10000, 0x4000, kRead);
    ASSERT_EQ(::pwrite(file, "abcd", 4, 0x3000), 4);
    EXPECT_EQ(bytes[0x3000], 'a');
    ASSERT_EQ(::ftruncate(file, 0x1000), 0);
    EXPECT_EQ(bytes[0x3000], 0);
    char back[4];
    Pieces piece{one, 0x10000, 4, kRead};
    EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, back, VFU_SGL_DIRECT_ACCESS), -1);
    EXPECT_EQ(errno, EFAULT);
    EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
    EXPECT_EQ(errno, ENOTCONN);
    ::close(file);
    // The next one is as good as any.
    ASSERT_TRUE(one.client.connect(one.path));
    one.client.send(1, version());
    ASSERT_EQ(vfu_attach_ctx(one.ctx), 0);
    EXPECT_EQ(one.client.receive().error, 0u);
    EXPECT_EQ(vfu_run_ctx(one.ctx), 0);
  }
}

// The last look at memory that goes finds that its file is shorter.
TEST_F(CapiMemory, ThatAClientTakesAwayAsItUnmapsAllOfItCostsItItsDeviceToo) {
  EXPECT_EQ(vmux_guard_memory(one.ctx), 0);
  vfu_setup_device_dma(one.ctx, 64, nullptr, [](vfu_ctx_t* ctx, vfu_dma_info_t* info) {
    seen(ctx).saved.push_back(static_cast<char*>(info->vaddr)[0x3000]);
  });
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x4000, fd), 0u);
  ASSERT_EQ(::ftruncate(fd, 0x1000), 0);
  one.client.send(3, Bytes{}.u32(24).u32(2).u64(0).u64(0));
  static_cast<void>(vfu_run_ctx(one.ctx));
  EXPECT_EQ(one.device.saved, std::string(1, '\0'));
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_F(CapiMemory, IsNotTouchedThroughAPieceOfWhatIsGone) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x2000, fd), 0u);
  Pieces piece{one, 0x10010, 15};
  ASSERT_EQ(one.unmap(0x10000, 0x2000), 0u);
  ASSERT_EQ(one.map(0x10000, 0x2000, fd), 0u);  // as it was, but another one
  iovec part{};
  char byte[16]{};
  EXPECT_EQ(vfu_sgl_get(one.ctx, piece.get(), &part, 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, byte, VFU_SGL_DIRECT_ACCESS), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_FALSE(vfu_sg_is_mappable(one.ctx, piece.get()));
}

TEST_F(CapiMemory, OfAFileIsReadAndWritten) {
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x2000, fd, 0xb, 0x1000), 0u);
  Pieces piece{one, 0x10100, 4};
  iovec part{};
  EXPECT_FALSE(vfu_sg_is_mappable(one.ctx, piece.get()));
  EXPECT_EQ(vfu_sgl_get(one.ctx, piece.get(), &part, 1, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  char text[] = "abcd";
  EXPECT_EQ(vfu_sgl_write(one.ctx, piece.get(), 1, text, VFU_SGL_DIRECT_ACCESS), 0);
  char back[5]{};
  EXPECT_EQ(::pread(fd, back, 4, 0x1100), 4);
  EXPECT_STREQ(back, "abcd");
  Pieces beyond{one, 0x10000, 0x2000};
  ASSERT_EQ(::ftruncate(fd, 0x1800), 0);
  std::string all(0x2000, '\0');
  EXPECT_EQ(vfu_sgl_read(one.ctx, beyond.get(), 1, all.data(), VFU_SGL_DIRECT_ACCESS), -1);
  EXPECT_EQ(errno, EIO);
}

/// Answers DMA_READ and DMA_WRITE from `memory`, which begins at 0x10000, until the socket ends.
void serve_memory(const Peer& from, std::string& memory, unsigned error, std::atomic<int>& requests) {
  for (Received asked = from.receive(); !asked.is_end; asked = from.receive()) {
    ++requests;
    const std::size_t at = number(asked.payload, 0, 8) - 0x10000, count = number(asked.payload, 8, 8);
    std::string reply = asked.payload.substr(0, 16);
    if (asked.command == 11) {
      reply += memory.substr(at, count);
    } else {
      memory.replace(at, count, asked.payload.substr(16));
    }
    from.raw(Bytes{}
                 .u16(asked.id)
                 .u16(asked.command)
                 .u32(16 + reply.size())
                 .u32(error != 0 ? 0x21 : 1)
                 .u32(error)
                 .text(reply));
  }
}

TEST_F(CapiMemory, WithoutADescriptorIsReachedByMessagesOnTheTwinSocket) {
  one.attach(R"({"capabilities":{"max_msg_fds":8,"max_data_xfer_size":4096,"twin_socket":{"supported":true}}})");
  ASSERT_EQ(one.greeting.fds.size(), 1u);
  const Peer twin{one.greeting.fds[0]};
  std::string memory(0x4000, '.');
  std::atomic<int> requests{0};
  ASSERT_EQ(one.map(0x10000, 0x4000, -1), 0u);
  std::thread client{[&] { serve_memory(twin, memory, 0, requests); }};
  std::string text(9000, 'x');
  // Any thread may: this one does, and another.
  std::thread device{[&] {
    Pieces piece{one, 0x10010, text.size()};
    EXPECT_EQ(vfu_sgl_write(one.ctx, piece.get(), 1, text.data(), VFU_SGL_DIRECT_ACCESS), 0);
  }};
  device.join();
  std::string back(9000, '\0');
  Pieces piece{one, 0x10010, text.size()};
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, back.data(), 0), 0);
  EXPECT_EQ(back, text);
  EXPECT_EQ(requests, 6);  // 4096 bytes at a time
  Pieces read_only{one, 0x10000, 4, kRead};
  EXPECT_EQ(vfu_sgl_write(one.ctx, read_only.get(), 1, text.data(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  ::shutdown(twin.fd(), SHUT_RDWR);
  client.join();
  EXPECT_EQ(memory.substr(0x10, 9000), text);
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, back.data(), 0), -1);
  EXPECT_EQ(errno, ENOTCONN);
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);  // it was not reset in there, but is now
  EXPECT_EQ(errno, ENOTCONN);
  EXPECT_EQ(one.device.calls.back(), "reset 1");
}

TEST_F(CapiMemory, IsNotWaitedForWhenTheClientGoes) {
  one.attach(R"({"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}})");
  const Peer twin{one.greeting.fds.at(0)};  // stays open, and answers nothing
  ASSERT_EQ(one.map(0x10000, 0x4000, -1), 0u);
  std::thread device{[&] {
    char byte = 0;
    Pieces piece{one, 0x10000, 1};
    EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, &byte, 0), -1);
    EXPECT_EQ(errno, ENOTCONN);
  }};
  EXPECT_EQ(twin.receive().command, 11u);
  one.client.close();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  EXPECT_EQ(errno, ENOTCONN);
  device.join();
}

TEST_F(CapiMemory, GivesTheErrnoOfTheClient) {
  one.attach(R"({"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}})");
  const Peer twin{one.greeting.fds.at(0)};
  std::string memory(0x4000, '.');
  std::atomic<int> requests{0};
  ASSERT_EQ(one.map(0x10000, 0x4000, -1), 0u);
  std::thread client{[&] { serve_memory(twin, memory, EXDEV, requests); }};
  char byte[4];
  Pieces piece{one, 0x10000, 4};
  EXPECT_EQ(vfu_sgl_read(one.ctx, piece.get(), 1, byte, 0), -1);
  EXPECT_EQ(errno, EXDEV);
  ::shutdown(twin.fd(), SHUT_RDWR);
  client.join();
}

/// A device that reads guest memory while it serves a write.
ssize_t read_memory_inside(vfu_ctx_t* ctx, char* bytes, size_t count, loff_t at, bool is_write) {
  if (is_write) {
    std::string piece(40, '\0');
    auto* const list = reinterpret_cast<dma_sg_t*>(piece.data());
    if (vfu_addr_to_sgl(ctx, dma_address(0x10000), 4, list, 1, PROT_READ) != 1) return -1;
    if (vfu_sgl_read(ctx, list, 1, seen(ctx).region.data(), 0) != 0) return -1;
    seen(ctx).calls.emplace_back(bytes, count);
    return static_cast<ssize_t>(count);
  }
  return on_access(ctx, bytes, count, at, is_write);
}

TEST_F(CapiMemory, IsReachedOnTheOneSocketWhileTheClientSendsOn) {
  vfu_setup_region(one.ctx, 0, 4096, read_memory_inside, VFU_REGION_FLAG_RW, nullptr, 0, -1, 0);
  one.attach();
  ASSERT_EQ(one.map(0x10000, 0x1000, -1), 0u);
  std::thread client{[&] {
    one.client.send(10, Bytes{}.u64(0).u32(0).u32(4).text("1234"));
    const Received asked = one.client.receive();
    EXPECT_EQ(asked.command, 11u);
    one.client.send(9, Bytes{}.u64(0).u32(0).u32(4), {}, 0, 99);  // crosses the question
    one.client.raw(Bytes{}.u16(asked.id).u16(11).u32(36).u32(1).u32(0).text(asked.payload).text("wxyz"));
  }};
  int served = 0;
  while (served < 2)
    served += std::max(vfu_run_ctx(one.ctx), 0);
  client.join();
  EXPECT_EQ(one.client.receive().command, 10u);  // in the order that they were sent
  const Received later = one.client.receive();
  EXPECT_EQ(later.id, 99u);
  EXPECT_EQ(later.payload.substr(16), "wxyz");
  EXPECT_EQ(one.device.calls.at(1), "1234");  // what was being served stayed as it was
}

class CapiLog : public CapiMemory {
 protected:
  CapiLog() {
    one.with_migration().attach();
    EXPECT_EQ(one.map(0x10000, 0x8000, fd), 0u);
    EXPECT_EQ(one.map(0x20000, 0x8000, -1), 0u);
  }
  unsigned start(std::uint64_t page) {
    return one.error_of(16, Bytes{}.u32(24).u32(1u << 17 | 6).u64(page).u32(0).u32(0));
  }
  Received report(std::uint64_t at, std::uint64_t length, std::uint64_t page, unsigned argsz = 40) {
    one.client.send(16, Bytes{}.u32(argsz).u32(1u << 16 | 8).u64(at).u64(length).u64(page));
    EXPECT_GE(vfu_run_ctx(one.ctx), 0);
    return one.client.receive();
  }
  std::uint64_t bits(std::uint64_t page = 4096) { return number(report(0x10000, 0x8000, page).payload, 32, 8); }
  void touch(std::uint64_t at, std::size_t length, int prot = kBoth) {
    Pieces piece{one, at, length, prot};
    iovec part{};
    ASSERT_EQ(vfu_sgl_get(one.ctx, piece.get(), &part, 1, 0), 0);
    vfu_sgl_put(one.ctx, piece.get(), &part, 1);
  }
};

TEST_F(CapiLog, HasThePagesThatWereWritten) {
  ASSERT_EQ(start(4096), 0u);
  EXPECT_EQ(start(4096), 0u);
  EXPECT_EQ(start(8192), kInvalid);
  EXPECT_EQ(bits(), 0u);
  touch(0x11fff, 2);
  touch(0x14000, 0x1000, kRead);
  char byte = 1;
  Pieces last{one, 0x17fff, 1};
  ASSERT_EQ(vfu_sgl_write(one.ctx, last.get(), 1, &byte, VFU_SGL_DIRECT_ACCESS), 0);
  EXPECT_EQ(bits(), 0b1000'0110u);
  EXPECT_EQ(bits(), 0u);
  Pieces kept{one, 0x10000, 1};
  vfu_sgl_mark_dirty(one.ctx, kept.get(), 1);
  EXPECT_EQ(bits(), 1u);
}

TEST_F(CapiLog, IsToldInPagesOfTheClientsSize) {
  ASSERT_EQ(start(4096), 0u);
  touch(0x12000, 0x1000);
  EXPECT_EQ(bits(2048), 0b11'0000u);
  touch(0x12000, 0x1000);
  touch(0x13000, 0x1000);
  EXPECT_EQ(bits(8192), 0b10u);
  touch(0x17000, 0x1000);
  EXPECT_EQ(bits(0x8000), 1u);
}

TEST_F(CapiLog, RefusesWhatItCannotTell) {
  EXPECT_EQ(report(0x10000, 0x8000, 4096).error, kInvalid);  // it is off
  EXPECT_EQ(start(0), kInvalid);
  EXPECT_EQ(start(4097), kInvalid);
  ASSERT_EQ(start(4096), 0u);
  EXPECT_EQ(report(0x50000, 0x8000, 4096).error, static_cast<unsigned>(ENOENT));
  EXPECT_EQ(report(0x11000, 0x7000, 4096).error, static_cast<unsigned>(ENOTSUP));
  EXPECT_EQ(report(0x20000, 0x8000, 4096).error, kInvalid);  // reached by message: the client knows
  EXPECT_EQ(report(0x10000, 0x8000, 0x10000).error, kInvalid);
  EXPECT_EQ(report(0x10000, 0x8000, 4096, 39).error, kInvalid);
  EXPECT_EQ(one.error_of(16, Bytes{}.u32(24).u32(1u << 17 | 7).u64(0).u32(0).u32(0)), 0u);
  EXPECT_EQ(report(0x10000, 0x8000, 4096).error, kInvalid);
}

TEST_F(CapiLog, ComesWithAnUnmapThatAsksForIt) {
  ASSERT_EQ(start(4096), 0u);
  touch(0x13000, 1);
  const Received gone = one.call(3, Bytes{}.u32(24 + 16 + 8).u32(1).u64(0x10000).u64(0x8000).u64(4096).u64(8));
  ASSERT_EQ(gone.payload.size(), 48u);
  EXPECT_EQ(number(gone.payload, 40, 8), 0b1000u);
  EXPECT_EQ(one.device.calls.back(), "unregister 65536");
}

}  // namespace
}  // namespace capi_test
