// SPDX-License-Identifier: BSD-3-Clause
// Rates by a clock of the test's own: what passes is what the limit says, within a thousandth.
#include "switch/policy/meter.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "port/port.hpp"

namespace vmux::switching {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

packet::FrameView plain(std::uint32_t length) { return {.header = {}, .payload = {}, .length = length, .offload = {}}; }

packet::FrameView super(std::uint32_t length, std::uint16_t headers, std::uint16_t size) {
  packet::FrameView view = plain(length);
  view.offload.gso = packet::Gso::tcp4;
  view.offload.header_length = headers;
  view.offload.gso_size = size;
  return view;
}

TEST(OnWire, CountsPiecesAndTags) {
  EXPECT_EQ(on_wire(plain(60)).bytes, 60u);
  EXPECT_EQ(on_wire(plain(60)).frames, 1u);
  const OnWire whole = on_wire(super(54 + 1460, 54, 1460));
  EXPECT_EQ(whole.frames, 1u);
  EXPECT_EQ(whole.bytes, 1514u);
  packet::FrameView view = super(54 + 3 * 1460 + 1, 54, 1460);
  EXPECT_EQ(on_wire(view).frames, 4u);
  EXPECT_EQ(on_wire(view).bytes, 3u * 1514 + 55);
  view.offload.has_vlan = true;
  EXPECT_EQ(on_wire(view).bytes, 3u * 1518 + 59);
}

TEST(OnWire, OfASuperFrameThatIsNoneIsOneFrame) {
  EXPECT_EQ(on_wire(super(54, 54, 1460)).frames, 1u);
  EXPECT_EQ(on_wire(super(40, 54, 1460)).frames, 1u);
  EXPECT_EQ(on_wire(super(1000, 54, 0)).frames, 1u);
}

struct Passed {
  std::uint64_t bytes = 0, frames = 0;
};

// Somebody who always has more of such frames, and asks every `every_ns`, or when it was told to.
Passed pass_for(Meter& meter, const packet::FrameView& view, std::uint64_t from_ns, std::uint64_t for_ns,
                std::uint64_t every_ns) {
  std::array<packet::FrameView, port::kMaxBurst> burst;
  burst.fill(view);
  const OnWire one = on_wire(view);
  Passed all;
  for (std::uint64_t now = from_ns; now < from_ns + for_ns;) {
    const std::size_t passed = meter.pass(burst, now);
    all.bytes += passed * one.bytes;
    all.frames += passed * one.frames;
    now += passed == burst.size() ? 1 : std::max<std::uint64_t>({meter.wait_ns(now), every_ns, 1});
  }
  return all;
}

struct Rate {
  const char* name;
  Limit limit;
  std::uint32_t length, gso;
  std::uint64_t for_ns, every_ns;
};
void PrintTo(const Rate& row, std::ostream* out) { *out << row.name; }

class MeterRate : public testing::TestWithParam<Rate> {};

TEST_P(MeterRate, HoldsBehindTheFirstBurst) {
  const Rate& row = GetParam();
  const packet::FrameView view =
      row.gso == 0 ? plain(row.length) : super(row.length, 54, static_cast<std::uint16_t>(row.gso));
  Meter meter{row.limit};
  const std::uint64_t start = 77 * kSecond;
  static_cast<void>(pass_for(meter, view, start, kSecond / 10, row.every_ns));  // the burst
  const Passed all = pass_for(meter, view, start + kSecond / 10, row.for_ns, row.every_ns);
  const double seconds = static_cast<double>(row.for_ns) / 1e9;
  const double expected = row.limit.bits_per_s != 0 ? static_cast<double>(row.limit.bits_per_s) / 8 * seconds
                                                    : static_cast<double>(row.limit.frames_per_s) * seconds;
  const double got = static_cast<double>(row.limit.bits_per_s != 0 ? all.bytes : all.frames);
  const double grain = row.limit.bits_per_s != 0 ? static_cast<double>(on_wire(view).bytes) : on_wire(view).frames;
  EXPECT_NEAR(got, expected, expected / 1000 + 2 * grain);
}

INSTANTIATE_TEST_SUITE_P(
    Rates, MeterRate,
    testing::Values(Rate{"1M_60", {1'000'000, 0, 0}, 60, 0, 100 * kSecond, 50'000},
                    Rate{"1M_64K", {1'000'000, 0, 0}, 65'000, 1460, 1000 * kSecond, 50'000},
                    Rate{"100M_1514_asked_each_ms", {100'000'000, 0, 0}, 1514, 0, 10 * kSecond, 1'000'000},
                    Rate{"1G_60", {1'000'000'000, 0, 0}, 60, 0, kSecond, 1000},
                    Rate{"10G_60", {10'000'000'000, 0, 0}, 60, 0, kSecond / 10, 100},
                    Rate{"10G_64K_asked_each_ms", {10'000'000'000, 0, 0}, 65'000, 1460, kSecond, 1'000'000},
                    Rate{"10G_least_burst_each_ms", {10'000'000'000, 0, 1}, 9000, 0, kSecond, 1'000'000},
                    Rate{"400G_64K", {400'000'000'000, 0, 0}, 65'000, 1460, kSecond / 10, 1000},
                    Rate{"1000pps", {0, 1000, 0}, 1514, 0, 100 * kSecond, 50'000},
                    Rate{"1pps", {0, 1, 0}, 60, 0, 10'000 * kSecond, 1'000'000},
                    Rate{"14Mpps", {0, 14'000'000, 0}, 60, 0, kSecond / 10, 100},
                    Rate{"14Mpps_64K", {0, 14'000'000, 0}, 65'000, 1460, kSecond / 10, 100}),
    [](const auto& row) { return std::string{row.param.name}; });

TEST(Meter, LetsABurstPassAfterASilence) {
  const std::vector<packet::FrameView> frames(2000, plain(1000));
  Meter meter{{.bits_per_s = 8'000'000, .frames_per_s = 0, .burst_bytes = 100'000}};
  EXPECT_EQ(meter.pass(frames, kSecond), 100u);
  EXPECT_EQ(meter.pass(frames, kSecond), 0u);
  EXPECT_GT(meter.wait_ns(kSecond), 0u);
  EXPECT_EQ(meter.pass(frames, 2 * kSecond), 100u);  // 1 MB in that second, of which the burst is kept
}

TEST(Meter, WhatIsLongerThanTheBurstPassesAndIsPaidFor) {
  const std::array<packet::FrameView, 2> frames{super(65'000, 54, 1460), plain(60)};
  Meter meter{{.bits_per_s = 800'000, .frames_per_s = 0, .burst_bytes = 1500}};
  EXPECT_EQ(meter.pass(frames, kSecond), 1u);
  const std::uint64_t until = kSecond + meter.wait_ns(kSecond);
  EXPECT_GT(until, kSecond + kSecond / 2);
  EXPECT_EQ(meter.pass(std::span{frames}.last(1), until - kSecond / 4), 0u);
  EXPECT_EQ(meter.pass(std::span{frames}.last(1), until), 1u);
}

TEST(Meter, OfBothLimitsTheTighterHolds) {
  const std::vector<packet::FrameView> small(2000, plain(60)), large(2000, plain(1500));
  const Limit limit{.bits_per_s = 8'000'000, .frames_per_s = 10'000, .burst_bytes = 150'000};
  Meter meter{limit};
  EXPECT_EQ(meter.pass(small, kSecond), 100u);  // 10 ms of frames
  Meter other{limit};
  EXPECT_EQ(other.pass(large, kSecond), 100u);
  EXPECT_EQ(other.pass(small, kSecond), 0u);
}

TEST(Meter, CountsRightWhenTheClockHasRunForYears) {
  constexpr std::uint64_t kYears = 9 * 365 * 86'400 * kSecond;  // ticks of 1/64 ns begin anew in the tenth
  const std::vector<packet::FrameView> frames(2000, plain(1000));
  Meter meter{{.bits_per_s = 8'000'000, .frames_per_s = 0, .burst_bytes = 100'000}};
  EXPECT_EQ(meter.pass(frames, kYears), 100u);
  for (std::uint64_t day = 1; day < 400; ++day)
    EXPECT_EQ(meter.pass(frames, kYears + day * 86'400 * kSecond), 100u) << day;
}

}  // namespace
}  // namespace vmux::switching
