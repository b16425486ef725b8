// SPDX-License-Identifier: BSD-3-Clause
// rtt and dma: what a round trip through the vfio-user server costs beside the same bytes bounced by a bare process.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "app/bench/benches.hpp"
#include "app/bench/ping_pong.hpp"
#include "app/bench/served_device.hpp"
#include "vmux/base/clock.hpp"
#include "wire/vfio_user.hpp"

namespace vmux::bench {
namespace {

namespace vu = wire::vfio_user;

template <class Body>
std::vector<std::byte> message(vu::Command command, const Body& body) {
  std::vector<std::byte> bytes(sizeof(vu::Header) + sizeof body);
  vu::Header header;
  header.id = 7;
  header.command = static_cast<std::uint16_t>(command);
  header.size = static_cast<std::uint32_t>(bytes.size());
  vu::put(vu::put(std::span{bytes}, header), body);
  return bytes;
}

/// Nanoseconds per pass over `script`, over `passes` of them. Replies that say "error" are failures.
Result<double> time_script(int socket, std::span<const Exchange> script, Wait wait, unsigned passes, bool check) {
  std::array<std::byte, 256> reply{};
  const std::uint64_t start = monotonic_ns();
  for (unsigned pass = 0; pass < passes; ++pass) {
    for (const Exchange& step : script) {
      if (auto ok = exchange(socket, step, wait, reply); !ok) return tl::unexpected(ok.error());
      if (check && (vu::peek<vu::Header>(reply)->flags & vu::header_flags::kError) != 0) {
        return fail(Errc::protocol, "the server answered with an error");
      }
    }
  }
  return static_cast<double>(monotonic_ns() - start) / passes;
}

/// The same exchanges with a process that only bounces them.
Result<ServedDevice> serve_bouncer(std::span<const Exchange> script, Wait wait) {
  auto sockets = socket_pair();
  if (!sockets) return tl::unexpected(sockets.error());
  auto& [ours, theirs] = *sockets;
  auto child = Child::spawn([&ours = ours, &theirs = theirs, script, wait] {
    ours.reset();
    serve_ping_pong(theirs.get(), script, wait);
  });
  if (!child) return tl::unexpected(child.error());
  return ServedDevice{std::move(*child), std::move(ours)};
}

/// What is asked, and how both sides wait for it.
struct Script {
  std::span<const Exchange> steps;
  Wait wait;
};

/// A server and what its answers are checked for. It is stopped but while it is measured: two that spin would share a
/// CPU.
class Side {
 public:
  [[nodiscard]] static Result<Side> start(const Script& script, bool is_ours) {
    auto served = is_ours ? serve_device(script.wait) : serve_bouncer(script.steps, script.wait);
    if (!served) return tl::unexpected(served.error());
    served->server.pause();
    return Side{std::move(*served), is_ours};
  }

  /// One sample: nanoseconds per pass over the script, after a warm-up.
  [[nodiscard]] Result<double> measure(const Script& script) const {
    const unsigned passes = (script.wait == Wait::spinning ? 2'000 : 200) / static_cast<unsigned>(script.steps.size());
    const int socket = served_.connection.get();
    served_.server.resume();
    auto time = time_script(socket, script.steps, script.wait, passes / 5, is_ours_);
    if (time) time = time_script(socket, script.steps, script.wait, passes, is_ours_);
    served_.server.pause();
    return time;
  }

 private:
  Side(ServedDevice served, bool is_ours) : served_(std::move(served)), is_ours_(is_ours) {}
  ServedDevice served_;
  bool is_ours_;
};

// A sample is short, so that the two of a round meet the same machine; which comes first changes from round to round,
// and each side gets a new process now and then, as where its memory lies makes a difference of some percent.
Result<Row> compare(Row row, const Script& script, const Options& options) {
  constexpr unsigned kRoundsPerProcess = 10;
  std::optional<Side> reference, ours;
  for (unsigned round = 0; round < options.rounds; ++round) {
    options.progress(row.name, round);
    if (round % kRoundsPerProcess == 0) {
      for (auto* const side : {&reference, &ours}) {
        side->reset();
        auto started = Side::start(script, side == &ours);
        if (!started) return tl::unexpected(started.error());
        side->emplace(std::move(*started));
      }
    }
    const bool ours_first = round % 2 == 1;
    const auto first = (ours_first ? ours : reference)->measure(script);
    const auto second = (ours_first ? reference : ours)->measure(script);
    if (!first) return tl::unexpected(first.error());
    if (!second) return tl::unexpected(second.error());
    row.ours.push_back(ours_first ? *first : *second);
    row.reference.push_back(ours_first ? *second : *first);
  }
  return row;
}

const char* name_of(Wait wait) { return wait == Wait::spinning ? "spinning" : "blocking"; }

}  // namespace

Result<Report> run_rtt(const Options& options) {
  Report report{.benchmark = "rtt",
                .ours = "REGION_READ of 4 bytes from a device served by libvmux in another process",
                .reference = "an AF_UNIX ping-pong of the same bytes with a bare process"};
  vu::RegionAccess access;
  access.count = 4;
  const auto request = message(vu::Command::region_read, access);
  const std::array script{Exchange{.request = request, .reply_size = request.size() + 4}};
  for (const Wait wait : {Wait::blocking, Wait::spinning}) {
    auto row = compare(
        {.name = name_of(wait), .bytes = request.size(), .direction = "round trip", .unit = "ns", .goal = "<= 1.15"},
        {script, wait}, options);
    if (!row) return tl::unexpected(row.error());
    report.rows.push_back(std::move(*row));
  }
  return report;
}

Result<Report> run_dma(const Options& options) {
  Report report{.benchmark = "dma",
                .ours = "DMA_MAP of a 4 KiB window of one memfd, then DMA_UNMAP, by a device served by libvmux",
                .reference = "an AF_UNIX ping-pong of the same bytes and descriptors with a bare process"};
  constexpr std::uint64_t kWindow = 4096;
  auto memory = make_memfd("bench-guest", 65'536 * kWindow);
  if (!memory) return tl::unexpected(memory.error());
  vu::DmaMap map;
  map.argsz = sizeof map;
  map.flags = vu::dma_map_flags::kReadable | vu::dma_map_flags::kWritable;
  map.size = kWindow;
  map.offset = 17 * kWindow;
  map.address = 1ull << 32;
  vu::DmaUnmap unmap;
  unmap.argsz = sizeof unmap;
  unmap.address = static_cast<std::uint64_t>(map.address);
  unmap.size = kWindow;
  const auto map_request = message(vu::Command::dma_map, map);
  const auto unmap_request = message(vu::Command::dma_unmap, unmap);
  const std::array script{
      Exchange{.request = map_request, .fd = memory->get(), .reply_size = sizeof(vu::Header)},
      Exchange{.request = unmap_request, .reply_size = sizeof(vu::Header) + sizeof(vu::DmaUnmap)},
  };
  for (const Wait wait : {Wait::blocking, Wait::spinning}) {
    auto row = compare({.name = name_of(wait),
                        .bytes = map_request.size(),
                        .direction = "map + unmap",
                        .unit = "ns",
                        .goal = "<= 1.3"},
                       {script, wait}, options);
    if (!row) return tl::unexpected(row.error());
    report.rows.push_back(std::move(*row));
  }
  return report;
}

}  // namespace vmux::bench
