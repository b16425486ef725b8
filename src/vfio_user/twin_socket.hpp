// SPDX-License-Identifier: BSD-3-Clause
// The second socket of a session that agreed on "twin_socket": what the server asks and the client answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "vfio_user/transport.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::vfio_user {

/// Owns both ends until the client's has been sent. Home thread.
class TwinSocket {
 public:
  /// `ready` is called when there is something to receive, or settle() has something to do. Messages carry at most
  /// `max_transfer` bytes of data.
  [[nodiscard]] static Result<TwinSocket> create(runtime::Poller& poller, std::size_t max_transfer,
                                                 std::function<void()> ready);

  /// Our end of one that another object had: its transport is to be loaded.
  [[nodiscard]] static TwinSocket adopt(UniqueFd ours, std::size_t max_transfer);
  /// Looks at once whether there is anything to do. For adopt() only.
  [[nodiscard]] Result<void> watch(runtime::Poller& poller, std::function<void()> ready);

  [[nodiscard]] Transport& transport() noexcept { return *transport_; }
  [[nodiscard]] const Transport& transport() const noexcept { return *transport_; }
  [[nodiscard]] int peer() const noexcept { return peer_.get(); }  ///< for the client
  void peer_was_sent() noexcept { peer_.reset(); }

  /// Sends what is queued, and watches for what is still to do. False: it cannot be watched.
  [[nodiscard]] bool settle();
  void detach() noexcept { watch_.reset(); }

 private:
  TwinSocket(ipc::Connection ours, UniqueFd theirs, std::size_t max_message);

  [[nodiscard]] Result<void> begin_watch(runtime::Poller& poller, std::function<void()> ready);

  std::unique_ptr<Transport> transport_;  // its address stays when this moves
  UniqueFd peer_;
  runtime::Watch watch_;
  std::uint32_t watched_ = 0;
};

}  // namespace vmux::vfio_user
