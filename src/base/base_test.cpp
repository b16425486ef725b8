// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

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

}  // namespace
}  // namespace vmux
