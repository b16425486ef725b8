// SPDX-License-Identifier: BSD-3-Clause
// Every model loads every state that was ever kept, and writes the newest again as it is; states of the version after
// this one are taken as far as they can be, and refused by name where not.
#include <gtest/gtest.h>

#include "device/e1000/saved_state.hpp"
#include "device/e810/saved_state.hpp"
#include "device/gpio_idio16/device.hpp"
#include "device/iavf/saved_state.hpp"
#include "rigs/e1000_rig.hpp"
#include "rigs/e810_rig.hpp"
#include "rigs/golden.hpp"
#include "rigs/iavf_rig.hpp"
#include "rigs/virtio_net_rig.hpp"

namespace vmux::rigs {
namespace {

template <class Rig>
SavedImage saved(Rig& rig) {
  rig.nic->function().pause();
  return rig.nic->function().save();
}

// Each has a card of its own, a state of it in the middle of something, and what a later version's section would be.
struct E1000States {
  static constexpr const char* kRoom = "e1000";
  using Saved = device::e1000::SavedState;
  E1000Rig rig;
  SavedImage busy() {
    rig.guest->bring_up();
    EXPECT_EQ(rig.arrive(frame_to_us(100)), 1u);
    rig.guest->write(0x100, rig.guest->read(0x100) & ~2u);  // what comes now waits
    rig.guest->send(frame_to_us(300), {.vlan = 7, .first_part = 50});
    return saved(rig);
  }
  auto card() { return rig.make_nic(); }
};

struct IavfStates {
  static constexpr const char* kRoom = "iavf";
  using Saved = device::iavf::SavedState;
  IavfRig rig{IavfRig::Doorbell::trap, 2};
  SavedImage busy() {
    rig.guest->bring_up({.queues = 2});
    EXPECT_EQ(rig.arrive(frame_to_us(100)), 1u);
    rig.guest->queue(1, frame_to_us(300), 0, 2);
    return saved(rig);
  }
  auto card() { return rig.make_nic(); }
};

struct E810States {
  static constexpr const char* kRoom = "e810";
  using Saved = device::e810::SavedState;
  E810Rig rig{E810Rig::Doorbell::trap, 2};
  SavedImage busy() {
    rig.start();
    EXPECT_EQ(rig.arrive(frame_to_us(100)), 1u);
    return saved(rig);
  }
  auto card() { return rig.make_nic(); }
};

struct VirtioStates {
  static constexpr const char* kRoom = "virtio_net";
  VirtioNetRig rig{VirtioNetRig::Doorbell::trap, 2};
  SavedImage busy() {
    rig.guest->bring_up({.pairs = 2});
    EXPECT_EQ(rig.arrive(frame_to({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, 100)), 1u);
    rig.guest->queue(frame_to_us(300), {});
    return saved(rig);
  }
  auto card() { return rig.make_nic(); }
};

struct GpioStates {
  static constexpr const char* kRoom = "gpio_idio16";
  using Saved = device::gpio_idio16::State;
  static SavedImage busy() {
    const auto made = card();
    EXPECT_TRUE(made->function().write(pci::Region::bar2, {0}, std::array{std::byte{0x5a}}));
    made->function().pause();
    return made->function().save();
  }
  static std::unique_ptr<device::gpio_idio16::Device> card() {
    return std::move(*device::gpio_idio16::Device::create());
  }
};

template <class States>
class GoldenStates : public testing::Test {
 protected:
  States states_;
  Golden golden_{std::filesystem::path{VMUX_SOURCE_DIR} / "src/device" / States::kRoom / "test/states"};
  [[nodiscard]] SavedImage newest() const {
    const auto all = golden_.all();
    VMUX_ASSERT(!all.empty());
    return all.back().image;
  }
  [[nodiscard]] auto load(const SavedImage& image) { return states_.card()->function().load(image); }
};
struct Names {
  template <class States>
  static std::string GetName(int) {
    return States::kRoom;
  }
};
using All = testing::Types<E1000States, IavfStates, E810States, VirtioStates, GpioStates>;
TYPED_TEST_SUITE(GoldenStates, All, Names);

TYPED_TEST(GoldenStates, OfEveryVersionAreLoaded) {
  if (Golden::reason() != nullptr) this->golden_.add(this->states_.busy());
  const auto all = this->golden_.all();
  ASSERT_FALSE(all.empty());
  for (const auto& [name, image] : all) {
    const auto card = this->states_.card();
    const auto loaded = card->function().load(image);
    ASSERT_TRUE(loaded) << name << ": " << loaded.error();
    // An older one is written as this version does, which then is the same each time.
    const auto again = card->function().save();
    EXPECT_TRUE(this->load(again)) << name;
    EXPECT_TRUE(name != all.back().name || again == image) << name << ": see scripts/write-golden-states";
  }
}

TYPED_TEST(GoldenStates, OfTheNextVersionAreLoadedWithoutWhatIsNew) {
  for (const SectionPlace& section : sections_of(this->newest())) {
    const auto loaded = this->load(with_field(this->newest(), section));
    EXPECT_TRUE(loaded) << section.name << ": " << loaded.error();
  }
  EXPECT_TRUE(this->load(with_section(this->newest(), "next.extra", state::Presence::optional)));
}

TYPED_TEST(GoldenStates, OfTheNextVersionAreRefusedByNameWhereItMatters) {
  const auto refused = this->load(with_section(this->newest(), "next.vital", state::Presence::essential));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), "the saved state's section 'next.vital' is not known here");
}

// The next version, with an image of this one: what is new keeps its default.
TYPED_TEST(GoldenStates, AreLoadedByTheNextVersion) {
  if constexpr (requires { typename TypeParam::Saved; }) {
    const SavedImage image = this->newest();
    auto reader = state::Reader::open(image);
    ASSERT_TRUE(reader);
    Next<typename TypeParam::Saved> next;
    const auto loaded = reader->load(next);
    ASSERT_TRUE(loaded) << loaded.error();
    EXPECT_EQ(next.more, 7u);
  }
}

}  // namespace
}  // namespace vmux::rigs
