// SPDX-License-Identifier: BSD-3-Clause
// VFIO_DEVICE_FEATURE: migration and dirty tracking. Where the kernel's structs hold pointers or descriptors, the
// messages hold the data itself.
#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "preload/dma/iova.hpp"
#include "preload/process/trace.hpp"
#include "preload/vfio/device/device.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

constexpr std::size_t kMostData = 1 << 20;
/// Pages of one report of a server: 16 KiB of bits, which every server sends in one message.
constexpr std::uint64_t kReportPages = 16384 * 8;
constexpr std::uint32_t kStopCopy = 3, kResuming = 4, kPreCopy = 6, kPreCopyP2p = 7;

std::span<std::byte> bytes(std::vector<std::uint64_t>& words) { return std::as_writable_bytes(std::span{words}); }

/// What VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE hands out: reads and writes are the device's state.
class MigrationStream final : public Object {
 public:
  explicit MigrationStream(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  [[nodiscard]] const char* kind() const noexcept override { return "vfio-migration"; }
  long read(std::span<std::byte> into) override { return device_->migration_read(into); }
  long write(std::span<const std::byte> from) override { return device_->migration_write(from); }
  long read_at(std::uint64_t, std::span<std::byte>) override { return -ESPIPE; }
  long write_at(std::uint64_t, std::span<const std::byte>) override { return -ESPIPE; }

 private:
  std::shared_ptr<Device> device_;
};

}  // namespace

long Device::feature(void* argument) {
  vfio_device_feature header{};
  if (!copy_in(&header, argument, sizeof header)) return -EFAULT;
  constexpr std::uint32_t known =
      VFIO_DEVICE_FEATURE_MASK | VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PROBE;
  const bool gets = (header.flags & VFIO_DEVICE_FEATURE_GET) != 0, sets = (header.flags & VFIO_DEVICE_FEATURE_SET) != 0;
  const bool probes = (header.flags & VFIO_DEVICE_FEATURE_PROBE) != 0;
  if (header.argsz < sizeof header || (header.flags & ~known) != 0) return -EINVAL;
  if (!probes && gets && sets) return -EINVAL;
  // vfio_check_feature() comes after the question whether the device has the feature at all.
  if (!probes && !gets && !sets) {
    const int error = feature_plain(header.flags | VFIO_DEVICE_FEATURE_PROBE, nullptr, 0);
    return error != 0 ? error : -EINVAL;
  }
  const std::size_t size = std::min<std::size_t>(header.argsz - sizeof header, kMostData);
  std::vector<std::byte> data(size);
  std::byte* const place = static_cast<std::byte*>(argument) + sizeof header;
  if (!probes && !copy_in(data.data(), place, size)) return -EFAULT;
  int error = 0;
  switch (probes ? UINT32_MAX : header.flags & VFIO_DEVICE_FEATURE_MASK) {
    case abi::kFeatureDeviceState:
      error = feature_state(header.flags, data.data(), size);
      break;
    case abi::kFeatureLoggingStart:
      error = feature_logging_start(header.flags, data.data(), size);
      break;
    case abi::kFeatureLoggingReport:
      error = feature_logging_report(header.flags, data.data(), size);
      break;
    case UINT32_MAX:
      error = feature_plain(header.flags, nullptr, 0);
      break;
    default:
      error = feature_plain(header.flags, data.data(), size);
      break;
  }
  // That the device does not have the feature comes before what is wrong with the question.
  const std::uint32_t number = header.flags & VFIO_DEVICE_FEATURE_MASK;
  if (error == -EINVAL && feature_plain(number | VFIO_DEVICE_FEATURE_PROBE, nullptr, 0) == -ENOTTY) error = -ENOTTY;
  const bool answers = gets || (header.flags & VFIO_DEVICE_FEATURE_MASK) == abi::kFeatureDeviceState;
  if (error != 0 || !answers || probes) return error;
  return copy_out(place, data.data(), size) ? 0 : -EFAULT;
}

int Device::feature_plain(std::uint32_t flags, void* data, std::size_t size) {
  const std::span<std::byte> span{static_cast<std::byte*>(data), size};
  const bool gets = (flags & VFIO_DEVICE_FEATURE_GET) != 0;
  const std::lock_guard lock{lock_};
  if (is_gone_) return -ENODEV;
  return outcome(gets ? client_->device_feature(flags, {}, span) : client_->device_feature(flags, span));
}

int Device::feature_state(std::uint32_t flags, void* data, std::size_t size) {
  abi::FeatureDeviceState state{};
  if (size < sizeof state) return -EINVAL;
  std::memcpy(&state, data, sizeof state);
  const bool sets = (flags & VFIO_DEVICE_FEATURE_SET) != 0;
  bool begins = false;
  {
    const std::lock_guard lock{lock_};
    if (is_gone_) return -ENODEV;
    const auto before = client_->migration_state();
    if (!before) return outcome(before);
    if (sets) {
      const auto done = client_->set_migration_state(static_cast<pci::MigrationState>(state.device_state));
      if (!done) return outcome(done);
      const auto saves = [](std::uint32_t at) { return at == kStopCopy || at == kPreCopy || at == kPreCopyP2p; };
      const bool continues = saves(static_cast<std::uint32_t>(*before)) && saves(state.device_state);
      begins = !continues && *before != static_cast<pci::MigrationState>(state.device_state) &&
               (saves(state.device_state) || state.device_state == kResuming);
    } else {
      state.device_state = static_cast<std::uint32_t>(*before);
    }
  }
  state.data_fd = -1;
  if (begins) {
    const int fd = FdTable::instance().add(std::make_shared<MigrationStream>(shared_from_this()), O_RDWR | O_CLOEXEC);
    if (fd < 0) return fd;
    state.data_fd = fd;
  }
  std::memcpy(data, &state, sizeof state);
  return 0;
}

int Device::feature_logging_start(std::uint32_t flags, void* data, std::size_t size) {
  abi::FeatureLoggingControl control{};
  if (size < sizeof control || (flags & VFIO_DEVICE_FEATURE_SET) == 0) return -EINVAL;
  std::memcpy(&control, data, sizeof control);
  if (control.num_ranges == 0 || control.num_ranges > kMostData / 16) return -EINVAL;
  // The message: page size, number, then the ranges.
  std::vector<std::uint64_t> message(2 + 2 * std::size_t{control.num_ranges});
  message[0] = control.page_size;
  message[1] = control.num_ranges;
  if (!copy_in(&message[2], reinterpret_cast<const void*>(control.ranges), 16 * std::size_t{control.num_ranges})) {
    return -EFAULT;
  }
  const std::lock_guard lock{lock_};
  return is_gone_ ? -ENODEV : outcome(client_->device_feature(flags, bytes(message)));
}

int Device::feature_logging_report(std::uint32_t flags, void* data, std::size_t size) {
  abi::FeatureLoggingReport report{};
  if (size < sizeof report || (flags & VFIO_DEVICE_FEATURE_GET) == 0) return -EINVAL;
  std::memcpy(&report, data, sizeof report);
  // vfio_ioctl_device_feature_logging_report
  if (!std::has_single_bit(report.page_size) || report.page_size < kIovaPage || report.length == 0) return -EINVAL;
  if (report.iova + report.length < report.iova) return -EOVERFLOW;
  const std::uint64_t pages = (report.length - 1) / report.page_size + 1;
  for (std::uint64_t done = 0; done < pages; done += kReportPages) {
    // Part by part, as the memory of a large VM does not fit into one message.
    abi::FeatureLoggingReport part = report;
    part.iova += done * report.page_size;
    part.length = std::min(report.length - done * report.page_size, kReportPages * report.page_size);
    part.bitmap += done / 8;
    if (const int error = report_part(flags, part, std::min(pages - done, kReportPages)); error != 0) return error;
  }
  return 0;
}

int Device::report_part(std::uint32_t flags, const abi::FeatureLoggingReport& report, std::uint64_t pages) {
  const std::size_t words = static_cast<std::size_t>((pages + 63) / 64);
  std::vector<std::uint64_t> question{report.iova, report.length, report.page_size};
  std::vector<std::uint64_t> answer(3 + words), have(words);
  void* const bitmap = reinterpret_cast<void*>(report.bitmap);
  if (!copy_in(have.data(), bitmap, 8 * words)) return -EFAULT;
  {
    const std::lock_guard lock{lock_};
    if (is_gone_) return -ENODEV;
    const auto got = client_->device_feature(flags, bytes(question), bytes(answer));
    if (!got) return outcome(got);
    if (*got != answer.size() * sizeof answer[0]) return -EIO;
  }
  for (std::size_t i = 0; i < words; ++i)
    have[i] |= answer[3 + i];  // the kernel only ever sets bits
  return copy_out(bitmap, have.data(), 8 * words) ? 0 : -EFAULT;
}

// --- the same log for an address space: containers and iommufds ask for it in their own ways ---

bool Device::can_log_dma() {
  return feature_plain(abi::kFeatureLoggingStart | VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PROBE, nullptr, 0) ==
         0;
}

int Device::dirty_start() {
  // Page size, one range: whatever will be mapped.
  std::vector<std::uint64_t> message{kIovaPage, 1, 0, ~(kIovaPage - 1)};
  const std::lock_guard lock{lock_};
  if (is_gone_) return -ENODEV;
  return outcome(client_->device_feature(abi::kFeatureLoggingStart | VFIO_DEVICE_FEATURE_SET, bytes(message)));
}

void Device::dirty_stop() {
  const std::lock_guard lock{lock_};
  if (!is_gone_) (void)outcome(client_->device_feature(abi::kFeatureLoggingStop | VFIO_DEVICE_FEATURE_SET, {}));
}

int Device::dirty_report(std::uint64_t iova, std::span<std::uint64_t> bits, std::uint64_t pages) {
  std::vector<std::uint64_t> question{iova, pages * kIovaPage, kIovaPage}, answer(3 + bits.size());
  const std::lock_guard lock{lock_};
  if (is_gone_) return -ENODEV;
  const auto got =
      client_->device_feature(abi::kFeatureLoggingReport | VFIO_DEVICE_FEATURE_GET, bytes(question), bytes(answer));
  if (!got) return outcome(got);
  if (*got != answer.size() * sizeof answer[0]) return -EIO;
  for (std::size_t i = 0; i < bits.size(); ++i)
    bits[i] |= answer[3 + i];
  return 0;
}

long Device::migration_read(std::span<std::byte> into) {
  const std::lock_guard lock{lock_};
  if (is_gone_) return -EIO;
  const auto got = client_->migration_read(into.first(std::min(into.size(), limits_.max_transfer)));
  return got ? static_cast<long>(*got) : outcome(got, EIO);
}

long Device::migration_write(std::span<const std::byte> from) {
  const auto part = from.first(std::min(from.size(), limits_.max_transfer));
  const std::lock_guard lock{lock_};
  if (is_gone_) return -EIO;
  const auto done = client_->migration_write(part);
  return done ? static_cast<long>(part.size()) : outcome(done, EIO);
}

}  // namespace vmux::preload
