// SPDX-License-Identifier: BSD-3-Clause
// Commands about the transmit scheduler's tree, and about the queues that are its leaves.
#include <algorithm>
#include <cstring>

#include "device/e810/firmware/firmware.hpp"
#include "device/e810/queues/queue_context.hpp"

namespace vmux::device::e810 {

namespace wi = wire::ice;

namespace {

// Wide layers make one node of each enough, and spare drivers commands.
constexpr std::uint16_t kSiblings = 64, kLeaves = 512, kProfiles = 64;

/// All that was asked for has been done: drivers look at the number.
void answer_all(Command& command) noexcept {
  auto params = command.params<wi::ElementCommand>();
  params.responded = params.requested;
  command.set_params(params);
  command.reply = command.buffer.size();
}

/// How many numbers of `size` bytes follow at `at`, as `count` says it and as the buffer has them.
bool holds(const Command& command, std::size_t at, std::size_t count, std::size_t size) noexcept {
  return at <= command.buffer.size() && count <= (command.buffer.size() - at) / size;
}

}  // namespace

Firmware::Status Firmware::query_scheduler_resources(Command& command) {
  wi::SchedulerResources resources{};
  resources.properties.physical_levels = wi::kLayers;
  resources.properties.logical_levels = wi::kLayers;
  for (std::size_t layer = 0; layer < wi::kLayers; ++layer) {
    wi::LayerProperties& properties = resources.layers[layer];
    properties.logical_layer = static_cast<std::uint8_t>(layer);
    properties.chunk_size = 1;
    properties.max_device_nodes = properties.max_pf_nodes = kLeaves;
    properties.max_siblings = layer == 0 ? std::uint16_t{1} : layer + 1 == wi::kLayers ? kLeaves : kSiblings;
    properties.max_cir_profiles = properties.max_eir_profiles = properties.max_srl_profiles = kProfiles;
  }
  command.put(resources);
  command.reply = sizeof resources;
  return Status::ok;
}

Firmware::Status Firmware::get_default_topology(Command& command) {
  const auto chain = scheduler_.default_topology();
  wi::TopologyBranch branch{};
  branch.header.parent = Scheduler::kNone;
  branch.header.count = static_cast<std::uint16_t>(chain.size());
  std::copy(chain.begin(), chain.end(), branch.elements.begin());
  auto answer = command.params<wi::GetTopology>();
  answer.branches = 1;
  command.set_params(answer);
  command.put(branch);
  command.reply = command.buffer.size();
  return Status::ok;
}

Firmware::Status Firmware::add_elements(Command& command) {
  std::size_t at = 0;
  for (unsigned group = 0; group < command.params<wi::ElementCommand>().requested; ++group) {
    if (!command.has<wi::ElementGroup>(at)) return Status::invalid;
    const auto header = command.get<wi::ElementGroup>(at);
    at += sizeof header;
    if (!holds(command, at, header.count, sizeof(wi::Element))) return Status::invalid;
    for (unsigned i = 0; i < header.count; ++i, at += sizeof(wi::Element)) {
      auto element = command.get<wi::Element>(at);
      const auto teid = scheduler_.add(header.parent, element.body);
      if (!teid) return scheduler_.find(header.parent) == nullptr ? Status::no_entry : Status::no_space;
      element.parent = header.parent;
      element.teid = *teid;
      command.put(element, at);
    }
  }
  answer_all(command);
  return Status::ok;
}

Firmware::Status Firmware::configure_elements(Command& command) {
  const std::size_t count = command.params<wi::ElementCommand>().requested;
  if (!holds(command, 0, count, sizeof(wi::Element))) return Status::invalid;
  for (std::size_t i = 0; i < count; ++i) {
    const auto asked = command.get<wi::Element>(i * sizeof(wi::Element));
    wi::Element* const kept = scheduler_.find(asked.teid);
    if (kept == nullptr) return Status::no_entry;
    const std::uint8_t type = kept->body.type;
    kept->body = asked.body;
    kept->body.type = type;
  }
  answer_all(command);
  return Status::ok;
}

Firmware::Status Firmware::get_elements(Command& command) {
  const std::size_t count = command.params<wi::ElementCommand>().requested;
  if (!holds(command, 0, count, sizeof(wi::Element))) return Status::invalid;
  for (std::size_t i = 0; i < count; ++i) {
    const wi::Element* const kept = scheduler_.find(command.get<wi::Element>(i * sizeof(wi::Element)).teid);
    if (kept == nullptr) return Status::no_entry;
    command.put(*kept, i * sizeof(wi::Element));
  }
  answer_all(command);
  return Status::ok;
}

Firmware::Status Firmware::move_elements(Command& command) {
  std::size_t at = 0;
  for (unsigned group = 0; group < command.params<wi::ElementCommand>().requested; ++group) {
    if (!command.has<wi::MoveGroup>(at)) return Status::invalid;
    const auto header = command.get<wi::MoveGroup>(at);
    at += sizeof header;
    if (!holds(command, at, header.count, sizeof(wi::U32))) return Status::invalid;
    for (unsigned i = 0; i < header.count; ++i, at += sizeof(wi::U32)) {
      if (!scheduler_.move(command.get<wi::U32>(at), header.destination)) return Status::no_entry;
    }
  }
  answer_all(command);
  return Status::ok;
}

Firmware::Status Firmware::suspend_or_resume_elements(Command& command) {
  const bool suspends = command.descriptor.opcode == wi::op::suspend_elements;
  const std::size_t count = command.params<wi::ElementCommand>().requested;
  if (!holds(command, 0, count, sizeof(wi::U32))) return Status::invalid;
  for (std::size_t i = 0; i < count; ++i) {
    wi::Element* const kept = scheduler_.find(command.get<wi::U32>(i * sizeof(wi::U32)));
    if (kept == nullptr) return Status::no_entry;
    kept->body.flags = static_cast<std::uint8_t>((kept->body.flags & ~wi::element::suspended) |
                                                 (suspends ? wi::element::suspended : 0));
  }
  answer_all(command);
  return Status::ok;
}

Firmware::Status Firmware::delete_elements(Command& command) {
  std::size_t at = 0;
  for (unsigned group = 0; group < command.params<wi::ElementCommand>().requested; ++group) {
    if (!command.has<wi::ElementGroup>(at)) return Status::invalid;
    const auto header = command.get<wi::ElementGroup>(at);
    at += sizeof header;
    if (!holds(command, at, header.count, sizeof(wi::U32))) return Status::invalid;
    for (unsigned i = 0; i < header.count; ++i, at += sizeof(wi::U32)) {
      if (!scheduler_.remove(command.get<wi::U32>(at))) return Status::no_entry;
    }
  }
  answer_all(command);
  return Status::ok;
}

// Rates are told to nobody else: a profile is a number.
Firmware::Status Firmware::rate_profiles(Command& command) {
  const std::size_t count = command.params<wi::ElementCommand>().requested;
  if (!holds(command, 0, count, sizeof(wi::RateProfile))) return Status::invalid;
  for (std::size_t i = 0; i < count && command.descriptor.opcode == wi::op::add_rate_profiles; ++i) {
    auto profile = command.get<wi::RateProfile>(i * sizeof(wi::RateProfile));
    profile.id = next_rate_profile_++;
    command.put(profile, i * sizeof profile);
  }
  answer_all(command);
  return Status::ok;
}

Firmware::Status Firmware::query_port_ets(Command& command) {
  struct PortEts {
    std::uint8_t valid_tcs;
    std::array<std::uint8_t, 3> reserved;
    std::array<std::byte, 52> shares;
    std::array<wi::U32, 8> tc_nodes;
  };
  static_assert(offsetof(PortEts, tc_nodes) == 56);
  if (!command.has<PortEts>()) return Status::invalid;
  PortEts ets{};
  ets.valid_tcs = 1;
  ets.tc_nodes[0] = scheduler_.traffic_class();
  command.put(ets);
  command.reply = command.buffer.size();
  return Status::ok;
}

// One group after the other, each with queues that are put below its parent.
Firmware::Status Firmware::add_tx_queues(Command& command) {
  std::size_t at = 0;
  for (unsigned group = 0; group < command.params<wi::AddTxQueues>().groups; ++group) {
    if (!command.has<wi::TxQueueGroup>(at)) return Status::invalid;
    const auto header = command.get<wi::TxQueueGroup>(at);
    at += sizeof header;
    if (!holds(command, at, header.count, sizeof(wi::TxQueue))) return Status::invalid;
    for (unsigned i = 0; i < header.count; ++i, at += sizeof(wi::TxQueue)) {
      auto queue = command.get<wi::TxQueue>(at);
      if (queue.id >= data_.queues()) return Status::invalid;
      if (tx_queues_.contains(queue.id)) return Status::exists;
      if (scheduler_.find(header.parent) == nullptr) return Status::no_entry;
      intel::TxQueueConfig config = tx_config_of(queue.context);
      // A station beside the one that gets frames has its queue to program Flow Director.
      config.programs_flows = vsi_of(queue.context) != switching_.main_vsi();
      if (!data_.enable_tx(queue.id, config)) {
        counters_.queue_refused.add();
        return Status::invalid;
      }
      queue.element.type = wi::element::leaf;
      const auto teid = scheduler_.add(header.parent, queue.element);
      if (!teid) {
        data_.disable_tx(queue.id);
        return Status::no_space;
      }
      tx_queues_[queue.id] = *teid;
      queue.teid = *teid;
      command.put(queue, at);
    }
  }
  command.reply = command.buffer.size();
  return Status::ok;
}

void Firmware::forget_tx_queue(std::uint16_t queue) {
  const auto at = tx_queues_.find(queue);
  if (at == tx_queues_.end()) return;
  data_.disable_tx(queue);
  static_cast<void>(scheduler_.remove(at->second));
  tx_queues_.erase(at);
}

// What a queue has published is sent before the command is answered or not at all: nothing is in flight here.
Firmware::Status Firmware::disable_tx_queues(Command& command) {
  std::size_t at = 0;
  bool is_any_missing = false;
  for (unsigned entry = 0; entry < command.params<wi::DisableTxQueues>().entries; ++entry) {
    if (!command.has<wi::DisableTxGroup>(at)) return Status::invalid;
    const auto header = command.get<wi::DisableTxGroup>(at);
    at += sizeof header;
    if (!holds(command, at, header.count, sizeof(wi::U16))) return Status::invalid;
    for (unsigned i = 0; i < header.count; ++i, at += sizeof(wi::U16)) {
      constexpr std::uint16_t kNumber = 0x3fff;  // what is above tells of RDMA's queue sets
      const auto queue = static_cast<std::uint16_t>(command.get<wi::U16>(at) & kNumber);
      is_any_missing |= !tx_queues_.contains(queue);
      forget_tx_queue(queue);
    }
    at = (at + 3) & ~std::size_t{3};
  }
  command.reply = command.buffer.size();
  return is_any_missing ? Status::no_entry : Status::ok;
}

}  // namespace vmux::device::e810
