// SPDX-License-Identifier: BSD-3-Clause
// Saved state as it may come from outside: what is accepted is saved again as the same bytes. The input is the content
// of one section; header and checksum are made right, so that the fuzzer need not find them.
#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/crc.hpp"
#include "fuzz/input.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace {

enum class Kind : std::uint8_t { first, second, last };

struct Entry {
  std::uint16_t key = 0;
  std::optional<std::uint32_t> value;
  static void describe(auto& fields, auto& self) {
    fields("key", self.key);
    fields("value", self.value);
  }
};

struct Sample {
  static constexpr std::string_view kSection = "fuzz.sample";
  static constexpr std::uint16_t kVersion = 1;
  bool is_on = false;
  std::array<std::uint64_t, 2> words{};
  Kind kind = Kind::first;
  std::vector<Entry> entries;
  std::string name;
  std::array<std::byte, 3> raw{};
  static void describe(auto& fields, auto& self) {
    fields("is_on", self.is_on);
    fields("words", self.words);
    fields.one_of("kind", self.kind, Kind::last);
    fields.list("entries", self.entries, 16);
    fields.text("name", self.name, 12);
    fields.bytes("raw", self.raw);
  }
};

std::vector<std::byte> image_of(std::span<const std::uint8_t> content) {
  namespace st = vmux::state;
  st::SectionHeader section{};
  Sample::kSection.copy(section.name, st::kNameSize);
  section.version = Sample::kVersion;
  section.is_essential = 1;
  section.size = static_cast<std::uint32_t>(content.size());
  vmux::Crc32c crc;
  crc.add(std::as_bytes(content));
  section.crc = crc.finish();
  st::ImageHeader header;
  header.magic = st::ImageHeader::kMagic;
  header.size = static_cast<std::uint32_t>(sizeof header + sizeof section + content.size());
  header.sections = 1;
  std::vector<std::byte> image;
  const auto append = [&image](std::span<const std::byte> bytes) {
    image.insert(image.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span{&header, 1}));
  append(std::as_bytes(std::span{&section, 1}));
  append(std::as_bytes(content));
  return image;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> input{data, size};
  static_cast<void>(vmux::state::Reader::open(std::as_bytes(input)));  // as it is
  const auto image = image_of(input);
  auto reader = vmux::state::Reader::open(image);
  Sample sample;
  if (!reader || !reader->load(sample) || !reader->finish()) return 0;
  vmux::state::Writer writer;
  writer.add(sample);
  if (std::move(writer).finish() != image) std::abort();
  return 0;
}
