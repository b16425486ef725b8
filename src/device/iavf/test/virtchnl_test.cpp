// SPDX-License-Identifier: BSD-3-Clause
// virtchnl as a driver sees it: negotiation, what each message needs to be taken, and the reset handshake.
#include <gtest/gtest.h>

#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;
using fake_guest::IavfMessage;

TEST(IavfVirtchnl, SpeaksVersionOneOneAndOneZero) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(kVersion, IavfBody{}.u32(1).u32(0).bytes()).number(4, 4), 0u);
  EXPECT_EQ(rig.guest->call(kVersion, IavfBody{}.u32(1).u32(9).bytes()).number(4, 4), 1u);
  EXPECT_EQ(rig.guest->call(kVersion, IavfBody{}.u32(1).bytes()).status, kParam);
}

TEST(IavfVirtchnl, DescribesItsResources) {
  IavfRig rig{IavfRig::Doorbell::trap, 4};
  rig.guest->open_admin_queue();
  const IavfMessage answer = rig.guest->negotiate(kL2 | kVlan | kRssPf);
  ASSERT_EQ(answer.body.size(), 36u);
  EXPECT_EQ(answer.number(0, 2), 1u);  // VSIs
  EXPECT_EQ(answer.number(2, 2), 4u);  // queue pairs
  EXPECT_EQ(answer.number(4, 2), 5u);  // vectors
  EXPECT_EQ(answer.number(8, 4), kL2 | kVlan | kRssPf);
  EXPECT_EQ(answer.number(12, 4), 52u);
  EXPECT_EQ(answer.number(16, 4), 64u);
  EXPECT_EQ(answer.number(24, 4), 6u);  // SR-IOV
  EXPECT_EQ(answer.number(30, 6), 0x5634'1200'5452u);
}

TEST(IavfVirtchnl, VersionOneZeroGetsTheBaseMode) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->call(kVersion, IavfBody{}.u32(1).u32(0).bytes()));
  EXPECT_EQ(rig.guest->call(kResources).number(8, 4), kL2 | kVlan | kRssPf);
}

TEST(IavfVirtchnl, GivesOneDialectOfVlansOnly) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->negotiate(kVlan | kVlanV2).number(8, 4), kL2 | kVlanV2);
}

TEST(IavfVirtchnl, ChildOfA700SeriesNicIsOfferedTheOlderHalf) {
  constexpr std::uint32_t kFlexible = 1u << 26, kAdvancedRss = 1u << 27, kFlowDirector = 1u << 28, kGetRxdids = 44;
  constexpr std::uint32_t kUdpSegments = 1u << 25;
  constexpr std::uint32_t kNewer = kVlanV2 | kFlexible | kAdvancedRss | kFlowDirector | kLarge | kUdpSegments;
  IavfRig rig{IavfRig::Doorbell::trap, 4, device::iavf::Parent::xl710};
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->negotiate(kVlan | kNewer).number(8, 4), kL2 | kVlan);
  EXPECT_EQ(rig.guest->call(kGetRxdids).status, kNotSupported);
}

TEST(IavfVirtchnl, ChildOfAnE810IsOfferedWhatDriversAskFor) {
  // What Linux asks for: L2, WB_ON_ITR, REQ_QUEUES, ADV_LINK_SPEED, CRC, VLAN_V2, RSS_PF, ENCAP and its checksums, ADQ,
  // USO, flexible descriptors, RSS and flow rules by headers; it gets all of these.
  constexpr std::uint32_t kGiven = kL2 | 1u << 5 | kReqQueues | kAdvSpeed | 1u << 10 | kVlanV2 | kRssPf | 1u << 20 |
                                   1u << 21 | 1u << 23 | 1u << 25 | kFlex | 1u << 27 | 1u << 28;
  // RSS by registers or firmware, TC_U32, the older VLANs, other classifier types, QOS, PTP.
  constexpr std::uint32_t kNotGiven = 1u << 3 | 1u << 4 | 1u << 11 | kVlan | 1u << 18 | 1u << 29 | 1u << 31;
  IavfRig rig;
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->negotiate(kGiven | kNotGiven).number(8, 4), kGiven);
}

TEST(IavfVirtchnl, NothingBeforeResources) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(kStats, IavfBody{}.u16(1).zeros(10).bytes()).status, kParam);
}

TEST(IavfVirtchnl, UnknownAndUnnegotiatedAreNotSupported) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(kL2));
  EXPECT_EQ(rig.guest->call(0).status, kNotSupported);
  EXPECT_EQ(rig.guest->call(9999).status, kNotSupported);
  EXPECT_EQ(rig.guest->call(kAddVlan, IavfBody{}.u16(1).u16(0).bytes()).status, kNotSupported);
  EXPECT_EQ(rig.guest->call(66).status, kNotSupported);  // GET_QOS_CAPS
}

// RDMA, time stamps, traffic management and shaping, inline IPsec, flow subscription, and what has no meaning yet.
TEST(IavfVirtchnl, WhatIsNotOfferedIsNotSupportedWhateverIsNegotiated) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  const std::uint64_t given = rig.guest->negotiate(~0u).number(8, 4);
  EXPECT_EQ(given & (1u << 1 | 1u << 29 | 1u << 31), 0u);  // RDMA, QOS, PTP
  for (const std::uint32_t op : {16u, 17u, 20u, 21u, 22u, 34u,  43u,  49u,  60u,  61u,  62u,  63u,  64u,
                                 65u, 66u, 67u, 68u, 69u, 104u, 109u, 112u, 113u, 114u, 115u, 116u, 5000u}) {
    EXPECT_EQ(rig.guest->call(op, Bytes(64)).status, kNotSupported) << op;
  }
  EXPECT_EQ(rig.guest->call(kStats, IavfBody{}.u16(1).zeros(10).bytes()).status, kOk);  // nobody minds
}

TEST(IavfVirtchnl, ShortMessagesAreRefusedForEveryOpcode) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(~0u & ~kVlanV2));
  for (const std::uint32_t op : {4u, 5u, kConfigQueues, kIrqMap, kEnable, kDisable, kAddMac, kDelMac, kAddVlan, 13u,
                                 kPromisc, kStats, kKey, kLut, kSetHena, kRequestQueues, kEnableV2, 108u, kMapVector}) {
    EXPECT_EQ(rig.guest->call(op, IavfBody{}.u8(1).bytes()).status, kParam) << op;
  }
}

TEST(IavfVirtchnl, ListsThatSayMoreThanTheyHaveAreRefused) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(kL2 | kVlan));
  EXPECT_EQ(rig.guest->call(kAddMac, IavfBody{}.u16(1).u16(500).zeros(16).bytes()).status, kParam);
  EXPECT_EQ(rig.guest->call(kAddVlan, IavfBody{}.u16(1).u16(0xffff).zeros(16).bytes()).status, kParam);
  EXPECT_EQ(rig.guest->call(kConfigQueues, IavfBody{}.u16(1).u16(4).zeros(68).bytes()).status, kParam);
}

// Whoever shares the poller waits for a few messages, not for as many as a ring holds.
TEST(IavfVirtchnl, ManyMessagesAtOnceAreServedInSeveralRounds) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(kL2));
  const std::uint64_t before = rig.nic->nic_counters().messages.get();
  const auto served = [&] { return rig.nic->nic_counters().messages.get() - before; };
  for (unsigned i = 0; i < 24; ++i)
    rig.guest->queue_message(kPromisc, IavfBody{}.u16(1).u16(0).bytes());
  rig.guest->ring_admin();
  EXPECT_LE(served(), 8u);
  EXPECT_TRUE(rig.run_until([&] { return served() == 24; }));
}

TEST(IavfVirtchnl, QueuesComeUpAndTellTheLink) {
  IavfRig rig;
  rig.guest->bring_up({.queues = 4});
  EXPECT_TRUE(rig.nic->port().is_ready());
  while (auto message = rig.guest->receive_message())
    rig.guest->events().push_back(*message);
  ASSERT_FALSE(rig.guest->events().empty());
  const IavfMessage& link = rig.guest->events().back();
  EXPECT_EQ(link.opcode, kEvent);
  EXPECT_EQ(link.number(0, 4), 1u);
  EXPECT_EQ(link.number(8, 1), 1u);
}

TEST(IavfVirtchnl, LinkSpeedIsANumberWhenNegotiatedAndABitWhenNot) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(kL2 | kAdvSpeed));
  EXPECT_EQ(rig.guest->receive_message().value().number(4, 4), 100'000u);
  static_cast<void>(rig.guest->negotiate(kL2));
  EXPECT_EQ(rig.guest->receive_message().value().number(4, 4), 1u << 4);  // 40 Gbit/s is the fastest bit
}

TEST(IavfVirtchnl, PulledCableIsAnEvent) {
  IavfRig rig;
  rig.guest->bring_up();
  while (rig.guest->receive_message()) {
  }
  rig.nic->set_link(false);
  const IavfMessage event = rig.guest->receive_message().value();
  EXPECT_EQ(event.number(0, 4), 1u);
  EXPECT_EQ(event.number(8, 1), 0u);
  EXPECT_FALSE(rig.nic->port().is_ready());
}

TEST(IavfVirtchnl, CardThatIsTakenAwayIsALinkEventAndTheNextGuestsLinkIsUp) {
  IavfRig rig;
  rig.guest->bring_up();
  while (rig.guest->receive_message()) {
  }
  EXPECT_TRUE(rig.nic->function().announce_departure(/*for_good=*/false));
  const IavfMessage event = rig.guest->receive_message().value();
  EXPECT_EQ(event.number(0, 4), 1u);
  EXPECT_EQ(event.number(8, 1), 0u);
  EXPECT_FALSE(rig.nic->function().announce_departure(/*for_good=*/false));
  rig.guest.reset();
  EXPECT_TRUE(rig.nic->is_link_up());
}

TEST(IavfVirtchnl, RingsThatMakeNoSenseAreRefused) {
  struct Case {
    const char* what;
    unsigned descriptors;
    std::uint32_t buffer, frame;
    std::uint8_t rxdid;
  };
  for (const Case& one : {Case{"too short", 0, 2048, 1522, 1}, Case{"not a multiple of 8", 63, 2048, 1522, 1},
                          Case{"too long", 8192, 2048, 1522, 1}, Case{"no buffer", 64, 0, 1522, 1},
                          Case{"huge buffer", 64, 0x10000, 1522, 1}, Case{"no frame", 64, 2048, 1, 1},
                          Case{"huge frame", 64, 2048, 0x10000, 1}, Case{"unknown layout", 64, 2048, 1522, 77}}) {
    IavfRig rig;
    rig.guest->open_admin_queue();
    static_cast<void>(rig.guest->negotiate(kL2 | kFlex));
    IavfBody body;
    body.u16(1)
        .u16(0)
        .u32(one.descriptors)
        .u16(0)
        .u16(0)
        .u32(one.buffer)
        .u32(one.frame)
        .u8(0)
        .u8(one.rxdid)
        .u8(0)
        .u8(0);
    body.u64(IavfBody{}.bytes().size() + 0x20'0000).u32(0).u32(0);
    EXPECT_EQ(rig.guest->call(5, body.bytes()).status, kParam) << one.what;
  }
}

// DPDK's driver with two queues that receive and one that sends, and the other way round.
TEST(IavfVirtchnl, PairsOfWhichADriverUsesOneHalf) {
  for (const std::size_t half : {std::size_t{0}, std::size_t{24}}) {  // where the second pair's ring is not
    IavfRig rig;
    rig.guest->bring_up({.queues = 2});
    EXPECT_EQ(rig.guest->call(kDisable, IavfBody{}.u16(1).u16(0).u32(3).u32(3).bytes()).status, kOk);
    rig.guest->send(kReset);
    ASSERT_TRUE(rig.run_until([&] { return (rig.guest->read(kRstat) & 3) == 2; }));
    rig.guest->open_admin_queue();
    static_cast<void>(rig.guest->negotiate(kL2));
    Bytes config = rig.guest->queue_config(2);
    for (std::size_t i = 4; i < 24 + half * 2 / 3; ++i)  // ids stay: ring length, addresses and sizes are zero
      config[8 + 64 + half + i] = std::byte{0};
    EXPECT_EQ(rig.guest->call(kConfigQueues, config).status, kOk);
    const std::uint32_t rx = half == 0 ? 3 : 1, tx = half == 0 ? 1 : 3;
    EXPECT_EQ(rig.guest->call(kEnable, IavfBody{}.u16(1).u16(0).u32(rx).u32(tx).bytes()).status, kOk);
    EXPECT_EQ(rig.guest->call(kEnable, IavfBody{}.u16(1).u16(0).u32(3).u32(3).bytes()).status, kParam);
  }
}

TEST(IavfVirtchnl, OffersTheLayoutsThatItWrites) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(kL2 | kFlex));
  const std::uint64_t layouts = rig.guest->call(kRxdids).number(0, 8);
  EXPECT_EQ(layouts,
            1u << 0 | 1u << 1 | 1u << 2 | 1u << 16 | 1u << 22);  // legacy ones, NIC, and DPDK's without extraction
}

TEST(IavfVirtchnl, NarrowDescriptorsAreForDriversThatChooseThem) {
  IavfRig chosen, silent;
  chosen.guest->bring_up({.capabilities = kL2 | kFlex, .rxdid = 0});
  silent.guest->bring_up({.capabilities = kL2, .rxdid = 0});
  EXPECT_FALSE(chosen.nic->data_path().rx(0).state().config.wide);
  EXPECT_TRUE(silent.nic->data_path().rx(0).state().config.wide);
}

TEST(IavfVirtchnl, EnablingAQueueThatWasNotSetUpIsRefused) {
  IavfRig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(kL2));
  EXPECT_EQ(rig.guest->call(kEnable, IavfBody{}.u16(1).u16(0).u32(1).u32(1).bytes()).status, kParam);
  EXPECT_EQ(rig.guest->call(kEnable, IavfBody{}.u16(1).u16(0).u32(1u << 30).u32(0).bytes()).status, kParam);
}

TEST(IavfVirtchnl, ARunningQueueThatIsSetUpAnewIsDisabledFirst) {
  IavfRig rig;
  rig.guest->bring_up({.queues = 2});
  Bytes wrong = rig.guest->queue_config(2);
  wrong[8 + 64 + 4] = std::byte{1};  // a length of the second pair's ring
  EXPECT_EQ(rig.guest->call(kConfigQueues, wrong).status, kParam);
  EXPECT_TRUE(rig.nic->port().is_ready());  // all or nothing
  EXPECT_EQ(rig.guest->call(kConfigQueues, rig.guest->queue_config(2)).status, kOk);
  EXPECT_FALSE(rig.nic->port().is_ready());
}

TEST(IavfVirtchnl, DisablingZeroesTheTails) {
  IavfRig rig;
  rig.guest->bring_up();
  rig.guest->write(0x0, 5);
  static_cast<void>(rig.guest->call(kDisable, IavfBody{}.u16(1).u16(0).u32(1).u32(1).bytes()));
  EXPECT_EQ(rig.guest->read(0x0), 0u);
  EXPECT_EQ(rig.guest->read(0x2000), 0u);
}

TEST(IavfVirtchnl, SecondFormsSelectAndMapQueues) {
  IavfRig rig;
  rig.guest->bring_up({.queues = 4, .capabilities = kL2 | kLarge});
  static_cast<void>(rig.guest->call(kDisable, IavfBody{}.u16(1).u16(0).u32(15).u32(15).bytes()));
  EXPECT_EQ(
      rig.guest
          ->call(kEnableV2, IavfBody{}.u16(1).u16(0).u16(2).u16(0).u32(0).u16(0).u16(4).u32(1).u16(0).u16(4).bytes())
          .status,
      kOk);
  EXPECT_TRUE(rig.nic->port().is_ready());
  EXPECT_EQ(rig.guest->call(kEnableV2, IavfBody{}.u16(1).u16(0).u16(1).u16(0).u32(0).u16(3).u16(2).bytes()).status,
            kParam);
  EXPECT_EQ(
      rig.guest->call(kMapVector, IavfBody{}.u16(1).u16(1).u32(0).u16(0).u16(4).u32(0).u32(0).u32(1).bytes()).status,
      kOk);
  EXPECT_EQ(
      rig.guest->call(kMapVector, IavfBody{}.u16(1).u16(1).u32(0).u16(0).u16(5).u32(0).u32(0).u32(1).bytes()).status,
      kParam);
}

TEST(IavfVirtchnl, KeyAndTableHaveTheirSizesAndQueuesThatExist) {
  IavfRig rig{IavfRig::Doorbell::trap, 4};
  rig.guest->bring_up();
  EXPECT_EQ(rig.guest->call(kKey, IavfBody{}.u16(1).u16(52).zeros(53).bytes()).status, kOk);
  EXPECT_EQ(rig.guest->call(kKey, IavfBody{}.u16(1).u16(40).zeros(53).bytes()).status, kParam);
  EXPECT_EQ(rig.guest->call(kLut, IavfBody{}.u16(1).u16(64).zeros(65).bytes()).status, kOk);
  EXPECT_EQ(rig.guest->call(kLut, IavfBody{}.u16(1).u16(64).zeros(63).u8(4).bytes()).status, kParam);
  const std::uint64_t hashed = rig.guest->call(kHenaCaps).number(0, 8);
  EXPECT_NE(hashed, 0u);
  EXPECT_EQ(rig.guest->call(kSetHena, IavfBody{}.u64(~0ull).bytes()).status, kOk);
}

TEST(IavfVirtchnl, FlowRuleLeadsToItsQueueOnceAndIsDeletedByItsId) {
  IavfRig rig{IavfRig::Doorbell::trap, 4};
  rig.guest->bring_up({.queues = 4, .capabilities = kL2 | 1u << 28});
  IavfBody rule;  // Ethernet with ethertype 0x88b5, to queue 2
  rule.u16(1).u16(0).u32(0).u8(0).zeros(3).u32(1).u32(1).u32(4).zeros(12).u8(0x88).u8(0xb5).zeros(50).zeros(
      std::size_t{31} * 72);
  rule.u32(1).u32(3).u16(2).zeros(30).zeros(std::size_t{7} * 36).u32(0);
  const IavfMessage added = rig.guest->call(47, rule.bytes());
  EXPECT_EQ(added.status, kOk);
  EXPECT_EQ(added.number(2612, 4), 0u);
  EXPECT_EQ(rig.guest->call(47, rule.bytes()).number(2612, 4), 2u);  // exists
  EXPECT_EQ(rig.arrive(to_iavf(64)), 1u);
  EXPECT_TRUE(rig.guest->receive(2).has_value());
  const auto id = static_cast<std::uint32_t>(added.number(4, 4));
  EXPECT_EQ(rig.guest->call(48, IavfBody{}.u16(1).u16(0).u32(id).u32(0).bytes()).number(8, 4), 0u);
  EXPECT_EQ(rig.guest->call(48, IavfBody{}.u16(1).u16(0).u32(id).u32(0).bytes()).number(8, 4), 4u);
  EXPECT_EQ(rig.arrive(to_iavf(64)), 1u);
  EXPECT_TRUE(rig.guest->receive(0).has_value());
}

TEST(IavfVirtchnl, ResetIsSeenInTheRegistersAndEnds) {
  IavfRig rig;
  rig.guest->bring_up();
  rig.guest->send(kReset);
  EXPECT_EQ(rig.guest->read(kArqlen), 0u);
  EXPECT_EQ(rig.guest->read(kRstat), 0u);
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kRstat) == 2; }));
  rig.guest->bring_up();
  EXPECT_TRUE(rig.nic->port().is_ready());
}

// Linux lets its stack send as soon as it has new rings, and tells of the rings later.
TEST(IavfVirtchnl, FramesSentBeforeTheSetUpOfTheirRingGoWhenItRuns) {
  for (const auto doorbell : {IavfRig::Doorbell::trap, IavfRig::Doorbell::poll}) {
    IavfRig rig{doorbell, 2};
    rig.guest->bring_up({.queues = 2});
    rig.nic->function().reset(pci::ResetKind::function_level);
    rig.guest->set_bus_master(true);
    rig.guest->bring_up({.queues = 2, .is_after_reset = true, .early_frames = 3});
    EXPECT_EQ(rig.take().size() + rig.take().size(), 6u);
    EXPECT_EQ(rig.guest->reap(0), 3u);
  }
}

TEST(IavfVirtchnl, TailThatADriverWritesBeforeItSeesAResetIsOfNoRing) {
  constexpr std::uint32_t kTail = 0;
  IavfRig rig{IavfRig::Doorbell::poll, 1};
  rig.guest->bring_up();
  rig.nic->function().reset(pci::ResetKind::function_level);
  rig.guest->set_bus_master(true);
  rig.guest->write_data_page(kTail, 40);
  rig.guest->bring_up({.is_after_reset = true});
  EXPECT_TRUE(rig.take().empty());
  rig.guest->send_frame(to_iavf(64));
  EXPECT_EQ(rig.take().size(), 1u);
}

// Linux opens its admin queue anew before it asks for a reset, while its queues still run.
TEST(IavfVirtchnl, AnAdminQueueThatIsOpenedAgainLeavesRunningQueuesAlone) {
  IavfRig rig{IavfRig::Doorbell::poll, 1};
  rig.guest->bring_up();
  rig.guest->send_frame(to_iavf(64));
  EXPECT_EQ(rig.take().size(), 1u);
  rig.guest->open_admin_queue();
  EXPECT_TRUE(rig.take().empty());
  rig.guest->send_frame(to_iavf(64));
  EXPECT_EQ(rig.take().size(), 1u);
}

TEST(IavfVirtchnl, GrantedRequestOfQueuesIsAnnouncedAndResets) {
  IavfRig rig{IavfRig::Doorbell::trap, 4};
  rig.guest->bring_up({.capabilities = kL2 | kReqQueues});
  while (rig.guest->receive_message()) {
  }
  rig.guest->send(kRequestQueues, IavfBody{}.u16(2).bytes());
  const IavfMessage event = rig.guest->receive_message().value();
  EXPECT_EQ(event.opcode, kEvent);
  EXPECT_EQ(event.number(0, 4), 2u);  // RESET_IMPENDING
  EXPECT_NE(rig.guest->read(kArqlen), 0u);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kArqlen) == 0; }));
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kRstat) == 2; }));
}

TEST(IavfVirtchnl, RequestForMoreQueuesThanThereAreIsToldHowMany) {
  IavfRig rig{IavfRig::Doorbell::trap, 4};
  rig.guest->bring_up({.capabilities = kL2 | kReqQueues});
  EXPECT_EQ(rig.guest->call(kRequestQueues, IavfBody{}.u16(5).bytes()).number(0, 2), 4u);
}

TEST(IavfVirtchnl, NextClientFindsACardAsNew) {
  IavfRig rig;
  rig.guest->bring_up();
  rig.guest.reset();
  EXPECT_FALSE(rig.nic->port().is_ready());
  rig.guest = std::make_unique<IavfRig::IavfGuest>(rig.nic->function());
  EXPECT_EQ(rig.guest->read(kArqlen), 0u);
  EXPECT_EQ(rig.guest->read(kRstat), 2u);
  rig.guest->bring_up();
  EXPECT_TRUE(rig.nic->port().is_ready());
}

TEST(IavfVirtchnl, AddressThatIsGivenAtRunTimeIsToldByAResetAndFoundBehindIt) {
  IavfRig rig;
  rig.guest->bring_up();
  while (rig.guest->receive_message()) {
  }
  const MacAddress given{0x02, 0, 0, 0, 0, 0x07};
  rig.nic->set_mac(given);
  EXPECT_EQ(rig.guest->receive_message().value().number(0, 4), 2u);  // RESET_IMPENDING
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kArqlen) == 0; }));
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kRstat) == 2; }));
  rig.guest->open_admin_queue();
  const IavfMessage resources = rig.guest->negotiate(kL2);
  EXPECT_EQ(resources.number(20 + 10, 4), 0x0000'0002u);
  EXPECT_EQ(resources.number(20 + 14, 2), 0x0700u);
}

TEST(IavfVirtchnl, AddressThatIsGivenBeforeADriverComesTakesNoReset) {
  IavfRig rig;
  rig.nic->set_mac({0x02, 0, 0, 0, 0, 0x07});
  EXPECT_EQ(rig.guest->read(kRstat), 2u);
  EXPECT_FALSE(rig.nic->data_path().rules().filters.has({0x52, 0x54, 0, 0x12, 0x34, 0x56}));
  EXPECT_TRUE(rig.nic->data_path().rules().filters.has({0x02, 0, 0, 0, 0, 0x07}));
}

}  // namespace
}  // namespace vmux::rigs
