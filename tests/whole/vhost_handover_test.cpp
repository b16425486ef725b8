// SPDX-License-Identifier: BSD-3-Clause
// A virtio card over vhost-user that is handed over under traffic, with pairs of queues on two pollers.
#include "rigs/nic_rig.hpp"
#include "whole/handover_traffic.hpp"
#include "whole/vhost_front_end.hpp"

namespace vmux::rigs {
namespace {

namespace front = vhost_front_end;

/// Frames take turns between the pairs. Doorbells are eventfds: kicks that nobody reads wait there.
struct VhostCardOnTwo {
  struct Rig : front::FrontEnd {
    Rig(bool is_packed, runtime::Poller& home, runtime::Poller& other)
        : FrontEnd(home, 0, is_packed, {&other}), poller(&home) {}
    template <class F>
    bool run_until(F condition) {
      const std::uint64_t end = monotonic_ns() + 2'000'000'000;
      while (monotonic_ns() < end) {
        if (condition()) return true;
        poller->run_once(1'000'000);
      }
      return false;
    }
    runtime::Poller* poller;
  };

  VhostCardOnTwo(bool /*is_mapped*/, bool is_packed) : rig(is_packed, *home, *other) {
    rig.bring_up(2);
    for (const unsigned pair : {0u, 1u})
      rig.rings[2 * pair]->want_interrupt(true);
  }
  void queue(unsigned number) {
    const FrameBytes frame = numbered(number);
    protocol_test::Bytes bytes;
    for (const std::byte each : frame)
      bytes.push_back(std::to_integer<std::uint8_t>(each));
    ASSERT_TRUE(rig.send(bytes, 2 * (number % 2) + 1));
  }
  void ring() {}  // with each frame
  unsigned reap() { return rig.reap(1) + rig.reap(3); }
  std::optional<FrameBytes> receive() {
    const auto bytes = rig.receive(2 * (received_ % 2));
    if (!bytes) {
      for (const unsigned pair : {0u, 1u})
        rig.rings[2 * pair]->want_interrupt(true);
      return std::nullopt;
    }
    ++received_;
    FrameBytes frame;
    for (const std::uint8_t each : *bytes)
      frame.push_back(std::byte{each});
    return frame;
  }
  std::vector<Sent> take(std::size_t most) {
    std::vector<Sent> all;
    for (; all.size() < most; ++taken_) {
      auto one = take_from(*rig.nic->lanes()[taken_ % 2], 1);
      if (one.empty()) break;
      all.push_back(std::move(one.front()));
    }
    return all;
  }
  std::size_t arrive(const FrameBytes& frame) {
    const port::Delivery done = deliver_at(*rig.nic->lanes()[arrived_ % 2], frame);
    const std::size_t kept = done.taken - done.lost;
    arrived_ += static_cast<unsigned>(kept);
    return kept;
  }
  bool handle() { return front::FrontEnd::signals_of(rig.calls[0]) + front::FrontEnd::signals_of(rig.calls[2]) != 0; }

  std::unique_ptr<runtime::Poller> home = runtime::Poller::create().value(), other = runtime::Poller::create().value();
  Rig rig;

 private:
  unsigned taken_ = 0, arrived_ = 0, received_ = 0;
};

class VhostHandoverTraffic : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(, VhostHandoverTraffic, testing::Values(Way{true, false}, Way{true, true}),
                         [](const auto& each) { return name_of(each.param); });

TEST_P(VhostHandoverTraffic, OnTwoPollersLosesNothingAndRepeatsNothing) {
  for (const bool is_packed : {false, true})
    Traffic<VhostCardOnTwo, front::kRingSize>{GetParam().is_mapped, GetParam().by_interrupt, is_packed}.run();
}
// Between two rounds, without a word: the image is as old as the last request, queues have moved since.
TEST_P(VhostHandoverTraffic, OnTwoPollersGoesOnFromTheCursorsOfOneThatDied) {
  for (const bool is_packed : {false, true})
    Traffic<VhostCardOnTwo, front::kRingSize>{GetParam().is_mapped, GetParam().by_interrupt, is_packed}.run_and_die();
}

}  // namespace
}  // namespace vmux::rigs
