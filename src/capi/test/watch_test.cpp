// SPDX-License-Identifier: BSD-3-Clause
// Words that a client writes in pages that it maps, or that an eventfd of its stands for.
#include <poll.h>

#include <functional>

#include "capi/test/rig.hpp"
#include "rigs/allocations.hpp"
#include "vfio-user/vmux-extensions.h"

namespace capi_test {
namespace {

constexpr std::uint64_t kFileOffset = 0x2000, kPage = 0x1000;

/// A region of three pages, of which clients map the last two.
class CapiWatch : public testing::Test {
 protected:
  CapiWatch() {
    iovec area{dma_address(kPage), 2 * kPage};
    EXPECT_EQ(vfu_setup_region(one.ctx, 0, 0x4000, on_access, kMem, &area, 1, fd, kFileOffset), 0);
  }
  ~CapiWatch() override { ::close(fd); }
  int watch(std::uint64_t at, std::uint32_t size, std::uint32_t flags = 0) {
    return vmux_watch(one.ctx, 0, at, size, flags, on_word, this);
  }
  template <class T>
  void store(std::uint64_t at, T value) {
    __atomic_store_n(reinterpret_cast<T*>(client + at), value, __ATOMIC_RELEASE);
  }
  static void on_word(vfu_ctx_t* ctx, void* self, std::uint64_t value, std::uint64_t writes) {
    auto& test = *static_cast<CapiWatch*>(self);
    test.told.emplace_back(value, writes);
    if (test.then) test.then(ctx);
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> take() { return std::exchange(told, {}); }
  using Told = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
  /// The eventfds that a client asks for and gets.
  std::vector<int> ask() {
    const Received got = one.call(6, Bytes{}.u32(256).u32(0).u32(0).u32(0));
    EXPECT_EQ(got.error, 0u);
    parts = got.payload;
    return got.fds;
  }
  /// As a client has mapped it. It outlives the device, whose reset may write there.
  struct Memory {
    explicit Memory(int of)
        : at(static_cast<char*>(::mmap(nullptr, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, of, kFileOffset))) {}
    ~Memory() { ::munmap(at, 0x4000); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    char* at;
  };
  int fd = memory_file(0x10000);
  Memory memory{fd};
  char* client = memory.at;
  Device one;
  Told told;
  std::string parts;
  std::function<void(vfu_ctx_t*)> then;
};

TEST_F(CapiWatch, TellsOfEachChangeThatItSees) {
  store<std::uint32_t>(0x1010, 7);
  ASSERT_EQ(watch(0x1010, 4), 0);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 0);  // as it was from the start
  store<std::uint32_t>(0x1010, 8);
  store<std::uint32_t>(0x1010, 9);
  store<std::uint32_t>(0x1014, 9);  // another word
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 0);
  EXPECT_EQ(take(), (Told{{9, 0}}));
  store<std::uint32_t>(0x1010, 0);
  store<std::uint32_t>(0x1010, 9);  // undone
  EXPECT_EQ(vmux_poll_watches(one.ctx), 0);
}

TEST_F(CapiWatch, HasWordsOfEachSizeInTheirOrder) {
  ASSERT_EQ(watch(0x2ff8, 8), 0);
  ASSERT_EQ(watch(0x1004, 4), 0);
  ASSERT_EQ(watch(0x1002, 2), 0);
  ASSERT_EQ(watch(0x1001, 1), 0);
  store<std::uint64_t>(0x1000, 0x8877'6655'4433'2211);
  store<std::uint64_t>(0x2ff8, 0x1122'3344'5566'7788);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 4);
  EXPECT_EQ(take(), (Told{{0x1122'3344'5566'7788, 0}, {0x8877'6655, 0}, {0x4433, 0}, {0x22, 0}}));
}

TEST_F(CapiWatch, IsRefusedWhereNobodyMaps) {
  EXPECT_EQ(watch(0x1000, 4), 0);
  struct Case {
    int region;
    std::uint64_t at;
    std::uint32_t size, flags;
    int error;
  };
  const std::vector<Case> cases{
      {0, 0x1000, 4, 0, EEXIST},                  //
      {0, 0x1000, 8, 0, EEXIST},                  //
      {0, 0x0ffc, 4, 0, EINVAL},                  // traps
      {0, 0x3000, 4, 0, EINVAL},                  // does so again
      {0, 0x1002, 4, 0, EINVAL},                  // lies across
      {0, 0x1008, 3, 0, EINVAL},                  //
      {0, 0x1008, 0, 0, EINVAL},                  //
      {0, 0x1010, 16, 0, EINVAL},                 //
      {0, 0x1008, 4, 4, EINVAL},                  // an unknown flag
      {0, 0x1008, 4, VMUX_WATCH_SHADOW, EINVAL},  // of no eventfd
      {1, 0x1000, 4, 0, EINVAL},                  // absent
      {-1, 0x1000, 4, 0, EINVAL},                 //
      {9, 0x1000, 4, 0, EINVAL},                  //
      {0, ~std::uint64_t{7}, 8, 0, EINVAL},       //
  };
  for (const Case& each : cases) {
    EXPECT_EQ(vmux_watch(one.ctx, each.region, each.at, each.size, each.flags, on_word, this), -1);
    EXPECT_EQ(errno, each.error) << &each - cases.data();
  }
  EXPECT_EQ(vmux_watch(one.ctx, 0, 0x1008, 4, 0, nullptr, this), -1);
  const int shorter = memory_file(0x1800);
  vfu_setup_region(one.ctx, 2, 0x4000, on_access, kMem, nullptr, 0, shorter, 0);
  EXPECT_EQ(vmux_watch(one.ctx, 2, 0x1800, 4, 0, on_word, this), -1);
  EXPECT_EQ(vmux_watch(one.ctx, 2, 0x17fc, 4, 0, on_word, this), 0);
  ::close(shorter);
  EXPECT_EQ(vfu_setup_region(one.ctx, 0, 0, nullptr, kMem, nullptr, 0, -1, 0), -1);
  EXPECT_EQ(errno, EBUSY);
}

TEST_F(CapiWatch, IsServedWithTheContextToo) {
  ASSERT_EQ(watch(0x1000, 4), 0);
  one.attach();
  store<std::uint32_t>(0x1000, 5);
  EXPECT_EQ(vfu_run_ctx(one.ctx), 0);  // requests are what it counts
  EXPECT_EQ(take(), (Told{{5, 0}}));
}

TEST_F(CapiWatch, CountsWritesByAnEventfdOfWhoAsksForIt) {
  ASSERT_EQ(watch(0x1008, 4, VMUX_WATCH_IOEVENTFD), 0);
  const int event = vmux_watch_fd(one.ctx, 0, 0x1008);
  ASSERT_GE(event, 0);
  one.attach();
  const auto fds = ask();
  EXPECT_EQ(parts.substr(16), Bytes{}.u64(0x1008).u64(4).u32(0).u32(0).u32(0).u32(0).u64(0).u64(0).str());
  ASSERT_EQ(fds.size(), 1u);
  const std::uint64_t count = 3;
  EXPECT_EQ(::write(fds[0], &count, 8), 8);
  pollfd ready{event, POLLIN, 0};
  EXPECT_EQ(::poll(&ready, 1, 0), 1);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 0);
  EXPECT_EQ(take(), (Told{{0, 3}}));
  store<std::uint32_t>(0x1008, 6);  // by whoever maps the page all the same
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  EXPECT_EQ(take(), (Told{{6, 0}}));
  ::close(fds[0]);
}

TEST_F(CapiWatch, OffersAnEventfdThatStoresTheValueToo) {
  ASSERT_EQ(watch(0x1010, 8, VMUX_WATCH_IOEVENTFD | VMUX_WATCH_SHADOW), 0);
  one.attach();
  const auto fds = ask();
  EXPECT_EQ(parts.substr(16),
            Bytes{}.u64(0x1010).u64(8).u32(0).u32(2).u32(0).u32(1).u64(kFileOffset + 0x1010).u64(0).str());
  ASSERT_EQ(fds.size(), 2u);
  const std::uint64_t count = 2;
  store<std::uint64_t>(0x1010, 0x1234);  // as the client's kernel would
  EXPECT_EQ(::write(fds[0], &count, 8), 8);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  EXPECT_EQ(take(), (Told{{0x1234, 2}}));
  for (const int each : fds)
    ::close(each);
}

TEST_F(CapiWatch, GivesTheNextClientAnotherEventfd) {
  ASSERT_EQ(watch(0x1008, 4, VMUX_WATCH_IOEVENTFD), 0);
  const int event = vmux_watch_fd(one.ctx, 0, 0x1008);
  one.attach();
  const auto old = ask();
  const std::uint64_t count = 1;
  EXPECT_EQ(::write(old[0], &count, 8), 8);
  one.client.close();
  EXPECT_EQ(vfu_run_ctx(one.ctx), -1);
  take();
  one.attach();
  EXPECT_EQ(vmux_watch_fd(one.ctx, 0, 0x1008), event);
  const auto now = ask();
  EXPECT_EQ(::write(old[0], &count, 8), 8);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 0);
  EXPECT_EQ(::write(now[0], &count, 8), 8);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  ::close(old[0]);
  ::close(now[0]);
}

TEST_F(CapiWatch, DoesNotWaitForAnEventfdThatTheClientMakesBlock) {
  ASSERT_EQ(watch(0x1008, 4, VMUX_WATCH_IOEVENTFD), 0);
  one.attach();
  const auto fds = ask();
  EXPECT_EQ(::fcntl(fds[0], F_SETFL, 0), 0);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 0);
  ::close(fds[0]);
}

TEST_F(CapiWatch, MayBeAddedAndRemovedInItsCallback) {
  ASSERT_EQ(watch(0x1000, 4, VMUX_WATCH_IOEVENTFD), 0);
  ASSERT_EQ(watch(0x1004, 4), 0);
  then = [&](vfu_ctx_t* ctx) {
    then = nullptr;
    EXPECT_EQ(vmux_unwatch(ctx, 0, 0x1000), 0);
    EXPECT_EQ(vmux_unwatch(ctx, 0, 0x1004), 0);
    EXPECT_EQ(vmux_unwatch(ctx, 0, 0x1004), -1);
    EXPECT_EQ(errno, ENOENT);
    EXPECT_EQ(vmux_watch_fd(ctx, 0, 0x1000), -1);
    for (std::uint64_t at = 0x1100; at < 0x1200; at += 4)
      EXPECT_EQ(watch(at, 4), 0);
    EXPECT_EQ(vmux_poll_watches(ctx), 0);  // one at a time
  };
  store<std::uint32_t>(0x1000, 1);
  store<std::uint32_t>(0x1004, 1);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  store<std::uint32_t>(0x1000, 2);
  store<std::uint32_t>(0x11fc, 2);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  EXPECT_EQ(take(), (Told{{1, 0}, {2, 0}}));
  one.attach();
  EXPECT_TRUE(ask().empty());
}

int reset_word(vfu_ctx_t* ctx, vfu_reset_type_t) {
  auto* const word = *reinterpret_cast<std::uint32_t**>(seen(ctx).region.data());
  *word = 0;
  return 0;
}

TEST_F(CapiWatch, DoesNotTellWhatAResetWrites) {
  ASSERT_EQ(watch(0x1000, 4), 0);
  const char* const at = client + 0x1000;
  std::memcpy(one.device.region.data(), &at, sizeof at);
  vfu_setup_device_reset_cb(one.ctx, reset_word);
  one.attach();
  store<std::uint32_t>(0x1000, 5);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  EXPECT_EQ(one.error_of(13, ""), 0u);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 0);
  store<std::uint32_t>(0x1000, 5);
  EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
}

TEST_F(CapiWatch, IsPolledWithoutAnAllocation) {
  for (std::uint64_t at = 0x1000; at < 0x1100; at += 4)
    ASSERT_EQ(watch(at, 4, at == 0x1000 ? VMUX_WATCH_IOEVENTFD : 0), 0);
  one.attach();
  const auto fds = ask();
  told.reserve(64);
  const vmux::rigs::CountAllocations allocations;
  for (std::uint32_t value = 1; value <= 32; ++value) {
    store<std::uint32_t>(0x1080, value);
    EXPECT_EQ(vmux_poll_watches(one.ctx), 1);
  }
  EXPECT_EQ(allocations.seen(), 0u);
  EXPECT_EQ(told.size(), 32u);
  ::close(fds[0]);
}

}  // namespace
}  // namespace capi_test
