// SPDX-License-Identifier: BSD-3-Clause
// Saved state as bytes: a header, then sections. This page is the format.
//
// A saved type describes its fields once, for saving and for loading alike:
//
//     struct Counters {
//       static constexpr std::string_view kSection = "example.counters";
//       static constexpr std::uint16_t kVersion = 2;
//       std::uint32_t frames = 0;
//       std::uint64_t bytes = 0;       // since version 2; 0 is what version 1 meant
//       static void describe(auto& fields, auto& self) {
//         fields("frames", self.frames);
//         fields("bytes", self.bytes);
//       }
//     };
//
// Rules that keep old and new versions apart by no more than they must be: fields are only ever appended, and kVersion
// grows by one with each; the default of a new field means what the older version did; what a feature that is off needs
// is a section of its own and not written. Saved types are not runtime types: no pointer, no time of a clock (what
// remains of a timer instead), no padding. Fields have no names in the bytes, only an order.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "vmux/base/le.hpp"

namespace vmux::state {

inline constexpr std::size_t kNameSize = 24;      ///< longest section name
inline constexpr std::size_t kMaxSections = 256;  ///< of one image
/// Bytes of one image that a Reader looks at. A client may have 65,535 ranges mapped, and a megabyte on its way in.
inline constexpr std::size_t kMaxImage = std::size_t{256} << 20;

/// What an image starts with.
struct ImageHeader {
  static constexpr std::uint64_t kMagic = 0x0a31'6574'6174'5376;  // "vState1\n", lowest byte first
  Le<std::uint64_t> magic;
  Le<std::uint32_t> size;      ///< of the whole image in bytes, this header included
  Le<std::uint32_t> sections;  ///< how many follow
};
static_assert(sizeof(ImageHeader) == 16);

enum class Presence : std::uint8_t {
  optional,   ///< a reader that does not know the section skips it
  essential,  ///< a reader that does not know it refuses the image: without it the device would behave differently
};

/// What a section starts with; `size` bytes follow.
struct SectionHeader {
  char name[kNameSize];  ///< filled up with NUL
  Le<std::uint16_t> version;
  std::uint8_t is_essential;
  std::uint8_t reserved;
  Le<std::uint32_t> size;
  Le<std::uint32_t> crc;  ///< CRC32c of the bytes that follow
};
static_assert(sizeof(SectionHeader) == kNameSize + 12);

/// A type that says what of it is saved, and under which name.
template <class T>
concept Section = requires {
  { T::kSection } -> std::convertible_to<std::string_view>;
  { T::kVersion } -> std::convertible_to<std::uint16_t>;
};

}  // namespace vmux::state
