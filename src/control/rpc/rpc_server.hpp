// SPDX-License-Identifier: BSD-3-Clause
// The RPC socket: lines of JSON-RPC over a UNIX stream socket, for several clients at once.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "control/model/spec/problem.hpp"
#include "control/model/spec/spec.hpp"
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

/// A descriptor that comes with a line (SCM_RIGHTS) is for the first method in it that takes one; what is left over
/// when no more lines wait is closed. Lives on the control poller (never one that moves frames). `poller` and `methods`
/// must outlive it. A client that does not read its answers is not read from either; nobody waits for it. A call whose
/// answer waits (Wait) keeps those behind it on its connection waiting, and nobody else. Whoever connects is served,
/// whatever others do: they are told why they go, and hung up on.
class RpcServer {
 public:
  /// Takes the place of a dead process's socket; a live one is refused. Who may connect has the role that `roles` say.
  /// `from`: the socket that a process before this one had at this path, with whoever waits there.
  [[nodiscard]] static Outcome<std::unique_ptr<RpcServer>> create(runtime::Poller& poller, const Methods& methods,
                                                                  const std::string& path,
                                                                  const SocketAccess& access = {},
                                                                  const RpcLimits& limits = {}, RolesSpec roles = {},
                                                                  UniqueFd from = {});
  ~RpcServer() = default;  ///< closes all clients and removes the socket file, if it is still ours
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  /// Serves a connected socket as if it had been accepted.
  Outcome<> adopt(ipc::Connection connection);
  [[nodiscard]] int listener_fd() const noexcept { return listener_->fd(); }
  [[nodiscard]] std::size_t clients() const noexcept { return clients_.size(); }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiters_; }
  /// For those who are connected, too.
  void set_roles(RolesSpec roles) { roles_ = std::move(roles); }

 private:
  struct Client {
    ipc::Connection socket;
    runtime::Watch watch;
    std::optional<Caller> caller;
    std::string input;           // what came and is not yet a whole line
    std::deque<UniqueFd> files;  // that came with it
    std::string output;          // what was not yet taken
    bool is_skipping = false;    // the rest of a line that was too long
    bool is_closing = false;     // after the output is out
    Wait wait;                   // of the first line of the input, while it waits
    std::uint64_t wait_until_ns = 0;
    bool has_waited = false;  // that line is answered next, whatever there is to say
    std::uint32_t events = 0;
    std::uint64_t since_ns = 0;  // idle since then; or, with something to be done, without a step forward
    [[nodiscard]] bool is_waiting() const noexcept { return wait.ns > 0; }
    [[nodiscard]] bool is_idle() const noexcept {
      return output.empty() && (is_waiting() || (input.empty() && !is_skipping));
    }
  };
  /// Looks, in each round of the poller, whether a wait is over.
  class Waiting final : public runtime::Task {
   public:
    explicit Waiting(RpcServer& server) : server_(server) { server_.poller_.add_task(*this); }
    ~Waiting() override { server_.poller_.remove_task(*this); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    unsigned poll() noexcept override { return server_.waiters_ == 0 ? 0 : server_.end_waits(); }
    [[nodiscard]] bool needs_polling() const noexcept override { return false; }

   private:
    RpcServer& server_;
  };
  RpcServer(runtime::Poller& poller, const Methods& methods, const RpcLimits& limits, RolesSpec roles)
      : poller_(poller), methods_(methods), limits_(limits), roles_(std::move(roles)) {}
  Outcome<> listen();
  [[nodiscard]] Asker asker_of(Client& client);
  void begin_wait(Client& client);
  void end_wait(Client& client) noexcept;
  [[nodiscard]] unsigned end_waits();
  void tell(const Client& client, const std::string& method, const Json& params, Role needed,
            const Outcome<Json>& result);
  void accept_all();
  [[nodiscard]] bool make_room(bool even_of_the_busy);
  void serve(Client& client, std::uint32_t events);
  [[nodiscard]] bool receive(Client& client);
  [[nodiscard]] static UniqueFd take_file(Client& client);
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
  runtime::Timer patience_{poller_, [this] { static_cast<void>(end_waits()); }};
  std::list<Client> clients_;
  std::size_t waiters_ = 0;
  Waiting waiting_{*this};
};

}  // namespace vmux::control
