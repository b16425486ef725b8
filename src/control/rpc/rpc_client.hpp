// SPDX-License-Identifier: BSD-3-Clause
// The other end of the RPC socket: blocking, for command line programs and tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "control/model/spec/problem.hpp"
#include "control/rpc/params.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::control {

class RpcClient {
 public:
  /// A problem of kind host tells that nobody serves `path`. `timeout_s` is for connecting, and for each call.
  [[nodiscard]] static Outcome<RpcClient> connect(const std::string& path, unsigned timeout_s = 30);
  /// Over a connected socket; `peer` is what messages call the other end.
  explicit RpcClient(UniqueFd socket, std::string peer = "the daemon", unsigned timeout_s = 30)
      : socket_(std::move(socket)), peer_(std::move(peer)), timeout_s_(timeout_s) {}

  /// The result, or the problem that the daemon told; one of kind host for a peer that does not answer, or not as
  /// JSON-RPC 2.0 has it. After such a one the connection is of no more use.
  /// `file` goes with the call, for methods that take one; it stays the caller's.
  Outcome<Json> call(const std::string& method, const Json& params = Json::object(), int file = -1);

 private:
  class Deadline;
  Outcome<> send(std::string_view text, int file, const std::string& method, const Deadline& deadline);
  Outcome<std::string> receive_line(const std::string& method, const Deadline& deadline);
  [[nodiscard]] Outcome<Json> result_of(const std::string& line, std::uint64_t id) const;

  UniqueFd socket_;
  std::string peer_;
  unsigned timeout_s_;
  std::string input_;
  std::uint64_t next_id_ = 1;
};

/// Where daemon and tools meet when nobody says otherwise: VMUX_RPC; /run/vmux/vmux.sock; for other users than root
/// vmux/vmux.sock in XDG_RUNTIME_DIR.
[[nodiscard]] std::string default_rpc_path();

}  // namespace vmux::control
