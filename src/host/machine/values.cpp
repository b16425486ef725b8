// SPDX-License-Identifier: BSD-3-Clause
#include "host/machine/values.hpp"

#include <algorithm>
#include <cctype>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

bool is_space(char c) noexcept { return std::isspace(static_cast<unsigned char>(c)) != 0; }

}  // namespace

PciAddress offset(PciAddress from, unsigned steps) noexcept {
  const unsigned id = (from.bus * 256u + from.device * 8u + from.function + steps) & 0xffff;
  from.bus = static_cast<std::uint8_t>(id / 256);
  from.device = static_cast<std::uint8_t>(id / 8 % 32);
  from.function = static_cast<std::uint8_t>(id % 8);
  return from;
}

std::optional<CpuSet> parse_cpus(std::string_view text) {
  if (text.empty()) return CpuSet{};
  const auto list = parse_cpu_list(text);
  if (!list) return std::nullopt;
  return CpuSet{list->begin(), list->end()};
}

std::string to_text(const CpuSet& cpus) {
  std::string text;
  for (auto at = cpus.begin(); at != cpus.end();) {
    const unsigned first = *at;
    unsigned last = first;
    for (++at; at != cpus.end() && *at == last + 1; ++at)
      last = *at;
    if (!text.empty()) text += ',';
    text += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
  }
  return text;
}

std::optional<std::string> parse_mac(std::string_view text) {
  const auto mac = vmux::parse_mac(text);
  return mac ? std::optional{vmux::to_text(*mac)} : std::nullopt;
}

std::optional<std::uint64_t> parse_size_kib(std::string_view text) noexcept {
  const auto bytes = parse_size(text);
  return bytes ? std::optional{*bytes >> 10} : std::nullopt;
}

std::string size_text(std::uint64_t kib) {
  if (kib >= 1u << 20 && kib % (1u << 20) == 0) return fmt::format("{}G", kib >> 20);
  if (kib >= 1u << 10 && kib % (1u << 10) == 0) return fmt::format("{}M", kib >> 10);
  return fmt::format("{}K", kib);
}

std::optional<std::uint64_t> parse_decimal(std::string_view text) noexcept { return parse_number(text); }

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  while (!(text = trim(text)).empty()) {
    const auto end = std::find_if(text.begin(), text.end(), is_space);
    const auto size = static_cast<std::size_t>(end - text.begin());
    found.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return found;
}

std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> found;
  while (!text.empty()) {
    std::string_view rest = text;
    const auto line = cut(rest, '\n');
    found.emplace_back(line.value_or(text));
    text = line ? rest : std::string_view{};
  }
  return found;
}

bool has_word(std::string_view text, std::string_view word) {
  const std::vector<std::string> all = words(text);
  return std::find(all.begin(), all.end(), word) != all.end();
}

std::string field(std::string_view text, std::string_view key) {
  for (const std::string& line : lines(text)) {
    std::string_view rest = line;
    const auto name = cut(rest, ':');
    if (name && trim(*name) == key) return std::string{trim(rest)};
  }
  return "";
}

}  // namespace vmux::host
