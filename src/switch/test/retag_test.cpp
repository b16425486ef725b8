// SPDX-License-Identifier: BSD-3-Clause
// Ports whose tags are not those of the switch: VLANs with other numbers, service tags, and customers' tags behind
// them.
#include "switch/stages/retag.hpp"

#include <gtest/gtest.h>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using port::DropReason;

constexpr std::uint16_t kService = 0x88a8, kCustomer = 0x8100;

struct Tag {
  std::uint16_t type;
  unsigned tci;
};
Bytes tagged(std::uint8_t to, std::uint8_t from, std::initializer_list<Tag> tags) {
  Bytes out = frame(to, from);
  std::size_t at = 12;
  for (const Tag& tag : tags) {
    Bytes bytes;
    packet::test::append16(bytes, tag.type);
    packet::test::append16(bytes, tag.tci);
    out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin(), bytes.end());
    at += 4;
  }
  return out;
}

VlanConfig mapped(std::vector<VlanTranslation> translations) {
  VlanConfig config = tagged_only({});
  config.translations = std::move(translations);
  return config;
}
VlanConfig customer(std::vector<ServiceVlan> services) {
  VlanConfig config;
  config.services = std::move(services);
  return config;
}
VlanConfig provider(std::vector<std::uint16_t> allowed = {}) {
  VlanConfig config = tagged_only(std::move(allowed));
  config.has_service_tags = true;
  return config;
}

VlanConfig native_and_mapped(std::uint16_t native, std::vector<VlanTranslation> translations) {
  VlanConfig config = trunk(native, {});
  config.translations = std::move(translations);
  return config;
}
VlanConfig native_provider(std::uint16_t native) {
  VlanConfig config = trunk(native, {});
  config.has_service_tags = true;
  return config;
}

struct Row {
  const char* description;
  std::vector<VlanConfig> ports;  // the first sends
  Bytes sent;
  packet::Offload beside;
  std::vector<Bytes> got;                   // by the others; empty: nothing
  std::uint64_t filtered = 0, not_out = 0;  // at the sender; on the way out, at the second port
};

Bytes plain() { return frame(0xff, 1); }

const std::vector<Row> kRows{
    {"a VLAN has another number inside",
     {mapped({{10, 10, 100}}), tagged_only({100})},
     tagged(0xff, 1, {{kCustomer, 10}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 100}})}},
    {"and on the way back",
     {tagged_only({100}), mapped({{10, 10, 100}})},
     tagged(0xff, 1, {{kCustomer, 100}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 10}})}},
    {"its priority stays",
     {mapped({{10, 10, 100}}), tagged_only({100})},
     tagged(0xff, 1, {{kCustomer, 0xa00a}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 0xa064}})}},
    {"a tag beside the bytes, too",
     {mapped({{10, 19, 100}}), tagged_only({105})},
     plain(),
     beside(15),
     {tagged(0xff, 1, {{kCustomer, 105}})}},
    {"two ports with other numbers for one VLAN",
     {mapped({{10, 10, 100}}), mapped({{20, 20, 100}})},
     tagged(0xff, 1, {{kCustomer, 10}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 20}})}},
    {"a number inside is not one outside",
     {mapped({{10, 10, 100}}), tagged_only({100})},
     tagged(0xff, 1, {{kCustomer, 100}}),
     {},
     {{}},
     1},
    {"others keep theirs",
     {mapped({{10, 10, 100}}), tagged_only({7})},
     tagged(0xff, 1, {{kCustomer, 7}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 7}})}},
    {"two that change places",
     {mapped({{10, 10, 20}, {20, 20, 10}}), access(20), access(10)},
     tagged(0xff, 1, {{kCustomer, 10}}),
     {},
     {plain(), {}}},
    {"an access port gets it without",
     {mapped({{10, 10, 100}}), access(100)},
     tagged(0xff, 1, {{kCustomer, 10}}),
     {},
     {plain()}},

    {"a customer's untagged frame gets a service tag",
     {customer({{.vlan = 100}}), provider()},
     plain(),
     {},
     {tagged(0xff, 1, {{kService, 100}})}},
    {"its tag is kept behind that, and its priority is that of both",
     {customer({{.vlan = 100}}), provider()},
     tagged(0xff, 1, {{kCustomer, 0x6007}}),
     {},
     {tagged(0xff, 1, {{kService, 0x6064}, {kCustomer, 0x6007}})}},
    {"so is one beside the bytes",
     {customer({{.vlan = 100}}), provider()},
     plain(),
     beside(7),
     {tagged(0xff, 1, {{kService, 100}, {kCustomer, 7}})}},
    {"so is a tag of a provider, if a customer has one",
     {customer({{.vlan = 100}}), provider()},
     tagged(0xff, 1, {{kService, 9}, {kCustomer, 7}}),
     {},
     {tagged(0xff, 1, {{kService, 100}, {kService, 9}, {kCustomer, 7}})}},
    {"by its VLAN a customer is in another",
     {customer({{10, 19, 100}, {0, 0, 200}}), provider({200}), provider({100})},
     tagged(0xff, 1, {{kCustomer, 15}}),
     {},
     {{}, tagged(0xff, 1, {{kService, 100}, {kCustomer, 15}})}},
    {"without a tag, too",
     {customer({{10, 19, 100}, {0, 0, 200}}), provider({200}), provider({100})},
     plain(),
     {},
     {tagged(0xff, 1, {{kService, 200}}), {}}},
    {"and in none, if none has it",
     {customer({{10, 19, 100}}), provider()},
     tagged(0xff, 1, {{kCustomer, 20}}),
     {},
     {{}},
     1},
    {"from the provider the service tag goes",
     {provider(), customer({{.vlan = 100}})},
     tagged(0xff, 1, {{kService, 100}, {kCustomer, 7}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 7}})}},
    {"and what had none has none",
     {provider(), customer({{.vlan = 100}})},
     tagged(0xff, 1, {{kService, 100}}),
     {},
     {plain()}},
    {"customers of one service hear each other as they are",
     {customer({{.vlan = 100}}), customer({{.vlan = 100}})},
     tagged(0xff, 1, {{kCustomer, 7}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 7}})}},
    {"customers of another do not",
     {customer({{.vlan = 100}}), customer({{.vlan = 200}}), kPlain},
     tagged(0xff, 1, {{kCustomer, 200}}),
     {},
     {{}, tagged(0xff, 1, {{kCustomer, 100}, {kCustomer, 200}})}},
    {"a customer's tag is no service tag to a provider",
     {provider(), customer({{.vlan = 100}})},
     tagged(0xff, 1, {{kCustomer, 100}}),
     {},
     {{}},
     1},
    {"a service VLAN that the provider may not use",
     {provider({200}), customer({{.vlan = 100}})},
     tagged(0xff, 1, {{kService, 100}}),
     {},
     {{}},
     1},
    {"a trunk of 802.1Q has the same VLAN with its own tags",
     {provider(), tagged_only({100})},
     tagged(0xff, 1, {{kService, 100}, {kCustomer, 7}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 100}, {kCustomer, 7}})}},
    {"and the other way round",
     {tagged_only({100}), provider()},
     tagged(0xff, 1, {{kCustomer, 100}, {kCustomer, 7}}),
     {},
     {tagged(0xff, 1, {{kService, 100}, {kCustomer, 7}})}},

    {"a customer's tag does not come to the front where its service VLAN is the native one",
     {customer({{.vlan = 100}}), trunk(100, {20})},
     tagged(0xff, 1, {{kCustomer, 20}}),
     {},
     {{}},
     0,
     1},
    {"nor one beside the bytes", {customer({{.vlan = 100}}), trunk(100, {20})}, plain(), beside(20), {{}}, 0, 1},
    {"nor one behind a service tag",
     {provider(), trunk(100, {20})},
     tagged(0xff, 1, {{kService, 100}, {kCustomer, 20}}),
     {},
     {{}},
     0,
     1},
    {"nor the second of two tags",
     {tagged_only({100}), trunk(100, {20})},
     tagged(0xff, 1, {{kCustomer, 100}, {kCustomer, 20}}),
     {},
     {{}},
     0,
     1},
    {"nor behind one beside the bytes",
     {tagged_only({100}), trunk(100, {20})},
     tagged(0xff, 1, {{kCustomer, 20}}),
     beside(100),
     {{}},
     0,
     1},
    {"behind an access port there is one VLAN, and a tag leads nowhere",
     {customer({{.vlan = 100}}), access(100)},
     tagged(0xff, 1, {{kCustomer, 20}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 20}})}},
    {"nor does a trunk with other numbers",
     {customer({{.vlan = 100}}), native_and_mapped(100, {{10, 10, 30}})},
     tagged(0xff, 1, {{kCustomer, 10}}),
     {},
     {{}},
     0,
     1},
    {"a service tag of a customer is none of the provider's",
     {customer({{.vlan = 100}}), native_provider(100)},
     tagged(0xff, 1, {{kService, 9}}),
     {},
     {{}},
     0,
     1},
    {"whose native VLAN may carry a customer's tag",
     {customer({{.vlan = 100}}), native_provider(100)},
     tagged(0xff, 1, {{kCustomer, 9}}),
     {},
     {tagged(0xff, 1, {{kCustomer, 9}})}},
    {"without a tag of its own it passes", {customer({{.vlan = 100}}), trunk(100, {20})}, plain(), {}, {plain()}},
};

TEST(SwitchRetags, Rows) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.description);
    Bench bench{row.ports};
    bench[0].send(row.sent, row.beside);
    bench.run();
    for (std::size_t i = 0; i < row.got.size(); ++i) {
      const std::vector<Bytes> expected = row.got[i].empty() ? std::vector<Bytes>{} : std::vector<Bytes>{row.got[i]};
      EXPECT_EQ(bench[i + 1].inbox, expected) << "port " << i + 1;
    }
    EXPECT_EQ(bench[0].counters().drops(DropReason::filtered).get(), row.filtered);
    EXPECT_EQ(bench[1].counters().drops(DropReason::filtered).get(), row.not_out);
  }
}

TEST(SwitchRetags, WhatIsLearntIsInTheVlanOfTheSwitch) {
  Bench bench{{customer({{.vlan = 100}}), mapped({{10, 10, 100}}), provider()}};
  bench.introduce(0, tagged(9, 1, {{kCustomer, 7}}));
  bench[1].send(tagged(1, 2, {{kCustomer, 10}}));
  bench.run();
  EXPECT_EQ(bench[0].inbox, std::vector<Bytes>{frame(1, 2)});
  EXPECT_TRUE(bench[2].inbox.empty());
}

TEST(SwitchRetags, OnTheWayToAnotherPollerTooAndManyInABurst) {
  CrossBench bench;
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[0], customer({{.vlan = 100}})));
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[2], provider()));
  std::vector<Bytes> expected;
  for (unsigned i = 1; i <= 20; ++i) {
    bench.ports[0].send(tagged(0xff, 1, {{kCustomer, i}}));
    expected.push_back(tagged(0xff, 1, {{kService, 100}, {kCustomer, i}}));
  }
  bench.run();
  EXPECT_EQ(bench.ports[2].inbox, expected);
}

// Of two frames side by side for one port the one must go, and the other must not.
TEST(SwitchRetags, OnTheWayToAnotherPollerACustomersTagIsStillSeen) {
  CrossBench bench;
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[0], customer({{.vlan = 100}})));
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[2], trunk(100, {20})));
  ASSERT_TRUE(bench.sw->set_vlan(bench.ids[3], access(100)));
  bench.ports[0].send(plain());
  bench.ports[0].send(tagged(0xff, 1, {{kCustomer, 20}}));
  bench.ports[0].send(plain());
  bench.run();
  EXPECT_EQ(bench.ports[2].inbox, (std::vector<Bytes>{plain(), plain()}));
  EXPECT_EQ(bench.ports[3].inbox, (std::vector<Bytes>{plain(), tagged(0xff, 1, {{kCustomer, 20}}), plain()}));
  EXPECT_EQ(bench.ports[2].counters().drops(DropReason::filtered).get(), 1u);
}

TEST(SwitchRetags, WhatIsLeftUndoneMovesWithTheBytes) {
  packet::FrameView view;
  const Bytes bytes = tagged(2, 1, {{kService, 5}, {kCustomer, 7}});
  view.header = packet::test::slice(bytes);
  view.length = static_cast<std::uint32_t>(bytes.size());
  view.offload.needs_checksum = true;
  view.offload.csum_start = 42;
  view.offload.gso = packet::Gso::udp;
  view.offload.header_length = 50;
  view.offload.tunnel = 30;
  std::array<std::byte, packet::kLongestHeader> room{};
  ASSERT_TRUE(pop_tag(view, room));
  EXPECT_EQ(view.length, bytes.size() - 4);
  EXPECT_EQ(view.offload.csum_start, 38);
  EXPECT_EQ(view.offload.header_length, 46);
  EXPECT_EQ(view.offload.tunnel, 26);
  ASSERT_TRUE(push_tag(view, kService, 5, room));
  EXPECT_EQ(view.offload.csum_start, 42);
  EXPECT_TRUE(std::equal(view.header.begin(), view.header.end(), packet::test::slice(bytes).begin()));
}

TEST(SwitchRetags, AHeaderThatHasNoRoomIsLeft) {
  const Bytes bytes(packet::kLongestHeader, 1);
  packet::FrameView view;
  view.header = packet::test::slice(bytes);
  view.length = static_cast<std::uint32_t>(bytes.size());
  std::array<std::byte, packet::kLongestHeader> room{};
  EXPECT_FALSE(push_tag(view, kService, 5, room));
  EXPECT_EQ(view.header.data(), packet::test::slice(bytes).data());
  view.header = view.header.first(16);
  EXPECT_FALSE(pop_tag(view, room));
}

TEST(SwitchRetags, WhatMakesNoSenseIsRefused) {
  Bench bench{{kPlain}};
  VlanConfig both = customer({{.vlan = 100}});
  both.tag = 7;
  VlanConfig access_with_map = access(7);
  access_with_map.translations = {{1, 1, 2}};
  for (const VlanConfig& config :
       {mapped({{10, 10, 100}, {10, 10, 101}}), mapped({{10, 10, 100}, {11, 11, 100}}), mapped({{0, 0, 100}}),
        mapped({{10, 20, 4090}}), customer({{.vlan = 0}}), customer({{.vlan = 4095}}), both, access_with_map}) {
    EXPECT_FALSE(bench.sw->set_vlan(bench.ids[0], config));
  }
}

// --- groups that stay on a link ---

Bytes group_frame(std::uint8_t last) {
  Bytes bytes = frame(0xff, 1);
  const Bytes to{0x01, 0x80, 0xc2, 0, 0, last};
  std::copy(to.begin(), to.end(), bytes.begin());
  return bytes;
}

TEST(SwitchGroups, APortsFilterHoldsBothWaysWhateverTheSwitchLetsPass) {
  Bench bench{{kPlain, kPlain, kPlain}, {.forwarded_groups = 0x4001}};
  ASSERT_TRUE(bench.sw->set_filtered_groups(bench.ids[1], 0x4000));
  bench[0].send(group_frame(0xe));
  bench[0].send(group_frame(0x0));
  bench.run();
  EXPECT_EQ(bench[1].inbox, std::vector<Bytes>{group_frame(0)});
  EXPECT_EQ(bench[2].inbox.size(), 2u);
  EXPECT_EQ(bench[1].counters().drops(DropReason::filtered).get(), 1u);
  bench[1].send(group_frame(0xe));
  bench[1].send(group_frame(0x0));
  bench.run();
  EXPECT_EQ(bench[0].inbox, std::vector<Bytes>{group_frame(0)});
  EXPECT_EQ(bench[1].counters().drops(DropReason::filtered).get(), 2u);
  ASSERT_TRUE(bench.sw->set_filtered_groups(bench.ids[1], 0));
  bench[1].send(group_frame(0xe));
  bench.run();
  EXPECT_EQ(bench[0].inbox.size(), 2u);
}

}  // namespace
}  // namespace vmux::switching
