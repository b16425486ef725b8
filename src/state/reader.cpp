// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/reader.hpp"

#include "base/crc.hpp"

namespace vmux::state {
namespace {

/// The name in a header, or an empty one when it is none: only letters, digits, '.', '-' and '_', then NULs.
std::string_view name_in(std::span<const std::byte, kNameSize> raw) noexcept {
  const std::string_view all{reinterpret_cast<const char*>(raw.data()), raw.size()};
  const std::string_view name = all.substr(0, all.find('\0'));
  const auto is_ordinary = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  };
  if (!std::all_of(name.begin(), name.end(), is_ordinary)) return {};
  const std::string_view padding = all.substr(name.size());
  return padding.find_first_not_of('\0') == std::string_view::npos ? name : std::string_view{};
}

}  // namespace

void FieldReader::refuse(std::string_view name, const char* why) noexcept {
  if (why_ != nullptr) return;
  why_ = why;
  where_ = name;
}

bool FieldReader::may_begin(std::string_view name, std::size_t size) noexcept {
  if (why_ != nullptr) return false;
  if (rest_.size() >= size) return true;
  // Between two fields is where a shorter, older version may end; this is where it does, so all later ones are absent.
  if (!is_older_ || !rest_.empty()) refuse(name, "ends too early");
  return false;
}

void FieldReader::text(std::string_view name, std::string& value, std::size_t longest) {
  auto count = static_cast<std::uint32_t>(value.size());
  if (!may_begin(name, sizeof count)) return;
  number(name, count);
  if (count > longest) return refuse(name, "is longer than this version takes");
  if (count > rest_.size()) return refuse(name, "ends too early");
  value.assign(reinterpret_cast<const char*>(rest_.data()), count);
  rest_ = rest_.subspan(count);
}

void FieldReader::bytes(std::string_view name, std::span<std::byte> value) {
  if (!may_begin(name, value.size())) return;
  std::copy_n(rest_.begin(), value.size(), value.begin());
  rest_ = rest_.subspan(value.size());
}

tl::expected<Reader, Reader::Complaint> Reader::open(std::span<const std::byte> image) {
  const auto bad = [](const char* why) { return tl::unexpected(Complaint{"the saved state "} + why); };
  ImageHeader header;
  if (image.size() < sizeof header) return bad("is too short for its header");
  if (image.size() > kMaxImage) return bad("is larger than any this program writes");
  std::memcpy(&header, image.data(), sizeof header);
  if (header.magic != ImageHeader::kMagic) return bad("does not begin as one of this program does");
  if (header.size != image.size()) return bad("is not as long as its header says");
  if (header.sections > kMaxSections) return bad("has more sections than any this program writes");

  Reader reader;
  auto rest = image.subspan(sizeof header);
  for (std::uint32_t i = 0; i < header.sections; ++i) {
    SectionHeader section;
    if (rest.size() < sizeof section) return bad("ends within the header of a section");
    const std::string_view name = name_in(rest.first<kNameSize>());
    std::memcpy(&section, rest.data(), sizeof section);
    rest = rest.subspan(sizeof section);
    if (name.empty() || section.is_essential > 1 || section.reserved != 0) return bad("has a header that is none");
    if (section.size > rest.size()) return tl::unexpected(complain(name, "ends too early"));
    if (reader.has(name)) return tl::unexpected(complain(name, "is there twice"));
    const auto content = rest.first(section.size);
    Crc32c crc;
    crc.add(content);
    if (crc.finish() != section.crc) return tl::unexpected(complain(name, "has a wrong checksum"));
    reader.entries_.push_back({name, section.version, section.is_essential != 0, content});
    rest = rest.subspan(section.size);
  }
  if (!rest.empty()) return bad("goes on behind its last section");
  return reader;
}

tl::expected<void, Reader::Complaint> Reader::finish() const {
  for (const auto& entry : entries_) {
    if (entry.is_essential && !entry.is_read) return tl::unexpected(complain(entry.name, "is not known here"));
  }
  return {};
}

const Reader::Entry* Reader::find(std::string_view name) const noexcept {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

Reader::Complaint Reader::complain(std::string_view section, const char* why, std::string_view field) {
  Complaint text{"the saved state's section '"};
  text.append(section).append("'");
  if (!field.empty()) text.append(": '").append(field).append("'");
  return text.append(" ").append(why);
}

}  // namespace vmux::state
