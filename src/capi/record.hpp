// SPDX-License-Identifier: BSD-3-Clause
// What a context leaves when its process dies, for programs that ask for it (vmux_record()): the library's state as an
// image, the streams, and which descriptors somebody has to keep.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ipc/stream_record.hpp"
#include "vfio-user/vmux-extensions.h"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/state/control_slots.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::capi {

struct Message;
struct SavedContext;

/// A number that is kept means one thing from keep() to drop(): what the image names has a descriptor of its own, and
/// none of them is closed before the image that does without it counts. For the thread that serves the context, but for
/// twin(), which is of whoever has the link's lock.
class Record {
 public:
  struct Keeper {
    vmux_keep_fd_cb_t* keep = nullptr;
    vmux_drop_fd_cb_t* drop = nullptr;
    void* argument = nullptr;
  };
  [[nodiscard]] static Result<std::unique_ptr<Record>> create(vfu_ctx& context, const Keeper& keeper);
  ~Record();
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  [[nodiscard]] std::array<int, VMUX_RECORD_FILES> files() const noexcept;
  [[nodiscard]] ipc::StreamRecord& stream() noexcept { return stream_; }
  [[nodiscard]] ipc::StreamRecord& twin() noexcept { return twin_; }

  // --- descriptors ---
  /// It has arrived, or goes out: before anything rests on it.
  void keep(int fd);
  /// A message is served with duplicates: whoever serves it again finds its descriptors under their numbers.
  void lend(Message& message);
  /// Closed when the image counts that does without it.
  [[nodiscard]] std::vector<UniqueFd>& closing() noexcept { return closing_; }
  /// SET_IRQS was done: `fds`, duplicates of what came with it, listen from vector `start` of this kind on.
  void set_listeners(std::uint32_t kind, std::uint32_t start, std::vector<UniqueFd> fds);
  void set_listener(const std::string& name, UniqueFd fd);
  /// What neither the image nor a message that waits needs is let go.
  void settle();

  // --- the image ---
  /// A request has changed what the image holds. What nobody can say (configuration space, pending bits) is compared.
  void set_changed() noexcept { is_changed_ = true; }
  /// The image as of now, if anything is different: its number. It says that there is no client where the link cannot
  /// be left.
  std::uint64_t write();
  /// The client is gone, as far as an image is concerned: before its descriptors are closed.
  void forget_client();
  /// The context ends for good: nobody goes on with it.
  void let_go_all();

 private:
  Record(vfu_ctx& context, const Keeper& keeper, state::ControlSlots slots, ipc::StreamRecord stream,
         ipc::StreamRecord twin) noexcept;
  [[nodiscard]] bool is_different() const noexcept;
  [[nodiscard]] std::span<const std::uint8_t> config_now() const noexcept;
  [[nodiscard]] std::string listener_name(std::uint32_t kind, std::uint32_t vector) const;
  void forget_listeners(const state::FdBag& routing);
  void fill(SavedContext& saved) const;
  void keep_all(const SavedContext& saved);

  vfu_ctx& context_;
  Keeper keeper_;
  state::ControlSlots slots_;
  ipc::StreamRecord stream_, twin_;
  std::set<int> kept_, needed_;  // needed_: by the image
  std::vector<UniqueFd> closing_;
  std::map<std::string, UniqueFd> listeners_;  // by the names of pci::Interrupts::save_routing(), and others
  bool is_changed_ = true, is_settled_ = true, is_client_gone_ = false;
  std::vector<std::uint8_t> config_;         // as the image has it
  std::array<std::uint64_t, 34> pending_{};  // the same
};

/// Takes over what a process left: 0, ENOTCONN (no client; what else there was is taken over) or EINVAL, after which
/// the context is of no use, and the client as it was.
[[nodiscard]] int restore(vfu_ctx& context, std::span<const int, VMUX_RECORD_FILES> files, vmux_find_fd_cb_t* find,
                          void* argument);

}  // namespace vmux::capi
