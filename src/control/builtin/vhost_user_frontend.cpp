// SPDX-License-Identifier: BSD-3-Clause
#include "control/builtin/vhost_user_frontend.hpp"

#include <array>
#include <utility>

#include "base/logf.hpp"
#include "ipc/left_behind.hpp"
#include "vhost_user/server.hpp"

namespace vmux::control {
namespace {

/// What a session has done, and what it is doing.
struct ClientCounters {
  vhost_user::ServerStats server;
  vhost_user::Agreement agreement;
  memory::Reach reach;
};

template <auto Member>
std::uint64_t server_count_of(const ClientCounters& counters) noexcept {
  return counters.server.*Member;
}
template <auto Member>
std::uint64_t agreed(const ClientCounters& counters) noexcept {
  return counters.agreement.*Member;
}
template <auto Member>
std::uint64_t reach_of(const ClientCounters& counters) noexcept {
  return counters.reach.*Member;
}

using vhost_user::Agreement;
using vhost_user::ServerStats;
constexpr auto kClientRows = std::to_array<CounterRow<ClientCounters>>({
    {{"connections", "connections", "that there have been"}, server_count_of<&ServerStats::connections>},
    {{"requests", "requests", "that front ends have sent"}, server_count_of<&ServerStats::requests>},
    {{"errors", "requests", "of these, that could not be served"}, server_count_of<&ServerStats::errors>},
    {{"strangers", "connections", "that were made for vfio-user, by a VMM's line of another kind"},
     server_count_of<&ServerStats::strangers>},
    {{"kicks", "signals", "by which drivers told of new chains"}, server_count_of<&ServerStats::kicks>},
    {{"dma_maps", "regions", "of memory that the device was let reach"}, server_count_of<&ServerStats::dma_maps>},
    {{"dma_unmaps", "regions", "of memory that were taken back"}, server_count_of<&ServerStats::dma_unmaps>},
    {{"rings", "rings", "that run now", CounterKind::now}, agreed<&Agreement::running_rings>},
    {{"logging", "0 or 1", "writes to the guest's memory are logged, as when it is migrated", CounterKind::now},
     agreed<&Agreement::is_logging>},
    {{"dma_ranges", "ranges", "of guest memory that the device reaches now", CounterKind::now},
     reach_of<&memory::Reach::ranges>},
    {{"dma_bytes", "bytes", "of guest memory that the device reaches now", CounterKind::now},
     reach_of<&memory::Reach::bytes>},
    {{"dma_bytes_peak", "bytes", "the most that it reached at a time", CounterKind::now},
     reach_of<&memory::Reach::bytes_peak>},
});

class VhostUserFrontend final : public Frontend {
 public:
  explicit VhostUserFrontend(std::unique_ptr<vhost_user::Server> server) noexcept : server_(std::move(server)) {}

  [[nodiscard]] State state() const noexcept override {
    const ServerStats stats = server_->stats();
    return {stats.connections, stats.is_connected};
  }
  // The protocol has no word for it: the end of the connection is what takes the guest's link down.
  bool announce_departure(bool /*for_good*/) noexcept override { return false; }
  void record(state::FdBag& numbers) const override {
    const vhost_user::Server::Record record = server_->record();
    static_cast<void>(numbers.put_copy("image", record.image));
    static_cast<void>(numbers.put_copy("stream", record.stream));
  }
  [[nodiscard]] Result<void> go_on() override { return server_->go_on(); }
  [[nodiscard]] Client client() const override { return {server_->peer(), server_->memory().table()}; }
  void report(CounterReport& into) const override {
    control::report(into, kClientRows,
                    ClientCounters{server_->stats(), server_->agreement(), server_->memory().reach()});
  }

 private:
  std::unique_ptr<vhost_user::Server> server_;
};

/// What a daemon left goes on. nullptr when it cannot: its front end reads the end of the stream, and may come again.
std::unique_ptr<vhost_user::Server> take_over(const FrontendRequest& request, virtio::Device& device,
                                              const vhost_user::ServerOptions& options, runtime::Poller& poller) {
  auto image = request.left->copy("image"), stream = request.left->copy("stream");
  if (!image || !stream) return nullptr;
  auto left = vhost_user::Server::left_behind(std::move(*image), std::move(*stream), request.fetch);
  if (!left) {
    logf(LogLevel::error, "{}: what the process before has left of it cannot be used: {}", request.name, left.error());
    return nullptr;
  }
  if (left->deaths >= ipc::LeftBehind::kMostDeaths) {
    logf(LogLevel::error, "{}: {} processes in a row died of a message of its front end, which is sent away",
         request.name, left->deaths);
  } else {
    auto server = vhost_user::Server::adopt_paused(poller, device, options, left->state);
    if (server) return std::move(*server);
    logf(LogLevel::error, "{}: it cannot go on, and its front end is sent away: {}", request.name, server.error());
  }
  vhost_user::Server::give_up(std::move(left->state));
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<Frontend>> make_vhost_user(const FrontendRequest& request, Device& device,
                                                  runtime::Poller& poller) {
  virtio::Device* const served = device.virtio_device();
  if (served == nullptr) return fail(Errc::not_supported, "the model is no virtio device");
  vhost_user::ServerOptions options;
  options.name = request.name;
  options.path = request.socket;
  options.connects = request.connects;
  options.mode = request.access.mode.value_or(kSocketMode);
  options.owner = id_of(request.access.owner);
  options.group = id_of(request.access.group);
  options.announce = [served](const MacAddress& station) { served->announce(station); };
  options.keeps_record = request.is_kept && served->arena() != nullptr;
  if (request.left != nullptr) {
    if (auto server = take_over(request, *served, options, poller)) {
      return std::make_unique<VhostUserFrontend>(std::move(server));
    }
  }
  auto server = vhost_user::Server::create(poller, *served, std::move(options));
  if (!server) return tl::unexpected<Error>(server.error());
  return std::make_unique<VhostUserFrontend>(std::move(*server));
}

tl::expected<state::Suspended, std::string> look_at_vhost_user(const state::FdBag& left, const FetchFds& fetch) {
  auto image = left.copy("image"), stream = left.copy("stream");
  if (!image || !stream) return tl::unexpected(std::string{"its descriptors are missing"});
  auto found = vhost_user::Server::left_behind(std::move(*image), std::move(*stream), fetch);
  if (!found) return tl::unexpected(found.error());
  return std::move(found->state);
}

void describe_vhost_user(CounterDescriptions& into) { describe(into, kClientRows); }

}  // namespace vmux::control
