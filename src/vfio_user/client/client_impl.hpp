// SPDX-License-Identifier: BSD-3-Clause
// What the client's calls share: requests under way, and waiting for their replies.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "vfio_user/transport.hpp"
#include "vmux/vfio_user/client.hpp"
#include "wire/vfio_user.hpp"

namespace vmux::vfio_user {

/// One request whose reply has not been collected.
struct Exchange {
  std::uint16_t id = 0;
  wire::vfio_user::Command command{};
  std::span<std::byte> into;  ///< where the reply's data goes, after its fixed part
  std::size_t fixed_size = 0;
  std::array<std::byte, 32> fixed{};  ///< the reply's fixed part
  std::size_t data_size = 0;          ///< bytes put to `into`
  std::vector<UniqueFd> fds;
  Error error;
  bool is_done = false, has_failed = false;
  bool is_abandoned = false;  ///< nobody collects it: dropped when it arrives

  template <class T>
  [[nodiscard]] T fixed_part() const noexcept {
    return *wire::vfio_user::peek<T>(fixed);
  }
};

struct Client::Impl {
  Impl(ipc::Connection socket, ClientOptions wanted);

  [[nodiscard]] static Result<std::unique_ptr<Client>> make(ipc::Connection socket, ClientOptions options);
  [[nodiscard]] Result<void> negotiate();

  /// Queues a request: a header, `head` and `data`. The reply's fixed part will have `fixed_size` bytes.
  [[nodiscard]] Result<std::uint16_t> start(wire::vfio_user::Command command, std::span<const std::byte> head,
                                            std::span<const std::byte> data, std::size_t fixed_size,
                                            std::span<std::byte> into = {}, std::span<const int> fds = {});
  /// The same without a reply.
  [[nodiscard]] Result<void> post(wire::vfio_user::Command command, std::span<const std::byte> head,
                                  std::span<const std::byte> data);
  /// Waits for the reply to `id` and takes it out.
  [[nodiscard]] Result<Exchange> finish(std::uint16_t id);
  /// start() and finish().
  [[nodiscard]] Result<Exchange> call(wire::vfio_user::Command command, std::span<const std::byte> head,
                                      std::span<const std::byte> data, std::size_t fixed_size,
                                      std::span<std::byte> into = {}, std::span<const int> fds = {});
  [[nodiscard]] tl::unexpected<Error> abandon(std::uint16_t id, const Error& why) noexcept;
  [[nodiscard]] Result<void> check_count(std::size_t count) const noexcept;

  /// Takes what has arrived, as far as there is room for answers (else `is_held_up`); never waits.
  [[nodiscard]] Result<void> take_messages();
  [[nodiscard]] Result<void> send_all();
  [[nodiscard]] Result<void> wait_for_more(std::uint64_t deadline_ns);
  [[nodiscard]] bool has_queued() const noexcept { return transport.queued() != 0 || (twin && twin->queued() != 0); }

  ClientOptions options;
  ServerLimits limits;
  Transport transport;
  std::optional<Transport> twin;  // where the server's requests come in, if not on the first
  DmaTarget* dma_target = nullptr;
  std::vector<Exchange> exchanges;  // oldest first, as the replies come
  std::uint16_t last_id = 0;
  bool is_held_up = false;  ///< messages have arrived that are to be taken when answers have been sent

 private:
  void append(wire::vfio_user::Command command, std::uint32_t flags, std::span<const std::byte> head,
              std::span<const std::byte> data, std::span<const int> fds);
  [[nodiscard]] bool may_take(const Transport& from) const noexcept;
  void take_reply(Incoming& message);
  void answer(const Incoming& message, Transport& to);
  [[nodiscard]] Result<void> take_from(Transport& from);
  [[nodiscard]] Result<void> take_twin(const wire::vfio_user::Capabilities& theirs, std::span<UniqueFd> fds);
  [[nodiscard]] Transport::Io flush() noexcept;
  void sleep_until(std::uint64_t deadline_ns) noexcept;
  [[nodiscard]] Transport::Io receive(std::uint64_t deadline_ns);
};

}  // namespace vmux::vfio_user
