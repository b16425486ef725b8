// SPDX-License-Identifier: BSD-3-Clause
// The physical function's side of virtchnl 1.1: one table of opcodes, one small handler each, in files by theme
// (virtchnl_session, _queues, _channels, _filters, _vlan, _rss, _flow). Home thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "base/mac.hpp"
#include "device/iavf/admin_queue.hpp"
#include "device/iavf/interrupts.hpp"
#include "device/iavf/queues/data_path.hpp"
#include "vmux/base/trace.hpp"
#include "wire/virtchnl.hpp"

namespace vmux::device::iavf {

/// Whose virtual function it is: what the physical function offers to drivers differs by family. With `xl710` they are
/// left with legacy descriptors, VLANs of virtchnl 1.0 and HENA, and without flow rules: a driver's other half.
enum class Parent : std::uint8_t { e810, xl710 };

/// What the daemon says about this function.
struct Identity {
  MacAddress mac{};             ///< as the daemon gave it
  unsigned queue_pairs = 1;     ///< at most kMaxQueuePairs
  std::uint32_t link_mbps = 0;  ///< speed that the guest is told
  Parent parent = Parent::e810;
};

/// The one virtual station interface of the function; the number means nothing to anyone but has to be repeated.
inline constexpr std::uint16_t kVsiId = 1;

class Virtchnl {
 public:
  using Status = wire::virtchnl::Status;
  using Body = std::span<const std::byte>;

  Virtchnl(AdminQueue& queue, DataPath& data, InterruptUnit& interrupts, NicCounters& counters,
           const Identity& identity, const nic::RunState& state)
      : queue_(queue), data_(data), interrupts_(interrupts), counters_(counters), identity_(identity), state_(state) {}

  /// Answers what the driver has sent, as far as the answers find room, and tells it what is due. A few messages at a
  /// time, for others share the poller: true when there may be more.
  [[nodiscard]] bool pump() noexcept;
  /// Whose tracer is told of each message; it outlives this. Before the first pump().
  void set_traced(const Traced& traced) noexcept { traced_ = &traced; }
  /// The driver is to hear of it, with the next pump().
  void link_changed() noexcept { session_.link_event_due = true; }
  /// The function is to be reset, once the driver has heard of it: Linux and DPDK wait for that, and set up their
  /// queues anew. As the physical functions of both families do it where mdd-auto-reset-vf is set.
  void queue_stopped() noexcept;
  /// Told once: the driver asked for a reset (now), or is to be reset for what it did once it has heard of it (soon).
  enum class ResetRequest : std::uint8_t { none, now, soon };
  [[nodiscard]] ResetRequest take_reset_request() noexcept;
  /// A reset of the virtual function: negotiation starts anew. `whole`: of the PCI function, the address too.
  void reset(bool whole) noexcept;
  void save(SavedState& into) const;
  void load(const SavedState& from) noexcept;
  [[nodiscard]] bool offers(std::uint32_t capabilities) const noexcept { return (capabilities & ~offered()) == 0; }

  /// The address in use: the daemon's, unless the driver has set another.
  [[nodiscard]] const MacAddress& mac() const noexcept { return session_.mac; }
  /// It has been told what it has got.
  [[nodiscard]] bool has_driver() const noexcept { return session_.has_resources; }
  /// The daemon gives another address, which a driver hears of by a reset.
  void set_station(const MacAddress& mac) noexcept;

 private:
  /// What a handler answers with, beside its status.
  class Reply {
   public:
    template <class T>
    void put(const T& value) noexcept {
      static_assert(sizeof(T) <= AdminQueue::kMaxMessage);
      std::memcpy(bytes_.data(), &value, sizeof value);
      size_ = sizeof value;
    }
    [[nodiscard]] Body bytes() const noexcept { return std::span{bytes_}.first(size_); }
    void clear() noexcept { size_ = 0; }
    bool is_wanted = true;  ///< false: the protocol has no answer to this one

   private:
    std::array<std::byte, AdminQueue::kMaxMessage> bytes_{};
    std::size_t size_ = 0;
  };

  using Handler = Status (Virtchnl::*)(Body body, Reply& reply);
  static constexpr unsigned kMessagesAtOnce = 8;
  struct Row {
    wire::virtchnl::Op op;
    std::uint32_t needs;  ///< capabilities, any of them; 0: always there
    bool is_first;        ///< allowed before GET_VF_RESOURCES
    std::uint16_t size;   ///< bytes that the body has at least
    Handler handler;
  };
  static const Row kRows[];
  static const Row* find(wire::virtchnl::Op op) noexcept;
  [[nodiscard]] Status handle(const AdminMessage& message, Reply& reply) noexcept;
  void trace(const AdminMessage& message, Status status) const noexcept;
  void tell_what_is_due() noexcept;
  void post(wire::virtchnl::Op op, Status status, Body body) noexcept;
  [[nodiscard]] std::uint32_t offered() const noexcept;
  [[nodiscard]] bool has(std::uint32_t capability) const noexcept { return (session_.capabilities & capability) != 0; }
  [[nodiscard]] std::uint32_t link_speed() const noexcept;

  // virtchnl_session.cpp
  Status version(Body body, Reply& reply) noexcept;
  Status reset_vf(Body body, Reply& reply) noexcept;
  Status get_vf_resources(Body body, Reply& reply) noexcept;
  Status get_stats(Body body, Reply& reply) noexcept;
  // virtchnl_queues.cpp
  Status config_tx_queue(Body body, Reply& reply) noexcept;
  Status config_rx_queue(Body body, Reply& reply) noexcept;
  Status config_vsi_queues(Body body, Reply& reply) noexcept;
  Status config_irq_map(Body body, Reply& reply) noexcept;
  Status map_queue_vector(Body body, Reply& reply) noexcept;
  Status enable_queues(Body body, Reply& reply) noexcept;
  Status disable_queues(Body body, Reply& reply) noexcept;
  Status enable_queues_v2(Body body, Reply& reply) noexcept;
  Status disable_queues_v2(Body body, Reply& reply) noexcept;
  Status request_queues(Body body, Reply& reply) noexcept;
  Status get_supported_rxdids(Body body, Reply& reply) noexcept;
  Status announce_reset(Reply& reply) noexcept;
  void plan_reset() noexcept;
  Status select(std::uint32_t rx, std::uint32_t tx, bool enable) noexcept;
  Status select_chunks(Body body, bool enable) noexcept;
  [[nodiscard]] std::optional<intel::RxQueueConfig> rx_config(const wire::virtchnl::RxqInfo& info) const noexcept;
  // virtchnl_channels.cpp
  Status enable_channels(Body body, Reply& reply) noexcept;
  Status disable_channels(Body body, Reply& reply) noexcept;
  Status add_cloud_filter(Body body, Reply& reply) noexcept;
  Status del_cloud_filter(Body body, Reply& reply) noexcept;
  // virtchnl_filters.cpp
  Status add_eth_addr(Body body, Reply& reply) noexcept;
  Status del_eth_addr(Body body, Reply& reply) noexcept;
  Status config_promiscuous_mode(Body body, Reply& reply) noexcept;
  void note_added(const wire::virtchnl::EtherAddr& entry) noexcept;
  void note_deleted() noexcept;
  // virtchnl_vlan.cpp
  Status add_vlan(Body body, Reply& reply) noexcept;
  Status del_vlan(Body body, Reply& reply) noexcept;
  Status enable_vlan_stripping(Body body, Reply& reply) noexcept;
  Status disable_vlan_stripping(Body body, Reply& reply) noexcept;
  Status get_offload_vlan_v2_caps(Body body, Reply& reply) noexcept;
  Status add_vlan_v2(Body body, Reply& reply) noexcept;
  Status del_vlan_v2(Body body, Reply& reply) noexcept;
  Status enable_vlan_stripping_v2(Body body, Reply& reply) noexcept;
  Status disable_vlan_stripping_v2(Body body, Reply& reply) noexcept;
  Status enable_vlan_insertion_v2(Body body, Reply& reply) noexcept;
  Status disable_vlan_insertion_v2(Body body, Reply& reply) noexcept;
  Status enable_vlan_filtering_v2(Body body, Reply& reply) noexcept;
  Status disable_vlan_filtering_v2(Body body, Reply& reply) noexcept;
  Status set_vlans(Body body, bool wanted) noexcept;
  Status set_vlans_v2(Body body, bool wanted) noexcept;
  Status set_vlan_offload(Body body, bool intel::VlanTag::*what, bool enabled) noexcept;
  // virtchnl_rss.cpp
  Status config_rss_key(Body body, Reply& reply) noexcept;
  Status config_rss_lut(Body body, Reply& reply) noexcept;
  Status config_rss_hfunc(Body body, Reply& reply) noexcept;
  Status get_rss_hena_caps(Body body, Reply& reply) noexcept;
  Status set_rss_hena(Body body, Reply& reply) noexcept;
  Status get_max_rss_qregion(Body body, Reply& reply) noexcept;
  Status add_rss_cfg(Body body, Reply& reply) noexcept;
  Status del_rss_cfg(Body body, Reply& reply) noexcept;

  // virtchnl_flow.cpp
  Status add_fdir_filter(Body body, Reply& reply) noexcept;
  Status del_fdir_filter(Body body, Reply& reply) noexcept;

  /// What is forgotten at a reset. Plain values.
  struct Session {
    std::uint32_t minor = wire::virtchnl::kMinor;
    std::uint32_t capabilities = 0;
    bool has_resources = false;
    std::uint32_t last_flow_id = 0;
    bool link_event_due = false, reset_event_due = false;
    bool is_resetting = false;  ///< nothing more is taken until reset()
    ResetRequest reset_request = ResetRequest::none;
    MacAddress mac{};
    bool has_deleted_mac = false;  ///< the driver has taken `mac` off its list, and put no other in its place
    MacAddress last_added{};       ///< of those that might be primary
  };

  AdminQueue& queue_;
  DataPath& data_;
  InterruptUnit& interrupts_;
  NicCounters& counters_;
  const Identity& identity_;
  const nic::RunState& state_;
  Session session_;
  intel::Channels channels_;  // survive the driver's resets, but not the driver
  const Traced* traced_ = nullptr;
  Reply reply_;
};

/// The T that a body begins with; the caller has made sure that it is that long.
template <class T>
[[nodiscard]] T read_at(std::span<const std::byte> body, std::size_t offset = 0) noexcept {
  T value;
  std::memcpy(&value, body.data() + offset, sizeof value);
  return value;
}

/// True when `count` elements of `element` bytes behind a header fill the body. Drivers count one element too many
/// where the published struct ends in an array of one.
[[nodiscard]] constexpr bool is_list(std::size_t body, std::size_t header, std::size_t element,
                                     std::size_t count) noexcept {
  return body >= header + element * count && body <= header + element * (count + 1);
}

}  // namespace vmux::device::iavf
