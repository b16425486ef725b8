// SPDX-License-Identifier: BSD-3-Clause
// Words that clients write without a message (vmux_watch()): in pages that they map, or by an eventfd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "vfio-user/vmux-extensions.h"
#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::capi {

/// For the thread that serves the context.
class Watches {
 public:
  /// See vmux_watch(): 0 or an errno.
  [[nodiscard]] int add(vfu_ctx& context, std::uint32_t region, std::uint64_t offset, std::uint32_t size,
                        std::uint32_t flags, vmux_watch_cb_t* callback, void* argument);
  [[nodiscard]] int remove(vfu_ctx& context, std::uint32_t region, std::uint64_t offset) noexcept;
  /// The eventfd of a word, or -1.
  [[nodiscard]] int event_fd(std::uint32_t region, std::uint64_t offset) const noexcept;
  [[nodiscard]] bool is_in(std::uint32_t region) const noexcept;

  /// See vmux_poll_watches().
  int poll(vfu_ctx& context);
  [[nodiscard]] bool empty() const noexcept { return watches_.empty(); }
  /// What is in memory now is no news.
  void rebase() noexcept;
  /// The client has been given this region's eventfds.
  void set_offered(std::uint32_t region) noexcept;
  /// Those that the client has: visit(region, offset, fd).
  template <class F>
  void for_each_offered(F&& visit) const {
    for (const Watch& watch : watches_) {
      if (watch.is_offered) visit(watch.region, watch.offset, watch.event.get());
    }
  }
  /// The client has `fd` for this word. False: it is not one with an eventfd.
  [[nodiscard]] bool set_offered(std::uint32_t region, std::uint64_t offset, const UniqueFd& fd) noexcept;
  /// Whatever they hold, the next poll() tells it: nobody knows what was told before.
  void tell_all() noexcept;
  /// It is gone, and what it counted with it.
  void forget_client() noexcept;

 private:
  struct Watch {
    std::uint32_t region, size;
    std::uint64_t offset;
    vmux_watch_cb_t* callback;  // nullptr: removed while its callback ran
    void* argument;
    std::shared_ptr<Mapping> page;
    const std::byte* at;
    std::uint64_t last;
    UniqueFd event;
    bool is_offered = false;  // the client may signal it
    bool is_untold = false;
  };
  struct Polling;
  void erase_removed() noexcept;
  [[nodiscard]] const Watch* find(std::uint32_t region, std::uint64_t offset) const noexcept;
  [[nodiscard]] static std::uint64_t load(const Watch& watch) noexcept;
  [[nodiscard]] std::shared_ptr<Mapping> map_page(vfu_ctx& context, std::uint32_t region, std::uint64_t page,
                                                  int& error);

  std::deque<Watch> watches_;  // places stay while callbacks add some
  bool is_polling_ = false, has_removed_ = false;
};

}  // namespace vmux::capi
