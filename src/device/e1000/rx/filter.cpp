// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/rx/filter.hpp"

namespace vmux::device::e1000 {
namespace {

std::uint32_t byte_of(packet::Slice bytes, std::size_t at) noexcept {
  return std::to_integer<std::uint32_t>(bytes[at]);
}

bool in_multicast_table(const Registers& registers, std::uint32_t rctl, packet::Slice address) noexcept {
  // 13.5.1: twelve bits of the last two bytes, from bit 4, 3, 2 or 0 on.
  constexpr std::uint32_t kShift[] = {4, 3, 2, 0};
  const std::uint32_t last = (byte_of(address, 5) << 8) | byte_of(address, 4);
  const std::uint32_t hash = (last >> kShift[rctl::mo::get(rctl)]) & 0xfff;
  return ((registers.get(reg::MTA + (hash >> 5) * 4) >> (hash & 31)) & 1) != 0;
}

}  // namespace

Match match_address(const Registers& registers, std::uint32_t rctl, packet::Slice address) noexcept {
  const std::uint32_t low =
      byte_of(address, 0) | (byte_of(address, 1) << 8) | (byte_of(address, 2) << 16) | (byte_of(address, 3) << 24);
  const std::uint32_t high = byte_of(address, 4) | (byte_of(address, 5) << 8);
  if (low == 0xffff'ffff && high == 0xffff && rctl::bam::is_set(rctl)) return Match::exact;
  for (unsigned i = 0; i < kReceiveAddresses; ++i) {
    const std::uint32_t entry = registers.get(reg::RAH + i * 8);
    if (!rah::av::is_set(entry) || rah::as::get(entry) != 0) continue;
    if ((entry & 0xffff) == high && registers.get(reg::RAL + i * 8) == low) return Match::exact;
  }
  const bool multicast = (low & 1) != 0;
  if (multicast && in_multicast_table(registers, rctl, address)) return Match::inexact;
  const bool promiscuous = multicast ? rctl::mpe::is_set(rctl) : rctl::upe::is_set(rctl);
  return promiscuous ? Match::promiscuous : Match::none;
}

bool match_vlan(const Registers& registers, std::uint32_t rctl, std::optional<std::uint16_t> tci) noexcept {
  if (!tci || !rctl::vfe::is_set(rctl)) return true;
  const std::uint32_t id = *tci & 0xfffu;
  return ((registers.get(reg::VFTA + (id >> 5) * 4) >> (id & 31)) & 1) != 0;
}

std::uint32_t buffer_size(std::uint32_t rctl) noexcept {
  const std::uint32_t size = 2048u >> rctl::bsize::get(rctl);
  // 13.4.22: with BSEX the code 00 is reserved; the usual size serves.
  return rctl::bsex::is_set(rctl) && rctl::bsize::get(rctl) != 0 ? size * 16 : size;
}

}  // namespace vmux::device::e1000
