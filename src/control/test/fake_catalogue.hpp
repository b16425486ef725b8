// SPDX-License-Identifier: BSD-3-Clause
// For tests: a catalogue whose models and backends are of no real kind.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>

#include "control/builtin/vfio_user_frontend.hpp"
#include "control/model/catalogue.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::control::fake {

/// A port that swallows what it gets, and sends one untagged broadcast frame if it has something to say.
class SilentPort final : public port::Port {
 public:
  explicit SilentPort(bool speaks = false) : speaks_(speaks) { std::fill_n(frame_.begin(), 6, std::byte{0xff}); }
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    if (!speaks_ || into.empty()) return 0;
    into[0] = {.header = frame_, .payload = {}, .length = static_cast<std::uint32_t>(frame_.size()), .offload = {}};
    return 1;
  }
  void finish(std::span<const port::FrameResult> results) noexcept override { speaks_ = speaks_ && results.empty(); }
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override {
    return {.taken = frames.size()};
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return {}; }
  [[nodiscard]] bool needs_polling() const noexcept override { return speaks_; }
  [[nodiscard]] bool is_ready() const noexcept override { return true; }

 private:
  bool speaks_;
  std::array<std::byte, 64> frame_{};
};

/// A PCI function without any register behind it.
class SilentNic final : public control::Device, private pci::Device {
 public:
  static Result<std::unique_ptr<control::Device>> make(const DeviceRequest& request, runtime::Poller&) {
    ++alive;
    auto nic = std::unique_ptr<SilentNic>{new SilentNic};
    nic->keeps_mac_ = request.name == "fixed";
    pci::FunctionSpec spec;
    spec.vendor_id = 0x1234;
    spec.bars[0] = pci::BarSpec{.size = 4096};
    auto function = pci::Function::create(std::move(spec), *nic);
    if (!function) return tl::unexpected<Error>(function.error());
    nic->function_ = std::move(*function);
    if (request.name == "broken") return fail(Errc::no_space, "no room for the device");
    return nic;
  }
  ~SilentNic() override { --alive; }
  pci::Endpoint* endpoint() noexcept override { return function_.get(); }
  [[nodiscard]] std::vector<port::Port*> lanes() override { return {&port_}; }
  [[nodiscard]] bool is_ready() noexcept override { return true; }
  void report(CounterReport& into) const override { into.emplace_back("tx.guest_fault", 0); }
  void set_link(Link now) noexcept override {
    link = now;
    ++links;
  }
  bool set_mac(const MacAddress& now) noexcept override {
    if (!keeps_mac_) mac = now;
    return !keeps_mac_;
  }

  static inline std::atomic<Link> link = Link::up;  // what one of them was told last
  static inline std::atomic<int> links = 0;         // how often
  static inline MacAddress mac{};
  static inline int alive = 0;                // made and not yet destroyed
  static inline std::atomic<int> warned = 0;  // how often their guests were told that they go

 private:
  SilentNic() = default;
  void read_bar(pci::Region, RegionOffset, std::span<std::byte> into) noexcept override {
    std::fill(into.begin(), into.end(), std::byte{0});
  }
  void write_bar(pci::Region, RegionOffset, std::span<const std::byte>) noexcept override {}
  void reset(pci::ResetKind) noexcept override {}
  bool leaving() noexcept override {
    ++warned;
    return true;
  }

  SilentPort port_;
  std::unique_ptr<pci::Function> function_;
  bool keeps_mac_ = false;
};

/// The same without a side on the switch.
class DeviceNic final : public Device {
 public:
  static Result<std::unique_ptr<Device>> make(const DeviceRequest& request, runtime::Poller& poller) {
    auto inner = SilentNic::make(request, poller);
    if (!inner) return inner;
    auto nic = std::make_unique<DeviceNic>();
    nic->inner_ = std::move(*inner);
    nic->thread_ = poller.name();
    return nic;
  }
  pci::Endpoint* endpoint() noexcept override { return inner_->endpoint(); }
  [[nodiscard]] bool is_ready() noexcept override { return true; }
  void report(CounterReport& into) const override { into.emplace_back("on." + thread_, 1); }

 private:
  std::unique_ptr<Device> inner_;
  std::string thread_;
};

class SilentUplink final : public Uplink {
 public:
  static Result<std::unique_ptr<Uplink>> make(const UplinkRequest& request, runtime::Poller&) {
    if (request.device == "absent0") return fail(Errc::not_found, "no such interface");
    return std::make_unique<SilentUplink>(request.pollers.size(), request.device == "speaking0");
  }
  SilentUplink(std::size_t lanes, bool speaks) {
    for (std::size_t i = 0; i < lanes; ++i)
      ports_.emplace_back(speaks);
  }
  [[nodiscard]] std::vector<port::Port*> lanes() override {
    std::vector<port::Port*> out;
    for (SilentPort& port : ports_)
      out.push_back(&port);
    return out;
  }

 private:
  std::deque<SilentPort> ports_;
};

inline constexpr std::string_view kVariants[] = {"blue", "red"};

inline constexpr auto kModels = std::to_array<ModelEntry>({
    {"silent", "silent-emu", "a NIC without registers", false, 1, Doorbell::trap, &SilentNic::make},
    {"real", "real-emu", "a NIC that uses hardware", true, 4, Doorbell::poll, &SilentNic::make, true, nullptr, nullptr,
     kVariants},
    {"device", "device", "a NIC that is hardware", true, 1, Doorbell::trap, &DeviceNic::make, false,
     [](const DeviceRequest& request) { return "own-" + request.device.value_or("").substr(0, 4); },
     [](const DeviceRequest& request, const Error&) { return "ask the vendor of " + *request.device; }},
    {"future", "future-emu", "a NIC of tomorrow", false, 1, Doorbell::poll, nullptr},
});
inline constexpr auto kBackends = std::to_array<BackendEntry>({
    {"tap", "a tap",
     [](const std::string& name) { return name.size() < 16 && name.find_first_of("/ ") == std::string::npos; },
     "an interface name", 4, &SilentUplink::make},
    {"null", "nothing", nullptr, "", 1, &SilentUplink::make},
    {"future", "not built", [](const std::string&) { return true; }, "anything", 1, nullptr},
});
inline constexpr TransportEntry kTransports[] = {kVfioUserTransport, {"wire", "a way of tomorrow", nullptr, nullptr}};
inline constexpr Catalogue kCatalogue{kModels, kBackends, kTransports};

}  // namespace vmux::control::fake
