// SPDX-License-Identifier: BSD-3-Clause
#include "vfio_user/dma_channel.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "vfio_user/saved_session.hpp"

namespace vmux::vfio_user {
namespace {

using wire::vfio_user::Command;
using wire::vfio_user::DmaAccess;
using wire::vfio_user::QemuDmaAccess;
namespace flags = wire::vfio_user::header_flags;

constexpr std::size_t kQemuPadding = sizeof(DmaAccess) - sizeof(QemuDmaAccess);

bool is_zero(std::span<const std::byte> bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

void DmaChannel::negotiated(Layout layout, std::size_t max_count) noexcept {
  layout_ = layout;
  max_count_ = std::max<std::size_t>(max_count, 1);
}

void DmaChannel::read(Iova from, std::span<std::byte> into, Done done) {
  transfers_.push_back({false, from.raw, into, {}, into.size(), 0, std::move(done)});
  wake_();
}

void DmaChannel::write(Iova to, std::span<const std::byte> from, Done done) {
  transfers_.push_back({true, to.raw, {}, {from.begin(), from.end()}, from.size(), 0, std::move(done)});
  wake_();
}

void DmaChannel::pump() {
  if (flight_ != Flight::none || transfers_.empty()) return;
  const Transfer& transfer = transfers_.front();
  if (layout_ == Layout::unknown) return send_probe(transfer);
  send_chunk(transfer);
}

std::span<std::byte> DmaChannel::append_request(Command command, std::size_t payload_size) {
  Header header;
  header.id = ++next_id_;
  header.command = static_cast<std::uint16_t>(command);
  header.size = static_cast<std::uint32_t>(sizeof(Header) + payload_size);
  header.flags = flags::kCommand;
  return wire::vfio_user::put(transport_->append(header.size), header);
}

// A write of nothing changes nothing; its reply has a payload by the specification, and none from QEMU.
void DmaChannel::send_probe(const Transfer& transfer) {
  flight_ = Flight::probe;
  DmaAccess access;
  access.address = transfer.address;
  wire::vfio_user::put(append_request(Command::dma_write, sizeof access), access);
}

void DmaChannel::send_chunk(const Transfer& transfer) {
  flight_ = Flight::chunk;
  chunk_ = std::min(transfer.size - transfer.moved, max_count_);
  DmaAccess access;
  access.address = transfer.address + transfer.moved;
  access.count = chunk_;
  if (!transfer.is_write) {
    // QEMU reads the low half of the count: one form suits both.
    wire::vfio_user::put(append_request(Command::dma_read, sizeof access), access);
    return;
  }
  auto payload = append_request(Command::dma_write, sizeof access + chunk_);
  wire::vfio_user::put(payload, access);
  const std::size_t at = layout_ == Layout::qemu ? sizeof(QemuDmaAccess) : sizeof(DmaAccess);
  std::memcpy(payload.data() + at, transfer.bytes.data() + transfer.moved, chunk_);
}

Result<void> DmaChannel::take_read(Transfer& transfer, std::span<const std::byte> payload) {
  if (payload.size() != sizeof(DmaAccess) + chunk_) return fail(Errc::protocol, "a DMA read reply has a wrong size");
  // QEMU leaves zeroes behind the data. Anything else there means that the client follows the specification after all.
  if (layout_ == Layout::qemu && !is_zero(payload.last(kQemuPadding))) layout_ = Layout::specified;
  const std::size_t at = layout_ == Layout::qemu ? sizeof(QemuDmaAccess) : sizeof(DmaAccess);
  if (!transfer.into.empty()) std::memcpy(transfer.into.data() + transfer.moved, payload.data() + at, chunk_);
  return {};
}

bool DmaChannel::take_reply(const Header& header, std::span<const std::byte> payload) {
  if (flight_ == Flight::none || header.id != next_id_ || transfers_.empty()) return false;
  Transfer& transfer = transfers_.front();
  const auto command = static_cast<Command>(static_cast<std::uint16_t>(header.command));
  const bool was_write = flight_ == Flight::probe || transfer.is_write;
  if (command != (was_write ? Command::dma_write : Command::dma_read)) return false;
  const Flight flight = std::exchange(flight_, Flight::none);

  if ((header.flags & flags::kError) != 0) {
    const int code = header.error != 0 && header.error < 4096 ? static_cast<int>(header.error) : EIO;
    // A count that looks huge is what a client of the specification sees in QEMU's layout.
    if (flight == Flight::chunk && transfer.is_write && layout_ == Layout::qemu && code == E2BIG) {
      layout_ = Layout::specified;
      return true;
    }
    finish(fail(Errc::system, "the client refused a DMA request", code));
    return true;
  }
  if (flight == Flight::probe) {
    layout_ = payload.empty() ? Layout::qemu : Layout::specified;
    return true;
  }
  if (!transfer.is_write) {
    if (auto taken = take_read(transfer, payload); !taken) {
      finish(taken);
      return true;
    }
  }
  transfer.moved += chunk_;
  if (transfer.moved == transfer.size) finish({});
  return true;
}

void DmaChannel::finish(Result<void> result) {
  Done done = std::move(transfers_.front().done);
  transfers_.pop_front();
  if (done) done(result);
}

void DmaChannel::abort() {
  flight_ = Flight::none;
  auto orphans = std::exchange(transfers_, {});
  for (auto& transfer : orphans) {
    if (transfer.done) transfer.done(fail(Errc::disconnected, "the client is gone"));
  }
}

bool DmaChannel::save(SavedDma& into) const {
  into.layout = layout_;
  into.flight = flight_;
  into.max_count = max_count_;
  into.chunk = chunk_;
  into.next_id = next_id_;
  if (transfers_.size() > SavedDma::kMostTransfers) return false;
  std::size_t all = 0;
  for (const Transfer& transfer : transfers_) {
    const std::span<const std::byte> bytes = transfer.is_write       ? std::span<const std::byte>{transfer.bytes}
                                             : transfer.into.empty() ? std::span<const std::byte>{}
                                                                     : transfer.into.first(transfer.moved);
    all += bytes.size();
    if (all > SavedDma::kMostBytes) return false;
    const auto* const first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    into.transfers.push_back(
        {transfer.is_write, transfer.address, transfer.size, transfer.moved, {first, first + bytes.size()}});
  }
  return true;
}

tl::expected<void, std::string> DmaChannel::load(SavedDma&& from) {
  const auto is_possible = [](const SavedDma::Transfer& each) {
    const bool has_bytes =
        each.is_write ? each.bytes.size() == each.size : each.bytes.empty() || each.bytes.size() == each.moved;
    return has_bytes && each.moved <= each.size && end_of(Iova{each.address}, ByteCount{each.size});
  };
  const bool is_flying = from.flight != Flight::none;
  const bool has_chunk = from.flight == Flight::chunk;
  if (!std::all_of(from.transfers.begin(), from.transfers.end(), is_possible) ||
      (is_flying && from.transfers.empty()) ||
      (has_chunk && from.chunk > from.transfers.front().size - from.transfers.front().moved)) {
    return tl::unexpected(std::string{"the saved session asks its client for what cannot be"});
  }
  negotiated(from.layout, from.max_count);
  flight_ = from.flight;
  chunk_ = from.chunk;
  next_id_ = from.next_id;
  for (SavedDma::Transfer& each : from.transfers) {
    const auto bytes = std::as_bytes(std::span{each.bytes});
    transfers_.push_back({each.is_write, each.address, {}, {bytes.begin(), bytes.end()}, each.size, each.moved, {}});
  }
  return {};
}

tl::expected<void, std::string> DmaChannel::claim(const Claim& claim) {
  for (Transfer& transfer : transfers_) {
    auto claimed = claim(transfer.is_write, Iova{transfer.address}, transfer.size);
    transfer.done = std::move(claimed.done);
    if (transfer.is_write || claimed.into.empty()) continue;
    const bool fits = claimed.into.size() == transfer.size && transfer.bytes.size() == transfer.moved;
    if (!fits) return tl::unexpected(std::string{"the device claims another transfer than the saved session has"});
    transfer.into = claimed.into;
    std::copy(transfer.bytes.begin(), transfer.bytes.end(), transfer.into.begin());
    transfer.bytes.clear();
  }
  return {};
}

}  // namespace vmux::vfio_user
