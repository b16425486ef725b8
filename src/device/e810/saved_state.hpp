// SPDX-License-Identifier: BSD-3-Clause
// What a saved E810 holds: all that its guest could tell the difference by, as plain values, and nothing else. Not in
// it: the link and what else the daemon grants; the client's memory and interrupts; the model's own statistics.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/mac.hpp"
#include "device/e810/firmware/scheduler.hpp"
#include "device/e810/firmware/switching.hpp"
#include "device/e810/registers.hpp"
#include "intel/queue_config.hpp"
#include "intel/rules/filter.hpp"
#include "intel/rules/flow_table.hpp"
#include "intel/rules/rss.hpp"
#include "wire/ice_aq.hpp"

namespace vmux::device::e810 {

/// Apart from SavedState, for an optional of it is a member there.
struct SavedPackage {
  wire::ice::PackageMetadata metadata;
  static void describe(auto& fields, auto& self) {
    if constexpr (std::is_const_v<std::remove_reference_t<decltype(self)>>) {
      fields.bytes("package", std::as_bytes(std::span{&self.metadata, 1}));
    } else {
      fields.bytes("package", std::as_writable_bytes(std::span{&self.metadata, 1}));
    }
  }
};

struct SavedState {
  static constexpr std::string_view kSection = "e810";
  static constexpr std::uint16_t kVersion = 1;

  /// A register that holds something else than a reset leaves in it.
  struct RegisterValue {
    std::uint32_t at = 0, value = 0;
    static void describe(auto& fields, auto& self) {
      fields("at", self.at);
      fields("value", self.value);
    }
  };

  /// Where a queue stands. The configuration counts if the queue is enabled.
  struct TxQueue {
    intel::QueueSnapshot<intel::TxQueueConfig> queue;
    static void describe(auto& fields, auto& self) {
      fields("tx.ring", self.queue.state.config.ring);
      fields("tx.length", self.queue.state.config.length);
      fields("tx.programs_flows", self.queue.state.config.programs_flows);
      describe_progress(fields, self.queue);
    }
  };
  struct RxQueue {
    intel::QueueSnapshot<intel::RxQueueConfig> queue;
    bool is_bufferless = false;
    static void describe(auto& fields, auto& self) {
      fields("rx.ring", self.queue.state.config.ring);
      fields("rx.length", self.queue.state.config.length);
      fields("rx.buffer_size", self.queue.state.config.buffer_size);
      fields("rx.max_frame", self.queue.state.config.max_frame);
      fields("rx.rxdid", self.queue.state.config.rxdid);
      fields("rx.wide", self.queue.state.config.wide);
      fields("rx.keep_crc", self.queue.state.config.keep_crc);
      fields("rx.is_bufferless", self.is_bufferless);
      describe_progress(fields, self.queue);
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

  /// Moderation of a vector: until the longest interval has passed, and what is pending.
  struct Vector {
    std::uint64_t rest_ns = 0;
    std::uint8_t causes = 0;  // bit per ITR index
    static void describe(auto& fields, auto& self) {
      fields("rest_ns", self.rest_ns);
      fields("causes", self.causes);
    }
  };

  // What the firmware keeps for its driver.
  struct Vsi {
    std::uint16_t number = 0;
    wire::ice::VsiContext context{};
    static void describe(auto& fields, auto& self) {
      fields("vsi.number", self.number);
      fields.bytes("vsi.context", raw(self.context));
    }
  };
  struct SwitchRule {
    Rule rule;
    static void describe(auto& fields, auto& self) {
      fields("rule.index", self.rule.index);
      fields("rule.type", self.rule.type);
      fields("rule.recipe", self.rule.recipe);
      fields("rule.source", self.rule.source);
      fields("rule.action", self.rule.action);
      fields.list("rule.header", self.rule.header, wire::ice::rule::most_header);
    }
  };
  /// A list of VSIs, or the numbers in use of a type of resources.
  struct Numbers {
    std::uint16_t of = 0;
    std::vector<std::uint16_t> numbers;  // sorted
    static void describe(auto& fields, auto& self) {
      fields("of", self.of);
      fields.list("numbers", self.numbers, kMostNumbers);
    }
  };
  struct Node {
    wire::ice::Element element{};
    static void describe(auto& fields, auto& self) { fields.bytes("node", raw(self.element)); }
  };
  struct Leaf {  // of a transmit queue
    std::uint16_t queue = 0;
    std::uint32_t teid = 0;
    static void describe(auto& fields, auto& self) {
      fields("leaf.queue", self.queue);
      fields("leaf.teid", self.teid);
    }
  };
  using Package = SavedPackage;
  struct Firmware {
    MacAddress mac{};
    std::vector<Vsi> vsis;  // the default one, and those of the driver, the oldest first
    std::vector<SwitchRule> rules;
    std::vector<Numbers> lists, resources;
    std::vector<Node> nodes;
    std::uint32_t next_node = 0;
    std::vector<Leaf> leaves;
    std::uint16_t next_rate_profile = 0;
    std::array<std::uint8_t, wire::ice::kRssKeySize> rss_key{};
    std::vector<std::uint8_t> rss_lut;
    wire::ice::PhyConfig phy{};
    bool are_link_events_on = false, is_link_event_due = false;
    std::uint16_t event_mask = 0;
    std::optional<Package> downloading, active;
    static void describe(auto& fields, auto& self) {
      fields("mac", self.mac);
      fields.list("vsis", self.vsis, Switching::kMostVsis);
      fields.list("rules", self.rules, Switching::kMostRules);
      fields.list("lists", self.lists, kMostNumbers);
      fields.list("resources", self.resources, kMostNumbers);
      fields.list("nodes", self.nodes, Scheduler::kMostNodes);
      fields("next_node", self.next_node);
      fields.list("leaves", self.leaves, kMaxQueueIds);
      fields("next_rate_profile", self.next_rate_profile);
      fields("rss_key", self.rss_key);
      fields.list("rss_lut", self.rss_lut, intel::Rss::kMaxLutSize);
      fields.bytes("phy", raw(self.phy));
      fields("are_link_events_on", self.are_link_events_on);
      fields("is_link_event_due", self.is_link_event_due);
      fields("event_mask", self.event_mask);
      fields("downloading", self.downloading);
      fields("active", self.active);
    }
  };

  struct Flow {
    intel::FlowRule rule;
    static void describe(auto& fields, auto& self) {
      fields.bytes("flow.value", raw(self.rule.value));
      fields.bytes("flow.mask", raw(self.rule.mask));
      fields.one_of("flow.action", self.rule.action, intel::FlowAction::pass);
      fields("flow.queue", self.rule.queue);
      fields("flow.id", self.rule.id);
      fields("flow.mark", self.rule.mark);
    }
  };

  MacAddress station{};  // of the daemon: to be the same at both ends
  bool link_up = false;  // as the guest was told
  std::vector<RegisterValue> registers;
  std::vector<QueuePair> pairs;
  std::array<Vector, kMaxVectors> vectors{};
  std::optional<std::uint64_t> reset_due_ns;  // until a reset of the device is over
  Firmware firmware;
  std::vector<Flow> flows;

  static void describe(auto& fields, auto& self) {
    fields("station", self.station);
    fields("link_up", self.link_up);
    fields.list("registers", self.registers, kRegisterSlots);
    fields.list("pairs", self.pairs, kMaxQueueIds);
    fields("vectors", self.vectors);
    fields("reset_due_ns", self.reset_due_ns);
    fields("firmware", self.firmware);
    fields.list("flows", self.flows, intel::FlowTable::kMaxRules);
  }

 private:
  static constexpr std::size_t kMostNumbers = 1024;

  template <class T>
  static auto raw(T& value) noexcept {
    if constexpr (std::is_const_v<T>) {
      return std::as_bytes(std::span{&value, 1});
    } else {
      return std::as_writable_bytes(std::span{&value, 1});
    }
  }
  static void describe_progress(auto& fields, auto& queue) {
    fields("queue.head", queue.state.head);
    fields.one_of("queue.fault", queue.state.fault, intel::Fault::frame_too_long);
    fields("queue.enabled", queue.state.enabled);
    fields("queue.has_pending", queue.has_pending);
    fields("queue.frames", queue.totals.frames);
    fields("queue.bytes", queue.totals.bytes);
    fields("queue.multicast", queue.totals.multicast);
    fields("queue.broadcast", queue.totals.broadcast);
    fields("queue.dropped", queue.totals.dropped);
    fields("queue.errors", queue.totals.errors);
  }
};

/// What of a state cannot be with this many queue numbers, in words that follow its section's name; nullptr when all of
/// it can. Registers may hold any value: a guest may write any into pages that it has mapped.
[[nodiscard]] const char* problem_of(const SavedState& saved, unsigned queues) noexcept;

}  // namespace vmux::device::e810
