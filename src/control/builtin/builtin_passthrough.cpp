// SPDX-License-Identifier: BSD-3-Clause
#include "control/builtin/builtin_passthrough.hpp"

#include <utility>

#include "base/text/format.hpp"
#include "control/model/hardware.hpp"
#include "kvfio/dma_counter_rows.hpp"
#include "kvfio/group_kernel.hpp"
#include "passthrough/counter_rows.hpp"

namespace vmux::control {
namespace {

using passthrough::Diagnosis;
using passthrough::Obstacle;

class PassthroughDevice final : public Device {
 public:
  explicit PassthroughDevice(std::unique_ptr<passthrough::PhysicalFunction> function) noexcept
      : function_(std::move(function)) {}
  [[nodiscard]] pci::Endpoint* endpoint() noexcept override { return function_.get(); }
  [[nodiscard]] bool is_ready() noexcept override { return function_->is_open(); }
  [[nodiscard]] std::uint64_t faults() const noexcept override { return function_->counters().errors; }
  void report(CounterReport& into) const override {
    control::report(into, passthrough::kCounterRows, function_->counters());
    control::report(into, kvfio::kDmaCounterRows, function_->dma_counters());
  }

 private:
  std::unique_ptr<passthrough::PhysicalFunction> function_;
};

std::string names_of(const std::vector<passthrough::Spoiler>& spoilers) {
  std::string text;
  for (const auto& one : spoilers)
    text += fmt::format("{}{} (driver {})", text.empty() ? "" : ", ", one.address, one.driver);
  return text;
}

std::string addresses_of(const std::vector<passthrough::Spoiler>& spoilers) {
  std::string text;
  for (const auto& one : spoilers)
    text += " " + one.address;
  return text;
}

}  // namespace

Hardware::Hardware() : Hardware(std::make_unique<kvfio::GroupKernel>(), {}) {}

Result<std::unique_ptr<Device>> make_passthrough(const DeviceRequest& request, runtime::Poller& poller) {
  Hardware& hardware = request.hardware;
  const std::string address = request.device.value_or("");
  const auto number = passthrough::group_of(hardware.files(), address);
  if (!number) return tl::unexpected<Error>(number.error());
  auto group = hardware.groups().get(*number, poller);
  if (!group) return tl::unexpected<Error>(group.error());
  using Begins = passthrough::PhysicalFunction::Begins;
  auto function = passthrough::PhysicalFunction::create(request.name, address, std::move(*group), poller,
                                                        request.was_there ? Begins::closed : Begins::open);
  if (!function) return tl::unexpected<Error>(function.error());
  return std::make_unique<PassthroughDevice>(std::move(*function));
}

void describe_passthrough(CounterDescriptions& into) {
  describe(into, passthrough::kCounterRows);
  describe(into, kvfio::kDmaCounterRows);
}

std::string thread_of_passthrough(const DeviceRequest& request) {
  const auto number = passthrough::group_of(request.hardware.files(), request.device.value_or(""));
  return number ? fmt::format("vfio-{}", *number) : "vfio";
}

std::string explain_passthrough(const DeviceRequest& request, const Error& error) {
  const std::string address = request.device.value_or("");
  return sentence_of(address, passthrough::diagnose(request.hardware.files(), address, error));
}

std::string sentence_of(const std::string& address, const Diagnosis& found) {
  switch (found.obstacle) {
    case Obstacle::none:
      return "";
    case Obstacle::no_such_device:
      return fmt::format("there is no PCI device {}; see: lspci -D", address);
    case Obstacle::no_iommu:
      return fmt::format(
          "{} is not behind an IOMMU that the kernel uses: switch it on in the firmware and, if it is Intel's, add "
          "intel_iommu=on to the kernel's command line; vmuxctl host check tells more",
          address);
    case Obstacle::not_bound:
      return fmt::format("{} is {} instead of vfio-pci: vmuxctl host bind {}", address,
                         found.driver.empty() ? "bound to no driver" : "bound to " + found.driver, address);
    case Obstacle::group_not_viable:
      return fmt::format("{} shares IOMMU group {} with {}, which the host must give up too: vmuxctl host bind{}",
                         address, found.group, names_of(found.spoilers), addresses_of(found.spoilers));
    case Obstacle::no_vfio:
      return "the kernel's VFIO is not there: modprobe vfio_iommu_type1";
    case Obstacle::no_permission:
      return fmt::format("{} may not be opened: run vmux as root, or give it to vmux's user: chown USER {}", found.file,
                         found.file);
    case Obstacle::held:
      return found.holders.empty() ? fmt::format("{} is in use by another process", address)
                                   : fmt::format("{} is in use: process {} must let go of it first", address,
                                                 fmt::join(found.holders, " or process "));
  }
  return "";
}

}  // namespace vmux::control
