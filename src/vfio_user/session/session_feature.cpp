// SPDX-License-Identifier: BSD-3-Clause
// DEVICE_FEATURE (migration states, DMA logging) and the migration data stream.
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <utility>
#include <vector>

#include "vfio_user/session/session.hpp"

namespace vmux::vfio_user {
namespace {

using wire::vfio_user::Feature;
using wire::vfio_user::peek;
using wire::vfio_user::put;

constexpr std::uint64_t kPage = 4096;

struct FeatureRow {
  Feature feature;
  bool get, set;
  bool needs_migration;
  bool needs_software_dma;
};
// "Device Features"
constexpr auto kFeatures = std::to_array<FeatureRow>({
    {Feature::migration, true, false, true, false},
    {Feature::mig_device_state, true, true, true, false},
    {Feature::dma_logging_start, false, true, false, true},
    {Feature::dma_logging_stop, false, true, false, true},
    {Feature::dma_logging_report, true, false, false, true},
});

tl::unexpected<Error> no_such_feature() noexcept {
  return fail(Errc::not_supported, "the device has no such feature", ENOTTY);
}
tl::unexpected<Error> too_short() noexcept { return fail(Errc::invalid_argument, "feature data is too short"); }
tl::unexpected<Error> no_room() noexcept { return fail(Errc::invalid_argument, "argsz is too small for the reply"); }

// Each bit of `from` (4 KiB pages) becomes `times` bits of `into` (smaller pages).
void widen(std::span<const std::uint64_t> from, std::uint64_t bits, std::uint64_t times,
           std::span<std::uint64_t> into) noexcept {
  for (std::uint64_t bit = 0; bit < bits; ++bit) {
    const std::uint64_t page = bit / times;
    if ((from[page / 64] >> (page % 64) & 1) != 0) into[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }
}

// What the kernel asks of them (vfio_main.c): whole pages, none of which is there twice.
Result<void> check_ranges(std::span<const std::byte> data, std::size_t count) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;  // the first page and the last
  for (std::size_t i = 0; i < count; ++i) {
    const auto range = *peek<wire::vfio_user::LoggingRange>(data.subspan(i * sizeof(wire::vfio_user::LoggingRange)));
    const std::uint64_t iova = range.iova, length = range.length;
    if (length == 0 || length % kPage != 0 || iova % kPage != 0) {
      return fail(Errc::invalid_argument, "a range to be logged is not made of pages");
    }
    if (iova + (length - 1) < iova) return fail(Errc::invalid_argument, "a range to be logged wraps", EOVERFLOW);
    ranges.emplace_back(iova, iova + (length - 1));
  }
  std::sort(ranges.begin(), ranges.end());
  const auto overlap = [](const auto& a, const auto& b) { return b.first <= a.second; };
  if (std::adjacent_find(ranges.begin(), ranges.end(), overlap) != ranges.end()) {
    return fail(Errc::invalid_argument, "ranges to be logged overlap");
  }
  return {};
}

}  // namespace

Result<Session::Outcome> Session::handle_feature(const Request& request) {
  const auto asked = wire::vfio_user::decode_device_feature(request.payload);
  if (!asked) return tl::unexpected(asked.error());
  const auto row = std::find_if(kFeatures.begin(), kFeatures.end(), [&](const FeatureRow& candidate) {
    return static_cast<std::uint16_t>(candidate.feature) == asked->index;
  });
  if (row == kFeatures.end()) return no_such_feature();
  pci::Migratable* const device = context_.endpoint.migration();
  if (row->needs_migration && device == nullptr) return no_such_feature();
  if (row->needs_software_dma && !context_.endpoint.has_software_dma()) return no_such_feature();
  if ((asked->get && !row->get) || (asked->set && !row->set)) {
    return fail(Errc::invalid_argument, "the feature cannot be used that way");
  }
  if (asked->probe) return echo(request);
  if (!asked->get && !asked->set) return fail(Errc::invalid_argument, "neither GET nor SET nor PROBE");
  switch (row->feature) {
    case Feature::migration: {
      namespace mf = wire::vfio_user::migration_flags;
      wire::vfio_user::DeviceFeature head = *peek<wire::vfio_user::DeviceFeature>(request.payload);
      const std::size_t size = sizeof head + sizeof(wire::vfio_user::FeatureMigration);
      if (asked->argsz < size) return no_room();
      head.argsz = static_cast<std::uint32_t>(size);
      put(put(reply(request.header, size), head),
          wire::vfio_user::FeatureMigration{mf::kStopCopy | (device->supports_pre_copy() ? mf::kPreCopy : 0) |
                                            (device->supports_p2p() ? mf::kP2p : 0)});
      return Outcome::replied;
    }
    case Feature::mig_device_state:
      return asked->set ? set_device_state(request, asked->data) : get_device_state(request);
    case Feature::dma_logging_start:
      return start_logging(request, asked->data);
    case Feature::dma_logging_stop:
      context_.endpoint.memory().stop_dirty_log();
      return echo(request);
    case Feature::dma_logging_report:
      return report_logging(request, asked->argsz, asked->data);
  }
  return no_such_feature();
}

// "The reply payload must be the same as the request payload for setting or probing a feature."
Result<Session::Outcome> Session::echo(const Request& request) {
  const auto into = reply(request.header, request.payload.size());
  std::copy(request.payload.begin(), request.payload.end(), into.begin());
  return Outcome::replied;
}

Result<Session::Outcome> Session::get_device_state(const Request& request) {
  wire::vfio_user::DeviceFeature head = *peek<wire::vfio_user::DeviceFeature>(request.payload);
  wire::vfio_user::FeatureDeviceState state;
  if (head.argsz < sizeof head + sizeof state) return no_room();
  head.argsz = sizeof head + sizeof state;
  state.device_state = static_cast<std::uint32_t>(migration_.state());
  state.data_fd = ~0u;
  put(put(reply(request.header, sizeof head + sizeof state), head), state);
  return Outcome::replied;
}

Result<Session::Outcome> Session::set_device_state(const Request& request, std::span<const std::byte> data) {
  const auto state = peek<wire::vfio_user::FeatureDeviceState>(data);
  if (!state) return too_short();
  const auto to = static_cast<MigrationState>(static_cast<std::uint32_t>(state->device_state));
  if (auto gone = migration_.go(*context_.endpoint.migration(), to); !gone) {
    return tl::unexpected(gone.error());
  }
  return echo(request);
}

// All writes are logged, whatever the ranges: the report picks what is asked for.
Result<Session::Outcome> Session::start_logging(const Request& request, std::span<const std::byte> data) {
  auto control = peek<wire::vfio_user::FeatureLoggingStart>(data);
  if (!control) return too_short();
  const std::size_t ranges = (data.size() - sizeof *control) / sizeof(wire::vfio_user::LoggingRange);
  if (control->num_ranges > ranges) return too_short();
  if (auto checked = check_ranges(data.subspan(sizeof *control), control->num_ranges); !checked) {
    return tl::unexpected(checked.error());
  }
  if (context_.endpoint.memory().is_logging()) return fail(Errc::invalid_argument, "DMA logging runs already");
  if (auto started = context_.endpoint.memory().start_dirty_log(); !started) return tl::unexpected(started.error());
  const auto done = echo(request);
  if (!std::has_single_bit(static_cast<std::uint64_t>(control->page_size)) || control->page_size < kPage) {
    // "On output the device will return the page size it selected."
    control->page_size = kPage;
    put(transport_.last(request.payload.size()).subspan(sizeof(wire::vfio_user::DeviceFeature)), *control);
  }
  return done;
}

Result<Session::Outcome> Session::report_logging(const Request& request, std::uint32_t argsz,
                                                 std::span<const std::byte> data) {
  const auto report = peek<wire::vfio_user::FeatureLoggingReport>(data);
  if (!report) return too_short();
  auto& memory = context_.endpoint.memory();
  if (!memory.is_logging()) return fail(Errc::invalid_argument, "DMA logging was not started");
  const std::uint64_t page = report->page_size, length = report->length;
  if (length != 0 && !end_of(Iova{report->iova}, ByteCount{length - 1})) {
    return fail(Errc::invalid_argument, "the range of the report wraps", EOVERFLOW);
  }
  if (!std::has_single_bit(page) || length == 0 || report->iova % kPage != 0)
    return fail(Errc::invalid_argument, "range or page size of the report make no sense");
  const std::uint64_t bits = (length - 1) / page + 1;
  const std::uint64_t words = (bits - 1) / 64 + 1;
  const std::size_t fixed = sizeof(wire::vfio_user::DeviceFeature) + sizeof *report;
  if (words > context_.options.max_transfer / 8) return fail(Errc::invalid_argument, "the report would be too long");
  if (argsz < fixed + words * 8) return no_room();

  std::vector<std::uint64_t> bitmap(words);
  if (page >= kPage) {
    if (auto taken = memory.take_dirty(Iova{report->iova}, ByteCount{length}, page, bitmap); !taken) {
      return tl::unexpected(taken.error());
    }
  } else {
    std::vector<std::uint64_t> pages(((length - 1) / kPage + 1 + 63) / 64);
    if (auto taken = memory.take_dirty(Iova{report->iova}, ByteCount{length}, kPage, pages); !taken) {
      return tl::unexpected(taken.error());
    }
    widen(pages, bits, kPage / page, bitmap);
  }
  auto head = *peek<wire::vfio_user::DeviceFeature>(request.payload);
  head.argsz = static_cast<std::uint32_t>(fixed + words * 8);
  auto into = put(put(reply(request.header, fixed + words * 8), head), *report);
  for (const std::uint64_t word : bitmap)
    into = put(into, Le<std::uint64_t>{word});
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_mig_data_read(const Request& request) {
  const auto asked = wire::vfio_user::decode_mig_data_read(request.payload, context_.options.max_transfer);
  if (!asked) return tl::unexpected(asked.error());
  pci::Migratable* const device = context_.endpoint.migration();
  if (device == nullptr) return fail(Errc::not_supported, "the device does not migrate");
  if (!migration_.may_save()) return fail(Errc::invalid_argument, "not in a state that can be read out");
  std::vector<std::byte> state(asked->size);
  std::size_t filled = 0;
  while (filled < state.size()) {
    const auto got = device->save(std::span{state}.subspan(filled));
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) break;
    filled += std::min(*got, state.size() - filled);
  }
  wire::vfio_user::MigData head;
  head.argsz = static_cast<std::uint32_t>(sizeof head + filled);
  head.size = static_cast<std::uint32_t>(filled);
  const auto into = put(reply(request.header, sizeof head + filled), head);
  std::copy_n(state.begin(), filled, into.begin());
  return Outcome::replied;
}

Result<Session::Outcome> Session::handle_mig_data_write(const Request& request) {
  const auto given = wire::vfio_user::decode_mig_data_write(request.payload, context_.options.max_transfer);
  if (!given) return tl::unexpected(given.error());
  pci::Migratable* const device = context_.endpoint.migration();
  if (device == nullptr) return fail(Errc::not_supported, "the device does not migrate");
  if (!migration_.may_load()) return fail(Errc::invalid_argument, "not in a state that takes migration data");
  if (auto loaded = device->load(given->data); !loaded) return tl::unexpected(loaded.error());
  reply(request.header, 0);
  return Outcome::replied;
}

}  // namespace vmux::vfio_user
