// SPDX-License-Identifier: BSD-3-Clause
// The RPC socket: lines of JSON-RPC over a UNIX stream socket, for several clients at once.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "control/model/problem.hpp"
#include "control/model/spec.hpp"
#include "control/rpc/json_rpc.hpp"
#include "control/rpc/roles.hpp"
#include "ipc/connection.hpp"
#include "ipc/listener.hpp"
#include "vmux/base/log.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

struct RpcLimits {
  std::size_t clients = 64;                   ///< one more, and the one that has been idle for longest has to go
  std::uint64_t request_ns = 10'000'000'000;  ///< from the first byte of a request to its last
  std::uint64_t answer_ns = 60'000'000'000;   ///< without taking any more of its answers
};

/// Lives on the control poller (never one that moves frames). `poller` and `methods` must outlive it. A client that
/// does not read its answers is not read from either; nobody waits for it. Whoever connects is served, whatever others
/// do: they are told why they go, and hung up on.
class RpcServer {
 public:
  /// Takes the place of a dead process's socket; a live one is refused. Who may connect has the role that `roles` say.
  [[nodiscard]] static Outcome<std::unique_ptr<RpcServer>> create(runtime::Poller& poller, const Methods& methods,
                                                                  const std::string& path,
                                                                  const SocketAccess& access = {},
                                                                  const RpcLimits& limits = {}, RolesSpec roles = {});
  ~RpcServer() = default;  ///< closes all clients and removes the socket file, if it is still ours
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  /// Serves a connected socket as if it had been accepted.
  Outcome<> adopt(ipc::Connection connection);
  [[nodiscard]] std::size_t clients() const noexcept { return clients_.size(); }
  /// For those who are connected, too.
  void set_roles(RolesSpec roles) { roles_ = std::move(roles); }

 private:
  struct Client {
    ipc::Connection socket;
    runtime::Watch watch;
    std::optional<Caller> caller;
    std::string input;         // what came and is not yet a whole line
    std::string output;        // what was not yet taken
    bool is_skipping = false;  // the rest of a line that was too long
    bool is_closing = false;   // after the output is out
    std::uint32_t events = 0;
    std::uint64_t since_ns = 0;  // idle since then; or, with something to be done, without a step forward
    [[nodiscard]] bool is_idle() const noexcept { return input.empty() && output.empty() && !is_skipping; }
  };
  RpcServer(runtime::Poller& poller, const Methods& methods, const RpcLimits& limits, RolesSpec roles)
      : poller_(poller), methods_(methods), limits_(limits), roles_(std::move(roles)) {}
  Outcome<> listen();
  [[nodiscard]] Asker asker_of(const Client& client);
  void tell(const Client& client, const std::string& method, const Json& params, Role needed,
            const Outcome<Json>& result);
  void accept_all();
  [[nodiscard]] bool make_room(bool even_of_the_busy);
  void serve(Client& client, std::uint32_t events);
  [[nodiscard]] bool receive(Client& client);
  [[nodiscard]] bool answer_lines(Client& client);
  [[nodiscard]] bool send(Client& client);
  void drop(Client& client);
  void drop_saying(Client& client, std::string why);
  [[nodiscard]] std::uint64_t limit_of(const Client& client) const noexcept;
  void drop_the_slow();

  runtime::Poller& poller_;
  const Methods& methods_;
  const RpcLimits limits_;
  RolesSpec roles_;
  RateLimit refusals_;  // that are logged: those who have no role must not fill the log
  std::optional<ipc::Listener> listener_;
  runtime::Watch watch_;
  runtime::Timer retry_{poller_, [this] { static_cast<void>(listen()); }};
  runtime::Timer slow_{poller_, [this] { drop_the_slow(); }};
  std::list<Client> clients_;
};

}  // namespace vmux::control
