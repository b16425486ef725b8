// SPDX-License-Identifier: BSD-3-Clause
// A queue that stops: the driver is told, and the function is reset.
#include <gtest/gtest.h>

#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfMessage;

constexpr unsigned kResetImpending = 2;

std::optional<IavfMessage> event_of(IavfRig& rig) {
  std::optional<IavfMessage> last;
  while (auto message = rig.guest->receive_message()) {
    if (message->opcode == kEvent) last = message;
  }
  return last;
}

// As the physical functions do it with mdd-auto-reset-vf: Linux and DPDK set up their queues anew.
TEST(IavfStoppedQueue, DriverIsToldAndFunctionIsReset) {
  IavfRig rig;
  rig.guest->bring_up();
  static_cast<void>(event_of(rig));
  rig.guest->queue_raw(0, 0, 0x3 << 4 | std::uint64_t{64} << 34 | 0x8);  // a filter to be programmed: not for us
  rig.guest->ring_tx(0);
  EXPECT_TRUE(rig.take().empty());
  static_cast<void>(rig.take());
  rig.poller->run_once(0);
  const auto event = event_of(rig);
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->number(0, 4), kResetImpending);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kArqlen) == 0; }));
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kRstat) == 2; }));
  rig.guest->bring_up({.is_after_reset = true});
  rig.guest->send_frame(to_iavf(64));
  EXPECT_EQ(rig.take(), std::vector<Bytes>{to_iavf(64)});
}

TEST(IavfStoppedQueue, AReceiveQueueWithoutItsBufferEndsTheSameWay) {
  IavfRig rig;
  rig.guest->bring_up();
  static_cast<void>(event_of(rig));
  fake_guest::store(rig.guest->memory(), rig.guest->rx_ring(0), ~std::uint64_t{0} << 40);
  EXPECT_EQ(rig.arrive(to_iavf(64)), 0u);
  static_cast<void>(rig.take());
  rig.poller->run_once(0);
  ASSERT_TRUE(event_of(rig).has_value());
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kArqlen) == 0; }));
}

TEST(IavfStoppedQueue, NextClientHearsNothingOfIt) {
  IavfRig rig;
  rig.guest->bring_up();
  rig.guest->queue_raw(0, 0, 0x8);
  rig.guest->ring_tx(0);
  EXPECT_TRUE(rig.take().empty());
  rig.guest.reset();
  rig.guest = std::make_unique<IavfRig::IavfGuest>(rig.nic->function());
  rig.guest->bring_up();
  static_cast<void>(rig.take());
  rig.poller->run_once(0);
  const auto event = event_of(rig);
  EXPECT_TRUE(!event || event->number(0, 4) != kResetImpending);
}

}  // namespace
}  // namespace vmux::rigs
