// SPDX-License-Identifier: BSD-3-Clause
// An uplink to the host's network stack: a Linux tap interface with virtio-net headers, so that offloads cross it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "port/port.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/result.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::backend {

struct TapOptions {
  std::string name;         ///< interface name, 1 to 15 characters; created if it does not exist
  unsigned queues = 1;      ///< 1 to 16; above 1 the interface is IFF_MULTI_QUEUE
  std::uint32_t mtu = 0;    ///< bytes; 0 leaves the interface's own
  bool set_link_up = true;  ///< bring the interface up
  /// Queues that another process had, in place of opening any: as many as `queues`, in their order. Frames that came
  /// meanwhile are still in them.
  std::vector<int> from;
};

class TapLink;   // the interface's state; tap_link.hpp
class TapQueue;  // one descriptor with its buffers; tap_queue.hpp

/// The queues of an interface that one poller owns: all of them, or a lane of a port. Created and destroyed on a
/// control thread (after it was detached from its switch); the rest on its poller. Lanes share nothing but the
/// interface.
class TapPort final : public port::Port {
 public:
  using Lanes = std::vector<std::unique_ptr<TapPort>>;
  /// A lane on each of `pollers`, as far as there are queues: queue i belongs to lane i modulo their number. Without a
  /// steering: what enters the switch at a poller leaves by the queues there, and the kernel answers a flow by the
  /// queue that the flow came from.
  [[nodiscard]] static Result<Lanes> create(const TapOptions& options, std::span<runtime::Poller* const> pollers);
  /// All queues on one poller.
  [[nodiscard]] static Result<std::unique_ptr<TapPort>> create(const TapOptions& options, runtime::Poller& poller);
  ~TapPort() override;

  std::size_t take(std::span<packet::FrameView> into) noexcept override;
  void finish(std::span<const port::FrameResult> results) noexcept override;
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override;
  [[nodiscard]] packet::Accepts accepts() const noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override { return false; }
  /// False while the interface is down, and when it is gone.
  [[nodiscard]] bool is_ready() const noexcept override { return is_up_ && !is_gone(); }

  /// Any thread: true when the interface was deleted under us; the port stays silent from then on.
  [[nodiscard]] bool is_gone() const noexcept { return gone_.get() != 0; }
  /// The descriptors of its queues.
  [[nodiscard]] std::vector<int> queue_fds() const;
  /// The interface's name.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  TapPort(runtime::Poller& poller, std::string name, const packet::Accepts& accepts, TapLink link);
  [[nodiscard]] Result<void> watch_all();
  void unwatch_all() noexcept;
  void follow_link() noexcept;
  void on_event(TapQueue& queue, std::uint32_t events) noexcept;
  [[nodiscard]] bool write_frame(const packet::FrameView& view, port::Delivery& done) noexcept;
  [[nodiscard]] TapQueue& queue_for(const packet::FrameView& view) noexcept;
  void give_up(int error) noexcept;

  runtime::Poller& poller_;
  std::string name_;
  std::vector<std::unique_ptr<TapQueue>> queues_;
  std::size_t next_ = 0;     // queue to read first
  std::size_t current_ = 0;  // queue whose frames are peeked
  packet::Accepts accepts_;
  std::unique_ptr<TapLink> link_;
  bool is_up_ = true;
  Counter gone_;
};

}  // namespace vmux::backend
