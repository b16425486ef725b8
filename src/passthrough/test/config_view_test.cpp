// SPDX-License-Identifier: BSD-3-Clause
#include "passthrough/config_view.hpp"

#include <gmock/gmock.h>

#include "kvfio/test/fake_kernel.hpp"

namespace vmux::passthrough {
namespace {

using testing::ElementsAre;

/// A configuration space that is made capability by capability.
class Space {
 public:
  explicit Space(std::size_t size) { card_.config.resize(size); }
  Space& standard(std::uint8_t at, std::uint8_t id) {
    card_.set<std::uint16_t>(6, 0x10);
    card_.set<std::uint8_t>(link_, at);
    card_.set<std::uint8_t>(at, id);
    card_.set<std::uint8_t>(at + 2u, 0xaa);  // of its body
    link_ = at + 1u;
    return *this;
  }
  Space& extended(std::uint16_t at, std::uint16_t id) {
    if (at != 0x100) card_.set<std::uint32_t>(last_, card_.get<std::uint32_t>(last_) | static_cast<unsigned>(at) << 20);
    card_.set<std::uint32_t>(at, id | 1u << 16);
    card_.set<std::uint32_t>(at + 4u, 0xbbbbbbbb);
    last_ = at;
    return *this;
  }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return card_.config; }
  /// As a guest sees it.
  [[nodiscard]] kvfio::fake::Card seen() const {
    kvfio::fake::Card copy = card_;
    ConfigView{card_.config}.filter(0, copy.config);
    return copy;
  }
  kvfio::fake::Card card_;

 private:
  std::size_t link_ = 0x34, last_ = 0x100;
};

std::vector<unsigned> standard_ids(const kvfio::fake::Card& card) {
  std::vector<unsigned> ids;
  for (unsigned at = card.get<std::uint8_t>(0x34); at != 0; at = card.get<std::uint8_t>(at + 1u))
    ids.push_back(card.get<std::uint8_t>(at));
  return ids;
}

std::vector<unsigned> extended_ids(const kvfio::fake::Card& card) {
  std::vector<unsigned> ids;
  for (std::size_t at = 0x100; at != 0; at = card.get<std::uint32_t>(at) >> 20) {
    if (card.get<std::uint32_t>(at) == 0) break;
    ids.push_back(card.get<std::uint32_t>(at) & 0xffff);
  }
  return ids;
}

TEST(ConfigView, ShowsEveryCapabilityThatIsNotInTheTable) {
  const Space space =
      Space(4096).standard(0x40, 0x01).standard(0x50, 0x05).standard(0x60, 0x03).extended(0x100, 1).extended(0x140, 3);
  EXPECT_THAT(standard_ids(space.seen()), ElementsAre(0x01, 0x05, 0x03));
  EXPECT_THAT(extended_ids(space.seen()), ElementsAre(1, 3));
  EXPECT_EQ(space.seen().config, space.bytes());
}

TEST(ConfigView, LeadsPastAHiddenStandardCapability) {
  const Space space = Space(256).standard(0x40, 0x01).standard(0x50, 0x14).standard(0x60, 0x10);
  EXPECT_THAT(standard_ids(space.seen()), ElementsAre(0x01, 0x10));
  EXPECT_EQ(space.seen().get<std::uint32_t>(0x50), 0u);
}

TEST(ConfigView, LeadsPastAHiddenFirstAndLastStandardCapability) {
  EXPECT_THAT(standard_ids(Space(256).standard(0x40, 0x14).standard(0x50, 0x01).seen()), ElementsAre(0x01));
  EXPECT_THAT(standard_ids(Space(256).standard(0x40, 0x01).standard(0x50, 0x14).seen()), ElementsAre(0x01));
  EXPECT_THAT(standard_ids(Space(256).standard(0x40, 0x14).seen()), ElementsAre());
}

TEST(ConfigView, LeadsPastHiddenExtendedCapabilitiesInARow) {
  const Space space = Space(4096).extended(0x100, 1).extended(0x140, 0x10).extended(0x180, 0x0e).extended(0x1c0, 3);
  EXPECT_THAT(extended_ids(space.seen()), ElementsAre(1, 3));
  EXPECT_EQ(space.seen().get<std::uint32_t>(0x144), 0u);
  EXPECT_EQ(space.seen().get<std::uint32_t>(0x100) >> 16 & 0xf, 1u) << "the version beside the link";
}

TEST(ConfigView, KeepsAHiddenFirstExtendedCapabilityAsALinkOnly) {
  const Space space = Space(4096).extended(0x100, 0x10).extended(0x140, 3);
  EXPECT_THAT(extended_ids(space.seen()), ElementsAre(0, 3));
  EXPECT_THAT(extended_ids(Space(4096).extended(0x100, 0x10).seen()), ElementsAre());
}

TEST(ConfigView, EveryRowOfTheTableSaysWhy) {
  for (const HiddenCapability& row : hidden_capabilities())
    EXPECT_STRNE(row.why, "") << row.name;
}

TEST(ConfigView, ShowsOneFunctionOfAMultiFunctionCard) {
  Space space(256);
  space.card_.set<std::uint8_t>(0x0e, 0x80);
  EXPECT_EQ(space.seen().get<std::uint8_t>(0x0e), 0);
}

TEST(ConfigView, EndsAChainThatLoops) {
  Space space(4096);
  space.standard(0x40, 0x01).standard(0x50, 0x09).extended(0x100, 1).extended(0x140, 3);
  space.card_.set<std::uint8_t>(0x51, 0x40);
  space.card_.set<std::uint32_t>(0x140, 3 | 0x100u << 20);
  EXPECT_EQ(space.seen().config, space.bytes());
}

TEST(ConfigView, FiltersReadsOfAnyPlaceAndSize) {
  const Space space = Space(256).standard(0x40, 0x01).standard(0x50, 0x14).standard(0x60, 0x10);
  const ConfigView view{space.bytes()};
  std::vector<std::byte> two{space.bytes()[0x41], space.bytes()[0x42]};
  view.filter(0x41, two);
  EXPECT_EQ(two[0], std::byte{0x60});
  EXPECT_EQ(two[1], std::byte{0xaa});
}

TEST(ConfigView, WritesAroundWhatIsHidden) {
  const Space space = Space(256).standard(0x40, 0x01).standard(0x50, 0x14).standard(0x60, 0x10);
  std::vector<std::pair<std::size_t, std::size_t>> written;
  const std::vector<std::byte> bytes(0x20);
  ConfigView{space.bytes()}.split(
      0x48, bytes, [&](std::size_t at, std::span<const std::byte> run) { written.emplace_back(at, run.size()); });
  EXPECT_THAT(written, ElementsAre(std::pair{0x48, 8}, std::pair{0x60, 8}));
}

TEST(ConfigView, FindsTheMsixStructures) {
  Space space(256);
  space.standard(0x70, 0x11);
  space.card_.set<std::uint16_t>(0x72, 0x0007);
  space.card_.set<std::uint32_t>(0x74, 0x2003);
  space.card_.set<std::uint32_t>(0x78, 0x3004);
  const auto msix = ConfigView{space.bytes()}.msix();
  ASSERT_TRUE(msix);
  EXPECT_EQ(msix->vectors, 8u);
  EXPECT_EQ(msix->table_bar, pci::Region::bar3);
  EXPECT_EQ(msix->table_offset, 0x2000u);
  EXPECT_EQ(msix->pba_bar, pci::Region::bar4);
}

}  // namespace
}  // namespace vmux::passthrough
