// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/crc.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::state {
namespace {

enum class Colour : std::uint8_t { red, green, blue };

struct Rule {
  std::uint16_t vlan = 0;
  bool drops = false;
  static void describe(auto& fields, auto& self) {
    fields("vlan", self.vlan);
    fields("drops", self.drops);
  }
  friend bool operator==(const Rule&, const Rule&) = default;
};

struct Card {
  static constexpr std::string_view kSection = "test.card";
  static constexpr std::uint16_t kVersion = 3;
  std::uint8_t byte = 0;
  std::uint64_t word = 0;
  Iova ring;
  std::array<std::uint16_t, 3> table{};
  Colour colour = Colour::red;
  std::optional<Rule> favourite;
  std::vector<Rule> rules;
  std::string name;
  std::array<std::byte, 6> mac{};
  std::uint32_t since_3 = 7;

  static void describe(auto& fields, auto& self) {
    fields("byte", self.byte);
    fields("word", self.word);
    fields("ring", self.ring);
    fields("table", self.table);
    fields.one_of("colour", self.colour, Colour::blue);
    fields("favourite", self.favourite);
    fields.list("rules", self.rules, 4);
    fields.text("name", self.name, 8);
    fields.bytes("mac", self.mac);
    fields("since_3", self.since_3);
  }
  friend bool operator==(const Card&, const Card&) = default;
};

// The same section as an older program knew it: without its last field.
struct OldCard {
  static constexpr std::string_view kSection = Card::kSection;
  static constexpr std::uint16_t kVersion = 2;
  Card card;
  static void describe(auto& fields, auto& self) {
    fields("byte", self.card.byte);
    fields("word", self.card.word);
    fields("ring", self.card.ring);
    fields("table", self.card.table);
    fields.one_of("colour", self.card.colour, Colour::blue);
    fields("favourite", self.card.favourite);
    fields.list("rules", self.card.rules, 4);
    fields.text("name", self.card.name, 8);
    fields.bytes("mac", self.card.mac);
  }
};

struct Extra {
  static constexpr std::string_view kSection = "test.extra";
  static constexpr std::uint16_t kVersion = 1;
  std::uint32_t value = 0;
  static void describe(auto& fields, auto& self) { fields("value", self.value); }
};

Card a_card() {
  return {.byte = 1,
          .word = 0x0123'4567'89ab'cdef,
          .ring = Iova{0x1000},
          .table = {1, 2, 0xffff},
          .colour = Colour::blue,
          .favourite = Rule{100, true},
          .rules = {{1, false}, {2, true}},
          .name = "eth0",
          .mac = {std::byte{0x52}, std::byte{0x54}},
          .since_3 = 99};
}

template <class T>
std::vector<std::byte> saved(const T& value) {
  Writer writer;
  writer.add(value);
  return std::move(writer).finish();
}

// What is said of an image: empty when all is well.
template <class T>
std::string complaint_about(std::span<const std::byte> image, T& into) {
  auto reader = Reader::open(image);
  if (!reader) return reader.error();
  if (auto loaded = reader->load(into); !loaded) return loaded.error();
  if (auto finished = reader->finish(); !finished) return finished.error();
  return {};
}

constexpr std::size_t kContent = sizeof(ImageHeader) + sizeof(SectionHeader);  // where the first section's fields begin

// Changes a byte of the only section and makes the checksum right again: a sender who knows what he does.
std::vector<std::byte> forged(std::vector<std::byte> image, std::size_t at, std::uint8_t value) {
  image[at] = static_cast<std::byte>(value);
  SectionHeader header;
  std::memcpy(&header, image.data() + sizeof(ImageHeader), sizeof header);
  Crc32c crc;
  crc.add(std::span{image}.subspan(kContent));
  header.crc = crc.finish();
  std::memcpy(image.data() + sizeof(ImageHeader), &header, sizeof header);
  return image;
}

TEST(StateImage, GivesBackWhatWasSaved) {
  Card loaded;
  EXPECT_EQ(complaint_about(saved(a_card()), loaded), "");
  EXPECT_EQ(loaded, a_card());
}

TEST(StateImage, OfEqualStatesIsEqualByteForByte) {
  auto other = a_card();
  other.rules.reserve(100);
  EXPECT_EQ(saved(a_card()), saved(other));
}

TEST(StateImage, HasNumbersLowestByteFirst) {
  const auto image = saved(a_card());
  const std::array<std::uint8_t, 9> begin{1, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
  EXPECT_EQ(std::memcmp(image.data() + kContent, begin.data(), begin.size()), 0);
}

TEST(StateImage, OfAnOlderVersionLeavesNewFieldsAtTheirDefaults) {
  Card loaded;
  EXPECT_EQ(complaint_about(saved(OldCard{a_card()}), loaded), "");
  auto expected = a_card();
  expected.since_3 = 7;
  EXPECT_EQ(loaded, expected);
}

TEST(StateImage, OfANewerVersionIsReadAsFarAsItIsKnown) {
  OldCard loaded;
  EXPECT_EQ(complaint_about(saved(a_card()), loaded), "");
  EXPECT_EQ(loaded.card.name, "eth0");
}

TEST(StateImage, WithoutANeededSectionIsRefusedByName) {
  Card loaded;
  EXPECT_EQ(complaint_about(saved(Extra{}), loaded), "the saved state's section 'test.card' is missing");
}

TEST(StateImage, WithAnUnknownEssentialSectionIsRefusedByName) {
  Writer writer;
  writer.add(a_card());
  writer.add(Extra{5});
  Card loaded;
  EXPECT_EQ(complaint_about(std::move(writer).finish(), loaded),
            "the saved state's section 'test.extra' is not known here");
}

TEST(StateImage, WithAnUnknownOptionalSectionIsTaken) {
  Writer writer;
  writer.add(Extra{5}, Presence::optional);
  writer.add(a_card());
  Card loaded;
  EXPECT_EQ(complaint_about(std::move(writer).finish(), loaded), "");
  EXPECT_EQ(loaded, a_card());
}

TEST(StateImage, WithASectionTwiceIsRefused) {
  Writer writer;
  writer.add(Extra{5});
  writer.add(Extra{6});
  Extra loaded;
  EXPECT_EQ(complaint_about(std::move(writer).finish(), loaded),
            "the saved state's section 'test.extra' is there twice");
}

TEST(StateImage, CutAnywhereIsRefused) {
  const auto image = saved(a_card());
  for (std::size_t size = 0; size < image.size(); ++size) {
    Card loaded;
    EXPECT_NE(complaint_about(std::span{image}.first(size), loaded), "") << size;
  }
}

TEST(StateImage, WithAnyBitChangedIsRefused) {
  const auto image = saved(a_card());
  for (std::size_t bit = 0; bit < image.size() * 8; ++bit) {
    auto changed = image;
    changed[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    Card loaded;
    const auto complaint = complaint_about(changed, loaded);
    // The version's own bits may say "newer", which is read as far as it is known.
    const bool is_version = bit / 8 >= sizeof(ImageHeader) + kNameSize && bit / 8 < sizeof(ImageHeader) + kNameSize + 2;
    const bool is_essential_flag = bit == (sizeof(ImageHeader) + kNameSize + 2) * 8;
    EXPECT_TRUE(!complaint.empty() || is_version || is_essential_flag) << bit;
  }
}

TEST(StateImage, ThatGoesOnBehindItsLastSectionIsRefused) {
  auto image = saved(a_card());
  image.push_back(std::byte{0});
  Le<std::uint32_t> size{static_cast<std::uint32_t>(image.size())};
  std::memcpy(image.data() + 8, &size, sizeof size);
  Card loaded;
  EXPECT_EQ(complaint_about(image, loaded), "the saved state goes on behind its last section");
}

struct Forgery {
  const char* what;
  std::size_t at;  // from the section's first byte
  std::uint8_t value;
  const char* complaint;
};

class StateForgery : public testing::TestWithParam<Forgery> {};

TEST_P(StateForgery, IsRefusedByField) {
  Card loaded;
  const auto image = forged(saved(a_card()), kContent + GetParam().at, GetParam().value);
  EXPECT_EQ(complaint_about(image, loaded),
            std::string{"the saved state's section 'test.card': "} + GetParam().complaint);
}

std::string name_of(const testing::TestParamInfo<Forgery>& row) {
  std::string name{row.param.what};
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Fields, StateForgery,
    testing::Values(Forgery{"enumeration", 23, 3, "'colour' has a value that this version does not know"},
                    Forgery{"bool", 24, 2, "'favourite' is neither true nor false"},
                    Forgery{"list", 28, 5, "'rules' is longer than this version's table"},
                    Forgery{"list_of_16_million", 31, 1, "'rules' is longer than this version's table"},
                    Forgery{"text", 38, 9, "'name' is longer than this version takes"},
                    Forgery{"text_that_takes_all", 38, 8, "'since_3' ends too early"}),
    name_of);

}  // namespace
}  // namespace vmux::state
