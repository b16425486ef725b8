// SPDX-License-Identifier: BSD-3-Clause
// The other end of the RPC socket: blocking, for command line programs and tests.
#pragma once

#include <string>

#include "control/params.hpp"
#include "control/problem.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::control {

class RpcClient {
 public:
  /// A problem of kind host tells that nobody serves `path`.
  [[nodiscard]] static Outcome<RpcClient> connect(const std::string& path, unsigned timeout_s = 30);
  /// Over a connected socket.
  explicit RpcClient(UniqueFd socket) : socket_(std::move(socket)) {}

  /// The result, or the problem that the daemon told.
  Outcome<Json> call(const std::string& method, const Json& params = Json::object());

 private:
  UniqueFd socket_;
  std::string input_;
  std::uint64_t next_id_ = 1;
};

/// Where daemon and tools meet when nobody says otherwise: VMUX_RPC; /run/vmux/vmux.sock; for other users than root
/// vmux/vmux.sock in XDG_RUNTIME_DIR.
[[nodiscard]] std::string default_rpc_path();

}  // namespace vmux::control
