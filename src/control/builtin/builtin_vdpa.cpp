// SPDX-License-Identifier: BSD-3-Clause
#include "control/builtin/builtin_vdpa.hpp"

#include <utility>

#include "base/text/format.hpp"
#include "control/model/hardware.hpp"
#include "device/virtio_net/counter_rows.hpp"
#include "device/virtio_net/nic.hpp"
#include "kvfio/dma_counter_rows.hpp"
#include "passthrough/diagnosis.hpp"
#include "vdpa/counter_rows.hpp"
#include "wire/virtio.hpp"

namespace vmux::control {
namespace {

constexpr std::string_view kShadow = "shadow";
constexpr unsigned kThreads = 16;  // each may be a shard of a switch, which has at most 64

Serving serving_of(const vdpa::AcceleratedDevice& device) {
  const bool is_card = device.kind() == wire::virtio::net::kDevice;
  Serving serving{device.reason(),
                  is_card ? device.pairs() : device.queue_count(),
                  device.function_ring_size(),
                  device.function_features(),
                  device.function_vectors(),
                  {}};
  const std::uint64_t missing = device.features() & ~device.function_features();
  if ((missing & wire::virtio::feature::event_idx) != 0) serving.vm_options.emplace_back("event_idx=off");
  if ((missing & wire::virtio::feature::indirect_desc) != 0) serving.vm_options.emplace_back("indirect_desc=off");
  return serving;
}

class VdpaNet final : public Device {
 public:
  VdpaNet(std::unique_ptr<device::virtio_net::Nic> nic, std::unique_ptr<vdpa::AcceleratedDevice> function) noexcept
      : nic_(std::move(nic)), function_(std::move(function)) {}
  [[nodiscard]] virtio::Device* virtio_device() noexcept override { return function_.get(); }
  [[nodiscard]] std::vector<port::Port*> lanes() override { return nic_->lanes(); }
  void set_link(Link link) noexcept override {
    nic_->set_link(link == Link::up);
    function_->set_cable(link == Link::up);
  }
  bool set_mac(const MacAddress& mac) noexcept override {
    nic_->set_mac(mac);
    function_->set_mac(mac);
    return true;
  }
  void set_mtu(std::optional<std::uint16_t> mtu) noexcept override { nic_->set_mtu(mtu.value_or(0)); }
  [[nodiscard]] bool is_ready() noexcept override {
    const vdpa::Mode mode = function_->mode();
    return mode == vdpa::Mode::direct || mode == vdpa::Mode::shadow || nic_->port().is_ready();
  }
  [[nodiscard]] std::uint64_t faults() const noexcept override { return device::virtio_net::guest_faults(*nic_); }
  [[nodiscard]] const char* serving_mode() const noexcept override { return vdpa::text_of(function_->mode()); }
  [[nodiscard]] std::optional<Serving> serving() const override { return serving_of(*function_); }
  void report(CounterReport& into) const override {
    control::report(into, vdpa::kCounterRows, *function_);
    control::report(into, kvfio::kDmaCounterRows, function_->dma_counters());
    control::report(into, device::virtio_net::kCounterRows, *nic_);
    for (unsigned pair = 0; pair < nic_->pairs(); ++pair) {
      const std::string number = std::to_string(pair);
      control::report(into, device::virtio_net::kTxCounterRows, nic_->tx(pair), "tx" + number + ".");
      control::report(into, device::virtio_net::kRxCounterRows, nic_->rx(pair), "rx" + number + ".");
    }
  }

 private:
  std::unique_ptr<device::virtio_net::Nic> nic_;
  std::unique_ptr<vdpa::AcceleratedDevice> function_;  // goes first
};

class VdpaBlk final : public Device {
 public:
  explicit VdpaBlk(std::unique_ptr<vdpa::AcceleratedDevice> function) noexcept : function_(std::move(function)) {}
  [[nodiscard]] virtio::Device* virtio_device() noexcept override { return function_.get(); }
  [[nodiscard]] bool is_ready() noexcept override {
    return function_->mode() == vdpa::Mode::direct || function_->mode() == vdpa::Mode::shadow;
  }
  [[nodiscard]] const char* serving_mode() const noexcept override { return vdpa::text_of(function_->mode()); }
  [[nodiscard]] std::optional<Serving> serving() const override { return serving_of(*function_); }
  void report(CounterReport& into) const override {
    control::report(into, vdpa::kCounterRows, *function_);
    control::report(into, kvfio::kDmaCounterRows, function_->dma_counters());
  }

 private:
  std::unique_ptr<vdpa::AcceleratedDevice> function_;
};

Result<std::unique_ptr<vdpa::AcceleratedDevice>> open(const DeviceRequest& request, std::uint16_t kind,
                                                      const char* otherwise, runtime::Poller& poller) {
  const std::string address = request.device.value_or("");
  const auto number = passthrough::group_of(request.hardware.files(), address);
  if (!number) return tl::unexpected<Error>(number.error());
  auto group = request.hardware.groups().get(*number, poller);
  if (!group) return tl::unexpected<Error>(group.error());
  auto made = vdpa::AcceleratedDevice::create({request.name, address, request.mac, request.variant == kShadow},
                                              std::move(*group), poller);
  if (made && (*made)->kind() != kind) return fail(Errc::not_supported, otherwise);
  return made;
}

}  // namespace

Result<std::unique_ptr<Device>> make_vdpa_net(const DeviceRequest& request, runtime::Poller& poller) {
  auto function = open(request, wire::virtio::net::kDevice, "a function that is no network card", poller);
  if (!function) return tl::unexpected<Error>(function.error());
  if (request.queues > (*function)->pairs()) {
    return fail(Errc::out_of_range, "a function with fewer pairs of queues than were asked for");
  }
  device::virtio_net::NicOptions options;
  options.name = request.name;
  options.mac = request.mac;
  options.doorbell =
      request.doorbell == Doorbell::poll ? device::virtio_net::Doorbell::poll : device::virtio_net::Doorbell::trap;
  options.queue_pairs = request.queues;
  options.mtu = request.mtu.value_or(0);
  auto nic = device::virtio_net::Nic::create(std::move(options), poller);
  if (!nic) return tl::unexpected<Error>(nic.error());
  (*function)->set_stand_in(**nic);
  return std::make_unique<VdpaNet>(std::move(*nic), std::move(*function));
}

Result<std::unique_ptr<Device>> make_vdpa_blk(const DeviceRequest& request, runtime::Poller& poller) {
  auto function = open(request, wire::virtio::blk::kDevice, "a function that is no disk", poller);
  if (!function) return tl::unexpected<Error>(function.error());
  return std::make_unique<VdpaBlk>(std::move(*function));
}

void describe_vdpa_net(CounterDescriptions& into) {
  describe_vdpa_blk(into);
  describe(into, device::virtio_net::kCounterRows);
  describe(into, device::virtio_net::kTxCounterRows, "txN.");
  describe(into, device::virtio_net::kRxCounterRows, "rxN.");
}

void describe_vdpa_blk(CounterDescriptions& into) {
  describe(into, vdpa::kCounterRows);
  describe(into, kvfio::kDmaCounterRows);
}

std::string thread_of_vdpa(const DeviceRequest& request) {
  const auto number = passthrough::group_of(request.hardware.files(), request.device.value_or(""));
  return fmt::format("vdpa-{}", number.value_or(0) % kThreads);
}

}  // namespace vmux::control
