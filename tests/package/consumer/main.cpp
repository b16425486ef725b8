// SPDX-License-Identifier: BSD-3-Clause
// A program outside of the tree: serves a device and reads it as a client, over one socketpair.
#include <sys/socket.h>

#include <cstring>
#include <vmux/vmux.hpp>

struct Echo final : vmux::pci::Device {
  void read_bar(vmux::pci::Region, vmux::RegionOffset, std::span<std::byte> into) noexcept override {
    std::memset(into.data(), 0x42, into.size());
  }
  void write_bar(vmux::pci::Region, vmux::RegionOffset, std::span<const std::byte>) noexcept override {}
  void reset(vmux::pci::ResetKind) noexcept override {}
};

int main() {
  Echo device;
  vmux::pci::FunctionSpec spec;
  spec.bars[0] = vmux::pci::BarSpec{vmux::pci::BarKind::memory32, false, 4096, {}};
  auto poller = vmux::runtime::Poller::create().value();
  auto function = vmux::pci::Function::create(spec, device).value();
  auto server = vmux::vfio_user::Server::create(*poller, *function, {}).value();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
  if (!server->adopt(vmux::UniqueFd{ends[0]}) || !poller->start()) return 2;
  auto client = vmux::vfio_user::Client::adopt(vmux::UniqueFd{ends[1]});
  std::uint32_t value = 0;
  const bool read =
      client && (*client)->read(vmux::pci::Region::bar0, {8}, std::as_writable_bytes(std::span{&value, 1}));
  poller->stop();
  poller->join();
  return read && value == 0x42424242 ? 0 : 3;
}
