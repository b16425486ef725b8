// SPDX-License-Identifier: BSD-3-Clause
// Serves a virtio device to a vhost-user front end: QEMU, another VMM, or DPDK's virtio-user.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/mac.hpp"
#include "ipc/left_behind.hpp"
#include "virtio/device.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::vhost_user {

struct ServerOptions {
  std::string name = "vhost-user";  ///< for logs
  std::string path;                 ///< UNIX socket; empty: adopt() only
  /// The front end listens at the path (QEMU's `server=on`), and we connect, as often as it takes.
  bool connects = false;
  /// Who may connect: permission bits, owner and group of the socket file. Only where we listen.
  unsigned mode = 0600;
  std::optional<uid_t> owner;
  std::optional<gid_t> group;
  /// Whose the process at the other end has to be; looked at before anything is sent. Not given: where we listen, of
  /// anybody who may connect; where we connect, of root, of this process's user or of `owner`.
  std::optional<uid_t> peer;
  /// Whoever connects to the path and sends nothing for so long makes room for the next; 0: it may take for ever.
  unsigned first_message_timeout_ms = 5000;
  /// SEND_RARP: the guest with this address is here now. Not given: the front end is not offered to ask for it.
  std::function<void(const MacAddress&)> announce;
  /// Keep what another process needs to go on when this one dies, at any instruction: see Server::record().
  bool keeps_record = false;
};

/// What a server has seen; readable from any thread.
struct ServerStats {
  std::uint64_t connections = 0, requests = 0, errors = 0, kicks = 0;
  std::uint64_t dma_maps = 0, dma_unmaps = 0;  ///< regions of memory
  bool is_connected = false;
  std::uint64_t strangers = 0;  ///< connections that were made for another protocol: vfio-user
};

/// What the front end has agreed to. Home thread.
struct Agreement {
  std::uint64_t features = 0, protocol_features = 0;
  unsigned running_rings = 0;
  bool is_logging = false;
};

/// A device at a socket, for one front end at a time. What a front end gave (memory, rings, eventfds) is dropped before
/// the next is served. Created, used and destroyed on the poller's thread (or while the poller does not run). `device`
/// and `poller` must outlive it; the device is connected to it for as long as it lives.
class Server {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Server>> create(runtime::Poller& poller, virtio::Device& device,
                                                              ServerOptions options);
  ~Server();  ///< hangs up, and removes the socket file
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] const std::string& path() const noexcept;
  [[nodiscard]] ServerStats stats() const noexcept;
  [[nodiscard]] Agreement agreement() const noexcept;
  /// The front end's process, as the kernel knew it when it connected (or listened, where we connect); 0: there is no
  /// front end.
  [[nodiscard]] pid_t peer() const noexcept;
  /// The memory that the front end has given.
  [[nodiscard]] memory::AddressSpace& memory() noexcept;
  /// Serves a connection that was made elsewhere. busy while there is one.
  [[nodiscard]] Result<void> adopt(UniqueFd connection);

  /// Stops without a word to front end or guest, who wait: gives the session, in the middle of a message if need be,
  /// with all that the front end has given, and the socket with its backlog. From then on this object and the device
  /// are shells: destroying them resets and closes nothing. Not from a callback of the device: post it to the poller.
  /// On an error (no descriptors left) everything goes on as before.
  [[nodiscard]] Result<state::Suspended> suspend();
  /// Goes on where that server was, with a device of the same description and the same options. All other users of the
  /// suspended device are gone by then. `from` stays as it is, so on an error (a sentence for people) another device
  /// may try, and this one is to be destroyed; else give_up().
  [[nodiscard]] static tl::expected<std::unique_ptr<Server>, std::string> adopt(runtime::Poller& poller,
                                                                                virtio::Device& device,
                                                                                ServerOptions options,
                                                                                const state::Suspended& from);
  /// The same, but that nothing is served before go_on(): for whoever has several, and a record to write first.
  [[nodiscard]] static tl::expected<std::unique_ptr<Server>, std::string> adopt_paused(runtime::Poller& poller,
                                                                                       virtio::Device& device,
                                                                                       ServerOptions options,
                                                                                       const state::Suspended& from);
  [[nodiscard]] Result<void> go_on();

  /// Memory that no front end has: it says what this server is doing, and names its other descriptors by their numbers,
  /// the device's arena among them. A request is answered once, whoever serves it. -1 without
  /// ServerOptions::keeps_record.
  struct Record {
    int image = -1, stream = -1;
  };
  [[nodiscard]] Record record() const noexcept;
  /// What a server has left whose process is dead, or, of one that runs, what it would leave: then an error is worth
  /// another look. Nothing is changed. The error is for people.
  [[nodiscard]] static tl::expected<ipc::LeftBehind, std::string> left_behind(UniqueFd image, UniqueFd stream,
                                                                              const ipc::Fetch& fetch);
  /// Nobody goes on: the front end reads the end of the stream, as if the server had been destroyed.
  static void give_up(state::Suspended from) noexcept;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Feature bits that a device may have and a front end of this protocol never passes on to its guest on our word: they
/// need a control queue, which stays in the front end, or a part of the protocol that is not there.
[[nodiscard]] std::uint64_t features_kept_back(std::uint16_t kind) noexcept;

}  // namespace vmux::vhost_user
