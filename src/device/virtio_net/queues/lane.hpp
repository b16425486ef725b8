// SPDX-License-Identifier: BSD-3-Clause
// The queue pairs that one poller owns, as the switch uses them: the one place that knows port::Port.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/mac.hpp"
#include "device/virtio_net/queues/rx.hpp"
#include "device/virtio_net/queues/tx.hpp"
#include "device/virtio_net/rules.hpp"
#include "nic/alarm.hpp"
#include "packet/frame.hpp"
#include "port/port.hpp"
#include "runtime/gate.hpp"
#include "virtio/device.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/arena.hpp"

namespace vmux::device::virtio_net {

struct QueuePair {
  static constexpr std::uint32_t kTxTag = 0x100, kRxTag = 0x200;  // in the arena
  QueuePair(const char* name, unsigned index, nic::Alarm& alarm, state::Arena& arena) noexcept
      : tx(name, index, alarm, arena.place<virtio::QueueJournal>(kTxTag + index)),
        rx(name, index, alarm, arena.place<virtio::QueueJournal>(kRxTag + index)) {}
  TxQueue tx;
  RxQueue rx;
};

/// Lanes are alike; the first one's poller is the device's home. A lane's poller has it between enter() and leave() of
/// its gate for a round. The home thread changes it with change(), at once and without a message, so that what a driver
/// asks for can be answered right away; the wait is for a round at most. At home the two are one thread, and there is
/// nothing to keep apart.
class Lane final : public port::Port, private memory::Observer {
 public:
  /// `at_home`: called in each of the home lane's rounds; none for other lanes.
  Lane(runtime::Poller& poller, bool is_mapped, std::function<void()> at_home)
      : poller_(poller), is_mapped_(is_mapped), at_home_(std::move(at_home)), is_home_(at_home_ != nullptr) {}

  // The home thread:
  void own(unsigned pair, QueuePair& queues) noexcept { pairs_[pair] = &queues; }  ///< before connect()
  void connect(virtio::Signals& signals, memory::AddressSpace& space);
  void disconnect() noexcept;
  void set_dma(bool enabled) noexcept;
  void set_link(bool up) noexcept;
  void set_rules(std::shared_ptr<const RxRules> rules, const packet::Accepts& accepts) noexcept;
  void set_steering(std::shared_ptr<const port::Steering> steering) noexcept { publish(std::move(steering)); }
  void start_tx(unsigned pair, const virtio::QueueSetup& setup, const virtio::QueueState& state,
                const FrameFormat& format) noexcept;
  void start_rx(unsigned pair, const virtio::QueueSetup& setup, const virtio::QueueState& state,
                const FrameFormat& format) noexcept;
  virtio::QueueState stop_tx(unsigned pair) noexcept;
  virtio::QueueState stop_rx(unsigned pair) noexcept;
  [[nodiscard]] virtio::QueueState tx_state(unsigned pair) noexcept;
  [[nodiscard]] virtio::QueueState rx_state(unsigned pair) noexcept;
  /// Queues go on from their journals, which are another's by now; what their drivers may not have heard of they hear
  /// when the lane resumes. False: there is one that cannot be. While paused.
  [[nodiscard]] bool journals_taken_over() noexcept;
  /// Why the queue has stopped: its poller may be finding out at this moment.
  [[nodiscard]] virtio::Fault tx_fault(unsigned pair) noexcept;
  [[nodiscard]] virtio::Fault rx_fault(unsigned pair) noexcept;
  void wake() noexcept { poller_.wake(); }
  /// Of the home lane: the network is told where this station is, in a frame of the card's own.
  void announce(const MacAddress& station) noexcept;
  /// From here to resume() nothing of the guest's is touched, and no interrupt is sent.
  void pause() noexcept;
  void resume() noexcept;

  // port::Port
  void begin_round() noexcept override;
  void end_round() noexcept override;
  std::size_t take(std::span<packet::FrameView> into) noexcept override;
  void finish(std::span<const port::FrameResult> results) noexcept override;
  [[nodiscard]] port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override;
  [[nodiscard]] std::uint16_t taken_from() const noexcept override { return static_cast<std::uint16_t>(last_queue_); }
  [[nodiscard]] std::uint16_t given_to(std::size_t at) const noexcept override {
    const std::uint16_t queue = infos_[at].queue;
    return queue == RxInfo::kNobody || rx_running_ == 0 ? port::kNoQueue : target_of(queue);
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override;
  [[nodiscard]] bool is_ready() const noexcept override;

 private:
  /// For a question that may be asked in a round or beside one.
  template <class F>
  auto inside(F&& what) const noexcept {
    if (is_home_ || is_in_round_) return what();
    gate_.enter();
    const auto answer = what();
    gate_.leave();
    return answer;
  }
  template <class F>
  auto change(F&& what) noexcept {
    struct Closed {
      explicit Closed(Lane& lane) noexcept : lane_(lane) {
        if (!lane_.is_home_) lane_.gate_.close();
      }
      ~Closed() {
        if (lane_.is_home_) return;
        lane_.gate_.open();
        lane_.poller_.wake();
      }
      Lane& lane_;
    } const closed{*this};
    return what();
  }
  void adopt(std::shared_ptr<const memory::Table> table, std::uint64_t generation) noexcept override;
  void hand_out_memory() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return is_link_up_ && is_dma_on_ && !is_paused_; }
  [[nodiscard]] bool can_receive() const noexcept { return rx_running_ != 0; }
  [[nodiscard]] std::size_t peek(std::span<packet::FrameView> into) noexcept;
  [[nodiscard]] std::size_t peek_next(std::uint32_t queues, std::span<packet::FrameView> into) noexcept;
  [[nodiscard]] std::uint32_t arm() noexcept;
  void settle() noexcept;
  /// Where frames for a queue go, if any runs: one that does not, or is another lane's, has them in the first that
  /// does.
  [[nodiscard]] std::uint16_t target_of(unsigned queue) const noexcept {
    const bool runs = (rx_running_ >> queue & 1) != 0;
    return static_cast<std::uint16_t>(runs ? queue : static_cast<unsigned>(std::countr_zero(rx_running_)));
  }
  /// The frames from `first` to the last of `frames`.
  void deliver_run(unsigned queue, std::span<const packet::FrameView> frames, std::size_t first,
                   port::Delivery& done) noexcept;
  void tell_received() noexcept;
  void signal(unsigned queue, QueueCounters& counters) noexcept;

  runtime::Poller& poller_;
  const bool is_mapped_;  // doorbells are memory: the poller has to look
  const std::function<void()> at_home_;
  const bool is_home_;
  mutable runtime::Gate gate_;
  virtio::Signals* signals_ = nullptr;
  std::array<QueuePair*, kMaxPairs> pairs_{};  // null: another lane's
  std::shared_ptr<const RxRules> rules_ = std::make_shared<const RxRules>();
  packet::Accepts accepts_;
  bool is_dma_on_ = false, is_link_up_ = true, is_paused_ = false;
  bool is_in_round_ = false;
  std::uint32_t tx_running_ = 0, rx_running_ = 0;  // bit per pair
  std::uint32_t tx_fresh_ = 0, rx_fresh_ = 0;      // of those, with nothing said about kicks yet
  std::uint32_t armed_ = 0;                        // transmit queues that ask for kicks
  std::uint32_t tx_unsure_ = 0, rx_unsure_ = 0;    // queues whose drivers may not have heard of what was used
  std::uint32_t received_ = 0;                     // queues that have news since the last round
  std::uint32_t last_queue_ = 0;                   // the one that was taken from last
  std::array<RxInfo, port::kMaxBurst> infos_{};
  bool is_announcing_ = false;  // announcement_ is to be sent, or is being sent
  bool has_announced_ = false;  // the burst that was taken last is that
  std::array<std::byte, 60> announcement_{};

  // The home thread's:
  memory::AddressSpace* space_ = nullptr;
  std::shared_ptr<const memory::Table> table_;
};

}  // namespace vmux::device::virtio_net
