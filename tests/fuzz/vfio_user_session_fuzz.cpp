// SPDX-License-Identifier: BSD-3-Clause
// A hostile client: any bytes, in any pieces, with descriptors, over a real socket. The first byte of the input tells
// whether VERSION is said first and by which client, and whether the session is handed over after each piece; then come
// pieces, each a control byte (its length, and whether descriptors go with it; or, with a twin socket, whether it goes
// there) and its bytes.
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "fuzz/socket.hpp"
#include "fuzz/steps.hpp"
#include "protocol/bytes.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/server.hpp"

namespace {

using namespace vmux;

class Target final : public pci::Device, public pci::Migratable, public pci::Savable {
 public:
  void read_bar(pci::Region, RegionOffset, std::span<std::byte> into) noexcept override {
    std::fill(into.begin(), into.end(), std::byte{1});
  }
  // Writes make the device reach for memory, as a doorbell would.
  void write_bar(pci::Region, RegionOffset offset, std::span<const std::byte>) noexcept override {
    if (function == nullptr || offset.raw % 16 != 0) return;
    function->dma_read(Iova{offset.raw << 8}, buffer, [](Result<void>) {});
    function->dma_write(Iova{offset.raw << 8}, std::span{buffer}.first(8), [](Result<void>) {});
    function->interrupts().set_level(true);
    function->interrupts().trigger(0);
  }
  void reset(pci::ResetKind) noexcept override {}
  pci::Migratable* migration() noexcept override { return this; }
  bool supports_pre_copy() const noexcept override { return true; }
  Result<void> enter(pci::MigrationState) override { return {}; }
  Result<std::size_t> save(std::span<std::byte> into) override { return std::min<std::size_t>(into.size(), 7); }
  Result<void> load(std::span<const std::byte>) override { return {}; }
  pci::Savable* savable() noexcept override { return is_savable ? this : nullptr; }
  void save(state::Writer&) const override {}
  tl::expected<void, std::string> load(state::Reader&) override { return {}; }
  pci::DmaClaim claim_dma(bool is_write, Iova, std::size_t size) override {
    return {is_write ? std::span<std::byte>{} : std::span{buffer}.first(size), {}};
  }

  pci::Function* function = nullptr;
  bool is_savable = false;  // and then it migrates as the function does
  std::array<std::byte, 64> buffer{};
};

/// What is handed over goes from one of these to the next.
struct Served {
  explicit Served(runtime::Poller& on) {
    pci::FunctionSpec spec;
    spec.name = "fuzz";
    spec.bars[0] = pci::BarSpec{pci::BarKind::memory64, false, 0x4000, {{0x1000, 0x1000}}};
    spec.bars[2] = pci::BarSpec{pci::BarKind::io, false, 64, {}, {{16, 4, 1}, {32, 8, {}}}};
    spec.bars[4] = pci::BarSpec{pci::BarKind::memory32, false, 0x1000, {}};
    spec.capabilities = {pci::PowerManagement{}, pci::Msi{4, true},
                         pci::Msix{8, pci::Region::bar4, 0, pci::Region::bar4, 0x800}, pci::Express{},
                         pci::DeviceSerialNumber{7}};
    spec.intx = true;
    function = pci::Function::create(spec, device).value();
    device.function = function.get();
    options.max_transfer = 64 << 10;
    options.max_dma_maps = 64;
    poller = &on;
  }
  /// Takes all of another's, and gives it back when asked as the same bytes.
  void adopt(const state::Suspended& from) {
    device.is_savable = true;
    auto adopted = vfio_user::Server::adopt(*poller, *function, options, from);
    VMUX_ASSERT(adopted.has_value());
    server = std::move(*adopted);
  }
  Target device;
  vfio_user::ServerOptions options;
  runtime::Poller* poller;
  std::unique_ptr<pci::Function> function;
  std::unique_ptr<vfio_user::Server> server;
};

struct World {
  World() {
    served->server = vfio_user::Server::create(*poller, *served->function, served->options).value();
    if (::ftruncate(file, 1 << 20) != 0) ::abort();
  }
  void settle() {
    for (int idle = 0, rounds = 0; idle < 2 && rounds < 1000; ++rounds)
      idle = poller->run_once() ? 0 : idle + 1;
  }
  void hand_over() {
    ++fuzz::steps_checked;
    served->device.is_savable = true;
    const auto first = suspend();
    served->adopt(first);
    const auto second = suspend();
    VMUX_ASSERT(first.image == second.image && first.fds.size() == second.fds.size());
    served->adopt(second);
  }
  state::Suspended suspend() {
    auto suspended = served->server->suspend();
    VMUX_ASSERT(suspended.has_value());
    served = std::make_unique<Served>(*poller);
    return std::move(*suspended);
  }
  int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<Served> served = std::make_unique<Served>(*poller);
};

void drop_replies(int socket) {
  std::array<char, 65536> sink;
  while (::recv(socket, sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
  }
}

protocol_test::Bytes hello_of(std::uint8_t kind) {
  if ((kind & 4) != 0) return protocol_test::twin_version();
  return (kind & 2) != 0 ? protocol_test::cloud_hypervisor_version() : protocol_test::qemu_version();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  if (size == 0) return 0;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  world.served->device.is_savable = false;
  if (!world.served->server->adopt(UniqueFd{ends[0]})) ::abort();  // the session before has not ended
  const UniqueFd client{ends[1]};
  std::span input{data + 1, size - 1};
  const bool is_handed_over = fuzz::checks_each_step || (data[0] & 8) != 0;  // after each piece
  if (is_handed_over) world.served->device.is_savable = true;
  if ((data[0] & 1) != 0) {
    const auto hello = hello_of(data[0]);
    fuzz::send_piece(client.get(), std::as_bytes(std::span{hello}), {});
  }
  UniqueFd twin;
  if ((data[0] & 5) == 5) {
    world.settle();
    twin = fuzz::take_fd(client.get());
  }
  while (!input.empty()) {
    const std::uint8_t control = input[0];
    const std::size_t length =
        std::min<std::size_t>(input.size() - 1, (control & 0x1f) == 0x1f ? 96 : 16 + (control & 0x1f) * 2);
    const int fds[] = {(control & 0x80) != 0 ? world.file : world.event, world.event, world.event};
    const auto piece = std::as_bytes(input.subspan(1, length));
    const bool on_twin = twin && (control & 0x80) != 0;
    if (length != 0)
      fuzz::send_piece(on_twin ? twin.get() : client.get(), piece, std::span{fds}.first(control >> 5 & 3));
    input = input.subspan(1 + length);
    if ((control & 3) != 0) world.settle();
    if (is_handed_over) world.hand_over();
    drop_replies(client.get());
    if (twin) drop_replies(twin.get());
  }
  world.settle();
  ::shutdown(client.get(), SHUT_RDWR);
  world.settle();
  return 0;
}
