// SPDX-License-Identifier: BSD-3-Clause
// DMA_READ and DMA_WRITE: guest memory without a descriptor, reached by requests to the client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "vfio_user/transport.hpp"
#include "vmux/pci/endpoint.hpp"

namespace vmux::vfio_user {

struct SavedDma;

/// One request is in flight at a time, so transfers keep their order. Requests are only queued when a device asks;
/// pump() sends them, after the reply to what the client is waiting for (a client that waits does not serve us).
/// Home thread.
class DmaChannel final : public pci::MessageDma {
 public:
  /// How a client lays out these two messages. QEMU's differs from the specification, and only a reply tells.
  enum class Layout : std::uint8_t { unknown, specified, qemu };
  /// What the client has yet to answer.
  enum class Flight : std::uint8_t { none, probe, chunk };
  /// Whose a transfer is that another object has begun: see pci::Savable::claim_dma().
  using Claim = std::function<pci::DmaClaim(bool is_write, Iova at, std::size_t size)>;

  /// `wake` is called when a transfer was queued.
  DmaChannel(Transport& transport, std::function<void()> wake) : transport_(&transport), wake_(std::move(wake)) {}

  void negotiated(Layout layout, std::size_t max_count) noexcept;
  /// Requests go over this socket from now on. Before the first transfer.
  void go_over(Transport& transport) noexcept { transport_ = &transport; }
  [[nodiscard]] Layout layout() const noexcept { return layout_; }
  /// Of the last request. Another channel on the same socket goes on behind it: what answers this one is then known.
  [[nodiscard]] std::uint16_t last_id() const noexcept { return next_id_; }
  void go_on_behind(std::uint16_t id) noexcept { next_id_ = id; }

  void read(Iova from, std::span<std::byte> into, Done done) override;
  void write(Iova to, std::span<const std::byte> from, Done done) override;

  /// Queues the next request on the transport when none is in flight.
  void pump();
  /// Every transfer has ended.
  [[nodiscard]] bool is_idle() const noexcept { return transfers_.empty(); }
  /// A reply arrived; false when it answers nothing that was asked.
  [[nodiscard]] bool take_reply(const Header& header, std::span<const std::byte> payload);
  /// The client is gone: every transfer ends with an error.
  void abort();

  /// False: they are more than can be saved.
  [[nodiscard]] bool save(SavedDma& into) const;
  /// Goes on where that channel was. The error is for people.
  [[nodiscard]] tl::expected<void, std::string> load(SavedDma&& from);
  /// Then, and before anything else: finds out whose the transfers are. Nobody's go on, and nobody hears.
  [[nodiscard]] tl::expected<void, std::string> claim(const Claim& claim);
  void forget() noexcept { transfers_.clear(); }

 private:
  struct Transfer {
    bool is_write = false;
    std::uint64_t address = 0;
    std::span<std::byte> into;     // of a read: the caller's, until done; or nobody's, then it is empty
    std::vector<std::byte> bytes;  // of a write: a copy
    std::size_t size = 0, moved = 0;
    Done done;
  };

  void send_probe(const Transfer& transfer);
  void send_chunk(const Transfer& transfer);
  [[nodiscard]] Result<void> take_read(Transfer& transfer, std::span<const std::byte> payload);
  void finish(Result<void> result);
  std::span<std::byte> append_request(wire::vfio_user::Command command, std::size_t payload_size);

  Transport* transport_;
  std::function<void()> wake_;
  Layout layout_ = Layout::unknown;
  std::size_t max_count_ = 4096;
  std::deque<Transfer> transfers_;  // the front one is being moved
  Flight flight_ = Flight::none;
  std::uint16_t next_id_ = 0;
  std::size_t chunk_ = 0;  // bytes of the request in flight
};

}  // namespace vmux::vfio_user
