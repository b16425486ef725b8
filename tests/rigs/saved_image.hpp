// SPDX-License-Identifier: BSD-3-Clause
// Saved states that have been tampered with, by somebody who knows how to make checksums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/crc.hpp"
#include "vmux/state/format.hpp"

namespace vmux::rigs {

using SavedImage = std::vector<std::byte>;

/// Makes size and checksums right again, as far as there are sections.
inline void reseal(SavedImage& image) {
  state::ImageHeader header;
  if (image.size() < sizeof header) return;
  std::memcpy(&header, image.data(), sizeof header);
  header.size = static_cast<std::uint32_t>(image.size());
  std::memcpy(image.data(), &header, sizeof header);
  state::SectionHeader section;
  for (std::size_t at = sizeof header; image.size() - at >= sizeof section;) {
    std::memcpy(&section, image.data() + at, sizeof section);
    const std::size_t content = at + sizeof section;
    if (section.size > image.size() - content) return;
    Crc32c crc;
    crc.add(std::span{image}.subspan(content, section.size));
    section.crc = crc.finish();
    std::memcpy(image.data() + at, &section, sizeof section);
    at = content + section.size;
  }
}

/// Calls `visit` with every image that is the first bytes of this one, cut off without a trace.
template <class F>
void for_each_truncation(const SavedImage& image, F&& visit) {
  for (std::size_t size = 0; size < image.size(); ++size) {
    SavedImage cut{image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size)};
    reseal(cut);
    visit(cut);
  }
}

/// Calls `visit` with every image that differs from this one in a byte, and shows no trace of it; for each byte in some
/// ways that matter to numbers and flags.
template <class F>
void for_each_changed_byte(const SavedImage& image, F&& visit) {
  for (std::size_t at = 0; at < image.size(); ++at) {
    for (const std::byte flips : {std::byte{0x01}, std::byte{0x80}}) {
      SavedImage changed = image;
      changed[at] ^= flips;
      reseal(changed);
      visit(changed);
    }
  }
}

}  // namespace vmux::rigs
