// SPDX-License-Identifier: BSD-3-Clause
#include "packet/flow.hpp"

#include <gtest/gtest.h>

#include <array>

#include "packet/test/test_frames.hpp"

namespace vmux::packet {
namespace {

using test::Bytes;

Bytes tcp_from(std::uint8_t port, int tag = -1) {
  Bytes bytes = test::whole_frame({.tag = tag}, test::pattern(100));
  bytes[(tag < 0 ? 14u : 18u) + 20u + 1u] = port;  // the low byte of the source port
  return bytes;
}
std::uint32_t hash_of(const Bytes& bytes) { return flow_hash(test::slice(bytes)); }

TEST(FlowHash, IsThatOfTheFlowWhateverItsFramesCarry) {
  EXPECT_EQ(hash_of(test::whole_frame({}, test::pattern(10, 1))),
            hash_of(test::whole_frame({}, test::pattern(900, 2))));
}

TEST(FlowHash, DoesNotDependOnATag) { EXPECT_EQ(hash_of(tcp_from(7)), hash_of(tcp_from(7, 5))); }

TEST(FlowHash, SpreadsPortsEvenly) {
  std::array<unsigned, 4> queues{};
  for (unsigned port = 0; port < 256; ++port)
    ++queues[hash_of(tcp_from(static_cast<std::uint8_t>(port))) % 4];
  for (const unsigned count : queues) {
    EXPECT_GT(count, 32u);
    EXPECT_LT(count, 96u);
  }
}

TEST(FlowHash, IsZeroForWhatIsNotIpAndForWhatIsCut) {
  EXPECT_EQ(hash_of(Bytes{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, 1, 2, 3, 4}), 0u);
  EXPECT_EQ(hash_of(Bytes{2, 0, 0}), 0u);
}

}  // namespace
}  // namespace vmux::packet
