// SPDX-License-Identifier: BSD-3-Clause
#include "control/builtin/vfio_user_frontend.hpp"

#include <array>
#include <utility>

#include "base/logf.hpp"
#include "ipc/left_behind.hpp"
#include "vmux/vfio_user/server.hpp"

namespace vmux::control {
namespace {

/// What a session has done, and what its device can reach because of it.
struct ClientCounters {
  vfio_user::ServerStats server;
  memory::Reach reach;
};

template <auto Member>
std::uint64_t server_count_of(const ClientCounters& counters) noexcept {
  return counters.server.*Member;
}
template <auto Member>
std::uint64_t reach_of(const ClientCounters& counters) noexcept {
  return counters.reach.*Member;
}

using vfio_user::ServerStats;
constexpr auto kClientRows = std::to_array<CounterRow<ClientCounters>>({
    {{"connections", "connections", "that there have been"}, server_count_of<&ServerStats::connections>},
    {{"requests", "requests", "that clients have sent"}, server_count_of<&ServerStats::requests>},
    {{"errors", "requests", "of these, answered with an error"}, server_count_of<&ServerStats::errors>},
    {{"region_reads", "accesses", "of registers and configuration space, by message; what a VM maps is not seen"},
     server_count_of<&ServerStats::region_reads>},
    {{"region_writes", "accesses", "of registers and configuration space, by message; what a VM maps is not seen"},
     server_count_of<&ServerStats::region_writes>},
    {{"strangers", "connections", "that were made for vhost-user, by a VMM's line of another kind"},
     server_count_of<&ServerStats::strangers>},
    {{"dma_maps", "requests", "to let the device reach memory"}, server_count_of<&ServerStats::dma_maps>},
    {{"dma_unmaps", "requests", "to take memory back"}, server_count_of<&ServerStats::dma_unmaps>},
    {{"dma_ranges", "ranges", "of guest memory that the device reaches now", CounterKind::now},
     reach_of<&memory::Reach::ranges>},
    {{"dma_bytes", "bytes", "of guest memory that the device reaches now", CounterKind::now},
     reach_of<&memory::Reach::bytes>},
    {{"dma_bytes_peak", "bytes", "the most that it reached at a time", CounterKind::now},
     reach_of<&memory::Reach::bytes_peak>},
});

class VfioUserFrontend final : public Frontend {
 public:
  VfioUserFrontend(pci::Endpoint& endpoint, std::unique_ptr<vfio_user::Server> server) noexcept
      : endpoint_(endpoint), server_(std::move(server)) {}

  [[nodiscard]] State state() const noexcept override {
    const ServerStats stats = server_->stats();
    return {stats.connections, stats.is_connected};
  }
  bool announce_departure(bool for_good) noexcept override { return server_->announce_departure(for_good); }
  void record(state::FdBag& numbers) const override {
    const vfio_user::Server::Record record = server_->record();
    static_cast<void>(numbers.put_copy("image", record.image));
    static_cast<void>(numbers.put_copy("stream", record.stream));
  }
  [[nodiscard]] Result<void> go_on() override { return server_->go_on(); }
  [[nodiscard]] Client client() const override { return {server_->peer(), endpoint_.memory().table()}; }
  void report(CounterReport& into) const override {
    control::report(into, kClientRows, ClientCounters{server_->stats(), endpoint_.memory().reach()});
  }

 private:
  pci::Endpoint& endpoint_;
  std::unique_ptr<vfio_user::Server> server_;
};

/// What a daemon left goes on. nullptr when it cannot: its client reads the end of the stream, and the next may come.
std::unique_ptr<vfio_user::Server> take_over(const FrontendRequest& request, pci::Endpoint& endpoint,
                                             const vfio_user::ServerOptions& options, runtime::Poller& poller) {
  auto image = request.left->copy("image"), stream = request.left->copy("stream");
  if (!image || !stream) return nullptr;
  auto left = vfio_user::Server::left_behind(std::move(*image), std::move(*stream), options, request.fetch);
  if (!left) {
    logf(LogLevel::error, "{}: what the process before has left of it cannot be used: {}", request.name, left.error());
    return nullptr;
  }
  if (left->deaths >= ipc::LeftBehind::kMostDeaths) {
    logf(LogLevel::error, "{}: {} processes in a row died of a message of its client, which is sent away", request.name,
         left->deaths);
  } else {
    auto server = vfio_user::Server::adopt_paused(poller, endpoint, options, left->state);
    if (server) return std::move(*server);
    logf(LogLevel::error, "{}: it cannot go on, and its client is sent away: {}", request.name, server.error());
    endpoint.go_on();  // for the next one: it had stopped for what it was to take over
  }
  vfio_user::Server::give_up(std::move(left->state));
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<Frontend>> make_vfio_user(const FrontendRequest& request, Device& device,
                                                 runtime::Poller& poller) {
  pci::Endpoint* const endpoint = device.endpoint();
  if (endpoint == nullptr) return fail(Errc::not_supported, "the model has no PCI function");
  vfio_user::ServerOptions options;
  options.path = request.socket;
  options.mode = request.access.mode.value_or(kSocketMode);
  options.owner = id_of(request.access.owner);
  options.group = id_of(request.access.group);
  options.keeps_record = request.is_kept && endpoint->can_record();
  if (request.left != nullptr) {
    if (auto server = take_over(request, *endpoint, options, poller)) {
      return std::make_unique<VfioUserFrontend>(*endpoint, std::move(server));
    }
  }
  auto server = vfio_user::Server::create(poller, *endpoint, std::move(options));
  if (!server) return tl::unexpected<Error>(server.error());
  return std::make_unique<VfioUserFrontend>(*endpoint, std::move(*server));
}

tl::expected<state::Suspended, std::string> look_at_vfio_user(const state::FdBag& left, const FetchFds& fetch) {
  auto image = left.copy("image"), stream = left.copy("stream");
  if (!image || !stream) return tl::unexpected(std::string{"its descriptors are missing"});
  auto found = vfio_user::Server::look_at(std::move(*image), std::move(*stream), {}, fetch);
  if (!found) return tl::unexpected(found.error());
  return std::move(found->state);
}

void describe_vfio_user(CounterDescriptions& into) { describe(into, kClientRows); }

}  // namespace vmux::control
