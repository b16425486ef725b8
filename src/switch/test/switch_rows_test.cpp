// SPDX-License-Identifier: BSD-3-Clause
// Who gets a frame, and with which tag: one row for each case.
#include "switch/switch.hpp"

#include <gtest/gtest.h>

#include <tuple>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;

struct Out {
  std::size_t port;
  Bytes bytes;
};
struct Row {
  const char* description;
  std::vector<VlanConfig> ports;
  std::vector<std::pair<std::size_t, Bytes>> heard_before;
  Bytes in;  // sent by port 0
  packet::Offload offload;
  std::vector<Out> out;
  std::uint64_t filtered = 0, malformed = 0;  // counted at port 0
};

Bytes without_ethertype() {
  Bytes bytes = frame(2, 1);
  bytes.resize(13);
  return bytes;
}
Bytes cut_tag() {
  Bytes bytes = frame(2, 1, 5);
  bytes.resize(17);
  return bytes;
}
Bytes to_address(Bytes bytes, const Bytes& address) {
  std::copy(address.begin(), address.end(), bytes.begin());
  return bytes;
}

// Behind the addresses a priority tag, and behind that what a VLAN tag would be.
Bytes double_tagged(std::uint8_t to, std::uint16_t inner, std::size_t payload = 46) {
  Bytes bytes = frame(to, 1, inner, payload);
  const Bytes priority{0x81, 0x00, 0xe0, 0x00};
  bytes.insert(bytes.begin() + 12, priority.begin(), priority.end());
  return bytes;
}

const Row kRows[] = {
    {"an unknown station: everyone but the sender",
     {kPlain, kPlain, kPlain},
     {},
     frame(2, 1),
     {},
     {{1, frame(2, 1)}, {2, frame(2, 1)}}},
    {"broadcast: everyone but the sender",
     {kPlain, kPlain, kPlain},
     {{1, frame(9, 2)}},
     frame(0xff, 1),
     {},
     {{1, frame(0xff, 1)}, {2, frame(0xff, 1)}}},
    {"a known station: its port alone",
     {kPlain, kPlain, kPlain},
     {{2, frame(9, 3)}},
     frame(3, 1),
     {},
     {{2, frame(3, 1)}}},
    {"a station behind the sender's own port: nowhere", {kPlain, kPlain}, {{0, frame(9, 2)}}, frame(2, 1), {}, {}, 1},
    {"a station that moved: its new port",
     {kPlain, kPlain, kPlain},
     {{1, frame(9, 3)}, {2, frame(9, 3)}},
     frame(3, 1),
     {},
     {{2, frame(3, 1)}}},
    {"a group address as source is forwarded, and not learnt",
     {kPlain, kPlain, kPlain},
     {{2, from_address(frame(9, 9), {3, 0, 0, 0, 0, 7})}},
     to_address(frame(9, 1), {3, 0, 0, 0, 0, 7}),
     {},
     {{1, to_address(frame(9, 1), {3, 0, 0, 0, 0, 7})}, {2, to_address(frame(9, 1), {3, 0, 0, 0, 0, 7})}}},
    {"cut Ethernet header", {kPlain, kPlain}, {}, without_ethertype(), {}, {}, 0, 1},
    {"cut tag", {kPlain, kPlain}, {}, cut_tag(), {}, {}, 0, 1},

    {"default ports: a tag passes untouched",
     {kPlain, kPlain},
     {},
     frame(2, 1, 0x6005),
     {},
     {{1, frame(2, 1, 0x6005)}}},
    {"default ports: a tag beside ends in the bytes",
     {kPlain, kPlain},
     {},
     frame(2, 1),
     beside(0x6005),
     {{1, frame(2, 1, 0x6005)}}},
    {"default ports: a priority tag is taken off", {kPlain, kPlain}, {}, frame(2, 1, 0x6000), {}, {{1, frame(2, 1)}}},
    {"VLAN 4095 is reserved", {kPlain, kPlain}, {}, frame(2, 1, 4095), {}, {}, 1},
    {"a service tag is not a VLAN tag",
     {access(5), access(5)},
     {},
     [] {
       Bytes b = frame(2, 1, 7);
       b[12] = 0x88;
       b[13] = 0xa8;
       return b;
     }(),
     {},
     {{1,
       [] {
         Bytes b = frame(2, 1, 7);
         b[12] = 0x88;
         b[13] = 0xa8;
         return b;
       }()}}},
    {"stations are known per VLAN",
     {kPlain, kPlain, kPlain},
     {{1, frame(9, 3, 5)}},
     frame(3, 1, 6),
     {},
     {{1, frame(3, 1, 6)}, {2, frame(3, 1, 6)}}},

    {"access to access of the same VLAN", {access(5), access(5), access(6)}, {}, frame(2, 1), {}, {{1, frame(2, 1)}}},
    {"access to access of another VLAN", {access(5), access(6)}, {}, frame(0xff, 1), {}, {}},
    {"access does not reach untagged segments", {access(5), kPlain}, {}, frame(0xff, 1), {}, {{1, frame(0xff, 1, 5)}}},
    {"access refuses tags", {access(5), access(5)}, {}, frame(2, 1, 5), {}, {}, 1},
    {"access refuses a tag beside", {access(5), access(5)}, {}, frame(2, 1), beside(7), {}, 1},
    {"access takes a priority tag", {access(5), access(5)}, {}, frame(2, 1, 0xe000), {}, {{1, frame(2, 1)}}},
    {"access takes a priority tag beside", {access(5), access(5)}, {}, frame(2, 1), beside(0xe000), {{1, frame(2, 1)}}},
    {"access to trunk: tagged", {access(5), trunk(0, {5, 6})}, {}, frame(2, 1), {}, {{1, frame(2, 1, 5)}}},
    {"access to trunk: the priority stays",
     {access(5), trunk(0, {5})},
     {},
     frame(2, 1, 0xe000),
     {},
     {{1, frame(2, 1, 0xe005)}}},
    {"access to a trunk that does not carry it", {access(5), trunk(0, {6})}, {}, frame(2, 1), {}, {}},
    {"access to a trunk whose native VLAN it is: untagged",
     {access(5), trunk(5, {6})},
     {},
     frame(2, 1),
     {},
     {{1, frame(2, 1)}}},
    {"trunk to access: the tag goes",
     {trunk(0, {5}), access(5), access(6)},
     {},
     frame(2, 1, 0x2005),
     {},
     {{1, frame(2, 1)}}},
    {"trunk to access: a tag beside goes", {trunk(0, {5}), access(5)}, {}, frame(2, 1), beside(5), {{1, frame(2, 1)}}},
    {"trunk to access: only the outer tag goes",
     {trunk(0, {5}), access(5)},
     {},
     frame(2, 1, 7),
     beside(5),
     {{1, frame(2, 1, 7)}}},
    {"trunk to trunk", {trunk(0, {5}), trunk(0, {5}), trunk(0, {6})}, {}, frame(2, 1, 5), {}, {{1, frame(2, 1, 5)}}},
    {"trunk refuses what it does not carry", {trunk(0, {5}), kPlain}, {}, frame(2, 1, 6), {}, {}, 1},
    {"trunk with a native VLAN: untagged frames belong to it",
     {trunk(5, {6}), access(5), access(6)},
     {},
     frame(2, 1),
     {},
     {{1, frame(2, 1)}}},
    {"trunk with a native VLAN: a tag of it is taken",
     {trunk(5, {6}), access(5)},
     {},
     frame(2, 1, 5),
     {},
     {{1, frame(2, 1)}}},
    {"native to tagged trunk: a priority tag gets the VLAN",
     {trunk(5, {6}), trunk(0, {5})},
     {},
     frame(2, 1, 0x6000),
     {},
     {{1, frame(2, 1, 0x6005)}}},
    {"a trunk without a native VLAN takes no untagged frame", {tagged_only({5}), kPlain}, {}, frame(2, 1), {}, {}, 1},
    {"a trunk without a native VLAN takes no priority tag",
     {tagged_only({5}), kPlain},
     {},
     frame(2, 1, 0xe000),
     {},
     {},
     1},
    {"a trunk without a native VLAN gets no untagged frame", {kPlain, tagged_only({5})}, {}, frame(2, 1), {}, {}},
    {"a trunk without a native VLAN: tags pass as before",
     {tagged_only({}), tagged_only({5}), access(5)},
     {},
     frame(2, 1, 5),
     {},
     {{1, frame(2, 1, 5)}, {2, frame(2, 1)}}},
    {"a tag behind a priority tag is no way into its VLAN",
     {access(5), trunk(5, {6}), trunk(0, {5})},
     {},
     double_tagged(2, 7),
     {},
     {},
     1},
    {"nor behind a priority tag beside", {access(5), trunk(5, {6})}, {}, frame(2, 1, 7), beside(0), {}, 1},
    {"a flood leaves each port in its own form",
     {trunk(0, {5}), access(5), trunk(5, {6}), trunk(0, {5}), access(6)},
     {},
     frame(0xff, 1, 5),
     {},
     {{1, frame(0xff, 1)}, {2, frame(0xff, 1)}, {3, frame(0xff, 1, 5)}}},
};

class SwitchRows : public testing::TestWithParam<Row> {};

TEST_P(SwitchRows, ForwardsAsTheRowSays) {
  const Row& row = GetParam();
  Bench bench{row.ports};
  for (const auto& [at, bytes] : row.heard_before)
    bench.introduce(at, bytes);
  bench[0].send(row.in, row.offload);
  bench.run();
  std::vector<std::vector<Bytes>> expected(row.ports.size());
  for (const Out& out : row.out)
    expected[out.port].push_back(out.bytes);
  for (std::size_t i = 0; i < row.ports.size(); ++i) {
    EXPECT_EQ(bench[i].inbox, expected[i]) << row.description << ", port " << i;
  }
  EXPECT_EQ(bench[0].counters().drops(port::DropReason::filtered).get(), row.filtered) << row.description;
  EXPECT_EQ(bench[0].counters().drops(port::DropReason::malformed).get(), row.malformed) << row.description;
}

INSTANTIATE_TEST_SUITE_P(Rows, SwitchRows, testing::ValuesIn(kRows));

// Frames to 01-80-C2-00-00-00 to -0F, and to the address behind these.
struct GroupCase {
  const char* description;
  std::uint16_t forwarded_groups;
  std::uint32_t pass;  // bit n: what is sent to ..-n arrives
};
constexpr SwitchOptions kDefaults;
const GroupCase kGroupCases[] = {
    {"by default spanning tree passes", kDefaults.forwarded_groups, 0x1'0001},
    {"all of table 8-1 end here", 0, 0x1'0000},
    {"LACP, 802.1X and LLDP pass", 1u << 2 | 1u << 3 | 1u << 14, 0x1'400c},
    {"all that may", 0xfffd, 0x1'fffd},
};
Bytes to_group(std::uint8_t last, std::optional<unsigned> tci = {}) {
  return to_address(frame(9, 1, tci), {0x01, 0x80, 0xc2, 0, 0, last});
}

class SwitchGroups : public testing::TestWithParam<GroupCase> {};
TEST_P(SwitchGroups, PassAsTheOptionSays) {
  Bench bench{{kPlain, kPlain, kPlain}, {.forwarded_groups = GetParam().forwarded_groups}};
  std::vector<Bytes> expected;
  for (std::uint8_t last = 0; last <= 16; ++last) {
    for (const std::optional<unsigned> tci : {std::optional<unsigned>{}, std::optional<unsigned>{5}}) {
      bench[0].send(to_group(last, tci));
      if ((GetParam().pass >> last & 1) != 0) expected.push_back(to_group(last, tci));
    }
  }
  bench.run();
  EXPECT_EQ(bench[1].inbox, expected) << GetParam().description;
  EXPECT_EQ(bench[2].inbox, expected) << GetParam().description;
  EXPECT_EQ(bench[0].counters().drops(port::DropReason::filtered).get(), 34 - expected.size())
      << GetParam().description;
}
INSTANTIATE_TEST_SUITE_P(Rows, SwitchGroups, testing::ValuesIn(kGroupCases));

TEST(SwitchGroup, NeverCountPauseAmongThem) {
  EXPECT_EQ(Switch::create("sw", {.forwarded_groups = 2}).error().code, Errc::invalid_argument);
}

// Frames that are like the one before them are not looked at again: each must go where it goes alone.
TEST(SwitchBurst, ForwardsAFrameAlikeWhateverComesBeforeIt) {
  std::vector<Sent> kinds{{frame(3, 1), {}},
                          {frame(4, 1), {}},
                          {frame(0xff, 1), {}},
                          {frame(3, 0), {}},
                          {frame(3, 1, 6), {}},
                          {frame(3, 1, 7), {}},
                          {frame(3, 1, 9), {}},
                          {frame(3, 1), beside(6)},
                          {frame(3, 1), beside(7)},
                          {frame(9, 1), {}},
                          {cut_tag(), {}},
                          {without_ethertype(), {}},
                          {frame(3, 1, 0xe000, 300), {}},
                          {double_tagged(3, 6, 300), {}}};
  const auto outcome = [](const Sent& first, const Sent& second, bool together) {
    Bench bench{{trunk(5, {6, 7}), access(5), trunk(5, {6})}};
    bench.introduce(1, frame(9, 3));
    bench.introduce(2, frame(9, 4));
    for (const Sent& sent : {first, second, first, second}) {
      bench[0].send(sent.bytes, sent.offload);
      if (!together) bench.run();
    }
    bench.run();
    return std::tuple{bench[1].inbox, bench[2].inbox, bench[0].counters().drops(port::DropReason::filtered).get(),
                      bench[0].counters().drops(port::DropReason::malformed).get()};
  };
  for (const Sent& first : kinds) {
    for (const Sent& second : kinds)
      EXPECT_EQ(outcome(first, second, true), outcome(first, second, false));
  }
}

}  // namespace
}  // namespace vmux::switching
