// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/descriptor_limit.hpp"
#include "vmux/base/bits.hpp"
#include "vmux/base/le.hpp"
#include "vmux/base/log.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux {
namespace {

TEST(EndOf, IsEmptyWhenTheRangeWraps) {
  EXPECT_EQ(end_of(Iova{16}, ByteCount{16}), Iova{32});
  EXPECT_FALSE(end_of(Iova{~0ull}, ByteCount{2}).has_value());
}

TEST(Fits, RefusesRangesThatOverflow) {
  EXPECT_TRUE(fits(0, 16, 16));
  EXPECT_FALSE(fits(1, 16, 16));
  EXPECT_FALSE(fits(~0ull, 2, 16));
}

TEST(WireInt, KeepsItsOrderInMemory) {
  const Le<std::uint32_t> little = 0x01020304u;
  const Be<std::uint32_t> big = 0x01020304u;
  EXPECT_EQ(std::memcmp(&little, "\x04\x03\x02\x01", 4), 0);
  EXPECT_EQ(std::memcmp(&big, "\x01\x02\x03\x04", 4), 0);
  EXPECT_EQ(static_cast<std::uint32_t>(little), 0x01020304u);
  EXPECT_EQ(alignof(Le<std::uint64_t>), 1u);
}

TEST(Bits, GetsAndSetsItsFieldOnly) {
  using Field = Bits<16, 2>;
  EXPECT_EQ(Field::get(0x0003'0000u), 3u);
  EXPECT_EQ(Field::set(0xffff'ffffu, 1), 0xfffd'ffffu);
  EXPECT_FALSE(Field::is_set(0x8000'ffffu));
}

TEST(UniqueFd, ClosesWhatItOwns) {
  auto event = make_eventfd();
  ASSERT_TRUE(event.has_value());
  const int raw = event->get();
  event->reset();
  EXPECT_EQ(::fcntl(raw, F_GETFD), -1);
}

TEST(Eventfd, DrainTakesTheWholeCount) {
  auto event = make_eventfd();
  ASSERT_TRUE(event.has_value());
  signal_eventfd(event->get());
  signal_eventfd(event->get());
  EXPECT_EQ(drain_eventfd(event->get()), 2u);
  EXPECT_EQ(drain_eventfd(event->get()), 0u);
}

/// Ends a call that blocks, after a second, and tells of it.
class Rescue {
 public:
  Rescue() {
    fired_ = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { fired_ = 1; };  // without SA_RESTART: the call fails with EINTR
    ::sigaction(SIGALRM, &action, &before_);
    ::alarm(1);
  }
  ~Rescue() {
    ::alarm(0);
    ::sigaction(SIGALRM, &before_, nullptr);
  }
  [[nodiscard]] bool was_needed() const { return fired_ != 0; }

 private:
  static inline volatile std::sig_atomic_t fired_ = 0;
  struct sigaction before_ {};
};

/// One that blocks, as a peer may make it after it has given it to us.
UniqueFd blocking_eventfd(std::uint64_t count) {
  UniqueFd event{::eventfd(0, 0)};
  EXPECT_EQ(::write(event.get(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
  return event;
}

#if !defined(__SANITIZE_THREAD__)  // where it is a plain write
TEST(PeerEventfd, SignalDoesNotWaitForRoom) {
  const auto event = blocking_eventfd(~0ull - 1);
  const Rescue rescue;
  signal_peer_eventfd(event.get());
  EXPECT_FALSE(rescue.was_needed());
}
#endif

TEST(PeerEventfd, DrainDoesNotWaitForASignal) {
  const auto event = blocking_eventfd(3);
  const Rescue rescue;
  EXPECT_EQ(drain_peer_eventfd(event.get()), 3u);
  EXPECT_EQ(drain_peer_eventfd(event.get()), 0u);
  EXPECT_FALSE(rescue.was_needed());
}

TEST(PeerEventfd, EverySignalArrives) {
  const auto event = blocking_eventfd(0);
  for (int i = 0; i < 5000; ++i)  // more than the kernel keeps completions of
    signal_peer_eventfd(event.get());
  EXPECT_EQ(drain_peer_eventfd(event.get()), 5000u);
}

TEST(PeerEventfd, SignalOfAnythingElseDoesNothing) {
  const UniqueFd null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  signal_peer_eventfd(null.get());
  signal_peer_eventfd(-1);
}

TEST(Memfd, CannotBeShrunkByAPeer) {
  auto fd = make_memfd("test", 8192);
  ASSERT_TRUE(fd.has_value());
  EXPECT_EQ(::ftruncate(fd->get(), 4096), -1);
  auto mapping = Mapping::create(fd->get(), 0, 8192, true);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->size(), 8192u);
}

TEST(RateLimit, CountsWhatItHeldBack) {
  RateLimit limit{1, ~0ull};
  EXPECT_TRUE(limit.allow());
  EXPECT_FALSE(limit.allow());
}

TEST(Error, SpeaksOfItsErrno) {
  const Error error{Errc::system, "cannot open /x", ENOENT};
  EXPECT_EQ(error.as_errno(), ENOENT);
  EXPECT_EQ(error.text(), "cannot open /x: No such file or directory");
  EXPECT_EQ((Error{Errc::busy, "x"}.as_errno()), EBUSY);
}

TEST(DescriptorLimit, IsRaisedToTheHardOne) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{64, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const auto raised = raise_descriptor_limit();
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(raised);
  EXPECT_EQ(raised->was, 64u);
  EXPECT_EQ(raised->now, before.rlim_max);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
}

}  // namespace
}  // namespace vmux
