// SPDX-License-Identifier: BSD-3-Clause
// What a saved iavf holds: all that its guest could tell the difference by, as plain values, and nothing else. Not in
// it: the link and what else the daemon grants; the client's memory and interrupts; the model's own statistics; which
// poller has which queue.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/mac.hpp"
#include "device/iavf/queues/lane_queues.hpp"
#include "device/iavf/registers.hpp"
#include "intel/queue_config.hpp"
#include "intel/rules/filter.hpp"
#include "intel/rules/flow_table.hpp"
#include "intel/rules/rss.hpp"
#include "intel/rules/steer.hpp"

namespace vmux::device::iavf {

struct SavedState {
  static constexpr std::string_view kSection = "iavf";
  static constexpr std::uint16_t kVersion = 1;

  /// A register that holds something else than a reset leaves in it.
  struct RegisterValue {
    std::uint32_t at = 0, value = 0;
    static void describe(auto& fields, auto& self) {
      fields("at", self.at);
      fields("value", self.value);
    }
  };

  /// Where a queue stands, and where its interrupts go. The configuration counts if there is one.
  struct TxQueue {
    bool is_configured = false;
    intel::QueueSnapshot<intel::TxQueueConfig> queue;
    VectorChoice vector;
    static void describe(auto& fields, auto& self) {
      fields("tx.is_configured", self.is_configured);
      fields("tx.ring", self.queue.state.config.ring);
      fields("tx.length", self.queue.state.config.length);
      fields("tx.head_writeback", self.queue.state.config.head_writeback);
      fields("tx.head_writeback_at", self.queue.state.config.head_writeback_at);
      describe_progress(fields, self);
    }
  };
  struct RxQueue {
    bool is_configured = false;
    intel::QueueSnapshot<intel::RxQueueConfig> queue;
    VectorChoice vector;
    static void describe(auto& fields, auto& self) {
      fields("rx.is_configured", self.is_configured);
      fields("rx.ring", self.queue.state.config.ring);
      fields("rx.length", self.queue.state.config.length);
      fields("rx.buffer_size", self.queue.state.config.buffer_size);
      fields("rx.max_frame", self.queue.state.config.max_frame);
      fields("rx.rxdid", self.queue.state.config.rxdid);
      fields("rx.wide", self.queue.state.config.wide);
      fields("rx.keep_crc", self.queue.state.config.keep_crc);
      describe_progress(fields, self);
    }
  };
  struct QueuePair {
    TxQueue tx;
    RxQueue rx;
    static void describe(auto& fields, auto& self) {
      fields("tx", self.tx);
      fields("rx", self.rx);
    }
  };

  /// Moderation of a vector: until the longest interval has passed, and the control register as last looked at.
  struct Vector {
    std::uint64_t rest_ns = 0;
    std::uint32_t seen = 0;
    std::uint8_t causes = 0;  // bit per ITR index
    static void describe(auto& fields, auto& self) {
      fields("rest_ns", self.rest_ns);
      fields("seen", self.seen);
      fields("causes", self.causes);
    }
  };
  struct Interrupts {
    std::uint32_t pending = 0;     // bit per vector
    std::uint32_t unreported = 0;  // causes of the admin vector since it last fired
    std::array<Vector, kVectors> vectors{};
    static void describe(auto& fields, auto& self) {
      fields("pending", self.pending);
      fields("unreported", self.unreported);
      fields("vectors", self.vectors);
    }
  };

  struct Filters {
    bool unicast_promisc = false, multicast_promisc = false;
    std::vector<MacAddress> macs, more_groups;               // sorted
    std::array<std::uint64_t, 64> vlans{}, service_vlans{};  // bit per id
    static void describe(auto& fields, auto& self) {
      fields("unicast_promisc", self.unicast_promisc);
      fields("multicast_promisc", self.multicast_promisc);
      fields.list("macs", self.macs, intel::Filters::kMaxMacs);
      fields.list("more_groups", self.more_groups, intel::Filters::kMaxMoreGroups);
      fields("vlans", self.vlans);
      fields("service_vlans", self.service_vlans);
    }
  };
  struct FlowRule {
    intel::FlowRule rule;
    static void describe(auto& fields, auto& self) {
      describe_flow_fields(fields, self.rule.value);
      describe_flow_fields(fields, self.rule.mask);
      fields.one_of("flow.action", self.rule.action, intel::FlowAction::pass);
      fields("flow.queue", self.rule.queue);
      fields("flow.group_size", self.rule.group_size);
      fields("flow.id", self.rule.id);
      fields("flow.mark", self.rule.mark);
      fields("flow.is_cloud", self.rule.is_cloud);
    }
  };
  struct Channel {
    std::uint16_t first = 0, queues = 0;
    static void describe(auto& fields, auto& self) {
      fields("first", self.first);
      fields("queues", self.queues);
    }
  };

  /// What driver and device have agreed upon.
  struct Session {
    std::uint32_t minor = 0, capabilities = 0, last_flow_id = 0;
    bool has_resources = false, is_resetting = false, has_deleted_mac = false;
    bool link_event_due = false, reset_event_due = false;
    MacAddress mac{}, last_added{};
    static void describe(auto& fields, auto& self) {
      fields("minor", self.minor);
      fields("capabilities", self.capabilities);
      fields("last_flow_id", self.last_flow_id);
      fields("has_resources", self.has_resources);
      fields("is_resetting", self.is_resetting);
      fields("has_deleted_mac", self.has_deleted_mac);
      fields("link_event_due", self.link_event_due);
      fields("reset_event_due", self.reset_event_due);
      fields("mac", self.mac);
      fields("last_added", self.last_added);
    }
  };

  MacAddress station{};         // of the daemon: to be the same at both ends
  bool link_up = false;         // as the guest was told
  std::uint32_t link_mbps = 0;  // the same

  std::vector<RegisterValue> registers;
  std::vector<QueuePair> pairs;
  Interrupts interrupts;
  bool wants_completion = false;              // an admin command asked to be told, and has not been
  std::optional<std::uint64_t> reset_due_ns;  // until an announced reset begins, or one that has begun is over
  Session session;

  Filters filters;
  intel::VlanOffload vlan;
  intel::Rss rss;
  std::vector<FlowRule> flows;
  std::vector<Channel> channels, granted_channels;  // in force; asked for, and to be so after the next reset

  static void describe(auto& fields, auto& self) {
    fields("station", self.station);
    fields("link_up", self.link_up);
    fields("link_mbps", self.link_mbps);
    fields.list("registers", self.registers, kRegisterSlots);
    fields.list("pairs", self.pairs, kMaxQueuePairs);
    fields("interrupts", self.interrupts);
    fields("wants_completion", self.wants_completion);
    fields("reset_due_ns", self.reset_due_ns);
    fields("session", self.session);
    fields("filters", self.filters);
    describe_tag(fields, self.vlan.outer);
    describe_tag(fields, self.vlan.inner);
    describe_rss(fields, self.rss);
    fields.list("flows", self.flows, intel::FlowTable::kMaxRules);
    fields.list("channels", self.channels, intel::Channels::kMost);
    fields.list("granted_channels", self.granted_channels, intel::Channels::kMost);
  }

 private:
  static void describe_progress(auto& fields, auto& self) {
    fields("queue.head", self.queue.state.head);
    fields.one_of("queue.fault", self.queue.state.fault, intel::Fault::frame_too_long);
    fields("queue.enabled", self.queue.state.enabled);
    fields("queue.has_pending", self.queue.has_pending);
    fields("queue.frames", self.queue.totals.frames);
    fields("queue.bytes", self.queue.totals.bytes);
    fields("queue.multicast", self.queue.totals.multicast);
    fields("queue.broadcast", self.queue.totals.broadcast);
    fields("queue.dropped", self.queue.totals.dropped);
    fields("queue.errors", self.queue.totals.errors);
    fields("queue.vector", self.vector.vector);
    fields("queue.itr", self.vector.itr);
  }
  static void describe_tag(auto& fields, auto& tag) {
    fields("tag.strip", tag.strip);
    fields("tag.insert", tag.insert);
    fields("tag.tpid", tag.tpid);
    fields.one_of("tag.place", tag.place, intel::TagPlace::l2tag2);
  }
  static void describe_rss(auto& fields, auto& rss) {
    fields("rss.key", rss.key);
    fields("rss.lut", rss.lut);
    fields("rss.hena", rss.hena);
    fields("rss.enabled", rss.enabled);
    fields("rss.symmetric", rss.symmetric);
    fields("rss.fields", rss.fields);
    fields("rss.by_transport", rss.by_transport);
    fields("rss.all_of_ipv4", rss.all_of_ipv4);
    fields("rss.all_of_ipv6", rss.all_of_ipv6);
  }
  static void describe_flow_fields(auto& fields, auto& flow) {
    fields("flow.destination", flow.destination);
    fields("flow.source", flow.source);
    fields("flow.ethertype", flow.ethertype);
    fields("flow.vlan", flow.vlan);
    fields("flow.source_ip", flow.source_ip);
    fields("flow.destination_ip", flow.destination_ip);
    fields("flow.source_port", flow.source_port);
    fields("flow.destination_port", flow.destination_port);
    fields("flow.ip_version", flow.ip_version);
    fields("flow.protocol", flow.protocol);
    fields("flow.tos", flow.tos);
    fields("flow.ttl", flow.ttl);
    fields("flow.spi", flow.spi);
  }
};

/// What of a state cannot be with this many queue pairs, in words that follow its section's name; nullptr when all of
/// it can. Registers may hold any value: a guest may write any into pages that it has mapped.
[[nodiscard]] const char* problem_of(const SavedState& saved, unsigned queue_pairs) noexcept;

}  // namespace vmux::device::iavf
