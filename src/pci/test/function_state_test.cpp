// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "pci/test/test_support.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::pci {
namespace {

using namespace test;  // NOLINT: the helpers of this room's tests

/// One register, and an opinion on what may be loaded.
class Model final : public Device, public Savable {
 public:
  struct State {
    static constexpr std::string_view kSection = "test.model";
    static constexpr std::uint16_t kVersion = 1;
    std::uint32_t value = 0;
    static void describe(auto& fields, auto& self) { fields("value", self.value); }
  };

  void read_bar(Region, RegionOffset, std::span<std::byte> into) noexcept override {
    std::fill(into.begin(), into.end(), static_cast<std::byte>(state_.value));
  }
  void write_bar(Region, RegionOffset, std::span<const std::byte> from) noexcept override {
    state_.value = std::to_integer<std::uint8_t>(from[0]);
  }
  void reset(ResetKind) noexcept override { state_ = {}; }
  void bus_master_changed(bool enabled) noexcept override { log += enabled ? "master " : "slave "; }
  Savable* savable() noexcept override { return this; }
  void pause() noexcept override { log += "pause "; }
  void resume() noexcept override { log += "resume "; }
  void save(state::Writer& into) const override { into.add(state_); }
  tl::expected<void, std::string> load(state::Reader& from) override {
    State loaded;
    if (auto done = from.load(loaded); !done) return done;
    if (loaded.value == 0xee) return tl::unexpected(std::string{"the model wants no 0xee"});
    state_ = loaded;
    return {};
  }

  std::string log;

 private:
  State state_;
};

FunctionSpec a_card() {
  FunctionSpec spec;
  spec.name = "card";
  spec.vendor_id = 0x8086;
  spec.device_id = 0x1889;
  spec.bars[0] = BarSpec{.size = 4096};
  spec.bars[3] = BarSpec{.size = 4096};
  spec.capabilities = {Msix{4, Region::bar3, 0, Region::bar3, 0x800}};
  return spec;
}

struct Card {
  explicit Card(FunctionSpec spec = a_card()) : function(make(std::move(spec), model)) {}
  Model model;
  std::unique_ptr<Function> function;
};

constexpr std::uint64_t entry(unsigned vector, std::uint64_t field) { return vector * 16 + field; }

TEST(FunctionState, HoldsConfigSpaceVectorsAndModel) {
  Card source, target;
  set_config<std::uint32_t>(*source.function, 0x10, 0xfebc'0000);
  set_config<std::uint16_t>(*source.function, 4, 6);
  put<std::uint32_t>(*source.function, Region::bar3, entry(2, 0), 0xfee0'1000);
  put<std::uint32_t>(*source.function, Region::bar3, entry(2, 8), 0x4021);
  put<std::uint32_t>(*source.function, Region::bar3, entry(2, 12), 0);
  put<std::uint8_t>(*source.function, Region::bar0, 0, 0x5a);
  source.function->pause();

  const auto loaded = target.function->load(source.function->save());
  ASSERT_TRUE(loaded) << loaded.error();
  EXPECT_EQ(config<std::uint32_t>(*target.function, 0x10), 0xfebc'0000u);
  EXPECT_TRUE(target.function->is_bus_master());
  EXPECT_EQ(get<std::uint32_t>(*target.function, Region::bar3, entry(2, 0)), 0xfee0'1000u);
  EXPECT_EQ(get<std::uint32_t>(*target.function, Region::bar3, entry(2, 8)), 0x4021u);
  EXPECT_EQ(get<std::uint32_t>(*target.function, Region::bar3, entry(2, 12)), 0u);
  EXPECT_EQ(get<std::uint32_t>(*target.function, Region::bar3, entry(3, 12)), 1u);  // as it was: masked
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 0x5a);
}

TEST(FunctionState, IsTheSameBytesAfterItWasLoaded) {
  Card source, target;
  set_config<std::uint16_t>(*source.function, 4, 6);
  put<std::uint32_t>(*source.function, Region::bar3, entry(1, 12), 1);
  source.function->pause();
  const auto image = source.function->save();
  ASSERT_TRUE(target.function->load(image));
  EXPECT_EQ(target.function->save(), image);
}

TEST(FunctionState, PendingVectorIsSignalledWhenItsSinkComes) {
  Card source, target;
  const Event old_event;
  set_config<std::uint16_t>(*source.function, 4, 6);
  ASSERT_TRUE(set_sinks(source.function->interrupts(), Irq::msix, 1, 1, fds(old_event)));
  put<std::uint32_t>(*source.function, Region::bar3, entry(1, 12), 1);
  source.function->interrupts().trigger(1);
  source.function->pause();
  ASSERT_TRUE(target.function->load(source.function->save()));

  Event event;
  ASSERT_TRUE(set_sinks(target.function->interrupts(), Irq::msix, 1, 1, fds(event)));
  EXPECT_EQ(event.signals(), 0u);  // its entry masks it still
  put<std::uint32_t>(*target.function, Region::bar3, entry(1, 12), 0);
  EXPECT_EQ(event.signals(), 1u);
}

TEST(FunctionState, OfAnotherDeviceIsRefused) {
  auto other = a_card();
  other.device_id = 0x100e;
  Card source{std::move(other)}, target;
  source.function->pause();
  const auto loaded = target.function->load(source.function->save());
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error(), "the saved state is of another kind of device than card");
}

TEST(FunctionState, ThatTheModelRefusesLeavesAResetFunction) {
  Card source, target;
  put<std::uint8_t>(*source.function, Region::bar0, 0, 0xee);
  set_config<std::uint16_t>(*source.function, 4, 6);
  source.function->pause();
  const auto loaded = target.function->load(source.function->save());
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error(), "the model wants no 0xee");
  EXPECT_EQ(config<std::uint16_t>(*target.function, 4), 0u);
  EXPECT_FALSE(target.function->is_bus_master());
}

TEST(FunctionState, CutAnywhereIsRefused) {
  Card source, target;
  source.function->pause();
  const auto image = source.function->save();
  for (std::size_t size = 0; size < image.size(); ++size)
    EXPECT_FALSE(target.function->load(std::span{image}.first(size))) << size;
}

TEST(FunctionState, ModelIsPausedBeforeItIsLoadedAndRunsAfterAReset) {
  Card source, target;
  set_config<std::uint16_t>(*source.function, 4, 6);
  source.function->pause();
  ASSERT_TRUE(target.function->load(source.function->save()));
  EXPECT_EQ(target.model.log, "pause master ");
  target.function->reset(ResetKind::client_request);
  EXPECT_EQ(target.model.log, "pause master slave resume ");
}

TEST(FunctionStream, MovesTheImageInPieces) {
  Card source, target;
  put<std::uint8_t>(*source.function, Region::bar0, 0, 0x77);
  Migratable& out = *source.function->migration();
  Migratable& in = *target.function->migration();
  ASSERT_TRUE(out.enter(MigrationState::stop));
  ASSERT_TRUE(out.enter(MigrationState::stop_copy));
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  std::array<std::byte, 7> piece{};
  for (std::size_t count = *out.save(piece); count != 0; count = *out.save(piece))
    ASSERT_TRUE(in.load(std::span{piece}.first(count)));
  ASSERT_TRUE(in.enter(MigrationState::stop));
  ASSERT_TRUE(in.enter(MigrationState::running));
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 0x77);
  EXPECT_EQ(source.model.log, "pause ");
  EXPECT_EQ(target.model.log, "pause resume ");
}

/// What a client moves from one to the other: pieces of `size` bytes, `most` of them.
Result<void> move(Migratable& out, Migratable& in, std::size_t size = 7, unsigned most = ~0u) {
  std::vector<std::byte> piece(size);
  for (std::size_t count = 1; most > 0; --most) {
    count = *out.save(piece);
    if (count == 0) break;
    if (auto done = in.load(std::span{piece}.first(count)); !done) return done;
  }
  return {};
}

TEST(FunctionStream, PreviewComesFirstAndWhatIsSavedLastCounts) {
  Card source, target;
  Migratable& out = *source.function->migration();
  Migratable& in = *target.function->migration();
  put<std::uint8_t>(*source.function, Region::bar0, 0, 1);
  ASSERT_TRUE(out.enter(MigrationState::pre_copy));
  EXPECT_EQ(source.model.log, "pause resume ");  // it runs on
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  ASSERT_TRUE(move(out, in));
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 0);  // it was tried, and forgotten
  put<std::uint8_t>(*source.function, Region::bar0, 0, 2);
  ASSERT_TRUE(out.enter(MigrationState::stop_copy));
  ASSERT_TRUE(move(out, in));
  ASSERT_TRUE(in.enter(MigrationState::stop));
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 2);
}

TEST(FunctionStream, PreviewThatWasReadInPartGoesOnInStopCopy) {
  Card source, target;
  Migratable& out = *source.function->migration();
  Migratable& in = *target.function->migration();
  put<std::uint8_t>(*source.function, Region::bar0, 0, 7);
  ASSERT_TRUE(out.enter(MigrationState::pre_copy));
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  ASSERT_TRUE(move(out, in, 7, 3));
  ASSERT_TRUE(out.enter(MigrationState::pre_copy_p2p));
  ASSERT_TRUE(move(out, in, 7, 3));
  ASSERT_TRUE(out.enter(MigrationState::stop_copy));
  ASSERT_TRUE(move(out, in));
  ASSERT_TRUE(in.enter(MigrationState::stop));
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 7);
}

TEST(FunctionStream, PreviewAloneIsCutShort) {
  Card source, target;
  Migratable& out = *source.function->migration();
  Migratable& in = *target.function->migration();
  ASSERT_TRUE(out.enter(MigrationState::pre_copy));
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  ASSERT_TRUE(move(out, in));
  EXPECT_FALSE(in.enter(MigrationState::stop));
}

TEST(FunctionStream, DestinationThatCannotSaysSoWhileTheSourceRuns) {
  auto other = a_card();
  other.device_id = 0x100e;
  Card source{std::move(other)}, target;
  ASSERT_TRUE(source.function->migration()->enter(MigrationState::pre_copy));
  ASSERT_TRUE(target.function->migration()->enter(MigrationState::resuming));
  EXPECT_FALSE(move(*source.function->migration(), *target.function->migration()));
}

TEST(FunctionStream, PreCopyThatIsGivenUpLeavesNothingBehind) {
  Card source, target;
  Migratable& out = *source.function->migration();
  Migratable& in = *target.function->migration();
  ASSERT_TRUE(out.enter(MigrationState::pre_copy));
  std::array<std::byte, 9> piece{};
  ASSERT_TRUE(out.save(piece));
  ASSERT_TRUE(out.enter(MigrationState::running));
  put<std::uint8_t>(*source.function, Region::bar0, 0, 9);
  ASSERT_TRUE(out.enter(MigrationState::stop));
  ASSERT_TRUE(out.enter(MigrationState::stop_copy));
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  ASSERT_TRUE(move(out, in, 4096));
  ASSERT_TRUE(in.enter(MigrationState::stop));
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 9);
}

TEST(FunctionStream, NothingIsTakenBehindItsEnd) {
  Card source, target;
  Migratable& out = *source.function->migration();
  Migratable& in = *target.function->migration();
  ASSERT_TRUE(out.enter(MigrationState::stop));
  ASSERT_TRUE(out.enter(MigrationState::stop_copy));
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  ASSERT_TRUE(move(out, in));
  ASSERT_TRUE(in.load(std::array<std::byte, 1>{}));  // may be the first of an image
  EXPECT_FALSE(in.enter(MigrationState::stop));
}

TEST(FunctionStream, WhatIsNoImageIsRefusedAtOnce) {
  Card target;
  Migratable& in = *target.function->migration();
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  EXPECT_FALSE(in.load(std::array<std::byte, 16>{}));
}

TEST(FunctionStream, ModelIsPausedInTheP2pStates) {
  Card source;
  Migratable& out = *source.function->migration();
  ASSERT_TRUE(out.enter(MigrationState::running_p2p));
  EXPECT_EQ(source.model.log, "pause ");
  ASSERT_TRUE(out.enter(MigrationState::running));
  EXPECT_EQ(source.model.log, "pause resume ");
}

TEST(FunctionRestore, TakesAStateWhileNobodyIsAttachedAndHoldsIt) {
  Card source, target;
  put<std::uint8_t>(*source.function, Region::bar0, 0, 0x42);
  const auto image = source.function->save_state();
  ASSERT_TRUE(image);
  EXPECT_EQ(source.model.log, "pause resume ");
  ASSERT_TRUE(target.function->restore_state(*image));
  EXPECT_EQ(target.model.log, "pause ");
  target.function->client_attached(nullptr);
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 0x42);
  ASSERT_TRUE(target.function->migration()->enter(MigrationState::stop));
  ASSERT_TRUE(target.function->migration()->enter(MigrationState::running));
  EXPECT_EQ(target.model.log, "pause resume ");
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 0x42);
}

TEST(FunctionRestore, IsRefusedUnderAClientWhoseDeviceRuns) {
  Card source, target;
  put<std::uint8_t>(*target.function, Region::bar0, 0, 1);
  target.function->client_attached(nullptr);
  const auto refused = target.function->restore_state(*source.function->save_state());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text, "the client of card has not stopped the device, and its guest would see it change");
  EXPECT_TRUE(refused.error().is_busy);
  EXPECT_EQ(target.model.log, "");
  ASSERT_TRUE(target.function->migration()->enter(MigrationState::stop));
  EXPECT_TRUE(target.function->restore_state(*source.function->save_state()));
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 0);
}

TEST(FunctionRestore, IsRefusedWhileTheClientLoads) {
  Card source, target;
  target.function->client_attached(nullptr);
  ASSERT_TRUE(target.function->migration()->enter(MigrationState::resuming));
  EXPECT_FALSE(target.function->restore_state(*source.function->save_state()));
}

TEST(FunctionRestore, ChangesNothingWhenTheStateCannotBe) {
  Card source, target;
  put<std::uint8_t>(*source.function, Region::bar0, 0, 0xee);
  set_config<std::uint16_t>(*target.function, 4, 6);
  put<std::uint8_t>(*target.function, Region::bar0, 0, 0x33);
  const auto image = *source.function->save_state();
  for (std::size_t size = 0; size <= image.size(); ++size)
    EXPECT_FALSE(target.function->restore_state(std::span{image}.first(size))) << size;
  EXPECT_EQ(get<std::uint8_t>(*target.function, Region::bar0, 0), 0x33);
  EXPECT_TRUE(target.function->is_bus_master());
  EXPECT_EQ(target.model.log.substr(target.model.log.size() - 7), "resume ");
}

TEST(FunctionRestore, TakesNoPreview) {
  Card source, target;
  const auto refused = target.function->restore_state(source.function->save_running(Function::Purpose::preview));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text, "the saved state is a preview, whose state never came");
}

TEST(FunctionStream, EndedEarlyIsRefused) {
  Card target;
  Migratable& in = *target.function->migration();
  ASSERT_TRUE(in.enter(MigrationState::resuming));
  ASSERT_TRUE(in.load(std::array<std::byte, 4>{}));
  EXPECT_FALSE(in.enter(MigrationState::stop));
}

TEST(FunctionStream, IsForgottenWhenItsClientGoes) {
  Card target;
  ASSERT_TRUE(target.function->migration()->enter(MigrationState::resuming));
  ASSERT_TRUE(target.function->migration()->load(std::array<std::byte, 4>{}));
  target.function->client_gone(nullptr);
  EXPECT_TRUE(target.function->migration()->enter(MigrationState::running));
}

}  // namespace
}  // namespace vmux::pci
