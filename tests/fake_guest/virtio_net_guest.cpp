// SPDX-License-Identifier: BSD-3-Clause
#include "fake_guest/virtio_net_guest.hpp"

#include <algorithm>

namespace vmux::fake_guest {

std::uint64_t VirtioNetFrame::field(std::size_t at, unsigned size) const {
  std::uint64_t value = 0;
  std::memcpy(&value, header.data() + at, size);
  return value;
}

VirtioNetGuest::VirtioNetGuest(Card card) : Guest(std::move(card), kMemory, pci::Irq::msix) { find_structures(); }

std::uint64_t VirtioNetGuest::read_at(pci::Region bar, std::uint64_t at, unsigned size) {
  std::uint64_t value = 0;
  way_->read(bar, at, std::as_writable_bytes(std::span{&value, 1}).first(size));
  return value;
}

void VirtioNetGuest::write_at(pci::Region bar, std::uint64_t at, unsigned size, std::uint64_t value) {
  way_->write(bar, at, std::as_bytes(std::span{&value, 1}).first(size));
}

// 4.1.4: vendor-specific capabilities, the type in their fourth byte.
void VirtioNetGuest::find_structures() {
  for (std::uint64_t at = read_at(pci::Region::config, 0x34, 1); at != 0;
       at = read_at(pci::Region::config, at + 1, 1)) {
    if (read_at(pci::Region::config, at, 1) != 9) continue;
    const std::uint64_t type = read_at(pci::Region::config, at + 3, 1);
    const std::uint64_t offset = read_at(pci::Region::config, at + 8, 4);
    if (type == 1) common_ = offset;
    if (type == 2) notify_ = offset;
    if (type == 2) notify_multiplier_ = static_cast<std::uint32_t>(read_at(pci::Region::config, at + 16, 4));
    if (type == 3) isr_ = offset;
    if (type == 4) device_ = offset;
  }
}

std::uint64_t VirtioNetGuest::offered() {
  set_common(0, 4, 0);
  const std::uint64_t low = common(4, 4);
  set_common(0, 4, 1);
  return low | common(4, 4) << 32;
}

// 3.1.1
bool VirtioNetGuest::negotiate(std::uint64_t wanted) {
  set_common(20, 1, 0);
  VMUX_ASSERT(status() == 0);
  rings_.clear();
  set_common(20, 1, 1);
  set_common(20, 1, 3);
  accepted_ = wanted;
  set_common(8, 4, 0);
  set_common(12, 4, wanted & 0xffff'ffff);
  set_common(8, 4, 1);
  set_common(12, 4, wanted >> 32);
  set_common(20, 1, 11);
  return (status() & 8) != 0;
}

void VirtioNetGuest::set_up_queue(unsigned queue, std::uint16_t size, bool has_vector) {
  set_common(22, 2, queue);
  VMUX_ASSERT(common(24, 2) >= size);
  set_common(24, 2, size);
  if (has_vector) set_common(26, 2, queue + 1);
  const VirtioLayout layout{has(virtio_bit::packed), size, ring_at(queue), ring_at(queue) + 0x8000,
                            ring_at(queue) + 0xc000};
  std::memset(memory_.data() + ring_at(queue), 0, 0x1'0000);
  set_common(32, 4, layout.descriptors & 0xffff'ffff);
  set_common(36, 4, layout.descriptors >> 32);
  set_common(40, 4, layout.driver & 0xffff'ffff);
  set_common(44, 4, layout.driver >> 32);
  set_common(48, 4, layout.device & 0xffff'ffff);
  set_common(52, 4, layout.device >> 32);
  rings_[queue] = std::make_unique<VirtioRing>(memory_.bytes(), 0, layout);
  rx_free_[queue / 2].clear();
  for (std::uint32_t token = 0; token < size; ++token)
    rx_free_[queue / 2].push_back(token);
  set_common(28, 2, 1);
  VMUX_ASSERT(common(28, 2) == 1);
}

unsigned VirtioNetGuest::control_queue() const { return rings_.rbegin()->first; }

void VirtioNetGuest::bring_up(const VirtioNetSetup& setup) {
  setup_ = setup;
  VMUX_ASSERT(negotiate(offered() & setup.features));
  const bool several = has(virtio_bit::mq | virtio_bit::rss);
  const unsigned most = several ? static_cast<unsigned>(config(8, 2)) : 1;
  VMUX_ASSERT(setup.pairs <= most);
  if (setup.has_vectors) set_common(16, 2, 0);
  for (unsigned queue = 0; queue < 2 * setup.pairs; ++queue)
    set_up_queue(queue, setup.size, setup.has_vectors);
  if (has(virtio_bit::control)) set_up_queue(2 * most, 16, setup.has_vectors);
  set_common(20, 1, 15);
  for (unsigned pair = 0; setup.fill && pair < setup.pairs; ++pair)
    refill(pair);
  if (setup.pairs > 1 && has(virtio_bit::control)) {
    const std::array<std::uint8_t, 2> pairs{static_cast<std::uint8_t>(setup.pairs), 0};
    VMUX_ASSERT(command(4, 0, pairs) == 0);
  }
}

// 4.1.4.3.1, queue_reset
void VirtioNetGuest::reset_queue(unsigned queue) {
  set_common(22, 2, queue);
  set_common(58, 2, 1);
  VMUX_ASSERT(common(58, 2) == 0 && common(28, 2) == 0);
  rings_.erase(queue);
}

std::uint32_t VirtioNetGuest::header_size() const { return has(virtio_bit::hash_report) ? 20 : 12; }

void VirtioNetGuest::notify(unsigned queue) {
  set_common(22, 2, queue);
  write_at(kBar, notify_ + common(30, 2) * notify_multiplier_, 2, queue);
}

void VirtioNetGuest::queue(std::span<const std::byte> frame, const Send& how, unsigned pair) {
  const std::uint32_t header = header_size();
  const std::uint64_t at = tx_buffer_;
  tx_buffer_ += std::max<std::uint64_t>(kStride, (frame.size() + 0x1000) & ~std::uint64_t{0xfff});
  if (tx_buffer_ + 0x2'0000 > kRxBuffers) tx_buffer_ = kTxBuffers;
  std::memset(memory_.data() + at, 0, header);
  std::memcpy(memory_.data() + at, how.header.data(), how.header.size());
  std::memcpy(memory_.data() + at + header, frame.data(), frame.size());
  std::vector<VirtioPart> parts;
  std::uint64_t from = at;
  auto left = static_cast<std::uint32_t>(frame.size() + header);
  if (how.own_header) {
    parts.push_back({from, header, false});
    from += header;
    left -= header;
  }
  for (unsigned i = 0; i < how.parts; ++i) {
    const std::uint32_t part = i + 1 == how.parts ? left : left / (how.parts - i);
    parts.push_back({from, part, false});
    from += part;
    left -= part;
  }
  std::uint64_t table = 0;
  if (how.is_indirect) {
    table = table_;
    table_ = table_ + 0x1000 >= kTxBuffers ? kTables : table_ + 0x1000;
  }
  ring(2 * pair + 1).add(parts, 0, table);
}

void VirtioNetGuest::send(std::span<const std::byte> frame, const Send& how, unsigned pair) {
  queue(frame, how, pair);
  ring(2 * pair + 1).publish();
  if (ring(2 * pair + 1).wants_kick(has(virtio_bit::event_idx))) notify(2 * pair + 1);
}

unsigned VirtioNetGuest::reap(unsigned pair) {
  unsigned count = 0;
  while (ring(2 * pair + 1).take_used())
    ++count;
  return count;
}

void VirtioNetGuest::refill(unsigned pair) {
  VirtioRing& rx = ring(2 * pair);
  while (rx.free() > 0) {
    const std::uint32_t token = rx_free_[pair].back();
    rx_free_[pair].pop_back();
    const std::uint64_t at = kRxBuffers + pair * 0x10'0000ull + token * std::uint64_t{setup_.buffer};
    rx.post({{at, setup_.buffer, true}}, token);
  }
}

// 5.1.6.4: num_buffers says how many chains a frame takes.
std::optional<VirtioNetFrame> VirtioNetGuest::receive(unsigned pair) {
  VirtioRing& rx = ring(2 * pair);
  VirtioNetFrame frame;
  std::uint64_t wanted = 1;
  for (; frame.chains < wanted; ++frame.chains) {
    const auto used = rx.take_used();
    if (!used) {
      VMUX_ASSERT(frame.chains == 0);
      return std::nullopt;
    }
    const std::uint64_t at = kRxBuffers + pair * 0x10'0000ull + used->token * std::uint64_t{setup_.buffer};
    std::uint32_t skip = 0;
    if (frame.chains == 0) {
      skip = header_size();
      std::memcpy(frame.header.data(), memory_.data() + at, skip);
      if (has(virtio_bit::mergeable)) wanted = frame.field(10, 2);
    }
    VMUX_ASSERT(used->length >= skip && used->length <= setup_.buffer);
    frame.bytes.insert(frame.bytes.end(), memory_.data() + at + skip, memory_.data() + at + used->length);
    rx_free_[pair].push_back(used->token);
  }
  return frame;
}

std::optional<std::uint8_t> VirtioNetGuest::command(std::uint8_t group, std::uint8_t command,
                                                    std::span<const std::uint8_t> data) {
  const std::uint64_t head = kCommands, body = kCommands + 0x100, ack = kCommands + 0x8000;
  memory_.bytes()[head] = std::byte{group};
  memory_.bytes()[head + 1] = std::byte{command};
  memory_.bytes()[ack] = std::byte{0xee};
  std::vector<VirtioPart> parts{{head, 2, false}};
  if (!data.empty()) {
    std::memcpy(memory_.data() + body, data.data(), data.size());
    parts.push_back({body, static_cast<std::uint32_t>(data.size()), false});
  }
  parts.push_back({ack, 1, true});
  const unsigned queue = rings_.rbegin()->first;
  ring(queue).post(parts, 1);
  notify(queue);
  if (!ring(queue).take_used()) return std::nullopt;
  return std::to_integer<std::uint8_t>(memory_.bytes()[ack]);
}

}  // namespace vmux::fake_guest
