// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/rings.hpp"

#include <algorithm>
#include <array>

#include "device/e1000/board/phy.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint64_t kQuiet = 20'000'000;  // ns that one trapped doorbell is believed
constexpr std::uint64_t kSettle = 5'000'000;  // ns until it is believed at all

}  // namespace

bool Rings::is_loopback() const noexcept {
  return rctl::lbm::get(registers_.get(reg::RCTL)) != 0 || is_phy_loopback(state_.phy);
}

bool Rings::transmits() const noexcept {
  return run_state_.is_running() && tctl::en::is_set(registers_.get(reg::TCTL)) && state_.tx_fault == Fault::none;
}

bool Rings::receives() const noexcept {
  return run_state_.is_running() && rctl::en::is_set(registers_.get(reg::RCTL)) && state_.rx_fault == Fault::none;
}

// 13.4.22 LBM and the PHY's loopback: what is sent comes back, and the cable is silent.
void Rings::loop_back() noexcept {
  std::array<packet::FrameView, port::kMaxBurst> frames;
  const std::size_t count = tx.peek(frames);
  has_more_to_send_ = tx.is_unfinished() || count == frames.size();  // the switch sees none of these
  if (count == 0) return;
  if (receives()) static_cast<void>(rx.deliver(std::span{frames}.first(count)));
  tx.complete(count);
}

void Rings::begin_round() noexcept {
  if (receives()) rx.drain();
  if (is_loopback() && transmits()) loop_back();
}

std::size_t Rings::take(std::span<packet::FrameView> into) noexcept {
  if (is_loopback() || !transmits()) return 0;
  const std::size_t count = tx.peek(into);
  has_more_to_send_ = tx.is_unfinished();
  return count;
}

bool Rings::needs_polling() const noexcept {
  const bool sends = transmits();
  if (has_more_to_send_ && sends) return true;
  if (!is_mapped_ || !(sends || receives())) return false;
  const std::uint64_t now = poller_.now_ns();
  return now >= quiet_until_ns_ || now - trapped_since_ns_ < kSettle;
}

void Rings::doorbell_trapped(std::uint64_t mapped_again_ns) noexcept {
  const std::uint64_t now = poller_.now_ns();
  if (now >= quiet_until_ns_) trapped_since_ns_ = now;
  quiet_until_ns_ = std::min(now + kQuiet, mapped_again_ns);
  look_again_.arm_at(quiet_until_ns_);
}

}  // namespace vmux::device::e1000
