// SPDX-License-Identifier: BSD-3-Clause
// A function that goes on in another process, with a kernel in memory: the object before is there still, as its
// descriptors are, and does nothing any more.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <map>

#include "kvfio/test/fake_kernel.hpp"
#include "passthrough/physical_function.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::passthrough {
namespace {

using pci::Irq;
using pci::Region;
using Begins = PhysicalFunction::Begins;
using Maps = std::map<std::uint64_t, std::uint64_t>;

constexpr std::uint64_t kCommand = 4, kMask = 0x1000 + 2 * 16 + 12;  // the latter of vector 2
constexpr std::uint16_t kBusMaster = 6;

class ATakenOverFunction : public testing::Test {
 protected:
  ATakenOverFunction() {
    kvfio::fake::Card& card = kernel_.cards["a"];
    card.set<std::uint16_t>(6, 0x10);
    card.set<std::uint8_t>(0x34, 0x40);
    card.set<std::uint8_t>(0x40, 0x11);  // MSI-X: 4 vectors, table at 0x1000, pending bits at 0x2000
    card.set<std::uint16_t>(0x42, 3);
    card.set<std::uint32_t>(0x44, 0x1000);
    card.set<std::uint32_t>(0x48, 0x2000);
    kernel_.cards["b"] = card;
    before_ = make("a", groups_before_, Begins::open);
    before_->client_attached(nullptr);
  }
  std::unique_ptr<PhysicalFunction> make(const std::string& address, kvfio::Groups& groups, Begins begins) {
    return std::move(*PhysicalFunction::create(address, address, *groups.get(7, *poller_), *poller_, begins));
  }
  /// What the process before has left of it.
  static state::Suspended left_by(PhysicalFunction& function) {
    state::Writer writer;
    auto numbers = state::FdBag::of_numbers();
    EXPECT_TRUE(function.record(writer, numbers));
    state::Suspended left;
    numbers.for_each([&left](const std::string& name, int fd) {
      const bool is_device = name == "vfio/device";  // of the kernel in memory there is none
      EXPECT_TRUE(is_device ? left.fds.put(name, *make_eventfd()) : left.fds.put_copy(name, fd));
    });
    left.image = std::move(writer).finish();
    return left;
  }
  tl::expected<void, std::string> adopt(PhysicalFunction& function, const state::Suspended& left) {
    auto reader = *state::Reader::open(left.image);
    if (auto done = function.adopt(reader, left.fds, nullptr); !done) return done;
    return reader.finish();
  }
  /// The next process has it, and serves.
  void go_over() {
    after_ = make("a", groups_after_, Begins::closed);
    const auto adopted = adopt(*after_, left_by(*before_));
    ASSERT_TRUE(adopted) << adopted.error();
    after_->go_on();
  }
  kvfio::fake::Card& card(const std::string& address = "a") { return kernel_.cards[address]; }
  Result<void> map(PhysicalFunction& function, std::uint64_t start, std::uint64_t size = 0x1000) {
    return function.map(
        {Iova{start}, ByteCount{size}, memory::Access::read_write, std::move(*file_.duplicate()), start});
  }
  template <class T>
  static T read(PhysicalFunction& function, Region region, std::uint64_t at) {
    Le<T> value{};
    EXPECT_TRUE(function.read(region, RegionOffset{at}, std::as_writable_bytes(std::span{&value, 1})));
    return value;
  }
  template <class T>
  static void write(PhysicalFunction& function, Region region, std::uint64_t at, T value) {
    const Le<T> wire = value;
    EXPECT_TRUE(function.write(region, RegionOffset{at}, std::as_bytes(std::span{&wire, 1})));
  }
  /// The client listens to all vectors of MSI-X.
  void listen() {
    std::vector<UniqueFd> sinks;
    for (UniqueFd& heard : heard_) {
      heard = std::move(*make_eventfd());
      sinks.push_back(std::move(*heard.duplicate()));
    }
    ASSERT_TRUE(before_->configure_irq({Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 4, {}, sinks}));
  }
  std::uint64_t heard(std::size_t vector) { return drain_eventfd(heard_[vector].get()); }

  kvfio::fake::TestKernel kernel_;
  std::unique_ptr<runtime::Poller> poller_ = std::move(*runtime::Poller::create());
  kvfio::Groups groups_before_{kernel_}, groups_after_{kernel_};
  UniqueFd file_ = *make_memfd("vm", 64 << 20);
  std::array<UniqueFd, 4> heard_;
  std::unique_ptr<PhysicalFunction> before_, after_;
};

TEST_F(ATakenOverFunction, IsNeitherResetNorStoppedNorOpenedAnew) {
  write<std::uint16_t>(*before_, Region::config, kCommand, kBusMaster);
  const int resets = card().resets, opened = card().opened;
  go_over();
  EXPECT_EQ(card().resets, resets);
  EXPECT_EQ(card().opened, opened);
  EXPECT_EQ(card().closed, 0);
  EXPECT_EQ(card().get<std::uint16_t>(kCommand), kBusMaster);
  write<std::uint32_t>(*after_, Region::bar0, 0x10, 0x12345678);
  EXPECT_EQ(read<std::uint32_t>(*after_, Region::bar0, 0x10), 0x12345678u);
}

TEST_F(ATakenOverFunction, KeepsWhatIsMappedAndTakesBackWhatIsUnmappedLater) {
  ASSERT_TRUE(map(*before_, 0x1000));
  ASSERT_TRUE(map(*before_, 0x8000));
  const int calls = kernel_.map_calls;
  go_over();
  EXPECT_EQ(kernel_.map_calls, calls);
  EXPECT_EQ(kernel_.maps, (Maps{{0x1000, 0x1000}, {0x8000, 0x1000}}));
  ASSERT_TRUE(after_->unmap(Iova{0x1000}, ByteCount{0x1000}, nullptr));
  EXPECT_EQ(kernel_.maps, (Maps{{0x8000, 0x1000}}));
  EXPECT_EQ(after_->dma_counters().pinned, 1u);
}

// The request did not count when the process died: it comes again, perhaps with another answer.
TEST_F(ATakenOverFunction, TakesAwayWhatWasMappedAndNotKept) {
  ASSERT_TRUE(map(*before_, 0x1000));
  const auto left = left_by(*before_);
  ASSERT_TRUE(map(*before_, 0x8000));
  after_ = make("a", groups_after_, Begins::closed);
  ASSERT_TRUE(adopt(*after_, left));
  EXPECT_EQ(kernel_.maps.size(), 2u) << "another function of the group may have kept it";
  after_->go_on();
  EXPECT_EQ(kernel_.maps, (Maps{{0x1000, 0x1000}}));
  EXPECT_TRUE(map(*after_, 0x8000));
}

TEST_F(ATakenOverFunction, AnUnmapThatWasDoneAndNotKeptSucceedsOnceMore) {
  ASSERT_TRUE(map(*before_, 0x1000));
  const auto left = left_by(*before_);
  ASSERT_TRUE(before_->unmap(Iova{0x1000}, ByteCount{0x1000}, nullptr));
  after_ = make("a", groups_after_, Begins::closed);
  ASSERT_TRUE(adopt(*after_, left));
  after_->go_on();
  EXPECT_EQ(after_->unmap(Iova{0x1000}, ByteCount{0x1000}, nullptr).value_or(ByteCount{0}), ByteCount{0x1000});
  EXPECT_TRUE(kernel_.maps.empty());
}

TEST_F(ATakenOverFunction, StopsItsDeviceWhenTheKernelKeepsWhatNobodyHas) {
  write<std::uint16_t>(*before_, Region::config, kCommand, kBusMaster);
  const auto left = left_by(*before_);
  ASSERT_TRUE(map(*before_, 0x8000));
  after_ = make("a", groups_after_, Begins::closed);
  ASSERT_TRUE(adopt(*after_, left));
  kernel_.can_unpin = false;
  after_->go_on();
  EXPECT_EQ(card().get<std::uint16_t>(kCommand) & 4, 0);
  EXPECT_NE(after_->failure(), nullptr);
}

/// Half of a range is pinned when the image is made, and all of it when the process dies.
class AFunctionThatPins : public ATakenOverFunction {
 protected:
  static constexpr std::uint64_t kSize = 64 << 20;
  state::Suspended left_half_way() {
    kvfio::Group& group = **groups_before_.get(7, *poller_);
    const kvfio::DmaMap::Holding half{Iova{0}, ByteCount{kSize}, memory::Access::read_write, {}, ByteCount{kSize / 2}};
    EXPECT_TRUE(before_->memory().map(
        {Iova{0}, ByteCount{kSize}, memory::Access::read_write, std::move(*file_.duplicate()), 0}));
    EXPECT_TRUE(group.dma().adopt(1, half, reinterpret_cast<const std::byte*>(&byte_)));
    kernel_.maps = {{0, kSize / 2}, {kSize / 2, kSize / 2}};
    return left_by(*before_);
  }
  std::byte byte_{};
};

TEST_F(AFunctionThatPins, GoesOnWithAllOfItWhenTheDeviceRuns) {
  write<std::uint16_t>(*before_, Region::config, kCommand, kBusMaster);
  after_ = make("a", groups_after_, Begins::closed);
  ASSERT_TRUE(adopt(*after_, left_half_way()));
  after_->go_on();
  EXPECT_EQ(kernel_.maps, (Maps{{0, kSize / 2}, {kSize / 2, kSize / 2}}));
  EXPECT_EQ(after_->dma_counters().pinned, kSize / 4096);
  EXPECT_EQ(after_->dma_counters().waiting, 0u);
}

TEST_F(AFunctionThatPins, PinsTheRestAnewWhenTheDeviceDoesNotRunYet) {
  after_ = make("a", groups_after_, Begins::closed);
  ASSERT_TRUE(adopt(*after_, left_half_way()));
  after_->go_on();
  EXPECT_EQ(kernel_.maps, (Maps{{0, kSize / 2}}));
  EXPECT_EQ(after_->dma_counters().waiting, kSize / 2 / 4096);
  write<std::uint16_t>(*after_, Region::config, kCommand, kBusMaster);
  EXPECT_EQ(after_->dma_counters().waiting, 0u) << "the device runs when all is pinned";
  EXPECT_EQ(after_->dma_counters().pinned, kSize / 4096);
}

TEST_F(ATakenOverFunction, PassesInterruptsOnAsBeforeAndOnceMore) {
  listen();
  write<std::uint32_t>(*before_, Region::bar0, kMask, 1);
  go_over();
  EXPECT_EQ(heard(0), 1u) << "one may have been lost";
  EXPECT_EQ(heard(2), 0u) << "the guest has masked it";
  EXPECT_EQ(read<std::uint64_t>(*after_, Region::bar0, 0x2000), 4u);
  EXPECT_EQ(read<std::uint32_t>(*after_, Region::bar0, kMask), 1u);
  card().fire(Irq::msix, 0);
  EXPECT_EQ(heard(0), 1u);
  write<std::uint32_t>(*after_, Region::bar0, kMask, 0);
  EXPECT_EQ(heard(2), 1u);
  card().fire(Irq::msix, 2);
  EXPECT_EQ(heard(2), 1u);
}

// The kernel signals an eventfd that no record has.
TEST_F(ATakenOverFunction, AMaskThatWasSetAndNotKeptLosesNoInterrupt) {
  listen();
  const auto left = left_by(*before_);
  write<std::uint32_t>(*before_, Region::bar0, kMask, 1);
  card().fire(Irq::msix, 2);
  after_ = make("a", groups_after_, Begins::closed);
  ASSERT_TRUE(adopt(*after_, left));
  after_->go_on();
  EXPECT_EQ(heard(2), 1u);
  card().fire(Irq::msix, 2);
  EXPECT_EQ(heard(2), 1u) << "the kernel knows its sink again";
}

TEST_F(ATakenOverFunction, HearsOfErrorsAndOfTheHostsWish) {
  const UniqueFd told = std::move(*make_eventfd());
  std::vector<UniqueFd> sink;
  sink.push_back(std::move(*told.duplicate()));
  ASSERT_TRUE(before_->configure_irq({Irq::err, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {}, sink}));
  go_over();
  card().fire(Irq::err);
  poller_->run_once();
  EXPECT_GE(drain_eventfd(told.get()), 1u);
  EXPECT_EQ(after_->counters().errors, 1u);
}

TEST_F(ATakenOverFunction, ClosesAnEventfdOnlyWhenTheRecordIsWithoutIt) {
  listen();
  const auto left = left_by(*before_);
  int before = -1;
  {
    state::Writer writer;
    auto numbers = state::FdBag::of_numbers();
    ASSERT_TRUE(before_->record(writer, numbers));
    before = numbers.get("irq/msix/0");
  }
  listen();
  EXPECT_NE(::fcntl(before, F_GETFD), -1);
  before_->record_kept();
  EXPECT_EQ(::fcntl(before, F_GETFD), -1);
}

TEST_F(ATakenOverFunction, OfAGroupGoesOnWithTheOthers) {
  auto other_before = make("b", groups_before_, Begins::open);
  other_before->client_attached(nullptr);
  ASSERT_TRUE(map(*before_, 0x1000));
  ASSERT_TRUE(map(*other_before, 0x1000));
  ASSERT_TRUE(map(*other_before, 0x8000));
  after_ = make("a", groups_after_, Begins::closed);
  auto other_after = make("b", groups_after_, Begins::closed);
  ASSERT_TRUE(adopt(*after_, left_by(*before_)));
  ASSERT_TRUE(adopt(*other_after, left_by(*other_before)));
  after_->go_on();
  other_after->go_on();
  EXPECT_EQ(kernel_.maps, (Maps{{0x1000, 0x1000}, {0x8000, 0x1000}}));
  ASSERT_TRUE(after_->unmap(Iova{0x1000}, ByteCount{0x1000}, nullptr));
  EXPECT_EQ(kernel_.maps.size(), 2u) << "the other one has it";
  ASSERT_TRUE(other_after->unmap(Iova{0x1000}, ByteCount{0x1000}, nullptr));
  EXPECT_EQ(kernel_.maps, (Maps{{0x8000, 0x1000}}));
}

TEST_F(ATakenOverFunction, RefusesTheStateOfAnotherAndIsAsBefore) {
  auto other = make("b", groups_after_, Begins::closed);
  EXPECT_FALSE(adopt(*other, left_by(*before_)));
  EXPECT_FALSE(other->is_open());
  auto left = left_by(*before_);
  after_ = make("a", groups_after_, Begins::closed);
  left.fds = {};
  EXPECT_FALSE(adopt(*after_, left));
  EXPECT_FALSE(after_->is_open());
  EXPECT_EQ(after_->dma_counters().pinned, 0u);
}

TEST_F(ATakenOverFunction, WithoutAClientIsOpenedWhenNobodyHasItAnyMore) {
  kernel_.is_held = true;
  after_ = make("a", groups_after_, Begins::closed);
  bool is_ready = false;
  after_->await_ready([&is_ready] { is_ready = true; });
  EXPECT_FALSE(is_ready);
  kernel_.is_held = false;
  ::usleep(60'000);
  poller_->run_once();
  EXPECT_TRUE(is_ready);
  EXPECT_TRUE(after_->is_open());
}

TEST_F(ATakenOverFunction, IsRecordedWhereAnotherProcessMayUnmap) {
  EXPECT_TRUE(before_->can_record());
  kernel_.is_new = false;
  EXPECT_FALSE(before_->can_record());
}

}  // namespace
}  // namespace vmux::passthrough
