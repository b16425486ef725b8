// SPDX-License-Identifier: BSD-3-Clause
// A frame and the virtio-net header in front of it, as they come out of a tap: read, cut, summed, stored, forwarded
// between VLANs and written to another tap. What comes out is compared with a plain reading of the RFCs.
//
// Input: a byte of options (which receiver, how its buffers are cut, which port sends), a tag for the frame, the length
// of the frame, the header of 12 bytes, and the frame's first bytes (zeroes follow).
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "backend/tap/tap_queue.hpp"
#include "fuzz/input.hpp"
#include "packet/flow.hpp"
#include "packet/headers.hpp"
#include "packet/pool.hpp"
#include "packet/test/test_frames.hpp"
#include "packet/transfer.hpp"
#include "switch/rules/rule_key.hpp"
#include "switch/stages/retag.hpp"
#include "switch/test/switch_bench.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::fuzz {
namespace {

using packet::test::Bytes;
using packet::test::plain_sum;

// A tap's descriptor: a datagram each way.
struct Wire {
  explicit Wire(std::size_t header_size) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) ::abort();
    const int room = 1 << 20;
    for (const int end : ends)
      ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    kernel = UniqueFd{ends[0]};
    queue = std::make_unique<backend::TapQueue>(UniqueFd{ends[1]}, header_size);
  }
  UniqueFd kernel;
  std::unique_ptr<backend::TapQueue> queue;
};

// What a receiver with its own entries gets of a frame, and what is still undone then.
struct Arrived {
  Bytes bytes;
  packet::Offload offload;
};

unsigned at16(const Bytes& bytes, std::size_t at) { return static_cast<unsigned>(bytes[at] << 8 | bytes[at + 1]); }

// The checksum of a whole TCP or UDP frame is right when it sums up to all ones with its pseudo-header.
void check_transport_sum(const Bytes& frame) {
  const auto headers = packet::parse(packet::test::slice(frame));
  VMUX_ASSERT(headers && (headers->l4 == packet::L4::tcp || headers->l4 == packet::L4::udp));
  const std::size_t l3 = headers->l3_offset, l4 = headers->l4_offset;
  const bool v4 = headers->l3 == packet::L3::ipv4;
  Bytes sum(frame.begin() + static_cast<std::ptrdiff_t>(l3 + (v4 ? 12 : 8)),
            frame.begin() + static_cast<std::ptrdiff_t>(l3 + (v4 ? 20 : 40)));
  packet::test::append32(sum, static_cast<std::uint32_t>(frame.size() - l4));
  packet::test::append32(sum, headers->l4 == packet::L4::tcp ? 6 : 17);
  sum.insert(sum.end(), frame.begin() + static_cast<std::ptrdiff_t>(l4), frame.end());
  VMUX_ASSERT(plain_sum(sum) == 0xffff);
  if (!v4) return;
  const Bytes header(frame.begin() + static_cast<std::ptrdiff_t>(l3),
                     frame.begin() + static_cast<std::ptrdiff_t>(l3 + (frame[l3] & 0xfu) * 4));
  VMUX_ASSERT(plain_sum(header) == 0xffff);
  VMUX_ASSERT(at16(frame, l3 + 2) == frame.size() - l3);
}

Bytes bytes_of(const packet::FrameView& view) {
  Bytes bytes;
  const auto add = [&bytes](packet::Slice slice) {
    const auto* const from = reinterpret_cast<const std::uint8_t*>(slice.data());
    bytes.insert(bytes.end(), from, from + slice.size());
  };
  add(view.header);
  for (const packet::Slice slice : view.payload)
    add(slice);
  return bytes;
}

// Into buffers of odd sizes: what does not fit into one goes on in the next.
Bytes copy_piece(packet::Pieces& pieces, const packet::Piece& piece, std::size_t step) {
  Bytes bytes(piece.length);
  std::vector<std::span<std::byte>> to;
  for (auto rest = std::as_writable_bytes(std::span{bytes}); !rest.empty(); rest = rest.subspan(to.back().size()))
    to.push_back(rest.first(std::min(step, rest.size())));
  pieces.copy(to);
  return bytes;
}

// A receiver that takes checksums can have the bytes where they lie: they must be the same.
void check_gathered(const packet::Pieces& pieces, const packet::Piece& piece, const Bytes& copied) {
  std::array<packet::Slice, 64> slices;
  const std::size_t count = pieces.gather(slices);
  VMUX_ASSERT(count <= slices.size());
  const packet::FrameView view{
      .header = piece.header, .payload = std::span{slices}.first(count), .length = 0, .offload = {}};
  VMUX_ASSERT(bytes_of(view) == copied);
}

std::vector<Arrived> receive(const packet::FrameView& view, const packet::Accepts& takes, std::size_t step) {
  std::vector<Arrived> out;
  packet::Pieces pieces{view, takes};
  const std::uint32_t count = pieces.count();
  while (const packet::Piece* const piece = pieces.next()) {
    Bytes bytes = copy_piece(pieces, *piece, step);
    VMUX_ASSERT(copy_piece(pieces, *piece, 65'536 + 300) == bytes);  // copying twice gives the same
    if (takes.checksum) check_gathered(pieces, *piece, bytes);
    VMUX_ASSERT(takes.checksum || !piece->offload.needs_checksum);
    VMUX_ASSERT(takes.vlan || !piece->offload.has_vlan);
    out.push_back({std::move(bytes), piece->offload});
  }
  VMUX_ASSERT(out.size() == count);
  return out;
}

// What a frame without super-frame or tag has to look like when its checksum was finished here.
void check_finished(const packet::FrameView& view, const Arrived& arrived) {
  const packet::Offload& offload = view.offload;
  Bytes expected = bytes_of(view);
  const std::size_t field = std::size_t{offload.csum_start} + offload.csum_offset;
  const Bytes summed(expected.begin() + offload.csum_start, expected.end());
  unsigned sum = static_cast<std::uint16_t>(~plain_sum(summed));
  if (sum == 0 && offload.csum_offset == 6) sum = 0xffff;
  packet::test::set16(expected, field, sum);
  VMUX_ASSERT(arrived.bytes == expected);
}

void check_cut(const packet::FrameView& view, const std::vector<Arrived>& pieces, bool is_tagged) {
  const std::size_t header = view.offload.header_length + (is_tagged ? 4u : 0u);
  const Bytes whole = bytes_of(view);
  Bytes payload;
  for (const Arrived& piece : pieces) {
    VMUX_ASSERT(piece.bytes.size() >= header && piece.bytes.size() - header <= view.offload.gso_size);
    payload.insert(payload.end(), piece.bytes.begin() + static_cast<std::ptrdiff_t>(header), piece.bytes.end());
    if (view.offload.csum_start == 0 || !is_tagged) check_transport_sum(piece.bytes);
  }
  VMUX_ASSERT(Bytes(whole.begin() + view.offload.header_length, whole.end()) == payload);
}

constexpr packet::Accepts kReceivers[] = {
    {.max_frame = 70'000},
    {.vlan = true, .max_frame = 70'000},
    {.checksum = true, .max_frame = 70'000},
    {.checksum = true, .gso_tcp4 = true, .gso_tcp6 = true, .gso_udp = true, .max_frame = 70'000},
    {.checksum = true, .gso_tcp4 = true, .vlan = true, .max_frame = 70'000},
};

// So many pieces show a fault, and few enough stay fast.
constexpr std::uint32_t kPieces = 48;

bool is_cut_small(const packet::FrameView& view) {
  const packet::Offload& offload = view.offload;
  return offload.gso != packet::Gso::none && (view.length - offload.header_length) / offload.gso_size > kPieces;
}

void deliver(const packet::FrameView& view, std::size_t step) {
  const packet::Offload& offload = view.offload;
  for (const packet::Accepts& takes : kReceivers) {
    const auto pieces = receive(view, takes, step);
    const bool is_tagged = offload.has_vlan && !takes.vlan;
    VMUX_ASSERT(!pieces.empty());
    if (takes.checksum) continue;
    if (offload.gso != packet::Gso::none) {
      check_cut(view, pieces, is_tagged);
    } else if (offload.needs_checksum && !is_tagged) {
      check_finished(view, pieces.front());
    } else if (!is_tagged) {
      VMUX_ASSERT(pieces.size() == 1 && pieces.front().bytes == bytes_of(view));
    }
  }
}

// Stored for another poller, it is the same frame.
void store(const packet::FrameView& view) {
  static packet::Pool pool{2, 80};
  const auto stored = pool.store(view);
  VMUX_ASSERT(stored && packet::is_consistent(stored.view()));
  VMUX_ASSERT(bytes_of(stored.view()) == bytes_of(view));
}

// To another tap, and what its other end reads.
void write(const packet::FrameView& view, std::size_t header_size) {
  static Wire wires[] = {Wire{10}, Wire{12}};
  Wire& wire = wires[header_size == 12];
  static Bytes read(70'000);
  packet::Pieces pieces{view, {.checksum = true, .gso_tcp4 = true, .gso_udp = true, .max_frame = 70'000}};
  for (unsigned left = 16; left > 0; --left) {
    const packet::Piece* const piece = pieces.next();
    if (piece == nullptr) return;
    VMUX_ASSERT(wire.queue->write(pieces, *piece) == backend::TapOutcome::done);
    const ssize_t size = ::read(wire.kernel.get(), read.data(), read.size());
    VMUX_ASSERT(size == static_cast<ssize_t>(header_size + piece->length));
    const Bytes expected = copy_piece(pieces, *piece, 70'000);
    VMUX_ASSERT(std::equal(expected.begin(), expected.end(), read.begin() + static_cast<std::ptrdiff_t>(header_size)));
  }
}

// --- the switch ---

using switching::test::access;
using switching::test::Bench;
using switching::test::kPlain;
using switching::test::tagged_only;
using switching::test::trunk;

// Ports as their rules; the second reading of them is vlan_of() and carries().
constexpr int kNone = -1;
struct PortRule {
  bool is_access;
  int untagged;                       // kNone: such frames are not let in or out
  std::vector<std::uint16_t> tagged;  // empty: all
};
const std::vector<PortRule> kRules{{false, 0, {}},       {true, 10, {}},    {true, 20, {}},
                                   {false, 0, {10, 20}}, {false, 10, {20}}, {false, kNone, {10, 20}}};

// The VLAN that a frame of this port belongs to, or kNone: it may not enter.
int vlan_of(const PortRule& rule, const Bytes& frame, const packet::Offload& offload) {
  int tag = -1;
  const auto is_tag_at = [&](std::size_t at) { return frame.size() >= at + 4 && at16(frame, at) == 0x8100; };
  if (offload.has_vlan) tag = offload.vlan_tci & 0xfff;
  if (!offload.has_vlan && is_tag_at(12)) tag = static_cast<int>(at16(frame, 14) & 0xfff);
  if (tag == 0xfff) return kNone;
  if (tag == 0 && is_tag_at(offload.has_vlan ? 12 : 16)) return kNone;  // a second tag behind a priority
  if (tag <= 0) return rule.untagged;
  if (rule.is_access) return kNone;
  const bool is_allowed =
      rule.tagged.empty() || std::find(rule.tagged.begin(), rule.tagged.end(), tag) != rule.tagged.end();
  return is_allowed || tag == rule.untagged ? tag : kNone;
}
bool carries(const PortRule& rule, int vlan) {
  if (vlan == rule.untagged) return true;
  if (rule.is_access || vlan == 0) return false;
  return rule.tagged.empty() || std::find(rule.tagged.begin(), rule.tagged.end(), vlan) != rule.tagged.end();
}

void forward(const Bytes& frame, const packet::Offload& offload, std::size_t sender) {
  static switching::test::Bench bench{
      {kPlain, access(10), access(20), trunk(0, {10, 20}), trunk(10, {20}), tagged_only({10, 20})}};
  bench[sender].send(frame, offload);
  bench[sender].send(frame, offload);
  for (const auto& port : bench.ports)
    port->takes.max_frame = 70'000;
  bench.run();
  VMUX_ASSERT(bench[sender].outgoing.empty() && bench[sender].inbox.empty());
  const int vlan = vlan_of(kRules[sender], frame, offload);
  for (std::size_t i = 0; i < kRules.size(); ++i) {
    const bool may_arrive = i != sender && vlan >= 0 && carries(kRules[i], vlan);
    VMUX_ASSERT(may_arrive || bench[i].inbox.empty());
    for (const Bytes& bytes : bench[i].inbox)
      VMUX_ASSERT(!kRules[i].is_access || bytes.size() <= frame.size());
    bench[i].inbox.clear();
    bench[i].room = 1'000'000;
  }
}

// Ports whose tags are not those of the switch, and rules that look at every field and change every one they may. What
// hides its headers goes nowhere; what goes somewhere is no longer than a frame with one more tag.
void forward_ruled(const Bytes& frame, const packet::Offload& offload, std::size_t sender) {
  using namespace switching;
  static Bench* const bench = [] {
    VlanConfig customer, provider = tagged_only({}), mapped = tagged_only({});
    customer.services = {{0, 100, 100}, {101, 4094, 200}};
    provider.has_service_tags = true;
    mapped.translations = {{1, 1000, 2000}};
    auto* const made = new Bench{{customer, provider, mapped, access(100), kPlain, kPlain}};
    std::vector<Rule> rules(6);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      rules[i].name = std::to_string(i);
      rules[i].priority = static_cast<std::uint32_t>(i);
      rules[i].match.mask.protocol = rules[i].match.value.protocol = static_cast<std::uint8_t>(i == 0 ? 0 : 1u << i);
    }
    rules[1].dscp = 46;
    rules[2].vlan = 200;
    rules[3].mark = 1;
    rules[3].redirect = "p4";
    rules[4].way = RuleWay::out;
    rules[4].match.mark = 1;
    rules[5].match.destination_port = L4Ports{1, 0xfffe};
    rules[5].verdict = RuleVerdict::drop;
    VMUX_ASSERT(made->sw->set_rules(rules));
    for (const auto& port : made->ports)
      port->takes.max_frame = 70'000;
    return made;
  }();
  (*bench)[sender].send(frame, offload);
  bench->run();
  VMUX_ASSERT((*bench)[sender].outgoing.empty());
  for (const auto& port : bench->ports) {
    for (const Bytes& bytes : port->inbox)
      VMUX_ASSERT(bytes.size() <= frame.size() + 8 || offload.gso != packet::Gso::none);
    port->inbox.clear();
    port->room = 1'000'000;
  }
}

// The quick way to a key and the long one see the same: a frame and the same behind a tag.
void look_at(const packet::FrameView& view) {
  using namespace switching;
  RuleWords all, key, other;
  all.fill(~0ull);
  if (!PlainFields::is_plain(view.header)) return;
  packet::FrameView tagged = view;
  std::array<std::byte, packet::kLongestHeader + 4> room;
  VMUX_ASSERT(push_tag(tagged, kTypeVlan, 7, room));
  const RuleContext context{.vlan = 7, .port = 1};
  VMUX_ASSERT(rule_key(view, context, all, key) && rule_key(tagged, context, all, other));
  VMUX_ASSERT(is_same(key, other));
}

// --- headers alone ---

void parse(std::span<const std::uint8_t> bytes) {
  const packet::Slice header = std::as_bytes(bytes);
  const auto headers = packet::parse(header);
  VMUX_ASSERT(headers.has_value() == (header.size() >= 14));
  if (headers) VMUX_ASSERT(headers->l3_offset <= headers->payload_offset && headers->payload_offset <= header.size());
  for (std::size_t at = 0; at <= header.size(); at += 2) {
    const auto inner = packet::parse_ip(header, at);
    if (inner) VMUX_ASSERT(inner->l3_offset == at && inner->payload_offset <= header.size());
  }
  VMUX_ASSERT(packet::flow_hash(header) == packet::flow_hash(header));
}

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux;
  using namespace vmux::fuzz;
  static Wire wires[] = {Wire{10}, Wire{12}};
  Input input{data, size};
  const std::uint8_t options = input.u8();
  const std::uint16_t tci = input.u16(), length = input.u16();
  const std::size_t header_size = (options & 1) != 0 ? 12 : 10;
  const auto head = input.bytes(12), frame = input.all();
  parse(frame.first(std::min<std::size_t>(frame.size(), packet::kHeaderRoom)));

  Bytes datagram(header_size + std::max<std::size_t>(length, frame.size()));
  std::copy_n(head.begin(), std::min(head.size(), header_size), datagram.begin());
  std::copy(frame.begin(), frame.end(), datagram.begin() + static_cast<std::ptrdiff_t>(header_size));
  Wire& wire = wires[options & 1];
  if (::send(wire.kernel.get(), datagram.data(), datagram.size(), 0) < 0) return 0;
  std::array<packet::FrameView, 4> views;
  Counter malformed;
  wire.queue->set_readable();
  const std::size_t count = wire.queue->peek(views, malformed);
  VMUX_ASSERT(count + malformed.get() >= 1);
  for (packet::FrameView& view : std::span{views}.first(count)) {
    VMUX_ASSERT(packet::is_consistent(view));
    view.offload.has_vlan = (options & 2) != 0;
    view.offload.vlan_tci = tci;
    store(view);
    write(view, header_size);
    if (is_cut_small(view)) continue;
    if (view.length >= 14) deliver(view, 13 + (options >> 2) * 7u);  // others go no further than the switch
    forward(bytes_of(view), view.offload, options % kRules.size());
    forward_ruled(bytes_of(view), view.offload, options % kRules.size());
    look_at(view);
  }
  wire.queue->complete(count);
  return 0;
}
