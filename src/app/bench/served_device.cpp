// SPDX-License-Identifier: BSD-3-Clause
#include "app/bench/served_device.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/server.hpp"
#include "wire/vfio_user.hpp"

namespace vmux::bench {
namespace {

namespace vu = wire::vfio_user;

class Register final : public pci::Device {
 public:
  void read_bar(pci::Region, RegionOffset, std::span<std::byte> into) noexcept override {
    std::fill(into.begin(), into.end(), std::byte{0x5a});
  }
  void write_bar(pci::Region, RegionOffset, std::span<const std::byte>) noexcept override {}
  void reset(pci::ResetKind) noexcept override {}
};

// Reports on stderr and returns when anything fails: the parent then sees its connection closed.
void serve(UniqueFd connection, Wait wait) {
  const auto complain = [](const Error& error) { std::fprintf(stderr, "bench server: %s\n", error.text().c_str()); };
  runtime::PollerOptions idling;
  idling.name = "bench-server";
  idling.busy = wait == Wait::spinning;
  idling.spin_ns = 0;
  auto poller = runtime::Poller::create(idling);
  if (!poller) return complain(poller.error());
  Register device;
  pci::FunctionSpec spec;
  spec.name = "bench";
  spec.vendor_id = 0x1b36;
  spec.bars[0] = pci::BarSpec{.kind = pci::BarKind::memory32, .size = 4096};
  auto function = pci::Function::create(std::move(spec), device);
  if (!function) return complain(function.error());
  vfio_user::ServerOptions options;
  options.spin = wait == Wait::spinning;
  auto server = vfio_user::Server::create(**poller, **function, options);
  if (!server) return complain(server.error());
  if (auto ok = (*server)->adopt(std::move(connection)); !ok) return complain(ok.error());
  (*poller)->run();
}

Result<void> negotiate(int socket) {
  constexpr std::string_view kJson = R"({"capabilities":{"max_msg_fds":8}})";
  std::vector<std::byte> request(sizeof(vu::Header) + sizeof(vu::Version) + kJson.size() + 1);
  vu::Header header;
  header.command = static_cast<std::uint16_t>(vu::Command::version);
  header.size = static_cast<std::uint32_t>(request.size());
  auto rest = vu::put(std::span{request}, header);
  rest = vu::put(rest, vu::Version{});
  std::memcpy(rest.data(), kJson.data(), kJson.size());
  std::array<std::byte, 4096> reply{};
  const Exchange first{.request = request, .reply_size = sizeof(vu::Header)};
  if (auto ok = exchange(socket, first, Wait::blocking, reply); !ok) return ok;
  const std::size_t size = vu::peek<vu::Header>(reply)->size;
  if (size < sizeof(vu::Header) || size > reply.size())
    return fail(Errc::protocol, "the server's VERSION makes no sense");
  const Exchange second{.request = {}, .reply_size = size - sizeof(vu::Header)};
  return exchange(socket, second, Wait::blocking, reply);
}

}  // namespace

Result<ServedDevice> serve_device(Wait wait) {
  auto sockets = socket_pair();
  if (!sockets) return tl::unexpected(sockets.error());
  auto& [ours, theirs] = *sockets;
  auto child = Child::spawn([&ours = ours, &theirs = theirs, wait] {
    ours.reset();
    serve(std::move(theirs), wait);
  });
  if (!child) return tl::unexpected(child.error());
  theirs.reset();
  if (auto ok = negotiate(ours.get()); !ok) return tl::unexpected(ok.error());
  return ServedDevice{std::move(*child), std::move(ours)};
}

}  // namespace vmux::bench
