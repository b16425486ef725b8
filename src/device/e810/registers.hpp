// SPDX-License-Identifier: BSD-3-Clause
// Registers of an E810 physical function (8086:1592): where they lie, what a reset leaves in them, which bits a driver
// may write. Names as in Intel's published ice_hw_autogen.h (Linux and DPDK), which also tells what resets each: PFR
// (a reset of this function) or CORER (of the whole device, and so of all that PFR resets).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "vmux/base/bits.hpp"

namespace vmux::device::e810 {

inline constexpr unsigned kMaxQueuePairs = 64;                // that a driver may use for frames
inline constexpr unsigned kMaxQueueIds = kMaxQueuePairs + 2;  // and one for Flow Director; DPDK begins with 1
inline constexpr unsigned kMaxVectors = 80;                   // of MSI-X
inline constexpr unsigned kVsis = 768;                        // numbers that a VSI can have
inline constexpr unsigned kFlowRules = 128;                   // of Flow Director
inline constexpr unsigned kItrs = 3;                          // ITR 0 to 2; index 3 means "no moderation"
inline constexpr std::uint32_t kNoItr = 3;

enum class Access : std::uint8_t {
  rw,         ///< plain storage of the writable bits
  ro,         ///< reads what the device put there
  w1c,        ///< the driver clears bits by writing ones
  effect,     ///< an access does something: see mmio.cpp
  statistic,  ///< counts something, or nothing that exists here: see statistics.hpp
};
enum class ClearedBy : std::uint8_t { pf_reset, core_reset };

struct Register {
  std::uint32_t at;      ///< byte offset into BAR 0
  std::uint16_t count;   ///< how many of them
  std::uint16_t stride;  ///< bytes from one to the next
  Access access;
  ClearedBy cleared_by;
  std::uint32_t reset;
  std::uint32_t writable;
  const char* name;

  [[nodiscard]] constexpr std::uint32_t end() const noexcept { return at + count * stride; }
};

namespace reg {
inline constexpr std::uint32_t PFGEN_CTRL = 0x091000, GLGEN_RSTAT = 0x0b8188, GLGEN_RTRIG = 0x0b8190,
                               GLNVM_ULD = 0x0b6008;
inline constexpr std::uint32_t PF_FW_ATQBAL = 0x080000, PF_FW_ARQBAL = 0x080080, PF_FW_ATQBAH = 0x080100,
                               PF_FW_ARQBAH = 0x080180, PF_FW_ATQLEN = 0x080200, PF_FW_ARQLEN = 0x080280,
                               PF_FW_ATQH = 0x080300, PF_FW_ARQH = 0x080380, PF_FW_ATQT = 0x080400,
                               PF_FW_ARQT = 0x080480;
inline constexpr std::uint32_t PF_MBX_ATQBAL = 0x22e100, PF_MBX_ATQBAH = 0x22e180, PF_MBX_ATQLEN = 0x22e200,
                               PF_MBX_ATQH = 0x22e280, PF_MBX_ATQT = 0x22e300, PF_MBX_ARQBAL = 0x22e380,
                               PF_MBX_ARQBAH = 0x22e400, PF_MBX_ARQLEN = 0x22e480, PF_MBX_ARQH = 0x22e500,
                               PF_MBX_ARQT = 0x22e580;
inline constexpr std::uint32_t PF_SB_ATQBAL = 0x22fc00, PF_SB_ATQBAH = 0x22fc80, PF_SB_ATQLEN = 0x22fd00,
                               PF_SB_ATQH = 0x22fd80, PF_SB_ATQT = 0x22fe00, PF_SB_ARQBAL = 0x22fe80,
                               PF_SB_ARQBAH = 0x22ff00, PF_SB_ARQLEN = 0x22ff80, PF_SB_ARQH = 0x230000,
                               PF_SB_ARQT = 0x230080;
inline constexpr std::uint32_t PF_MDET_TX_TCLAN = 0x0fc000, GL_MDET_TX_TCLAN = 0x0fc068, PF_MDET_RX = 0x294280,
                               GL_MDET_RX = 0x294c00, PF_MDET_TX_PQM = 0x2d2c80, GL_MDET_TX_PQM = 0x2d2e00;
inline constexpr std::uint32_t QRX_CTRL = 0x120000, QINT_TQCTL = 0x140000, QINT_RQCTL = 0x150000, GLINT_ITR = 0x154000,
                               GLINT_ITR_STRIDE = 0x2000, GLINT_RATE = 0x15a000, GLINT_DYN_CTL = 0x160000;
inline constexpr std::uint32_t PFINT_MBX_CTL = 0x16b280, PFINT_SB_CTL = 0x16b600, PFINT_FW_CTL = 0x16c800,
                               PFINT_OICR_ENA = 0x16c900, PFINT_OICR = 0x16ca00, PFINT_OICR_CTL = 0x16ca80;
inline constexpr std::uint32_t PFLAN_RX_QALLOC = 0x1d2500, PFLAN_TX_QALLOC = 0x1d2580;
inline constexpr std::uint32_t QRX_CONTEXT = 0x280000, QRX_CONTEXT_STRIDE = 0x2000, QRX_TAIL = 0x290000,
                               GLLAN_RCTL_0 = 0x2941f8, QTX_COMM_DBELL = 0x2c0000, QRXFLXP_CNTXT = 0x480000;
inline constexpr std::uint32_t GLFLXP_RXDID_FLAGS = 0x45d000, VSIQF_FD_CNT = 0x464000;
}  // namespace reg

inline constexpr std::uint32_t kBarSize = 0x80'0000;  // 8 MiB: all registers of the series lie below
inline constexpr std::uint32_t kMsixBarSize = 0x1'0000, kMsixPba = 0x8000;
inline constexpr std::uint32_t kPage =
    0x1000;  // of doorbells: QRX_TAIL and QTX_COMM_DBELL have one each for all queues
static_assert(kMaxQueueIds * 4 <= kPage);

// Half rows of the table that repeat for each of the three control queues.
#define VMUX_E810_CONTROL_QUEUE(NAME, LOW, HIGH, LENGTH, HEAD, TAIL)               \
  {LOW, 1, 4, Access::rw, ClearedBy::pf_reset, 0, 0xffff'ffff, NAME "BAL"},        \
      {HIGH, 1, 4, Access::rw, ClearedBy::pf_reset, 0, 0xffff'ffff, NAME "BAH"},   \
      {LENGTH, 1, 4, Access::rw, ClearedBy::pf_reset, 0, 0xf000'03ff, NAME "LEN"}, \
      {HEAD, 1, 4, Access::rw, ClearedBy::pf_reset, 0, 0x0000'03ff, NAME "H"}, {   \
    TAIL, 1, 4, Access::effect, ClearedBy::pf_reset, 0, 0x0000'03ff, NAME "T"      \
  }

namespace detail {
inline constexpr auto kPf = ClearedBy::pf_reset, kCore = ClearedBy::core_reset;

inline constexpr auto kRows = std::to_array<Register>({
    // at       count stride access         cleared reset        writable     name
    {0x049348, 1, 4, Access::rw, kCore, 0, 0xffff'ffff, "GL_MDCK_TX_TDPU"},
    VMUX_E810_CONTROL_QUEUE("PF_FW_ATQ", reg::PF_FW_ATQBAL, reg::PF_FW_ATQBAH, reg::PF_FW_ATQLEN, reg::PF_FW_ATQH,
                            reg::PF_FW_ATQT),
    VMUX_E810_CONTROL_QUEUE("PF_FW_ARQ", reg::PF_FW_ARQBAL, reg::PF_FW_ARQBAH, reg::PF_FW_ARQLEN, reg::PF_FW_ARQH,
                            reg::PF_FW_ARQT),
    {0x083020, 1, 4, Access::ro, kCore, 0x7, 0, "PRTDCB_GENS"},  // LLDP of the firmware is disabled
    {reg::PFGEN_CTRL, 1, 4, Access::effect, kPf, 0, 0x1, "PFGEN_CTRL"},
    {0x09db80, 1, 4, Access::w1c, kCore, 0, 0xffff'ffff, "PFPM_WUS"},
    {0x09dc00, 1, 4, Access::rw, kCore, 0, 0xffff'ffff, "PFPM_WUFC"},
    {0x09e880, 1, 4, Access::ro, kCore, 0, 0, "PF_FUNC_RID"},
    {0x0ac260, 8, 4, Access::statistic, kCore, 0, 0, "PRTRPB_RDPC"},
    {reg::GLNVM_ULD, 1, 4, Access::ro, kCore, 0x33b, 0, "GLNVM_ULD"},  // all resets are done
    {0x0b6100, 1, 4, Access::ro, kCore, 6 << 5, 0, "GLNVM_GENS"},      // 64 KiB of Shadow RAM
    {0x0b6108, 1, 4, Access::ro, kCore, 1 << 6, 0, "GLNVM_FLA"},       // not blank
    {0x0b612c, 1, 4, Access::ro, kCore, 0, 0, "GLGEN_STAT"},           // read to flush writes
    {0x0b6134, 1, 4, Access::ro, kCore, 0, 0, "GL_MNG_FWSM"},
    {0x0b8080, 1, 4, Access::rw, kCore, 0, 0x1, "PFPM_APM"},
    {0x0b8100, 1, 4, Access::ro, kCore, 0, 0, "PRTGEN_STATUS"},
    {0x0b8180, 1, 4, Access::ro, kCore, 0, 0, "GLGEN_RSTCTL"},
    {reg::GLGEN_RSTAT, 1, 4, Access::ro, kCore, 0, 0, "GLGEN_RSTAT"},
    {reg::GLGEN_RTRIG, 1, 4, Access::effect, kCore, 0, 0x3, "GLGEN_RTRIG"},
    {0x0b820c, 1, 4, Access::ro, kCore, 0, 0, "GL_PWR_MODE_CTL"},
    {0x0b826c, 1, 4, Access::ro, kCore, 0, 0, "GLGEN_CLKSTAT_SRC"},
    {0x0be004, 1, 4, Access::ro, kCore, 0, 0, "GLPCI_CNF2"},
    {reg::PF_MDET_TX_TCLAN, 1, 4, Access::w1c, kCore, 0, 0x1, "PF_MDET_TX_TCLAN"},
    {reg::GL_MDET_TX_TCLAN, 1, 4, Access::w1c, kCore, 0, 0xffff'ffff, "GL_MDET_TX_TCLAN"},
    {reg::QRX_CTRL, kMaxQueueIds, 4, Access::effect, kPf, 0, 0x1b, "QRX_CTRL"},
    {reg::QINT_TQCTL, kMaxQueueIds, 4, Access::rw, kPf, 0, 0x4000'1fff, "QINT_TQCTL"},
    {reg::QINT_RQCTL, kMaxQueueIds, 4, Access::rw, kPf, 0, 0x4000'1fff, "QINT_RQCTL"},
    {reg::GLINT_ITR, kMaxVectors, 4, Access::rw, kCore, 0, 0xfff, "GLINT_ITR(0)"},
    {reg::GLINT_ITR + reg::GLINT_ITR_STRIDE, kMaxVectors, 4, Access::rw, kCore, 0, 0xfff, "GLINT_ITR(1)"},
    {reg::GLINT_ITR + 2 * reg::GLINT_ITR_STRIDE, kMaxVectors, 4, Access::rw, kCore, 0, 0xfff, "GLINT_ITR(2)"},
    {reg::GLINT_RATE, kMaxVectors, 4, Access::rw, kCore, 0, 0x7f, "GLINT_RATE"},
    {reg::GLINT_DYN_CTL, kMaxVectors, 4, Access::effect, kPf, 0, 0xc701'ffff, "GLINT_DYN_CTL"},
    {0x162000, kMaxVectors, 4, Access::ro, kCore, 0, 0, "GLINT_VECT2FUNC"},
    {reg::PFINT_MBX_CTL, 1, 4, Access::rw, kPf, 0, 0x4000'1fff, "PFINT_MBX_CTL"},
    {reg::PFINT_SB_CTL, 1, 4, Access::rw, kPf, 0, 0x4000'1fff, "PFINT_SB_CTL"},
    {reg::PFINT_FW_CTL, 1, 4, Access::rw, kPf, 0, 0x4000'1fff, "PFINT_FW_CTL"},
    {reg::PFINT_OICR_ENA, 1, 4, Access::effect, kPf, 0, 0xffff'ffff, "PFINT_OICR_ENA"},
    {0x16c980, 1, 4, Access::rw, kPf, 0, 0x3, "PFINT_TSYN_MSK"},
    {reg::PFINT_OICR, 1, 4, Access::effect, kPf, 0, 0xffff'ffff, "PFINT_OICR"},
    {reg::PFINT_OICR_CTL, 1, 4, Access::rw, kPf, 0, 0x4000'1fff, "PFINT_OICR_CTL"},
    {0x16cc54, 1, 4, Access::rw, kCore, 0, 0xffff'0001, "GLINT_CTL"},
    {0x1d2400, 1, 4, Access::ro, kCore, 0, 0, "PFGEN_PORTNUM"},
    {reg::PFLAN_RX_QALLOC, 1, 4, Access::ro, kCore, 0, 0, "PFLAN_RX_QALLOC"},
    {reg::PFLAN_TX_QALLOC, 1, 4, Access::ro, kCore, 0, 0, "PFLAN_TX_QALLOC"},
    {0x1d2600, 1, 4, Access::ro, kCore, 0, 0, "PFINT_ALLOC"},
    {0x1e36e0, 9, 32, Access::ro, kCore, 0xffff, 0, "PRTMAC_HSEC_CTL_TX_PAUSE_QUANTA"},
    {0x1e3800, 9, 32, Access::ro, kCore, 0x7fff, 0, "PRTMAC_HSEC_CTL_TX_PAUSE_REFRESH_TIMER"},
    {0x20f0fc, 1, 4, Access::rw, kCore, 0, 0xffff, "GL_PREEXT_L2_PMASK0"},
    {0x20f108, 1, 4, Access::rw, kCore, 0, 0xffff, "GL_PREEXT_L2_PMASK1"},
    VMUX_E810_CONTROL_QUEUE("PF_MBX_ATQ", reg::PF_MBX_ATQBAL, reg::PF_MBX_ATQBAH, reg::PF_MBX_ATQLEN, reg::PF_MBX_ATQH,
                            reg::PF_MBX_ATQT),
    VMUX_E810_CONTROL_QUEUE("PF_MBX_ARQ", reg::PF_MBX_ARQBAL, reg::PF_MBX_ARQBAH, reg::PF_MBX_ARQLEN, reg::PF_MBX_ARQH,
                            reg::PF_MBX_ARQT),
    VMUX_E810_CONTROL_QUEUE("PF_SB_ATQ", reg::PF_SB_ATQBAL, reg::PF_SB_ATQBAH, reg::PF_SB_ATQLEN, reg::PF_SB_ATQH,
                            reg::PF_SB_ATQT),
    VMUX_E810_CONTROL_QUEUE("PF_SB_ARQ", reg::PF_SB_ARQBAL, reg::PF_SB_ARQBAH, reg::PF_SB_ARQLEN, reg::PF_SB_ARQH,
                            reg::PF_SB_ARQT),
    {reg::QRX_CONTEXT + 0 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(0)"},
    {reg::QRX_CONTEXT + 1 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(1)"},
    {reg::QRX_CONTEXT + 2 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(2)"},
    {reg::QRX_CONTEXT + 3 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(3)"},
    {reg::QRX_CONTEXT + 4 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(4)"},
    {reg::QRX_CONTEXT + 5 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(5)"},
    {reg::QRX_CONTEXT + 6 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(6)"},
    {reg::QRX_CONTEXT + 7 * reg::QRX_CONTEXT_STRIDE, kMaxQueueIds, 4, Access::rw, kCore, 0, ~0u, "QRX_CONTEXT(7)"},
    {reg::QRX_TAIL, kMaxQueueIds, 4, Access::rw, kCore, 0, 0x1fff, "QRX_TAIL"},
    {0x292000, kMaxQueueIds, 4, Access::rw, kCore, 0, 0x1fff, "QRX_ITR"},
    {reg::GLLAN_RCTL_0, 1, 4, Access::rw, kCore, 0x1, 0x1, "GLLAN_RCTL_0"},
    {reg::PF_MDET_RX, 1, 4, Access::w1c, kCore, 0, 0x1, "PF_MDET_RX"},
    {reg::GL_MDET_RX, 1, 4, Access::w1c, kCore, 0, 0xffff'ffff, "GL_MDET_RX"},
    {0x294c04, kVsis, 4, Access::statistic, kCore, 0, 0, "GLV_RDPC"},
    {0x295804, kVsis, 4, Access::statistic, kCore, 0, 0, "GLV_REPC"},
    {reg::QTX_COMM_DBELL, kMaxQueueIds, 4, Access::rw, kPf, 0, 0x1fff, "QTX_COMM_DBELL"},
    {reg::PF_MDET_TX_PQM, 1, 4, Access::w1c, kCore, 0, 0x1, "PF_MDET_TX_PQM"},
    {reg::GL_MDET_TX_PQM, 1, 4, Access::w1c, kCore, 0, 0xffff'ffff, "GL_MDET_TX_PQM"},
    {0x300000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_GOTC"},
    {0x30a000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_UPTC"},
    {0x30c000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_MPTC"},
    {0x30e000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_BPTC"},
    {0x312000, kVsis, 4, Access::statistic, kCore, 0, 0, "GLV_TEPC"},
    {0x345000, 2, 8, Access::statistic, kCore, 0, 0, "statistics of a part that is not here"},
    {0x380000, 0x280, 8, Access::statistic, kCore, 0, 0, "GLPRT"},  // all statistics of the ports, up to 0x3813ff
    {0x3a0000, 4096, 8, Access::statistic, kCore, 0, 0, "GLSTAT_FD_CNT0"},
    {0x3b0000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_GORC"},
    {0x3b2000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_UPRC"},
    {0x3b4000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_MPRC"},
    {0x3b6000, kVsis, 8, Access::statistic, kCore, 0, 0, "GLV_BPRC"},
    {0x40d000, kVsis, 4, Access::rw, kCore, 0, 0xffff'ffff, "VSIQF_HASH_CTL"},
    {0x40f000, 768, 4, Access::rw, kCore, 0, 0xffff'ffff, "GLQF_HSYMM"},
    {0x40fc00, 32, 4, Access::rw, kCore, 0, 0xffff'001f, "GLQF_HMASK"},
    {0x410000, 128, 4, Access::rw, kCore, 0, 0xffff'ffff, "GLQF_HMASK_SEL"},
    {0x410400, 128, 4, Access::rw, kCore, 0, 0xffff'ffff, "GLQF_FDMASK_SEL"},
    {0x410800, 32, 4, Access::rw, kCore, 0, 0xffff'001f, "GLQF_FDMASK"},
    {0x412000, 768, 4, Access::rw, kCore, 0, 0xffff'ffff, "GLQF_FDINSET"},
    {0x413000, 768, 4, Access::rw, kCore, 0, 0xffff'ffff, "GLQF_FDSWAP"},
    {0x43a000, 1, 4, Access::rw, kCore, 0, 0x1, "PFQF_FD_ENA"},
    {reg::GLFLXP_RXDID_FLAGS, 320, 4, Access::effect, kCore, 0, 0, "GLFLXP_RXDID_FLAGS"},
    {0x460010, 1, 4, Access::ro, kCore, kFlowRules / 2 << 16 | kFlowRules / 2, 0, "GLQF_FD_SIZE"},
    {0x460018, 1, 4, Access::ro, kCore, 0, 0, "GLQF_FD_CNT"},  // of the shared half, which no VSI has to itself
    {0x460100, 1, 4, Access::ro, kCore, kFlowRules / 2 << 16 | kFlowRules / 2, 0, "PFQF_FD_SIZE"},
    {0x460180, 1, 4, Access::ro, kCore, 0, 0, "PFQF_FD_CNT"},
    {reg::VSIQF_FD_CNT, kVsis, 4, Access::effect, kCore, 0, 0, "VSIQF_FD_CNT"},
    {reg::QRXFLXP_CNTXT, kMaxQueueIds, 4, Access::rw, kCore, 0, 0xf3f, "QRXFLXP_CNTXT"},
});
#undef VMUX_E810_CONTROL_QUEUE
}  // namespace detail

/// In order of their offsets.
inline constexpr auto kRegisters = [] {
  auto rows = detail::kRows;
  std::sort(rows.begin(), rows.end(), [](const Register& a, const Register& b) { return a.at < b.at; });
  return rows;
}();
static_assert([] {
  for (std::size_t row = 1; row < kRegisters.size(); ++row) {
    if (kRegisters[row].at < kRegisters[row - 1].end()) return false;
  }
  return kRegisters.back().end() <= kBarSize;
}());

/// The register at `offset`, or nullptr where there is none. A statistic of eight bytes has two halves.
[[nodiscard]] constexpr const Register* find_register(std::uint32_t offset) noexcept {
  const auto* after = std::upper_bound(kRegisters.begin(), kRegisters.end(), offset,
                                       [](std::uint32_t at, const Register& row) { return at < row.at; });
  if (after == kRegisters.begin()) return nullptr;
  const Register& row = *(after - 1);
  if (offset >= row.end()) return nullptr;
  const std::uint32_t inside = (offset - row.at) % row.stride;
  const std::uint32_t size = row.access == Access::statistic ? row.stride : 4;
  return inside < size ? &row : nullptr;
}

/// Where each row's values begin in dense storage; rows that count something have none.
inline constexpr auto kFirstSlot = [] {
  std::array<std::uint16_t, kRegisters.size() + 1> first{};
  for (std::size_t row = 0; row < kRegisters.size(); ++row) {
    const std::uint16_t values = kRegisters[row].access == Access::statistic ? std::uint16_t{0} : kRegisters[row].count;
    first[row + 1] = static_cast<std::uint16_t>(first[row] + values);
  }
  return first;
}();
inline constexpr std::size_t kRegisterSlots = kFirstSlot[kRegisters.size()];

/// Dense slot of a register that exists and is no statistic.
[[nodiscard]] constexpr std::size_t slot_of(std::uint32_t offset) noexcept {
  const Register* const row = find_register(offset);
  return kFirstSlot[static_cast<std::size_t>(row - kRegisters.data())] + (offset - row->at) / row->stride;
}

namespace rstat {  // GLGEN_RSTAT
using devstate = Bits<0, 2>;
using reset_type = Bits<2, 2>;  // 1 CORER, 2 GLOBR
using corercnt = Bits<4, 2>;
using globrcnt = Bits<6, 2>;
inline constexpr std::uint32_t kInReset = 1, kCore = 1, kGlobal = 2;
}  // namespace rstat
namespace rtrig {
using corer = Bits<0>;
using globr = Bits<1>;
}  // namespace rtrig
namespace qrx_ctrl {
using qena_req = Bits<0>;
using qena_stat = Bits<2>;
}  // namespace qrx_ctrl
namespace dyn_ctl {  // GLINT_DYN_CTL
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
namespace cause {  // QINT_TQCTL, QINT_RQCTL, PFINT_*_CTL
using msix_indx = Bits<0, 11>;
using itr_indx = Bits<11, 2>;
using cause_ena = Bits<30>;
}  // namespace cause
namespace oicr {  // PFINT_OICR and PFINT_OICR_ENA
inline constexpr std::uint32_t INTEVENT = 1u << 0, MAL_DETECT = 1u << 19, GRST = 1u << 20, LINK_STAT_CHANGE = 1u << 25,
                               SWINT = 1u << 31;
}
namespace aq_len {
using length = Bits<0, 10>;
using overflow = Bits<29>;
using critical = Bits<30>;
using enable = Bits<31>;
}  // namespace aq_len

}  // namespace vmux::device::e810
