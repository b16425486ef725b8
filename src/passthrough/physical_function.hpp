// SPDX-License-Identifier: BSD-3-Clause
// A physical PCI function, as a transport serves it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvfio/group.hpp"
#include "kvfio/irq_relay.hpp"
#include "passthrough/config_view.hpp"
#include "pci/interrupts/msix_table.hpp"
#include "vmux/base/log.hpp"
#include "vmux/pci/endpoint.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::passthrough {

struct PhysicalCounters {
  std::uint64_t config_reads = 0, config_writes = 0;
  std::uint64_t bar_reads = 0, bar_writes = 0;  ///< by message; what a VM maps is not seen
  std::uint64_t unanswered = 0;                 ///< accesses that read as ones or went nowhere
  std::uint64_t irq_requests = 0;
  std::uint64_t resets = 0, function_level_resets = 0;
  std::uint64_t errors = 0;            ///< fatal errors that the device reported
  std::uint64_t release_requests = 0;  ///< how often the host has asked for the device
  std::uint64_t memory_without_fd = 0;
};

/// Home thread: the group's poller. Needs the group to stay.
class PhysicalFunction final : public pci::Endpoint, private kvfio::Group::Member {
 public:
  /// closed: the process before has the device. It is taken over with its client by adopt(), or opened when nobody has
  /// it any more: await_ready().
  enum class Begins : std::uint8_t { open, closed };
  /// `address`: "0000:01:10.0", a function of `group` that is bound to vfio-pci.
  [[nodiscard]] static Result<std::unique_ptr<PhysicalFunction>> create(std::string name, std::string address,
                                                                        std::shared_ptr<kvfio::Group> group,
                                                                        runtime::Poller& poller,
                                                                        Begins begins = Begins::open);
  ~PhysicalFunction() override;

  [[nodiscard]] bool is_open() const noexcept { return open_ != nullptr; }
  [[nodiscard]] const PhysicalCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const kvfio::DmaCounters& dma_counters() const noexcept { return group_->dma().counters(); }
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] const char* failure() const noexcept override;
  [[nodiscard]] pci::RegionInfo region(pci::Region region) const noexcept override;
  [[nodiscard]] Result<void> read(pci::Region region, RegionOffset offset, std::span<std::byte> into) noexcept override;
  [[nodiscard]] Result<void> write(pci::Region region, RegionOffset offset,
                                   std::span<const std::byte> from) noexcept override;
  void reset(pci::ResetKind kind) noexcept override;
  void client_attached(pci::MessageDma* message_dma) noexcept override;
  void client_gone(std::function<void()> quiet) noexcept override;
  bool announce_departure(bool for_good) noexcept override;
  [[nodiscard]] pci::IrqInfo irq_info(pci::Irq irq) const noexcept override;
  [[nodiscard]] Result<void> configure_irq(pci::IrqRequest request) noexcept override;
  [[nodiscard]] int intx_unmask_fd() const noexcept override { return -1; }  // the kernel watches it
  void unmask_intx() noexcept override {}
  [[nodiscard]] Result<void> map(memory::MapRequest request) noexcept override;
  [[nodiscard]] Result<ByteCount> unmap(Iova start, ByteCount size, std::function<void()> quiet) noexcept override;
  [[nodiscard]] Result<ByteCount> unmap_all(std::function<void()> quiet) noexcept override;
  [[nodiscard]] memory::AddressSpace& memory() noexcept override { return space_; }
  [[nodiscard]] bool has_software_dma() const noexcept override { return false; }
  [[nodiscard]] pci::Migratable* migration() noexcept override { return nullptr; }

  // physical_function_state.cpp: from a process to the next. The device does not stop for it.
  [[nodiscard]] bool can_record() const noexcept override { return group_->can_adopt(); }
  [[nodiscard]] Result<void> record(state::Writer& into, state::FdBag& fds) override;
  [[nodiscard]] bool take_change() noexcept override { return std::exchange(has_changed_, false); }
  void record_kept() noexcept override;
  [[nodiscard]] tl::expected<void, std::string> adopt(state::Reader& from, const state::FdBag& fds,
                                                      pci::MessageDma* message_dma) override;
  void go_on() noexcept override;
  void await_ready(std::function<void()> ready) override { group_->open_when_free(*this, std::move(ready)); }

 private:
  /// What the kernel tells us through an eventfd of ours and we pass on: ERR and REQ. These two also matter to us.
  struct Notice {
    UniqueFd from_kernel, sink;
    runtime::Watch watch;
    std::uint32_t count = 0;
  };
  /// All that is gone when the device is given back.
  struct Open {
    std::unique_ptr<kvfio::KernelDevice> device;
    std::array<kvfio::RegionFacts, pci::kRegionCount> regions;
    ConfigView config;
    std::optional<pci::MsixTable> msix_table;
    bool is_function_masked = false;
    std::optional<kvfio::IrqRelay> irqs;
    Notice error, release;
  };

  PhysicalFunction(std::string name, std::string address, std::shared_ptr<kvfio::Group> group, runtime::Poller& poller);
  [[nodiscard]] Result<void> open(kvfio::KernelDomain& domain) override;
  [[nodiscard]] static Result<std::unique_ptr<Open>> look_at(std::unique_ptr<kvfio::KernelDevice> device);
  void tell_what_it_is() const;
  void close() noexcept override;
  void memory_failed(const char* why) noexcept override;
  [[nodiscard]] Result<void> listen(Notice& notice, pci::Irq irq, std::function<void()> heard);
  [[nodiscard]] Result<void> watch(Notice& notice, UniqueFd eventfd, std::function<void()> heard);
  void on_error();
  void on_release_request();

  // physical_access.cpp
  [[nodiscard]] const kvfio::RegionFacts* facts(pci::Region region) const noexcept;
  void read_config(std::size_t at, std::span<std::byte> into) noexcept;
  void write_config(std::size_t at, std::span<const std::byte> from) noexcept;
  void read_bar(pci::Region region, std::uint64_t offset, std::span<std::byte> into) noexcept;
  void write_bar(pci::Region region, std::uint64_t offset, std::span<const std::byte> from) noexcept;
  void read_raw(pci::Region region, std::uint64_t offset, std::span<std::byte> into) noexcept;
  void write_raw(pci::Region region, std::uint64_t offset, std::span<const std::byte> from) noexcept;
  void follow_config_write(std::size_t at, std::span<const std::byte> from) noexcept;
  void stop_bus_mastering() noexcept;
  [[nodiscard]] bool masters_bus() const noexcept;
  void before_bus_mastering() noexcept;

  // physical_function_state.cpp
  [[nodiscard]] tl::expected<void, std::string> take_over(state::Reader& from, const state::FdBag& fds);
  [[nodiscard]] tl::expected<void, std::string> take_notices(const state::FdBag& fds);

  std::string name_, address_;
  std::shared_ptr<kvfio::Group> group_;
  runtime::Poller& poller_;
  memory::AddressSpace space_;
  memory::GuestMemory reader_;
  std::unique_ptr<Open> open_;
  const char* failure_ = nullptr;
  bool is_attached_ = false;
  bool is_recorded_ = false;        // by whoever serves it
  bool has_changed_ = false;        // what record() has
  std::vector<UniqueFd> departed_;  // sinks that the record may still name
  RateLimit complaints_;
  PhysicalCounters counters_;
};

/// The pages of a BAR that a VM may map: what the kernel allows, without the pages of the MSI-X table.
[[nodiscard]] std::vector<pci::SharedArea> shareable(const kvfio::RegionFacts& facts, pci::Region region,
                                                     const std::optional<MsixFacts>& msix);

}  // namespace vmux::passthrough
