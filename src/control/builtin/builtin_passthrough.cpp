// SPDX-License-Identifier: BSD-3-Clause
#include "control/builtin/builtin_passthrough.hpp"

#include <utility>

#include "base/format.hpp"
#include "kvfio/group.hpp"
#include "kvfio/group_kernel.hpp"
#include "passthrough/physical_function.hpp"

namespace vmux::control {
namespace {

using passthrough::Diagnosis;
using passthrough::Obstacle;

class PassthroughNic final : public Nic {
 public:
  explicit PassthroughNic(std::unique_ptr<passthrough::PhysicalFunction> function) noexcept
      : function_(std::move(function)) {}
  pci::Endpoint& function() noexcept override { return *function_; }
  port::Port* port() noexcept override { return nullptr; }
  [[nodiscard]] bool is_ready() noexcept override { return function_->is_open(); }

  void report(CounterReport& into) const override {
    const passthrough::PhysicalCounters& c = function_->counters();
    const kvfio::DmaCounters& d = function_->dma_counters();
    into = {{"config.reads", c.config_reads},
            {"config.writes", c.config_writes},
            {"bar.reads", c.bar_reads},
            {"bar.writes", c.bar_writes},
            {"unanswered", c.unanswered},
            {"irq.requests", c.irq_requests},
            {"resets", c.resets},
            {"resets.function_level", c.function_level_resets},
            {"errors", c.errors},
            {"release_requests", c.release_requests},
            {"dma.maps", d.maps},
            {"dma.unmaps", d.unmaps},
            {"dma.shared", d.shared},
            {"dma.refused", d.refused},
            {"dma.without_fd", c.memory_without_fd},
            {"dma.pages_pinned", d.pinned},
            {"dma.pages_waiting", d.waiting},
            {"dma.pages_stuck", d.stuck},
            {"dma.pages_pinned_ever", d.pinned_ever},
            {"dma.map_us", d.map_ns / 1000},
            {"dma.unmap_us", d.unmap_ns / 1000}};
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

Result<std::unique_ptr<Nic>> make_passthrough(const NicRequest& request, runtime::Poller& poller) {
  // The kernel's groups are the machine's, and this process holds each once. All calls come from the control thread's
  // doing, one after the other.
  static kvfio::GroupKernel kernel;
  static kvfio::Groups groups;
  const std::string address = request.device.value_or("");
  const auto number = passthrough::group_of({}, address);
  if (!number) return tl::unexpected<Error>(number.error());
  auto function =
      passthrough::PhysicalFunction::create(request.name, address, groups.get(kernel, *number, poller), poller);
  if (!function) return tl::unexpected<Error>(function.error());
  return std::make_unique<PassthroughNic>(std::move(*function));
}

std::string thread_of_passthrough(const NicRequest& request) {
  const auto number = passthrough::group_of({}, request.device.value_or(""));
  return number ? fmt::format("vfio-{}", *number) : "vfio";
}

std::string explain_passthrough(const NicRequest& request, const Error& error) {
  const std::string address = request.device.value_or("");
  return sentence_of(address, passthrough::diagnose({}, address, error));
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
