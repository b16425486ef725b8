// SPDX-License-Identifier: BSD-3-Clause
// Descriptors of the XL710 family's virtual functions as they lie in guest memory. Sections are those of the XL710
// data sheet (332464); flexible receive layouts are those of the E810's (613875), of which drivers use a few.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmux/base/bits.hpp"
#include "vmux/base/le.hpp"

namespace vmux::intel {

inline constexpr std::uint32_t kTxDescriptorSize = 16;

/// Any transmit descriptor (8.4.2): the two 64-bit words of which all layouts are made.
struct TxDescriptor {
  Le<std::uint64_t> low;
  Le<std::uint64_t> high;
};
static_assert(sizeof(TxDescriptor) == kTxDescriptorSize);
inline constexpr std::uint32_t kTxHighAt = 8;

namespace tx_high {  // bits of TxDescriptor::high
using dtype = Bits<0, 4>;
using cmd = Bits<4, 10>;     // data, 8.4.2.1.1
using maclen = Bits<16, 7>;  // data: words of two bytes
using iplen = Bits<23, 7>;   // data: words of four bytes
using l4len = Bits<30, 4>;   // data: words of four bytes
using buffer_size = Bits<34, 14>;
using l2tag1 = Bits<48, 16>;
using context_cmd = Bits<4, 7>;   // context, 8.4.2.2.1
using tso_length = Bits<30, 18>;  // context: bytes behind all headers
using mss = Bits<50, 14>;         // context
}  // namespace tx_high
namespace tx_low {             // of a context descriptor, 8.4.2.2.1
using eipt = Bits<0, 2>;       // external IP header: see external_ip
using eiplen = Bits<2, 7>;     // words of four bytes
using l4tunt = Bits<9, 2>;     // 0 none, 1 UDP, 2 GRE
using eip_noinc = Bits<11>;    // the external id stays the same in all segments
using l4tunlen = Bits<12, 7>;  // words of two bytes: from behind the external IP header to the inner one
using l4t_cs = Bits<23>;       // compute the external UDP checksum (X722, E810)
using l2tag2 = Bits<32, 16>;
}  // namespace tx_low
namespace tx_type {
inline constexpr std::uint64_t data = 0, context = 1, flow_program = 8, done = 0xf;
}
namespace flow_program_low {  // of a descriptor that programs Flow Director: E810 data sheet, FD filter programming
using qindex = Bits<0, 11>;
using drop = Bits<40>;
}  // namespace flow_program_low
namespace flow_program_high {
using removes = Bits<4>;
using swap = Bits<24>;  // the frame that follows is as those that are meant; otherwise, as a reply to them
using id = Bits<32, 32>;
}  // namespace flow_program_high
namespace tx_cmd {  // 8.4.2.1.1
inline constexpr std::uint32_t EOP = 0x001, RS = 0x002, ICRC = 0x004, IL2TAG1 = 0x008, DUMMY = 0x010, FCOET = 0x080;
using iipt = Bits<5, 2>;  // 0 not IP, 1 IPv6, 2 IPv4, 3 IPv4 with its checksum to be computed
using l4t = Bits<8, 2>;   // 0 none, 1 TCP, 2 SCTP, 3 UDP: checksum to be computed
}  // namespace tx_cmd
namespace context_cmd {  // 8.4.2.2.1
inline constexpr std::uint32_t TSO = 0x01, TSYN = 0x02, IL2TAG2 = 0x04;
}
namespace external_ip {
inline constexpr std::uint64_t none = 0, ipv6 = 1, ipv4 = 2, ipv4_checksum = 3;
}

/// A receive descriptor as a driver writes it, and as it is written back: 64-bit words; the last two when wide.
inline constexpr std::uint32_t kRxNarrow = 16, kRxWide = 32;  // bytes

/// Legacy write-back, word 0 (8.3.2.2): L2TAG1 in bits 16-31, the RSS hash in the upper half.
namespace rx_low {
using l2tag1 = Bits<16, 16>;
using hash = Bits<32, 32>;
}  // namespace rx_low
namespace rx_high {  // legacy write-back, word 1
using status = Bits<0, 19>;
using error = Bits<19, 8>;
using ptype = Bits<30, 8>;
using length = Bits<38, 14>;
}  // namespace rx_high
namespace rx_status {
inline constexpr std::uint32_t DD = 1u << 0, EOP = 1u << 1, L2TAG1P = 1u << 2, L3L4P = 1u << 3, CRCP = 1u << 4,
                               MULTICAST = 1u << 9, BROADCAST = 2u << 9, FLM = 1u << 11, HASH = 3u << 12;
}
namespace rx_error {
inline constexpr std::uint32_t IPE = 1u << 3, L4E = 1u << 4;
}
namespace rx_extended {  // legacy write-back, words 2 and 3 (wide only)
using status = Bits<0, 16>;
using l2tag2_2 = Bits<48, 16>;  // of word 2
using fd_id = Bits<32, 32>;     // of word 3
inline constexpr std::uint32_t L2TAG2P = 1u << 0, FD_ID = 1u << 4;
}  // namespace rx_extended

namespace flex_low {  // flexible write-back, word 0
using rxdid = Bits<0, 6>;
using cast = Bits<14, 2>;  // 0 unicast, 1 multicast, 2 broadcast
using ptype = Bits<16, 10>;
using length = Bits<32, 14>;
}  // namespace flex_low
namespace flex_high {  // word 1
using status0 = Bits<0, 16>;
using l2tag1 = Bits<16, 16>;
using metadata01 = Bits<32, 32>;  // hash, or flow id in the OVS layouts
}  // namespace flex_high
namespace flex_third {  // word 2
using status1 = Bits<0, 16>;
using l2tag2_2 = Bits<48, 16>;
}  // namespace flex_third
namespace flex_fourth {          // word 3
using metadata23 = Bits<0, 32>;  // flow id, or hash in the OVS layouts
}
namespace flex_status0 {
inline constexpr std::uint32_t DD = 1u << 0, EOP = 1u << 1, L3L4P = 1u << 3, IPE = 1u << 4, L4E = 1u << 5,
                               CRCP = 1u << 11, RSS_VALID = 1u << 12, L2TAG1P = 1u << 13;
}
inline constexpr std::uint32_t kNoFlow = ~0u;  // in place of a flow id
namespace flex_status1 {
inline constexpr std::uint32_t L2TAG2P = 1u << 11;
}

inline constexpr std::uint32_t kFcs = 4;        // bytes
inline constexpr std::uint32_t kTag = 4;        // bytes of a VLAN tag
inline constexpr std::uint32_t kMacs = 12;      // bytes of the two addresses
inline constexpr std::uint32_t kMinFrame = 60;  // bytes without FCS

}  // namespace vmux::intel
