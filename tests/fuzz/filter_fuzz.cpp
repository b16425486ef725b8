// SPDX-License-Identifier: BSD-3-Clause
// A caller's filter: as text, or as any instructions at all, over any bytes. One that is accepted ends, reads nothing
// behind the bytes, and means what libpcap's own machine says.
//
// Input: a byte (0: text follows, to the first zero byte; else how many instructions follow), 8 bytes for each
// instruction, the length of the whole frame, and its bytes.
#include <pcap/pcap.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "control/capture/filter_text.hpp"
#include "fuzz/input.hpp"
#include "packet/filter.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::fuzz {
namespace {

std::vector<packet::FilterInstruction> any_program(Input& input, std::size_t count) {
  std::vector<packet::FilterInstruction> program;
  for (std::size_t i = 0; i < count; ++i) {
    packet::FilterInstruction one;
    one.code = input.u8();  // all codes fit
    one.if_true = input.u8();
    one.if_false = input.u8();
    const std::uint8_t shape = input.u8();
    one.k = static_cast<std::uint32_t>(input.u16() | static_cast<unsigned>(input.u16()) << 16);
    if ((shape & 1) != 0) one.k &= 0x3f;
    if ((shape & 2) != 0) one.code = static_cast<std::uint16_t>(one.code | 0x100);
    program.push_back(one);
  }
  return program;
}

std::string text_of(const std::vector<packet::FilterInstruction>& program) {
  std::string text = std::to_string(program.size());
  for (const packet::FilterInstruction& one : program) {
    text += ',' + std::to_string(one.code) + ' ' + std::to_string(one.if_true) + ' ' + std::to_string(one.if_false) +
            ' ' + std::to_string(one.k);
  }
  return text;
}

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux;
  using namespace vmux::fuzz;
  Input input{data, size};
  const std::uint8_t count = input.u8();
  if (count == 0) {
    const auto all = input.all();
    const std::string text{all.begin(), all.end()};
    const auto parsed = control::parse_filter(text);
    if (parsed) {
      const std::vector program(parsed->program().begin(), parsed->program().end());
      VMUX_ASSERT(packet::Filter::create(program));
      VMUX_ASSERT(!program.empty() && program.size() <= packet::Filter::kMostInstructions);
    } else {
      VMUX_ASSERT(!parsed.error().empty());
    }
    return 0;
  }
  const auto program = any_program(input, count);
  const std::uint32_t length = input.u16();
  const auto rest = input.all();
  const std::vector<std::uint8_t> bytes(rest.begin(), rest.end());  // with nothing behind them
  const auto filter = packet::Filter::create(program);
  VMUX_ASSERT(filter.has_value() == control::parse_filter(text_of(program)).has_value());
  if (!filter) return 0;
  std::vector<bpf_insn> theirs;
  theirs.reserve(program.size());
  for (const packet::FilterInstruction& one : program)
    theirs.push_back({one.code, one.if_true, one.if_false, one.k});
  VMUX_ASSERT(bpf_validate(theirs.data(), static_cast<int>(theirs.size())) != 0);
  // Cells that were not written to are 0 here, and anything there.
  for (const packet::FilterInstruction& one : program) {
    if (one.code == 0x60 || one.code == 0x61) {
      static_cast<void>(filter->passes(std::as_bytes(std::span{bytes}), length));
      return 0;
    }
  }
  const bool passes = filter->passes(std::as_bytes(std::span{bytes}), length);
  VMUX_ASSERT(passes == (bpf_filter(theirs.data(), bytes.data(), length, static_cast<unsigned>(bytes.size())) != 0));
  return 0;
}
