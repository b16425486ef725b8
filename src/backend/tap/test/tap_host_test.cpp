// SPDX-License-Identifier: BSD-3-Clause
// Whatever the host's stack can leave to a tap arrives whole: a table of extremes, by packet sockets and by a socket of
// the stack itself.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstdlib>
#include <cstring>

#include "backend/tap/host_side.hpp"
#include "backend/tap/long_frames.hpp"
#include "packet/transfer.hpp"
#include "port/test/rounds.hpp"

namespace vmux::backend {
namespace {

using namespace test;
using packet::test::pattern;
using packet::test::Proto;

class TapFromHost : public TapTest {
 protected:
  // All that the port has to send, finished as for a receiver that takes nothing unfinished.
  std::vector<Bytes> receive(TapPort& port) {
    std::vector<Bytes> out;
    while (const std::size_t count = peek(port)) {
      for (const packet::FrameView& view : std::span{views_}.first(count)) {
        packet::Pieces pieces{view, {}};
        while (const packet::Piece* const piece = pieces.next()) {
          Bytes& bytes = out.emplace_back(piece->length);
          const std::span<std::byte> room[] = {std::as_writable_bytes(std::span{bytes})};
          pieces.copy(room);
        }
      }
      port::test::finish(port, count);
    }
    return out;
  }
};

struct Extreme {
  const char* description;
  LongSpec spec;
  std::size_t payload = 100;
  std::uint16_t gso = 0;  // bytes of a piece; 0: no super-frame
};
const Extreme kExtremes[] = {
    {"a checksum right behind IPv6", {}},
    {"the last in a usual header", {.extensions = {184}}},  // field at 254
    {"the first beyond", {.extensions = {192}}},
    {"UDP, the last in a usual header", {.extensions = {192}, .proto = Proto::udp}},
    {"UDP, the first beyond", {.extensions = {200}, .proto = Proto::udp}},
    {"one whole options header more than usual", {.extensions = {512}}},
    {"as many as fit into an MTU", {.extensions = {1024, 336}, .proto = Proto::udp}, 50},
    {"beyond a tag", {.tags = 1, .extensions = {400}}},
    {"nothing behind the headers", {.extensions = {400}}, 0},
    {"a full frame", {.extensions = {504}}, 1500 - 40 - 504 - 20},
    {"super-frame", {}, 40'000, 1428},
    {"super-frame, the longest usual headers", {.extensions = {176}, .flags = 0x99}, 30'000, 1200},
    {"super-frame, one option more", {.extensions = {184}, .flags = 0x99}, 30'000, 1200},
    {"super-frame with headers as long as its pieces", {.extensions = {512, 152}, .flags = 0x99}, 20'000, 700},
    {"super-frame behind a tag", {.tags = 1, .extensions = {400}}, 20'001, 1000},
    {"super-frame in more pieces than a burst has", {.extensions = {400}}, 60'000, 100},
    {"super-frame behind a routing header", {.extensions = {400}, .via = 0x1234}, 9'000, 1000},
    {"super-frame behind more headers than a view can have", {.extensions = {1024, 1024}}, 20'000, 1000},
    {"UDP super-frame", {.extensions = {400}, .proto = Proto::udp}, 20'000, 900},
};

class TapExtremes : public TapFromHost, public testing::WithParamInterface<Extreme> {};

TEST_P(TapExtremes, ArriveWhole) {
  const Extreme& row = GetParam();
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const Bytes payload = pattern(row.payload);
  Bytes header;
  const auto add16 = [&header](std::size_t value) {
    header.push_back(static_cast<std::uint8_t>(value));
    header.push_back(static_cast<std::uint8_t>(value >> 8));
  };
  header.push_back(1);  // needs its checksum
  header.push_back(row.gso == 0 ? 0 : row.spec.proto == Proto::tcp ? 4 : 5);
  add16(headers_of(row.spec));
  add16(row.gso);
  add16(l4_of(row.spec));
  add16(field_of(row.spec) - l4_of(row.spec));
  host_sends(host, with_header(header, undone_frame(row.spec, payload)));
  EXPECT_EQ(receive(*port), on_the_wire(row.spec, payload, row.gso)) << row.description;
  EXPECT_EQ(port->counters().drops(port::DropReason::malformed).get(), 0u) << row.description;
}
INSTANTIATE_TEST_SUITE_P(Rows, TapExtremes, testing::ValuesIn(kExtremes));

TEST_F(TapFromHost, AFrameBehindASuperFrameThatIsCutKeepsItsPlace) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const LongSpec spec{.extensions = {400}};
  const Bytes super{1, 4, 0xda, 0x01, 100, 0, 0xc6, 0x01, 16, 0};  // 474 bytes of headers, pieces of 100, from 454
  const Bytes last{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, 1, 2, 3};
  host_sends(host, with_header(super, undone_frame(spec, pattern(4000))));
  host_sends(host, with_header(kNoOffload, last));
  std::vector<Bytes> expected = on_the_wire(spec, pattern(4000), 100);
  expected.push_back(last);
  EXPECT_EQ(receive(*port), expected);
}

// A program of the host that connects: its SYN's checksum is the NIC's affair.
TEST_F(TapFromHost, TheStacksOwnSegmentsWithLongOptionsHaveRightSums) {
  const auto port = make({.name = "vt0"});
  ASSERT_EQ(std::system("sysctl -qw net.ipv6.conf.vt0.disable_ipv6=0 && ip -6 addr add 2001:db8::1/64 dev vt0 nodad && "
                        "ip -6 neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev vt0"),
            0);
  const UniqueFd fd{::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  Bytes options(1000, 0);
  options[1] = static_cast<std::uint8_t>(options.size() / 8 - 1);
  ASSERT_EQ(::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_DSTOPTS, options.data(), static_cast<socklen_t>(options.size())),
            0);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(9);
  ASSERT_EQ(::inet_pton(AF_INET6, "2001:db8::2", &to.sin6_addr), 1);
  ASSERT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), -1);
  ASSERT_EQ(errno, EINPROGRESS);

  Bytes syn;
  for (const Bytes& frame : receive(*port)) {  // among others: the stack also looks for routers
    if (frame.size() > 1000) syn = frame;
  }
  const std::size_t l4 = 14 + 40 + options.size();
  ASSERT_GE(syn.size(), l4 + 20);
  Bytes summed(syn.begin() + 22, syn.begin() + 54);  // addresses
  packet::test::append32(summed, static_cast<std::uint32_t>(syn.size() - l4));
  packet::test::append32(summed, 6);
  summed.insert(summed.end(), syn.begin() + static_cast<std::ptrdiff_t>(l4), syn.end());
  EXPECT_EQ(packet::test::plain_sum(summed), 0xffff);
  EXPECT_EQ(port->counters().drops(port::DropReason::malformed).get(), 0u);
}

}  // namespace
}  // namespace vmux::backend
