// SPDX-License-Identifier: BSD-3-Clause
// Cards whose process dies in the middle of a burst: behind each store that it can have made, a new card takes over
// what is left. Every frame that arrives is there once, whole and in order, or the burst has not been taken at all;
// every descriptor comes back; and the driver hears of it.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "rigs/e1000_rig.hpp"
#include "rigs/e810_rig.hpp"
#include "rigs/iavf_rig.hpp"
#include "rigs/stepping.hpp"
#include "rigs/virtio_net_rig.hpp"
#include "whole/handover_traffic.hpp"

namespace vmux::rigs {
namespace {

constexpr unsigned kBurst = 5, kLater = 200;  // frames: of the burst in which the card dies; of those behind it
constexpr int kTrouble = 200;                 // what a process ends with that has found some

template <bool kIsPacked>
struct VirtioOne {
  VirtioOne() { rig.guest->bring_up({.features = ~(kIsPacked ? 0 : fake_guest::virtio_bit::packed)}); }
  void queue(unsigned number) { rig.guest->queue(numbered(number), {}); }
  void ring() {
    rig.guest->ring(1).publish();
    rig.guest->notify(1);
  }
  unsigned reap() { return rig.guest->reap(); }
  std::optional<FrameBytes> receive() {
    auto frame = rig.guest->receive();
    if (!frame) return std::nullopt;
    return std::move(frame->bytes);
  }
  void refill() { rig.guest->refill(); }
  bool has_interrupt() { return rig.guest->interrupts(1) + rig.guest->interrupts(2) != 0; }
  std::vector<Watched> rings() { return {rig.guest->memory().subspan(rig.guest->ring_at(0), 0x2'0000)}; }
  VirtioNetRig rig{VirtioNetRig::Doorbell::trap, 1};
};

struct E1000One {
  E1000One() { rig.guest->bring_up({}); }
  void queue(unsigned number) { rig.guest->queue(numbered(number)); }
  void ring() { rig.guest->ring_doorbell(); }
  unsigned reap() { return rig.guest->reap(); }
  std::optional<FrameBytes> receive() {
    auto frame = rig.guest->receive();
    if (!frame) return std::nullopt;
    return std::move(frame->bytes);
  }
  void refill() { rig.guest->refill(); }
  bool has_interrupt() {
    if (rig.guest->interrupts() == 0) return false;
    static_cast<void>(rig.guest->read(0xc0));  // the causes
    rig.nic->function().unmask_intx();
    return true;
  }
  std::vector<Watched> rings() {
    return {rig.guest->memory().subspan(0x1'0000, 0x1000), rig.guest->memory().subspan(0x2'0000, 0x1000)};
  }
  E1000Rig rig;
};

struct IavfOne {
  IavfOne() { rig.guest->bring_up({}); }
  void queue(unsigned number) { rig.guest->queue(0, numbered(number)); }
  void ring() { rig.guest->ring_tx(0); }
  unsigned reap() { return rig.guest->reap(); }
  std::optional<FrameBytes> receive() {
    auto frame = rig.guest->receive();
    if (!frame) return std::nullopt;
    return std::move(frame->bytes);
  }
  void refill() {}  // with each frame
  bool has_interrupt() {
    rig.guest->arm(1);
    return rig.guest->interrupts(1) != 0;
  }
  std::vector<Watched> rings() {
    return {rig.guest->memory().subspan(rig.guest->tx_ring(0), 0x1000),
            rig.guest->memory().subspan(rig.guest->rx_ring(0), 0x1000)};
  }
  IavfRig rig{IavfRig::Doorbell::trap, 1};
};

struct E810One {
  E810One() { rig.start(); }
  void queue(unsigned number) { rig.guest->send_frame(numbered(number)); }
  void ring() {}  // with each frame
  unsigned reap() { return rig.guest->reap(); }
  std::optional<FrameBytes> receive() {
    auto frame = rig.guest->receive();
    if (!frame) return std::nullopt;
    return std::move(frame->bytes);
  }
  void refill() { rig.guest->refill(); }
  bool has_interrupt() {
    rig.guest->arm(1);
    return rig.guest->interrupts(1) != 0;
  }
  std::vector<Watched> rings() {
    return {rig.guest->memory().subspan(rig.guest->tx_ring(0), 0x1000),
            rig.guest->memory().subspan(rig.guest->rx_ring(0), 0x1000)};
  }
  E810Rig rig;
};

template <class Card>
class DyingCard : public testing::Test {
 protected:
  DyingCard() {
    card.rig.start_record();
    const auto size = static_cast<std::size_t>(::lseek(card.rig.cursors.get(), 0, SEEK_END));
    arena_ = Mapping::create(card.rig.cursors.get(), 0, size, true).value();
    watched = card.rings();
    watched.push_back(arena_.bytes());
    shared = {card.rig.guest->memory(), arena_.bytes()};
  }
  /// `work` is what the card does when it dies; `look` what a new one finds: it returns how many frames of the burst
  /// had been taken. That never becomes fewer, and all in the end.
  template <class Work, class Look>
  void die_everywhere(Work work, Look look) {
    int most = 0;
    unsigned deaths = 0;
    const std::size_t steps = step_through(watched, work, [&] {
      ++deaths;
      const Kept before{shared};
      for (const bool driver_goes_on : {false, true}) {
        const int taken = in_a_child([&] { return look(driver_goes_on); });
        before.put_back();
        ASSERT_LT(taken, kTrouble) << "death " << deaths;
        ASSERT_GE(taken, driver_goes_on ? 0 : most) << "death " << deaths;
        if (!driver_goes_on) most = taken;
      }
    });
    if (steps == 0 && deaths == 0) GTEST_SKIP() << "processes cannot be traced here";
    EXPECT_GT(steps, 100u);
    EXPECT_GT(deaths, 5u);
    EXPECT_EQ(most, static_cast<int>(kBurst));
  }
  static int trouble(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    return kTrouble;
  }
  static std::vector<packet::FrameView> views_of(const std::vector<FrameBytes>& frames) {
    std::vector<packet::FrameView> views;
    for (const FrameBytes& frame : frames) {
      packet::FrameView view;
      view.header = frame;
      view.length = static_cast<std::uint32_t>(frame.size());
      views.push_back(view);
    }
    return views;
  }
  void deliver(const std::vector<packet::FrameView>& views) {
    const port::test::Round round{card.rig.nic->port()};
    static_cast<void>(card.rig.nic->port().deliver(views));
  }
  /// Takes the next frames that have arrived; false: one is not as it should be.
  bool receive(unsigned& next) {
    while (const auto frame = card.receive()) {
      if (frame->size() < numbered(next).size() || number_of(*frame) != next) return false;
      ++next;
    }
    return true;
  }
  std::vector<Sent> take() { return take_from(card.rig.nic->port()); }
  void forget_interrupts() { static_cast<void>(card.has_interrupt()); }

  Card card;
  std::vector<Watched> watched, shared;

 private:
  Mapping arena_;
};

using Cards = testing::Types<VirtioOne<false>, VirtioOne<true>, E1000One, IavfOne, E810One>;
struct Names {
  template <class Card>
  static std::string GetName(int) {
    if (std::is_same_v<Card, E1000One>) return "E1000";
    if (std::is_same_v<Card, IavfOne>) return "Iavf";
    if (std::is_same_v<Card, E810One>) return "E810";
    return std::is_same_v<Card, VirtioOne<false>> ? "VirtioSplit" : "VirtioPacked";
  }
};
TYPED_TEST_SUITE(DyingCard, Cards, Names);

TYPED_TEST(DyingCard, InAReceivedBurstHasTakenAllOfItOrNothing) {
  std::vector<FrameBytes> frames;
  for (unsigned i = 0; i < kBurst; ++i)
    frames.push_back(numbered(i));
  const auto views = this->views_of(frames);
  this->die_everywhere([&] { this->deliver(views); },
                       [&](bool driver_goes_on) {
                         unsigned next = 0;
                         if (driver_goes_on) {
                           if (!this->receive(next)) return this->trouble("not what was sent, before");
                           this->card.refill();
                         }
                         const unsigned seen = next;
                         this->forget_interrupts();
                         this->card.rig.take_over(this->card.rig.die());
                         if (!this->card.has_interrupt()) return this->trouble("nobody tells the driver");
                         if (!this->receive(next)) return this->trouble("not what was sent");
                         if (next != 0 && next != kBurst)
                           return this->trouble("a part of a burst, behind " + std::to_string(seen));
                         this->card.refill();
                         const unsigned taken = next;
                         // Those that their sender has yet to hear of come again, and then many more: no descriptor is
                         // lost.
                         for (unsigned number = next; number < kBurst + kLater; ++number) {
                           if (this->card.rig.arrive(numbered(number)) != 1) return this->trouble("no room");
                           if (!this->receive(next)) return this->trouble("not what was sent, later");
                           if (next != number + 1) return this->trouble("lost, later: " + std::to_string(number));
                           this->card.refill();
                         }
                         return static_cast<int>(taken);
                       });
}

// What has been handed over and does not count yet is sent twice: a frame too many costs less than one that is lost.
TYPED_TEST(DyingCard, InASentBurstSendsAllOfItOnceMoreOrNothingAndReportsIt) {
  for (unsigned i = 0; i < kBurst; ++i)
    this->card.queue(i);
  this->card.ring();
  this->die_everywhere([&] { static_cast<void>(this->take()); },
                       [&](bool driver_goes_on) {
                         auto& dying = this->card;
                         unsigned queued = kBurst, reaped = 0;
                         if (driver_goes_on) {
                           reaped += dying.reap();
                           while (queued < kBurst + 3)
                             dying.queue(queued++);
                           dying.ring();
                         }
                         this->forget_interrupts();
                         dying.rig.take_over(dying.rig.die());
                         if (!dying.has_interrupt()) return this->trouble("nobody tells the driver");
                         std::optional<unsigned> first;
                         unsigned next = 0;
                         const auto send = [&] {
                           for (const Sent& sent : this->take()) {
                             if (!first) first = next = number_of(sent.bytes);
                             if (sent.bytes != numbered(next)) return false;
                             ++next;
                           }
                           reaped += dying.reap();
                           return true;
                         };
                         if (!send()) return this->trouble("not what was queued");
                         for (; queued < kBurst + kLater; ++queued) {
                           dying.queue(queued);
                           dying.ring();
                           if (!send()) return this->trouble("not what was queued, later");
                         }
                         if (next != queued) return this->trouble("not sent: " + std::to_string(queued - next));
                         if (reaped != queued) return this->trouble("reported " + std::to_string(reaped));
                         if (*first != 0 && *first != kBurst)
                           return this->trouble("began at " + std::to_string(*first));
                         return static_cast<int>(*first);
                       });
}

}  // namespace
}  // namespace vmux::rigs
