// SPDX-License-Identifier: BSD-3-Clause
// A driver that finds what another has left behind without a word: a crash kernel, a program that was killed.
#include <gtest/gtest.h>

#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;
using fake_guest::IavfSetup;

constexpr std::uint32_t kQtxTail = 0, kDynCtlN = 0x3800;

bool carries_frames(IavfRig& rig) {
  rig.guest->send_frame(to_iavf(64));
  const bool sent = rig.take() == std::vector<Bytes>{to_iavf(64)};
  const bool taken = rig.arrive(to_iavf(80)) == 1;
  const auto frame = rig.guest->receive();
  return sent && taken && frame && frame->bytes == to_iavf(80);
}

// The dead kernel's rings have got on, and stand somewhere in the middle.
void leave_running(IavfRig& rig, const IavfSetup& setup = {}) {
  rig.guest->bring_up(setup);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(carries_frames(rig));
  rig.guest->queue(0, to_iavf(70));
  rig.guest->ring_tx(0);  // under way when it dies
}

class IavfNextDriverBy : public testing::TestWithParam<IavfSetup> {};

TEST_P(IavfNextDriverBy, HasItsOwnQueuesThoughOthersRun) {
  for (const auto doorbell : {IavfRig::Doorbell::trap, IavfRig::Doorbell::poll}) {
    IavfRig rig{doorbell, 2};
    leave_running(rig, {.queues = 2});
    rig.guest->bring_up(GetParam());
    EXPECT_TRUE(carries_frames(rig));
    EXPECT_TRUE(carries_frames(rig));
    EXPECT_EQ(rig.guest->reap(), 2u);
  }
}
INSTANTIATE_TEST_SUITE_P(Ways, IavfNextDriverBy,
                         testing::Values(IavfSetup{}, IavfSetup{.early_buffers = true},
                                         IavfSetup{.rx_descriptors = 32, .early_buffers = true},
                                         IavfSetup{.is_after_reset = true},
                                         IavfSetup{.is_after_reset = true, .early_buffers = true}));

TEST(IavfNextDriver, QueuesOfTheLastOneStopWhenItIntroducesItself) {
  IavfRig rig{IavfRig::Doorbell::trap, 2};
  leave_running(rig, {.queues = 2});
  rig.guest->open_admin_queue();
  EXPECT_TRUE(rig.nic->port().is_ready());  // a driver opens it anew before it asks for a reset, too
  static_cast<void>(rig.guest->call(kVersion, IavfBody{}.u32(1).u32(1).bytes()));
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_TRUE(rig.take().empty());
  EXPECT_EQ(rig.guest->read(kQtxTail), 0u);
  EXPECT_EQ(rig.guest->read(kDynCtlN), 0u);
  EXPECT_EQ(rig.guest->call(kEnable, IavfBody{}.u16(1).u16(0).u32(1).u32(1).bytes()).status, kParam);
}

TEST(IavfNextDriver, HasNoAddressesModesAndVlansOfTheLastOne) {
  IavfRig rig;
  leave_running(rig);
  const FrameBytes other = frame_to({0x02, 0, 0, 0, 0, 7}, 64), group = frame_to({0x33, 0x33, 0, 0, 0, 9}, 64);
  static_cast<void>(rig.guest->call(kAddMac, IavfBody{}
                                                 .u16(1)
                                                 .u16(2)
                                                 .append(std::array<std::uint8_t, 8>{2, 0, 0, 0, 0, 7})
                                                 .append(std::array<std::uint8_t, 8>{0x33, 0x33, 0, 0, 0, 9})
                                                 .bytes()));
  static_cast<void>(rig.guest->call(kAddVlan, IavfBody{}.u16(1).u16(1).u16(5).bytes()));
  rig.guest->bring_up();
  static_cast<void>(rig.arrive(other));
  static_cast<void>(rig.arrive(group));
  EXPECT_FALSE(rig.guest->receive().has_value());
  static_cast<void>(rig.arrive(to_iavf(64), {.has_vlan = true, .vlan_tci = 9}));  // of a VLAN that nobody asked for
  EXPECT_TRUE(rig.guest->receive().has_value());

  EXPECT_EQ(rig.guest->call(kPromisc, IavfBody{}.u16(1).u16(3).bytes()).status, kOk);
  rig.guest->bring_up();
  static_cast<void>(rig.arrive(other));
  static_cast<void>(rig.arrive(group));
  EXPECT_FALSE(rig.guest->receive().has_value());
}

TEST(IavfNextDriver, HasNoTableOfTheLastOne) {
  IavfRig rig{IavfRig::Doorbell::trap, 2};
  leave_running(rig, {.queues = 2});
  IavfBody lut;
  lut.u16(1).u16(64);
  for (int i = 0; i < 64; ++i)
    lut.u8(1);
  EXPECT_EQ(rig.guest->call(kLut, lut.u8(0).bytes()).status, kOk);
  rig.guest->bring_up({.queues = 2});
  Bytes udp = to_iavf(64);
  constexpr std::array<std::uint8_t, 30> kIp{0x08, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0xff, 0xff, 10, 0, 0, 1};
  std::memcpy(udp.data() + 12, kIp.data(), kIp.size());
  static_cast<void>(rig.arrive(udp));
  EXPECT_TRUE(rig.guest->receive(0).has_value());
}

TEST(IavfNextDriver, NewerTagsOfTheLastOneAreNoMore) {
  IavfRig rig;
  leave_running(rig, {.capabilities = kL2 | kVlanV2});
  // Stripping and insertion of 802.1ad tags.
  for (const std::uint32_t op : {kStripV2, kInsertV2}) {
    EXPECT_EQ(rig.guest->call(op, IavfBody{}.u32(1 << 1).u32(0).u16(1).zeros(6).bytes()).status, kOk);
  }
  rig.guest->bring_up({.capabilities = kL2 | kVlan, .is_after_reset = true});
  rig.guest->send_frame(to_iavf(64), 0, 1u << 7 | std::uint64_t{5} << 48);  // IL2TAG1
  const Bytes sent = rig.take().at(0);
  EXPECT_EQ(sent[12], std::byte{0x81});
  EXPECT_EQ(sent[13], std::byte{0x00});
}

TEST(IavfNextDriver, VectorsOfTheLastOneTellNothing) {
  IavfRig rig{IavfRig::Doorbell::trap, 2};
  leave_running(rig);
  rig.guest->arm(1);
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->negotiate(kL2 | kRssPf));
  static_cast<void>(rig.guest->interrupts(1));
  EXPECT_EQ(rig.guest->call(kConfigQueues, rig.guest->queue_config(1)).status, kOk);
  rig.guest->refill();
  EXPECT_EQ(rig.guest->call(kEnable, IavfBody{}.u16(1).u16(0).u32(1).u32(1).bytes()).status, kOk);
  static_cast<void>(rig.arrive(to_iavf(64)));
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
}

TEST(IavfNextDriver, KeepsTheAddressThatTheNetworkKnows) {
  IavfRig rig;
  leave_running(rig);
  constexpr std::array<std::uint8_t, 8> kOwn{2, 0, 0, 0, 0, 0x55, 1, 0};  // primary
  EXPECT_EQ(rig.guest->call(kAddMac, IavfBody{}.u16(1).u16(1).append(kOwn).bytes()).status, kOk);
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->negotiate(kL2).number(30, 6), 0x5500'0000'0002u);
}

TEST(IavfNextDriver, OneQueueIsConfiguredAnewWhileItsPartnerRuns) {
  IavfRig rig;
  leave_running(rig);
  static_cast<void>(rig.take());
  const Bytes both = rig.guest->queue_config(1);
  const Bytes tx{both.begin() + 8, both.begin() + 32}, rx{both.begin() + 32, both.begin() + 72};
  EXPECT_EQ(rig.guest->call(kConfigTx, tx).status, kOk);
  EXPECT_EQ(rig.arrive(to_iavf(64)), 1u);
  EXPECT_EQ(rig.guest->call(kConfigRx, rx).status, kOk);
  EXPECT_FALSE(rig.nic->port().is_ready());
}

// Of queues that run, enabling is not a new beginning: the ice physical function skips them.
TEST(IavfNextDriver, EnablingARunningQueueChangesNothing) {
  IavfRig rig;
  leave_running(rig);
  EXPECT_EQ(rig.guest->call(kEnable, IavfBody{}.u16(1).u16(0).u32(1).u32(1).bytes()).status, kOk);
  EXPECT_EQ(rig.take(), std::vector<Bytes>{to_iavf(70)});
  EXPECT_TRUE(carries_frames(rig));
}

// Bus mastering is the right to reach memory, and says nothing of rings: the last driver's go on until the next one
// introduces itself.
TEST(IavfNextDriver, MayTurnBusMasteringOffAndOn) {
  IavfRig rig;
  leave_running(rig);
  rig.guest->set_bus_master(false);
  EXPECT_TRUE(rig.take().empty());
  rig.guest->set_bus_master(true);
  rig.guest->bring_up();
  EXPECT_TRUE(carries_frames(rig));
  EXPECT_EQ(rig.guest->reap(), 1u);
}

}  // namespace
}  // namespace vmux::rigs
