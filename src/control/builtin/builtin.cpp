// SPDX-License-Identifier: BSD-3-Clause
// The tables that name models, transports and backends.
#include <fmt/format.h>

#include <array>
#include <limits>
#include <string>
#include <utility>

#include "backend/null/null_port.hpp"
#include "backend/tap/tap_device.hpp"
#include "backend/tap/tap_port.hpp"
#include "backend/traffic/traffic_port.hpp"
#include "control/builtin/builtin_passthrough.hpp"
#include "control/builtin/builtin_vdpa.hpp"
#include "control/builtin/vfio_user_frontend.hpp"
#include "control/builtin/vhost_user_frontend.hpp"
#include "control/model/catalogue.hpp"
#include "control/trace/register_names.hpp"
#include "device/e1000/counter_rows.hpp"
#include "device/e1000/nic.hpp"
#include "device/e1000/registers.hpp"
#include "device/e810/counter_rows.hpp"
#include "device/e810/firmware/firmware.hpp"
#include "device/e810/nic.hpp"
#include "device/e810/registers.hpp"
#include "device/iavf/counter_rows.hpp"
#include "device/iavf/nic.hpp"
#include "device/iavf/registers.hpp"
#include "device/virtio_net/counter_rows.hpp"
#include "device/virtio_net/nic.hpp"
#include "virtio/pci_transport.hpp"
#include "wire/names.hpp"
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
  [[nodiscard]] std::vector<port::Port*> lanes() override { return {port_.get()}; }

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
  [[nodiscard]] std::vector<port::Port*> lanes() override {
    std::vector<port::Port*> out;
    for (const auto& lane : lanes_)
      out.push_back(lane.get());
    return out;
  }
  // Queue i is of lane i modulo their number.
  void record(state::FdBag& numbers) const override {
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
      const std::vector<int> fds = lanes_[lane]->queue_fds();
      for (std::size_t i = 0; i < fds.size(); ++i)
        static_cast<void>(numbers.put_copy(state::fd_name("queue", i * lanes_.size() + lane), fds[i]));
    }
  }

 private:
  backend::TapPort::Lanes lanes_;
};

Result<std::unique_ptr<Uplink>> make_tap(const UplinkRequest& request, runtime::Poller&) {
  backend::TapOptions options{.name = request.device, .queues = request.queues};
  for (unsigned i = 0; request.left != nullptr && i < request.queues; ++i) {
    if (const int queue = request.left->get(state::fd_name("queue", i)); queue >= 0) options.from.push_back(queue);
  }
  if (options.from.size() != request.queues) options.from.clear();
  auto lanes = backend::TapPort::create(options, request.pollers);
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

std::string text_or_none(const char* text) { return text == nullptr ? "" : text; }

std::string msix_name_or(const TraceRecord& record, pci::Region table, std::string otherwise) {
  const bool is_access = record.what == TraceRecord::What::read || record.what == TraceRecord::What::write;
  constexpr std::uint64_t kMostOfTables = 0x2000;  // the pending bits are behind it
  if (!is_access || record.region != static_cast<unsigned>(table) || record.offset >= kMostOfTables) return otherwise;
  return msix_table_name(record.offset);
}

/// Of a register in BAR 0 by its model's table, and of all else that any device has.
template <class Find>
std::string name_by(Find find, const TraceRecord& record, std::string otherwise) {
  const bool is_access = record.what == TraceRecord::What::read || record.what == TraceRecord::What::write;
  if (!is_access || record.region != static_cast<unsigned>(pci::Region::bar0)) return otherwise;
  if (record.offset > std::numeric_limits<std::uint32_t>::max()) return otherwise;  // refused, and of no register
  return register_name(find(static_cast<std::uint32_t>(record.offset)), record.offset);
}

class E1000Device final : public Device {
 public:
  explicit E1000Device(std::unique_ptr<device::e1000::Nic> nic) noexcept : nic_(std::move(nic)) {}
  [[nodiscard]] pci::Endpoint* endpoint() noexcept override { return &nic_->function(); }
  [[nodiscard]] std::vector<port::Port*> lanes() override { return {&nic_->port()}; }
  void set_link(Link link) noexcept override { nic_->set_link(link == Link::up); }
  bool set_mac(const MacAddress& mac) noexcept override {
    nic_->set_mac(mac);
    return true;
  }
  [[nodiscard]] bool is_ready() noexcept override { return nic_->port().is_ready(); }
  [[nodiscard]] std::uint64_t faults() const noexcept override {
    const device::e1000::NicCounters& counters = nic_->nic_counters();
    return counters.tx_guest_fault.get() + counters.rx_guest_fault.get();
  }
  void report(CounterReport& into) const override {
    control::report(into, device::e1000::kCounterRows, nic_->nic_counters());
  }
  [[nodiscard]] std::string trace_name(const TraceRecord& record) const override {
    return name_by(device::e1000::find_register, record, Device::trace_name(record));
  }

 private:
  std::unique_ptr<device::e1000::Nic> nic_;
};

void describe_e1000(CounterDescriptions& into) { describe(into, device::e1000::kCounterRows); }

Result<std::unique_ptr<Device>> make_e1000(const DeviceRequest& request, runtime::Poller& poller) {
  device::e1000::NicOptions options;
  options.name = request.name;
  options.mac = request.mac;
  options.doorbell = request.doorbell == Doorbell::poll ? device::e1000::Doorbell::poll : device::e1000::Doorbell::trap;
  auto nic = device::e1000::Nic::create(std::move(options), poller);
  if (!nic) return tl::unexpected<Error>(nic.error());
  return std::make_unique<E1000Device>(std::move(*nic));
}

class IavfDevice final : public Device {
 public:
  explicit IavfDevice(std::unique_ptr<device::iavf::Nic> nic) noexcept : nic_(std::move(nic)) {}
  [[nodiscard]] pci::Endpoint* endpoint() noexcept override { return &nic_->function(); }
  [[nodiscard]] std::vector<port::Port*> lanes() override { return nic_->lanes(); }
  void set_link(Link link) noexcept override { nic_->set_link(link == Link::up); }
  bool set_mac(const MacAddress& mac) noexcept override {
    nic_->set_mac(mac);
    return true;
  }
  [[nodiscard]] bool is_ready() noexcept override { return nic_->port().is_ready(); }
  [[nodiscard]] std::uint64_t faults() const noexcept override {
    return device::iavf::guest_faults(*nic_) + nic_->nic_counters().admin_faults.get();
  }
  void report(CounterReport& into) const override {
    control::report(into, device::iavf::kCounterRows, *nic_);
    for (unsigned queue = 0; queue < nic_->data_path().queue_pairs(); ++queue) {
      const std::string number = std::to_string(queue);
      control::report(into, device::iavf::kTxCounterRows, nic_->data_path().tx(queue).counters(), "tx" + number + ".");
      control::report(into, device::iavf::kRxCounterRows, nic_->data_path().rx(queue).counters(), "rx" + number + ".");
    }
  }
  [[nodiscard]] std::string trace_name(const TraceRecord& record) const override {
    if (record.what == TraceRecord::What::command) return text_or_none(wire::virtchnl_name(record.code));
    return name_by(device::iavf::find_register, record,
                   msix_name_or(record, pci::Region::bar3, Device::trace_name(record)));
  }

 private:
  std::unique_ptr<device::iavf::Nic> nic_;
};

void describe_iavf(CounterDescriptions& into) {
  describe(into, device::iavf::kCounterRows);
  describe(into, device::iavf::kTxCounterRows, "txN.");
  describe(into, device::iavf::kRxCounterRows, "rxN.");
}

Result<std::unique_ptr<Device>> make_iavf(const DeviceRequest& request, runtime::Poller& poller) {
  device::iavf::NicOptions options;
  options.name = request.name;
  options.mac = request.mac;
  options.doorbell = request.doorbell == Doorbell::poll ? device::iavf::Doorbell::poll : device::iavf::Doorbell::trap;
  options.queue_pairs = request.queues;
  options.parent = request.variant == "xl710" ? device::iavf::Parent::xl710 : device::iavf::Parent::e810;
  options.more_pollers.assign(request.pollers.begin() + 1, request.pollers.end());
  auto nic = device::iavf::Nic::create(std::move(options), poller);
  if (!nic) return tl::unexpected<Error>(nic.error());
  return std::make_unique<IavfDevice>(std::move(*nic));
}

class E810Device final : public Device {
 public:
  explicit E810Device(std::unique_ptr<device::e810::Nic> nic) noexcept : nic_(std::move(nic)) {}
  [[nodiscard]] pci::Endpoint* endpoint() noexcept override { return &nic_->function(); }
  [[nodiscard]] std::vector<port::Port*> lanes() override { return {&nic_->port()}; }
  void set_link(Link link) noexcept override { nic_->set_link(link == Link::up); }
  bool set_mac(const MacAddress& mac) noexcept override {
    nic_->set_mac(mac);
    return true;
  }
  [[nodiscard]] bool is_ready() noexcept override { return nic_->port().is_ready(); }
  [[nodiscard]] std::uint64_t faults() const noexcept override {
    return device::e810::guest_faults(*nic_) + nic_->nic_counters().admin_faults.get();
  }
  void report(CounterReport& into) const override {
    control::report(into, device::e810::kCounterRows, *nic_);
    report("unknown_command.", nic_->nic_counters().unknown_commands, into);
    report("unknown_register.", nic_->nic_counters().unknown_registers, into);
    for (unsigned queue = 0; queue < nic_->data_path().queues(); ++queue) {
      const std::string number = std::to_string(queue);
      control::report(into, device::e810::kTxCounterRows, nic_->data_path().tx(queue).counters(), "tx" + number + ".");
      control::report(into, device::e810::kRxCounterRows, nic_->data_path().rx(queue).counters(), "rx" + number + ".");
    }
  }
  [[nodiscard]] std::string trace_name(const TraceRecord& record) const override {
    if (record.what == TraceRecord::What::command) {
      const auto* const row = device::e810::Firmware::find(static_cast<std::uint16_t>(record.code));
      return row == nullptr ? "" : row->name;
    }
    return name_by(device::e810::find_register, record,
                   msix_name_or(record, pci::Region::bar3, Device::trace_name(record)));
  }

 private:
  static void report(const char* name, const device::e810::Unknown& unknown, CounterReport& into) {
    for (std::size_t i = 0; i < unknown.used.get(); ++i) {
      const auto& entry = unknown.entries[i];
      into.emplace_back(fmt::format("{}{:#x}", name, entry.number.get()), entry.times.get());
    }
  }

  std::unique_ptr<device::e810::Nic> nic_;
};

void describe_e810(CounterDescriptions& into) {
  describe(into, device::e810::kCounterRows);
  describe(into, device::e810::kTxCounterRows, "txN.");
  describe(into, device::e810::kRxCounterRows, "rxN.");
}

Result<std::unique_ptr<Device>> make_e810(const DeviceRequest& request, runtime::Poller& poller) {
  device::e810::NicOptions options;
  options.name = request.name;
  options.mac = request.mac;
  options.doorbell = request.doorbell == Doorbell::poll ? device::e810::Doorbell::poll : device::e810::Doorbell::trap;
  options.queue_pairs = request.queues;
  auto nic = device::e810::Nic::create(std::move(options), poller);
  if (!nic) return tl::unexpected<Error>(nic.error());
  return std::make_unique<E810Device>(std::move(*nic));
}

/// For vfio-user behind PCI; for vhost-user as it is, since there the front end has the PCI side.
class VirtioNetDevice final : public Device {
 public:
  VirtioNetDevice(std::unique_ptr<device::virtio_net::Nic> nic, std::unique_ptr<virtio::PciTransport> pci) noexcept
      : nic_(std::move(nic)), pci_(std::move(pci)) {}
  [[nodiscard]] pci::Endpoint* endpoint() noexcept override { return pci_ == nullptr ? nullptr : &pci_->function(); }
  [[nodiscard]] virtio::Device* virtio_device() noexcept override { return pci_ == nullptr ? nic_.get() : nullptr; }
  [[nodiscard]] std::vector<port::Port*> lanes() override { return nic_->lanes(); }
  void set_link(Link link) noexcept override { nic_->set_link(link == Link::up); }
  bool set_mac(const MacAddress& mac) noexcept override {
    nic_->set_mac(mac);
    return true;
  }
  void set_mtu(std::optional<std::uint16_t> mtu) noexcept override { nic_->set_mtu(mtu.value_or(0)); }
  [[nodiscard]] bool is_ready() noexcept override { return nic_->port().is_ready(); }
  [[nodiscard]] std::uint64_t faults() const noexcept override { return device::virtio_net::guest_faults(*nic_); }
  void report(CounterReport& into) const override {
    const device::virtio_net::Nic& nic = *nic_;
    control::report(into, device::virtio_net::kCounterRows, nic);
    for (unsigned pair = 0; pair < nic.pairs(); ++pair) {
      const std::string number = std::to_string(pair);
      control::report(into, device::virtio_net::kTxCounterRows, nic.tx(pair), "tx" + number + ".");
      control::report(into, device::virtio_net::kRxCounterRows, nic.rx(pair), "rx" + number + ".");
    }
  }
  void set_tracer(Tracer* tracer) noexcept override {
    nic_->set_tracer(tracer);
    if (pci_ != nullptr) pci_->function().set_tracer(tracer);
  }
  [[nodiscard]] std::string trace_name(const TraceRecord& record) const override {
    using What = TraceRecord::What;
    if (record.what == What::command) return text_or_none(wire::virtio_net_control_name(record.code));
    const bool is_access = record.what == What::read || record.what == What::write;
    if (!is_access && pci_ == nullptr) return text_or_none(wire::vhost_user_name(record.code));
    if (is_access && record.region == static_cast<unsigned>(virtio::PciTransport::kBar))
      return virtio_register_name(record.offset);
    return msix_name_or(record, virtio::PciTransport::kMsixBar, Device::trace_name(record));
  }

 private:
  std::unique_ptr<device::virtio_net::Nic> nic_;
  std::unique_ptr<virtio::PciTransport> pci_;  // goes first
};

void describe_virtio_net(CounterDescriptions& into) {
  describe(into, device::virtio_net::kCounterRows);
  describe(into, device::virtio_net::kTxCounterRows, "txN.");
  describe(into, device::virtio_net::kRxCounterRows, "rxN.");
}

Result<std::unique_ptr<Device>> make_virtio_net(const DeviceRequest& request, runtime::Poller& poller) {
  device::virtio_net::NicOptions options;
  options.name = request.name;
  options.mac = request.mac;
  options.doorbell =
      request.doorbell == Doorbell::poll ? device::virtio_net::Doorbell::poll : device::virtio_net::Doorbell::trap;
  options.queue_pairs = request.queues;
  options.mtu = request.mtu.value_or(0);
  if (request.variant == "split") options.features_withheld = wire::virtio::feature::ring_packed;
  options.more_pollers.assign(request.pollers.begin() + 1, request.pollers.end());
  auto nic = device::virtio_net::Nic::create(std::move(options), poller);
  if (!nic) return tl::unexpected<Error>(nic.error());
  std::unique_ptr<virtio::PciTransport> pci;
  if (request.transport == kVfioUser) {
    constexpr std::uint32_t kEthernet = 0x020000;
    const virtio::PciOptions description{request.name, kEthernet, request.doorbell == Doorbell::poll};
    auto made = virtio::PciTransport::create(description, **nic);
    if (!made) return tl::unexpected<Error>(made.error());
    pci = std::move(*made);
  }
  return std::make_unique<VirtioNetDevice>(std::move(*nic), std::move(pci));
}

constexpr std::string_view kVirtioVariants[] = {"packed", "split"};
constexpr std::string_view kVirtioTransports[] = {kVfioUser, kVhostUser};
constexpr std::string_view kVdpaVariants[] = {"direct", "shadow"};
constexpr std::string_view kVdpaTransports[] = {kVhostUser};
constexpr std::string_view kIavfVariants[] = {"e810", "xl710"};

constexpr auto kModels = std::to_array<ModelEntry>({
    {.name = "e1000",
     .mode = "e1000-emu",
     .description = "Intel 82540EM, emulated",
     .takes_device = false,
     .max_queues = 1,
     .doorbell = Doorbell::trap,
     .make = make_e1000,
     .describe = describe_e1000},
    {.name = "iavf",
     .mode = "iavf",
     .description = "Intel adaptive virtual function, emulated",
     .takes_device = false,
     .max_queues = 16,
     .doorbell = Doorbell::poll,
     .make = make_iavf,
     .variants = kIavfVariants,
     .describe = describe_iavf},
    {.name = "virtio-net",
     .mode = "virtio-net",
     .description = "virtio 1 network card",
     .takes_device = false,
     .max_queues = 16,
     .doorbell = Doorbell::poll,
     .make = make_virtio_net,
     .variants = kVirtioVariants,
     .transports = kVirtioTransports,
     .describe = describe_virtio_net},
    // name         mode           description                                             device queues doorbell make
    {.name = "e810",
     .mode = "emulation",
     .description = "Intel E810, emulated",
     .takes_device = false,
     .max_queues = 64,
     .doorbell = Doorbell::poll,
     .make = make_e810,
     .describe = describe_e810},
    {"mediation", "mediation", "Intel E810 whose offloads a physical NIC does", true, 16, Doorbell::poll, nullptr},
    {.name = "passthrough",
     .mode = "passthrough",
     .description = "a physical function handed to the VM",
     .takes_device = true,
     .max_queues = 1,
     .doorbell = Doorbell::poll,
     .make = make_passthrough,
     .has_port = false,
     .own_thread = thread_of_passthrough,
     .explain = explain_passthrough,
     .describe = describe_passthrough},
    {.name = "vdpa-net",
     .mode = "vdpa-net",
     .description = "virtio network function, for a VM's vhost-user card",
     .takes_device = true,
     .max_queues = 16,
     .doorbell = Doorbell::poll,
     .make = make_vdpa_net,
     .own_thread = thread_of_vdpa,
     .explain = explain_passthrough,
     .variants = kVdpaVariants,
     .transports = kVdpaTransports,
     .describe = describe_vdpa_net,
     .is_past_switch = true,
     .usual_queues = 1},
    {.name = "vdpa-blk",
     .mode = "vdpa-blk",
     .description = "virtio block function, for a VM's vhost-user disk",
     .takes_device = true,
     .max_queues = 1,
     .doorbell = Doorbell::poll,
     .make = make_vdpa_blk,
     .has_port = false,
     .own_thread = thread_of_vdpa,
     .explain = explain_passthrough,
     .variants = kVdpaVariants,
     .transports = kVdpaTransports,
     .kind = DeviceKind::blk,
     .describe = describe_vdpa_blk},
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

constexpr TransportEntry kTransports[] = {kVfioUserTransport, kVhostUserTransport};

constexpr Catalogue kCatalogue{kModels, kBackends, kTransports};

}  // namespace

const Catalogue& builtin_catalogue() noexcept { return kCatalogue; }

}  // namespace vmux::control
