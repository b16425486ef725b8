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

std::size_t SideLane::peek_burst(std::span<packet::FrameView> into) noexcept {
  gate_.enter();
  interrupts_.service();
  const std::size_t count = is_open() ? lane_.peek(into) : 0;
  has_burst_ = count > 0;
  if (!has_burst_) gate_.leave();
  return count;
}

void SideLane::complete(std::size_t count) noexcept {
  if (!has_burst_) return;
  lane_.complete(count);
  has_burst_ = false;
  gate_.leave();
}

port::Delivery SideLane::deliver(std::span<const packet::FrameView> frames) noexcept {
  const Inside inside{gate_};
  return is_open() && lane_.can_receive() ? lane_.deliver(frames) : port::Delivery{};
}

void SideLane::flush() noexcept {
  const Inside inside{gate_};
  if (!is_paused_) lane_.flush();
}

packet::Accepts SideLane::accepts() const noexcept {
  const Inside inside{gate_};
  return lane_.accepts();
}

bool SideLane::needs_polling() const noexcept {
  const Inside inside{gate_};
  return is_mapped_ && is_dma_on_ && !is_paused_ && lane_.is_any_enabled();
}

bool SideLane::is_ready() const noexcept {
  const Inside inside{gate_};
  return is_open() && lane_.can_receive();
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
