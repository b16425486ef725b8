// SPDX-License-Identifier: BSD-3-Clause
// Transmit, at the ends of what a driver can ask for: a seeded table of header lengths, tags, tunnels, super-frames and
// descriptor counts. Each frame leaves with everything finished, and so does the next one. The frames are put together
// here as they have to arrive, segment by segment, with a plain reading of the RFCs: nothing is shared with the model.
#include <gtest/gtest.h>

#include <random>

#include "intel/test/queues.hpp"
#include "intel/tx.hpp"
#include "packet/test/test_frames.hpp"
#include "packet/transfer.hpp"

namespace vmux::intel {
namespace {

using packet::test::append;
using packet::test::append16;
using packet::test::append32;
using packet::test::pattern;
using packet::test::plain_sum;
using packet::test::set16;
using test::Bytes;

enum class Tunnel { none, geneve, gre, ip };
enum class L4 { tcp, udp, sctp };

/// An IP header: `more` bytes of options (IPv4) or of extension headers (IPv6).
struct IpSpec {
  bool is_v6 = false;
  std::size_t more = 0;
  [[nodiscard]] std::size_t size() const { return (is_v6 ? 40 : 20) + more; }
};

struct Row {
  std::size_t tags = 0;  // in the bytes
  int tag = -1;          // in the descriptor
  Tunnel tunnel = Tunnel::none;
  IpSpec outer;
  std::size_t tunnel_options = 0;  // bytes
  bool outer_sum = false;
  IpSpec ip;
  L4 l4 = L4::tcp;
  std::size_t l4_options = 0;  // bytes
  std::size_t payload = 0, mss = 0;
  std::size_t descriptors = 1;

  [[nodiscard]] std::size_t l2_size() const { return 14 + 4 * tags; }
  [[nodiscard]] std::size_t tunnel_size() const {
    switch (tunnel) {
      case Tunnel::geneve:
        return 8 + 8 + tunnel_options + 14;
      case Tunnel::gre:
        return 8;
      default:
        return 0;
    }
  }
  [[nodiscard]] std::size_t l4_size() const { return (l4 == L4::tcp ? 20 : l4 == L4::udp ? 8 : 12) + l4_options; }
  [[nodiscard]] std::size_t outer_size() const { return tunnel == Tunnel::none ? 0 : outer.size() + tunnel_size(); }
  [[nodiscard]] std::size_t header_size() const { return l2_size() + outer_size() + ip.size() + l4_size(); }
};

std::ostream& operator<<(std::ostream& out, const Row& row) {
  constexpr const char* kTunnels[] = {"", "geneve", "gre", "ip"};
  constexpr const char* kL4s[] = {"tcp", "udp", "sctp"};
  out << row.tags << "+" << (row.tag >= 0) << " tags ";
  if (row.tunnel != Tunnel::none) {
    out << (row.outer.is_v6 ? "v6+" : "v4+") << row.outer.more << " " << kTunnels[static_cast<int>(row.tunnel)] << "+"
        << row.tunnel_options << (row.outer_sum ? " summed " : " ");
  }
  return out << (row.ip.is_v6 ? "v6+" : "v4+") << row.ip.more << " " << kL4s[static_cast<int>(row.l4)] << "+"
             << row.l4_options << " headers " << row.header_size() << " payload " << row.payload << " mss " << row.mss
             << " descriptors " << row.descriptors;
}

class Dice {
 public:
  explicit Dice(unsigned seed) : engine_(seed) {}
  std::size_t up_to(std::size_t most) { return engine_() % (most + 1); }
  /// Nothing, everything, or anything between.
  std::size_t extreme(std::size_t most, std::size_t step) {
    constexpr std::size_t kKinds = 3;
    switch (up_to(kKinds - 1)) {
      case 0:
        return 0;
      case 1:
        return most / step * step;
      default:
        return up_to(most / step) * step;
    }
  }
  bool one_in(std::size_t n) { return up_to(n - 1) == 0; }

 private:
  std::mt19937 engine_;
};

IpSpec ip_of(Dice& dice) {
  const bool is_v6 = dice.one_in(2);
  return {is_v6, is_v6 ? dice.extreme(508 - 40, 8) : dice.extreme(40, 4)};
}

/// What the descriptors' fields can say, in the combinations that drivers send.
Row row_of(unsigned seed) {
  Dice dice{seed};
  Row row;
  row.tags = dice.one_in(3) ? dice.extreme(28, 1) : dice.up_to(2);  // Linux: 126 bytes in front of IP
  if (dice.one_in(3)) row.tag = static_cast<int>(dice.up_to(0xffff));
  if (dice.one_in(2)) row.tunnel = static_cast<Tunnel>(1 + dice.up_to(2));
  row.outer = ip_of(dice);
  if (row.tunnel == Tunnel::geneve) row.tunnel_options = dice.extreme(254 - 30, 4);
  row.outer_sum = row.tunnel == Tunnel::geneve && dice.one_in(2);
  row.ip = ip_of(dice);
  row.l4 = static_cast<L4>(dice.up_to(2));
  if (row.l4 == L4::tcp) row.l4_options = dice.extreme(40, 4);
  const bool is_segmented = row.l4 != L4::sctp && dice.one_in(2);
  if (is_segmented) {
    row.mss = dice.one_in(3) ? 64 : 64 + dice.up_to(7000);
    row.payload = std::min<std::size_t>(1 + dice.extreme(65'000, 1), row.mss * 1500);
    if (row.tunnel != Tunnel::none && dice.one_in(8)) row.payload += std::min<std::size_t>(100'000, row.mss * 500);
  } else {
    row.payload = dice.extreme(9724 - 8 - row.header_size(), 1);
    row.payload += row.payload == 0 && row.l4 == L4::sctp ? 16u : 0u;
  }
  const std::size_t least = (row.header_size() + row.payload) / 16'000 + 1;
  row.descriptors = least + dice.extreme(std::min<std::size_t>(40, (row.header_size() + row.payload) / 64), 1);
  return row;
}

constexpr std::uint32_t kSequence = 0xffff'f000;
constexpr std::uint16_t kId = 0xfffe, kOuterId = 7;

/// Extension headers that make up `size` bytes, the last of which leads to `protocol`: hop-by-hop, routing,
/// destination.
Bytes extensions(std::size_t size, std::uint8_t protocol, std::uint8_t& first) {
  constexpr std::uint8_t kTypes[] = {0, 43, 60};
  std::vector<std::size_t> sizes;
  for (; size > 0 && sizes.size() < 2; size -= sizes.back())
    sizes.push_back(std::min<std::size_t>(size, sizes.empty() ? 8 : 16));
  if (size > 0) sizes.push_back(size);
  Bytes bytes;
  first = sizes.empty() ? protocol : kTypes[0];
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    Bytes one = pattern(sizes[i], 5);
    one[0] = i + 1 < sizes.size() ? kTypes[i + 1] : protocol;
    one[1] = static_cast<std::uint8_t>(sizes[i] / 8 - 1);
    append(bytes, one);
  }
  return bytes;
}

Bytes addresses(const IpSpec& ip) { return pattern(ip.is_v6 ? 32 : 8, 77); }

Bytes with_ip(const IpSpec& ip, std::uint8_t protocol, std::uint16_t id, const Bytes& body) {
  Bytes bytes;
  if (ip.is_v6) {
    std::uint8_t first = 0;
    const Bytes more = extensions(ip.more, protocol, first);
    append32(bytes, 0x6000'0000);
    append16(bytes, static_cast<unsigned>(more.size() + body.size()));
    append(bytes, {first, 64});
    append(bytes, addresses(ip));
    append(bytes, more);
  } else {
    append(bytes, {static_cast<std::uint8_t>(0x40 | ip.size() / 4), 0});
    append16(bytes, static_cast<unsigned>(ip.size() + body.size()));
    append16(bytes, id);
    append(bytes, {0x40, 0, 64, protocol, 0, 0});
    append(bytes, addresses(ip));
    bytes.resize(ip.size(), 1);  // no operation
    set16(bytes, 10, static_cast<std::uint16_t>(~plain_sum(bytes)));
  }
  append(bytes, body);
  return bytes;
}

std::uint16_t transport_sum(const IpSpec& ip, std::uint8_t protocol, const Bytes& segment) {
  Bytes pseudo = addresses(ip);
  append32(pseudo, static_cast<std::uint32_t>(segment.size()));
  append32(pseudo, protocol);
  append(pseudo, segment);
  return plain_sum(pseudo);
}

void put_transport_sum(const IpSpec& ip, std::uint8_t protocol, std::size_t at, Bytes& segment) {
  set16(segment, at, 0);
  const auto sum = static_cast<std::uint16_t>(~transport_sum(ip, protocol, segment));
  set16(segment, at, sum == 0 && protocol == 17 ? 0xffffu : sum);
}

std::uint32_t crc32c(const Bytes& bytes) {  // RFC 9260 appendix A, bit by bit
  std::uint32_t crc = ~0u;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f6'3b78u : 0u);
  }
  return ~crc;
}

constexpr std::uint8_t kNumbers[] = {6, 17, 132};  // by L4

/// TCP, UDP or SCTP, finished. `at`: of the payload in the super-frame.
Bytes transport(const Row& row, const Bytes& payload, std::size_t at, bool is_last) {
  Bytes bytes;
  append16(bytes, 1000);
  append16(bytes, 2000);
  if (row.l4 == L4::tcp) {
    append32(bytes, kSequence + static_cast<std::uint32_t>(at));
    append32(bytes, 0x9abc'def0);
    bytes.push_back(static_cast<std::uint8_t>(row.l4_size() / 4 << 4));
    bytes.push_back(is_last ? 0x19 : 0x10);  // ACK, and at the end PSH and FIN
    append16(bytes, 512);
    append32(bytes, 0);
    bytes.resize(row.l4_size(), 1);  // no operation
  } else if (row.l4 == L4::udp) {
    append16(bytes, static_cast<unsigned>(8 + payload.size()));
    append16(bytes, 0);
  } else {
    append32(bytes, 0x1234'5678);
    append32(bytes, 0);
  }
  append(bytes, payload);
  if (row.l4 == L4::sctp) {
    const std::uint32_t crc = crc32c(bytes);
    std::memcpy(bytes.data() + 8, &crc, sizeof crc);  // lowest byte first
  } else {
    put_transport_sum(row.ip, kNumbers[static_cast<int>(row.l4)], row.l4 == L4::tcp ? 16 : 6, bytes);
  }
  return bytes;
}

Bytes tunnelled(const Row& row, const Bytes& inner, std::uint16_t id) {
  Bytes body;
  std::uint8_t protocol = row.ip.is_v6 ? 41 : 4;
  if (row.tunnel == Tunnel::gre) {
    protocol = 47;
    append16(body, 0x2000);  // a key follows
    append16(body, row.ip.is_v6 ? 0x86dd : 0x0800);
    append32(body, 99);
  } else if (row.tunnel == Tunnel::geneve) {
    protocol = 17;
    append16(body, 3000);
    append16(body, 6081);
    append32(body, static_cast<std::uint32_t>(row.tunnel_size() + inner.size()) << 16);
    append(body, {static_cast<std::uint8_t>(row.tunnel_options / 4), 0, 0x65, 0x58, 0, 0, 7, 0});
    append(body, pattern(row.tunnel_options, 9));
    append(body, pattern(12, 4));
    append16(body, row.ip.is_v6 ? 0x86dd : 0x0800);
  }
  append(body, inner);
  if (row.outer_sum) put_transport_sum(row.outer, 17, 6, body);
  return with_ip(row.outer, protocol, id, body);
}

/// One segment as it has to arrive; `tag` in front of the others.
Bytes segment(const Row& row, const Bytes& payload, std::size_t at, std::size_t index, bool is_last, int tag) {
  Bytes frame{0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1};
  const auto put_tag = [&frame](unsigned tci) {
    append16(frame, 0x8100);
    append16(frame, tci);
  };
  if (tag >= 0) put_tag(static_cast<unsigned>(tag));
  for (std::size_t i = 0; i < row.tags; ++i)
    put_tag(static_cast<unsigned>(0x2000 + i));
  const auto step = static_cast<std::uint16_t>(index);
  Bytes ip = with_ip(row.ip, kNumbers[static_cast<int>(row.l4)], static_cast<std::uint16_t>(kId + step),
                     transport(row, payload, at, is_last));
  const bool is_v6 = row.tunnel == Tunnel::none ? row.ip.is_v6 : row.outer.is_v6;
  append16(frame, is_v6 ? 0x86dd : 0x0800);
  append(frame, row.tunnel == Tunnel::none ? ip : tunnelled(row, ip, static_cast<std::uint16_t>(kOuterId + step)));
  if (frame.size() < 60 + (tag >= 0 ? 4u : 0u)) frame.resize(60 + (tag >= 0 ? 4u : 0u));
  return frame;
}

std::vector<Bytes> expected(const Row& row, const Bytes& payload) {
  const std::size_t size = row.mss == 0 ? std::max<std::size_t>(1, payload.size()) : row.mss;
  std::vector<Bytes> frames;
  std::size_t at = 0;
  do {
    const std::size_t end = std::min(payload.size(), at + size);
    const Bytes part{payload.begin() + static_cast<std::ptrdiff_t>(at),
                     payload.begin() + static_cast<std::ptrdiff_t>(end)};
    frames.push_back(segment(row, part, at, frames.size(), end == payload.size(), row.tag));
    at = end;
  } while (at < payload.size());
  return frames;
}

/// What the driver hands over: all that the device is asked to fill in is something else.
Bytes undone(const Row& row, const Bytes& payload) {
  Bytes frame = segment(row, payload, 0, 0, true, -1);
  frame.resize(row.header_size() + payload.size());
  const std::size_t l3 = row.l2_size() + row.outer_size(), l4 = l3 + row.ip.size(), outer = row.l2_size();
  if (row.l4 == L4::sctp) {
    set16(frame, l4 + 8, 0xdead);
  } else {
    Bytes segment{frame.begin() + static_cast<std::ptrdiff_t>(l4), frame.end()};
    const std::size_t field = row.l4 == L4::tcp ? 16 : 6;
    Bytes pseudo = addresses(row.ip);
    append32(pseudo, static_cast<std::uint32_t>(segment.size()));
    append32(pseudo, kNumbers[static_cast<int>(row.l4)]);
    set16(frame, l4 + field, plain_sum(pseudo));
  }
  if (!row.ip.is_v6) set16(frame, l3 + 10, 0xdead);
  if (row.tunnel != Tunnel::none && !row.outer.is_v6) set16(frame, outer + 10, 0xdead);
  if (row.outer_sum) set16(frame, outer + row.outer.size() + 6, 0xdead);
  if (row.mss == 0) return frame;
  set16(frame, l3 + (row.ip.is_v6 ? 4 : 2), 0);
  if (row.tunnel == Tunnel::none) return frame;
  set16(frame, outer + (row.outer.is_v6 ? 4 : 2), 0);
  if (row.tunnel == Tunnel::geneve) set16(frame, outer + row.outer.size() + 4, 0);
  return frame;
}

class IntelTxRing : public testing::Test {
 protected:
  static constexpr std::uint16_t kLength = 512;

  IntelTxRing() {
    memory_.space().attach(queue_.memory());
    queue_.configure({.ring = Iova{test::kTxRing}, .length = kLength});
    queue_.enable();
  }
  ~IntelTxRing() override { memory_.space().detach(queue_.memory()); }

  void post(std::uint64_t low, std::uint64_t high) {
    memory_.put64(test::kTxRing + tail_ * 16, low);
    memory_.put64(test::kTxRing + tail_ * 16 + 8, high);
    tail_ = (tail_ + 1) % kLength;
  }
  /// A frame in buffers of about the same size.
  void post_frame(const Bytes& frame, std::size_t buffers, std::uint64_t cmd, std::uint64_t offsets, unsigned tag = 0) {
    memory_.put(next_, frame);
    for (std::size_t i = 0; i < buffers; ++i) {
      const std::size_t begin = frame.size() * i / buffers, end = frame.size() * (i + 1) / buffers;
      const std::uint64_t last = i + 1 == buffers ? test::kEop | test::kRs : 0;
      post(next_ + begin, test::data_word(cmd | last, end - begin, offsets, tag));
    }
    next_ += (frame.size() + 63) / 64 * 64;
  }
  void post_row(const Row& row, const Bytes& payload) {
    constexpr std::uint64_t kL4s[] = {test::kTcp, test::kUdp, test::kSctp};
    constexpr std::uint64_t kKinds[] = {0, 1, 2, 0};  // L4TUNT
    const std::uint64_t tso = row.mss != 0 ? 1 : 0;
    if (row.tunnel != Tunnel::none || tso != 0) {
      const std::uint64_t tunnel = (row.outer.is_v6 ? 1u : 3u) | row.outer.size() / 4 << 2 |
                                   kKinds[static_cast<int>(row.tunnel)] << 9 | row.tunnel_size() / 2 << 12 |
                                   (row.outer_sum ? 1u << 23 : 0u);
      post(row.tunnel == Tunnel::none ? 0 : tunnel, test::context_word(tso, tso * row.payload, row.mss));
    }
    const std::uint64_t cmd = kL4s[static_cast<int>(row.l4)] | (row.ip.is_v6 ? test::kIpv6 : test::kIpv4Sum) |
                              (row.tag >= 0 ? test::kInsertTag1 : 0);
    post_frame(undone(row, payload), row.descriptors, cmd, test::offsets(row.l2_size(), row.ip.size(), row.l4_size()),
               static_cast<unsigned>(std::max(row.tag, 0)));
  }
  /// The frames that leave, as a receiver without any offload gets them; one that was lost has no bytes.
  std::vector<Bytes> take() {
    std::vector<Bytes> frames;
    while (const std::size_t count = queue_.peek(views_, tail_, VlanOffload{})) {
      for (const packet::FrameView& view : std::span{views_}.first(count)) {
        packet::Pieces pieces{view, {.max_frame = 65536}};
        while (const packet::Piece* piece = pieces.next()) {
          frames.emplace_back(piece->length);
          const std::span<std::byte> to[] = {std::as_writable_bytes(std::span{frames.back()})};
          pieces.copy(to);
        }
      }
      static_cast<void>(queue_.complete(count));
    }
    return frames;
  }

  test::Memory memory_{8 << 20};
  TxQueue queue_{"test", 0};
  std::array<packet::FrameView, 32> views_;
  std::uint32_t tail_ = 0;
  std::uint64_t next_ = test::kBuffers + 3;
};

class IntelTxExtremes : public IntelTxRing, public testing::WithParamInterface<unsigned> {};

TEST_P(IntelTxExtremes, LeaveWholeAndSoDoesTheNextFrame) {
  const Row row = row_of(GetParam());
  SCOPED_TRACE(testing::PrintToString(row));
  const Bytes payload = pattern(row.payload, GetParam());
  post_row(row, payload);
  post_frame(pattern(64), 1, 0, 0);
  std::vector<Bytes> all = expected(row, payload);
  all.push_back(pattern(64));
  EXPECT_EQ(take(), all);
  EXPECT_FALSE(queue_.is_stopped());
  EXPECT_EQ(queue_.counters().errors.get(), 0u);
  EXPECT_EQ(queue_.counters().frames.get(), all.size());
}
INSTANTIATE_TEST_SUITE_P(Seeds, IntelTxExtremes, testing::Range(0u, 500u));

// More of them than have room in one burst.
TEST_F(IntelTxRing, ABurstOfLongHeadersLeavesInOrder) {
  const Row row{.ip = {true, 464}, .payload = 10};
  std::vector<Bytes> all;
  for (unsigned i = 0; i < 20; ++i) {
    post_row(row, pattern(10, i));
    all.push_back(expected(row, pattern(10, i)).front());
  }
  EXPECT_EQ(take(), all);
}

// Requests that nothing can be made of. What a queue of the part would stop at (MDD) costs no more than the
// frame here: a stack reaches it with a packet socket, or with a protocol that its driver has forgotten.
struct Nonsense {
  const char* name;
  std::uint64_t context_low, context_high;  // both 0: no context descriptor
  std::uint64_t cmd, offsets;
  std::size_t size;
  bool leaves;
};
constexpr std::uint64_t kTunnelOnly = 3 | 20 / 4 << 2 | 1 << 9 | 30 / 2 << 12;
const Nonsense kNonsense[] = {
    {"headers beyond the frame", 0, 0, test::kIpv4Sum | test::kTcp, test::offsets(14, 60, 20), 64, true},
    {"TCP where IP is", 0, 0, test::kIpv4 | test::kTcp, test::offsets(14, 0, 20), 100, true},
    {"no Ethernet header", 0, 0, test::kIpv4 | test::kTcp, test::offsets(0, 20, 20), 100, true},
    {"an IPv6 header of 20 bytes", 0, 0, test::kIpv6 | test::kUdp, test::offsets(14, 20, 8), 100, true},
    {"a transport without IP", 0, 0, test::kTcp, test::offsets(14, 20, 20), 100, true},
    {"a tunnel beyond the frame", kTunnelOnly | 508 / 4 << 2, test::context_word(0, 0, 0), test::kIpv4Sum | test::kTcp,
     test::offsets(14, 20, 20), 100, true},
    {"a segment size of 0", 0, test::context_word(1, 400, 0), test::kIpv4Sum | test::kTcp, test::offsets(14, 20, 20),
     454, false},
    {"segments of what is no transport", 0, test::context_word(1, 400, 100), test::kIpv4Sum, test::offsets(14, 20, 20),
     454, false},
    {"segments of SCTP", 0, test::context_word(1, 400, 100), test::kIpv4Sum | test::kSctp, test::offsets(14, 20, 12),
     454, false},
    {"segments of what is not IP", 0, test::context_word(1, 400, 100), test::kIpv4Sum | test::kTcp,
     test::offsets(14, 20, 20), 454, false},
    {"more headers than bytes to be segmented", 0, test::context_word(1, 400, 100), test::kIpv6 | test::kTcp,
     test::offsets(14, 508, 60), 454, false},
    {"a tag for a frame without addresses", 0, 0, test::kInsertTag1, 0, 10, false},
};

class IntelTxNonsense : public IntelTxRing, public testing::WithParamInterface<Nonsense> {};

TEST_P(IntelTxNonsense, CostsTheFrameAtMost) {
  const Nonsense& row = GetParam();
  const Bytes frame = pattern(row.size);
  if (row.context_high != 0) post(row.context_low, row.context_high);
  post_frame(frame, 1, row.cmd, row.offsets);
  post_frame(pattern(64, 2), 1, 0, 0);
  EXPECT_EQ(take(), (std::vector<Bytes>{row.leaves ? frame : Bytes{}, pattern(64, 2)}));
  EXPECT_FALSE(queue_.is_stopped());
  EXPECT_EQ(queue_.counters().errors.get(), 1u);
  EXPECT_EQ(queue_.counters().frames.get(), row.leaves ? 2u : 1u);
  EXPECT_EQ(memory_.get64(test::kTxRing + (tail_ - 2) * 16 + 8) & 0xf, test::kDone);
}
INSTANTIATE_TEST_SUITE_P(Rows, IntelTxNonsense, testing::ValuesIn(kNonsense), [](const auto& test) {
  std::string name = test.param.name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
});

// Linux has summed such a frame itself (a protocol in a tunnel that the part does not know), and gives no lengths.
TEST_F(IntelTxRing, ATunnelOfWhichNothingIsAskedIsNoError) {
  post(kTunnelOnly & ~1ull, test::context_word(0, 0, 0));
  post_frame(pattern(200), 1, 0, 0);
  EXPECT_EQ(take(), std::vector<Bytes>{pattern(200)});
  EXPECT_EQ(queue_.counters().errors.get(), 0u);
}

TEST_F(IntelTxRing, EveryDescriptorOfTheLongestFrameMayAskForAReport) {
  const Row row{.payload = 250 * 16, .mss = 1000};
  post(0, test::context_word(1, row.payload, row.mss));
  const Bytes frame = undone(row, pattern(row.payload));
  memory_.put(next_, frame);
  for (std::size_t i = 0; i < 255; ++i) {
    const std::size_t begin = frame.size() * i / 255, end = frame.size() * (i + 1) / 255;
    post(next_ + begin, test::data_word(test::kIpv4Sum | test::kTcp | test::kRs | (i == 254 ? test::kEop : 0),
                                        end - begin, test::offsets(14, 20, 20)));
  }
  EXPECT_EQ(take(), expected(row, pattern(row.payload)));
  EXPECT_EQ(memory_.get64(test::kTxRing + 16 + 8) & 0xf, test::kDone);
}

}  // namespace
}  // namespace vmux::intel
