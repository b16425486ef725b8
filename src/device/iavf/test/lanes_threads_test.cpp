// SPDX-License-Identifier: BSD-3-Clause
// The same on real threads: what the home thread changes while the other poller moves frames.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "device/iavf/test/two_pollers.hpp"

namespace vmux::rigs {
namespace {

// The other poller's work, on a thread of its own, while the home thread does to the device what guests and clients do.
class Worker {
 public:
  explicit Worker(TwoPollers& rig) : rig_(rig) {
    thread_ = std::thread{[this] {
      const Bytes frame = ip_frame(1);
      while (!is_stopped_.load(std::memory_order_acquire)) {
        rig_.take(1);
        if (rig_.lanes[1]->is_ready()) delivered_ += rig_.arrive(1, frame);
        static_cast<void>(rig_.lanes[1]->accepts());
        static_cast<void>(rig_.lanes[1]->needs_polling());
        rounds_.fetch_add(1, std::memory_order_release);
      }
    }};
  }
  ~Worker() {
    is_stopped_ = true;
    thread_.join();
  }
  // Until it has gone round once more.
  void pass() const {
    const std::uint64_t now = rounds_.load(std::memory_order_acquire);
    while (rounds_.load(std::memory_order_acquire) < now + 2)
      std::this_thread::yield();
  }

 private:
  TwoPollers& rig_;
  std::uint64_t delivered_ = 0;
  std::atomic<std::uint64_t> rounds_{0};
  std::atomic<bool> is_stopped_{false};
  std::thread thread_;
};

TEST(IavfLanesOnThreads, NothingIsWrittenAfterBusMasteringWentOff) {
  constexpr unsigned kRing = 1024;
  TwoPollers rig;
  rig.guest->bring_up({.queues = 4, .rx_descriptors = kRing, .mapped_doorbells = true});
  rig.lead_all_to(1);
  const Worker worker{rig};
  std::size_t received = 0;
  for (int round = 0; round < 200; ++round) {
    for (; rig.guest->receive(1); ++received) {
    }
    rig.guest->refill(1);  // far more than are used up before the next line but one
    worker.pass();
    rig.guest->set_bus_master(false);
    const auto ring = rig.guest->memory().subspan(IavfGuest::rx_ring(1), std::size_t{kRing} * 32);
    const Bytes before{ring.begin(), ring.end()};
    worker.pass();
    ASSERT_TRUE(std::equal(ring.begin(), ring.end(), before.begin()));
    rig.guest->set_bus_master(true);
  }
  EXPECT_GT(received, 200u);
  EXPECT_EQ(rig.nic->data_path().rx(1).counters().guest_fault.get(), 0u);
}

TEST(IavfLanesOnThreads, NothingIsWrittenWhilePausedAndTheStateStandsStill) {
  constexpr unsigned kRing = 1024;
  TwoPollers rig;
  rig.guest->bring_up({.queues = 4, .rx_descriptors = kRing, .mapped_doorbells = true});
  rig.lead_all_to(1);
  const Worker worker{rig};
  std::size_t received = 0;
  for (int round = 0; round < 50; ++round) {
    for (; rig.guest->receive(1); ++received) {
    }
    rig.guest->refill(1);
    worker.pass();
    rig.nic->function().pause();
    const auto ring = rig.guest->memory().subspan(IavfGuest::rx_ring(1), std::size_t{kRing} * 32);
    const Bytes before{ring.begin(), ring.end()};
    const auto image = rig.nic->function().save();
    worker.pass();
    ASSERT_TRUE(std::equal(ring.begin(), ring.end(), before.begin()));
    ASSERT_EQ(rig.nic->function().save(), image);
    rig.nic->function().resume();
  }
  EXPECT_GT(received, 50u);
}

TEST(IavfLanesOnThreads, ResetsAndQueueCommandsUnderTraffic) {
  TwoPollers rig;
  const Worker worker{rig};
  for (int round = 0; round < 50; ++round) {
    rig.bring_up();
    rig.lead_all_to(1);
    rig.guest->send_frame(to_iavf(64), 1);
    worker.pass();
    EXPECT_EQ(rig.guest->call(kDisableQueues, IavfBody{}.u16(1).u16(0).u32(2).u32(2).bytes()).status, 0);
    EXPECT_EQ(rig.guest->call(kEnableQueues, IavfBody{}.u16(1).u16(0).u32(2).u32(2).bytes()).status, 0);
    static_cast<void>(rig.nic->data_path().statistics());
    worker.pass();
    rig.nic->function().reset(pci::ResetKind::client_request);
    rig.guest->set_bus_master(true);
  }
}

// A driver that sleeps until its interrupt, drains its ring, and arms the vector by a write to memory that nobody is
// told of. One frame is under way at a time, so nothing that comes later makes up for an interrupt that was lost.
TEST(IavfLanesOnThreads, AFrameIsToldWheneverItMeetsTheArming) {
  constexpr unsigned kFrames = 1000;
  for (const std::uint8_t queue : {std::uint8_t{0}, std::uint8_t{1}}) {  // a timer's lane, and one of rounds
    TwoPollers rig;
    rig.bring_up();
    rig.lead_all_to(queue);
    std::atomic<unsigned> received{0};
    std::atomic<bool> is_over{false};
    std::thread driver{[&] {
      while (!is_over.load(std::memory_order_acquire)) {
        if (rig.guest->interrupts(queue + 1u) == 0) {
          std::this_thread::yield();
          continue;
        }
        while (rig.guest->receive(queue))
          received.fetch_add(1, std::memory_order_release);
        rig.guest->refill(queue);
        const std::uint64_t until = monotonic_ns() + std::uint64_t{received.load() % 64} * 100;
        while (monotonic_ns() < until) {  // between its last look and the arming: the next frame arrives here, too
        }
        rig.guest->arm(queue + 1u);
      }
    }};
    const Bytes frame = ip_frame(1);
    unsigned sent = 0;
    for (bool is_told = true; is_told && sent < kFrames; ++sent) {
      EXPECT_EQ(rig.arrive(queue % 2u, frame), 1u);
      const std::uint64_t end = monotonic_ns() + 20'000'000'000;
      while (received.load(std::memory_order_acquire) <= sent && is_told) {
        static_cast<void>(rig.home->run_once(0));
        rig.take(queue % 2u);
        is_told = monotonic_ns() < end;
      }
      for (unsigned pause = sent % 29; pause > 0; --pause)  // so that they meet at another moment each time
        rig.take(queue % 2u);
    }
    is_over = true;
    driver.join();
    EXPECT_EQ(received.load(), kFrames) << "queue " << int{queue};
  }
}

}  // namespace
}  // namespace vmux::rigs
