// SPDX-License-Identifier: BSD-3-Clause
// A virtio device whose queues a virtio function serves: behind any transport, as every virtio::Device.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mac.hpp"
#include "kvfio/group.hpp"
#include "vdpa/control_commands.hpp"
#include "vdpa/direct_queue.hpp"
#include "vdpa/function.hpp"
#include "vdpa/ring_memory.hpp"
#include "vdpa/shadow_queue.hpp"
#include "virtio/device.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/log.hpp"
#include "vmux/runtime/poller.hpp"
#include "wire/virtio.hpp"

namespace vmux::vdpa {

/// Who serves the guest's queues.
enum class Mode : std::uint8_t {
  stopped,   ///< nobody: none is to run
  waiting,   ///< nobody yet: memory is being pinned, or the function is not there and nothing stands in for it
  direct,    ///< the function, by itself: the rings lie in the guest's memory
  shadow,    ///< the function, through rings of ours
  software,  ///< the device that stands in
};
[[nodiscard]] const char* text_of(Mode mode) noexcept;

struct AcceleratedOptions {
  std::string name = "vdpa";  ///< for logs
  std::string address;        ///< "0000:01:10.0", a function of the group that is bound to vfio-pci
  MacAddress mac{};           ///< a network function takes frames for this station
  bool only_shadow = false;   ///< never direct
};

struct AcceleratedCounters {
  Counter starts;       ///< of the function with queues of a guest
  Counter direct;       ///< of these, without rings of ours
  Counter failures;     ///< the function stopped working, or broke its rules
  Counter withdrawals;  ///< the host wanted it back
  Counter stand_ins;    ///< software took over
  Counter kicks;        ///< passed on from the guest to the function
  Counter interrupts;   ///< passed on from the function
  Counter lost_order;   ///< queues of which nothing says where they stand
};

/// Home thread, which is the group's, and moves no frames of others: pinning memory, resets and commands wait.
///
/// All of a function's queues change together: where one stops the function is reset, since virtio before RING_RESET
/// has no other way, and those that go on start again from where they stood. So for a moment after each change of what
/// is to run, nothing runs.
class AcceleratedDevice final : public virtio::Device, private kvfio::Group::Member, private memory::Observer {
 public:
  /// Opens the function. not_supported for one that is neither a network card nor a disk.
  [[nodiscard]] static Result<std::unique_ptr<AcceleratedDevice>> create(AcceleratedOptions options,
                                                                         std::shared_ptr<kvfio::Group> group,
                                                                         runtime::Poller& poller);
  ~AcceleratedDevice() override;

  /// A network card only, and of each: the device of the same kind that stands in. It decides about configuration and
  /// the number of queues. Before anything else; it outlives this one, and nobody else uses its virtio side.
  void set_stand_in(virtio::Device& device) noexcept { software_ = &device; }
  /// Pairs of queues that a network function has.
  [[nodiscard]] unsigned pairs() const noexcept { return facts_.all_pairs; }

  /// The operator's end of a card's cable: while it is out, the device that stands in has the queues, and it knows.
  void set_cable(bool is_in) noexcept;
  /// The station that a network function takes frames for, from its next start on.
  void set_mac(const MacAddress& mac) noexcept { options_.mac = mac; }
  [[nodiscard]] std::uint64_t function_features() const noexcept { return facts_.features; }
  [[nodiscard]] unsigned function_vectors() const noexcept { return function_ == nullptr ? 0 : function_->vectors(); }
  /// Descriptors, at most, of a ring that is the function's own.
  [[nodiscard]] std::uint16_t function_ring_size() const noexcept { return facts_.sizes[0]; }

  [[nodiscard]] Mode mode() const noexcept { return mode_; }
  /// Why it is not direct; empty when it is, or when nothing runs.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  [[nodiscard]] bool has_function() const noexcept { return function_ != nullptr; }
  [[nodiscard]] const AcceleratedOptions& options() const noexcept { return options_; }
  [[nodiscard]] const AcceleratedCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const kvfio::DmaCounters& dma_counters() const noexcept { return group_->dma().counters(); }
  [[nodiscard]] std::uint64_t shadowed_chains() const noexcept;
  /// The function's link, of a network card that tells; true otherwise.
  [[nodiscard]] bool is_link_up() const noexcept { return is_link_up_; }

  // virtio::Device
  [[nodiscard]] std::uint16_t kind() const noexcept override { return facts_.kind; }
  [[nodiscard]] std::uint64_t features() const noexcept override;
  [[nodiscard]] unsigned queue_count() const noexcept override;
  [[nodiscard]] std::uint16_t max_size(unsigned queue) const noexcept override;
  [[nodiscard]] bool is_control(unsigned queue) const noexcept override;
  void connect(virtio::Signals& signals, memory::AddressSpace& space) override;
  void disconnect() noexcept override;
  void set_dma(bool enabled) noexcept override;
  [[nodiscard]] bool accept(std::uint64_t features) noexcept override;
  void read_config(std::size_t offset, std::span<std::byte> into) const noexcept override;
  void write_config(std::size_t offset, std::span<const std::byte> from) noexcept override;
  void start_queue(unsigned queue, const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept override;
  virtio::QueueState stop_queue(unsigned queue) noexcept override;
  [[nodiscard]] virtio::QueueState queue_state(unsigned queue) noexcept override;
  void kicked(unsigned queue) noexcept override;
  void call_changed(unsigned queue) noexcept override;
  void reset(bool client_gone) noexcept override;
  void announce(std::span<const std::uint8_t, 6> station) noexcept override;
  void pause() noexcept override;
  void resume() noexcept override;
  void save(state::Writer& into) const override;
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from) override;

 private:
  /// What a function is, however often it is opened.
  struct Facts {
    std::uint16_t kind = 0;
    std::uint64_t features = 0;
    unsigned all_pairs = 0, queues = 0;  ///< of a card: all that it has
    unsigned control_queue = 2;          ///< of a card
    std::array<std::uint16_t, Function::kMostQueues> sizes{};
    std::array<std::byte, sizeof(wire::virtio::blk::Config)> disk{};  // the configuration of one, as a guest sees it
    std::byte writeback{};  // of a disk: its cache mode when nobody has asked for one
  };
  struct Lane {
    bool is_wanted = false;
    virtio::QueueSetup setup;
    virtio::QueueState state;  ///< while it does not run: where it stands
    bool has_lost_order = false;
    DirectQueue direct;
    ShadowQueue shadow;
    bool is_fault_told = false;
  };
  struct Vector {
    UniqueFd eventfd;
    runtime::Watch watch;
  };
  struct Range {
    std::uint64_t start = 0, size = 0;
    memory::Access access = memory::Access::none;
    const std::byte* host = nullptr;
    friend bool operator==(const Range&, const Range&) = default;
  };

  AcceleratedDevice(AcceleratedOptions options, std::shared_ptr<kvfio::Group> group, runtime::Poller& poller);
  [[nodiscard]] bool is_net() const noexcept { return facts_.kind == wire::virtio::net::kDevice; }
  [[nodiscard]] bool is_on_function() const noexcept { return mode_ == Mode::direct || mode_ == Mode::shadow; }
  [[nodiscard]] bool is_anything_wanted() const noexcept;

  // accelerated_modes.cpp: who serves the queues
  void settle() noexcept;
  void bring_up() noexcept;
  [[nodiscard]] bool may_run() const noexcept;
  [[nodiscard]] const char* obstacle_to_function() const noexcept;
  [[nodiscard]] Result<void> start_on_function();
  [[nodiscard]] const char* obstacle_to_direct() const noexcept;
  [[nodiscard]] std::uint64_t features_for_function(bool is_direct) const noexcept;
  [[nodiscard]] Result<void> set_up_queue(unsigned queue, bool is_direct);
  [[nodiscard]] Result<void> set_up_control();
  void configure_card();
  void start_in_software() noexcept;
  void stand_in_and_retry() noexcept;
  void halt() noexcept;
  void stop_function() noexcept;
  void fail(const char* why) noexcept;
  void retry() noexcept;
  void check_health() noexcept;
  void relay(unsigned queue) noexcept;
  void completed(unsigned queue) noexcept;
  void on_vector(unsigned vector) noexcept;
  void look_at_config() noexcept;
  [[nodiscard]] unsigned vector_of(unsigned queue) const noexcept;

  // accelerated_memory.cpp: the function, and what it reaches
  [[nodiscard]] Result<void> open(kvfio::KernelDomain& domain) override;
  void close() noexcept override;
  void memory_failed(const char* why) noexcept override;
  [[nodiscard]] Result<void> learn(Function& function);
  void fit_disk(Facts& facts) const noexcept;
  [[nodiscard]] Result<void> listen(Vector& into, pci::Irq irq, std::function<void()> heard);
  [[nodiscard]] Result<void> make_vectors();
  void on_release_request() noexcept;
  void give_up_function() noexcept;
  void adopt(std::shared_ptr<const memory::Table> table, std::uint64_t generation) noexcept override;
  [[nodiscard]] Result<void> follow_memory() noexcept;
  [[nodiscard]] std::vector<Range> wanted_ranges() const;
  [[nodiscard]] Result<void> place_rings() noexcept;
  void unplace_rings() noexcept;

  AcceleratedOptions options_;
  std::shared_ptr<kvfio::Group> group_;
  runtime::Poller& poller_;
  Facts facts_;
  std::unique_ptr<Function> function_;
  std::vector<Vector> vectors_;
  Vector error_, release_;
  virtio::Device* software_ = nullptr;
  virtio::Signals* signals_ = nullptr;
  memory::AddressSpace* space_ = nullptr;

  std::vector<std::unique_ptr<Lane>> lanes_;
  std::uint64_t accepted_ = 0;
  Mode mode_ = Mode::stopped;
  std::string reason_;
  bool has_client_ = false, is_dma_on_ = false, is_paused_ = false, is_logged_ = false, is_link_up_ = true;
  bool is_cable_in_ = true;
  std::optional<std::uint8_t> writeback_;  // of a disk: what the guest has asked for

  std::shared_ptr<const memory::Table> table_;
  std::vector<Range> mapped_;
  RingMemory rings_;
  ControlCommands control_;
  std::optional<RingMemory::Part> announcement_;

  runtime::Timer settle_, health_, retry_;
  std::uint64_t pause_ns_ = 0;             // before the next retry
  std::optional<MacAddress> unannounced_;  // a station to announce once the queues are served
  unsigned healthy_ = 0;                   // looks since it started
  RateLimit complaints_;
  AcceleratedCounters counters_;
};

}  // namespace vmux::vdpa
