// SPDX-License-Identifier: BSD-3-Clause
#include "vdpa/control_commands.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "vmux/base/clock.hpp"
#include "wire/virtio.hpp"

namespace vmux::vdpa {
namespace {

namespace control = wire::virtio::net::control;

constexpr std::uint64_t kAnswerWithin_ns = 1'000'000'000;
constexpr auto kBetweenLooks = std::chrono::microseconds{100};
constexpr unsigned kQuickLooks = 1000;
constexpr std::uint64_t kRoom = 64;  // for a command, and for its answer behind it
constexpr std::uint64_t kAnswerAt = kRoom - 1;

}  // namespace

std::uint64_t ControlCommands::bytes() noexcept { return kRoom + DriverRing::bytes_of(kMost); }

void ControlCommands::start(RingMemory::Part memory, Function& function, unsigned queue, std::uint16_t size) {
  command_ = {memory.bytes.first(kRoom), memory.at};
  ring_.start({memory.bytes.subspan(kRoom), Iova{memory.at.raw + kRoom}}, size);
  function_ = &function;
  queue_ = queue;
  is_silent_ = false;
}

Result<void> ControlCommands::send(std::uint8_t group, std::uint8_t command, std::span<const std::byte> data) {
  if (is_silent_) return fail(Errc::busy, "the function still owes an answer to a command");
  std::ranges::fill(command_.bytes, std::byte{0});
  command_.bytes[0] = std::byte{group};
  command_.bytes[1] = std::byte{command};
  std::ranges::copy(data, command_.bytes.begin() + 2);
  command_.bytes[kAnswerAt] = std::byte{0xff};
  const std::array<virtio::Buffer, 1> question{{{command_.at, static_cast<std::uint32_t>(2 + data.size())}}};
  const std::array<virtio::Buffer, 1> answer{{{Iova{command_.at.raw + kAnswerAt}, 1}}};
  if (!ring_.post(question, answer)) return fail(Errc::busy, "the function's control queue is full");
  ring_.publish();
  function_->kick(queue_);
  const std::uint64_t until = monotonic_ns() + kAnswerWithin_ns;
  for (unsigned looks = 0; !ring_.take(); ++looks) {
    if (ring_.is_broken()) return fail(Errc::protocol, "the function's control queue makes no sense");
    if (monotonic_ns() >= until) {
      is_silent_ = true;
      return fail(Errc::timed_out, "the function does not answer a command");
    }
    if (looks >= kQuickLooks) std::this_thread::sleep_for(kBetweenLooks);
  }
  if (command_.bytes[kAnswerAt] != std::byte{control::ok}) return fail(Errc::not_supported, "it refuses the command");
  return {};
}

Result<void> ControlCommands::set_pairs(std::uint16_t pairs) {
  const Le<std::uint16_t> wire = pairs;
  return send(control::mq, control::mq_pairs_set, std::as_bytes(std::span{&wire, 1}));
}

Result<void> ControlCommands::set_mac(const MacAddress& mac) {
  return send(control::mac, control::mac_addr_set, std::as_bytes(std::span{mac}));
}

Result<void> ControlCommands::set_promiscuous(bool is_on) {
  const std::byte wire{static_cast<std::uint8_t>(is_on ? 1 : 0)};
  return send(control::rx, control::rx_promisc, {&wire, 1});
}

}  // namespace vmux::vdpa
