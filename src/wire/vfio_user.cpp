// SPDX-License-Identifier: BSD-3-Clause
#include "wire/vfio_user.hpp"

namespace vmux::wire::vfio_user {
namespace {

using Payload = std::span<const std::byte>;

tl::unexpected<Error> too_short() noexcept { return fail(Errc::invalid_argument, "message is too short"); }
tl::unexpected<Error> bad_argsz() noexcept { return fail(Errc::invalid_argument, "argsz is too small"); }
tl::unexpected<Error> bad_flags() noexcept { return fail(Errc::invalid_argument, "flags make no sense"); }

bool is_one_bit(std::uint32_t value) noexcept { return value != 0 && (value & (value - 1)) == 0; }

}  // namespace

Result<DmaMapRequest> decode_dma_map(Payload payload) noexcept {
  const auto raw = peek<DmaMap>(payload);
  if (!raw) return too_short();
  if (raw->argsz < sizeof(DmaMap)) return bad_argsz();
  if ((raw->flags & ~(dma_map_flags::kReadable | dma_map_flags::kWritable)) != 0 || raw->flags == 0) return bad_flags();
  return DmaMapRequest{raw->address, raw->size, raw->offset, (raw->flags & dma_map_flags::kReadable) != 0,
                       (raw->flags & dma_map_flags::kWritable) != 0};
}

Result<DmaUnmapRequest> decode_dma_unmap(Payload payload) noexcept {
  const auto raw = peek<DmaUnmap>(payload);
  if (!raw) return too_short();
  if (raw->argsz < sizeof(DmaUnmap)) return bad_argsz();
  if ((raw->flags & ~dma_unmap_flags::kAll) != 0) return bad_flags();
  const bool all = (raw->flags & dma_unmap_flags::kAll) != 0;
  if (all && (raw->address != 0 || raw->size != 0)) {
    return fail(Errc::invalid_argument, "an unmap of everything names no range");
  }
  return DmaUnmapRequest{raw->address, raw->size, all};
}

Result<InfoRequest> decode_get_info(Payload payload) noexcept {
  const auto raw = peek<DeviceInfo>(payload);
  if (!raw) return too_short();
  if (raw->argsz < sizeof(DeviceInfo)) return bad_argsz();
  return InfoRequest{raw->argsz, 0};
}

Result<InfoRequest> decode_get_region_info(Payload payload) noexcept {
  const auto raw = peek<RegionInfo>(payload);
  if (!raw) return too_short();
  if (raw->argsz < sizeof(RegionInfo)) return bad_argsz();
  return InfoRequest{raw->argsz, raw->index};
}

Result<InfoRequest> decode_get_region_io_fds(Payload payload) noexcept {
  const auto raw = peek<RegionIoFds>(payload);
  if (!raw) return too_short();
  if (raw->argsz < sizeof(RegionIoFds)) return bad_argsz();
  if (raw->flags != 0 || raw->count != 0) return bad_flags();
  return InfoRequest{raw->argsz, raw->index};
}

Result<InfoRequest> decode_get_irq_info(Payload payload) noexcept {
  const auto raw = peek<IrqInfo>(payload);
  if (!raw) return too_short();
  if (raw->argsz < sizeof(IrqInfo)) return bad_argsz();
  return InfoRequest{raw->argsz, raw->index};
}

Result<SetIrqsRequest> decode_set_irqs(Payload payload) noexcept {
  const auto raw = peek<SetIrqs>(payload);
  if (!raw) return too_short();
  // Not compared with the message's size: QEMU and cloud-hypervisor leave the descriptors out of it, others do not.
  if (raw->argsz < sizeof(SetIrqs)) return bad_argsz();
  SetIrqsRequest request;
  request.index = raw->index;
  request.start = raw->start;
  request.count = raw->count;
  request.action = raw->flags & set_irqs_flags::kActionMask;
  request.data = raw->flags & set_irqs_flags::kDataMask;
  const std::uint32_t unknown = raw->flags & ~(set_irqs_flags::kActionMask | set_irqs_flags::kDataMask);
  if (unknown != 0 || !is_one_bit(request.data)) return bad_flags();
  const Payload rest = payload.subspan(sizeof(SetIrqs));
  if (request.data == set_irqs_flags::kDataBool) {
    if (rest.size() != request.count) {
      return fail(Errc::invalid_argument, "the number of booleans is not the count of interrupts");
    }
    request.booleans = rest;
  }
  return request;
}

Result<RegionRequest> decode_region_read(Payload payload, std::size_t max_count) noexcept {
  const auto raw = peek<RegionAccess>(payload);
  if (!raw) return too_short();
  if (raw->count > max_count) return fail(Errc::invalid_argument, "count is beyond max_data_xfer_size");
  return RegionRequest{raw->offset, raw->region, raw->count, {}};
}

Result<RegionRequest> decode_region_write(Payload payload, std::size_t max_count) noexcept {
  auto request = decode_region_read(payload, max_count);
  if (!request) return request;
  const Payload data = payload.subspan(sizeof(RegionAccess));
  if (data.size() != request->count) return fail(Errc::invalid_argument, "data is not as long as count says");
  request->data = data;
  return request;
}

Result<std::uint64_t> decode_write_multi(Payload payload) noexcept {
  const auto raw = peek<WriteMulti>(payload);
  if (!raw) return too_short();
  const std::size_t rest = payload.size() - sizeof(WriteMulti);
  if (rest % sizeof(SingleWrite) != 0 || raw->wr_cnt != rest / sizeof(SingleWrite)) {
    return fail(Errc::invalid_argument, "wr_cnt does not fit the message");
  }
  if (raw->wr_cnt > kMaxSingleWrites) return fail(Errc::invalid_argument, "more writes than one message may have");
  return raw->wr_cnt;
}

Result<RegionRequest> single_write(Payload payload, std::uint64_t number) noexcept {
  const std::size_t at = sizeof(WriteMulti) + static_cast<std::size_t>(number) * sizeof(SingleWrite);
  const auto raw = peek<SingleWrite>(payload.subspan(at));
  if (!raw) return too_short();
  if (raw->count > sizeof raw->data) return fail(Errc::invalid_argument, "a single write is longer than 8 bytes");
  return RegionRequest{raw->offset, raw->region, raw->count,
                       payload.subspan(at + offsetof(SingleWrite, data), raw->count)};
}

Result<FeatureRequest> decode_device_feature(Payload payload) noexcept {
  const auto raw = peek<DeviceFeature>(payload);
  if (!raw) return too_short();
  if (raw->argsz < sizeof(DeviceFeature)) return bad_argsz();
  const std::uint32_t known =
      feature_flags::kIndexMask | feature_flags::kGet | feature_flags::kSet | feature_flags::kProbe;
  FeatureRequest request{.argsz = raw->argsz,
                         .index = static_cast<std::uint16_t>(raw->flags & feature_flags::kIndexMask),
                         .get = (raw->flags & feature_flags::kGet) != 0,
                         .set = (raw->flags & feature_flags::kSet) != 0,
                         .probe = (raw->flags & feature_flags::kProbe) != 0,
                         .data = payload.subspan(sizeof(DeviceFeature))};
  if ((raw->flags & ~known) != 0) return bad_flags();
  if (!request.probe && request.get && request.set) return bad_flags();
  return request;
}

Result<MigDataRequest> decode_mig_data_read(Payload payload, std::size_t max_size) noexcept {
  const auto raw = peek<MigData>(payload);
  if (!raw) return too_short();
  if (raw->size > max_size) return fail(Errc::invalid_argument, "size is beyond max_data_xfer_size");
  if (raw->argsz < sizeof(MigData) || raw->argsz - sizeof(MigData) < raw->size) return bad_argsz();
  return MigDataRequest{raw->size, {}};
}

Result<MigDataRequest> decode_mig_data_write(Payload payload, std::size_t max_size) noexcept {
  const auto raw = peek<MigData>(payload);
  if (!raw) return too_short();
  if (raw->size > max_size) return fail(Errc::invalid_argument, "size is beyond max_data_xfer_size");
  if (raw->argsz < sizeof(MigData)) return bad_argsz();
  const Payload data = payload.subspan(sizeof(MigData));
  if (data.size() != raw->size) return fail(Errc::invalid_argument, "data is not as long as size says");
  return MigDataRequest{raw->size, data};
}

}  // namespace vmux::wire::vfio_user
