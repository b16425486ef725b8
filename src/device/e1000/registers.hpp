// SPDX-License-Identifier: BSD-3-Clause
// Registers of the 82540EM: where they lie, what a reset leaves in them, which bits a driver may write.
// Sections are those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (8254x).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "pci/register_rows.hpp"
#include "vmux/base/bits.hpp"

namespace vmux::device::e1000 {

enum class Access : std::uint8_t {
  rw,           ///< plain storage of the writable bits
  ro,           ///< reads what the device put there
  read_clears,  ///< a statistic: zero after a read
  effect,       ///< an access does something: see mmio.cpp
};

struct Register {
  std::uint32_t at;      ///< byte offset into BAR 0
  std::uint16_t count;   ///< how many of them
  std::uint16_t stride;  ///< bytes from one to the next
  Access access;
  std::uint32_t reset;
  std::uint32_t writable;
  const char* name;
  const char* section;
};

namespace reg {
inline constexpr std::uint32_t CTRL = 0x0000, STATUS = 0x0008, EECD = 0x0010, EERD = 0x0014, CTRL_EXT = 0x0018,
                               MDIC = 0x0020, FCAL = 0x0028, FCAH = 0x002c, FCT = 0x0030, VET = 0x0038, ICR = 0x00c0,
                               ITR = 0x00c4, ICS = 0x00c8, IMS = 0x00d0, IMC = 0x00d8, RCTL = 0x0100, FCTTV = 0x0170,
                               TXCW = 0x0178, RXCW = 0x0180, TCTL = 0x0400, TIPG = 0x0410, AIFS = 0x0458,
                               LEDCTL = 0x0e00, PBA = 0x1000;
// The receive page and the transmit page: in poll mode the guest may map them, so nothing in them has a side effect.
inline constexpr std::uint32_t FCRTL = 0x2160, FCRTH = 0x2168, RDBAL = 0x2800, RDBAH = 0x2804, RDLEN = 0x2808,
                               RDH = 0x2810, RDT = 0x2818, RDTR = 0x2820, RXDCTL = 0x2828, RADV = 0x282c,
                               RSRPD = 0x2c00, TDBAL = 0x3800, TDBAH = 0x3804, TDLEN = 0x3808, TDH = 0x3810,
                               TDT = 0x3818, TIDV = 0x3820, TXDCTL = 0x3828, TADV = 0x382c;
inline constexpr std::uint32_t MPC = 0x4010, PRC64 = 0x405c, GPRC = 0x4074, BPRC = 0x4078, MPRC = 0x407c, GPTC = 0x4080,
                               GORCL = 0x4088, GORCH = 0x408c, GOTCL = 0x4090, GOTCH = 0x4094, RNBC = 0x40a0,
                               RUC = 0x40a4, ROC = 0x40ac, TORL = 0x40c0, TORH = 0x40c4, TOTL = 0x40c8, TOTH = 0x40cc,
                               TPR = 0x40d0, TPT = 0x40d4, PTC64 = 0x40d8, MPTC = 0x40f0, BPTC = 0x40f4, TSCTC = 0x40f8,
                               TSCTFC = 0x40fc;
inline constexpr std::uint32_t RXCSUM = 0x5000, MTA = 0x5200, RAL = 0x5400, RAH = 0x5404, VFTA = 0x5600, MANC = 0x5820,
                               SWSM = 0x5b50, FWSM = 0x5b54, SW_FW_SYNC = 0x5b5c;
}  // namespace reg

inline constexpr std::uint32_t kBarSize = 0x20000;      // 128 KiB, 4.1
inline constexpr std::uint32_t kRegisterEnd = 0x9c00;   // no register of ours lies above
inline constexpr std::uint32_t kRxPage = 0x2000;        // 4 KiB
inline constexpr std::uint32_t kTxPage = 0x3000;        // 4 KiB
inline constexpr std::uint32_t kRingPagesEnd = 0x4000;  // both pages lie side by side

inline constexpr unsigned kReceiveAddresses = 16;  // RAL/RAH pairs

inline constexpr auto kRegisters = std::to_array<Register>({
    // at          count stride access              reset        writable     name       section
    {reg::CTRL, 1, 0, Access::effect, 0x0014'0241, 0xdfff'ffff, "CTRL", "13.4.1"},
    {reg::STATUS, 1, 0, Access::ro, 0x0000'0283, 0x0000'0000, "STATUS", "13.4.2"},
    {reg::EECD, 1, 0, Access::effect, 0x0000'0110, 0x0000'0077, "EECD", "13.4.3"},
    {reg::EERD, 1, 0, Access::effect, 0, 0x0000'ff01, "EERD", "13.4.4"},
    {reg::CTRL_EXT, 1, 0, Access::effect, 0, 0x00ff'ffff, "CTRL_EXT", "13.4.6"},
    {0x001c, 1, 0, Access::rw, 0, 0xffff'ffff, "FLA", "13.4.5"},
    {reg::MDIC, 1, 0, Access::effect, 0x1000'0000, 0xffff'ffff, "MDIC", "13.4.8"},
    {reg::FCAL, 1, 0, Access::rw, 0, 0xffff'ffff, "FCAL", "13.4.9"},
    {reg::FCAH, 1, 0, Access::rw, 0, 0x0000'ffff, "FCAH", "13.4.10"},
    {reg::FCT, 1, 0, Access::rw, 0, 0x0000'ffff, "FCT", "13.4.11"},
    {reg::VET, 1, 0, Access::rw, 0x0000'8100, 0x0000'ffff, "VET", "13.4.12"},
    {reg::ICR, 1, 0, Access::effect, 0, 0xffff'ffff, "ICR", "13.4.17"},
    {reg::ITR, 1, 0, Access::effect, 0, 0x0000'ffff, "ITR", "13.4.18"},
    {reg::ICS, 1, 0, Access::effect, 0, 0xffff'ffff, "ICS", "13.4.19"},
    {reg::IMS, 1, 0, Access::effect, 0, 0xffff'ffff, "IMS", "13.4.20"},
    {reg::IMC, 1, 0, Access::effect, 0, 0xffff'ffff, "IMC", "13.4.21"},
    {reg::RCTL, 1, 0, Access::effect, 0, 0x06df'b3fe, "RCTL", "13.4.22"},
    {reg::FCTTV, 1, 0, Access::rw, 0, 0x0000'ffff, "FCTTV", "13.4.13"},
    {reg::TXCW, 1, 0, Access::rw, 0, 0xc000'ffff, "TXCW", "13.4.14"},
    {reg::RXCW, 1, 0, Access::ro, 0, 0x0000'0000, "RXCW", "13.4.15"},
    {reg::TCTL, 1, 0, Access::effect, 0, 0x037f'fffa, "TCTL", "13.4.33"},
    {reg::TIPG, 1, 0, Access::rw, 0, 0x3fff'ffff, "TIPG", "13.4.34"},
    {reg::AIFS, 1, 0, Access::rw, 0, 0x0000'ffff, "AIFS", "13.4.35"},
    {reg::LEDCTL, 1, 0, Access::rw, 0x0706'8302, 0xffff'ffff, "LEDCTL", "13.4.7"},
    {reg::PBA, 1, 0, Access::effect, 0x0010'0030, 0x0000'007f, "PBA", "13.4.16"},
    {reg::FCRTL, 1, 0, Access::rw, 0, 0x8000'fff8, "FCRTL", "13.4.23"},
    {reg::FCRTH, 1, 0, Access::rw, 0, 0x0000'fff8, "FCRTH", "13.4.24"},
    {0x2410, 1, 0, Access::rw, 0, 0x0000'1fff, "RDFH", "13.8.1"},
    {0x2418, 1, 0, Access::rw, 0, 0x0000'1fff, "RDFT", "13.8.2"},
    {0x2420, 1, 0, Access::rw, 0, 0x0000'1fff, "RDFHS", "13.8.3"},
    {0x2428, 1, 0, Access::rw, 0, 0x0000'1fff, "RDFTS", "13.8.4"},
    {0x2430, 1, 0, Access::rw, 0, 0x0000'1fff, "RDFPC", "13.8.5"},
    {reg::RDBAL, 1, 0, Access::rw, 0, 0xffff'fff0, "RDBAL", "13.4.25"},
    {reg::RDBAH, 1, 0, Access::rw, 0, 0xffff'ffff, "RDBAH", "13.4.26"},
    {reg::RDLEN, 1, 0, Access::rw, 0, 0x000f'ff80, "RDLEN", "13.4.27"},
    {reg::RDH, 1, 0, Access::rw, 0, 0x0000'ffff, "RDH", "13.4.28"},
    {reg::RDT, 1, 0, Access::rw, 0, 0x0000'ffff, "RDT", "13.4.29"},
    {reg::RDTR, 1, 0, Access::rw, 0, 0x0000'ffff, "RDTR", "13.4.30"},
    {reg::RXDCTL, 1, 0, Access::rw, 0x0100'0000, 0xffff'ffff, "RXDCTL", "13.4.37"},
    {reg::RADV, 1, 0, Access::rw, 0, 0x0000'ffff, "RADV", "13.4.31"},
    {reg::RSRPD, 1, 0, Access::rw, 0, 0x0000'0fff, "RSRPD", "13.4.32"},
    {0x3000, 1, 0, Access::rw, 0, 0x0000'0003, "TXDMAC", "13.4.36"},
    {0x3410, 1, 0, Access::rw, 0, 0x0000'07ff, "TDFH", "13.8.6"},
    {0x3418, 1, 0, Access::rw, 0, 0x0000'07ff, "TDFT", "13.8.7"},
    {0x3420, 1, 0, Access::rw, 0, 0x0000'1fff, "TDFHS", "13.8.8"},
    {0x3428, 1, 0, Access::rw, 0, 0x0000'1fff, "TDFTS", "13.8.9"},
    {0x3430, 1, 0, Access::rw, 0, 0x0000'1fff, "TDFPC", "13.8.10"},
    {reg::TDBAL, 1, 0, Access::rw, 0, 0xffff'fff0, "TDBAL", "13.4.38"},
    {reg::TDBAH, 1, 0, Access::rw, 0, 0xffff'ffff, "TDBAH", "13.4.39"},
    {reg::TDLEN, 1, 0, Access::rw, 0, 0x000f'ff80, "TDLEN", "13.4.40"},
    {reg::TDH, 1, 0, Access::rw, 0, 0x0000'ffff, "TDH", "13.4.41"},
    {reg::TDT, 1, 0, Access::rw, 0, 0x0000'ffff, "TDT", "13.4.42"},
    {reg::TIDV, 1, 0, Access::rw, 0, 0x0000'ffff, "TIDV", "13.4.43"},
    {reg::TXDCTL, 1, 0, Access::rw, 0, 0xffff'ffff, "TXDCTL", "13.4.44"},
    {reg::TADV, 1, 0, Access::rw, 0, 0x0000'ffff, "TADV", "13.4.45"},
    {0x3830, 1, 0, Access::rw, 0x0100'0400, 0xffff'ffff, "TSPMT", "13.4.46"},
    // CRCERRS, ALGNERRC, SYMERRS, RXERRC, MPC, SCC, ECOL, MCC, LATECOL, then COLC, DC, TNCRS, SEQEC, CEXTERR, RLEC, XON
    // and XOFF counts, FCRUC, the size classes PRC64 to PRC1522, GPRC, BPRC, MPRC, GPTC.
    {0x4000, 33, 4, Access::read_clears, 0, 0, "CRCERRS..GPTC", "13.7.1-13.7.33"},
    {reg::GORCL, 4, 4, Access::effect, 0, 0, "GORC, GOTC", "13.7.34-13.7.35"},
    {reg::RNBC, 8, 4, Access::read_clears, 0, 0, "RNBC..MGTPTC", "13.7.36-13.7.43"},
    {reg::TORL, 4, 4, Access::effect, 0, 0, "TOR, TOT", "13.7.44-13.7.45"},
    {reg::TPR, 12, 4, Access::read_clears, 0, 0, "TPR..TSCTFC", "13.7.46-13.7.57"},
    {reg::RXCSUM, 1, 0, Access::rw, 0, 0x0000'07ff, "RXCSUM", "13.5.4"},
    {reg::MTA, 128, 4, Access::rw, 0, 0xffff'ffff, "MTA", "13.5.1"},
    {reg::RAL, 16, 8, Access::rw, 0, 0xffff'ffff, "RAL", "13.5.2"},
    {reg::RAH, 16, 8, Access::rw, 0, 0x8003'ffff, "RAH", "13.5.3"},
    {reg::VFTA, 128, 4, Access::rw, 0, 0xffff'ffff, "VFTA", "13.5.5"},
    {0x5800, 1, 0, Access::rw, 0, 0x0000'000f, "WUC", "13.6.1"},
    {0x5808, 1, 0, Access::rw, 0, 0x000f'00ff, "WUFC", "13.6.2"},
    {0x5810, 1, 0, Access::ro, 0, 0x0000'0000, "WUS", "13.6.3"},
    {reg::MANC, 1, 0, Access::rw, 0, 0xffff'ffff, "MANC", "13.6.11"},
    {0x5838, 1, 0, Access::rw, 0, 0x0001'000f, "IPAV", "13.6.4"},
    {0x5840, 8, 4, Access::rw, 0, 0xffff'ffff, "IP4AT", "13.6.5"},
    {0x5880, 4, 4, Access::rw, 0, 0xffff'ffff, "IP6AT", "13.6.6"},
    {0x5900, 1, 0, Access::rw, 0, 0x0000'0fff, "WUPL", "13.6.7"},
    {0x5a00, 32, 4, Access::rw, 0, 0xffff'ffff, "WUPM", "13.6.8"},
    // Semaphores that this part has not. Drivers for the whole family take SWSM before they read the EEPROM of any part
    // (U-Boot), look whether a bit stayed that they have set, and find it so with other models of this card.
    {reg::SWSM, 1, 0, Access::rw, 0, 0xffff'ffff, "SWSM", "none"},
    {reg::FWSM, 1, 0, Access::rw, 0, 0xffff'ffff, "FWSM", "none"},
    {reg::SW_FW_SYNC, 1, 0, Access::rw, 0, 0xffff'ffff, "SW_FW_SYNC", "none"},
    {0x5f00, 4, 8, Access::rw, 0, 0x0000'07ff, "FFLT", "13.6.9"},
    {0x9000, 128, 8, Access::rw, 0, 0x0000'000f, "FFMT", "13.6.10"},
    {0x9800, 128, 8, Access::rw, 0, 0xffff'ffff, "FFVT", "13.6.10"},
});

inline constexpr auto kRowOf = pci::rows_by_offset<kRegisterEnd>(kRegisters);
static_assert(pci::is_disjoint(kRegisters, kRowOf));

[[nodiscard]] inline const Register* find_register(std::uint32_t offset) noexcept {
  return pci::find_row(kRegisters, kRowOf, offset);
}

namespace ctrl {  // 13.4.1
using slu = Bits<6>;
using speed = Bits<8, 2>;
using frcspd = Bits<11>;
using frcdplx = Bits<12>;
using fd = Bits<0>;
using rst = Bits<26>;
using vme = Bits<30>;
using phy_rst = Bits<31>;
}  // namespace ctrl
namespace status {  // 13.4.2
using fd = Bits<0>;
using lu = Bits<1>;
using speed = Bits<6, 2>;
using asdv = Bits<8, 2>;
}  // namespace status
namespace eecd {  // 13.4.3
using sk = Bits<0>;
using cs = Bits<1>;
using di = Bits<2>;
using dout = Bits<3>;
using req = Bits<6>;
using gnt = Bits<7>;
using pres = Bits<8>;
}  // namespace eecd
namespace eerd {  // 13.4.4
using start = Bits<0>;
using done = Bits<4>;
using addr = Bits<8, 8>;
using data = Bits<16, 16>;
}  // namespace eerd
namespace ctrl_ext {  // 13.4.6
using ee_rst = Bits<13>;
}
namespace mdic {  // 13.4.8
using data = Bits<0, 16>;
using regadd = Bits<16, 5>;
using phyadd = Bits<21, 5>;
using op = Bits<26, 2>;  // 1 write, 2 read
using ready = Bits<28>;
using interrupt = Bits<29>;
using error = Bits<30>;
}  // namespace mdic
namespace icr {  // 13.4.17, also ICS, IMS, IMC
inline constexpr std::uint32_t TXDW = 1u << 0, TXQE = 1u << 1, LSC = 1u << 2, RXDMT0 = 1u << 4, RXO = 1u << 6,
                               RXT0 = 1u << 7, MDAC = 1u << 9, TXD_LOW = 1u << 15, SRPD = 1u << 16;
inline constexpr std::uint32_t kImplemented = 0x0001'ffff;
}  // namespace icr
namespace rctl {  // 13.4.22
using en = Bits<1>;
using sbp = Bits<2>;
using upe = Bits<3>;
using mpe = Bits<4>;
using lpe = Bits<5>;
using lbm = Bits<6, 2>;
using rdmts = Bits<8, 2>;
using mo = Bits<12, 2>;
using bam = Bits<15>;
using bsize = Bits<16, 2>;
using vfe = Bits<18>;
using bsex = Bits<25>;
using secrc = Bits<26>;
}  // namespace rctl
namespace tctl {  // 13.4.33
using en = Bits<1>;
using psp = Bits<3>;
}  // namespace tctl
namespace txdctl {  // 13.4.44
using lwthresh = Bits<25, 7>;
}
namespace rxcsum {  // 13.5.4
using ipofld = Bits<8>;
using tuofld = Bits<9>;
}  // namespace rxcsum
namespace rah {  // 13.5.3
using as = Bits<16, 2>;
using av = Bits<31>;
}  // namespace rah
namespace pba {          // 13.4.16
using rxa = Bits<0, 7>;  // KiB of receive FIFO
}

}  // namespace vmux::device::e1000
