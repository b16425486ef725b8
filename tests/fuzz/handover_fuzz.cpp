// SPDX-License-Identifier: BSD-3-Clause
// A suspended session as somebody else may have written it: an image that is right but for some bytes, with right
// checksums, and descriptors that are missing or are something else. It is refused, or what comes of it is a session
// like another, which serves, and can be handed over again.
//
// Input: how many changes, then these, four bytes each: where in the image (24 bits), and what is there (8 bits); a
// place behind its end takes the descriptor of that number away, or puts another in its place.
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "fuzz/input.hpp"
#include "fuzz/socket.hpp"
#include "fuzz/steps.hpp"
#include "protocol/bytes.hpp"
#include "rigs/saved_image.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/server.hpp"

namespace {

using namespace vmux;
using protocol_test::Bytes;

class Target final : public pci::Device, public pci::Savable {
 public:
  static pci::FunctionSpec describe() {
    pci::FunctionSpec spec;
    spec.name = "fuzz";
    spec.bars[0] = pci::BarSpec{pci::BarKind::memory64, false, 0x4000, {{0x1000, 0x1000}}};
    spec.bars[2] = pci::BarSpec{pci::BarKind::io, false, 64, {}, {{16, 4, 1}, {32, 8, {}}}};
    spec.bars[4] = pci::BarSpec{pci::BarKind::memory32, false, 0x1000, {}};
    spec.capabilities = {pci::PowerManagement{}, pci::Msi{4, true},
                         pci::Msix{8, pci::Region::bar4, 0, pci::Region::bar4, 0x800}, pci::Express{}};
    spec.intx = true;
    return spec;
  }
  void read_bar(pci::Region, RegionOffset, std::span<std::byte> into) noexcept override {
    std::fill(into.begin(), into.end(), std::byte{1});
  }
  void write_bar(pci::Region, RegionOffset, std::span<const std::byte>) noexcept override {
    if (function != nullptr) function->dma_read(Iova{0x2'0000}, buffer, [](Result<void>) {});
  }
  void reset(pci::ResetKind) noexcept override {}
  pci::Savable* savable() noexcept override { return this; }
  void save(state::Writer&) const override {}
  tl::expected<void, std::string> load(state::Reader&) override { return {}; }
  pci::DmaClaim claim_dma(bool is_write, Iova, std::size_t size) override {
    if (is_write || size != buffer.size()) return {};
    return {buffer, {}};
  }
  pci::Function* function = nullptr;
  std::array<std::byte, 64> buffer{};
};

struct Served {
  Target device;
  std::unique_ptr<pci::Function> function = pci::Function::create(Target::describe(), device).value();
  std::unique_ptr<vfio_user::Server> server;
};

vfio_user::ServerOptions options() {
  vfio_user::ServerOptions options;
  options.max_transfer = 64 << 10;
  return options;
}

/// A session in the middle of everything: two connected sockets and what was suspended in front of one.
struct World {
  World() {
    if (::ftruncate(file, 1 << 20) != 0) ::abort();
    int ends[2];
    VMUX_ASSERT(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    client.reset(ends[0]);
    Served served;
    served.device.function = served.function.get();
    served.server = vfio_user::Server::create(*poller, *served.function, options()).value();
    VMUX_ASSERT(served.server->adopt(UniqueFd{ends[1]}).has_value());
    say(protocol_test::qemu_version());
    say(protocol_test::dma_map(2, 0, 0x10000), file);
    say(protocol_test::dma_map(3, 0x2'0000, 0x1000));
    say(protocol_test::region_write(4, 7, 4, Bytes{}.u16(7)));
    say(protocol_test::set_irqs(5, 2, 4 | 32, 0, 1), event);
    say(protocol_test::set_irqs(6, 0, 4 | 16, 0, 1), event);
    say(protocol_test::message(7, protocol_test::kGetRegionIoFds, Bytes{}.u32(128).u32(0).u32(2).u32(0)));
    say(protocol_test::region_write(8, 2, 0, Bytes{}.u32(1)));  // the device asks the client
    Bytes half;
    const Bytes whole = protocol_test::dma_map(9, 0x4'0000, 0x1000);
    half.assign(whole.begin(), whole.begin() + 20);
    say(half, file);
    suspended = std::move(*served.server->suspend());
  }
  void say(const Bytes& bytes, int fd = -1) {
    fuzz::send_piece(client.get(), std::as_bytes(std::span{bytes}), std::span{&fd, fd < 0 ? 0u : 1u});
    settle();
  }
  void settle() {
    for (int idle = 0, rounds = 0; idle < 2 && rounds < 200; ++rounds)
      idle = poller->run_once() ? 0 : idle + 1;
  }
  int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  UniqueFd client;
  state::Suspended suspended;
};

/// The image and the descriptors as the input wants them; the connection is one of its own.
state::Suspended changed(const World& world, fuzz::Input& input, int connection) {
  state::Suspended made;
  made.image = world.suspended.image;
  std::array<std::uint8_t, 256> fates{};
  for (unsigned left = input.u8() % 8u; left > 0 && !input.is_empty(); --left) {
    const std::uint32_t word = input.u32();
    const std::size_t at = (word & 0xff'ffff) % (made.image.size() + fates.size());
    const auto value = static_cast<std::uint8_t>(word >> 24);
    if (at < made.image.size()) {
      made.image[at] = std::byte{value};
    } else {
      fates[at % fates.size()] = value;
    }
  }
  rigs::reseal(made.image);
  std::size_t index = 0;
  world.suspended.fds.for_each([&](const std::string& name, int fd) {
    const std::uint8_t fate = fates[index++ % fates.size()];
    const int other = (fate & 2) != 0 ? world.event : world.file;
    const int given = name == "connection" ? connection : fate == 0 ? fd : other;
    if (fate % 4 != 1 || name == "connection") static_cast<void>(made.fds.put_copy(name, given));
  });
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  ++fuzz::steps_checked;
  fuzz::Input input{data, size};
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  const UniqueFd client{ends[0]}, connection{ends[1]};
  const auto suspended = changed(world, input, connection.get());
  Served served;
  served.device.function = served.function.get();
  auto adopted = vfio_user::Server::adopt(*world.poller, *served.function, options(), suspended);
  VMUX_ASSERT(adopted.has_value() || (size > 0 && data[0] % 8 != 0));  // as it was it is taken
  if (!adopted) return 0;
  served.server = std::move(*adopted);
  const Bytes request = protocol_test::region_read(1, 2, 0, 4);
  fuzz::send_piece(client.get(), std::as_bytes(std::span{request}), {});
  world.settle();
  static_cast<void>(served.server->suspend());  // may be refused, if what is under way is too much
  return 0;
}
