// SPDX-License-Identifier: BSD-3-Clause
// Serves PCI functions on UNIX sockets to any vfio-user client.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/pci/endpoint.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::vfio_user {

struct ServerOptions {
  std::string path;  ///< UNIX socket; a stale one of a dead process is replaced, a live one is refused
  /// Who may connect: permission bits, owner and group of the socket file, which are in force before it listens.
  unsigned mode = 0600;
  std::optional<uid_t> owner;          ///< this process's user when not given; another needs CAP_CHOWN
  std::optional<gid_t> group;          ///< the same; one of this process's groups, or CAP_CHOWN
  std::size_t max_fds = 16;            ///< max_msg_fds that is offered
  std::size_t max_transfer = 1 << 20;  ///< max_data_xfer_size that is offered, bytes
  std::size_t max_dma_maps = 65535;
  bool accept_message_dma = true;  ///< take DMA_MAP without a descriptor
  /// Whoever connects to the path and has not sent all of VERSION by then (0.2 s more at most) makes room for the next
  /// client; 0: it may take for ever. Clients send it at once, and give up after 5 s without a reply.
  unsigned version_timeout_ms = 5000;
  /// Look at the socket in every round of the poller while a client is attached, instead of waiting for an event: the
  /// shortest answers, for a poller that has a CPU of its own.
  bool spin = false;
  /// Keep what another process needs to go on when this one dies, at any instruction: see Server::record(). For an
  /// endpoint that can be handed over.
  bool keeps_record = false;
};

/// What a server has seen; readable from any thread.
struct ServerStats {
  std::uint64_t connections = 0, requests = 0, errors = 0, dma_maps = 0, dma_unmaps = 0;
  std::uint64_t region_reads = 0, region_writes = 0;  ///< by message: what a guest maps is not seen
  bool is_connected = false;
  std::uint64_t strangers = 0;  ///< connections that were made for another protocol: vhost-user
};

/// One listening socket with one function (pci::Function, or another Endpoint) behind it. One client at a time; others
/// wait in the backlog. When a client goes, its memory and interrupts are dropped, the device is reset and the next one
/// is served. Created, used and destroyed on the poller's thread (or while the poller does not run). `endpoint` and
/// `poller` must outlive it.
class Server {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Server>> create(runtime::Poller& poller, pci::Endpoint& endpoint,
                                                              ServerOptions options);
  ~Server();  ///< closes the client and removes the socket file
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] const std::string& path() const noexcept;
  [[nodiscard]] ServerStats stats() const noexcept;
  /// The client's process, as the kernel knew it when it connected; 0: there is no client.
  [[nodiscard]] pid_t peer() const noexcept;
  /// For whoever is about to destroy this server: pci::Endpoint::announce_departure() to the client that is attached.
  /// False: there is none, or nothing to tell it.
  bool announce_departure(bool for_good) noexcept;
  /// Serves a connection that was made elsewhere (socketpair, socket activation), as if accepted, but for its VERSION,
  /// which it may take any time to send. busy while a client is attached.
  [[nodiscard]] Result<void> adopt(UniqueFd connection);

  /// Stops without a word to client or guest, who wait: gives the sessions of this server and its endpoint, in the
  /// middle of a message if need be, and the socket with its backlog. From then on this object and the endpoint are
  /// shells: destroying them resets and closes nothing. Not from a callback of the device: post it to the poller.
  /// On an error (an endpoint that cannot be handed over, no descriptors left) everything goes on as before.
  [[nodiscard]] Result<state::Suspended> suspend();
  /// Goes on where that server was, with an endpoint of the same description and the same options. All other users of
  /// the suspended endpoint are gone by then: requests that waited for them are answered. `from` stays as it is, so on
  /// an error (a sentence for people) another endpoint may try, and this one is to be destroyed; else give_up().
  [[nodiscard]] static tl::expected<std::unique_ptr<Server>, std::string> adopt(runtime::Poller& poller,
                                                                                pci::Endpoint& endpoint,
                                                                                ServerOptions options,
                                                                                const state::Suspended& from);
  /// The same, but that nothing is served before go_on(): for whoever has several, and a record to write first.
  [[nodiscard]] static tl::expected<std::unique_ptr<Server>, std::string> adopt_paused(runtime::Poller& poller,
                                                                                       pci::Endpoint& endpoint,
                                                                                       ServerOptions options,
                                                                                       const state::Suspended& from);
  [[nodiscard]] Result<void> go_on();

  /// Memory that no client has: it says what this server is doing, and names its other descriptors by their numbers. A
  /// request is served once and answered once, whoever does it. -1 without ServerOptions::keeps_record.
  struct Record {
    int image = -1, stream = -1;
  };
  [[nodiscard]] Record record() const noexcept;
  /// What a server has left whose process is dead. `fetch` gives that process's descriptors by number, as far as they
  /// are open there. The error is for people.
  struct LeftBehind {
    state::Suspended state;
    std::uint32_t deaths = 0;  ///< how many processes in a row died of the message that is to be served next
  };
  using Fetch = std::function<Result<std::map<int, UniqueFd>>(const std::vector<int>& numbers)>;
  [[nodiscard]] static tl::expected<LeftBehind, std::string> left_behind(UniqueFd image, UniqueFd stream,
                                                                         const ServerOptions& options,
                                                                         const Fetch& fetch);
  /// The same of a server that runs, to find out whether it could be: nothing is undone. It may be in the middle of a
  /// change, so an error is worth another look.
  [[nodiscard]] static tl::expected<LeftBehind, std::string> look_at(UniqueFd image, UniqueFd stream,
                                                                     const ServerOptions& options, const Fetch& fetch);

  /// Nobody goes on: the client reads the end of the stream, as if the server had been destroyed.
  static void give_up(state::Suspended from) noexcept;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::vfio_user
