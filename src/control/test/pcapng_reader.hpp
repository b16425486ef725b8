// SPDX-License-Identifier: BSD-3-Clause
// For tests: a plain reading of draft-ietf-opsawg-pcapng, which shares no code with what writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace vmux::control::test {

struct PcapBlock {
  std::uint32_t type = 0;
  std::string body;  // all between the two lengths
  std::map<unsigned, std::string> options;

  [[nodiscard]] std::uint32_t word(std::size_t at) const {
    std::uint32_t value = 0;
    std::memcpy(&value, body.data() + at, sizeof value);
    return value;
  }
  [[nodiscard]] std::uint64_t number(unsigned option) const {
    const auto found = options.find(option);
    std::uint64_t value = 0;
    if (found != options.end())
      std::memcpy(&value, found->second.data(), std::min<std::size_t>(found->second.size(), 8));
    return value;
  }
  [[nodiscard]] std::string text(unsigned option) const {
    const auto found = options.find(option);
    return found == options.end() ? "" : found->second;
  }
};

inline std::size_t padded(std::size_t size) { return (size + 3) / 4 * 4; }

/// Empty blocks at the end: the file is not one.
inline std::vector<PcapBlock> read_pcapng(const std::string& file) {
  std::vector<PcapBlock> blocks;
  const auto word = [&file](std::size_t at) {
    std::uint32_t value = 0;
    if (at + 4 <= file.size()) std::memcpy(&value, file.data() + at, sizeof value);
    return value;
  };
  for (std::size_t at = 0; at < file.size();) {
    PcapBlock& block = blocks.emplace_back();
    const std::size_t length = word(at + 4);
    if (length < 12 || length % 4 != 0 || at + length > file.size() || word(at + length - 4) != length) return blocks;
    block.type = word(at);
    block.body = file.substr(at + 8, length - 12);
    std::size_t option = block.type == 0x0a0d0d0a ? 16 : block.type == 1 ? 8 : block.type == 5 ? 12 : 20;
    if (block.type == 6) option += padded(block.word(12));
    while (option + 4 <= block.body.size()) {
      const std::uint32_t head = block.word(option);
      const std::size_t size = head >> 16;
      if ((head & 0xffff) == 0) break;
      block.options[head & 0xffff] = block.body.substr(option + 4, size);
      option += 4 + padded(size);
    }
    at += length;
  }
  return blocks;
}

}  // namespace vmux::control::test
