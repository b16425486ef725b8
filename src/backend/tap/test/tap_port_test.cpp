// SPDX-License-Identifier: BSD-3-Clause
// Against the kernel, in a private network namespace.
#include "backend/tap/tap_port.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/tap/host_side.hpp"
#include "packet/test/test_frames.hpp"
#include "port/test/rounds.hpp"

namespace vmux::backend {
namespace {

using packet::test::Bytes;
using packet::test::FrameSpec;
using test::kHeader;
using test::kNoOffload;
using test::TapTest;
using test::with_header;

Bytes local_frame(std::uint8_t seed, std::size_t payload = 100) {
  Bytes out{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
  packet::test::append(out, packet::test::pattern(payload, seed));
  return out;
}

TEST_F(TapTest, SendsTheHostsFramesAsTheyAreAndInOrder) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  host_sends(host, with_header(kNoOffload, local_frame(1, 40)));
  host_sends(host, with_header(kNoOffload, local_frame(2, 1400)));
  ASSERT_EQ(peek(*port), 2u);
  EXPECT_EQ(bytes_of(views_[0]), local_frame(1, 40));
  EXPECT_EQ(bytes_of(views_[1]), local_frame(2, 1400));
  port::test::finish(*port, 2);
  EXPECT_EQ(peek(*port), 0u);
}

TEST_F(TapTest, ShowsFramesAgainUntilTheyAreCompleted) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  for (std::uint8_t i = 0; i < 40; ++i)
    host_sends(host, with_header(kNoOffload, local_frame(i)));
  ASSERT_EQ(peek(*port), 32u);
  port::test::finish(*port, 3);
  ASSERT_EQ(peek(*port), 32u);
  EXPECT_EQ(bytes_of(views_[0]), local_frame(3));
  EXPECT_EQ(bytes_of(views_[31]), local_frame(34));
  port::test::finish(*port, 32);
  EXPECT_EQ(peek(*port), 5u);
}

TEST_F(TapTest, KeepsNoPollerAwakeWithFramesThatAreNotTakenYet) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  for (std::uint8_t i = 0; i < 40; ++i)
    host_sends(host, with_header(kNoOffload, local_frame(i)));
  for (int i = 0; i < 10; ++i)
    poller_->run_once(0);
  EXPECT_FALSE(poller_->run_once(0)) << "nobody has asked for them";
  ASSERT_EQ(peek(*port), 32u);
  port::test::finish(*port, 3);
  EXPECT_FALSE(poller_->run_once(0)) << "some are in the kernel still";
  ASSERT_EQ(peek(*port), 32u);
  port::test::finish(*port, 32);
  ASSERT_EQ(peek(*port), 5u);
  port::test::finish(*port, 5);
  EXPECT_EQ(peek(*port), 0u);
  host_sends(host, with_header(kNoOffload, local_frame(99)));
  EXPECT_TRUE(poller_->run_once(0));
  EXPECT_EQ(peek(*port), 1u);
}

TEST_F(TapTest, DeliversToTheHost) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const Bytes first = local_frame(1, 1500), second = local_frame(2, 46);
  const packet::test::View a{first, 256, {100, 1, 700}}, b{second, 256, {100}};
  const std::array views{a.view, b.view};
  EXPECT_EQ(port->deliver(views).taken, 2u);
  EXPECT_EQ(host_receives(host), with_header(kNoOffload, first));
  EXPECT_EQ(host_receives(host), with_header(kNoOffload, second));
}

TEST_F(TapTest, PutsATagBesideIntoTheBytes) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const Bytes frame = packet::test::whole_frame({}, packet::test::pattern(100));
  packet::test::View v{frame, 256, {100}};
  v.view.offload = {.has_vlan = true, .vlan_tci = 0x2005};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  // The kernel takes the tag out of the bytes again for its own use, so what a packet socket sees is the frame without.
  const Bytes got = host_receives(host);
  ASSERT_GE(got.size(), kHeader);
  EXPECT_EQ(Bytes(got.begin() + kHeader, got.end()), frame);
}

TEST_F(TapTest, CarriesASuperFrameAndItsChecksumToTheHost) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const Bytes frame = packet::test::whole_frame({}, packet::test::pattern(30000));
  packet::test::View v{frame, 256, {1000, 4096}};
  v.view.offload = {.needs_checksum = true,
                    .gso = packet::Gso::tcp4,
                    .csum_start = 34,
                    .csum_offset = 16,
                    .header_length = 66,
                    .gso_size = 1448};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  const Bytes got = host_receives(host);
  ASSERT_EQ(got.size(), kHeader + frame.size());
  EXPECT_EQ(Bytes(got.begin() + kHeader, got.end()), frame);
  EXPECT_EQ(got[0], 1);                   // needs its checksum
  EXPECT_EQ(got[1], 1);                   // TCP over IPv4
  EXPECT_EQ(got[4] | got[5] << 8, 1448);  // size of a piece
  EXPECT_EQ(got[6] | got[7] << 8, 34);    // checksum from here
}

TEST_F(TapTest, CarriesASuperFrameAndItsChecksumFromTheHost) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const FrameSpec spec{.ip = packet::test::Ip::v6};
  const Bytes frame = packet::test::whole_frame(spec, packet::test::pattern(20000));
  const Bytes header{1, 4, 86, 0, 0x94, 0x05, 54, 0, 16, 0};  // checksum, TCP over IPv6, 86 bytes of headers, 1428
  host_sends(host, with_header(header, frame));
  ASSERT_EQ(peek(*port), 1u);
  const packet::Offload& offload = views_[0].offload;
  EXPECT_TRUE(offload.needs_checksum);
  EXPECT_EQ(offload.gso, packet::Gso::tcp6);
  EXPECT_EQ(offload.gso_size, 1428);
  EXPECT_EQ(offload.header_length, 86);
  EXPECT_EQ(offload.csum_start, 54);
  EXPECT_EQ(bytes_of(views_[0]), frame);
}

// IPv6 extension headers, a tunnel's options: what is to be done lies far behind.
TEST_F(TapTest, CarriesAChecksumBehindLongHeadersBothWays) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const packet::test::FarFrame frame{440, packet::test::pattern(800)};
  const auto start = static_cast<std::uint8_t>(frame.l4 & 0xff), start_high = static_cast<std::uint8_t>(frame.l4 >> 8);
  const Bytes header{1, 0, 0, 0, 0, 0, start, start_high, 16, 0};
  host_sends(host, with_header(header, frame.undone));
  ASSERT_EQ(peek(*port), 1u);
  EXPECT_EQ(views_[0].offload.csum_start, frame.l4);
  EXPECT_GE(views_[0].header.size(), frame.l4 + 18u);
  EXPECT_EQ(bytes_of(views_[0]), frame.undone);
  EXPECT_EQ(port->deliver(std::span{views_}.first(1)).taken, 1u);
  EXPECT_EQ(host_receives(host), with_header(header, frame.undone));
}

TEST_F(TapTest, CarriesASuperFrameWithLongHeadersBothWays) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  const packet::test::FarFrame frame{440, packet::test::pattern(20000)};
  const auto low = [](unsigned value) { return static_cast<std::uint8_t>(value & 0xff); };
  const unsigned headers = frame.l4 + 32u;
  host_sends(host,
             with_header({1, 4, low(headers), low(headers >> 8), 0xe8, 0x03, low(frame.l4), low(frame.l4 >> 8), 16, 0},
                         frame.undone));
  ASSERT_EQ(peek(*port), 1u);
  EXPECT_EQ(views_[0].offload.gso, packet::Gso::tcp6);
  EXPECT_EQ(views_[0].offload.header_length, headers);
  EXPECT_EQ(port->deliver(std::span{views_}.first(1)).taken, 1u);
  const Bytes got = host_receives(host);
  ASSERT_EQ(got.size(), kHeader + frame.undone.size());
  EXPECT_EQ(got[1], 4);  // TCP over IPv6
}

TEST_F(TapTest, SetsTheMtuAndTakesFramesOfIt) {
  const auto port = make({.name = "vt0", .mtu = 9000});
  EXPECT_EQ(port->accepts().max_frame, 9022u);
  const UniqueFd host = host_socket("vt0");
  const Bytes frame = local_frame(1, 9000);
  const packet::test::View v{frame, 256, {4096}};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  EXPECT_EQ(host_receives(host), with_header(kNoOffload, frame));
}

TEST_F(TapTest, TakesTwoTagsBesideTheMtu) {
  const auto port = make({.name = "vt0"});
  const UniqueFd host = host_socket("vt0");
  Bytes frame = packet::test::whole_frame({.tag = 5}, packet::test::pattern(1500 - 52));
  const Bytes service{0x88, 0xa8, 0, 7};
  frame.insert(frame.begin() + 12, service.begin(), service.end());
  ASSERT_EQ(frame.size(), port->accepts().max_frame);
  const packet::test::View v{frame, 256, {1000}};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  // The kernel takes the outer tag out of the bytes for its own use.
  frame.erase(frame.begin() + 12, frame.begin() + 16);
  EXPECT_EQ(host_receives(host), with_header(kNoOffload, frame));
}

TEST_F(TapTest, FollowsAnMtuThatTheHostChanges) {
  const auto port = make({.name = "vt0"});
  ASSERT_EQ(std::system("ip link set vt0 mtu 4000"), 0);
  poller_->run_once(0);
  EXPECT_EQ(port->accepts().max_frame, 4022u);
  EXPECT_TRUE(port->is_ready());
}

TEST_F(TapTest, IsNotReadyWhileTheInterfaceIsDown) {
  const auto port = make({.name = "vt0"});
  ASSERT_EQ(std::system("ip link set vt0 down"), 0);
  poller_->run_once(0);
  EXPECT_FALSE(port->is_ready());
  ASSERT_EQ(std::system("ip link set vt0 name other up"), 0);
  poller_->run_once(0);
  EXPECT_TRUE(port->is_ready());
}

TEST_F(TapTest, IsReadyWhenItsInterfaceMovedToAnotherNamespace) {
  const auto port = make({.name = "vt0"});
  const auto our_namespace = [] { return UniqueFd{::open("/proc/thread-self/ns/net", O_RDONLY)}; };
  const UniqueFd here = our_namespace();
  ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
  const UniqueFd there = our_namespace();
  ASSERT_EQ(::setns(here.get(), CLONE_NEWNET), 0);
  const std::string file = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(there.get());
  ASSERT_EQ(std::system(("ip link set vt0 netns " + file).c_str()), 0);
  poller_->run_once(0);
  EXPECT_TRUE(port->is_ready());
}

TEST_F(TapTest, HearsNothingOfOtherInterfaces) {
  const auto port = make({.name = "vt0", .set_link_up = false});
  EXPECT_FALSE(port->is_ready());
  ASSERT_EQ(std::system("ip link set lo mtu 9000 up"), 0);
  poller_->run_once(0);
  EXPECT_FALSE(port->is_ready());
  EXPECT_EQ(port->accepts().max_frame, 1522u);
}

TEST_F(TapTest, DropsAndCountsWhileTheInterfaceIsDown) {
  const auto port = make({.name = "vt0", .set_link_up = false});
  const Bytes frame = local_frame(1);
  const packet::test::View v{frame, 256, {100}};
  const port::Delivery done = port->deliver({&v.view, 1});
  EXPECT_EQ(done.taken, 1u);
  EXPECT_EQ(done.lost, 1u);
  EXPECT_EQ(done.lost_bytes, frame.size());
  EXPECT_EQ(done.why[port::index_of(port::DropReason::not_ready)], 1u);
  EXPECT_FALSE(port->is_gone());
}

TEST_F(TapTest, KeepsAFlowInOneOfItsQueuesAndReadsAll) {
  const auto port = make({.name = "vt0", .queues = 4});
  const UniqueFd host = host_socket("vt0");
  std::vector<Bytes> frames;
  for (std::uint8_t i = 0; i < 8; ++i) {
    frames.push_back(packet::test::whole_frame({.proto = packet::test::Proto::udp}, {i, i}));
    frames.back()[29] = i;  // another source address each
    const packet::test::View v{frames.back(), 256, {100}};
    EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
    EXPECT_EQ(host_receives(host), with_header(kNoOffload, frames.back()));
  }
  for (const Bytes& frame : frames)
    host_sends(host, with_header(kNoOffload, frame));
  std::size_t seen = 0;
  for (int round = 0; round < 10; ++round) {
    const std::size_t count = peek(*port);
    seen += count;
    port::test::finish(*port, count);
  }
  EXPECT_EQ(seen, frames.size());
}

Bytes reversed(Bytes frame) {
  std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
  std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);  // IPv4 addresses
  std::swap_ranges(frame.begin() + 34, frame.begin() + 36, frame.begin() + 36);  // ports
  return frame;
}

TEST_F(TapTest, SpreadsItsQueuesOverPollersAndIsAnsweredWhereItSpoke) {
  const auto other = *runtime::Poller::create();
  runtime::Poller* const pollers[] = {poller_.get(), other.get()};
  const auto lanes = *TapPort::create({.name = "vt0", .queues = 3}, pollers);
  ASSERT_EQ(lanes.size(), 2u);
  const UniqueFd host = host_socket("vt0");
  for (std::uint8_t i = 0; i < 16; ++i) {
    TapPort& speaker = *lanes[i % 2u];
    Bytes frame = packet::test::whole_frame({.proto = packet::test::Proto::udp}, {i, i});
    frame[29] = i;  // another source address each
    const packet::test::View v{frame, 256, {100}};
    EXPECT_EQ(speaker.deliver({&v.view, 1}).taken, 1u);
    EXPECT_EQ(host_receives(host), with_header(kNoOffload, frame));
    host_sends(host, with_header(kNoOffload, reversed(frame)));
    other->run_once(0);
    ASSERT_EQ(peek(speaker), 1u) << int{i};
    EXPECT_EQ(bytes_of(views_[0]), reversed(frame));
    port::test::finish(speaker, 1);
    EXPECT_EQ(lanes[1 - i % 2u]->take(views_), 0u);
  }
}

TEST_F(TapTest, HasNoMoreLanesThanQueues) {
  const auto other = *runtime::Poller::create();
  runtime::Poller* const pollers[] = {poller_.get(), other.get()};
  EXPECT_EQ(TapPort::create({.name = "vt0"}, pollers)->size(), 1u);
}

TEST_F(TapTest, NoticesThatTheInterfaceWasDeletedAndFallsSilent) {
  const auto port = make({.name = "vt0"});
  ASSERT_EQ(std::system("ip link delete vt0"), 0);
  poller_->run_once(1'000'000'000);
  EXPECT_EQ(port->take(views_), 0u);
  EXPECT_TRUE(port->is_gone());
  EXPECT_FALSE(port->is_ready());
  EXPECT_FALSE(poller_->run_once(0)) << "the dead descriptor must not be reported again";
}

TEST_F(TapTest, NoticesADeletedInterfaceWhenItDelivers) {
  const auto port = make({.name = "vt0"});
  ASSERT_EQ(std::system("ip link delete vt0"), 0);
  const Bytes frame = local_frame(1);
  const packet::test::View v{frame, 256, {100}};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 0u);
  EXPECT_TRUE(port->is_gone());
}

TEST_F(TapTest, AttachesToAnInterfaceThatWasMadeBefore) {
  ASSERT_EQ(std::system("ip tuntap add dev vt1 mode tap"), 0);
  ASSERT_EQ(std::system("ip tuntap add dev vt2 mode tap multi_queue"), 0);
  EXPECT_NE(make({.name = "vt1"}), nullptr);
  EXPECT_NE(make({.name = "vt2"}), nullptr);
  EXPECT_EQ(std::system("ip link show vt1 >/dev/null"), 0) << "it was not ours to delete";
}

TEST_F(TapTest, SaysThatAnInterfaceIsInUse) {
  const auto port = make({.name = "vt0"});
  const auto second = TapPort::create({.name = "vt0"}, *poller_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
}

TEST_F(TapTest, SaysThatAnInterfaceIsNoTap) {
  const auto port = TapPort::create({.name = "lo"}, *poller_);
  ASSERT_FALSE(port);
  EXPECT_EQ(port.error().code, Errc::invalid_argument);
}

TEST_F(TapTest, SaysThatPermissionIsMissing) {
  EXPECT_EXIT(
      {
        const bool dropped = ::setgid(65534) == 0 && ::setuid(65534) == 0;
        const auto port = TapPort::create({.name = "vt0"}, *poller_);
        std::_Exit(dropped && !port && port.error().code == Errc::permission ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

class TapName : public testing::TestWithParam<const char*> {};
TEST_P(TapName, IsRefusedBeforeTheKernelIsAsked) {
  const auto poller = *runtime::Poller::create();
  const auto port = TapPort::create({.name = GetParam()}, *poller);
  ASSERT_FALSE(port);
  EXPECT_EQ(port.error().code, Errc::invalid_argument);
}
INSTANTIATE_TEST_SUITE_P(Bad, TapName,
                         testing::Values("", "sixteen-letters-", "a/b", "tap%d", "a b", "a:0", ".", ".."));

TEST(TapQueues, AreOneToSixteen) {
  const auto poller = *runtime::Poller::create();
  EXPECT_EQ(TapPort::create({.name = "t", .queues = 0}, *poller).error().code, Errc::invalid_argument);
  EXPECT_EQ(TapPort::create({.name = "t", .queues = 17}, *poller).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace vmux::backend
