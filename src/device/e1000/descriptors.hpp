// SPDX-License-Identifier: BSD-3-Clause
// Descriptors of the 82540EM as they lie in guest memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmux/base/bits.hpp"
#include "vmux/base/le.hpp"

namespace vmux::device::e1000 {

inline constexpr std::uint32_t kDescriptorSize = 16;

struct RxDescriptor {  // 3.2.3, table 3-1
  Le<std::uint64_t> buffer;
  Le<std::uint16_t> length;
  Le<std::uint16_t> checksum;
  std::uint8_t status;
  std::uint8_t errors;
  Le<std::uint16_t> special;
};
static_assert(sizeof(RxDescriptor) == kDescriptorSize && offsetof(RxDescriptor, status) == 12);

/// The half of a receive descriptor that the device writes: one aligned store, so that a driver that sees DD sees all.
namespace rx_high {
using length = Bits<0, 16>;
using status = Bits<32, 8>;
using errors = Bits<40, 8>;
using special = Bits<48, 16>;
}  // namespace rx_high
inline constexpr std::uint32_t kRxWriteBackAt = 8;

namespace rx_status {  // 3.2.3.1
inline constexpr std::uint8_t DD = 0x01, EOP = 0x02, IXSM = 0x04, VP = 0x08, TCPCS = 0x20, IPCS = 0x40, PIF = 0x80;
}
namespace rx_errors {  // 3.2.3.2
inline constexpr std::uint8_t TCPE = 0x20, IPE = 0x40;
}

/// Any transmit descriptor: the two 64-bit words of which all three layouts are made.
struct TxDescriptor {
  Le<std::uint64_t> low;
  Le<std::uint64_t> high;
};
static_assert(sizeof(TxDescriptor) == kDescriptorSize);
inline constexpr std::uint32_t kTxStatusAt = 12;
inline constexpr std::uint8_t kTxStatusDd = 0x01;

namespace tx_high {            // bits of TxDescriptor::high
using length = Bits<0, 16>;    // legacy, 3.3.3
using cso = Bits<16, 8>;       // legacy
using css = Bits<40, 8>;       // legacy
using dtalen = Bits<0, 20>;    // data, 3.3.7; PAYLEN of a context, 3.3.6
using dtyp = Bits<20, 4>;      // 0 context, 1 data
using cmd = Bits<24, 8>;       // all
using popts = Bits<40, 8>;     // data
using hdrlen = Bits<40, 8>;    // context
using mss = Bits<48, 16>;      // context
using special = Bits<48, 16>;  // legacy and data
}  // namespace tx_high
namespace tx_low {  // of a context descriptor, 3.3.6
using ipcss = Bits<0, 8>;
using ipcso = Bits<8, 8>;
using ipcse = Bits<16, 16>;
using tucss = Bits<32, 8>;
using tucso = Bits<40, 8>;
using tucse = Bits<48, 16>;
}  // namespace tx_low
namespace tx_cmd {  // 3.3.3.1, 3.3.7.1
inline constexpr std::uint8_t EOP = 0x01, IFCS = 0x02, IC = 0x04, TSE = 0x04, RS = 0x08, RPS = 0x10, DEXT = 0x20,
                              VLE = 0x40, IDE = 0x80;
}
namespace tu_cmd {  // 3.3.6.1
inline constexpr std::uint8_t TCP = 0x01, IP = 0x02, TSE = 0x04;
}
namespace popts {  // 3.3.7.2
inline constexpr std::uint8_t IXSM = 0x01, TXSM = 0x02;
}

}  // namespace vmux::device::e1000
