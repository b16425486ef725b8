// SPDX-License-Identifier: BSD-3-Clause
// What a transport (PCI, vhost-user) and a kind of device (a network card) know of each other. A transport finds out
// what the driver wants and says it in these terms; it does not know what is in a queue, nor the device how its driver
// reaches it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "virtio/queue.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/trace.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/state/arena.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::virtio {

/// The way back to the driver.
class Signals {
 public:
  virtual ~Signals() = default;
  /// Any poller: the driver wants to hear that chains of this queue were used.
  virtual void queue_used(unsigned queue) noexcept = 0;
  /// Home thread: what the kernel may signal in place of queue_used(), until call_changed(); -1: nobody listens, or the
  /// transport has no such thing.
  [[nodiscard]] virtual int eventfd(unsigned /*queue*/) const noexcept { return -1; }
  /// Home thread: what read_config() shows has changed.
  virtual void config_changed() noexcept = 0;
  /// Home thread: something that save() has, and the arena has not, has changed.
  virtual void state_changed() noexcept {}
  /// Home thread: a ring that makes no sense has stopped its queue.
  virtual void queue_failed(unsigned /*queue*/) noexcept {}
};

/// Home thread, all of it. Queues are numbered as the driver numbers them, which may depend on the features that it has
/// accepted. The device has its control queue traced; over vhost-user its transport the protocol, too.
class Device : public Traced {
 public:
  virtual ~Device() = default;

  [[nodiscard]] virtual std::uint16_t kind() const noexcept = 0;  ///< [VIRTIO] 5
  /// Those of the kind and of the rings; which of a transport's own there are is for the transport to say.
  [[nodiscard]] virtual std::uint64_t features() const noexcept = 0;
  [[nodiscard]] virtual unsigned queue_count() const noexcept = 0;                  ///< whatever the features
  [[nodiscard]] virtual std::uint16_t max_size(unsigned queue) const noexcept = 0;  ///< 0: there is no such queue
  /// A driver waits for the answer to what it puts in there, maybe spinning.
  [[nodiscard]] virtual bool is_control(unsigned queue) const noexcept = 0;

  /// Both outlive the connection.
  virtual void connect(Signals& signals, memory::AddressSpace& space) = 0;
  virtual void disconnect() noexcept = 0;
  /// While off, no memory of the guest is touched, on any poller.
  virtual void set_dma(bool enabled) noexcept = 0;

  /// Of features(); false: not in this combination. Before queues are started.
  [[nodiscard]] virtual bool accept(std::uint64_t features) noexcept = 0;
  virtual void read_config(std::size_t offset, std::span<std::byte> into) const noexcept = 0;  ///< 0 beyond its end
  virtual void write_config(std::size_t /*offset*/, std::span<const std::byte> /*from*/) noexcept {}

  /// What `setup` and `state` say can be. The driver is ready: chains may be used from here on.
  virtual void start_queue(unsigned queue, const QueueSetup& setup, const QueueState& state) noexcept = 0;
  /// Nothing of it is touched any more when this returns. Of one that does not run: a new queue's state.
  virtual QueueState stop_queue(unsigned queue) noexcept = 0;
  [[nodiscard]] virtual QueueState queue_state(unsigned queue) noexcept = 0;  ///< not in a round
  /// The driver says that there are new chains.
  virtual void kicked(unsigned queue) noexcept = 0;
  /// Signals::eventfd() of the queue is another one now.
  virtual void call_changed(unsigned /*queue*/) noexcept {}
  /// Stops all queues and forgets the driver; `client_gone`: and its client.
  virtual void reset(bool client_gone) noexcept = 0;
  /// A network card: tells the network where this station is now (a broadcast RARP), for drivers that do not do so
  /// themselves after they have moved.
  virtual void announce(std::span<const std::uint8_t, 6> /*station*/) noexcept {}
  /// As pci::Device::leaving().
  virtual bool leaving() noexcept { return false; }

  /// As those of pci::Savable, for what is the kind's own: queues and features are the transport's to save, and
  /// accepted and started again when load() is called.
  virtual void pause() noexcept = 0;
  virtual void resume() noexcept = 0;
  virtual void save(state::Writer& into) const = 0;
  [[nodiscard]] virtual tl::expected<void, std::string> load(state::Reader& from) = 0;
  /// Behind load(): the driver is where it was, and only its device goes on in another object. Nobody is to be told.
  virtual void has_stayed() noexcept {}
  /// As those of pci::Savable: where queues keep what moves with every burst.
  [[nodiscard]] virtual state::Arena* arena() noexcept { return nullptr; }
  [[nodiscard]] virtual tl::expected<void, std::string> arena_taken_over() { return {}; }
};

}  // namespace vmux::virtio
