// SPDX-License-Identifier: BSD-3-Clause
// How queues tell the guest (SET_VRING_CALL) and the front end (SET_VRING_ERR), and the device its front end that its
// configuration has changed.
#pragma once

#include <sys/socket.h>

#include <utility>
#include <vector>

#include "pci/interrupts/irq_vector.hpp"
#include "virtio/device.hpp"
#include "vmux/base/unique_fd.hpp"
#include "wire/vhost_user.hpp"

namespace vmux::vhost_user {

/// Outlives sessions, since queues of other pollers signal: see pci::IrqSink, which an interrupt of PCI has too.
class Calls final : public virtio::Signals {
 public:
  explicit Calls(unsigned rings) : sinks_(rings), errors_(rings) {}

  void queue_used(unsigned queue) noexcept override {
    if (queue < sinks_.size()) sinks_[queue].signal();
  }
  [[nodiscard]] int eventfd(unsigned queue) const noexcept override {
    return queue < sinks_.size() && sinks_[queue].has_listener() ? sinks_[queue].fd() : -1;
  }
  /// CONFIG_CHANGE, to which there is no answer, by a channel that the front end gave. Without one it is not to be
  /// told: link and speed of a card are its own configuration space, and it is hung up on to show a link that is down.
  /// Who does not read it has it filled, and hears no more than that.
  void config_changed() noexcept override {
    if (!channel_) return;
    const wire::vhost_user::Header message{wire::vhost_user::kConfigChange, wire::vhost_user::header_flags::kVersion,
                                           0};
    static_cast<void>(::send(channel_.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  void state_changed() noexcept override { has_changed_ = true; }
  void queue_failed(unsigned queue) noexcept override {
    if (queue < errors_.size() && errors_[queue]) signal_peer_eventfd(errors_[queue].get());
  }

  /// As many as the device had rings at first: no session has more.
  [[nodiscard]] unsigned count() const noexcept { return static_cast<unsigned>(sinks_.size()); }
  [[nodiscard]] pci::IrqSink& operator[](unsigned ring) noexcept { return sinks_[ring]; }
  [[nodiscard]] const pci::IrqSink& operator[](unsigned ring) const noexcept { return sinks_[ring]; }
  [[nodiscard]] int error(unsigned ring) const noexcept { return errors_[ring].get(); }  ///< -1: nobody is told
  /// The one before.
  UniqueFd set_error(unsigned ring, UniqueFd eventfd) noexcept {
    return std::exchange(errors_[ring], std::move(eventfd));
  }
  [[nodiscard]] int channel() const noexcept { return channel_.get(); }  ///< SET_BACKEND_REQ_FD; -1: none
  /// The one before.
  UniqueFd set_channel(UniqueFd socket) noexcept { return std::exchange(channel_, std::move(socket)); }
  /// Home thread: what a saved state has of the device is different since this was asked last.
  [[nodiscard]] bool take_change() noexcept { return std::exchange(has_changed_, false); }
  void drop_all() noexcept {
    for (pci::IrqSink& sink : sinks_)
      sink.drop();
    for (UniqueFd& error : errors_)
      error.reset();
    channel_.reset();
  }

 private:
  std::vector<pci::IrqSink> sinks_;
  std::vector<UniqueFd> errors_;  // the home thread's alone
  UniqueFd channel_;              // the same
  bool has_changed_ = false;
};

}  // namespace vmux::vhost_user
