// SPDX-License-Identifier: BSD-3-Clause
#include "control/capture/filter_text.hpp"

#include <array>
#include <limits>

namespace vmux::control {
namespace {

constexpr const char* kForm =
    "expected a filter as `tcpdump -ddd` prints it, with commas for its ends of lines: N,CODE IF_TRUE IF_FALSE K,...";

std::optional<packet::FilterInstruction> parse_instruction(std::string_view text) {
  constexpr std::array<std::uint64_t, 4> kMost{0xffff, 0xff, 0xff, 0xffff'ffff};
  const auto words = split(text, ' ');
  if (words.size() != kMost.size()) return std::nullopt;
  std::array<std::uint64_t, 4> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto number = parse_number(words[i], kMost[i]);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  return packet::FilterInstruction{static_cast<std::uint16_t>(numbers[0]), static_cast<std::uint8_t>(numbers[1]),
                                   static_cast<std::uint8_t>(numbers[2]), static_cast<std::uint32_t>(numbers[3])};
}

}  // namespace

Parsed<packet::Filter> parse_filter(std::string_view text) {
  if (!text.empty() && text.back() == ',') text.remove_suffix(1);
  constexpr std::size_t kLongest = 32 * (packet::Filter::kMostInstructions + 2);  // characters
  if (text.size() > kLongest) return tl::unexpected<std::string>("a filter has 1 to 256 instructions");
  const auto parts = split(text, ',');
  const auto count = parse_number(parts.front(), std::numeric_limits<std::uint32_t>::max());
  if (!count || *count != parts.size() - 1) return tl::unexpected<std::string>(kForm);
  std::vector<packet::FilterInstruction> program;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto instruction = parse_instruction(parts[i]);
    if (!instruction) return tl::unexpected<std::string>(kForm);
    program.push_back(*instruction);
  }
  auto filter = packet::Filter::create(program);
  if (!filter) return tl::unexpected<std::string>(filter.error().what);
  return std::move(*filter);
}

}  // namespace vmux::control
