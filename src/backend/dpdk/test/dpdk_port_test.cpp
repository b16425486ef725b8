// SPDX-License-Identifier: BSD-3-Clause
// Against DPDK's own software devices and the kernel. Each test runs in a process of its own under ctest: the EAL can
// be started once only. What needs root says so and skips where that is not granted.
#include "backend/dpdk/dpdk_port.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>

#include "packet/test/test_frames.hpp"
#include "port/test/rounds.hpp"
#include "vmux/base/log.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::backend {
namespace {

using packet::test::Bytes;

void append_le32(Bytes& to, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8)
    to.push_back(static_cast<std::uint8_t>(value >> shift));
}

// A capture file (libpcap format 2.4, microseconds, Ethernet).
Bytes pcap_of(const std::vector<Bytes>& frames) {
  Bytes out;
  for (const std::uint32_t word : {0xa1b2c3d4u, 0x00040002u, 0u, 0u, 65535u, 1u})
    append_le32(out, word);
  for (const Bytes& frame : frames) {
    const auto size = static_cast<std::uint32_t>(frame.size());
    for (const std::uint32_t word : {1u, 0u, size, size})
      append_le32(out, word);
    packet::test::append(out, frame);
  }
  return out;
}
std::vector<Bytes> frames_of(const Bytes& pcap) {
  std::vector<Bytes> out;
  for (std::size_t at = 24; at + 16 <= pcap.size();) {
    const std::size_t size = pcap[at + 8] | static_cast<std::size_t>(pcap[at + 9]) << 8;
    const auto begin = pcap.begin() + static_cast<std::ptrdiff_t>(at + 16);
    out.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    at += 16 + size;
  }
  return out;
}

class DpdkTest : public testing::Test {
 protected:
  void SetUp() override {
    set_log_sink([](LogLevel, std::string_view line) { log() += std::string{line} + "\n"; }, LogLevel::warning);
  }
  void TearDown() override {
    set_log_sink(nullptr, LogLevel::off);
    std::filesystem::remove_all(folder_);
  }
  static std::string& log() {
    static std::string lines;
    return lines;
  }
  std::unique_ptr<DpdkPort> make(const std::string& device, std::uint32_t mtu = 0) {
    auto port = DpdkPort::create({.device = device, .mtu = mtu}, *poller_);
    EXPECT_TRUE(port) << (port ? "" : port.error().text()) << "\n" << log();
    return port ? std::move(*port) : nullptr;
  }
  std::string file(const char* name) const { return folder_ + "/" + name; }
  void write_file(const char* name, const Bytes& bytes) const {
    std::ofstream{file(name), std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                      static_cast<std::streamsize>(bytes.size()));
  }
  Bytes read_file(const char* name) const {
    std::ifstream in{file(name), std::ios::binary};
    return Bytes{std::istreambuf_iterator<char>{in}, {}};
  }
  static void add(Bytes& to, packet::Slice bytes) {
    for (const std::byte byte : bytes)
      to.push_back(static_cast<std::uint8_t>(byte));
  }
  static Bytes bytes_of(const packet::FrameView& view) {
    Bytes out;
    add(out, view.header);
    for (const packet::Slice& slice : view.payload)
      add(out, slice);
    return out;
  }
  // Looks until `count` frames were seen or half a minute of looking has passed without.
  std::vector<Bytes> receive(DpdkPort& port, std::size_t count) {
    std::vector<Bytes> out;
    for (int tries = 0; tries < 30000 && out.size() < count; ++tries) {
      const std::size_t seen = port.take(views_);
      for (std::size_t i = 0; i < seen; ++i)
        out.push_back(bytes_of(views_[i]));
      port::test::finish(port, seen);
      if (seen == 0) ::usleep(1000);
    }
    return out;
  }

  std::unique_ptr<runtime::Poller> poller_ = *runtime::Poller::create();
  std::string folder_ = [] {
    std::string name = "/tmp/vmux-dpdk-XXXXXX";
    return std::string{::mkdtemp(name.data())};
  }();
  std::array<packet::FrameView, port::kMaxBurst> views_;
};

// With a private network namespace, made before the EAL and its threads.
class DpdkHostTest : public DpdkTest {
 protected:
  void SetUp() override {
    DpdkTest::SetUp();
    if (::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "a network namespace of our own is not permitted here";
    ASSERT_EQ(std::system("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 2>/dev/null; "
                          "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"),
              0);
  }
  static UniqueFd host_socket(const char* name) {
    UniqueFd fd{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(name));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static void host_sends(const UniqueFd& fd, const Bytes& bytes) {
    EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  static Bytes host_receives(const UniqueFd& fd) {
    pollfd wait{fd.get(), POLLIN, 0};
    Bytes bytes(70000);
    if (::poll(&wait, 1, 30000) != 1) return {};
    const ssize_t size = ::read(fd.get(), bytes.data(), bytes.size());
    bytes.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return bytes;
  }
};

Bytes local_frame(std::uint8_t seed, std::size_t payload = 100) {
  Bytes out{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
  packet::test::append(out, packet::test::pattern(payload, seed));
  return out;
}

TEST_F(DpdkTest, ReadsFramesFromACapture) {
  const std::vector<Bytes> frames{local_frame(1), local_frame(2, 1500), local_frame(3, 46)};
  write_file("in.pcap", pcap_of(frames));
  const auto port = make("net_pcap0,rx_pcap=" + file("in.pcap") + ",tx_pcap=" + file("out.pcap"));
  EXPECT_EQ(receive(*port, 3), frames);
}

TEST_F(DpdkTest, WritesFramesToACaptureWithWhatWasUndoneDone) {
  const std::vector<Bytes> frames{local_frame(1), packet::test::whole_frame({.tag = 5}, packet::test::pattern(700))};
  write_file("in.pcap", pcap_of({}));
  auto port = make("net_pcap0,rx_pcap=" + file("in.pcap") + ",tx_pcap=" + file("out.pcap"));
  Bytes undone = packet::test::whole_frame({}, packet::test::pattern(700));
  packet::test::set16(undone, 50, packet::test::plain_sum({10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 732 >> 8, 732 & 0xff}));
  packet::test::View a{frames[0], 256, {100}}, b{undone, 256, {300}};
  b.view.offload = {.needs_checksum = true, .has_vlan = true, .csum_start = 34, .csum_offset = 16, .vlan_tci = 5};
  const std::array views{a.view, b.view};
  EXPECT_EQ(port->deliver(views).taken, 2u);
  port.reset();
  EXPECT_EQ(frames_of(read_file("out.pcap")), frames);
}

TEST_F(DpdkTest, FinishesAChecksumBehindLongHeaders) {
  write_file("in.pcap", pcap_of({}));
  auto port = make("net_pcap0,rx_pcap=" + file("in.pcap") + ",tx_pcap=" + file("out.pcap"));
  const packet::test::FarFrame frame{440, packet::test::pattern(700)};
  packet::test::View v{frame.undone, frame.l4 + 32u, {300}};
  v.view.offload = frame.offload();
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  port.reset();
  EXPECT_EQ(frames_of(read_file("out.pcap")), std::vector<Bytes>{frame.whole});
}

TEST_F(DpdkTest, CutsASuperFrameForADeviceThatDoesNot) {
  write_file("in.pcap", pcap_of({}));
  auto port = make("net_pcap0,rx_pcap=" + file("in.pcap") + ",tx_pcap=" + file("out.pcap"));
  const Bytes payload = packet::test::pattern(3000);
  const Bytes super = packet::test::whole_frame({}, payload);
  packet::test::View v{super, 256, {300}};
  v.view.offload = {.needs_checksum = true,
                    .gso = packet::Gso::tcp4,
                    .csum_start = 34,
                    .csum_offset = 16,
                    .header_length = 66,
                    .gso_size = 1448};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  port.reset();
  const auto middle = payload.begin() + 1448, last = middle + 1448;
  const std::vector<Bytes> wanted{
      packet::test::whole_frame({}, Bytes(payload.begin(), middle)),
      packet::test::whole_frame({.sequence = 0x12345678 + 1448, .id = 0xffff}, Bytes(middle, last)),
      packet::test::whole_frame({.sequence = 0x12345678 + 2896, .id = 0}, Bytes(last, payload.end()))};
  EXPECT_EQ(frames_of(read_file("out.pcap")), wanted);
}

// A driver that takes no piece of 60 bytes.
std::uint16_t refuse_short(void*, rte_mbuf** frames, std::uint16_t count) {
  std::uint16_t good = 0;
  while (good < count && frames[good]->pkt_len != 60)
    ++good;
  return good;
}

TEST_F(DpdkTest, LosesWhatTheDriverRefusesAndNothingBehindIt) {
  write_file("in.pcap", pcap_of({}));
  auto port = make("net_pcap0,rx_pcap=" + file("in.pcap") + ",tx_pcap=" + file("out.pcap"));
  std::uint16_t id = 0;
  ASSERT_EQ(rte_eth_dev_get_port_by_name("net_pcap0", &id), 0);
  rte_eth_fp_ops[id].tx_pkt_prepare = refuse_short;
  const std::vector<Bytes> frames{local_frame(1, 46), local_frame(2), local_frame(3, 46), local_frame(4, 46),
                                  local_frame(5)};
  std::vector<packet::FrameView> views;
  std::deque<packet::test::View> keep;
  for (const Bytes& frame : frames)
    views.push_back(keep.emplace_back(frame, 256, std::initializer_list<std::size_t>{100}).view);
  const port::Delivery done = port->deliver(views);
  EXPECT_EQ(done.taken, frames.size());
  EXPECT_EQ(done.lost, 3u);
  EXPECT_EQ(done.why[port::index_of(port::DropReason::malformed)], 3u);
  port.reset();
  EXPECT_EQ(frames_of(read_file("out.pcap")), (std::vector<Bytes>{frames[1], frames[4]}));
}

std::uint16_t send_nothing(void*, rte_mbuf**, std::uint16_t) { return 0; }

TEST_F(DpdkTest, LosesNothingBehindWhatFoundNoRoom) {
  write_file("in.pcap", pcap_of({}));
  auto port = make("net_pcap0,rx_pcap=" + file("in.pcap") + ",tx_pcap=" + file("out.pcap"));
  std::uint16_t id = 0;
  ASSERT_EQ(rte_eth_dev_get_port_by_name("net_pcap0", &id), 0);
  rte_eth_fp_ops[id].tx_pkt_burst = send_nothing;
  const Bytes frame = local_frame(1);
  packet::test::View good{frame, 256, {100}}, malformed{frame, 256, {100}};
  malformed.view.offload = {.needs_checksum = true, .csum_start = 2000};
  const std::array views{good.view, malformed.view};
  const port::Delivery done = port->deliver(views);
  EXPECT_EQ(done.taken, 0u);
  EXPECT_EQ(done.lost, 0u);
}

TEST_F(DpdkTest, LeavesTheCallersCpuAffinityAlone) {
  cpu_set_t before, after;
  CPU_ZERO(&before);
  CPU_ZERO(&after);
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  const auto port = make("net_null0");
  ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST_F(DpdkTest, RefusesWhatDoesNotExistAndGoesOn) {
  const auto unknown = DpdkPort::create({.device = "net_nonsense0"}, *poller_);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::not_found);
  EXPECT_NE(log(), "") << "DPDK's own words must reach our log";
  EXPECT_EQ(DpdkPort::create({.device = ""}, *poller_).error().code, Errc::invalid_argument);
  EXPECT_EQ(DpdkPort::create({.device = "0000:00:00.0"}, *poller_).error().code, Errc::not_supported);
  EXPECT_NE(make("net_null0"), nullptr);
}

TEST_F(DpdkTest, RefusesADeviceThatIsInUseAndTakesItAgainAfterwards) {
  auto port = make("net_null0");
  const auto second = DpdkPort::create({.device = "net_null0"}, *poller_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::already_exists);
  port.reset();
  EXPECT_NE(make("net_null0"), nullptr);
}

TEST_F(DpdkTest, RunsOnAPollersOwnThread) {
  ASSERT_TRUE(poller_->start());
  auto port = make("net_null0,size=64,copy=1");
  const std::size_t seen = poller_->call([&] {
    const std::size_t count = port->take(views_);
    port::test::finish(*port, count);
    return count;
  });
  EXPECT_EQ(seen, port::kMaxBurst);
}

TEST_F(DpdkHostTest, JoinsAHostInterfaceByAfPacket) {
  ASSERT_EQ(std::system("ip link add va type veth peer name vb && ip link set va up && ip link set vb up"), 0);
  const auto port = make("net_af_packet0,iface=va");
  const UniqueFd host = host_socket("vb");
  const Bytes frame = local_frame(1, 900);
  const packet::test::View v{frame, 256, {100}};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  EXPECT_EQ(host_receives(host), frame);
  host_sends(host, local_frame(2));
  EXPECT_EQ(receive(*port, 1), std::vector<Bytes>{local_frame(2)});
}

TEST_F(DpdkHostTest, TakesByAfPacketTheLongestFrameThatTheKernelPassesOn) {
  ASSERT_EQ(std::system("ip link add va type veth peer name vb && ip link set va up && ip link set vb up"), 0);
  const auto port = make("net_af_packet0,iface=va");
  const UniqueFd host = host_socket("vb");
  const Bytes tagged = packet::test::whole_frame({.tag = 5}, packet::test::pattern(1500 - 52));
  ASSERT_EQ(tagged.size(), port->accepts().max_frame);
  const packet::test::View v{tagged, 256, {100}};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  // The kernel takes the tag out of the bytes for its own use.
  EXPECT_EQ(host_receives(host), packet::test::whole_frame({}, packet::test::pattern(1500 - 52)));
}

TEST_F(DpdkHostTest, JoinsTheHostByDpdksTapAndLetsItFinishChecksums) {
  const auto port = make("net_tap0,iface=dt0");
  ASSERT_EQ(std::system("ip link set dt0 up"), 0);
  const UniqueFd host = host_socket("dt0");
  EXPECT_TRUE(port->accepts().checksum);
  const Bytes wanted = packet::test::whole_frame({}, packet::test::pattern(700));
  Bytes undone = wanted;
  packet::test::set16(undone, 50, packet::test::plain_sum({10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 732 >> 8, 732 & 0xff}));
  packet::test::View v{undone, 256, {300}};
  v.view.offload = {.needs_checksum = true, .csum_start = 34, .csum_offset = 16};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  EXPECT_EQ(host_receives(host), wanted);
  host_sends(host, local_frame(2));
  EXPECT_EQ(receive(*port, 1), std::vector<Bytes>{local_frame(2)});
}

// DPDK takes the pseudo-header's protocol and length from the IPv6 header, which has others then.
TEST_F(DpdkHostTest, FinishesAChecksumBehindExtensionHeaders) {
  const auto port = make("net_tap0,iface=dt0");
  ASSERT_EQ(std::system("ip link set dt0 up"), 0);
  const UniqueFd host = host_socket("dt0");
  for (const std::size_t options : {8u, 464u, 1024u}) {
    const packet::test::FarFrame frame{options, packet::test::pattern(300)};
    packet::test::View v{frame.undone, frame.l4 + 32u, {300}};
    v.view.offload = frame.offload();
    EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
    EXPECT_EQ(host_receives(host), frame.whole);
  }
}

TEST_F(DpdkHostTest, FollowsTheLinkOfItsDevice) {
  const auto port = make("net_tap0,iface=dt0");
  const auto becomes = [&](bool is_ready) {
    for (int tries = 0; tries < 300 && port->is_ready() != is_ready; ++tries)
      poller_->run_once(100'000'000);
    return port->is_ready() == is_ready;
  };
  EXPECT_TRUE(becomes(true));
  ASSERT_EQ(std::system("ip link set dt0 down"), 0);
  EXPECT_TRUE(becomes(false));
  ASSERT_EQ(std::system("ip link set dt0 up"), 0);
  EXPECT_TRUE(becomes(true));
}

TEST_F(DpdkHostTest, CutsSuperFramesOfUsualSizeForDpdksTap) {
  const auto port = make("net_tap0,iface=dt0");
  ASSERT_EQ(std::system("ip link set dt0 up"), 0);
  const UniqueFd host = host_socket("dt0");
  const Bytes payload = packet::test::pattern(2896);
  const Bytes super = packet::test::whole_frame({}, payload);
  packet::test::View v{super, 256, {300}};
  v.view.offload = {.needs_checksum = true,
                    .gso = packet::Gso::tcp4,
                    .csum_start = 34,
                    .csum_offset = 16,
                    .header_length = 66,
                    .gso_size = 1448};
  EXPECT_EQ(port->deliver({&v.view, 1}).taken, 1u);
  const auto middle = payload.begin() + 1448;
  EXPECT_EQ(host_receives(host), packet::test::whole_frame({}, Bytes(payload.begin(), middle)));
  EXPECT_EQ(host_receives(host),
            packet::test::whole_frame({.sequence = 0x12345678 + 1448, .id = 0xffff}, Bytes(middle, payload.end())));
}

}  // namespace
}  // namespace vmux::backend
