// SPDX-License-Identifier: BSD-3-Clause
// The queues of a NIC that one poller owns, as the switch uses them, and what keeps them apart from their home.
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "nic/run_state.hpp"
#include "port/port.hpp"
#include "runtime/gate.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::nic {

/// A port::Port on each poller that owns queues of a NIC. `Queues` is the model's; the lane calls it
///   begin_round() ; take(views) ; finish(results) ; deliver(frames) ; end_round()
///   accepts() ; can_receive() ; needs_polling() ; released()
///   for_each_memory(f) ; set_memory(table)
///   taken_from() ; given_to(index), if it has several of them
/// of which it calls none for a NIC that does not run but begin_round() and end_round(), those not while it is paused,
/// and questions.
///
/// A lane on another poller than the home has its queues between enter() and leave() of a gate: in a round, and in
/// calls beside one. The home thread changes them with change(), at once and without a message: the guest's request
/// that asked for it (an admin command, an UNMAP, a reset, bus mastering off) can be answered right away, and the wait
/// is for a round at most. A change by message would have every such answer wait, and two homes whose devices reset
/// could not wait for each other. The home's own lane does the same without a gate.
template <class Queues>
class Lane final : public port::Port, private memory::Observer {
 public:
  /// What follows `state` is for the queues.
  template <class... Args>
  Lane(runtime::Poller& poller, bool is_home, const RunState& state, Args&&... args)
      : poller_(poller), is_home_(is_home), state_(state), queues_(std::forward<Args>(args)...) {}

  // --- the home thread ---

  /// Gives the queues the guest's memory, as long as the function may master the bus.
  void connect(pci::Function& function) {
    if (is_home_) return queues_.for_each_memory([&](memory::GuestMemory& each) { function.attach(each); });
    space_ = &function.memory();
    space_->attach(*this);
  }
  void disconnect(pci::Function& function) noexcept {
    if (is_home_) return queues_.for_each_memory([&](memory::GuestMemory& each) { function.detach(each); });
    if (space_ != nullptr) space_->detach(*this);
    space_ = nullptr;
    table_.reset();
    hand_out_memory();
  }
  /// What is done to the queues, while their poller is kept out; and then it looks at them.
  template <class F>
  void change(F&& what) noexcept {
    look(what);
    wake();
  }
  /// The same, and nothing is changed.
  template <class F>
  void look(F&& what) noexcept {
    if (!is_home_) gate_.close();
    what(queues_);
    if (!is_home_) gate_.open();
  }
  /// From its return on, no round goes by what the run state was.
  void settle() noexcept {
    change([](Queues&) {});
  }
  /// The queues get the guest's memory, or lose it: nic::set_dma() says when.
  void set_dma(bool on) noexcept {
    has_dma_ = on;
    hand_out_memory();
  }
  void wake() noexcept {  ///< its poller, if that is another
    if (!is_home_) poller_.wake();
  }
  using Port::publish;

  /// Of the home thread what only that changes; else behind look() and change().
  [[nodiscard]] Queues& queues() noexcept { return queues_; }
  [[nodiscard]] const Queues& queues() const noexcept { return queues_; }

  // --- its poller ---

  /// Not in a round: for a timer of the queues.
  template <class F>
  void visit(F&& what) noexcept {
    enter();
    what(queues_);
    leave();
  }

  // port::Port
  void begin_round() noexcept override {
    enter();
    is_in_round_ = true;
    if (!state_.is_paused()) queues_.begin_round();
  }
  void end_round() noexcept override {
    if (!state_.is_paused()) queues_.end_round();
    is_in_round_ = false;
    leave();
  }
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    return state_.is_running() ? queues_.take(into) : 0;
  }
  void finish(std::span<const port::FrameResult> results) noexcept override {
    if (!results.empty()) queues_.finish(results);
  }
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override {
    return can_receive() ? queues_.deliver(frames) : port::Delivery{};
  }
  [[nodiscard]] std::uint16_t taken_from() const noexcept override {
    if constexpr (requires { queues_.taken_from(); }) return queues_.taken_from();
    return port::kNoQueue;
  }
  [[nodiscard]] std::uint16_t given_to(std::size_t at) const noexcept override {
    if constexpr (requires { queues_.given_to(at); }) return queues_.given_to(at);
    return port::kNoQueue;
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override {
    return inside([this] { return queues_.accepts(); });
  }
  [[nodiscard]] bool needs_polling() const noexcept override {
    return inside([this] { return state_.is_looking() && queues_.needs_polling(); });
  }
  [[nodiscard]] bool is_ready() const noexcept override {
    return inside([this] { return can_receive(); });
  }
  void released() noexcept override {
    visit([](Queues& queues) { queues.released(); });
  }

 private:
  void hand_out_memory() noexcept {
    if (is_home_) return;  // the function does that
    look([this](Queues& queues) { queues.set_memory(has_dma_ ? table_ : nullptr); });
  }
  void adopt(std::shared_ptr<const memory::Table> table, std::uint64_t generation) noexcept override {
    table_ = std::move(table);
    hand_out_memory();
    space_->adopted(*this, generation);  // nobody uses the old one any more
  }
  [[nodiscard]] bool can_receive() const noexcept { return state_.is_running() && queues_.can_receive(); }
  void enter() const noexcept {
    if (!is_home_) gate_.enter();
  }
  void leave() const noexcept {
    if (!is_home_) gate_.leave();
  }
  /// For a question that may be asked in a round or beside one.
  template <class F>
  auto inside(F&& what) const noexcept {
    if (is_in_round_) return what();
    enter();
    const auto answer = what();
    leave();
    return answer;
  }

  runtime::Poller& poller_;
  const bool is_home_;
  const RunState& state_;
  mutable runtime::Gate gate_;
  Queues queues_;
  bool is_in_round_ = false;  // its poller's

  // The home thread's:
  memory::AddressSpace* space_ = nullptr;
  std::shared_ptr<const memory::Table> table_;
  bool has_dma_ = false;
};

/// The function may, or may no longer, master the bus. Lanes run only while their queues have memory: a round between
/// the two would find none, and stop the queues as if the guest had lied.
template <class Lanes>
void set_dma(RunState& state, const Lanes& lanes, bool on) noexcept {
  if (!on) state.set_dma(false);
  for (const auto& lane : lanes)
    lane->set_dma(on);
  if (!on) return;
  state.set_dma(true);
  for (const auto& lane : lanes)
    lane->wake();
}

}  // namespace vmux::nic
