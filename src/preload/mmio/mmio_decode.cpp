// SPDX-License-Identifier: BSD-3-Clause
#include "preload/mmio/mmio_decode.hpp"

#include <algorithm>
#include <array>

namespace vmux::preload {
namespace {

using Kind = MmioAccess::Kind;

struct Prefixes {
  bool operand_size = false, f2 = false, f3 = false;
  bool w = false, r = false, b = false;
  bool has_rex = false;
};

/// Operand sizes of a row: fixed, or by prefixes (2 with 66, 8 with REX.W, else 4).
constexpr std::uint8_t kByPrefix = 0;

enum class Mandatory : std::uint8_t { none, p66, f2, f3 };
enum class Map : std::uint8_t { one_byte, x0f, x0f38 };  // what comes before the opcode

struct Row {
  Map map;
  std::uint8_t opcode;
  Mandatory mandatory;  // for vector instructions the prefix is part of the opcode
  Kind kind;
  std::uint8_t size;           // of memory
  std::uint8_t register_size;  // of a loaded register
  bool sign_extends;
};
constexpr auto kRows = std::to_array<Row>({
    {Map::one_byte, 0x88, Mandatory::none, Kind::store, 1, 1, false},          // MOV r/m8, r8
    {Map::one_byte, 0x89, Mandatory::none, Kind::store, kByPrefix, 0, false},  // MOV r/m, r
    {Map::one_byte, 0x8a, Mandatory::none, Kind::load, 1, 1, false},           // MOV r8, r/m8
    {Map::one_byte, 0x8b, Mandatory::none, Kind::load, kByPrefix, kByPrefix, false},
    {Map::one_byte, 0xc6, Mandatory::none, Kind::store_value, 1, 0, false},  // MOV r/m8, imm8
    {Map::one_byte, 0xc7, Mandatory::none, Kind::store_value, kByPrefix, 0, false},
    {Map::one_byte, 0x63, Mandatory::none, Kind::load, 4, kByPrefix, true},  // MOVSXD
    {Map::x0f, 0xb6, Mandatory::none, Kind::load, 1, kByPrefix, false},      // MOVZX
    {Map::x0f, 0xb7, Mandatory::none, Kind::load, 2, kByPrefix, false},
    {Map::x0f, 0xbe, Mandatory::none, Kind::load, 1, kByPrefix, true},  // MOVSX
    {Map::x0f, 0xbf, Mandatory::none, Kind::load, 2, kByPrefix, true},
    {Map::x0f, 0xc3, Mandatory::none, Kind::store, kByPrefix, 0, false},        // MOVNTI
    {Map::x0f38, 0xf9, Mandatory::none, Kind::store, kByPrefix, 0, false},      // MOVDIRI
    {Map::x0f, 0x6e, Mandatory::p66, Kind::load_vector, kByPrefix, 16, false},  // MOVD/MOVQ xmm, r/m
    {Map::x0f, 0x7e, Mandatory::p66, Kind::store_vector, kByPrefix, 0, false},  // MOVD/MOVQ r/m, xmm
    {Map::x0f, 0x7e, Mandatory::f3, Kind::load_vector, 8, 16, false},           // MOVQ xmm, m64
    {Map::x0f, 0xd6, Mandatory::p66, Kind::store_vector, 8, 0, false},          // MOVQ m64, xmm
    {Map::x0f, 0x10, Mandatory::none, Kind::load_vector, 16, 16, false},        // MOVUPS
    {Map::x0f, 0x11, Mandatory::none, Kind::store_vector, 16, 0, false},
    {Map::x0f, 0x28, Mandatory::none, Kind::load_vector, 16, 16, false},  // MOVAPS
    {Map::x0f, 0x29, Mandatory::none, Kind::store_vector, 16, 0, false},
    {Map::x0f, 0x6f, Mandatory::f3, Kind::load_vector, 16, 16, false},  // MOVDQU
    {Map::x0f, 0x7f, Mandatory::f3, Kind::store_vector, 16, 0, false},
    {Map::x0f, 0x6f, Mandatory::p66, Kind::load_vector, 16, 16, false},  // MOVDQA
    {Map::x0f, 0x7f, Mandatory::p66, Kind::store_vector, 16, 0, false},
});

bool is_vector(Kind kind) { return kind == Kind::load_vector || kind == Kind::store_vector; }

/// Reads bytes front to back; past the end it remembers that it failed.
class Code {
 public:
  explicit Code(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::uint8_t next() {
    if (at_ >= bytes_.size()) {
      failed_ = true;
      return 0;
    }
    return bytes_[at_++];
  }
  std::uint8_t peek() const { return at_ < bytes_.size() ? bytes_[at_] : std::uint8_t{0}; }
  void skip(std::size_t count) {
    failed_ = failed_ || count > bytes_.size() - at_;
    at_ = std::min(bytes_.size(), at_ + count);
  }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] std::size_t position() const { return at_; }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  bool failed_ = false;
};

Prefixes read_prefixes(Code& code) {
  Prefixes prefixes;
  for (;; code.skip(1)) {
    const std::uint8_t byte = code.peek();
    if (byte == 0x66) {
      prefixes.operand_size = true;
    } else if (byte == 0xf2) {
      prefixes.f2 = true;
    } else if (byte == 0xf3) {
      prefixes.f3 = true;
    } else if (byte != 0x2e && byte != 0x36 && byte != 0x3e && byte != 0x26) {  // segments of no effect in 64-bit mode
      break;
    }
  }
  if ((code.peek() & 0xf0) == 0x40) {
    const std::uint8_t rex = code.next();
    prefixes.has_rex = true;
    prefixes.w = (rex & 8) != 0;
    prefixes.r = (rex & 4) != 0;
    prefixes.b = (rex & 1) != 0;
  }
  return prefixes;
}

const Row* find_row(Map map, std::uint8_t opcode, const Prefixes& prefixes) {
  const Mandatory have = prefixes.f3             ? Mandatory::f3
                         : prefixes.f2           ? Mandatory::f2
                         : prefixes.operand_size ? Mandatory::p66
                                                 : Mandatory::none;
  const auto row = std::find_if(kRows.begin(), kRows.end(), [&](const Row& candidate) {
    if (candidate.map != map || candidate.opcode != opcode) return false;
    return is_vector(candidate.kind) ? candidate.mandatory == have : have == Mandatory::none || have == Mandatory::p66;
  });
  return row == kRows.end() ? nullptr : &*row;
}

/// Passes the addressing form (ModRM's memory forms, SIB, displacement). False for a register operand.
bool skip_address(Code& code, std::uint8_t modrm) {
  const unsigned mod = modrm >> 6, rm = modrm & 7;
  if (mod == 3) return false;
  if (rm == 4) {
    const std::uint8_t sib = code.next();
    if (mod == 0 && (sib & 7) == 5) code.skip(4);
  } else if (mod == 0 && rm == 5) {
    code.skip(4);  // RIP-relative
  }
  if (mod == 1) code.skip(1);
  if (mod == 2) code.skip(4);
  return true;
}

std::uint64_t read_immediate(Code& code, std::uint8_t size) {
  const std::size_t bytes = std::min<std::size_t>(size, 4);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i)
    value |= std::uint64_t{code.next()} << (8 * i);
  if (size == 8 && (value & 0x8000'0000u) != 0) value |= 0xffff'ffff'0000'0000u;  // imm32, sign extended
  return value;
}

}  // namespace

std::optional<MmioAccess> decode_mmio(std::span<const std::uint8_t> bytes) noexcept {
  Code code{bytes};
  const Prefixes prefixes = read_prefixes(code);
  std::uint8_t opcode = code.next();
  Map map = Map::one_byte;
  if (opcode == 0x0f) {
    map = Map::x0f;
    opcode = code.next();
    if (opcode == 0x38) {
      map = Map::x0f38;
      opcode = code.next();
    }
  }
  const Row* row = find_row(map, opcode, prefixes);
  if (row == nullptr) return std::nullopt;

  // The 66 prefix of a vector instruction is part of its opcode; elsewhere it halves the operand.
  const bool is_half = prefixes.operand_size && !is_vector(row->kind);
  const std::uint8_t by_prefix = prefixes.w ? std::uint8_t{8} : is_half ? std::uint8_t{2} : std::uint8_t{4};
  MmioAccess access;
  access.kind = row->kind;
  access.size = row->size == kByPrefix ? by_prefix : row->size;
  access.register_size = row->register_size == kByPrefix ? by_prefix : row->register_size;
  access.sign_extends = row->sign_extends;
  const std::uint8_t modrm = code.next();
  access.reg = static_cast<std::uint8_t>(((modrm >> 3) & 7) | (prefixes.r ? 8 : 0));
  if (row->kind == Kind::store_value && (modrm & 0x38) != 0) return std::nullopt;  // C6/C7 with another extension
  if (!skip_address(code, modrm)) return std::nullopt;
  const bool is_byte_register =
      (row->kind == Kind::load && access.register_size == 1) || (row->kind == Kind::store && access.size == 1);
  if (is_byte_register && !prefixes.has_rex && access.reg >= 4) {
    access.high_byte = true;
    access.reg = static_cast<std::uint8_t>(access.reg - 4);
  }
  if (row->kind == Kind::store_value) access.value = read_immediate(code, access.size);
  if (code.failed()) return std::nullopt;
  access.length = static_cast<std::uint8_t>(code.position());
  return access;
}

std::uint64_t register_after_load(const MmioAccess& access, std::uint64_t before, std::uint64_t loaded) noexcept {
  const unsigned bits = access.size * 8u;
  std::uint64_t value = bits == 64 ? loaded : loaded & ((std::uint64_t{1} << bits) - 1);
  if (access.sign_extends && (value >> (bits - 1) & 1) != 0) value |= ~std::uint64_t{0} << bits;
  switch (access.register_size) {
    case 8:
      return value;
    case 4:
      return value & 0xffff'ffffu;
    case 2:
      return (before & ~std::uint64_t{0xffff}) | (value & 0xffff);
    default: {
      const unsigned shift = access.high_byte ? 8 : 0;
      return (before & ~(std::uint64_t{0xff} << shift)) | ((value & 0xff) << shift);
    }
  }
}

}  // namespace vmux::preload
