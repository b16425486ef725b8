// SPDX-License-Identifier: BSD-3-Clause
// A server with a small device on a poller that the test drives, and the raw other end of its socket.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/bytes.hpp"
#include "rigs/descriptors.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/server.hpp"

namespace vmux::protocol_test {

inline constexpr unsigned kBar0 = 0, kBar2 = 2, kConfig = 7;
inline constexpr unsigned kVectors = 32;  // of MSI-X

/// BAR 0: 16 KiB of memory, the page at 0x1000 may be mapped; MSI-X in BAR 1; BAR 2: 64 bytes of plain registers.
class TestDevice : public pci::Device, public pci::Migratable {
 public:
  [[nodiscard]] static pci::FunctionSpec describe();

  void read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept override;
  void write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept override;
  void reset(pci::ResetKind kind) noexcept override { resets.push_back(kind); }
  void attached(bool is_attached) noexcept override { attachments += is_attached ? 1 : -1; }
  pci::Migratable* migration() noexcept override { return migrates ? this : nullptr; }

  bool supports_pre_copy() const noexcept override { return pre_copies; }
  bool supports_p2p() const noexcept override { return has_p2p; }
  Result<void> enter(pci::MigrationState to) override;
  Result<std::size_t> save(std::span<std::byte> into) override;
  Result<void> load(std::span<const std::byte> from) override;

  std::vector<std::uint8_t> registers = std::vector<std::uint8_t>(0x4000);
  std::vector<std::pair<std::uint64_t, Bytes>> writes;  // offset and data, in order
  std::function<void()> on_write;
  std::vector<pci::ResetKind> resets;
  int attachments = 0;
  bool migrates = true, pre_copies = true, has_p2p = false;
  std::vector<pci::MigrationState> entered;
  std::optional<pci::MigrationState> refuses;
  Bytes saved, loaded;
  std::size_t save_position = 0;
};

struct Reply {
  unsigned id = 0, command = 0, size = 0, flags = 0, error = 0;
  Bytes payload;
  std::vector<UniqueFd> fds;
};

enum class Profile { qemu, cloud_hypervisor };

/// A reader on another thread that has not yet said it left the old table.
struct SlowReader final : memory::Observer {
  void adopt(std::shared_ptr<const memory::Table>, std::uint64_t generation) noexcept override { last = generation; }
  std::uint64_t last = 0;
};

/// Number of descriptors that this process has open.
using rigs::new_eventfd;
using rigs::new_memfd;
using rigs::open_fds;

class Rig {
 public:
  explicit Rig(vfio_user::ServerOptions options = {});
  /// The same with the version agreed on, as that client would.
  explicit Rig(Profile profile);

  void connect();  ///< a fresh socketpair, adopted by the server
  void hang_up();  ///< closes our end
  void greet(Profile profile);

  void send(const Bytes& bytes, const std::vector<int>& fds = {});
  /// Drives the server until nothing happens any more.
  void settle();
  /// The next reply, or nothing when none comes.
  [[nodiscard]] std::optional<Reply> receive();
  /// send() and receive(); fails the test when no reply comes.
  Reply ask(const Bytes& bytes, const std::vector<int>& fds = {});
  /// True when the server closed the connection, and nothing is left to read.
  [[nodiscard]] bool is_closed();
  [[nodiscard]] int raw() const noexcept { return peer_.get(); }

  TestDevice device;
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<pci::Function> function = pci::Function::create(TestDevice::describe(), device).value();
  std::unique_ptr<vfio_user::Server> server;

 private:
  bool read_some();

  UniqueFd peer_;
  Bytes incoming_;
  std::vector<UniqueFd> incoming_fds_;
  bool has_ended_ = false;
};

/// A reply that carries nothing but its header and `code`, as the specification wants it.
::testing::AssertionResult is_error(const Reply& reply, int code);
/// A success of exactly `payload` bytes after the header.
::testing::AssertionResult is_success(const Reply& reply, unsigned id, unsigned command, std::size_t payload);

}  // namespace vmux::protocol_test
