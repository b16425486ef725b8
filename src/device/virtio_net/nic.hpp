// SPDX-License-Identifier: BSD-3-Clause
// A virtio network card ([VIRTIO] 5.1): a virtio::Device on one side and a network port on the other. Which transport
// leads to its driver it does not know.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mac.hpp"
#include "device/virtio_net/commands.hpp"
#include "device/virtio_net/control_queue.hpp"
#include "device/virtio_net/queues/lane.hpp"
#include "device/virtio_net/settings.hpp"
#include "nic/alarm.hpp"
#include "port/port.hpp"
#include "virtio/device.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::device::virtio_net {

enum class Doorbell : std::uint8_t {
  poll,  ///< the driver need not tell of what it sends: the poller looks
  trap,  ///< it tells when it is asked to, and nothing has to be polled
};

struct NicOptions {
  std::string name = "virtio-net";  ///< for logs
  MacAddress mac{};
  Doorbell doorbell = Doorbell::poll;
  unsigned queue_pairs = 4;                    ///< 1 to kMaxPairs
  std::uint16_t queue_size = 1024;             ///< descriptors; a power of two
  std::uint16_t mtu = 0;                       ///< what the guest is told to have; 0: it may choose
  std::uint32_t link_mbps = 100'000;           ///< what the guest is told
  std::uint64_t features_withheld = 0;         ///< not offered
  std::vector<runtime::Poller*> more_pollers;  ///< beside the home one: queue pairs are spread over all, home first
};

/// The card's own statistics, beside those of the queues.
struct NicCounters {
  Counter resets;
  Counter commands;  ///< of the control queue
  Counter refused;   ///< those answered with an error
};

/// Home thread, but for the lanes of other pollers (lane.hpp). Destroyed there, or while the poller does not run; and
/// no other poller may use its lanes any more.
class Nic final : public virtio::Device {
 public:
  /// `poller` is the home thread and must outlive the nic.
  [[nodiscard]] static Result<std::unique_ptr<Nic>> create(NicOptions options, runtime::Poller& poller);
  ~Nic() override = default;

  [[nodiscard]] std::vector<port::Port*> lanes() noexcept;  ///< one for each poller that owns queues, home first
  [[nodiscard]] port::Port& port() noexcept { return *lanes_.front(); }
  [[nodiscard]] const NicCounters& nic_counters() const noexcept { return nic_counters_; }
  [[nodiscard]] unsigned pairs() const noexcept { return static_cast<unsigned>(pairs_.size()); }
  [[nodiscard]] const QueueCounters& tx(unsigned pair) const noexcept { return pairs_[pair]->tx.counters(); }
  [[nodiscard]] const QueueCounters& rx(unsigned pair) const noexcept { return pairs_[pair]->rx.counters(); }
  [[nodiscard]] const QueueCounters& control() const noexcept { return control_.counters(); }
  [[nodiscard]] const Settings& settings() const noexcept { return settings_; }
  [[nodiscard]] std::uint64_t accepted() const noexcept { return agreed_.features; }
  [[nodiscard]] const NicOptions& options() const noexcept { return options_; }
  void set_link(bool up) noexcept;
  [[nodiscard]] bool is_link_up() const noexcept { return is_link_up_; }
  /// A driver that is up goes on with the address that it has, and finds this one when it starts anew.
  void set_mac(const MacAddress& mac) noexcept;
  /// What the guest is told of the MTU (0: nothing), and what is taken. A driver that is up may have asked before.
  void set_mtu(std::uint16_t mtu) noexcept;

  // virtio::Device
  [[nodiscard]] std::uint16_t kind() const noexcept override { return wire::virtio::net::kDevice; }
  [[nodiscard]] std::uint64_t features() const noexcept override;
  [[nodiscard]] unsigned queue_count() const noexcept override { return 2 * pairs() + 1; }
  [[nodiscard]] std::uint16_t max_size(unsigned queue) const noexcept override;
  [[nodiscard]] bool is_control(unsigned queue) const noexcept override { return queue == control_index(); }
  void connect(virtio::Signals& signals, memory::AddressSpace& space) override;
  void disconnect() noexcept override;
  void set_dma(bool enabled) noexcept override;
  [[nodiscard]] bool accept(std::uint64_t features) noexcept override;
  void read_config(std::size_t offset, std::span<std::byte> into) const noexcept override;
  void start_queue(unsigned queue, const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept override;
  virtio::QueueState stop_queue(unsigned queue) noexcept override;
  [[nodiscard]] virtio::QueueState queue_state(unsigned queue) noexcept override;
  void kicked(unsigned queue) noexcept override;
  void reset(bool client_gone) noexcept override;
  void announce(std::span<const std::uint8_t, 6> station) noexcept override;
  bool leaving() noexcept override;
  void pause() noexcept override;
  void resume() noexcept override;
  void save(state::Writer& into) const override;
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from) override;
  void has_stayed() noexcept override;
  state::Arena* arena() noexcept override { return &arena_; }
  [[nodiscard]] tl::expected<void, std::string> arena_taken_over() override;

 private:
  Nic(NicOptions options, runtime::Poller& poller, state::Arena arena);
  [[nodiscard]] Lane& lane_of(unsigned pair) noexcept { return *lanes_[pair % lanes_.size()]; }
  /// The number of the control queue, or none (0 is a receive queue's).
  [[nodiscard]] unsigned control_index() const noexcept;
  [[nodiscard]] bool has(std::uint64_t feature) const noexcept { return (agreed_.features & feature) != 0; }
  [[nodiscard]] bool obey(std::uint8_t group, std::uint8_t command, std::span<const std::byte> data) noexcept;
  void serve_control() noexcept;
  void publish() noexcept;
  [[nodiscard]] std::shared_ptr<const RxRules> make_rules();
  [[nodiscard]] packet::Accepts accepts() const noexcept;
  void stop_all() noexcept;
  void forget_driver() noexcept;
  void look_for_faults() noexcept;

  void note_change() noexcept {
    if (signals_ != nullptr) signals_->state_changed();
  }

  NicOptions options_;
  state::Arena arena_;
  nic::Alarm alarm_;
  NicCounters nic_counters_;
  Agreed agreed_;
  Settings settings_;
  FrameFormat format_;
  std::array<std::uint8_t, kHashKey> toeplitz_key_{};
  std::shared_ptr<const Toeplitz> toeplitz_;  // of that key
  std::vector<std::unique_ptr<QueuePair>> pairs_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  ControlQueue control_;
  runtime::Timer control_timer_;  // commands that one round had no time for
  virtio::Signals* signals_ = nullptr;
  memory::AddressSpace* space_ = nullptr;
  std::uint32_t started_ = 0;  // receive queues, bit per pair
  RateLimit log_limit_;
  std::uint64_t reported_ = 0;  // queues whose fault the transport knows, bit per queue
  bool is_link_up_ = true, is_leaving_ = false, is_dma_on_ = false, is_paused_ = false;
  bool is_control_unsure_ = false;             // its driver may not have heard of an answer
  bool has_moved_ = false, has_news_ = false;  // since load(): its driver; what read_config() shows
};

}  // namespace vmux::device::virtio_net
