// SPDX-License-Identifier: BSD-3-Clause
// What a client asks before it uses the device: version, regions, interrupts.
#include <algorithm>

#include "base/logf.hpp"
#include "vfio_user/session/session.hpp"

namespace vmux::vfio_user {
namespace {

using wire::vfio_user::put;

tl::unexpected<Error> no_such_index() noexcept { return fail(Errc::invalid_argument, "index is out of range"); }

// The vfio_user crate (cloud-hypervisor) is the client that asks for minor 1 and names a migration page size, but
// nothing that came later. It reads fixed sizes, and takes any message for the reply it waits for.
bool is_vfio_user_crate(const wire::vfio_user::VersionMessage& version) noexcept {
  const auto& has = version.capabilities;
  return version.minor >= 1 && has.present && has.has_migration && !has.has_pgsizes && !has.has_max_dma_maps &&
         !has.has_write_multiple && !has.has_twin_socket;
}

}  // namespace

Result<Session::Outcome> Session::handle_version(const Request& request) {
  if (negotiated_) return fail(Errc::invalid_argument, "the version has been agreed on already");
  const auto version = wire::vfio_user::decode_version(request.payload);
  if (!version) return tl::unexpected(version.error());
  if (version->major != 0) return fail(Errc::not_supported, "no other major version than 0 is spoken here");

  const ServerOptions& options = context_.options;
  wire::vfio_user::Capabilities ours;
  ours.max_msg_fds = std::min<std::size_t>(options.max_fds, 16);                     // QEMU refuses more
  ours.max_data_xfer_size = std::min<std::size_t>(options.max_transfer, 64u << 20);  // and more
  ours.max_dma_maps = std::min<std::size_t>(options.max_dma_maps, 65535);            // and more
  ours.write_multiple = version->capabilities.write_multiple;
  write_multiple_ = ours.write_multiple;
  peer_max_fds_ = version->capabilities.max_msg_fds;
  full_size_errors_ = is_vfio_user_crate(*version);
  ours.twin_socket = version->capabilities.twin_socket && open_twin(request);
  if (ours.twin_socket) ours.twin_fd_index = 0;

  // Minor 0 suits every client; QEMU refuses any other. QEMU's buffer for this reply is as long as its own request.
  const std::string json = wire::vfio_user::version_json(ours);
  auto into =
      put(reply(request.header, sizeof(wire::vfio_user::Version) + json.size() + 1), wire::vfio_user::Version{});
  std::transform(json.begin(), json.end(), into.begin(), [](char c) { return static_cast<std::byte>(c); });

  negotiated_ = true;
  const std::size_t theirs = std::min<std::uint64_t>(version->capabilities.max_data_xfer_size, options.max_transfer);
  // QEMU speaks minor 0 and knows nothing of twin sockets.
  const bool may_be_qemu = version->minor == 0 && !twin_;
  dma_.negotiated(may_be_qemu ? DmaChannel::Layout::unknown : DmaChannel::Layout::specified, theirs);
  logf(LogLevel::info, "{}: client attached ({}.{}{}{})", context_.endpoint.name(), version->major, version->minor,
       full_size_errors_ ? ", full-size error replies" : "", twin_ ? ", twin sockets" : "");
  context_.endpoint.client_attached(full_size_errors_ ? nullptr : &dma_);
  return Outcome::replied;
}

// "The server may optionally set up a separate command channel": without descriptors to spare, the first has to do.
bool Session::open_twin(const Request& request) {
  if ((request.header.flags & wire::vfio_user::header_flags::kNoReply) != 0) return false;
  auto twin = TwinSocket::create(context_.poller, context_.options.max_transfer, [this] { on_twin_ready(); });
  if (!twin) {
    logf(LogLevel::warning, "{}: no twin socket: {}", context_.endpoint.name(), twin.error().text());
    return false;
  }
  twin_.emplace(std::move(*twin));
  dma_.go_over(twin_->transport());
  const int peer = twin_->peer();
  transport_.attach_fds({&peer, 1});
  return true;
}

Result<Session::Outcome> Session::handle_get_info(const Request& request) {
  if (auto ok = wire::vfio_user::decode_get_info(request.payload); !ok) return tl::unexpected(ok.error());
  wire::vfio_user::DeviceInfo info;
  info.argsz = sizeof info;
  info.flags = wire::vfio_user::device_flags::kReset | wire::vfio_user::device_flags::kPci;
  info.num_regions = pci::kRegionCount;
  info.num_irqs = pci::kIrqCount;
  put(reply(request.header, sizeof info), info);
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_get_region_info(const Request& request) {
  const auto asked = wire::vfio_user::decode_get_region_info(request.payload);
  if (!asked) return tl::unexpected(asked.error());
  if (asked->index >= pci::kRegionCount) return no_such_index();
  const pci::RegionInfo region = context_.endpoint.region(static_cast<pci::Region>(asked->index));

  namespace rf = wire::vfio_user::region_flags;
  wire::vfio_user::RegionInfo info;
  info.argsz = sizeof info;
  info.index = asked->index;
  info.size = region.size;
  info.flags = (region.readable ? rf::kRead : 0) | (region.writable ? rf::kWrite : 0);
  const bool is_mappable = region.fd >= 0 && !region.shared.empty();
  const std::size_t areas = region.shared.size();
  if (is_mappable) {
    // Always with a list of areas: without one a client maps everything, the MSI-X table too.
    info.flags = info.flags | rf::kMmap | rf::kCaps;
    info.cap_offset = sizeof info;
    info.offset = region.fd_offset;
    info.argsz = static_cast<std::uint32_t>(sizeof info + sizeof(wire::vfio_user::SparseCap) +
                                            areas * sizeof(wire::vfio_user::SparseArea));
    transport_.attach_fds({&region.fd, 1});  // with the short reply too: QEMU takes it from whichever comes
  }
  const bool has_room = asked->argsz >= info.argsz;
  auto into = put(reply(request.header, has_room ? std::size_t{info.argsz} : sizeof info), info);
  if (!is_mappable || !has_room) return Outcome::replied;
  wire::vfio_user::SparseCap cap;
  cap.header.id = wire::vfio_user::kCapSparseMmap;
  cap.header.version = 1;
  cap.nr_areas = static_cast<std::uint32_t>(areas);
  into = put(into, cap);
  for (const auto& area : region.shared)
    into = put(into, wire::vfio_user::SparseArea{area.offset, area.size});
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_get_irq_info(const Request& request) {
  const auto asked = wire::vfio_user::decode_get_irq_info(request.payload);
  if (!asked) return tl::unexpected(asked.error());
  if (asked->index >= pci::kIrqCount) return no_such_index();
  const pci::IrqInfo irq = context_.endpoint.irq_info(static_cast<pci::Irq>(asked->index));
  namespace qf = wire::vfio_user::irq_flags;
  wire::vfio_user::IrqInfo info;
  info.argsz = sizeof info;
  info.index = asked->index;
  info.count = irq.count;
  info.flags = (irq.eventfd ? qf::kEventfd : 0) | (irq.maskable ? qf::kMaskable : 0) |
               (irq.automasked ? qf::kAutomasked : 0) | (irq.noresize ? qf::kNoresize : 0);
  put(reply(request.header, sizeof info), info);
  return Outcome::replied;
}

}  // namespace vmux::vfio_user
