// SPDX-License-Identifier: BSD-3-Clause
// An iavf with queues on two running pollers, a switch, and neighbours that send on both: what a guest, its client and
// the operator may do at any time, under traffic.
#include <gtest/gtest.h>

#include <cstring>

#include "backend/traffic/traffic_port.hpp"
#include "device/iavf/nic.hpp"
#include "fake_guest/iavf_guest.hpp"
#include "switch/switch.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux {
namespace {

using device::iavf::Nic;
using fake_guest::IavfBody;
using fake_guest::IavfGuest;

constexpr std::uint32_t kEnable = 8, kDisable = 9, kConfigKey = 23, kConfigLut = 24, kSetHena = 26;
constexpr int kRounds = 6;
constexpr unsigned kQueues = 4;

class IavfOnASwitch : public testing::Test {
 protected:
  void SetUp() override {
    for (runtime::Poller* const poller : {home_.get(), other_.get()})
      ASSERT_TRUE(poller->start());
    home_->call([&] {
      nic_ = *Nic::create({.name = "test",
                           .mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
                           .queue_pairs = kQueues,
                           .more_pollers = {other_.get()}},
                          *home_);
      guest_ = std::make_unique<IavfGuest>(nic_->function());
    });
    const auto flows = *backend::parse_generator("size=64,flows=64,to=52:54:00:12:34:56,from=02:00:00:00:00:01");
    const auto floods = *backend::parse_generator("size=300,to=ff:ff:ff:ff:ff:ff,from=02:00:00:00:00:02");
    flows_ = *backend::TrafficPort::create(flows, *other_);
    floods_ = *backend::TrafficPort::create(floods, *home_);
    ASSERT_TRUE(switch_->attach(*flows_, *other_, {.name = "flows"}));
    ASSERT_TRUE(switch_->attach(*floods_, *home_, {.name = "floods"}));
    attach();
  }
  void TearDown() override {
    switch_.reset();
    home_->call([&] {
      guest_.reset();
      nic_.reset();
    });
  }
  void attach() {
    const auto lanes = nic_->lanes();
    const switching::Lane both[] = {{*lanes[0], *home_}, {*lanes[1], *other_}};
    id_ = *switch_->attach(both, {.name = "vm"});
  }
  template <class F>
  void at_home(F what) {
    home_->call(what);
  }
  void bring_up() {
    at_home([&] {
      nic_->function().reset(pci::ResetKind::client_request);
      guest_->set_bus_master(true);
      guest_->bring_up({.queues = kQueues, .mapped_doorbells = true});
      EXPECT_EQ(guest_->call(kSetHena, IavfBody{}.u64(~0ull).bytes()).status, 0);
      std::vector<std::uint8_t> key(52);
      for (std::size_t i = 0; i < key.size(); ++i)
        key[i] = static_cast<std::uint8_t>(i * 37 + 11);
      EXPECT_EQ(guest_->call(kConfigKey, IavfBody{}.u16(1).u16(52).append(key).bytes()).status, 0);
    });
    spread(0);
  }
  void spread(std::uint8_t shift) {
    std::vector<std::uint8_t> table(64);
    for (std::size_t i = 0; i < table.size(); ++i)
      table[i] = static_cast<std::uint8_t>((i + shift) % kQueues);
    at_home([&] { EXPECT_EQ(guest_->call(kConfigLut, IavfBody{}.u16(1).u16(64).append(table).bytes()).status, 0); });
  }
  // Until each queue has received, which says that both lanes work.
  void receive_on_all() {
    for (unsigned queue = 0; queue < kQueues; ++queue) {
      bool has_one = false;
      while (!has_one) {
        at_home([&] {
          has_one = guest_->receive(queue).has_value();
          guest_->refill(queue);
        });
      }
    }
  }
  [[nodiscard]] std::uint64_t guest_faults() const {
    std::uint64_t faults = 0;
    for (unsigned queue = 0; queue < kQueues; ++queue) {
      faults += nic_->data_path().tx(queue).counters().guest_fault.get();
      faults += nic_->data_path().rx(queue).counters().guest_fault.get();
    }
    return faults;
  }
  // Memory of which the device has been told that it is gone stays as it is.
  void expect_silence() {
    const std::span<const std::byte> memory = guest_->memory();
    const auto before = std::make_unique<std::byte[]>(memory.size());
    std::memcpy(before.get(), memory.data(), memory.size());
    for (runtime::Poller* const poller : {home_.get(), other_.get(), home_.get(), other_.get()})
      poller->call([] {});  // each has gone round
    EXPECT_EQ(std::memcmp(before.get(), memory.data(), memory.size()), 0);
  }

  std::unique_ptr<runtime::Poller> home_ = *runtime::Poller::create(), other_ = *runtime::Poller::create();
  std::unique_ptr<switching::Switch> switch_ = *switching::Switch::create("sw");
  std::unique_ptr<backend::TrafficPort> flows_, floods_;
  std::unique_ptr<Nic> nic_;
  std::unique_ptr<IavfGuest> guest_;
  switching::PortId id_;
};

TEST_F(IavfOnASwitch, TakesQueueCommandsAndTablesUnderTraffic) {
  bring_up();
  for (std::uint8_t round = 0; round < kRounds; ++round) {
    spread(round);
    at_home([&] {
      for (const std::uint32_t command : {kDisable, kEnable})
        EXPECT_EQ(guest_->call(command, IavfBody{}.u16(1).u16(0).u32(15).u32(15).bytes()).status, 0);
      static_cast<void>(nic_->data_path().statistics());
    });
    bring_up();
    receive_on_all();
  }
}

TEST_F(IavfOnASwitch, LeavesMemoryAloneOnceItIsUnmapped) {
  for (int round = 0; round < kRounds; ++round) {
    bring_up();
    receive_on_all();
    bool is_quiet = false;
    at_home([&] { EXPECT_TRUE(nic_->function().unmap_all([&] { is_quiet = true; })); });
    EXPECT_TRUE(is_quiet);
    expect_silence();
    at_home([&] {
      guest_.reset();  // the client goes, and another one comes
      guest_ = std::make_unique<IavfGuest>(nic_->function());
    });
  }
}

TEST_F(IavfOnASwitch, TakesAClientThatGoesUnderTrafficForNoFaultOfTheGuests) {
  constexpr int kDepartures = 100;
  for (int round = 0; round < kDepartures; ++round) {
    bring_up();
    receive_on_all();
    at_home([&] {
      guest_.reset();
      guest_ = std::make_unique<IavfGuest>(nic_->function());
    });
  }
  EXPECT_EQ(guest_faults(), 0u);
}

TEST_F(IavfOnASwitch, LeavesMemoryAloneAfterAReset) {
  for (int round = 0; round < kRounds; ++round) {
    bring_up();
    receive_on_all();
    at_home([&] { nic_->function().reset(pci::ResetKind::client_request); });
    expect_silence();
  }
}

TEST_F(IavfOnASwitch, ComesAndGoesUnderTraffic) {
  for (int round = 0; round < kRounds; ++round) {
    bring_up();
    receive_on_all();
    ASSERT_TRUE(switch_->detach(id_));
    if (round % 2 == 0) {  // nobody touches its lanes any more: it may be destroyed
      at_home([&] {
        guest_.reset();
        nic_ = *Nic::create({.name = "test",
                             .mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
                             .queue_pairs = kQueues,
                             .more_pollers = {other_.get()}},
                            *home_);
        guest_ = std::make_unique<IavfGuest>(nic_->function());
      });
    }
    attach();
  }
}

// Its lanes run until it is suspended; the next one has the same queues on the same pollers.
TEST_F(IavfOnASwitch, IsHandedOverUnderTrafficFromAllItsPollers) {
  bring_up();
  for (int round = 0; round < kRounds; ++round) {
    receive_on_all();
    state::Suspended suspended;
    at_home([&] {
      state::Writer writer;
      ASSERT_TRUE(nic_->function().suspend(writer, suspended.fds));
      suspended.image = std::move(writer).finish();
    });
    expect_silence();
    ASSERT_TRUE(switch_->detach(id_));
    at_home([&] {
      nic_ = *Nic::create({.name = "test",
                           .mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
                           .queue_pairs = kQueues,
                           .more_pollers = {other_.get()}},
                          *home_);
      auto reader = *state::Reader::open(suspended.image);
      ASSERT_TRUE(nic_->function().adopt(reader, suspended.fds, nullptr));
      guest_->follow(nic_->function());
      nic_->function().go_on();
    });
    attach();
  }
  receive_on_all();
  EXPECT_EQ(guest_faults(), 0u);
}

}  // namespace
}  // namespace vmux
