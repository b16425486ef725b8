// SPDX-License-Identifier: BSD-3-Clause
// VLANs in both dialects of virtchnl, from the message to the frames.
#include <gtest/gtest.h>

#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;
using fake_guest::IavfMessage;

constexpr std::uint32_t k8100 = 1, k88a8 = 2, k9100 = 4;
constexpr std::uint64_t kInsertTag1 = std::uint64_t{8} << 4;  // of a data descriptor

Bytes filter(std::uint16_t tpid, std::uint16_t tci, std::uint16_t mask = 0, std::uint16_t inner_tpid = 0) {
  IavfBody body;
  body.u16(1).u16(1).u32(0);
  body.u16(inner_tpid == 0 ? 0 : 1).u16(0).u16(inner_tpid).u16(0);
  return body.u16(tci).u16(mask).u16(tpid).u16(0).zeros(16).bytes();
}
Bytes setting(std::uint32_t outer, std::uint32_t inner) {
  return IavfBody{}.u32(outer).u32(inner).u16(1).zeros(6).bytes();
}
/// A frame with tags in front of its type, each a type and a VLAN below 256.
Bytes tagged(std::initializer_list<std::pair<unsigned, unsigned>> tags, std::size_t size = 64) {
  Bytes frame = to_iavf(size);
  std::size_t at = 12;
  for (const auto& [tpid, vid] : tags) {
    const Bytes tag{std::byte(tpid >> 8), std::byte(tpid & 0xff), std::byte{0}, std::byte(vid)};
    frame.insert(frame.begin() + static_cast<std::ptrdiff_t>(at), tag.begin(), tag.end());
    at += 4;
  }
  return frame;
}

struct VlanRig : IavfRig {
  explicit VlanRig(std::uint32_t dialect = kVlanV2) { guest->bring_up({.capabilities = kL2 | dialect}); }
  std::int32_t ask(std::uint32_t op, const Bytes& body) { return guest->call(op, body).status; }
  bool receives(const Bytes& frame) {
    EXPECT_EQ(arrive(frame), 1u);
    return guest->receive().has_value();
  }
};

TEST(IavfVlan, SaysWhereTheTagsAreAndWhatTheyMayBe) {
  VlanRig rig;
  const IavfMessage caps = rig.guest->call(kVlanCaps);
  ASSERT_EQ(caps.body.size(), 40u);
  EXPECT_EQ(caps.number(0, 4), k8100 | k88a8 | 1u << 29);  // filters: outer tags of both kinds together
  EXPECT_EQ(caps.number(4, 4), 0u);                        // none of inner ones
  EXPECT_EQ(caps.number(8, 4), k8100 | k88a8);             // all of them in force from the beginning
  EXPECT_EQ(caps.number(12, 2), 8190u);                    // two sets of VLANs
  const std::uint64_t outer = 1u << 31 | 1u << 30 | k8100 | k88a8 | 1u << 8;  // either kind, in L2TAG1
  EXPECT_EQ(caps.number(16, 4), outer);                                       // stripped ...
  EXPECT_EQ(caps.number(20, 4), 1u << 31 | k8100 | 1u << 10);  // ... and the inner one to the second L2TAG2
  EXPECT_EQ(caps.number(24, 4), outer);                        // inserted
  EXPECT_EQ(caps.number(28, 4), 1u << 31 | k8100 | 1u << 9);
  EXPECT_EQ(caps.number(32, 4), k8100);
}

TEST(IavfVlan, TakesFiltersOfOuterTagsOnly) {
  VlanRig rig;
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x8100, 100)), kOk);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x88a8, 100)), kOk);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x8100, 0)), kOk);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x9100, 100)), kParam);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x8100, 4096)), kParam);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x8100, 100, 0xfff)), kParam);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x88a8, 100, 0, 0x8100)), kParam);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0, 0, 0, 0x8100)), kParam);
  EXPECT_EQ(rig.ask(kFilterV2, setting(k8100, 0)), kNotSupported);
}

TEST(IavfVlan, TakesSettingsOfOneTypeForEachTag) {
  VlanRig rig;
  EXPECT_EQ(rig.ask(kStripV2, setting(k8100, 0)), kOk);
  EXPECT_EQ(rig.ask(kStripV2, setting(0, k8100)), kOk);
  EXPECT_EQ(rig.ask(kStripV2, setting(k88a8, k8100)), kOk);
  for (const auto& wrong : {setting(0, 0), setting(k8100 | k88a8, 0), setting(k9100, 0), setting(0, k88a8)}) {
    for (const std::uint32_t op : {kStripV2, kDontStripV2, kInsertV2, kDontInsertV2})
      EXPECT_EQ(rig.ask(op, wrong), kParam) << op;
  }
}

TEST(IavfVlan, LetsInWhatWasAskedForByKindAndNumber) {
  VlanRig rig;
  EXPECT_TRUE(rig.receives(tagged({{0x8100, 5}})));  // nothing is filtered yet
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x8100, 5)), kOk);
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x88a8, 6)), kOk);
  EXPECT_TRUE(rig.receives(tagged({{0x8100, 5}})));
  EXPECT_TRUE(rig.receives(tagged({{0x88a8, 6}})));
  EXPECT_TRUE(rig.receives(tagged({{0x88a8, 6}, {0x8100, 77}})));  // the inner one is not looked at
  EXPECT_TRUE(rig.receives(tagged({})));
  EXPECT_FALSE(rig.receives(tagged({{0x88a8, 5}})));
  EXPECT_FALSE(rig.receives(tagged({{0x8100, 6}})));
  EXPECT_EQ(rig.ask(kDelVlanV2, filter(0x88a8, 6)), kOk);
  EXPECT_FALSE(rig.receives(tagged({{0x88a8, 6}})));
  EXPECT_EQ(rig.ask(kDelVlanV2, filter(0x8100, 5)), kOk);
  EXPECT_TRUE(rig.receives(tagged({{0x88a8, 6}})));  // none left: nothing is filtered
}

TEST(IavfVlan, StripsTheOuterTagOfTheTypeThatWasChosen) {
  VlanRig rig;
  EXPECT_EQ(rig.ask(kStripV2, setting(k88a8, 0)), kOk);
  ASSERT_EQ(rig.arrive(tagged({{0x88a8, 6}})), 1u);
  auto got = rig.guest->receive().value();
  EXPECT_EQ(got.bytes, to_iavf(64));
  EXPECT_EQ(got.qword1 & 4, 4u);  // L2TAG1P
  EXPECT_EQ(got.qword0 >> 16 & 0xffff, 6u);
  ASSERT_EQ(rig.arrive(tagged({{0x8100, 6}})), 1u);
  got = rig.guest->receive().value();
  EXPECT_EQ(got.bytes, tagged({{0x8100, 6}}));
  EXPECT_EQ(got.qword1 & 4, 0u);
  EXPECT_EQ(rig.ask(kDontStripV2, setting(k88a8, 0)), kOk);
  ASSERT_EQ(rig.arrive(tagged({{0x88a8, 6}})), 1u);
  EXPECT_EQ(rig.guest->receive().value().bytes, tagged({{0x88a8, 6}}));
}

TEST(IavfVlan, StripsTwoTagsIntoBothPlaces) {
  VlanRig rig;
  EXPECT_EQ(rig.ask(kStripV2, setting(k88a8, k8100)), kOk);
  ASSERT_EQ(rig.arrive(tagged({{0x88a8, 6}, {0x8100, 7}})), 1u);
  const auto got = rig.guest->receive().value();
  EXPECT_EQ(got.bytes, to_iavf(64));
  EXPECT_EQ(got.qword0 >> 16 & 0xffff, 6u);
  EXPECT_EQ(got.qword2 & 1, 1u);  // L2TAG2P
  EXPECT_EQ(got.qword2 >> 48, 7u);
}

TEST(IavfVlan, InsertsTheOuterTagWithTheTypeThatWasChosen) {
  VlanRig rig;
  rig.guest->send_frame(to_iavf(64), 0, kInsertTag1 | std::uint64_t{100} << 48);
  EXPECT_EQ(rig.take(), std::vector<Bytes>{tagged({{0x8100, 100}})});
  EXPECT_EQ(rig.ask(kInsertV2, setting(k88a8, 0)), kOk);
  rig.guest->send_frame(to_iavf(64), 0, kInsertTag1 | std::uint64_t{100} << 48);
  EXPECT_EQ(rig.take(), std::vector<Bytes>{tagged({{0x88a8, 100}})});
  EXPECT_EQ(rig.ask(kDontInsertV2, setting(k88a8, 0)), kOk);
  rig.guest->send_frame(to_iavf(64), 0, kInsertTag1 | std::uint64_t{100} << 48);
  EXPECT_EQ(rig.take(), std::vector<Bytes>{to_iavf(64)});
}

TEST(IavfVlan, InsertsTheTagOfAContextDescriptorBehindTheOuterOne) {
  VlanRig rig;
  EXPECT_EQ(rig.ask(kInsertV2, setting(k88a8, k8100)), kOk);
  const std::uint64_t inner = std::uint64_t{7} << 32, with_tag2 = 1 | std::uint64_t{4} << 4;  // IL2TAG2
  rig.guest->queue_raw(0, inner, with_tag2);
  rig.guest->send_frame(to_iavf(64), 0, kInsertTag1 | std::uint64_t{6} << 48);
  EXPECT_EQ(rig.take(), std::vector<Bytes>{tagged({{0x88a8, 6}, {0x8100, 7}})});
  rig.guest->queue_raw(0, inner, with_tag2);
  rig.guest->send_frame(to_iavf(64));
  EXPECT_EQ(rig.take(), std::vector<Bytes>{tagged({{0x8100, 7}})});
}

TEST(IavfVlan, FirstDialectFiltersAndStrips) {
  VlanRig rig{kVlan};
  EXPECT_EQ(rig.ask(kAddVlan, IavfBody{}.u16(1).u16(1).u16(5).bytes()), kOk);
  EXPECT_EQ(rig.ask(kAddVlan, IavfBody{}.u16(1).u16(1).u16(4096).bytes()), kParam);
  EXPECT_TRUE(rig.receives(tagged({{0x8100, 5}})));
  EXPECT_FALSE(rig.receives(tagged({{0x8100, 6}})));
  ASSERT_EQ(rig.arrive(tagged({{0x8100, 5}})), 1u);
  EXPECT_EQ(rig.guest->receive().value().qword0 >> 16 & 0xffff, 5u);  // the physical functions begin so
  EXPECT_EQ(rig.ask(kDontStrip, {}), kOk);
  ASSERT_EQ(rig.arrive(tagged({{0x8100, 5}})), 1u);
  EXPECT_EQ(rig.guest->receive().value().bytes, tagged({{0x8100, 5}}));
  EXPECT_EQ(rig.ask(kStrip, {}), kOk);
  ASSERT_EQ(rig.arrive(tagged({{0x8100, 5}})), 1u);
  EXPECT_EQ(rig.guest->receive().value().qword0 >> 16 & 0xffff, 5u);
  EXPECT_EQ(rig.ask(kDelVlan, IavfBody{}.u16(1).u16(1).u16(5).bytes()), kOk);
  EXPECT_TRUE(rig.receives(tagged({{0x8100, 6}})));
}

TEST(IavfVlan, TagBesideTheBytesIsFilteredToo) {
  VlanRig rig;
  EXPECT_EQ(rig.ask(kAddVlanV2, filter(0x8100, 100)), kOk);
  packet::Offload offload;
  offload.has_vlan = true;
  for (const std::uint16_t vid : {std::uint16_t{100}, std::uint16_t{101}}) {
    offload.vlan_tci = vid;
    EXPECT_EQ(rig.arrive(to_iavf(64), offload), 1u);
    EXPECT_EQ(rig.guest->receive().has_value(), vid == 100) << vid;
  }
}

}  // namespace
}  // namespace vmux::rigs
