// SPDX-License-Identifier: BSD-3-Clause
// Saved states that are kept: images that some version of this program has written, in `test/states/NNNN.state` of a
// model's room, with HISTORY beside them saying why each is there. None is ever replaced. And what images of a later
// version would look like.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "rigs/saved_image.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::rigs {

class Golden {
 public:
  struct State {
    std::string name;
    SavedImage image;
  };
  explicit Golden(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// The oldest first.
  [[nodiscard]] std::vector<State> all() const {
    std::vector<State> states;
    if (!std::filesystem::is_directory(directory_)) return states;
    for (const auto& entry : std::filesystem::directory_iterator{directory_}) {
      if (entry.path().extension() != ".state") continue;
      std::ifstream file{entry.path(), std::ios::binary};
      const std::string text{std::istreambuf_iterator<char>{file}, {}};
      const auto* const bytes = reinterpret_cast<const std::byte*>(text.data());
      states.push_back({entry.path().filename(), {bytes, bytes + text.size()}});
    }
    std::sort(states.begin(), states.end(), [](const State& a, const State& b) { return a.name < b.name; });
    return states;
  }
  /// Why one more is to be written (scripts/write-golden-states), or nullptr.
  [[nodiscard]] static const char* reason() noexcept { return std::getenv("VMUX_WRITE_GOLDEN"); }
  void add(const SavedImage& image) const {
    std::filesystem::create_directories(directory_);
    char name[16];
    std::snprintf(name, sizeof name, "%04zu.state", all().size() + 1);
    std::ofstream file{directory_ / name, std::ios::binary};
    file.write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
    std::ofstream{directory_ / "HISTORY", std::ios::app} << name << "  " << reason() << '\n';
    VMUX_ASSERT(file.good());
  }

 private:
  std::filesystem::path directory_;
};

struct SectionPlace {
  std::string name;
  std::size_t at = 0;  ///< of its header
};

[[nodiscard]] inline std::vector<SectionPlace> sections_of(const SavedImage& image) {
  std::vector<SectionPlace> all;
  state::SectionHeader section;
  for (std::size_t at = sizeof(state::ImageHeader); at < image.size(); at += sizeof section + section.size) {
    std::memcpy(&section, image.data() + at, sizeof section);
    const std::string_view name{section.name, sizeof section.name};
    all.push_back({std::string{name.substr(0, name.find('\0'))}, at});
  }
  return all;
}

/// As a version writes it that has one field more in this section.
[[nodiscard]] inline SavedImage with_field(SavedImage image, const SectionPlace& place) {
  state::SectionHeader section;
  std::memcpy(&section, image.data() + place.at, sizeof section);
  const auto end = static_cast<std::ptrdiff_t>(place.at + sizeof section + section.size);
  section.version = static_cast<std::uint16_t>(section.version + 1);
  section.size = section.size + 4;
  std::memcpy(image.data() + place.at, &section, sizeof section);
  image.insert(image.begin() + end, 4, std::byte{0x5a});
  reseal(image);
  return image;
}

/// As a version writes it that has a section more.
[[nodiscard]] inline SavedImage with_section(SavedImage image, std::string_view name, state::Presence presence) {
  state::SectionHeader section{};
  std::copy(name.begin(), name.end(), section.name);
  section.version = std::uint16_t{1};
  section.is_essential = presence == state::Presence::essential ? 1 : 0;
  section.size = 4u;
  const auto* const bytes = reinterpret_cast<const std::byte*>(&section);
  image.insert(image.end(), bytes, bytes + sizeof section);
  image.insert(image.end(), 4, std::byte{0x5a});
  state::ImageHeader header;
  std::memcpy(&header, image.data(), sizeof header);
  header.sections = header.sections + 1;
  std::memcpy(image.data(), &header, sizeof header);
  reseal(image);
  return image;
}

/// What a later version has in place of T: a field more, which an image of this one does not have.
template <class T>
struct Next {
  static constexpr std::string_view kSection = T::kSection;
  static constexpr std::uint16_t kVersion = T::kVersion + 1;
  T known;
  std::uint32_t more = 7;
  static void describe(auto& fields, auto& self) {
    T::describe(fields, self.known);
    fields("more", self.more);
  }
};

}  // namespace vmux::rigs
