// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/side_lane.hpp"

namespace vmux::device::iavf {
namespace {

class Inside {
 public:
  explicit Inside(runtime::Gate& gate) noexcept : gate_(gate) { gate_.enter(); }
  ~Inside() { gate_.leave(); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  runtime::Gate& gate_;
};

}  // namespace

SideLane::SideLane(Registers& registers, VectorStates& vectors, runtime::Poller& poller, bool is_mapped)
    : poller_(poller),
      is_mapped_(is_mapped),
      interrupts_(registers, vectors, nic_counters_, poller, [this] { timer_expired(); }),
      lane_(registers, interrupts_) {}

// --- the home thread ---

void SideLane::connect(pci::Interrupts& vectors, memory::AddressSpace& space) {
  interrupts_.connect(vectors);
  space_ = &space;
  space.attach(*this);
}

void SideLane::disconnect() noexcept {
  if (space_ != nullptr) space_->detach(*this);
  space_ = nullptr;
  table_.reset();
  hand_out_memory();
}

void SideLane::adopt(std::shared_ptr<const memory::Table> table, std::uint64_t generation) noexcept {
  table_ = std::move(table);
  hand_out_memory();
  space_->adopted(*this, generation);  // nobody uses the old one any more
}

void SideLane::hand_out_memory() noexcept {
  gate_.close();
  lane_.set_memory(is_dma_on_ ? table_ : nullptr);
  gate_.open();
}

void SideLane::set_dma(bool enabled) noexcept {
  change([&](Lane& lane) {
    is_dma_on_ = enabled;
    lane.set_memory(enabled ? table_ : nullptr);
  });
}

void SideLane::set_link(bool up) noexcept {
  change([&](Lane&) { is_link_up_ = up; });
}

void SideLane::pause() noexcept {
  change([this](Lane&) {
    is_paused_ = true;
    interrupts_.pause();
  });
}

void SideLane::resume() noexcept {
  change([this](Lane& lane) {
    is_paused_ = false;
    lane.raise_received();  // fires when the lane's poller looks: its timer is made there
    interrupts_.resume();
  });
}

void SideLane::reset() noexcept {
  change([this](Lane& lane) {
    lane.reset();
    interrupts_.reset();
  });
}

// --- its poller ---

void SideLane::begin_round() noexcept {
  gate_.enter();
  is_in_round_ = true;
  interrupts_.service();
}

void SideLane::end_round() noexcept {
  if (!is_paused_) lane_.flush();
  is_in_round_ = false;
  gate_.leave();
}

std::size_t SideLane::take(std::span<packet::FrameView> into) noexcept { return is_open() ? lane_.peek(into) : 0; }

void SideLane::finish(std::span<const port::FrameResult> results) noexcept { lane_.complete(results.size()); }

port::Delivery SideLane::deliver(std::span<const packet::FrameView> frames) noexcept {
  return is_open() && lane_.can_receive() ? lane_.deliver(frames) : port::Delivery{};
}

packet::Accepts SideLane::accepts() const noexcept {
  return inside([this] { return lane_.accepts(); });
}

bool SideLane::needs_polling() const noexcept {
  return inside([this] { return is_mapped_ && is_dma_on_ && !is_paused_ && lane_.is_any_enabled(); });
}

bool SideLane::is_ready() const noexcept {
  return inside([this] { return is_open() && lane_.can_receive(); });
}

void SideLane::timer_expired() noexcept {
  const Inside inside{gate_};
  interrupts_.expired();
}

void SideLane::released() noexcept {
  const Inside inside{gate_};
  interrupts_.release_timer();
}

}  // namespace vmux::device::iavf
