// SPDX-License-Identifier: BSD-3-Clause
// The endpoint and its group, with a kernel in memory: clients come and go, the host takes devices away.
#include "passthrough/physical_function.hpp"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

#include "kvfio/test/fake_kernel.hpp"

namespace vmux::passthrough {
namespace {

using pci::Irq;
using pci::Region;
using testing::ElementsAre;

bool operator==(const pci::SharedArea& a, const pci::SharedArea& b) { return a.offset == b.offset && a.size == b.size; }

class APhysicalFunction : public testing::Test {
 protected:
  APhysicalFunction() {
    kvfio::fake::Card& card = kernel_.cards["a"];
    card.set<std::uint16_t>(6, 0x10);
    card.set<std::uint8_t>(0x34, 0x40);
    card.set<std::uint8_t>(0x40, 0x11);  // MSI-X: 4 vectors, table at 0x1000, pending bits at 0x2000
    card.set<std::uint16_t>(0x42, 3);
    card.set<std::uint32_t>(0x44, 0x1000);
    card.set<std::uint32_t>(0x48, 0x2000);
    kernel_.cards["b"] = card;
    one_ = make("a");
  }
  std::unique_ptr<PhysicalFunction> make(const std::string& address) {
    auto made = PhysicalFunction::create(address, address, *groups_.get(7, *poller_), *poller_);
    return made ? std::move(*made) : nullptr;
  }
  kvfio::fake::Card& card(const std::string& address = "a") { return kernel_.cards[address]; }

  static memory::MapRequest memory_of(const UniqueFd& file, std::uint64_t start, std::uint64_t size) {
    return {Iova{start}, ByteCount{size}, memory::Access::read_write, std::move(*file.duplicate()), 0};
  }
  static UniqueFd make_file() { return std::move(*make_memfd("vm", 0x10000)); }

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
  bool has_gone(PhysicalFunction& function) {
    bool is_ready = false;
    function.client_gone([&is_ready] { is_ready = true; });
    return is_ready;
  }
  /// One round after a moment: the retry of the group is a timer.
  void pass_time() {
    ::usleep(60'000);
    poller_->run_once();
  }

  kvfio::fake::TestKernel kernel_;
  std::unique_ptr<runtime::Poller> poller_ = std::move(*runtime::Poller::create());
  kvfio::Groups groups_{kernel_};
  std::unique_ptr<PhysicalFunction> one_;
};

TEST_F(APhysicalFunction, HandsOutTheDevicesDescriptorWithoutThePageOfTheTable) {
  const auto region = one_->region(Region::bar0);
  EXPECT_EQ(region.size, 0x4000u);
  EXPECT_EQ(region.fd, 1000);
  EXPECT_TRUE(region.shared.size() == 2 && region.shared[0] == (pci::SharedArea{0, 0x1000}) &&
              region.shared[1] == (pci::SharedArea{0x2000, 0x2000}));
  EXPECT_EQ(one_->region(Region::config).fd, -1);
  EXPECT_EQ(one_->region(Region::bar1).size, 0u);
}

TEST_F(APhysicalFunction, PassesRegistersOnAndKeepsTheTable) {
  write<std::uint32_t>(*one_, Region::bar0, 0x10, 0x12345678);
  EXPECT_EQ(read<std::uint32_t>(*one_, Region::bar0, 0x10), 0x12345678u);
  EXPECT_EQ(card().bar0[0x10], std::byte{0x78});
  write<std::uint32_t>(*one_, Region::bar0, 0x1000, 0xfee00000);
  EXPECT_EQ(read<std::uint32_t>(*one_, Region::bar0, 0x1000), 0xfee00000u);
  EXPECT_EQ(card().bar0[0x1003], std::byte{0});
}

TEST_F(APhysicalFunction, SplitsAnAccessAtTheEdgesOfTheTable) {
  card().log.clear();
  const std::vector<std::byte> bytes(0x1000 + 64 + 8, std::byte{0x5a});  // into the table and out of it
  ASSERT_TRUE(one_->write(Region::bar0, RegionOffset{0}, bytes));
  EXPECT_EQ(card().log, "b0:4096 b4160:8 ");
}

TEST_F(APhysicalFunction, ReadsAsOnesWhileTheDeviceDoesNotAnswer) {
  card().is_answering = false;
  EXPECT_EQ(read<std::uint32_t>(*one_, Region::bar0, 0), 0xffffffffu);
  write<std::uint32_t>(*one_, Region::bar0, 0, 1);
  EXPECT_EQ(one_->counters().unanswered, 2u);
}

TEST_F(APhysicalFunction, ShowsPendingBitsOfMaskedVectors) {
  one_->client_attached(nullptr);
  std::vector<UniqueFd> sinks(4);
  const UniqueFd heard = std::move(*make_eventfd());
  sinks[2] = std::move(*heard.duplicate());
  ASSERT_TRUE(one_->configure_irq({Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 4, {}, sinks}));
  write<std::uint32_t>(*one_, Region::bar0, 0x1000 + 2 * 16 + 12, 1);
  card().fire(Irq::msix, 2);
  EXPECT_EQ(read<std::uint64_t>(*one_, Region::bar0, 0x2000), 4u);
  write<std::uint32_t>(*one_, Region::bar0, 0x1000 + 2 * 16 + 12, 0);
  EXPECT_EQ(drain_eventfd(heard.get()), 1u);
  EXPECT_EQ(read<std::uint64_t>(*one_, Region::bar0, 0x2000), 0u);
}

TEST_F(APhysicalFunction, KeepsTheFunctionMaskThatTheKernelDoesNotTake) {
  write<std::uint16_t>(*one_, Region::config, 0x42, 0xc003);
  card().set<std::uint16_t>(0x42, 0x8003);  // what the kernel would show
  EXPECT_EQ(read<std::uint16_t>(*one_, Region::config, 0x42), 0xc003);
  write<std::uint16_t>(*one_, Region::config, 0x42, 0x8003);
  EXPECT_EQ(read<std::uint16_t>(*one_, Region::config, 0x42), 0x8003);
}

TEST_F(APhysicalFunction, PinsWhatTheClientMapsUntilItIsUnmapped) {
  one_->client_attached(nullptr);
  const UniqueFd file = make_file();
  ASSERT_TRUE(one_->map(memory_of(file, 0x1000, 0x4000)));
  EXPECT_THAT(kernel_.maps, ElementsAre(std::pair{0x1000u, 0x4000u}));
  bool is_quiet = false;
  ASSERT_TRUE(one_->unmap(Iova{0x1000}, ByteCount{0x4000}, [&] { is_quiet = true; }));
  EXPECT_TRUE(is_quiet);
  EXPECT_TRUE(kernel_.maps.empty());
}

TEST_F(APhysicalFunction, AsksTheVmmForTheDeviceWhenItGoesForGood) {
  one_->client_attached(nullptr);
  EXPECT_FALSE(one_->announce_departure(/*for_good=*/true));  // no VMM that listens
  const UniqueFd request = std::move(*make_eventfd());
  std::array sinks{std::move(*request.duplicate())};
  ASSERT_TRUE(one_->configure_irq({pci::Irq::req, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {}, sinks}));
  EXPECT_FALSE(one_->announce_departure(/*for_good=*/false));
  EXPECT_EQ(drain_eventfd(request.get()), 0u);
  EXPECT_TRUE(one_->announce_departure(/*for_good=*/true));
  EXPECT_EQ(drain_eventfd(request.get()), 1u);
}

TEST_F(APhysicalFunction, UnmapsWhereNothingIsAsTheKernelDoes) {
  one_->client_attached(nullptr);
  bool is_quiet = false;
  EXPECT_TRUE(one_->unmap(Iova{0x100000}, ByteCount{0x100000}, [&] { is_quiet = true; }));
  EXPECT_TRUE(is_quiet);
}

/// The device of a VM that is up, and a kernel that takes no memory out of the IOMMU.
class AnIommuThatKeepsMemory : public APhysicalFunction {
 protected:
  AnIommuThatKeepsMemory() {
    two_ = make("b");
    for (PhysicalFunction* const function : {one_.get(), two_.get()}) {
      function->client_attached(nullptr);
      EXPECT_TRUE(function->map(memory_of(file_, 0x1000, 0x4000)));
      write<std::uint16_t>(*function, Region::config, 4, 0x0006);
    }
    EXPECT_TRUE(one_->unmap(Iova{0x1000}, ByteCount{0x4000}, nullptr)) << "the other one still has it";
    kernel_.can_unpin = false;
  }
  std::uint16_t command(const std::string& address) { return card(address).get<std::uint16_t>(4); }
  Result<ByteCount> unmap() {
    return two_->unmap(Iova{0x1000}, ByteCount{0x4000}, [this] { is_quiet_ = true; });
  }

  const UniqueFd file_ = make_file();
  std::unique_ptr<PhysicalFunction> two_;
  bool is_quiet_ = false;
};

TEST_F(AnIommuThatKeepsMemory, IsAnErrorToTheClientWhoseMemoryItIsStill) {
  const auto refused = unmap();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().as_errno(), EFAULT);
  EXPECT_FALSE(is_quiet_);
  EXPECT_EQ(two_->memory().size(), 1u);
  kernel_.can_unpin = true;
  EXPECT_TRUE(unmap());
  EXPECT_EQ(two_->memory().size(), 0u);
  EXPECT_TRUE(kernel_.maps.empty());
}

TEST_F(AnIommuThatKeepsMemory, IsAnErrorToAClientThatTakesBackEverything) {
  const auto refused = two_->unmap_all([this] { is_quiet_ = true; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().as_errno(), EFAULT);
  EXPECT_FALSE(is_quiet_);
}

TEST_F(AnIommuThatKeepsMemory, TakesTheBusFromAllDevicesOfTheGroupForAsLongAsTheirClientsStay) {
  ASSERT_FALSE(unmap());
  EXPECT_EQ(command("a"), 0x0002);
  EXPECT_EQ(command("b"), 0x0002);
  write<std::uint16_t>(*two_, Region::config, 4, 0x0406);
  EXPECT_EQ(command("b"), 0x0402) << "the guest's driver does not get it back";
  write<std::uint32_t>(*one_, Region::config, 4, 0x00100007);
  EXPECT_EQ(command("a"), 0x0003);
  EXPECT_NE(one_->failure(), nullptr);
  EXPECT_NE(two_->failure(), nullptr);
}

TEST_F(AnIommuThatKeepsMemory, IsEmptiedWithTheGroupAndTheNextClientIsServed) {
  ASSERT_FALSE(unmap());
  EXPECT_TRUE(has_gone(*one_));
  EXPECT_TRUE(has_gone(*two_));
  EXPECT_TRUE(kernel_.maps.empty());
  EXPECT_EQ(two_->dma_counters().stuck, 0u);
  two_->client_attached(nullptr);
  EXPECT_EQ(two_->failure(), nullptr);
  EXPECT_TRUE(two_->map(memory_of(make_file(), 0x1000, 0x4000)));
  write<std::uint16_t>(*two_, Region::config, 4, 0x0006);
  EXPECT_EQ(command("b"), 0x0006);
}

TEST_F(AnIommuThatKeepsMemory, IsTheEndOfASiblingsClientToo) {
  EXPECT_TRUE(has_gone(*two_));
  EXPECT_NE(one_->failure(), nullptr);
  EXPECT_EQ(command("a"), 0x0002);
}

/// Memory whose pinning takes longer than a client waits.
class ALargeVm : public APhysicalFunction {
 protected:
  static constexpr std::uint64_t kSize = 32 << 20;
  ALargeVm() {
    (*groups_.get(7, *poller_))->dma() = kvfio::DmaMap{{.answer_within_ns = 0}};
    one_->client_attached(nullptr);
  }
  Result<void> give_memory() {
    const UniqueFd file = std::move(*make_memfd("vm", kSize));
    return one_->map(memory_of(file, 0, kSize));
  }
  std::uint64_t pinned() const { return one_->dma_counters().pinned * 4096; }
  void set_command(std::uint16_t value) { write<std::uint16_t>(*one_, Region::config, 4, value); }
};

TEST_F(ALargeVm, IsAnsweredAndPinnedPieceByPieceMeanwhile) {
  ASSERT_TRUE(give_memory());
  EXPECT_EQ(pinned(), 0u);
  pass_time();
  EXPECT_EQ(pinned(), kSize / 2);
  pass_time();
  EXPECT_EQ(pinned(), kSize);
}

TEST_F(ALargeVm, IsPinnedWholeBeforeItsDeviceMastersTheBus) {
  ASSERT_TRUE(give_memory());
  set_command(2);
  EXPECT_EQ(pinned(), 0u);
  set_command(6);
  EXPECT_EQ(pinned(), kSize);
  EXPECT_EQ(one_->failure(), nullptr);
}

TEST_F(ALargeVm, IsPinnedBeforeTheAnswerWhileItsDeviceMastersTheBus) {
  set_command(6);
  ASSERT_TRUE(give_memory());
  EXPECT_EQ(pinned(), kSize);
}

TEST_F(ALargeVm, DoesNotGetTheBusWhenItsMemoryCannotBePinned) {
  ASSERT_TRUE(give_memory());
  kernel_.can_pin = false;
  set_command(6);
  EXPECT_EQ(card().get<std::uint16_t>(4), 2);
  EXPECT_NE(one_->failure(), nullptr);
}

TEST_F(ALargeVm, LosesItsDeviceWhenHalfOfARefusedMapStaysInTheIommu) {
  set_command(6);
  kernel_.pins_left = 1;
  kernel_.can_unpin = false;
  const auto refused = give_memory();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().as_errno(), ENOMEM);
  EXPECT_EQ(card().get<std::uint16_t>(4), 2);
  EXPECT_NE(one_->failure(), nullptr);
}

TEST_F(ALargeVm, LosesItsDeviceWhenItsMemoryCannotBePinned) {
  ASSERT_TRUE(give_memory());
  kernel_.can_pin = false;
  pass_time();
  ASSERT_NE(one_->failure(), nullptr);
  EXPECT_TRUE(has_gone(*one_));
  EXPECT_EQ(one_->failure(), nullptr);
}

TEST_F(APhysicalFunction, KnowsMemoryWithoutADescriptorAndPinsNone) {
  one_->client_attached(nullptr);
  ASSERT_TRUE(one_->map({Iova{0xf0000}, ByteCount{0x1000}, memory::Access::read_write, {}, 0}));
  EXPECT_EQ(one_->memory().size(), 1u);
  EXPECT_TRUE(kernel_.maps.empty());
  EXPECT_TRUE(one_->unmap(Iova{0xf0000}, ByteCount{0x1000}, nullptr));
}

TEST_F(APhysicalFunction, ForgetsARangeThatTheKernelCannotPin) {
  one_->client_attached(nullptr);
  kernel_.can_pin = false;
  const UniqueFd file = make_file();
  EXPECT_FALSE(one_->map(memory_of(file, 0x1000, 0x1000)));
  EXPECT_EQ(one_->memory().size(), 0u);
}

TEST_F(APhysicalFunction, IsGivenBackAndTakenAnewBetweenClients) {
  one_->client_attached(nullptr);
  const UniqueFd file = make_file();
  ASSERT_TRUE(one_->map(memory_of(file, 0, 0x4000)));
  card().set<std::uint16_t>(4, 0x0006);
  EXPECT_TRUE(has_gone(*one_));
  EXPECT_EQ(card().get<std::uint16_t>(4), 0x0002) << "bus mastering stops before the memory goes";
  EXPECT_EQ(card().closed, 1);
  EXPECT_EQ(card().opened, 2);
  EXPECT_TRUE(kernel_.maps.empty());
  EXPECT_EQ(one_->dma_counters().pinned, 0u);
  one_->client_attached(nullptr);
  EXPECT_EQ(one_->failure(), nullptr);
}

TEST_F(APhysicalFunction, WaitsForAClientThatKeepsADescriptor) {
  one_->client_attached(nullptr);
  kernel_.is_held = true;
  bool is_ready = false;
  one_->client_gone([&] { is_ready = true; });
  pass_time();
  EXPECT_FALSE(is_ready);
  EXPECT_FALSE(one_->is_open());
  kernel_.is_held = false;
  pass_time();
  EXPECT_TRUE(is_ready);
  EXPECT_TRUE(one_->is_open());
}

TEST_F(APhysicalFunction, LeavesTheGroupAloneWhileASiblingIsInUse) {
  auto two = make("b");
  ASSERT_TRUE(two);
  one_->client_attached(nullptr);
  two->client_attached(nullptr);
  const UniqueFd file = make_file();
  ASSERT_TRUE(one_->map(memory_of(file, 0, 0x4000)));
  ASSERT_TRUE(two->map(memory_of(file, 0, 0x4000)));
  EXPECT_TRUE(has_gone(*one_));
  EXPECT_EQ(kernel_.attempts, 1);
  EXPECT_EQ(card("a").closed, 1);
  EXPECT_EQ(card("b").closed, 0);
  EXPECT_EQ(kernel_.maps.size(), 1u);
  EXPECT_TRUE(has_gone(*two));
  EXPECT_EQ(kernel_.attempts, 2);
  EXPECT_TRUE(kernel_.maps.empty());
}

TEST_F(APhysicalFunction, RefusesASecondVmInItsGroup) {
  auto two = make("b");
  one_->client_attached(nullptr);
  two->client_attached(nullptr);
  const UniqueFd file = make_file(), other = make_file();
  ASSERT_TRUE(one_->map(memory_of(file, 0, 0x4000)));
  EXPECT_FALSE(two->map(memory_of(other, 0, 0x4000)));
  EXPECT_EQ(two->memory().size(), 0u);
}

TEST_F(APhysicalFunction, IsGoneForGoodWhenDestroyed) {
  one_.reset();
  EXPECT_EQ(kernel_.domains, 0);
  EXPECT_EQ(card().opened, card().closed);
}

TEST_F(APhysicalFunction, AsksTheClientBeforeItIsThrownOut) {
  one_->client_attached(nullptr);
  const UniqueFd asked = std::move(*make_eventfd());
  std::vector<UniqueFd> sink;
  sink.push_back(std::move(*asked.duplicate()));
  ASSERT_TRUE(one_->configure_irq({Irq::req, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {}, sink}));
  card().fire(Irq::req);
  poller_->run_once();
  EXPECT_EQ(drain_eventfd(asked.get()), 1u);
  EXPECT_EQ(one_->failure(), nullptr);
  card().fire(Irq::req);
  poller_->run_once();
  card().fire(Irq::req);
  poller_->run_once();
  EXPECT_NE(one_->failure(), nullptr);
  EXPECT_TRUE(has_gone(*one_));
  EXPECT_FALSE(one_->is_open());
  EXPECT_EQ(kernel_.domains, 0);
}

TEST_F(APhysicalFunction, LetsGoAtOnceWithoutAClientAndComesBackForTheNext) {
  card().fire(Irq::req);
  poller_->run_once();
  EXPECT_FALSE(one_->is_open());
  EXPECT_EQ(kernel_.domains, 0);
  card().is_present = false;
  one_->client_attached(nullptr);
  EXPECT_NE(one_->failure(), nullptr);
  EXPECT_FALSE(one_->read(Region::config, RegionOffset{0}, {}));
  EXPECT_TRUE(has_gone(*one_));
  card().is_present = true;
  one_->client_attached(nullptr);
  EXPECT_EQ(one_->failure(), nullptr);
}

TEST_F(APhysicalFunction, TellsTheClientOfAnError) {
  one_->client_attached(nullptr);
  const UniqueFd told = std::move(*make_eventfd());
  std::vector<UniqueFd> sink;
  sink.push_back(std::move(*told.duplicate()));
  ASSERT_TRUE(one_->configure_irq({Irq::err, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {}, sink}));
  card().fire(Irq::err);
  poller_->run_once();
  EXPECT_EQ(drain_eventfd(told.get()), 1u);
  EXPECT_EQ(one_->counters().errors, 1u);
}

TEST_F(APhysicalFunction, KeepsWhoHearsOfErrorsWhenARequestHasNoVectors) {
  one_->client_attached(nullptr);
  const UniqueFd told = std::move(*make_eventfd());
  std::vector<UniqueFd> sink;
  sink.push_back(std::move(*told.duplicate()));
  ASSERT_TRUE(one_->configure_irq({Irq::err, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {}, sink}));
  EXPECT_FALSE(one_->configure_irq({Irq::err, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 0, {}, {}}));
  EXPECT_FALSE(one_->configure_irq({Irq::err, pci::IrqAction::trigger, pci::IrqData::boolean, 0, 0, {}, {}}));
  card().fire(Irq::err);
  poller_->run_once();
  EXPECT_EQ(drain_eventfd(told.get()), 1u);
}

TEST_F(APhysicalFunction, ResetsTheDeviceOrAtLeastStopsIt) {
  one_->reset(pci::ResetKind::client_request);
  EXPECT_EQ(card().resets, 1);
  card().is_resettable = false;
  card().set<std::uint16_t>(4, 0x0006);
  one_->reset(pci::ResetKind::client_request);
  EXPECT_EQ(card().resets, 1);
  EXPECT_EQ(card().get<std::uint16_t>(4), 0x0002);
}

TEST_F(APhysicalFunction, CannotBeMadeOfADeviceThatIsNotThere) {
  EXPECT_EQ(make("c"), nullptr);
  EXPECT_EQ(kernel_.domains, 1) << "the other function's group is as it was";
}

}  // namespace
}  // namespace vmux::passthrough
