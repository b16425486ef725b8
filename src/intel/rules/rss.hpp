// SPDX-License-Identifier: BSD-3-Clause
// Receive-side scaling: which frames are hashed (HENA), how (Toeplitz), and where the hash leads (LUT).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace vmux::intel {

/// Packet classifier types: bits of HENA, as virtchnl and the drivers number them.
namespace pctype {
inline constexpr std::uint8_t ipv4_udp = 31, ipv4_tcp = 33, ipv4_sctp = 34, ipv4_other = 35, ipv4_fragment = 36,
                              ipv6_udp = 41, ipv6_tcp = 43, ipv6_sctp = 44, ipv6_other = 45, ipv6_fragment = 46,
                              l2_payload = 63, none = 0;
}
/// Bits of HENA that mean something here. The multicast, unicast-only and SYN types of newer parts are taken for their
/// general ones: drivers set all of them together.
inline constexpr std::uint64_t kHashedPackets =
    1ull << 29 | 1ull << 30 | 1ull << pctype::ipv4_udp | 1ull << 32 | 1ull << pctype::ipv4_tcp |
    1ull << pctype::ipv4_sctp | 1ull << pctype::ipv4_other | 1ull << pctype::ipv4_fragment | 1ull << 39 | 1ull << 40 |
    1ull << pctype::ipv6_udp | 1ull << 42 | 1ull << pctype::ipv6_tcp | 1ull << pctype::ipv6_sctp |
    1ull << pctype::ipv6_other | 1ull << pctype::ipv6_fragment;

/// What a driver has set, in plain form.
struct Rss {
  static constexpr std::size_t kKeySize = 52, kLutSize = 64, kMaxLutSize = 2048;  ///< bytes
  std::array<std::uint8_t, kKeySize> key{};
  std::array<std::uint8_t, kLutSize> lut{};
  /// A physical function's, in place of `lut`: 128, 512 or 2048 queues. Empty: there is none.
  std::vector<std::uint8_t> large_lut;
  std::uint64_t hena = 0;
  bool enabled = false;
  bool symmetric = false;  ///< both directions of a flow hash alike
  /// What is hashed of each classifier type, where a driver has chosen: HashField bits. 0: addresses, and ports if any.
  std::array<std::uint8_t, 64> fields{};
  std::uint64_t by_transport = 0;                 ///< types of `fields` that were chosen by their L4 header
  std::uint8_t all_of_ipv4 = 0, all_of_ipv6 = 0;  ///< fields of all others of the version; 0: not chosen
};

enum HashField : std::uint8_t {
  kHashSource = 1,
  kHashDestination = 2,
  kHashSourcePort = 4,
  kHashDestinationPort = 8,
};

/// The Toeplitz hash for one key, as a table by position and byte: an exclusive or per input byte, no shifting.
class Toeplitz {
 public:
  static constexpr std::size_t kMaxInput = 36;  ///< bytes: two IPv6 addresses and two ports

  Toeplitz() noexcept = default;
  explicit Toeplitz(std::span<const std::uint8_t, Rss::kKeySize> key) noexcept;
  /// That of a key that nobody has set.
  [[nodiscard]] static const std::shared_ptr<const Toeplitz>& of_zeros();
  template <std::size_t N>
  [[nodiscard]] std::uint32_t operator()(std::span<const std::byte, N> input) const noexcept {
    std::uint32_t hash = 0;
    for (std::size_t i = 0; i < input.size(); ++i)
      hash ^= table_[i][std::to_integer<std::size_t>(input[i])];
    return hash;
  }

 private:
  std::array<std::array<std::uint32_t, 256>, kMaxInput> table_{};
};

}  // namespace vmux::intel
