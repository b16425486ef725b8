// SPDX-License-Identifier: BSD-3-Clause
// Commands about the card's switch: stations, rules, numbers of resources, receive-side scaling.
#include <algorithm>
#include <cstring>

#include "device/e810/firmware/firmware.hpp"

namespace vmux::device::e810 {

namespace wi = wire::ice;

namespace {

constexpr std::uint16_t kSwitchId = 1;

bool is_block(std::uint16_t type) noexcept {
  return type >= wi::resource::flow_counters && type <= wi::resource::shared_flows;
}

std::uint16_t number_of(const wi::Vsi& params) noexcept { return params.number & wi::vsi::number_mask; }

std::size_t lut_size(std::uint16_t flags) noexcept {
  if ((flags & wi::rss_lut::size_mask) == wi::rss_lut::size_512) return 512;
  if ((flags & wi::rss_lut::size_mask) == wi::rss_lut::size_2048) return 2048;
  return (flags & wi::rss_lut::type_mask) == wi::rss_lut::type_vsi ? 64 : 128;
}

}  // namespace

// The port, and the station that network boot uses. Each answer has as many as the buffer holds.
Firmware::Status Firmware::get_switch_config(Command& command) {
  const wi::SwitchElement elements[] = {
      {wi::switch_element::physical_port | 0, kSwitchId, 0},
      {wi::switch_element::vsi | Switching::kDefaultVsi, kSwitchId, 0},
  };
  auto params = command.params<wi::GetSwitchConfig>();
  const std::size_t first = params.element;
  if (first >= std::size(elements)) return Status::invalid;
  std::size_t at = 0, next = first;
  for (; next < std::size(elements) && command.has<wi::SwitchElement>(at); ++next, at += sizeof(wi::SwitchElement))
    command.put(elements[next], at);
  params.count = static_cast<std::uint16_t>(next - first);
  params.element = next < std::size(elements) ? static_cast<std::uint16_t>(next) : std::uint16_t{0};
  command.set_params(params);
  command.reply = command.buffer.size();
  return Status::ok;
}

std::uint16_t Firmware::most_of(std::uint16_t type) noexcept {
  const bool is_profile = type == 0x48 || type == 0x50 || type == 0x58 || type == 0x60;
  return is_profile ? 127 : 511;
}

// The lowest free numbers, from 1 on: 0 would do as well, but not for every driver.
Firmware::Status Firmware::alloc_resource(Command& command) {
  std::size_t at = 0;
  for (unsigned entry = 0; entry < command.params<wi::Count>().count; ++entry) {
    if (!command.has<wi::Resource>(at)) return Status::invalid;
    const auto request = command.get<wi::Resource>(at);
    at += sizeof request;
    const auto type = static_cast<std::uint16_t>(request.type & wi::resource::type_mask);
    const unsigned numbers = is_block(type) ? 1u : unsigned{request.count};
    if (numbers > (command.buffer.size() - at) / sizeof(wi::U16)) return Status::invalid;
    std::set<std::uint16_t>& used = resources_[type];
    if (used.size() + numbers > most_of(type)) return Status::no_space;
    std::uint16_t number = 1;
    for (unsigned i = 0; i < numbers; ++i, at += sizeof(wi::U16)) {
      while (used.contains(number))
        ++number;
      used.insert(number);
      command.put(wi::U16{number}, at);
    }
  }
  command.reply = command.buffer.size();
  return Status::ok;
}

Firmware::Status Firmware::free_resource(Command& command) {
  std::size_t at = 0;
  for (unsigned entry = 0; entry < command.params<wi::Count>().count; ++entry) {
    if (!command.has<wi::Resource>(at)) return Status::invalid;
    const auto request = command.get<wi::Resource>(at);
    at += sizeof request;
    const auto type = static_cast<std::uint16_t>(request.type & wi::resource::type_mask);
    const unsigned numbers = is_block(type) ? 1u : unsigned{request.count};
    if (numbers > (command.buffer.size() - at) / sizeof(wi::U16)) return Status::invalid;
    for (unsigned i = 0; i < numbers; ++i, at += sizeof(wi::U16)) {
      const std::uint16_t number = command.get<wi::U16>(at);
      if (resources_[type].erase(number) == 0) return Status::invalid;
    }
  }
  command.reply = command.buffer.size();
  return Status::ok;
}

// Asked by DPDK about profiles of others, of which there are none.
Firmware::Status Firmware::get_allocated_resources(Command& command) {
  struct Answer {
    wi::U16 flags, type, count, reserved;
  };
  auto answer = command.params<Answer>();
  answer.count = 0;
  command.set_params(answer);
  return Status::ok;
}

Firmware::Status Firmware::add_vsi(Command& command) {
  const auto number = switching_.add_vsi(command.get<wi::VsiContext>());
  if (!number) return Status::no_space;
  wi::VsiAnswer answer{};
  answer.number = static_cast<std::uint16_t>(*number | wi::vsi::number_valid);
  answer.used = static_cast<std::uint16_t>(switching_.vsi_count());
  answer.free = static_cast<std::uint16_t>(Switching::kMostVsis - switching_.vsi_count());
  command.set_params(answer);
  command.reply = command.buffer.size();
  publish();
  return Status::ok;
}

Firmware::Status Firmware::update_vsi(Command& command) {
  const std::uint16_t number = number_of(command.params<wi::Vsi>());
  if (!switching_.update_vsi(number, command.get<wi::VsiContext>())) return Status::no_entry;
  command.reply = command.buffer.size();
  publish();
  return Status::ok;
}

Firmware::Status Firmware::get_vsi(Command& command) {
  const wi::VsiContext* const context = switching_.vsi(number_of(command.params<wi::Vsi>()));
  if (context == nullptr) return Status::no_entry;
  command.put(*context);
  command.reply = sizeof *context;
  return Status::ok;
}

Firmware::Status Firmware::free_vsi(Command& command) {
  const auto params = command.params<wi::Vsi>();
  if ((params.flags & wi::vsi::keep_allocated) != 0) return Status::ok;
  if (!switching_.free_vsi(number_of(params))) return Status::no_entry;
  publish();
  return Status::ok;
}

Firmware::Status Firmware::clear_pf_config(Command& /*command*/) {
  switching_.reset();
  publish();
  return Status::ok;
}

// The state of each rule is told in it, and that of the command is the first that was not good.
Firmware::Status Firmware::rules(Command& command) {
  Status first = Status::ok;
  std::size_t at = 0;
  for (unsigned i = 0; i < command.params<wi::Count>().count; ++i) {
    if (!command.has<wi::RuleHeader>(at)) return Status::invalid;
    const std::size_t header_at = at;
    const Status status = apply_rule(command, at);
    auto header = command.get<wi::RuleHeader>(header_at);
    header.status = static_cast<std::uint16_t>(status);
    command.put(header, header_at);
    if (first == Status::ok) first = status;
    if (at == header_at) break;  // no telling where the next one begins
  }
  command.reply = command.buffer.size();
  publish();
  return first;
}

Firmware::Status Firmware::apply_rule(Command& command, std::size_t& at) {
  switch (command.get<wi::RuleHeader>(at).type) {
    case wi::rule::lookup_rx:
    case wi::rule::lookup_tx:
      return apply_lookup(command, at);
    case wi::rule::vsi_list_set:
    case wi::rule::vsi_list_clear:
    case wi::rule::prune_list_set:
    case wi::rule::prune_list_clear:
      return apply_list(command, at);
    default:
      return Status::invalid;  // large actions: no driver of ours needs them
  }
}

Firmware::Status Firmware::apply_lookup(Command& command, std::size_t& at) {
  if (!command.has<wi::LookupRule>(at)) return Status::invalid;
  auto lookup = command.get<wi::LookupRule>(at);
  const std::size_t header_at = at + sizeof lookup, length = lookup.header_length;
  if (length > wi::rule::most_header || length > command.buffer.size() - header_at) return Status::invalid;
  const std::size_t lookup_at = at;
  at = header_at + length;
  Rule rule{lookup.index, lookup.header.type, lookup.recipe, lookup.source, lookup.action, {}};
  const auto* const header = reinterpret_cast<const std::uint8_t*>(command.buffer.data()) + header_at;
  rule.header.assign(header, header + length);  // which may be nothing
  if (command.descriptor.opcode == wi::op::remove_rules) return switching_.remove(rule.index);
  if (command.descriptor.opcode == wi::op::update_rules) return switching_.update(rule);
  const Status status = switching_.add(rule);
  lookup.index = rule.index;
  if (status == Status::ok) command.put(lookup, lookup_at);
  return status;
}

Firmware::Status Firmware::apply_list(Command& command, std::size_t& at) {
  if (!command.has<wi::ListRule>(at)) return Status::invalid;
  const auto list = command.get<wi::ListRule>(at);
  const std::size_t first = at + sizeof list;
  if (list.count > (command.buffer.size() - first) / sizeof(wi::U16)) return Status::invalid;
  at = first + list.count * sizeof(wi::U16);
  if (command.descriptor.opcode == wi::op::remove_rules) {
    switching_.forget_list(list.index);
    return Status::ok;
  }
  const bool is_set = list.header.type == wi::rule::vsi_list_set || list.header.type == wi::rule::prune_list_set;
  if (list.index > Switching::kLastList) return Status::no_space;
  std::vector<std::uint16_t> vsis;
  for (std::size_t i = 0; i < list.count; ++i) {
    vsis.push_back(command.get<wi::U16>(first + i * sizeof(wi::U16)) & wi::vsi::number_mask);
    if (is_set && switching_.vsi(vsis.back()) == nullptr) return Status::no_entry;
  }
  switching_.set_list(list.index, vsis, is_set);
  return Status::ok;
}

Firmware::Status Firmware::set_rss_key(Command& command) {
  rss_.key = command.get<decltype(rss_.key)>();
  publish();
  return Status::ok;
}

Firmware::Status Firmware::get_rss_key(Command& command) {
  command.put(rss_.key);
  command.reply = rss_.key.size();
  return Status::ok;
}

Firmware::Status Firmware::set_rss_lut(Command& command) {
  const std::size_t size = lut_size(command.params<wi::RssCommand>().flags);
  if (size > command.buffer.size()) return Status::invalid;
  rss_.lut.resize(size);
  std::memcpy(rss_.lut.data(), command.buffer.data(), size);
  publish();
  return Status::ok;
}

Firmware::Status Firmware::get_rss_lut(Command& command) {
  const std::size_t size = std::min(command.buffer.size(), rss_.lut.size());
  if (size > 0) std::memcpy(command.buffer.data(), rss_.lut.data(), size);
  command.reply = command.buffer.size();
  return Status::ok;
}

/// What stations, rules and RSS say together becomes the data path's.
void Firmware::publish() {
  const wi::VsiContext& vsi = switching_.main_context();
  intel::RxRules& rules = data_.rules();
  rules.filters = switching_.filters();
  rules.vlan.outer.strip = (vsi.inner_vlan_flags & wi::vsi_context::strip_mask) != wi::vsi_context::strip_nothing;
  // Contiguous: the first queue and how many; else a list, of which the first does.
  rules.first_queue = vsi.queue_mapping[0];
  rules.rss.key = rss_.key;
  rules.rss.enabled = !rss_.lut.empty();
  rules.rss.hena = intel::kHashedPackets;
  rules.rss.symmetric = (vsi.rss & wi::vsi_context::hash_mask) == wi::vsi_context::hash_symmetric;
  rules.rss.large_lut = rss_.lut;
  for (std::uint8_t& queue : rules.rss.large_lut)
    queue = static_cast<std::uint8_t>(queue + rules.first_queue);
  data_.publish();
}

}  // namespace vmux::device::e810
