// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/writer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/crc.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::state {

void FieldWriter::count(std::size_t size, std::size_t most) {
  VMUX_ASSERT(size <= most);
  number(static_cast<std::uint32_t>(size));
}

void FieldWriter::text(std::string_view, const std::string& value, std::size_t longest) {
  count(value.size(), longest);
  bytes({}, std::as_bytes(std::span{value}));
}

void FieldWriter::bytes(std::string_view, std::span<const std::byte> value) {
  into_.insert(into_.end(), value.begin(), value.end());
}

Writer::Writer() : image_(sizeof(ImageHeader)) {}

Writer::Writer(std::vector<std::byte> image) : image_(std::move(image)) {
  ImageHeader header;
  VMUX_ASSERT(image_.size() >= sizeof header);
  std::memcpy(&header, image_.data(), sizeof header);
  sections_ = header.sections;
}

std::size_t Writer::begin(std::string_view name, std::uint16_t version, Presence presence) {
  VMUX_ASSERT(!name.empty() && name.size() <= kNameSize && sections_ < kMaxSections);
  SectionHeader header{};
  std::copy(name.begin(), name.end(), header.name);
  header.version = version;
  header.is_essential = presence == Presence::essential ? 1 : 0;
  const std::size_t at = image_.size();
  image_.resize(at + sizeof header);
  std::memcpy(image_.data() + at, &header, sizeof header);
  ++sections_;
  return at;
}

void Writer::end(std::size_t at) {
  const auto content = std::span{image_}.subspan(at + sizeof(SectionHeader));
  SectionHeader header;
  std::memcpy(&header, image_.data() + at, sizeof header);
  Crc32c crc;
  crc.add(content);
  header.size = static_cast<std::uint32_t>(content.size());
  header.crc = crc.finish();
  std::memcpy(image_.data() + at, &header, sizeof header);
  VMUX_ASSERT(image_.size() <= kMaxImage);
}

std::vector<std::byte> Writer::finish() && {
  ImageHeader header;
  header.magic = ImageHeader::kMagic;
  header.size = static_cast<std::uint32_t>(image_.size());
  header.sections = sections_;
  std::memcpy(image_.data(), &header, sizeof header);
  sections_ = 0;
  return std::exchange(image_, std::vector<std::byte>(sizeof(ImageHeader)));
}

}  // namespace vmux::state
