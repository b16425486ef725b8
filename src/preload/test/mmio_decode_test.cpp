// SPDX-License-Identifier: BSD-3-Clause
#include "preload/mmio/mmio_decode.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace vmux::preload {
namespace {

using Kind = MmioAccess::Kind;

struct Case {
  const char* assembly;
  std::vector<std::uint8_t> code;
  Kind kind;
  unsigned size, reg, value;
};
class Decode : public ::testing::TestWithParam<Case> {};

TEST_P(Decode, UnderstandsMove) {
  const Case& move = GetParam();
  auto code = move.code;
  code.insert(code.end(), {0x90, 0x90});
  const auto access = decode_mmio(code);
  ASSERT_TRUE(access) << move.assembly;
  EXPECT_EQ(access->kind, move.kind) << move.assembly;
  EXPECT_EQ(access->size, move.size) << move.assembly;
  EXPECT_EQ(access->length, move.code.size()) << move.assembly;
  if (move.kind == Kind::store_value) {
    EXPECT_EQ(access->value, move.value) << move.assembly;
  } else {
    EXPECT_EQ(access->reg, move.reg) << move.assembly;
  }
}
INSTANTIATE_TEST_SUITE_P(
    Moves, Decode,
    ::testing::Values(
        Case{"mov eax, [rdi]", {0x8b, 0x07}, Kind::load, 4, 0, 0},
        Case{"mov r9d, [r8+8]", {0x45, 0x8b, 0x48, 0x08}, Kind::load, 4, 9, 0},
        Case{"mov rax, [rip+0x10]", {0x48, 0x8b, 0x05, 0x10, 0, 0, 0}, Kind::load, 8, 0, 0},
        Case{"mov ax, [rsp+rcx*4+0x100]", {0x66, 0x8b, 0x84, 0x8c, 0, 1, 0, 0}, Kind::load, 2, 0, 0},
        Case{"movzx ecx, byte [rax]", {0x0f, 0xb6, 0x08}, Kind::load, 1, 1, 0},
        Case{"movzx edx, word [rax]", {0x0f, 0xb7, 0x10}, Kind::load, 2, 2, 0},
        Case{"movsxd rax, dword [rbx]", {0x48, 0x63, 0x03}, Kind::load, 4, 0, 0},
        Case{"mov [rdi], esi", {0x89, 0x37}, Kind::store, 4, 6, 0},
        Case{"mov [rdi+0x3818], r12d", {0x44, 0x89, 0xa7, 0x18, 0x38, 0, 0}, Kind::store, 4, 12, 0},
        Case{"mov [rax], ah", {0x88, 0x20}, Kind::store, 1, 0, 0},
        Case{"mov [rax], spl", {0x40, 0x88, 0x20}, Kind::store, 1, 4, 0},
        Case{"mov dword [rax+4], 7", {0xc7, 0x40, 0x04, 7, 0, 0, 0}, Kind::store_value, 4, 0, 7},
        Case{"mov byte [rax], 7", {0xc6, 0x00, 7}, Kind::store_value, 1, 0, 7},
        Case{"mov word [disp32], 7", {0x66, 0xc7, 0x04, 0x25, 0, 0x10, 0, 0, 7, 0}, Kind::store_value, 2, 0, 7},
        Case{"movnti [rax], edx", {0x0f, 0xc3, 0x10}, Kind::store, 4, 2, 0},
        Case{"movdiri [rdx], eax", {0x0f, 0x38, 0xf9, 0x02}, Kind::store, 4, 0, 0},  // DPDK, where the CPU has it
        Case{"movdiri [rdi+8], r9", {0x4c, 0x0f, 0x38, 0xf9, 0x4f, 0x08}, Kind::store, 8, 9, 0},
        Case{"movq xmm1, [rax]", {0xf3, 0x0f, 0x7e, 0x08}, Kind::load_vector, 8, 1, 0},
        Case{"movups [rax], xmm9", {0x44, 0x0f, 0x11, 0x08}, Kind::store_vector, 16, 9, 0},
        Case{"movdqu xmm0, [rax]", {0xf3, 0x0f, 0x6f, 0x00}, Kind::load_vector, 16, 0, 0},
        Case{"movd [rax], xmm2", {0x66, 0x0f, 0x7e, 0x10}, Kind::store_vector, 4, 2, 0}));

TEST(DecodeRefuses, OtherInstructionsAndRegisterForms) {
  const std::vector<std::vector<std::uint8_t>> all = {{0x8b, 0xc1},
                                                      {0x01, 0x08},
                                                      {0x0f, 0x0b},
                                                      {0xc7, 0x48, 4, 0, 0, 0, 0},
                                                      {0xf2, 0x0f, 0x10, 0x00},
                                                      {0x0f, 0x38, 0xf0, 0x00},
                                                      {0x8b},
                                                      {}};
  for (const auto& code : all)
    EXPECT_FALSE(decode_mmio(code));
}
TEST(DecodeRefuses, InstructionCutShort) {
  const std::vector<std::uint8_t> whole = {0x66, 0xc7, 0x84, 0x8c, 0, 1, 0, 0, 7, 0};
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(decode_mmio(std::span{whole}.first(length))) << length;
  }
  EXPECT_TRUE(decode_mmio(whole));
}
TEST(RegisterAfterLoad, WritesAsMuchAsTheInstructionDoes) {
  const std::uint64_t before = 0x1111'2222'3333'4444;
  EXPECT_EQ(register_after_load({.size = 4, .register_size = 4}, before, 0xffff'ffff'8000'0001), 0x8000'0001u);
  EXPECT_EQ(register_after_load({.size = 2, .register_size = 2}, before, 0xabcd), 0x1111'2222'3333'abcdu);
  EXPECT_EQ(register_after_load({.size = 1, .register_size = 1, .high_byte = true}, before, 0xab),
            0x1111'2222'3333'ab44u);
  EXPECT_EQ(register_after_load({.size = 4, .register_size = 8, .sign_extends = true}, before, 0x8000'0000),
            0xffff'ffff'8000'0000u);
  EXPECT_EQ(register_after_load({.size = 1, .register_size = 4, .sign_extends = true}, before, 0x80), 0xffff'ff80u);
}

}  // namespace
}  // namespace vmux::preload
