// SPDX-License-Identifier: BSD-3-Clause
// One function per message of the protocol.
#include <algorithm>
#include <cstring>

#include "vfio_user/client/client_impl.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::vfio_user {
namespace {

using namespace wire::vfio_user;  // this file is about nothing else

template <class T>
std::span<const std::byte> bytes_of(const T& value) noexcept {
  return std::as_bytes(std::span{&value, 1});
}
constexpr std::size_t kMaxRegionInfo = 64 << 10;

template <class T>
Result<void> discard(const Result<T>& result) {
  if (!result) return tl::unexpected(result.error());
  return {};
}

RegionAccess access_of(pci::Region region, RegionOffset offset, std::size_t count) noexcept {
  return {offset.raw, static_cast<std::uint32_t>(region), static_cast<std::uint32_t>(count)};
}

DmaMap map_of(Iova start, ByteCount size, memory::Access access, std::uint64_t offset) noexcept {
  DmaMap map;
  map.argsz = sizeof map;
  map.flags = (allows(access, memory::Access::read) ? dma_map_flags::kReadable : 0) |
              (allows(access, memory::Access::write) ? dma_map_flags::kWritable : 0);
  map.offset = offset;
  map.address = start.raw;
  map.size = size.raw;
  return map;
}

DmaUnmap unmap_of(Iova start, ByteCount size, std::uint32_t flags) noexcept {
  DmaUnmap unmap;
  unmap.argsz = sizeof unmap;
  unmap.flags = flags;
  unmap.address = start.raw;
  unmap.size = size.raw;
  return unmap;
}

std::vector<std::byte> encode(std::span<const SmallWrite> writes) {
  std::vector<std::byte> body(sizeof(WriteMulti) + writes.size() * sizeof(SingleWrite));
  auto into = put(std::span{body}, WriteMulti{writes.size()});
  for (const auto& write : writes) {
    SingleWrite one{write.offset.raw, static_cast<std::uint32_t>(write.region), write.size, {}};
    const Le<std::uint64_t> value = write.value;
    std::memcpy(one.data, &value, sizeof one.data);
    into = put(into, one);
  }
  return body;
}

// Sparse areas out of the capability chain; what does not fit together is left out.
std::vector<pci::SharedArea> sparse_areas(std::span<const std::byte> info, std::uint32_t at) {
  std::vector<pci::SharedArea> areas;
  for (unsigned hops = 0; at != 0 && at < info.size() && hops < 16; ++hops) {
    const auto header = peek<CapHeader>(info.subspan(at));
    if (!header) break;
    const auto cap = peek<SparseCap>(info.subspan(at));
    if (header->id == kCapSparseMmap && cap) {
      auto rest = info.subspan(at + sizeof *cap);
      for (std::uint32_t i = 0; i < cap->nr_areas; ++i, rest = rest.subspan(sizeof(SparseArea))) {
        const auto area = peek<SparseArea>(rest);
        if (!area) break;
        areas.push_back({area->offset, area->size});
      }
    }
    at = header->next;
  }
  return areas;
}

// "Each array entry i is at offset i * ((argsz - 32) / count). Note that currently this is 40 bytes": the payload's own
// header has 16 bytes, and entries may grow.
Result<IoFds> io_fds_of(const wire::vfio_user::RegionIoFds& info, std::span<const std::byte> rest,
                        std::vector<UniqueFd> fds) {
  IoFds found;
  found.fds = std::move(fds);
  if (info.count == 0) return found;
  const std::size_t step = (info.argsz - std::min<std::size_t>(info.argsz, sizeof info)) / info.count;
  if (step < sizeof(SubRegionIoFd) || rest.size() / step < info.count) {
    return fail(Errc::protocol, "a list of descriptors for a region has a wrong size");
  }
  for (std::uint32_t i = 0; i < info.count; ++i) {
    const auto part = *peek<SubRegionIoFd>(rest.subspan(i * step));
    if (part.fd_index >= found.fds.size()) return fail(Errc::protocol, "a region's descriptor is not there");
    found.parts.push_back({part.offset, part.size, part.type == static_cast<std::uint32_t>(IoFdType::ioregionfd),
                           part.flags, part.datamatch_or_user_data, part.fd_index});
  }
  return found;
}

}  // namespace

Result<DeviceSummary> Client::device_info() {
  DeviceInfo ask;
  ask.argsz = sizeof ask;
  const auto reply = impl_->call(Command::get_info, bytes_of(ask), {}, sizeof(DeviceInfo));
  if (!reply) return tl::unexpected(reply.error());
  const auto info = reply->fixed_part<DeviceInfo>();
  return DeviceSummary{(info.flags & device_flags::kReset) != 0, (info.flags & device_flags::kPci) != 0,
                       info.num_regions, info.num_irqs};
}

Result<RegionDescription> Client::region_info(std::uint32_t index) {
  wire::vfio_user::RegionInfo ask;
  ask.argsz = sizeof ask;
  ask.index = index;
  std::vector<std::byte> tail;
  for (;;) {
    auto reply = impl_->call(Command::get_region_info, bytes_of(ask), {}, sizeof ask, tail);
    if (!reply) return tl::unexpected(reply.error());
    const auto info = reply->fixed_part<wire::vfio_user::RegionInfo>();
    if (info.argsz > ask.argsz && info.argsz <= kMaxRegionInfo) {
      ask.argsz = info.argsz;  // ask again with enough room
      tail.resize(info.argsz - sizeof info);
      continue;
    }
    RegionDescription region;
    region.size = info.size;
    region.readable = (info.flags & region_flags::kRead) != 0;
    region.writable = (info.flags & region_flags::kWrite) != 0;
    region.mappable = (info.flags & region_flags::kMmap) != 0 && !reply->fds.empty();
    region.fd_offset = info.offset;
    if (!reply->fds.empty()) region.fd = std::move(reply->fds.front());
    if ((info.flags & region_flags::kCaps) != 0) {
      std::vector<std::byte> whole(sizeof info + reply->data_size);
      std::copy_n(tail.begin(), reply->data_size, put(std::span{whole}, info).begin());
      region.areas = sparse_areas(whole, info.cap_offset);
    }
    return region;
  }
}

Result<pci::IrqInfo> Client::irq_info(std::uint32_t index) {
  wire::vfio_user::IrqInfo ask;
  ask.argsz = sizeof ask;
  ask.index = index;
  const auto reply = impl_->call(Command::get_irq_info, bytes_of(ask), {}, sizeof ask);
  if (!reply) return tl::unexpected(reply.error());
  const auto info = reply->fixed_part<wire::vfio_user::IrqInfo>();
  return pci::IrqInfo{info.count, (info.flags & irq_flags::kEventfd) != 0, (info.flags & irq_flags::kMaskable) != 0,
                      (info.flags & irq_flags::kAutomasked) != 0, (info.flags & irq_flags::kNoresize) != 0};
}

Result<IoFds> Client::region_io_fds(std::uint32_t index) {
  wire::vfio_user::RegionIoFds ask;
  ask.argsz = static_cast<std::uint32_t>(sizeof ask + impl_->limits.max_fds * sizeof(SubRegionIoFd));
  ask.index = index;
  for (;;) {
    std::vector<std::byte> tail(ask.argsz - sizeof ask);
    auto reply = impl_->call(Command::get_region_io_fds, bytes_of(ask), {}, sizeof ask, tail);
    if (!reply) return tl::unexpected(reply.error());
    const auto info = reply->fixed_part<wire::vfio_user::RegionIoFds>();
    if (info.argsz > ask.argsz && info.argsz <= kMaxRegionInfo) {
      ask.argsz = info.argsz;  // ask again with enough room
      continue;
    }
    return io_fds_of(info, std::span{tail}.first(reply->data_size), std::move(reply->fds));
  }
}

Result<Client::Ticket> Client::start_dma_map(Iova start, ByteCount size, memory::Access access, int fd,
                                             std::uint64_t offset) {
  const DmaMap map = map_of(start, size, access, offset);
  const auto fds = fd >= 0 ? std::span<const int>{&fd, 1} : std::span<const int>{};
  const auto id = impl_->start(Command::dma_map, bytes_of(map), {}, 0, {}, fds);
  if (!id) return tl::unexpected(id.error());
  return Ticket{*id};
}

Result<Client::Ticket> Client::start_dma_unmap(Iova start, ByteCount size) {
  const DmaUnmap unmap = unmap_of(start, size, 0);
  const auto id = impl_->start(Command::dma_unmap, bytes_of(unmap), {}, sizeof unmap);
  if (!id) return tl::unexpected(id.error());
  return Ticket{*id};
}

Result<void> Client::dma_map(Iova start, ByteCount size, memory::Access access, int fd, std::uint64_t offset) {
  const auto ticket = start_dma_map(start, size, access, fd, offset);
  if (!ticket) return tl::unexpected(ticket.error());
  return finish(*ticket);
}

Result<void> Client::dma_unmap(Iova start, ByteCount size) {
  const auto ticket = start_dma_unmap(start, size);
  if (!ticket) return tl::unexpected(ticket.error());
  return finish(*ticket);
}

Result<void> Client::dma_unmap_all() {
  const DmaUnmap unmap = unmap_of({}, {}, dma_unmap_flags::kAll);
  return discard(impl_->call(Command::dma_unmap, bytes_of(unmap), {}, sizeof unmap));
}

Result<Client::Ticket> Client::start_read(pci::Region region, RegionOffset offset, std::span<std::byte> into) {
  if (auto ok = impl_->check_count(into.size()); !ok) return tl::unexpected(ok.error());
  const RegionAccess access = access_of(region, offset, into.size());
  const auto id = impl_->start(Command::region_read, bytes_of(access), {}, sizeof access, into);
  if (!id) return tl::unexpected(id.error());
  return Ticket{*id};
}

Result<Client::Ticket> Client::start_write(pci::Region region, RegionOffset offset, std::span<const std::byte> from) {
  if (auto ok = impl_->check_count(from.size()); !ok) return tl::unexpected(ok.error());
  const RegionAccess access = access_of(region, offset, from.size());
  const auto id = impl_->start(Command::region_write, bytes_of(access), from, sizeof access);
  if (!id) return tl::unexpected(id.error());
  return Ticket{*id};
}

Result<void> Client::finish(Ticket ticket) {
  const auto done = impl_->finish(ticket.id);
  if (!done) return tl::unexpected(done.error());
  if (done->command == Command::region_read && done->data_size != done->into.size()) {
    return fail(Errc::protocol, "a read brought fewer bytes than asked for");
  }
  return {};
}

Result<void> Client::read(pci::Region region, RegionOffset offset, std::span<std::byte> into) {
  const auto ticket = start_read(region, offset, into);
  if (!ticket) return tl::unexpected(ticket.error());
  return finish(*ticket);
}

Result<void> Client::write(pci::Region region, RegionOffset offset, std::span<const std::byte> from) {
  const auto ticket = start_write(region, offset, from);
  if (!ticket) return tl::unexpected(ticket.error());
  return finish(*ticket);
}

Result<void> Client::write_posted(pci::Region region, RegionOffset offset, std::span<const std::byte> from) {
  if (auto ok = impl_->check_count(from.size()); !ok) return ok;
  const RegionAccess access = access_of(region, offset, from.size());
  return impl_->post(Command::region_write, bytes_of(access), from);
}

Result<std::size_t> Client::write_multi(std::span<const SmallWrite> writes) {
  if (!impl_->limits.write_multiple) return fail(Errc::not_supported, "the server takes no combined writes");
  const auto body = encode(writes);
  const auto reply = impl_->call(Command::region_write_multi, body, {}, sizeof(WriteMulti));
  if (!reply) return tl::unexpected(reply.error());
  return static_cast<std::size_t>(reply->fixed_part<WriteMulti>().wr_cnt);
}

Result<void> Client::write_multi_posted(std::span<const SmallWrite> writes) {
  if (!impl_->limits.write_multiple) return fail(Errc::not_supported, "the server takes no combined writes");
  return impl_->post(Command::region_write_multi, encode(writes), {});
}

Result<void> Client::set_irqs(pci::Irq irq, pci::IrqAction action, pci::IrqData data, std::uint32_t start,
                              std::uint32_t count, std::span<const int> eventfds,
                              std::span<const std::uint8_t> booleans) {
  namespace sf = set_irqs_flags;
  SetIrqs ask;
  ask.flags = (action == pci::IrqAction::mask     ? sf::kMask
               : action == pci::IrqAction::unmask ? sf::kUnmask
                                                  : sf::kTrigger) |
              (data == pci::IrqData::none      ? sf::kDataNone
               : data == pci::IrqData::boolean ? sf::kDataBool
                                               : sf::kDataEventfd);
  ask.argsz = static_cast<std::uint32_t>(sizeof ask + booleans.size());
  ask.index = static_cast<std::uint32_t>(irq);
  do {
    const std::size_t part = std::min(eventfds.size(), impl_->limits.max_fds);
    const bool is_last = part == eventfds.size();
    ask.start = start;
    ask.count = is_last ? count : static_cast<std::uint32_t>(part);
    const auto done =
        impl_->call(Command::set_irqs, bytes_of(ask), std::as_bytes(booleans), 0, {}, eventfds.first(part));
    if (!done) return tl::unexpected(done.error());
    eventfds = eventfds.subspan(part);
    start += ask.count;
    count -= std::min(count, std::uint32_t{ask.count});
  } while (!eventfds.empty());
  return {};
}

Result<void> Client::reset() { return discard(impl_->call(Command::reset, {}, {}, 0)); }

Result<std::size_t> Client::device_feature(std::uint32_t flags, std::span<const std::byte> data,
                                           std::span<std::byte> into) {
  DeviceFeature ask;
  ask.argsz = static_cast<std::uint32_t>(sizeof ask + std::max(data.size(), into.size()));
  ask.flags = flags;
  const auto reply = impl_->call(Command::device_feature, bytes_of(ask), data, sizeof ask, into);
  if (!reply) return tl::unexpected(reply.error());
  return reply->data_size;
}

Result<pci::MigrationState> Client::migration_state() {
  FeatureDeviceState state;
  const auto flags = feature_flags::kGet | static_cast<std::uint32_t>(Feature::mig_device_state);
  const auto got = device_feature(flags, {}, std::as_writable_bytes(std::span{&state, 1}));
  if (!got) return tl::unexpected(got.error());
  if (*got != sizeof state) return fail(Errc::protocol, "a migration state has a wrong size");
  return static_cast<pci::MigrationState>(std::uint32_t{state.device_state});
}

Result<void> Client::set_migration_state(pci::MigrationState to) {
  FeatureDeviceState state;
  state.device_state = static_cast<std::uint32_t>(to);
  const auto flags = feature_flags::kSet | static_cast<std::uint32_t>(Feature::mig_device_state);
  return discard(device_feature(flags, bytes_of(state)));
}

Result<std::size_t> Client::migration_read(std::span<std::byte> into) {
  if (auto ok = impl_->check_count(into.size()); !ok) return tl::unexpected(ok.error());
  MigData ask;
  ask.argsz = static_cast<std::uint32_t>(sizeof ask + into.size());
  ask.size = static_cast<std::uint32_t>(into.size());
  const auto reply = impl_->call(Command::mig_data_read, bytes_of(ask), {}, sizeof ask, into);
  if (!reply) return tl::unexpected(reply.error());
  // A reply may be as long as was asked for, and have less in it: libvfio-user's is.
  const std::size_t size = reply->fixed_part<MigData>().size;
  if (size > reply->data_size) return fail(Errc::protocol, "a MIG_DATA_READ reply has less than it says");
  return size;
}

Result<void> Client::migration_write(std::span<const std::byte> from) {
  if (auto ok = impl_->check_count(from.size()); !ok) return ok;
  MigData ask;
  ask.argsz = static_cast<std::uint32_t>(sizeof ask + from.size());
  ask.size = static_cast<std::uint32_t>(from.size());
  return discard(impl_->call(Command::mig_data_write, bytes_of(ask), from, 0));
}

}  // namespace vmux::vfio_user
