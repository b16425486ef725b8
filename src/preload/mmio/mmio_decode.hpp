// SPDX-License-Identifier: BSD-3-Clause
// What a faulting x86-64 instruction wanted from memory: the moves that compilers emit for device registers. Pure.
// Intel SDM volume 2, chapter 2 (prefixes, ModRM) and the pages of the instructions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace vmux::preload {

/// One load or store of an instruction with exactly one memory operand.
struct MmioAccess {
  enum class Kind : std::uint8_t {
    load,         ///< memory to register `reg`, the rest of it zero or sign extended as the instruction does
    store,        ///< register `reg` to memory
    store_value,  ///< `value` to memory
    load_vector,  ///< memory to vector register `reg`, the rest of its 16 bytes cleared
    store_vector  ///< low bytes of vector register `reg` to memory
  };
  Kind kind = Kind::load;
  std::uint8_t size = 4;           ///< bytes of memory: 1, 2, 4, 8, 16
  std::uint8_t register_size = 4;  ///< bytes of the register that a load writes; 4 clears the upper half
  bool sign_extends = false;
  bool high_byte = false;   ///< reg is AH, CH, DH or BH
  std::uint8_t reg = 0;     ///< 0 to 15 in the machine's numbering: ax cx dx bx sp bp si di r8..
  std::uint8_t length = 0;  ///< bytes of the instruction
  std::uint64_t value = 0;
};

/// nullopt: an instruction that is not among them. `code` may end anywhere after the instruction.
[[nodiscard]] std::optional<MmioAccess> decode_mmio(std::span<const std::uint8_t> code) noexcept;

/// What a general register holds after a load of `loaded`.
[[nodiscard]] std::uint64_t register_after_load(const MmioAccess& access, std::uint64_t before,
                                                std::uint64_t loaded) noexcept;

}  // namespace vmux::preload
