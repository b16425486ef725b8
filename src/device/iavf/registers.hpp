// SPDX-License-Identifier: BSD-3-Clause
// Registers of an Intel adaptive virtual function (8086:1889): where they lie, what a reset leaves in them, which bits
// a driver may write. Names as in Intel's published iavf_register.h (Linux and DPDK), which also tells what resets
// each: VFR (virtual function reset) or CORER/EMPR (the whole device; here: a reset of the PCI function).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "pci/register_rows.hpp"
#include "vmux/base/bits.hpp"

namespace vmux::device::iavf {

inline constexpr unsigned kMaxQueuePairs = 16;
inline constexpr unsigned kQueueVectors = 16;            // VFINT_DYN_CTLN1
inline constexpr unsigned kVectors = 1 + kQueueVectors;  // MSI-X: vector 0 is the admin queue's
inline constexpr unsigned kItrs = 3;                     // ITR 0 to 2; index 3 means "no moderation"
inline constexpr std::uint32_t kNoItr = 3;
inline constexpr std::uint32_t kRssKeySize = 52, kRssLutSize = 64;

enum class Access : std::uint8_t {
  rw,      ///< plain storage of the writable bits
  ro,      ///< reads what the device put there
  effect,  ///< an access does something: see mmio.cpp
};

struct Register {
  std::uint32_t at;      ///< byte offset into BAR 0
  std::uint16_t count;   ///< how many of them
  std::uint16_t stride;  ///< bytes from one to the next
  Access access;
  std::uint32_t reset;
  std::uint32_t writable;
  const char* name;
};

namespace reg {
// The three pages of the data path: in poll mode the guest may map them, so no write to them needs an answer at once.
inline constexpr std::uint32_t QTX_TAIL1 = 0x0000, QRX_TAIL1 = 0x2000, VFINT_ITRN1 = 0x2800, VFINT_DYN_CTLN1 = 0x3800;
inline constexpr std::uint32_t VFINT_ICR01 = 0x4800, VFINT_ITR01 = 0x4c00, VFINT_ICR0_ENA1 = 0x5000,
                               VFINT_STAT_CTL01 = 0x5400, VFINT_DYN_CTL01 = 0x5c00;
inline constexpr std::uint32_t ARQBAH1 = 0x6000, ATQH1 = 0x6400, ATQLEN1 = 0x6800, ARQBAL1 = 0x6c00, ARQT1 = 0x7000,
                               ARQH1 = 0x7400, ATQBAH1 = 0x7800, ATQBAL1 = 0x7c00, ARQLEN1 = 0x8000, ATQT1 = 0x8400;
inline constexpr std::uint32_t VFGEN_RSTAT = 0x8800;
inline constexpr std::uint32_t VFQF_HENA = 0xc400, VFQF_HKEY = 0xcc00, VFQF_HLUT = 0xd000;

/// VFINT_ITRN1(itr, vector - 1)
[[nodiscard]] constexpr std::uint32_t itrn1(unsigned itr, unsigned index) noexcept {
  return VFINT_ITRN1 + itr * 64 + index * 4;
}
}  // namespace reg

inline constexpr std::uint32_t kBarSize = 0x10000;     // 64 KiB
inline constexpr std::uint32_t kMsixBarSize = 0x4000;  // 16 KiB
inline constexpr std::uint32_t kMsixPba = 0x2000;
inline constexpr std::uint32_t kDataPagesEnd = 0x4000;  // QTX_TAIL1, QRX_TAIL1, ITRN1, DYN_CTLN1
inline constexpr std::uint32_t kRegisterEnd = kBarSize;

inline constexpr auto kRegisters = std::to_array<Register>({
    // at                   count stride access          reset       writable     name
    {reg::QTX_TAIL1, kMaxQueuePairs, 4, Access::rw, 0, 0x0000'1fff, "QTX_TAIL1"},
    {reg::QRX_TAIL1, kMaxQueuePairs, 4, Access::rw, 0, 0x0000'1fff, "QRX_TAIL1"},
    {reg::VFINT_ITRN1, kItrs* kQueueVectors, 4, Access::rw, 0, 0x0000'0fff, "VFINT_ITRN1"},
    {reg::VFINT_DYN_CTLN1, kQueueVectors, 4, Access::effect, 0, 0xc701'ffff, "VFINT_DYN_CTLN1"},
    {reg::VFINT_ICR01, 1, 0, Access::effect, 0, 0, "VFINT_ICR01"},
    {reg::VFINT_ITR01, kItrs, 4, Access::rw, 0, 0x0000'0fff, "VFINT_ITR01"},
    {reg::VFINT_ICR0_ENA1, 1, 0, Access::effect, 0, 0xc200'0000, "VFINT_ICR0_ENA1"},
    {reg::VFINT_STAT_CTL01, 1, 0, Access::rw, 0, 0x0000'000c, "VFINT_STAT_CTL01"},
    {reg::VFINT_DYN_CTL01, 1, 0, Access::effect, 0, 0xc701'ffff, "VFINT_DYN_CTL01"},
    {reg::ARQBAH1, 1, 0, Access::rw, 0, 0xffff'ffff, "ARQBAH1"},
    {reg::ATQH1, 1, 0, Access::rw, 0, 0x0000'03ff, "ATQH1"},
    {reg::ATQLEN1, 1, 0, Access::effect, 0, 0xf000'03ff, "ATQLEN1"},
    {reg::ARQBAL1, 1, 0, Access::rw, 0, 0xffff'ffc0, "ARQBAL1"},
    {reg::ARQT1, 1, 0, Access::effect, 0, 0x0000'03ff, "ARQT1"},
    {reg::ARQH1, 1, 0, Access::rw, 0, 0x0000'03ff, "ARQH1"},
    {reg::ATQBAH1, 1, 0, Access::rw, 0, 0xffff'ffff, "ATQBAH1"},
    {reg::ATQBAL1, 1, 0, Access::rw, 0, 0xffff'ffc0, "ATQBAL1"},
    {reg::ARQLEN1, 1, 0, Access::effect, 0, 0xf000'03ff, "ARQLEN1"},
    {reg::ATQT1, 1, 0, Access::effect, 0, 0x0000'03ff, "ATQT1"},
    {reg::VFGEN_RSTAT, 1, 0, Access::ro, 0x0000'0002, 0, "VFGEN_RSTAT"},
    // The RSS registers exist for drivers that negotiate RSS_REG only, which is not offered: storage.
    {reg::VFQF_HENA, 2, 4, Access::rw, 0, 0xffff'ffff, "VFQF_HENA"},
    {reg::VFQF_HKEY, 13, 4, Access::rw, 0, 0xffff'ffff, "VFQF_HKEY"},
    {reg::VFQF_HLUT, 16, 4, Access::rw, 0, 0x0f0f'0f0f, "VFQF_HLUT"},
});

inline constexpr auto kRowOf = pci::rows_by_offset<kRegisterEnd>(kRegisters);
static_assert(pci::is_disjoint(kRegisters, kRowOf));

/// Where each row's values begin in dense storage.
inline constexpr auto kFirstSlot = [] {
  std::array<std::uint16_t, kRegisters.size() + 1> first{};
  for (std::size_t row = 0; row < kRegisters.size(); ++row)
    first[row + 1] = static_cast<std::uint16_t>(first[row] + kRegisters[row].count);
  return first;
}();
inline constexpr std::size_t kRegisterSlots = kFirstSlot[kRegisters.size()];

[[nodiscard]] inline const Register* find_register(std::uint32_t offset) noexcept {
  return pci::find_row(kRegisters, kRowOf, offset);
}

/// Dense slot of a register that exists.
[[nodiscard]] constexpr std::size_t slot_of(std::uint32_t offset) noexcept {
  const std::uint8_t row = kRowOf[offset / 4];
  const Register& r = kRegisters[row];
  return kFirstSlot[row] + (r.stride == 0 ? 0 : (offset - r.at) / r.stride);
}

namespace dyn_ctl {  // VFINT_DYN_CTL01 and VFINT_DYN_CTLN1
using intena = Bits<0>;
using clearpba = Bits<1>;
using swint_trig = Bits<2>;
using itr_indx = Bits<3, 2>;
using interval = Bits<5, 12>;  // units of 2 us
using sw_itr_indx_ena = Bits<24>;
using sw_itr_indx = Bits<25, 2>;
using wb_on_itr = Bits<30>;
using intena_msk = Bits<31>;  // the write leaves INTENA as it is
}  // namespace dyn_ctl
namespace icr0 {  // VFINT_ICR01 and VFINT_ICR0_ENA1
inline constexpr std::uint32_t LINK_STAT_CHANGE = 1u << 25, ADMINQ = 1u << 30;
}
namespace aq_len {  // ATQLEN1 and ARQLEN1
using length = Bits<0, 10>;
using vfe = Bits<28>;
using overflow = Bits<29>;
using critical = Bits<30>;
using enable = Bits<31>;
}  // namespace aq_len

}  // namespace vmux::device::iavf
