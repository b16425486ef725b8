// SPDX-License-Identifier: BSD-3-Clause
// The functions of one IOMMU group: they share an address space, belong to one VM, and are given back together.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "kvfio/dma_map.hpp"
#include "kvfio/kernel.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::kvfio {

/// One thread: the poller of all its members.
///
/// When the last client of a group has gone, the group is given back to the kernel as a whole and taken anew. So the
/// kernel itself resets each device and takes all memory out of the IOMMU, and a client that keeps a device's
/// descriptor beyond its connection is found out: until it closes it the kernel calls the group busy, and nobody else
/// is served.
class Group {
 public:
  class Member {
   public:
    virtual ~Member() = default;
    [[nodiscard]] virtual Result<void> open(KernelDomain& domain) = 0;
    virtual void close() noexcept = 0;
    /// The member's client and the IOMMU do not agree on its memory any more: its device is to reach for none, and the
    /// client to go. `why`: static text.
    virtual void memory_failed(const char* why) noexcept = 0;
  };

  Group(Kernel& kernel, unsigned number, runtime::Poller& poller);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  [[nodiscard]] unsigned number() const noexcept { return number_; }
  [[nodiscard]] bool is_at(const runtime::Poller& poller) const noexcept { return &poller_ == &poller; }
  /// Opens the member's device. busy, permission, not_found, not_supported as Kernel and KernelDomain.
  [[nodiscard]] Result<void> join(Member& member);
  void leave(Member& member) noexcept;
  /// The bit of a member in dma().
  [[nodiscard]] OwnerBit bit_of(const Member& member) const noexcept;

  /// A client of the member came. An error when its device cannot be had (again).
  [[nodiscard]] Result<void> client_came(Member& member);
  /// It went: `ready` is called when the next may come, at once or later. `is_lost`: the host wants the device back; it
  /// is closed and stays so until the next client.
  void client_went(Member& member, bool is_lost, std::function<void()> ready);

  /// The host wants the member's device back, and it has no client: closed until the next one comes.
  void let_go(Member& member) noexcept;

  /// nullptr while the group is given back.
  [[nodiscard]] KernelDomain* domain() noexcept { return domain_.get(); }
  [[nodiscard]] DmaMap& dma() noexcept { return dma_; }
  [[nodiscard]] const DmaMap& dma() const noexcept { return dma_; }
  /// As dma()'s, for the member. What the kernel refuses to take back is the end of all clients of the group.
  [[nodiscard]] Result<void> map(const Member& member, const DmaMap::Request& request) noexcept;
  [[nodiscard]] Result<void> unmap(const Member& member, Iova start, ByteCount size) noexcept;
  [[nodiscard]] Result<void> unmap_all(const Member& member) noexcept;
  /// Pins in the background what dma() has promised.
  void pin_later() noexcept;
  /// Pins it now: a device is about to reach for it. False if it cannot be; the members know then.
  bool pin_now() noexcept;
  /// True while no member but this one has a client.
  [[nodiscard]] bool is_alone(const Member& member) const noexcept;

  // --- from a process to the next ---
  [[nodiscard]] bool can_adopt() const noexcept { return kernel_.can_adopt(); }
  /// As join(), but that nothing is opened: adopt() or open_when_free() comes next.
  [[nodiscard]] Result<void> join_closed(Member& member);
  /// The domain that another process had, of which the member is about to take its device. Members of one group adopt
  /// the same one, all of them before the first goes on.
  [[nodiscard]] Result<KernelDomain*> adopt_domain(const state::FdBag& fds);
  /// The member's device is open, it has a client, and adopted ranges of dma().
  void adopted(Member& member) noexcept;
  /// What it has adopted is nothing to go on with: forgotten. Nothing is asked of the kernel.
  void disown(Member& member) noexcept;
  /// After the last adopted(): what that process had mapped and not kept is taken out of the IOMMU, before a request is
  /// answered. `running`: the members whose devices master the bus.
  void settle_adopted(const std::function<bool(const Member&)>& is_running) noexcept;
  /// Opens the member's device once nobody holds it any more, and calls `ready`, or at once if it is open.
  void open_when_free(Member& member, std::function<void()> ready);

 private:
  struct Membership {
    Member* member = nullptr;
    bool has_client = false, is_open = false, is_lost = false;
    std::function<void()> ready;
  };
  [[nodiscard]] Membership& seat_of(const Member& member) noexcept;
  [[nodiscard]] Result<Membership*> free_seat();
  [[nodiscard]] Result<void> open(Membership& seat);
  void close(Membership& seat) noexcept;
  void give_back() noexcept;
  void drop_idle_domain() noexcept;
  void take_anew() noexcept;
  void pin_piece() noexcept;
  bool settle(const Result<void>& pinned) noexcept;
  void memory_failed(const char* why) noexcept;

  Kernel& kernel_;
  unsigned number_;
  runtime::Poller& poller_;
  std::vector<Membership> seats_;  // by OwnerBit; a seat without member is free
  std::unique_ptr<KernelDomain> domain_;
  DmaMap dma_;
  runtime::Timer retry_, pinning_;
  unsigned attempts_ = 0;
  bool is_adopted_ = false;  // domain_ is another process's, and not settled yet
};

/// The groups that are held of one kernel: whoever opens devices through it asks here, so that functions of a group
/// share it. The calls of all threads must be one after the other (the control thread's doing).
class Groups {
 public:
  /// `kernel` must outlive all groups.
  explicit Groups(Kernel& kernel) noexcept : kernel_(kernel) {}
  /// not_supported: the group is held, and another thread's.
  [[nodiscard]] Result<std::shared_ptr<Group>> get(unsigned number, runtime::Poller& poller);

 private:
  Kernel& kernel_;
  std::map<unsigned, std::weak_ptr<Group>> groups_;
};

}  // namespace vmux::kvfio
