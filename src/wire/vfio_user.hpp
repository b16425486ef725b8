// SPDX-License-Identifier: BSD-3-Clause
// The vfio-user protocol as it lies on the socket: QEMU docs/interop/vfio-user.rst, and linux/vfio.h where that refers
// to it. Structs, numbers and pure checks; no I/O and no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "vmux/base/le.hpp"
#include "vmux/base/result.hpp"

namespace vmux::wire::vfio_user {

// "Commands"
enum class Command : std::uint16_t {
  version = 1,
  dma_map = 2,
  dma_unmap = 3,
  get_info = 4,
  get_region_info = 5,
  get_region_io_fds = 6,
  get_irq_info = 7,
  set_irqs = 8,
  region_read = 9,
  region_write = 10,
  dma_read = 11,   // server to client
  dma_write = 12,  // server to client
  reset = 13,
  region_write_multi = 15,
  device_feature = 16,
  mig_data_read = 17,
  mig_data_write = 18,
};
inline constexpr std::uint16_t kCommandLimit = 19;

// "Header"
struct Header {
  Le<std::uint16_t> id;
  Le<std::uint16_t> command;
  Le<std::uint32_t> size;  // of the whole message, this header included
  Le<std::uint32_t> flags;
  Le<std::uint32_t> error;
};
static_assert(sizeof(Header) == 16 && offsetof(Header, size) == 4 && offsetof(Header, error) == 12);

namespace header_flags {
inline constexpr std::uint32_t kTypeMask = 0xf;
inline constexpr std::uint32_t kCommand = 0x0;
inline constexpr std::uint32_t kReply = 0x1;
inline constexpr std::uint32_t kNoReply = 0x10;
inline constexpr std::uint32_t kError = 0x20;
}  // namespace header_flags

// "VFIO_USER_VERSION"; JSON and a NUL follow.
struct Version {
  Le<std::uint16_t> major;
  Le<std::uint16_t> minor;
};
static_assert(sizeof(Version) == 4);

// "VFIO_USER_DMA_MAP"
struct DmaMap {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
  Le<std::uint64_t> offset;
  Le<std::uint64_t> address;
  Le<std::uint64_t> size;
};
static_assert(sizeof(DmaMap) == 32 && offsetof(DmaMap, address) == 16);
namespace dma_map_flags {
inline constexpr std::uint32_t kReadable = 1u << 0;
inline constexpr std::uint32_t kWritable = 1u << 1;
}  // namespace dma_map_flags

// "VFIO_USER_DMA_UNMAP"
struct DmaUnmap {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
  Le<std::uint64_t> address;
  Le<std::uint64_t> size;
};
static_assert(sizeof(DmaUnmap) == 24 && offsetof(DmaUnmap, address) == 8);
namespace dma_unmap_flags {
inline constexpr std::uint32_t kDirtyBitmap = 1u << 0;  // linux/vfio.h; not in vfio-user any more
inline constexpr std::uint32_t kAll = 1u << 1;          // linux/vfio.h; the specification is silent, QEMU relies on it
}  // namespace dma_unmap_flags

// "VFIO_USER_DEVICE_GET_INFO"
struct DeviceInfo {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
  Le<std::uint32_t> num_regions;
  Le<std::uint32_t> num_irqs;
};
static_assert(sizeof(DeviceInfo) == 16);
namespace device_flags {
inline constexpr std::uint32_t kReset = 1u << 0;
inline constexpr std::uint32_t kPci = 1u << 1;
}  // namespace device_flags

// "VFIO_USER_DEVICE_GET_REGION_INFO"; capabilities follow at cap_offset from the start of this struct.
struct RegionInfo {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
  Le<std::uint32_t> index;
  Le<std::uint32_t> cap_offset;
  Le<std::uint64_t> size;
  Le<std::uint64_t> offset;
};
static_assert(sizeof(RegionInfo) == 32 && offsetof(RegionInfo, size) == 16);
namespace region_flags {
inline constexpr std::uint32_t kRead = 1u << 0;
inline constexpr std::uint32_t kWrite = 1u << 1;
inline constexpr std::uint32_t kMmap = 1u << 2;
inline constexpr std::uint32_t kCaps = 1u << 3;
}  // namespace region_flags

// "VFIO cap header format"
struct CapHeader {
  Le<std::uint16_t> id;
  Le<std::uint16_t> version;
  Le<std::uint32_t> next;
};
static_assert(sizeof(CapHeader) == 8);
inline constexpr std::uint16_t kCapSparseMmap = 1;
// "VFIO sparse mmap cap header" with its fixed part; nr_areas areas follow.
struct SparseCap {
  CapHeader header;
  Le<std::uint32_t> nr_areas;
  Le<std::uint32_t> reserved;
};
static_assert(sizeof(SparseCap) == 16);
struct SparseArea {
  Le<std::uint64_t> offset;
  Le<std::uint64_t> size;
};
static_assert(sizeof(SparseArea) == 16);

// "VFIO_USER_DEVICE_GET_REGION_IO_FDS"; sub-regions follow in a reply.
struct RegionIoFds {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
  Le<std::uint32_t> index;
  Le<std::uint32_t> count;
};
static_assert(sizeof(RegionIoFds) == 16);
enum class IoFdType : std::uint32_t { ioeventfd = 0, ioregionfd = 1 };
struct SubRegionIoFd {
  Le<std::uint64_t> offset;
  Le<std::uint64_t> size;
  Le<std::uint32_t> fd_index;
  Le<std::uint32_t> type;
  Le<std::uint32_t> flags;
  Le<std::uint32_t> padding;
  Le<std::uint64_t> datamatch_or_user_data;
};
namespace io_fd_flags {  // KVM_IOEVENTFD_FLAG_*, linux/kvm.h
inline constexpr std::uint32_t kDatamatch = 1u << 0;
inline constexpr std::uint32_t kPio = 1u << 1;
}  // namespace io_fd_flags
static_assert(sizeof(SubRegionIoFd) == 40 && offsetof(SubRegionIoFd, datamatch_or_user_data) == 32);

// "VFIO_USER_DEVICE_GET_IRQ_INFO"
struct IrqInfo {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
  Le<std::uint32_t> index;
  Le<std::uint32_t> count;
};
static_assert(sizeof(IrqInfo) == 16);
namespace irq_flags {
inline constexpr std::uint32_t kEventfd = 1u << 0;
inline constexpr std::uint32_t kMaskable = 1u << 1;
inline constexpr std::uint32_t kAutomasked = 1u << 2;
inline constexpr std::uint32_t kNoresize = 1u << 3;
}  // namespace irq_flags

// "VFIO_USER_DEVICE_SET_IRQS"; `count` booleans follow with kDataBool.
struct SetIrqs {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
  Le<std::uint32_t> index;
  Le<std::uint32_t> start;
  Le<std::uint32_t> count;
};
static_assert(sizeof(SetIrqs) == 20);
namespace set_irqs_flags {
inline constexpr std::uint32_t kDataNone = 1u << 0;
inline constexpr std::uint32_t kDataBool = 1u << 1;
inline constexpr std::uint32_t kDataEventfd = 1u << 2;
inline constexpr std::uint32_t kMask = 1u << 3;
inline constexpr std::uint32_t kUnmask = 1u << 4;
inline constexpr std::uint32_t kTrigger = 1u << 5;
inline constexpr std::uint32_t kDataMask = kDataNone | kDataBool | kDataEventfd;
inline constexpr std::uint32_t kActionMask = kMask | kUnmask | kTrigger;
}  // namespace set_irqs_flags

// "VFIO_USER_REGION_READ", "VFIO_USER_REGION_WRITE"; data follows.
struct RegionAccess {
  Le<std::uint64_t> offset;
  Le<std::uint32_t> region;
  Le<std::uint32_t> count;
};
static_assert(sizeof(RegionAccess) == 16);

// "VFIO_USER_DMA_READ", "VFIO_USER_DMA_WRITE"; data follows.
struct DmaAccess {
  Le<std::uint64_t> address;
  Le<std::uint64_t> count;
};
static_assert(sizeof(DmaAccess) == 16);
// QEMU's own layout of the same (hw/vfio-user/protocol.h, VFIOUserDMARW): a 32-bit count, and data right after it.
// QEMU still insists on, and replies with, 4 bytes more than that, because its compiler pads the struct.
struct QemuDmaAccess {
  Le<std::uint64_t> address;
  Le<std::uint32_t> count;
};
static_assert(sizeof(QemuDmaAccess) == 12);

// "VFIO_USER_REGION_WRITE_MULTI"; wr_cnt single writes follow.
struct WriteMulti {
  Le<std::uint64_t> wr_cnt;
};
static_assert(sizeof(WriteMulti) == 8);
struct SingleWrite {
  Le<std::uint64_t> offset;
  Le<std::uint32_t> region;
  Le<std::uint32_t> count;
  std::byte data[8];
};
static_assert(sizeof(SingleWrite) == 24 && offsetof(SingleWrite, data) == 16);

// "VFIO_USER_DEVICE_FEATURE"; feature data follows.
struct DeviceFeature {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> flags;
};
static_assert(sizeof(DeviceFeature) == 8);
namespace feature_flags {
inline constexpr std::uint32_t kIndexMask = 0xffff;
inline constexpr std::uint32_t kGet = 1u << 16;
inline constexpr std::uint32_t kSet = 1u << 17;
inline constexpr std::uint32_t kProbe = 1u << 18;
}  // namespace feature_flags
enum class Feature : std::uint16_t {
  migration = 1,
  mig_device_state = 2,
  dma_logging_start = 6,
  dma_logging_stop = 7,
  dma_logging_report = 8,
};
struct FeatureMigration {
  Le<std::uint64_t> flags;
};
static_assert(sizeof(FeatureMigration) == 8);
namespace migration_flags {
inline constexpr std::uint64_t kStopCopy = 1u << 0;
inline constexpr std::uint64_t kP2p = 1u << 1;
inline constexpr std::uint64_t kPreCopy = 1u << 2;
}  // namespace migration_flags
struct FeatureDeviceState {
  Le<std::uint32_t> device_state;
  Le<std::uint32_t> data_fd;
};
static_assert(sizeof(FeatureDeviceState) == 8);
struct FeatureLoggingStart {
  Le<std::uint64_t> page_size;
  Le<std::uint32_t> num_ranges;
  Le<std::uint32_t> reserved;
};
static_assert(sizeof(FeatureLoggingStart) == 16);
struct LoggingRange {
  Le<std::uint64_t> iova;
  Le<std::uint64_t> length;
};
static_assert(sizeof(LoggingRange) == 16);
struct FeatureLoggingReport {
  Le<std::uint64_t> iova;
  Le<std::uint64_t> length;
  Le<std::uint64_t> page_size;
};
static_assert(sizeof(FeatureLoggingReport) == 24);

// "VFIO_USER_MIG_DATA_READ", "VFIO_USER_MIG_DATA_WRITE"; data follows.
struct MigData {
  Le<std::uint32_t> argsz;
  Le<std::uint32_t> size;
};
static_assert(sizeof(MigData) == 8);

/// The T at the start of `bytes`, by copy; nullopt when they are too few.
template <class T>
[[nodiscard]] std::optional<T> peek(std::span<const std::byte> bytes) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}
/// Puts `value` at the start of `into`, which must be long enough, and returns what follows it.
template <class T>
std::span<std::byte> put(std::span<std::byte> into, const T& value) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(into.data(), &value, sizeof value);
  return into.subspan(sizeof value);
}

// --- checked requests: each decoder takes a payload (what follows the header) and refuses what makes no sense ---

struct DmaMapRequest {
  std::uint64_t address = 0, size = 0, offset = 0;
  bool readable = false, writable = false;
};
[[nodiscard]] Result<DmaMapRequest> decode_dma_map(std::span<const std::byte> payload) noexcept;

struct DmaUnmapRequest {
  std::uint64_t address = 0, size = 0;
  bool all = false;
};
[[nodiscard]] Result<DmaUnmapRequest> decode_dma_unmap(std::span<const std::byte> payload) noexcept;

/// GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS and GET_IRQ_INFO ask for an index and tell how much they can take.
struct InfoRequest {
  std::uint32_t argsz = 0, index = 0;
};
[[nodiscard]] Result<InfoRequest> decode_get_info(std::span<const std::byte> payload) noexcept;
[[nodiscard]] Result<InfoRequest> decode_get_region_info(std::span<const std::byte> payload) noexcept;
[[nodiscard]] Result<InfoRequest> decode_get_region_io_fds(std::span<const std::byte> payload) noexcept;
[[nodiscard]] Result<InfoRequest> decode_get_irq_info(std::span<const std::byte> payload) noexcept;

struct SetIrqsRequest {
  std::uint32_t index = 0, start = 0, count = 0;
  std::uint32_t action = 0;  ///< of set_irqs_flags::kMask, kUnmask, kTrigger: it may be none or several
  std::uint32_t data = 0;    ///< one of set_irqs_flags::kDataNone, kDataBool, kDataEventfd
  std::span<const std::byte> booleans;
};
[[nodiscard]] Result<SetIrqsRequest> decode_set_irqs(std::span<const std::byte> payload) noexcept;

struct RegionRequest {
  std::uint64_t offset = 0;
  std::uint32_t region = 0, count = 0;
  std::span<const std::byte> data;  ///< of a write: `count` bytes
};
[[nodiscard]] Result<RegionRequest> decode_region_read(std::span<const std::byte> payload,
                                                       std::size_t max_count) noexcept;
[[nodiscard]] Result<RegionRequest> decode_region_write(std::span<const std::byte> payload,
                                                        std::size_t max_count) noexcept;
/// Returns the number of single writes; fetch them with single_write().
[[nodiscard]] Result<std::uint64_t> decode_write_multi(std::span<const std::byte> payload) noexcept;
[[nodiscard]] Result<RegionRequest> single_write(std::span<const std::byte> payload, std::uint64_t number) noexcept;

struct FeatureRequest {
  std::uint32_t argsz = 0;
  std::uint16_t index = 0;
  bool get = false, set = false, probe = false;
  std::span<const std::byte> data;
};
[[nodiscard]] Result<FeatureRequest> decode_device_feature(std::span<const std::byte> payload) noexcept;

struct MigDataRequest {
  std::uint32_t size = 0;
  std::span<const std::byte> data;  ///< of a write: `size` bytes
};
[[nodiscard]] Result<MigDataRequest> decode_mig_data_read(std::span<const std::byte> payload,
                                                          std::size_t max_size) noexcept;
[[nodiscard]] Result<MigDataRequest> decode_mig_data_write(std::span<const std::byte> payload,
                                                           std::size_t max_size) noexcept;

// --- VERSION ---

/// What one side offers; absent values have the specification's defaults.
struct Capabilities {
  std::uint64_t max_msg_fds = 1;
  std::uint64_t max_data_xfer_size = 1 << 20;
  std::uint64_t max_dma_maps = 65535;
  std::uint64_t pgsizes = 4096;
  bool write_multiple = false;
  bool twin_socket = false;                    ///< requests of the server go over a socket of their own
  std::optional<std::uint64_t> twin_fd_index;  ///< of a reply: which of its descriptors that socket is
  // Which of them were named: that tells clients apart.
  bool present = false, has_migration = false, has_pgsizes = false, has_max_dma_maps = false,
       has_write_multiple = false, has_twin_socket = false;
};
struct VersionMessage {
  std::uint16_t major = 0, minor = 0;
  Capabilities capabilities;
};
inline constexpr std::size_t kMaxVersionData = 4096;
inline constexpr std::size_t kMaxSingleWrites = 1024;  // of one REGION_WRITE_MULTI; QEMU sends 200 at most

/// Version data is optional; when there, it must be a JSON object, with its NUL.
[[nodiscard]] Result<VersionMessage> decode_version(std::span<const std::byte> payload);
/// The JSON of a VERSION message, without its NUL. write_multiple and twin_socket are named only when true.
[[nodiscard]] std::string version_json(const Capabilities& capabilities);

}  // namespace vmux::wire::vfio_user
