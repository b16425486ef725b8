// SPDX-License-Identifier: BSD-3-Clause
// A vhost-user front end that knows nothing of deaths at the other end: requests in pieces, each of which is answered
// once, and frames that come back, each once at least.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "vmux/base/clock.hpp"
#include "whole/vhost_front_end.hpp"

namespace vmux::survival {

namespace front = vhost_front_end;

class VhostScenario {
 public:
  VhostScenario(UniqueFd socket, bool is_packed) : socket_(std::move(socket)), is_packed_(is_packed) {
    const timeval longest{20, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
  }

  std::vector<std::string> run() {
    ask("features", front::message(front::kGetFeatures));
    ask("protocol", front::message(front::kGetProtocol));
    send(front::number(front::kSetProtocol, front::kMq | front::kAck | front::kSlots | front::kStatus));
    ask("queues", front::message(front::kGetQueueNum));
    ask("set features", front::number(front::kSetFeatures, features(), front::kNeedReply));
    give_memory();
    for (const unsigned ring : {kRx, kTx})
      lay_out(ring);
    refill();
    for (std::uint32_t round = 1; round <= 3; ++round) {
      for (const unsigned ring : {kRx, kTx})
        start(ring);
      exchange(40);
      for (const unsigned ring : {kRx, kTx})
        swap(ring);
      exchange(20);
      give_memory();
      exchange(20);
      for (const unsigned ring : {kRx, kTx})
        stop(ring);
      note("base", bases_[kTx]);  // that of the other counts frames that came twice
      ask("status", front::number(front::kSetStatus, round, front::kNeedReply));
    }
    ask("at last", front::message(front::kGetStatus));
    char more = 0;
    note("stray bytes", ::recv(socket_.get(), &more, 1, MSG_DONTWAIT) > 0);
    return std::move(view_);
  }

 private:
  static constexpr unsigned kRx = 0, kTx = 1, kLength = 200, kWindow = 12;
  static constexpr std::uint64_t kPatience_ns = 20'000'000'000;

  template <class T>
  void note(const char* what, T value) {
    view_.push_back(std::string{what} + " " + std::to_string(value));
  }
  [[nodiscard]] std::uint64_t features() const {
    return front::kVersion1 | front::kProtocolFeatures | front::kEventIdx | front::kIndirect | front::kMergeable |
           (is_packed_ ? front::kPacked : 0);
  }

  /// In two pieces: somebody may die between them.
  void send(const front::Bytes& bytes, const std::vector<int>& fds = {}) {
    const std::size_t first = 1 + view_.size() % (bytes.size() - 1);
    const std::span<const std::uint8_t> all{bytes.data(), bytes.size()};
    const auto sent = send_with_fds(socket_.get(), all.first(first), fds);
    if (sent != static_cast<ssize_t>(first) ||
        send_with_fds(socket_.get(), all.subspan(first), {}) != static_cast<ssize_t>(all.size() - first)) {
      view_.emplace_back("the other end is gone");
    }
  }
  front::Bytes answer() {
    constexpr std::size_t kHead = 12;
    front::Bytes reply = front::Bytes{}.zeroes(kHead);
    if (!receive(reply.data(), kHead)) return front::Bytes{}.zeroes(kHead + 8);
    const std::size_t rest = std::min<std::size_t>(reply.number_at(8, 4), 4096);
    reply.zeroes(rest);
    static_cast<void>(receive(reply.data() + kHead, rest));
    return reply;
  }
  bool receive(std::uint8_t* into, std::size_t size) {
    if (size == 0 || ::recv(socket_.get(), into, size, MSG_WAITALL) == static_cast<ssize_t>(size)) return true;
    view_.emplace_back("no answer");
    return false;
  }
  front::Bytes ask(const char* what, const front::Bytes& bytes, const std::vector<int>& fds = {}) {
    send(bytes, fds);
    front::Bytes reply = answer();
    std::string line = what;
    for (const std::uint8_t each : reply)
      line += " " + std::to_string(each);
    view_.push_back(line);
    return reply;
  }
  void give_memory() { ask("memory", front::both_regions(front::kNeedReply), {memory_.get(), memory_.get()}); }

  // --- rings ---
  void lay_out(unsigned ring) {
    const std::uint64_t at = front::ring_at(ring);
    rings_[ring] = std::make_unique<front::VirtioRing>(
        std::span{mapping_.data(), front::kRegionSize}, 0,
        front::VirtioLayout{is_packed_, front::kRingSize, at, at + 0x1000, at + 0x2000});
    for (std::uint32_t token = 0; token < front::kRingSize; ++token)
      tokens_[ring].push_back(token);
    bases_[ring] = is_packed_ ? 0x8000'8000 : 0;
  }
  void start(unsigned ring) {
    ask("enable", front::ring_state(front::kSetEnable, ring, 1, front::kNeedReply));
    ask("size", front::ring_state(front::kSetNum, ring, front::kRingSize, front::kNeedReply));
    ask("base", front::ring_state(front::kSetBase, ring, bases_[ring], front::kNeedReply));
    const std::uint64_t user = front::kLowUser + front::ring_at(ring);
    ask("addresses",
        front::message(front::kSetAddr,
                       front::Bytes{}.u32(ring).u32(0).u64(user).u64(user + 0x2000).u64(user + 0x1000).u64(0),
                       front::kNeedReply));
    swap(ring);
  }
  /// QEMU swaps them as its guest masks vectors, and when it stops and goes on.
  void swap(unsigned ring) {
    calls_[ring] = front::new_eventfd();
    ask("call", front::number(front::kSetCall, ring, front::kNeedReply), {calls_[ring].get()});
    kicks_[ring] = front::new_eventfd();
    ask("kick", front::number(front::kSetKick, ring, front::kNeedReply), {kicks_[ring].get()});
  }
  void stop(unsigned ring) {
    send(front::ring_state(front::kGetBase, ring, 0));
    bases_[ring] = static_cast<std::uint32_t>(answer().number_at(16, 4));
  }
  void kick(unsigned ring) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!kicks_[ring] || !rings_[ring]->wants_kick(true)) return;
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(kicks_[ring].get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }
  std::byte* at(std::uint64_t guest) {
    return mapping_.data() + (guest >= front::kHighGuest ? front::kRegionSize + (guest - front::kHighGuest) : guest);
  }
  void refill() {
    while (!tokens_[kRx].empty()) {
      const std::uint32_t token = tokens_[kRx].front();
      tokens_[kRx].pop_front();
      rings_[kRx]->post({{front::buffer_at(kRx, token), 0x1000, true}}, token);
    }
    kick(kRx);
  }
  [[nodiscard]] static std::byte byte_of(std::uint32_t number, std::size_t place) {
    return std::byte(place < 14 ? 2 : place < 18 ? number >> 8 * (place - 14) & 0xff : (place + number) & 0xff);
  }
  void post(std::uint32_t number) {
    const std::uint32_t token = tokens_[kTx].front();
    tokens_[kTx].pop_front();
    std::byte* const buffer = at(front::buffer_at(kTx, token));
    std::memset(buffer, 0, front::kHeader);
    for (std::size_t i = 0; i < kLength; ++i)
      buffer[front::kHeader + i] = byte_of(number, i);
    rings_[kTx]->post({{front::buffer_at(kTx, token), front::kHeader + kLength, false}}, token);
    kick(kTx);
  }
  /// What has come back: those in a row from `received_` on, and before them some that had come already.
  void look() {
    while (const auto used = rings_[kTx]->take_used())
      tokens_[kTx].push_back(used->token);
    while (const auto used = rings_[kRx]->take_used()) {
      const std::byte* const frame = at(front::buffer_at(kRx, used->token)) + front::kHeader;
      std::uint32_t number = 0;
      std::memcpy(&number, frame + 14, sizeof number);
      bool is_right = used->length == front::kHeader + kLength && number <= received_;
      for (std::size_t i = 0; i < kLength; ++i)
        is_right &= frame[i] == byte_of(number, i);
      if (!is_right) note("not the frame that is next", number);
      if (number == received_) ++received_;
      tokens_[kRx].push_back(used->token);
    }
    refill();
  }
  void exchange(unsigned count) {
    const std::uint32_t last = sent_ + count;
    const std::uint64_t until = monotonic_ns() + kPatience_ns;
    while ((received_ < last || tokens_[kTx].size() < front::kRingSize) && monotonic_ns() < until) {
      while (sent_ < last && sent_ - received_ < kWindow && !tokens_[kTx].empty())
        post(sent_++);
      look();
      ::usleep(50);
    }
    note("frames", received_);
    note("buffers back", tokens_[kTx].size());
  }

  UniqueFd socket_;
  const bool is_packed_;
  UniqueFd memory_ = front::new_memfd(2 * front::kRegionSize);
  Mapping mapping_ = Mapping::create(memory_.get(), 0, 2 * front::kRegionSize, true).value();
  std::unique_ptr<front::VirtioRing> rings_[2];
  std::deque<std::uint32_t> tokens_[2];  // of buffers that are not in the ring
  UniqueFd kicks_[2], calls_[2];
  std::uint32_t bases_[2] = {}, sent_ = 0, received_ = 0;
  std::vector<std::string> view_;
};

}  // namespace vmux::survival
