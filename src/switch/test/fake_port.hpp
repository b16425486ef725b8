// SPDX-License-Identifier: BSD-3-Clause
// For tests: a port whose frames the test writes and reads.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "packet/test/test_frames.hpp"
#include "packet/transfer.hpp"
#include "port/port.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::switching::test {

using packet::test::Bytes;

struct Sent {
  Bytes bytes;
  packet::Offload offload;
};

class FakePort final : public port::Port {
 public:
  // Written by the test, between rounds.
  std::deque<Sent> outgoing;
  packet::Accepts takes{.max_frame = 1518};
  bool ready = true;
  std::uint16_t queue = port::kNoQueue;      // of what it sends; frames of a delivery go there and behind
  std::size_t room = 1000;                   // frames that deliver() still takes
  std::size_t header = packet::kHeaderRoom;  // bytes of a frame that are its header
  std::deque<port::DropReason> loses;        // of those taken: why the next ones are lost
  // Read by the test, between rounds.
  std::vector<Bytes> inbox;
  std::vector<std::size_t> deliveries;    // frames of each deliver()
  std::vector<port::DropReason> results;  // of the frames that were sent
  unsigned rounds = 0, looks = 0;         // rounds with deliveries; how often it was asked for frames

  using Port::publish;
  void send(Bytes bytes, packet::Offload offload = {}) { outgoing.push_back({std::move(bytes), offload}); }

  void begin_round() noexcept override {
    VMUX_ASSERT(!is_in_round_);
    is_in_round_ = true;
    was_delivered_to_ = false;
  }
  void end_round() noexcept override {
    VMUX_ASSERT(is_in_round_);
    is_in_round_ = false;
    if (was_delivered_to_) ++rounds;
  }
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    VMUX_ASSERT(is_in_round_);
    ++looks;
    const std::size_t count = std::min(into.size(), outgoing.size());
    payloads_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const packet::Slice all = packet::test::slice(outgoing[i].bytes);
      into[i].header = all.first(std::min(all.size(), header));
      payloads_[i] = all.subspan(into[i].header.size());
      into[i].payload = std::span{payloads_}.subspan(i, payloads_[i].empty() ? 0 : 1);
      into[i].length = static_cast<std::uint32_t>(all.size());
      into[i].offload = outgoing[i].offload;
    }
    return count;
  }
  void finish(std::span<const port::FrameResult> what) noexcept override {
    for (const port::FrameResult& result : what)
      results.push_back(result.dropped);
    outgoing.erase(outgoing.begin(), outgoing.begin() + static_cast<std::ptrdiff_t>(what.size()));
  }
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override {
    VMUX_ASSERT(is_in_round_);
    was_delivered_to_ = true;
    deliveries.push_back(frames.size());
    port::Delivery done{.taken = std::min(room, frames.size())};
    for (std::size_t i = 0; i < done.taken; ++i) {
      if (loses.empty()) {
        keep(frames[i]);
      } else {
        done.lose(loses.front(), frames[i].length, i);
        loses.pop_front();
      }
    }
    room -= done.taken;
    return done;
  }
  [[nodiscard]] std::uint16_t taken_from() const noexcept override { return queue; }
  [[nodiscard]] std::uint16_t given_to(std::size_t at) const noexcept override {
    return queue == port::kNoQueue ? queue : static_cast<std::uint16_t>(queue + at);
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return takes; }
  [[nodiscard]] bool needs_polling() const noexcept override { return true; }
  [[nodiscard]] bool is_ready() const noexcept override { return ready; }

 private:
  void keep(const packet::FrameView& view) {
    packet::Pieces pieces{view, takes};
    while (const packet::Piece* piece = pieces.next()) {
      Bytes bytes(piece->length);
      const std::span<std::byte> to[] = {std::as_writable_bytes(std::span{bytes})};
      pieces.copy(to);
      inbox.push_back(std::move(bytes));
    }
  }
  std::vector<packet::Slice> payloads_;
  bool is_in_round_ = false, was_delivered_to_ = false;
};

/// An Ethernet frame between two stations named by one byte each (0xff: everyone), with tags as given.
inline Bytes frame(std::uint8_t to, std::uint8_t from, std::optional<unsigned> tci = {}, std::size_t payload = 46) {
  Bytes out = to == 0xff ? Bytes(6, 0xff) : Bytes{2, 0, 0, 0, 0, to};
  packet::test::append(out, {2, 0, 0, 0, 0, from});
  if (tci) {
    packet::test::append16(out, 0x8100);
    packet::test::append16(out, *tci);
  }
  packet::test::append16(out, 0x88b5);  // local experimental
  packet::test::append(out, packet::test::pattern(payload, to * 251u + from));
  return out;
}

}  // namespace vmux::switching::test
