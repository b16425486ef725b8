// SPDX-License-Identifier: BSD-3-Clause
// Codes and meaning: S. McCanne, V. Jacobson, "The BSD Packet Filter", 1993, table 2; bpf(4).
#include "packet/filter.hpp"

#include <array>

#include "packet/bytes.hpp"

namespace vmux::packet {
namespace {

constexpr std::size_t kCells = 16;  // BPF_MEMWORDS

// What an instruction takes of its fields, and so what is to be checked of them.
enum class Takes : std::uint8_t { nothing, constant, divisor, shift, cell, jump, branch };

// code, name, what it takes
#define VMUX_FILTER_CODES(ROW)                                                            \
  ROW(0x00, ld_imm, constant)   /* A = k */                                               \
  ROW(0x20, ld_abs_w, constant) /* A = 4 bytes at k */                                    \
  ROW(0x28, ld_abs_h, constant)                                                           \
  ROW(0x30, ld_abs_b, constant)                                                           \
  ROW(0x40, ld_ind_w, constant) /* A = 4 bytes at X + k */                                \
  ROW(0x48, ld_ind_h, constant)                                                           \
  ROW(0x50, ld_ind_b, constant)                                                           \
  ROW(0x60, ld_mem, cell)                                                                 \
  ROW(0x80, ld_len, nothing)                                                              \
  ROW(0x01, ldx_imm, constant)                                                            \
  ROW(0x61, ldx_mem, cell)                                                                \
  ROW(0x81, ldx_len, nothing)                                                             \
  ROW(0xb1, ldx_msh, constant) /* X = 4 * (byte at k & 15): how long an IPv4 header is */ \
  ROW(0x02, st, cell)                                                                     \
  ROW(0x03, stx, cell)                                                                    \
  ROW(0x04, add_k, constant)                                                              \
  ROW(0x14, sub_k, constant)                                                              \
  ROW(0x24, mul_k, constant)                                                              \
  ROW(0x34, div_k, divisor)                                                               \
  ROW(0x44, or_k, constant)                                                               \
  ROW(0x54, and_k, constant)                                                              \
  ROW(0x64, lsh_k, shift)                                                                 \
  ROW(0x74, rsh_k, shift)                                                                 \
  ROW(0x84, neg, nothing)                                                                 \
  ROW(0x94, mod_k, divisor)                                                               \
  ROW(0xa4, xor_k, constant)                                                              \
  ROW(0x0c, add_x, nothing)                                                               \
  ROW(0x1c, sub_x, nothing)                                                               \
  ROW(0x2c, mul_x, nothing)                                                               \
  ROW(0x3c, div_x, nothing)                                                               \
  ROW(0x4c, or_x, nothing)                                                                \
  ROW(0x5c, and_x, nothing)                                                               \
  ROW(0x6c, lsh_x, nothing)                                                               \
  ROW(0x7c, rsh_x, nothing)                                                               \
  ROW(0x9c, mod_x, nothing)                                                               \
  ROW(0xac, xor_x, nothing)                                                               \
  ROW(0x05, ja, jump)                                                                     \
  ROW(0x15, jeq_k, branch)                                                                \
  ROW(0x25, jgt_k, branch)                                                                \
  ROW(0x35, jge_k, branch)                                                                \
  ROW(0x45, jset_k, branch)                                                               \
  ROW(0x1d, jeq_x, branch)                                                                \
  ROW(0x2d, jgt_x, branch)                                                                \
  ROW(0x3d, jge_x, branch)                                                                \
  ROW(0x4d, jset_x, branch)                                                               \
  ROW(0x06, ret_k, constant)                                                              \
  ROW(0x16, ret_a, nothing)                                                               \
  ROW(0x07, tax, nothing)                                                                 \
  ROW(0x87, txa, nothing)

enum Code : std::uint16_t {
#define VMUX_ROW(code, name, takes) name = (code),
  VMUX_FILTER_CODES(VMUX_ROW)
#undef VMUX_ROW
};

struct CodeRow {
  std::uint16_t code;
  Takes takes;
};
constexpr auto kCodes = std::to_array<CodeRow>({
#define VMUX_ROW(code, name, takes) {code, Takes::takes},
    VMUX_FILTER_CODES(VMUX_ROW)
#undef VMUX_ROW
});
#undef VMUX_FILTER_CODES

const CodeRow* row_of(std::uint16_t code) noexcept {
  const auto* const found =
      std::find_if(kCodes.begin(), kCodes.end(), [code](const CodeRow& row) { return row.code == code; });
  return found == kCodes.end() ? nullptr : found;
}

// Static text: why it cannot be run; nullptr: it can. `behind`: how many instructions follow it.
const char* fault_of(const FilterInstruction& instruction, std::size_t behind) noexcept {
  const CodeRow* const row = row_of(instruction.code);
  if (row == nullptr) return "the filter has an instruction that there is not";
  switch (row->takes) {
    case Takes::cell:
      return instruction.k < kCells ? nullptr : "the filter names a memory cell that there is not";
    case Takes::divisor:
      return instruction.k != 0 ? nullptr : "the filter divides by 0";
    case Takes::shift:
      return instruction.k < 32 ? nullptr : "the filter shifts by 32 bits or more";
    case Takes::jump:
      return instruction.k < behind ? nullptr : "the filter jumps out of itself or backwards";
    case Takes::branch:
      return instruction.if_true < behind && instruction.if_false < behind ? nullptr : "the filter jumps out of itself";
    case Takes::nothing:
    case Takes::constant:
      break;
  }
  return nullptr;
}

bool has(Slice bytes, std::uint64_t at, std::size_t size) noexcept {
  return at + size <= bytes.size();  // `at` is a sum of two words of 32 bits
}

}  // namespace

Result<Filter> Filter::create(std::span<const FilterInstruction> program) {
  if (program.empty() || program.size() > kMostInstructions) {
    static_assert(kMostInstructions == 256);
    return fail(Errc::invalid_argument, "a filter has 1 to 256 instructions");
  }
  for (std::size_t i = 0; i < program.size(); ++i) {
    if (const char* const fault = fault_of(program[i], program.size() - i - 1))
      return fail(Errc::invalid_argument, fault);
  }
  const std::uint16_t last = program.back().code;
  if (last != ret_k && last != ret_a) return fail(Errc::invalid_argument, "the filter does not end with a return");
  Filter filter;
  filter.program_.assign(program.begin(), program.end());
  return filter;
}

// NOLINTNEXTLINE(readability-function-size): one line for each instruction
std::uint32_t Filter::run(Slice bytes, std::uint32_t length) const noexcept {
  std::uint32_t a = 0, x = 0;
  std::array<std::uint32_t, kCells> cells{};
  const FilterInstruction* next = program_.data();
  const auto branch = [&next](const FilterInstruction& at, bool is_true) {
    next += is_true ? at.if_true : at.if_false;
  };
  for (;;) {
    const FilterInstruction& at = *next++;
    const std::uint64_t indirect = std::uint64_t{x} + at.k;
    switch (at.code) {
      // clang-format off
      case ld_imm: a = at.k; break;
      case ld_abs_w: if (!has(bytes, at.k, 4)) return 0; a = get32(bytes, at.k); break;
      case ld_abs_h: if (!has(bytes, at.k, 2)) return 0; a = get16(bytes, at.k); break;
      case ld_abs_b: if (!has(bytes, at.k, 1)) return 0; a = get8(bytes, at.k); break;
      case ld_ind_w: if (!has(bytes, indirect, 4)) return 0; a = get32(bytes, indirect); break;
      case ld_ind_h: if (!has(bytes, indirect, 2)) return 0; a = get16(bytes, indirect); break;
      case ld_ind_b: if (!has(bytes, indirect, 1)) return 0; a = get8(bytes, indirect); break;
      case ld_mem: a = cells[at.k]; break;
      case ld_len: a = length; break;
      case ldx_imm: x = at.k; break;
      case ldx_mem: x = cells[at.k]; break;
      case ldx_len: x = length; break;
      case ldx_msh: if (!has(bytes, at.k, 1)) return 0; x = (get8(bytes, at.k) & 15u) * 4; break;
      case st: cells[at.k] = a; break;
      case stx: cells[at.k] = x; break;
      case add_k: a += at.k; break;
      case sub_k: a -= at.k; break;
      case mul_k: a *= at.k; break;
      case div_k: a /= at.k; break;
      case or_k: a |= at.k; break;
      case and_k: a &= at.k; break;
      case lsh_k: a <<= at.k; break;
      case rsh_k: a >>= at.k; break;
      case neg: a = 0u - a; break;
      case mod_k: a %= at.k; break;
      case xor_k: a ^= at.k; break;
      case add_x: a += x; break;
      case sub_x: a -= x; break;
      case mul_x: a *= x; break;
      case div_x: if (x == 0) return 0; a /= x; break;
      case or_x: a |= x; break;
      case and_x: a &= x; break;
      case lsh_x: a = x < 32 ? a << x : 0; break;
      case rsh_x: a = x < 32 ? a >> x : 0; break;
      case mod_x: if (x == 0) return 0; a %= x; break;
      case xor_x: a ^= x; break;
      case ja: next += at.k; break;
      case jeq_k: branch(at, a == at.k); break;
      case jgt_k: branch(at, a > at.k); break;
      case jge_k: branch(at, a >= at.k); break;
      case jset_k: branch(at, (a & at.k) != 0); break;
      case jeq_x: branch(at, a == x); break;
      case jgt_x: branch(at, a > x); break;
      case jge_x: branch(at, a >= x); break;
      case jset_x: branch(at, (a & x) != 0); break;
      case ret_k: return at.k;
      case ret_a: return a;
      case tax: x = a; break;
      case txa: a = x; break;
      default: return 0;  // create() lets no other pass
        // clang-format on
    }
  }
}

}  // namespace vmux::packet
