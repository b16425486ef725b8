// SPDX-License-Identifier: BSD-3-Clause
#include "backend/dpdk/dpdk_port.hpp"

#include <rte_lcore.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "backend/dpdk/eal.hpp"
#include "backend/dpdk/ethdev.hpp"
#include "packet/headers.hpp"
#include "packet/transfer.hpp"

namespace vmux::backend {
namespace {

using port::DropReason;

constexpr std::size_t kMaxSegments = 40;  // of one frame: 64 KiB in default mbufs, and some
constexpr std::uint16_t kTcpChecksum = 16, kUdpChecksum = 6;
constexpr std::size_t kTag = 4, kIpv6 = 40;                          // bytes
constexpr std::size_t kLongestL2 = (1 << RTE_MBUF_L2_LEN_BITS) - 1;  // bytes that an mbuf can say
// Pieces that every driver's transmit path cuts (of i40e and iavf: 256 to 9668 bytes); others are cut here.
constexpr std::uint16_t kMinTsoPiece = 256, kMaxTsoPiece = 9668;
constexpr std::uint64_t kLookAtLink_ns = 250'000'000;

packet::Slice bytes_of(const rte_mbuf& mbuf) noexcept {
  return {rte_pktmbuf_mtod(&mbuf, const std::byte*), mbuf.data_len};
}

// A device's checksums are for TCP and UDP; anything else that is asked for is finished here. So are those behind IPv6
// extension headers: drivers make the pseudo-header anew (rte_net_intel_cksum_prepare()), and take the type and length
// of the first extension header for those of the segment; and those whose IP header is further behind than an mbuf
// says.
packet::Accepts accepts_for(const packet::FrameView& view, packet::Accepts accepts) noexcept {
  const packet::Offload& offload = view.offload;
  if (!accepts.checksum || !offload.needs_checksum) return accepts;
  const auto headers = packet::parse(view.header);
  const bool tcp = headers && headers->l4 == packet::L4::tcp && offload.csum_offset == kTcpChecksum;
  const bool udp = headers && headers->l4 == packet::L4::udp && offload.csum_offset == kUdpChecksum;
  accepts.checksum = (tcp || udp) && headers->l4_offset == offload.csum_start && !headers->is_fragment &&
                     headers->l3_offset + kTag <= kLongestL2 &&
                     (headers->l3 != packet::L3::ipv6 || headers->l4_offset == headers->l3_offset + kIpv6);
  if (offload.gso_size < kMinTsoPiece || offload.gso_size > kMaxTsoPiece) accepts.gso_tcp4 = accepts.gso_tcp6 = false;
  return accepts;
}

// Tells the device what is left to do. Lengths are of the piece's own headers (a tag may have been put in).
void describe_tx(const packet::Piece& piece, rte_mbuf& mbuf) noexcept {
  const packet::Offload& offload = piece.offload;
  if (offload.has_vlan) {
    mbuf.ol_flags |= RTE_MBUF_F_TX_VLAN;
    mbuf.vlan_tci = offload.vlan_tci;
  }
  if (!offload.needs_checksum) return;
  const auto headers = packet::parse(piece.header);
  if (!headers) return;
  const bool v4 = headers->l3 == packet::L3::ipv4;
  mbuf.l2_len = headers->l3_offset & 0x7f;
  mbuf.l3_len = static_cast<std::uint16_t>(headers->l4_offset - headers->l3_offset) & 0x1ff;
  mbuf.l4_len = static_cast<std::uint8_t>(headers->payload_offset - headers->l4_offset);
  mbuf.ol_flags |= v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  mbuf.ol_flags |= headers->l4 == packet::L4::tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
  if (offload.gso == packet::Gso::none) return;
  mbuf.ol_flags |= RTE_MBUF_F_TX_TCP_SEG | (v4 ? RTE_MBUF_F_TX_IP_CKSUM : 0);
  mbuf.tso_segsz = offload.gso_size;
}

}  // namespace

struct DpdkPort::Impl {
  explicit Impl(runtime::Poller& its_poller) noexcept : poller(its_poller) {}

  runtime::Poller& poller;
  std::unique_ptr<dpdk::EthDev> device;
  std::optional<runtime::Timer> look_at_link;  // made and destroyed on the poller
  bool is_up = true;

  // Received and not yet finished, oldest first.
  std::array<rte_mbuf*, port::kMaxBurst> received{};
  std::array<std::array<packet::Slice, kMaxSegments>, port::kMaxBurst> slices;
  std::size_t pending = 0;

  // Ready to be sent, and the frame that each belongs to.
  std::array<rte_mbuf*, port::kMaxBurst> ready{};
  std::array<std::size_t, port::kMaxBurst> frame_of{};
  std::size_t ready_count = 0;
  std::size_t lost_frame = 0;  // the last one that was lost: of several pieces more than one may be refused

  void free_received(std::size_t count) noexcept;
  [[nodiscard]] bool view(std::size_t index, packet::FrameView& out) noexcept;
  [[nodiscard]] rte_mbuf* fill(packet::Pieces& pieces, const packet::Piece& piece) noexcept;
  [[nodiscard]] bool send_ready(std::span<const packet::FrameView> frames, port::Delivery& done) noexcept;
  void follow_link() noexcept;
};

DpdkPort::DpdkPort(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<std::unique_ptr<DpdkPort>> DpdkPort::create(const DpdkOptions& options, runtime::Poller& poller) {
  if (options.device.empty()) return fail(Errc::invalid_argument, "a DPDK uplink needs an EAL device argument");
  if (auto ok = dpdk::start_eal(options.device); !ok) return tl::unexpected(ok.error());
  auto impl = std::make_unique<Impl>(poller);
  auto device = dpdk::EthDev::create(options);
  if (!device) return tl::unexpected(device.error());
  impl->device = std::move(*device);
  // With a number of its own the poller has mbuf caches of its own; without one it works, through the shared ring.
  poller.call([&impl = *impl] {
    if (rte_lcore_id() == LCORE_ID_ANY) static_cast<void>(rte_thread_register());
    impl.look_at_link.emplace(impl.poller, [&impl] { impl.follow_link(); });
    impl.follow_link();
  });
  return std::unique_ptr<DpdkPort>(new DpdkPort(std::move(impl)));
}

DpdkPort::~DpdkPort() {
  impl_->poller.call([this] { impl_->look_at_link.reset(); });
  impl_->free_received(impl_->pending);
}

// Asked for, since few of these devices tell of it by an event. One that tells nothing counts as up.
void DpdkPort::Impl::follow_link() noexcept {
  rte_eth_link link{};
  is_up = rte_eth_link_get_nowait(device->id(), &link) != 0 || link.link_status == RTE_ETH_LINK_UP;
  look_at_link->arm_after(kLookAtLink_ns);
}

bool DpdkPort::Impl::view(std::size_t index, packet::FrameView& out) noexcept {
  const rte_mbuf& mbuf = *received[index];
  const packet::Slice first = bytes_of(mbuf);
  out = {};
  out.header = first.first(std::min(first.size(), packet::kHeaderRoom));
  out.length = mbuf.pkt_len;
  auto& parts = slices[index];
  std::size_t count = 0;
  if (first.size() > out.header.size()) parts[count++] = first.subspan(out.header.size());
  for (const rte_mbuf* next = mbuf.next; next != nullptr; next = next->next) {
    if (count == parts.size()) return false;
    parts[count++] = bytes_of(*next);
  }
  out.payload = std::span{parts}.first(count);
  out.offload.checksum_verified = (mbuf.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  out.offload.has_vlan = (mbuf.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0;
  out.offload.vlan_tci = mbuf.vlan_tci;
  return out.header.size() >= std::min<std::size_t>(out.length, 64) && packet::is_consistent(out);
}

std::size_t DpdkPort::take(std::span<packet::FrameView> into) noexcept {
  Impl& impl = *impl_;
  const std::size_t wanted = std::min(into.size(), impl.received.size());
  if (impl.pending < wanted) {
    impl.pending += rte_eth_rx_burst(impl.device->id(), 0, impl.received.data() + impl.pending,
                                     static_cast<std::uint16_t>(wanted - impl.pending));
  }
  std::size_t count = 0;
  while (count < std::min(wanted, impl.pending)) {
    if (impl.view(count, into[count])) {
      ++count;
      continue;
    }
    counters().drops(DropReason::malformed).add();
    rte_pktmbuf_free(impl.received[count]);
    std::move(impl.received.begin() + static_cast<std::ptrdiff_t>(count) + 1,
              impl.received.begin() + static_cast<std::ptrdiff_t>(impl.pending),
              impl.received.begin() + static_cast<std::ptrdiff_t>(count));
    --impl.pending;
  }
  return count;
}

void DpdkPort::finish(std::span<const port::FrameResult> results) noexcept { impl_->free_received(results.size()); }

void DpdkPort::Impl::free_received(std::size_t count) noexcept {
  count = std::min(count, pending);
  rte_pktmbuf_free_bulk(received.data(), static_cast<unsigned>(count));
  std::move(received.begin() + static_cast<std::ptrdiff_t>(count),
            received.begin() + static_cast<std::ptrdiff_t>(pending), received.begin());
  pending -= count;
}

// The one copy towards a device: into as many mbufs as the piece needs. nullptr when the pool is used up.
rte_mbuf* DpdkPort::Impl::fill(packet::Pieces& pieces, const packet::Piece& piece) noexcept {
  std::array<rte_mbuf*, kMaxSegments> chain;
  std::array<std::span<std::byte>, kMaxSegments> room;
  const std::uint32_t size = rte_pktmbuf_data_room_size(device->pool()) - RTE_PKTMBUF_HEADROOM;
  const std::size_t count = (piece.length + size - 1) / size;
  if (count == 0 || count > chain.size()) return nullptr;
  if (rte_pktmbuf_alloc_bulk(device->pool(), chain.data(), static_cast<unsigned>(count)) != 0) return nullptr;
  std::uint32_t left = piece.length;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t part = std::min(left, size);
    room[i] = {rte_pktmbuf_mtod(chain[i], std::byte*), part};
    chain[i]->data_len = static_cast<std::uint16_t>(part);
    chain[i]->next = i + 1 < count ? chain[i + 1] : nullptr;
    left -= part;
  }
  chain[0]->nb_segs = static_cast<std::uint16_t>(count);
  chain[0]->pkt_len = piece.length;
  pieces.copy(std::span{room}.first(count));
  describe_tx(piece, *chain[0]);
  return chain[0];
}

// Hands what is ready to the device. False when it has no more room: then the rest is freed and `done` says which frame
// it began with. What the driver refuses (tx_prepare stops there) is lost alone: others stand behind it.
bool DpdkPort::Impl::send_ready(std::span<const packet::FrameView> frames, port::Delivery& done) noexcept {
  const std::span<rte_mbuf*> all = std::span{ready}.first(std::exchange(ready_count, 0));
  std::size_t gone = 0;
  while (gone < all.size()) {
    const auto left = static_cast<std::uint16_t>(all.size() - gone);
    const std::uint16_t prepared = rte_eth_tx_prepare(device->id(), 0, &all[gone], left);
    const std::uint16_t sent = rte_eth_tx_burst(device->id(), 0, &all[gone], prepared);
    gone += sent;
    if (sent < prepared) {
      done.taken = frame_of[gone] == lost_frame ? lost_frame + 1 : frame_of[gone];
      rte_pktmbuf_free_bulk(&all[gone], static_cast<unsigned>(all.size() - gone));
      return false;
    }
    if (prepared == left) break;
    if (frame_of[gone] != lost_frame) {
      done.lose(DropReason::malformed, frames[frame_of[gone]].length, frame_of[gone]);
    }
    lost_frame = frame_of[gone];
    rte_pktmbuf_free(all[gone++]);
  }
  return true;
}

port::Delivery DpdkPort::deliver(std::span<const packet::FrameView> frames) noexcept {
  Impl& impl = *impl_;
  port::Delivery done;
  impl.lost_frame = frames.size();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    packet::Pieces pieces{frames[i], accepts_for(frames[i], impl.device->accepts())};
    if (pieces.count() == 0) {  // those in front of it first: what is lost has been taken
      if (!impl.send_ready(frames, done)) return done;
      done.lose(DropReason::malformed, frames[i].length, i);
    }
    while (const packet::Piece* piece = pieces.next()) {
      rte_mbuf* const mbuf = impl.fill(pieces, *piece);
      if (mbuf == nullptr) {
        if (impl.send_ready(frames, done)) done.taken = i;
        return done;
      }
      impl.ready[impl.ready_count] = mbuf;
      impl.frame_of[impl.ready_count++] = i;
      if (impl.ready_count == impl.ready.size() && !impl.send_ready(frames, done)) return done;
    }
  }
  if (impl.send_ready(frames, done)) done.taken = frames.size();
  return done;
}

packet::Accepts DpdkPort::accepts() const noexcept { return impl_->device->accepts(); }
bool DpdkPort::needs_polling() const noexcept { return true; }
bool DpdkPort::is_ready() const noexcept { return impl_->is_up; }

}  // namespace vmux::backend
