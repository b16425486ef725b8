// SPDX-License-Identifier: BSD-3-Clause
// The eventfds by which queues tell the guest (SET_VRING_CALL) and the front end (SET_VRING_ERR).
#pragma once

#include <utility>
#include <vector>

#include "pci/interrupts/irq_vector.hpp"
#include "virtio/device.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::vhost_user {

/// Outlives sessions, since queues of other pollers signal: see pci::IrqSink, which an interrupt of PCI has too.
class Calls final : public virtio::Signals {
 public:
  explicit Calls(unsigned rings) : sinks_(rings), errors_(rings) {}

  void queue_used(unsigned queue) noexcept override {
    if (queue < sinks_.size()) sinks_[queue].signal();
  }
  /// Link and speed of a card are the front end's own configuration space; it has to hang up to show a link that is
  /// down.
  void config_changed() noexcept override {}
  void state_changed() noexcept override { has_changed_ = true; }
  void queue_failed(unsigned queue) noexcept override {
    if (queue < errors_.size() && errors_[queue]) signal_peer_eventfd(errors_[queue].get());
  }

  [[nodiscard]] pci::IrqSink& operator[](unsigned ring) noexcept { return sinks_[ring]; }
  [[nodiscard]] const pci::IrqSink& operator[](unsigned ring) const noexcept { return sinks_[ring]; }
  [[nodiscard]] int error(unsigned ring) const noexcept { return errors_[ring].get(); }  ///< -1: nobody is told
  /// The one before.
  UniqueFd set_error(unsigned ring, UniqueFd eventfd) noexcept {
    return std::exchange(errors_[ring], std::move(eventfd));
  }
  /// Home thread: what a saved state has of the device is different since this was asked last.
  [[nodiscard]] bool take_change() noexcept { return std::exchange(has_changed_, false); }
  void drop_all() noexcept {
    for (pci::IrqSink& sink : sinks_)
      sink.drop();
    for (UniqueFd& error : errors_)
      error.reset();
  }

 private:
  std::vector<pci::IrqSink> sinks_;
  std::vector<UniqueFd> errors_;  // the home thread's alone
  bool has_changed_ = false;
};

}  // namespace vmux::vhost_user
