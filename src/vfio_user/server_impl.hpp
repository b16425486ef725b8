// SPDX-License-Identifier: BSD-3-Clause
// What Server is made of: server.cpp is its life, server_record.cpp what it leaves when its process dies.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "ipc/listener.hpp"
#include "ipc/stream_record.hpp"
#include "vfio_user/session/session.hpp"
#include "vmux/base/log.hpp"
#include "vmux/state/control_slots.hpp"
#include "vmux/vfio_user/server.hpp"

namespace vmux::vfio_user {

struct Server::Impl final : runtime::Task, SessionRecorder {
  /// Lets a callback that may come late find out that the server is gone.
  struct Anchor {
    Impl* server;
  };

  Impl(runtime::Poller& on, pci::Endpoint& served, ServerOptions how)
      : poller(on),
        endpoint(served),
        options(std::move(how)),
        retry(poller, [this] { listen(); }),
        anchor(std::make_shared<Anchor>(Anchor{this})) {}

  ~Impl() override {
    anchor->server = nullptr;
    if (session) drop_session([] {});
    if (options.spin) poller.remove_task(*this);
  }

  unsigned poll() noexcept override { return session ? session->poll() : 0; }
  [[nodiscard]] bool needs_polling() const noexcept override { return session != nullptr; }

  void listen();
  void accept();
  Result<void> serve(ipc::Connection connection, unsigned version_timeout_ms);
  void drop_session(const std::function<void()>& quiet);
  void next_client();
  void await_client();
  [[nodiscard]] std::function<void()> when_drained();
  void make_session(ipc::Connection connection);
  [[nodiscard]] bool is_recorded() const noexcept { return slots.has_value(); }
  [[nodiscard]] Result<state::Suspended> suspend();
  void let_go() noexcept;
  [[nodiscard]] tl::expected<void, std::string> adopt(const state::Suspended& from);
  [[nodiscard]] Result<void> go_on();

  // server_record.cpp
  [[nodiscard]] Result<void> make_record();
  void keep_all() noexcept;
  std::uint64_t keep(bool session_has_changed) noexcept override;
  void kept() noexcept override;
  [[nodiscard]] StreamRecord& stream() noexcept override { return *stream_record; }
  [[nodiscard]] Result<std::vector<std::byte>> image() const;

  runtime::Poller& poller;
  pci::Endpoint& endpoint;
  ServerOptions options;
  SessionCounters counters;
  std::atomic<bool> is_connected{false};
  std::optional<ipc::Listener> listener;
  runtime::Watch listen_watch;
  runtime::Timer retry;
  std::unique_ptr<Session> session;
  std::shared_ptr<Anchor> anchor;
  RateLimit complaints;  // about connections that cannot be taken
  // Where another process finds what this one did.
  std::optional<state::ControlSlots> slots;
  std::optional<StreamRecord> stream_record;
  bool is_image_behind = true;  // there is none yet, or the last one could not be written
  RateLimit record_complaints;
  bool draining = false;  // the last client's memory may still be touched
};

}  // namespace vmux::vfio_user
