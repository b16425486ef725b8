// SPDX-License-Identifier: BSD-3-Clause
// The one table that names models and backends.
#include <array>
#include <string>
#include <utility>

#include "backend/null/null_port.hpp"
#include "backend/tap/tap_device.hpp"
#include "backend/tap/tap_port.hpp"
#include "backend/traffic/traffic_port.hpp"
#include "control/builtin/builtin_passthrough.hpp"
#include "control/model/catalogue.hpp"
#include "device/e1000/nic.hpp"
#include "device/iavf/nic.hpp"
#if VMUX_HAS_DPDK
#include "backend/dpdk/dpdk_port.hpp"
#endif

namespace vmux::control {
namespace {

/// A backend's port as an uplink.
template <class BackendPort>
class PortUplink final : public Uplink {
 public:
  explicit PortUplink(std::unique_ptr<BackendPort> port) noexcept : port_(std::move(port)) {}
  port::Port& port() noexcept override { return *port_; }

 private:
  std::unique_ptr<BackendPort> port_;
};

template <class BackendPort, class Options>
Result<std::unique_ptr<Uplink>> make_uplink(const Options& options, runtime::Poller& poller) {
  auto port = BackendPort::create(options, poller);
  if (!port) return tl::unexpected<Error>(port.error());
  return std::make_unique<PortUplink<BackendPort>>(std::move(*port));
}

Result<std::unique_ptr<Uplink>> make_null(const UplinkRequest&, runtime::Poller& poller) {
  return make_uplink<backend::NullPort>(backend::NullOptions{}, poller);
}

/// Its queues are spread over pollers.
class TapUplink final : public Uplink {
 public:
  explicit TapUplink(backend::TapPort::Lanes lanes) noexcept : lanes_(std::move(lanes)) {}
  port::Port& port() noexcept override { return *lanes_.front(); }
  std::vector<port::Port*> lanes() override {
    std::vector<port::Port*> out;
    for (const auto& lane : lanes_)
      out.push_back(lane.get());
    return out;
  }

 private:
  backend::TapPort::Lanes lanes_;
};

Result<std::unique_ptr<Uplink>> make_tap(const UplinkRequest& request, runtime::Poller&) {
  auto lanes = backend::TapPort::create({.name = request.device, .queues = request.queues}, request.pollers);
  if (!lanes) return tl::unexpected<Error>(lanes.error());
  return std::make_unique<TapUplink>(std::move(*lanes));
}

Result<std::unique_ptr<Uplink>> make_sink(const UplinkRequest&, runtime::Poller& poller) {
  return make_uplink<backend::TrafficPort>(backend::kSink, poller);
}

Result<std::unique_ptr<Uplink>> make_generator(const UplinkRequest& request, runtime::Poller& poller) {
  const auto options = backend::parse_generator(request.device);
  if (!options) return tl::unexpected<Error>(options.error());
  return make_uplink<backend::TrafficPort>(*options, poller);
}

#if VMUX_HAS_DPDK
Result<std::unique_ptr<Uplink>> make_dpdk(const UplinkRequest& request, runtime::Poller& poller) {
  return make_uplink<backend::DpdkPort>(backend::DpdkOptions{.device = request.device}, poller);
}
#else
constexpr MakeUplink make_dpdk = nullptr;
#endif

class E1000Nic final : public Nic {
 public:
  explicit E1000Nic(std::unique_ptr<device::e1000::Nic> nic) noexcept : nic_(std::move(nic)) {}
  pci::Function& function() noexcept override { return nic_->function(); }
  port::Port* port() noexcept override { return &nic_->port(); }
  void report(CounterReport& into) const override {
    const device::e1000::NicCounters& counters = nic_->nic_counters();
    into = {{"tx.frames", counters.tx_frames.get()},
            {"tx.bytes", counters.tx_bytes.get()},
            {"tx.guest_fault", counters.tx_guest_fault.get()},
            {"tx.unsupported", counters.tx_unsupported.get()},
            {"tx.lost", counters.tx_lost.get()},
            {"rx.frames", counters.rx_frames.get()},
            {"rx.bytes", counters.rx_bytes.get()},
            {"rx.guest_fault", counters.rx_guest_fault.get()},
            {"rx.filtered", counters.rx_filtered.get()},
            {"rx.missed", counters.rx_missed.get()},
            {"rx.buffered", counters.rx_buffered.get()},
            {"interrupts", counters.interrupts.get()},
            {"resets", counters.resets.get()}};
  }

 private:
  std::unique_ptr<device::e1000::Nic> nic_;
};

Result<std::unique_ptr<Nic>> make_e1000(const NicRequest& request, runtime::Poller& poller) {
  device::e1000::NicOptions options;
  options.name = request.name;
  options.mac = request.mac.bytes;
  options.doorbell = request.doorbell == Doorbell::poll ? device::e1000::Doorbell::poll : device::e1000::Doorbell::trap;
  auto nic = device::e1000::Nic::create(std::move(options), poller);
  if (!nic) return tl::unexpected<Error>(nic.error());
  return std::make_unique<E1000Nic>(std::move(*nic));
}

class IavfNic final : public Nic {
 public:
  explicit IavfNic(std::unique_ptr<device::iavf::Nic> nic) noexcept : nic_(std::move(nic)) {}
  pci::Function& function() noexcept override { return nic_->function(); }
  port::Port* port() noexcept override { return &nic_->port(); }
  std::vector<port::Port*> lanes() override { return nic_->lanes(); }
  void report(CounterReport& into) const override {
    const device::iavf::NicCounters& counters = nic_->nic_counters();
    const device::iavf::DataPath& data = nic_->data_path();
    into = {{"messages", counters.messages.get()},         {"refused", counters.refused.get()},
            {"admin_faults", counters.admin_faults.get()}, {"lost_replies", counters.lost_replies.get()},
            {"interrupts", nic_->interrupts_sent()},       {"resets", counters.resets.get()},
            {"all_groups", counters.all_groups.get()},     {"addresses_refused", counters.addresses_refused.get()}};
    std::uint64_t faults = 0;
    for (unsigned queue = 0; queue < data.queue_pairs(); ++queue) {
      const intel::QueueCounters& tx = data.tx(queue).counters();
      const intel::QueueCounters& rx = data.rx(queue).counters();
      const std::string number = std::to_string(queue);
      into.emplace_back("tx" + number + ".frames", tx.frames.get());
      into.emplace_back("tx" + number + ".errors", tx.errors.get());
      into.emplace_back("rx" + number + ".frames", rx.frames.get());
      into.emplace_back("rx" + number + ".dropped", rx.dropped.get());
      faults += tx.guest_fault.get() + rx.guest_fault.get();
    }
    into.emplace_back("guest_fault", faults);
  }

 private:
  std::unique_ptr<device::iavf::Nic> nic_;
};

Result<std::unique_ptr<Nic>> make_iavf(const NicRequest& request, runtime::Poller& poller) {
  device::iavf::NicOptions options;
  options.name = request.name;
  options.mac = request.mac.bytes;
  options.doorbell = request.doorbell == Doorbell::poll ? device::iavf::Doorbell::poll : device::iavf::Doorbell::trap;
  options.queue_pairs = request.queues;
  options.parent = request.variant == "xl710" ? device::iavf::Parent::xl710 : device::iavf::Parent::e810;
  options.more_pollers.assign(request.pollers.begin() + 1, request.pollers.end());
  auto nic = device::iavf::Nic::create(std::move(options), poller);
  if (!nic) return tl::unexpected<Error>(nic.error());
  return std::make_unique<IavfNic>(std::move(*nic));
}

constexpr std::string_view kIavfVariants[] = {"e810", "xl710"};

constexpr auto kModels = std::to_array<ModelEntry>({
    // name         mode           description                                             device queues doorbell make
    {"e1000", "e1000-emu", "Intel 82540EM, emulated", false, 1, Doorbell::trap, make_e1000},
    {"iavf", "iavf", "Intel adaptive virtual function, emulated", false, 16, Doorbell::poll, make_iavf, true, nullptr,
     nullptr, kIavfVariants},
    {"virtio-net", "virtio-net", "virtio 1 network card", false, 16, Doorbell::poll, nullptr},
    {"e810", "emulation", "Intel E810, emulated", false, 16, Doorbell::poll, nullptr},
    {"mediation", "mediation", "Intel E810 whose offloads a physical NIC does", true, 16, Doorbell::poll, nullptr},
    {"passthrough", "passthrough", "a physical function handed to the VM", true, 1, Doorbell::poll, make_passthrough,
     false, thread_of_passthrough, explain_passthrough},
});

constexpr auto kBackends = std::to_array<BackendEntry>({
    {"tap", "a tap interface of the host", backend::is_interface_name,
     "an interface name of 1 to 15 characters, without '/', ':', '%' or space", 16, make_tap},
    {"null", "swallows every frame", nullptr, "", 1, make_null},
    {"dpdk", "any DPDK ethdev", [](const std::string&) { return true; },
     "an EAL device argument such as net_af_packet0,iface=eth1", 1, make_dpdk},
    {"sink", "test equipment: copies every frame and forgets it", nullptr, "", 1, make_sink},
    {"generator", "test equipment: sends as fast as the poller runs",
     [](const std::string& options) { return backend::parse_generator(options).has_value(); },
     "size=BYTES (60 to 9018) and, if wanted, to=MAC, from=MAC, flows=N, frames=N (1 to 1024)", 1, make_generator},
});

constexpr Catalogue kCatalogue{kModels, kBackends};

}  // namespace

const Catalogue& builtin_catalogue() noexcept { return kCatalogue; }

}  // namespace vmux::control
