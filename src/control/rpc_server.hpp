// SPDX-License-Identifier: BSD-3-Clause
// The RPC socket: lines of JSON-RPC over a UNIX stream socket, for several clients at once.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "control/json_rpc.hpp"
#include "control/problem.hpp"
#include "vfio_user/connection.hpp"
#include "vfio_user/listener.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// Lives on the control poller (never one that moves frames). `poller` and `methods` must outlive it. A client that
/// does not read its answers is not read from either; nobody waits for it.
class RpcServer {
 public:
  /// Takes the place of a dead process's socket; a live one is refused. Who may connect may do all that vMux can.
  [[nodiscard]] static Outcome<std::unique_ptr<RpcServer>> create(runtime::Poller& poller, const Methods& methods,
                                                                  const std::string& path,
                                                                  const SocketAccess& access = {});
  ~RpcServer() = default;  ///< closes all clients and removes the socket file, if it is still ours
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  /// Serves a connected socket as if it had been accepted.
  Outcome<> adopt(vfio_user::Connection connection);
  [[nodiscard]] std::size_t clients() const noexcept { return clients_.size(); }

 private:
  struct Client {
    vfio_user::Connection socket;
    runtime::Watch watch;
    std::string input;         // what came and is not yet a whole line
    std::string output;        // what was not yet taken
    bool is_skipping = false;  // the rest of a line that was too long
    bool is_closing = false;   // after the output is out
    std::uint32_t events = 0;
  };
  RpcServer(runtime::Poller& poller, const Methods& methods) : poller_(poller), methods_(methods) {}
  void accept_all();
  void serve(Client& client, std::uint32_t events);
  [[nodiscard]] bool receive(Client& client);
  void answer_lines(Client& client);
  [[nodiscard]] bool send(Client& client);
  void drop(Client& client);

  runtime::Poller& poller_;
  const Methods& methods_;
  std::optional<vfio_user::Listener> listener_;
  runtime::Watch watch_;
  std::list<Client> clients_;
};

}  // namespace vmux::control
