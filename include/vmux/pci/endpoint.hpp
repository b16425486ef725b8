// SPDX-License-Identifier: BSD-3-Clause
// A PCI function as a transport sees it, whoever stands behind it: a model (pci::Function) or a physical device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/trace.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::state {
class FdBag;
class Reader;
class Writer;
}  // namespace vmux::state

namespace vmux::pci {

struct RegionInfo {
  std::uint64_t size = 0;  ///< 0: the region does not exist
  bool readable = false, writable = false;
  std::vector<SharedArea> shared;  ///< what may be mapped, as offsets into the region
  int fd = -1;                     ///< what the shared areas are mapped from, borrowed
  std::uint64_t fd_offset = 0;     ///< the area at region offset X lies at fd offset fd_offset + X
  bool is_io = false;              ///< I/O space
  std::vector<IoEvent> io_events;  ///< what the transport may take through eventfds, and then writes by write()
};

/// Reads and writes guest memory that has no descriptor, by messages to the client. Set by the transport while a client
/// is attached. `done` runs on the home thread, exactly once, never from inside the call.
class MessageDma {
 public:
  using Done = std::function<void(Result<void>)>;
  virtual ~MessageDma() = default;
  virtual void read(Iova from, std::span<std::byte> into, Done done) = 0;
  virtual void write(Iova to, std::span<const std::byte> from, Done done) = 0;
};

/// Whoever keeps the record of an endpoint: see Endpoint::record().
class Recorder {
 public:
  virtual ~Recorder() = default;
  /// Calls `work`, which is no client's request, and keeps what it has changed before this returns. Should the process
  /// die in between, whoever takes over finds that it has not begun. Inside a request it is a part of that.
  virtual void run(const std::function<void()>& work) = 0;
};

/// Why a state is not restored, for people.
struct RestoreProblem {
  std::string text;
  bool is_busy = false;  ///< whatever the state is
};

/// Everything is for the home thread: that of the transport. It is traced by its transport.
class Endpoint : public Traced {
 public:
  virtual ~Endpoint() = default;

  [[nodiscard]] virtual const std::string& name() const noexcept = 0;  ///< for logs
  /// Why no client can be served any more, or nullptr. The transport looks after each burst of requests and a few
  /// times a second, and ends its session when there is a reason.
  [[nodiscard]] virtual const char* failure() const noexcept = 0;

  [[nodiscard]] virtual RegionInfo region(Region region) const noexcept = 0;
  /// A guest access. Errors: out_of_range beyond the region, not_supported for a region that does not exist, permission
  /// for a write to one that is read-only. The transport makes the errnos of them that its clients know.
  [[nodiscard]] virtual Result<void> read(Region region, RegionOffset offset, std::span<std::byte> into) noexcept = 0;
  [[nodiscard]] virtual Result<void> write(Region region, RegionOffset offset,
                                           std::span<const std::byte> from) noexcept = 0;
  virtual void reset(ResetKind kind) noexcept = 0;

  virtual void client_attached(MessageDma* message_dma) noexcept = 0;
  /// Stops DMA, drops sinks, message DMA and memory (in that order), resets the device, tells it. Calls `quiet` when
  /// the next client may come: no reader touches the old memory, and the device is as it was before the first.
  virtual void client_gone(std::function<void()> quiet) noexcept = 0;

  /// The client is about to lose the device. Its guest is told, as far as the device can; with `for_good` so is the
  /// client itself, by the request interrupt (VFIO_PCI_REQ_IRQ_INDEX), and a VMM unplugs the device then. True when
  /// there was somebody to tell: give them a moment.
  virtual bool announce_departure(bool for_good) noexcept = 0;

  [[nodiscard]] virtual IrqInfo irq_info(Irq irq) const noexcept = 0;
  [[nodiscard]] virtual Result<void> configure_irq(IrqRequest request) noexcept = 0;
  /// The eventfd on which the client wants INTx unmasked and which the transport is to watch, or -1.
  [[nodiscard]] virtual int intx_unmask_fd() const noexcept = 0;
  virtual void unmask_intx() noexcept = 0;

  /// The client gives memory and takes it back: as AddressSpace's calls of these names, on memory(). A physical device
  /// may fail to let go (`quiet` is not called then): the client hears the kernel's errno, and failure() has a reason.
  [[nodiscard]] virtual Result<void> map(memory::MapRequest request) noexcept = 0;
  [[nodiscard]] virtual Result<ByteCount> unmap(Iova start, ByteCount size, std::function<void()> quiet) noexcept = 0;
  [[nodiscard]] virtual Result<ByteCount> unmap_all(std::function<void()> quiet) noexcept = 0;
  /// What the client has given.
  [[nodiscard]] virtual memory::AddressSpace& memory() noexcept = 0;
  /// True when this process makes the device's accesses to guest memory: they can go by message where memory has no
  /// descriptor that this host can map, and they can be logged. False for a physical device.
  [[nodiscard]] virtual bool has_software_dma() const noexcept = 0;

  /// nullptr: it does not migrate.
  [[nodiscard]] virtual Migratable* migration() noexcept = 0;

  /// The device stops, without a trace for guest or client, and gives all of itself and all that its client has given:
  /// sections, and descriptors under the names that these use. Another endpoint of the same description can go on with
  /// them in front of the same client; this one is destroyed then, or go_on() is called. On an error nothing has
  /// changed.
  [[nodiscard]] virtual Result<void> suspend(state::Writer& /*into*/, state::FdBag& /*fds*/) {
    return fail(Errc::not_supported, "the device cannot be handed over");
  }
  /// Takes what suspend() gave, in place of client_attached(). Nothing runs before go_on(). On an error, which is a
  /// sentence for people, the endpoint is of no use and to be destroyed: a reset could reach what the other one shares
  /// with the client.
  [[nodiscard]] virtual tl::expected<void, std::string> adopt(state::Reader& /*from*/, const state::FdBag& /*fds*/,
                                                              MessageDma* /*message_dma*/) {
    return tl::unexpected(std::string{"the device cannot take over from another"});
  }
  /// See Savable::claim_dma(): for the transport, which has what is under way.
  [[nodiscard]] virtual DmaClaim claim_dma(bool /*is_write*/, Iova /*at*/, std::size_t /*size*/) { return {}; }
  virtual void go_on() noexcept {}
  /// Of an endpoint without a client: calls `ready` when the first may come, on the home thread, at once or later. A
  /// device that the process before held is waited for.
  virtual void await_ready(std::function<void()> ready) { ready(); }

  /// The state of the device as an image of state/format.hpp, for people to keep; it runs on. Errors are for people.
  [[nodiscard]] virtual tl::expected<std::vector<std::byte>, std::string> save_state() {
    return tl::unexpected(name() + " is a device whose state cannot be saved");
  }
  /// Takes such an image. Refused, and nothing has changed, when it is not one of this device's, or while a client's
  /// device runs: that client's guest would see its card change under it.
  [[nodiscard]] virtual tl::expected<void, RestoreProblem> restore_state(std::span<const std::byte> /*image*/) {
    return tl::unexpected(RestoreProblem{name() + " is a device whose state cannot be restored"});
  }

  // --- for whoever keeps a record, with which another process goes on when this one dies ---
  /// False: record() never succeeds.
  [[nodiscard]] virtual bool can_record() const noexcept { return false; }
  /// Adds what suspend() would, while the device runs, and names the descriptors where they are. What changes with
  /// every burst need not be in it: it lies in memory that outlives the process, `cursors` among the names.
  [[nodiscard]] virtual Result<void> record(state::Writer& /*into*/, state::FdBag& /*fds*/) {
    return fail(Errc::not_supported, "the device cannot be handed over");
  }
  /// Whether anything that record() has is different since the last time that this was asked.
  [[nodiscard]] virtual bool take_change() noexcept { return false; }
  /// What record() has added last is kept.
  virtual void record_kept() noexcept {}
  /// Requests are about to be served whose effects do not count before end_requests(): should the process die in
  /// between, whoever takes over finds `round` in the cursors, undoes what they have changed there, and serves them
  /// again (state/undo_log.hpp).
  virtual void begin_requests(std::uint64_t /*round*/) noexcept {}
  virtual void end_requests() noexcept {}
  /// Set by the transport, for as long as it keeps a record; nullptr: nobody does.
  virtual void set_recorder(Recorder* /*recorder*/) noexcept {}
};

}  // namespace vmux::pci
