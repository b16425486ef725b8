// SPDX-License-Identifier: BSD-3-Clause
#include "control/builtin/vhost_user_frontend.hpp"

#include <array>
#include <utility>

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
    {{"kicks", "signals", "by which drivers told of new chains"}, server_count_of<&ServerStats::kicks>},
    {{"rings", "rings", "that run now"}, agreed<&Agreement::running_rings>},
    {{"logging", "0 or 1", "writes to the guest's memory are logged, as when it is migrated"},
     agreed<&Agreement::is_logging>},
    {{"dma_ranges", "ranges", "of guest memory that the device reaches now"}, reach_of<&memory::Reach::ranges>},
    {{"dma_bytes", "bytes", "of guest memory that the device reaches now"}, reach_of<&memory::Reach::bytes>},
    {{"dma_bytes_peak", "bytes", "the most that it reached at a time"}, reach_of<&memory::Reach::bytes_peak>},
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
  void report(CounterReport& into) const override {
    control::report(into, kClientRows,
                    ClientCounters{server_->stats(), server_->agreement(), server_->memory().reach()});
  }

 private:
  std::unique_ptr<vhost_user::Server> server_;
};

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
  auto server = vhost_user::Server::create(poller, *served, std::move(options));
  if (!server) return tl::unexpected<Error>(server.error());
  return std::make_unique<VhostUserFrontend>(std::move(*server));
}

void describe_vhost_user(CounterDescriptions& into) { describe(into, kClientRows); }

}  // namespace vmux::control
