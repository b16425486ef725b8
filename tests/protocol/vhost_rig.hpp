// SPDX-License-Identifier: BSD-3-Clause
// A vhost-user server with a device that remembers what it was told, and the raw other end of its socket. A second
// reading of the specification: nothing of the codec is used.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.hpp"
#include "rigs/descriptors.hpp"
#include "vhost_user/server.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::vhost_protocol_test {

using protocol_test::Bytes;

// Requests by number, flags by bit.
inline constexpr unsigned kGetFeatures = 1, kSetFeatures = 2, kSetOwner = 3, kResetOwner = 4, kSetMemTable = 5,
                          kSetLogBase = 6, kSetLogFd = 7, kSetNum = 8, kSetAddr = 9, kSetBase = 10, kGetBase = 11,
                          kSetKick = 12, kSetCall = 13, kSetErr = 14, kGetProtocol = 15, kSetProtocol = 16,
                          kGetQueueNum = 17, kSetEnable = 18, kSendRarp = 19, kSetMtu = 20, kSetChannel = 21,
                          kGetConfig = 24, kSetConfig = 25, kResetDevice = 34, kGetSlots = 36, kAddRegion = 37,
                          kRemRegion = 38, kSetStatus = 39, kGetStatus = 40;
inline constexpr unsigned kVersion = 1, kReply = 4, kNeedReply = 8;
// Protocol features.
inline constexpr std::uint64_t kMq = 1, kLogShm = 1 << 1, kRarp = 1 << 2, kAck = 1 << 3, kMtu = 1 << 4,
                               kBackendReq = 1 << 5, kConfig = 1 << 9, kReset = 1 << 13, kSlots = 1 << 15,
                               kStatus = 1 << 16;
// Features of virtio.
inline constexpr std::uint64_t kLogAll = 1ull << 26, kIndirect = 1ull << 28, kEventIdx = 1ull << 29,
                               kProtocolFeatures = 1ull << 30, kVersion1 = 1ull << 32, kPacked = 1ull << 34;

inline Bytes message(unsigned request, const Bytes& payload = {}, unsigned flags = 0) {
  return Bytes{}.u32(request).u32(kVersion | flags).u32(payload.size()).append(payload);
}
inline Bytes number(unsigned request, std::uint64_t value, unsigned flags = 0) {
  return message(request, Bytes{}.u64(value), flags);
}
inline Bytes ring_state(unsigned request, unsigned index, std::uint32_t value, unsigned flags = 0) {
  return message(request, Bytes{}.u32(index).u32(value), flags);
}

/// The memory of a front end: two regions of one file, with a hole between them in guest addresses.
inline constexpr std::uint64_t kRegionSize = 1 << 20;
inline constexpr std::uint64_t kLowGuest = 0, kLowUser = 0x7f0000000000, kHighGuest = 1ull << 32,
                               kHighUser = kLowUser + kRegionSize;
inline Bytes region(std::uint64_t guest, std::uint64_t size, std::uint64_t user, std::uint64_t offset) {
  return Bytes{}.u64(guest).u64(size).u64(user).u64(offset);
}
inline Bytes both_regions(unsigned flags = 0) {
  return message(kSetMemTable,
                 Bytes{}
                     .u32(2)
                     .u32(0)
                     .append(region(kLowGuest, kRegionSize, kLowUser, 0))
                     .append(region(kHighGuest, kRegionSize, kHighUser, kRegionSize)),
                 flags);
}
/// Where this test's rings lie: 8 KiB each, in the first region.
inline Bytes ring_addresses(unsigned index, unsigned log = 0, std::uint64_t log_address = 0, unsigned flags = 0,
                            std::uint64_t base = kLowUser) {
  const std::uint64_t at = base + 0x10000 + index * 0x2000ull;
  return message(kSetAddr, Bytes{}.u32(index).u32(log).u64(at).u64(at + 0x1800).u64(at + 0x1000).u64(log_address),
                 flags);
}

/// Tells what it hears, one line each, and answers what it is set to.
class TestDevice final : public virtio::Device {
 public:
  std::uint16_t kind() const noexcept override { return kind_of_device; }
  std::uint64_t features() const noexcept override { return offered; }
  unsigned queue_count() const noexcept override { return queues; }
  std::uint16_t max_size(unsigned) const noexcept override { return 256; }
  bool is_control(unsigned queue) const noexcept override { return queue + 1 == queues; }
  void connect(virtio::Signals& to, memory::AddressSpace& memory) override;
  void disconnect() noexcept override { signals = nullptr; }
  void set_dma(bool enabled) noexcept override { dma = enabled; }
  bool accept(std::uint64_t features) noexcept override;
  void read_config(std::size_t offset, std::span<std::byte> into) const noexcept override;
  void write_config(std::size_t offset, std::span<const std::byte> from) noexcept override {
    heard.push_back("config " + std::to_string(offset) + " " + std::to_string(from.size()));
  }
  void call_changed(unsigned queue) noexcept override { other_calls.push_back(queue); }
  void start_queue(unsigned queue, const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept override;
  virtio::QueueState stop_queue(unsigned queue) noexcept override;
  virtio::QueueState queue_state(unsigned queue) noexcept override { return states[queue]; }
  void kicked(unsigned queue) noexcept override { heard.push_back("kick " + std::to_string(queue)); }
  void reset(bool client_gone) noexcept override { heard.push_back(client_gone ? "gone" : "reset"); }
  void pause() noexcept override {}
  void resume() noexcept override {}
  void save(state::Writer&) const override {}
  tl::expected<void, std::string> load(state::Reader&) override { return {}; }

  /// What was heard since this was asked last.
  [[nodiscard]] std::vector<std::string> take_heard() { return std::exchange(heard, {}); }

  std::uint16_t kind_of_device = 1;
  std::uint64_t offered = kIndirect | kEventIdx | kPacked | 1ull << 3 | 1ull << 22;
  unsigned queues = 9;  // four pairs and a control queue
  std::uint16_t mtu = 9000;
  bool accepts = true, dma = false;
  std::uint64_t accepted = 0;
  virtio::Signals* signals = nullptr;
  memory::AddressSpace* space = nullptr;
  std::array<virtio::QueueSetup, 16> setups{};
  std::array<virtio::QueueState, 16> states{};  // given at the start, and at the stop as the test has left them
  std::array<bool, 16> runs{};
  std::vector<std::string> heard;
  std::vector<unsigned> other_calls;
};

struct Reply {
  unsigned request = 0, flags = 0, size = 0;
  Bytes payload;
  [[nodiscard]] std::uint64_t number() const { return payload.number_at(0, 8); }
};

using rigs::new_eventfd;
using rigs::new_memfd;
using rigs::open_fds;

class Rig {
 public:
  explicit Rig(vhost_user::ServerOptions options = {});

  void connect();  ///< a fresh socketpair, adopted by the server
  void hang_up();
  void send(const Bytes& bytes, const std::vector<int>& fds = {});
  void settle();
  [[nodiscard]] std::optional<Reply> receive();
  Reply ask(const Bytes& bytes, const std::vector<int>& fds = {});
  /// The server ended the connection, and nothing is left to read.
  [[nodiscard]] bool is_closed();
  [[nodiscard]] int raw() const noexcept { return peer_.get(); }

  /// As QEMU begins: features, protocol features, owner.
  void greet(std::uint64_t protocol = kMq | kLogShm | kAck | kReset | kSlots | kStatus,
             std::uint64_t features = kVersion1 | kProtocolFeatures);
  /// And goes on: memory in one file.
  void give_memory();
  /// And starts a ring: size 16, enabled.
  void start_ring(unsigned index, std::uint32_t base = 0);
  /// What the guest has at this address of the memory that give_memory() gave.
  [[nodiscard]] std::byte* guest(std::uint64_t address);

  TestDevice device;
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<vhost_user::Server> server;
  UniqueFd memory = new_memfd(2 * kRegionSize);
  std::array<UniqueFd, 16> kicks, calls;

 private:
  Mapping mapping_;
  UniqueFd peer_;
  Bytes incoming_;
  bool has_ended_ = false;
};

/// A reply of exactly these flags, and a number in it.
::testing::AssertionResult is_number(const Reply& reply, unsigned request, std::uint64_t value);

}  // namespace vmux::vhost_protocol_test
