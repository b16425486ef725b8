// SPDX-License-Identifier: BSD-3-Clause
// A hostile server: the client makes all its calls one after another, and the input says what comes back. Nothing may
// crash, nothing may be written beyond what the caller gave, and no descriptor may leak.
//
// Input: messages, each a control byte (bits below) and what it asks for. The first ids are those that the client will
// use, so what comes in order fits the requests.
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "fuzz/input.hpp"
#include "fuzz/socket.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/vfio_user/client.hpp"
#include "wire/vfio_user.hpp"

namespace vmux::fuzz {
namespace {

using vfio_user::Client;

// Memory of ours that the server may ask for: all of it, as far as the client lets it.
class Memory final : public vfio_user::DmaTarget {
 public:
  bool read(Iova from, std::span<std::byte> into) noexcept override {
    std::fill(into.begin(), into.end(), std::byte{0x5a});
    return (from.raw & 1) == 0;
  }
  bool write(Iova to, std::span<const std::byte> from) noexcept override {
    for (const std::byte byte : from)
      sum += std::to_integer<unsigned>(byte);
    return (to.raw & 1) == 0;
  }
  unsigned sum = 0;
};

constexpr std::uint8_t kFitsRequest = 0x01,  // id and command of the next request; else both are in the input
    kError = 0x02,                           // an error reply
    kIsRequest = 0x04,                       // the server asks for something itself
    kWithFds = 0x08,                         // two descriptors go with it
    kLies = 0x10,                            // the size in the header is in the input
    kInPieces = 0x20,                        // header and body in two sends
    kOnTwin = 0x40;                          // over the second socket

// Commands in the order in which make_calls() sends them.
constexpr std::uint16_t kCommands[] = {1, 4, 5, 5, 5, 7, 7, 6, 2, 3, 3, 9, 10, 15, 8, 8, 16, 16, 17, 18, 13, 9, 9};

int any_fd() noexcept {
  static const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd;
}

// All that the server will say, into the sockets before the client asks. The client's end of the second is the second
// descriptor of a message.
void speak(int first, Input& input) {
  int twins[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, twins) != 0) ::abort();
  const UniqueFd twin{twins[0]}, twin_of_client{twins[1]};
  std::uint16_t next = 0;
  while (!input.is_empty()) {
    const std::uint8_t control = input.u8();
    wire::vfio_user::Header header;
    header.id = static_cast<std::uint16_t>(next + 1);
    header.command = kCommands[next % std::size(kCommands)];
    if ((control & kFitsRequest) != 0) {
      ++next;
    } else {
      header.id = input.u16();
      header.command = input.u8();
    }
    header.flags = (control & kIsRequest) != 0 ? 0u : 1u;
    if ((control & kError) != 0) {
      header.flags = header.flags | 0x20u;
      header.error = input.u32();
    }
    const auto body = std::as_bytes(input.bytes(input.u16() % 4096));
    header.size = (control & kLies) != 0 ? input.u32() : static_cast<std::uint32_t>(sizeof header + body.size());
    std::vector<std::byte> bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    const int fds[] = {any_fd(), twin_of_client.get()};
    const int socket = (control & kOnTwin) != 0 ? twin.get() : first;
    const auto sent = std::span{fds}.first((control & kWithFds) != 0 ? 2 : 0);
    if ((control & kInPieces) != 0) {
      send_piece(socket, bytes, sent);
      bytes.clear();
    }
    bytes.insert(bytes.end(), body.begin(), body.end());
    if (!bytes.empty()) send_piece(socket, bytes, (control & kInPieces) != 0 ? std::span<const int>{} : sent);
  }
  ::shutdown(first, SHUT_WR);
}

// Bytes with others behind them that nobody may touch.
class Guarded {
 public:
  [[nodiscard]] std::span<std::byte> room() noexcept { return std::span{bytes_}.first(64); }
  void check() const noexcept {
    for (std::size_t i = 64; i < bytes_.size(); ++i)
      VMUX_ASSERT(bytes_[i] == std::byte{0});
  }

 private:
  std::array<std::byte, 128> bytes_{};
};

void describe(Client& client) {
  static_cast<void>(client.device_info());
  for (const std::uint32_t region : {0u, 4u, 8u}) {
    const auto info = client.region_info(region);
    if (info) VMUX_ASSERT(!info->mappable || info->fd);
  }
  static_cast<void>(client.irq_info(0));
  static_cast<void>(client.irq_info(2));
  static_cast<void>(client.region_io_fds(0));
}

void use(Client& client) {
  static_cast<void>(client.dma_map(Iova{0}, ByteCount{4096}, memory::Access::read_write, -1, 0));
  static_cast<void>(client.dma_unmap(Iova{0}, ByteCount{4096}));
  static_cast<void>(client.dma_unmap_all());
  Guarded guarded;
  static_cast<void>(client.read(pci::Region::bar0, RegionOffset{0}, guarded.room()));
  static_cast<void>(client.write(pci::Region::bar0, RegionOffset{0}, guarded.room()));
  const vfio_user::SmallWrite writes[] = {{.size = 4, .value = 1}, {.size = 8, .value = 2}};
  static_cast<void>(client.write_multi(writes));
  const int events[] = {any_fd(), any_fd()};
  static_cast<void>(client.set_irqs(pci::Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 2, events));
  static_cast<void>(client.migration_state());
  static_cast<void>(client.device_feature(1u << 16, {}, guarded.room()));
  const auto saved = client.migration_read(guarded.room());
  if (saved) VMUX_ASSERT(*saved <= guarded.room().size());
  static_cast<void>(client.migration_write(guarded.room()));
  static_cast<void>(client.reset());
  const auto first = client.start_read(pci::Region::bar0, RegionOffset{0}, guarded.room().first(8));
  const auto second = client.start_read(pci::Region::bar2, RegionOffset{8}, guarded.room().subspan(8));
  static_cast<void>(client.serve());
  if (second) static_cast<void>(client.finish(*second));
  if (first) static_cast<void>(client.finish(*first));
  guarded.check();
}

std::size_t lowest_free_fd() {
  const UniqueFd fd{::dup(0)};
  return static_cast<std::size_t>(fd.get());
}

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux::fuzz;
  static Memory memory;
  static_cast<void>(any_fd());
  const std::size_t free_before = lowest_free_fd();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) ::abort();
  {
    const vmux::UniqueFd server{ends[0]};
    Input input{data, size};
    speak(server.get(), input);
    vmux::vfio_user::ClientOptions options;
    options.minor = static_cast<std::uint16_t>(size & 1);
    options.twin_socket = (size & 2) != 0;
    options.max_transfer = 4096;
    options.timeout_ns = 1'000'000'000;  // never waited for: the server has hung up
    auto client = vmux::vfio_user::Client::adopt(vmux::UniqueFd{ends[1]}, options);
    if (client) {
      (*client)->set_dma_target(&memory);
      describe(**client);
      use(**client);
    }
  }
  VMUX_ASSERT(lowest_free_fd() == free_before);
  return 0;
}
