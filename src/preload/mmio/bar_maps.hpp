// SPDX-License-Identifier: BSD-3-Clause
// What the program has mapped of BARs, as the kernel would keep it: one record per VMA, cut where the program treats a
// part of it differently. Below a record lie pages that fault (registers) and memory that the server shares.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "preload/vfio/device/device.hpp"

namespace vmux::preload {

inline constexpr std::uint64_t kPage = 4096;
[[nodiscard]] constexpr std::uint64_t up_to_page(std::uint64_t size) noexcept {
  return (size + kPage - 1) & ~(kPage - 1);
}

struct BarMapping {
  std::uint64_t size = 0, offset = 0;  ///< offset in the region
  std::shared_ptr<Device> device;      ///< kept open, as a VMA keeps its file
  unsigned region = 0;
  int protection = 0;   ///< PROT_*: what the program may do here
  unsigned advice = 0;  ///< kept by madvise(): parts of different advice are different VMAs
};
inline constexpr unsigned kNotForked = 1, kRandom = 2, kSequential = 4, kHugePages = 8, kNoHugePages = 16;

/// All mappings of the process. The handler of faults looks addresses up here: whoever holds mutex() reaches no
/// register and no memory of the program.
class BarMaps {
 public:
  using Mappings = std::map<std::uint64_t, BarMapping>;
  /// Destroyed by the caller when it holds no lock: the last reference closes the device.
  using Released = std::vector<std::shared_ptr<Device>>;

  [[nodiscard]] static BarMaps& instance() noexcept;

  /// Two loads, for what lies elsewhere. No lock.
  [[nodiscard]] bool may_overlap(std::uint64_t start, std::uint64_t size) const noexcept {
    return start < highest_.load(std::memory_order_acquire) && start + size > lowest_.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

  // Under mutex(). `start` and `end` are multiples of the page size.
  [[nodiscard]] Mappings::iterator find(std::uint64_t address);  ///< the one that holds it, or end()
  [[nodiscard]] Mappings::iterator next(std::uint64_t address);  ///< the first that ends behind it, or end()
  [[nodiscard]] Mappings::iterator end() noexcept { return mappings_.end(); }
  void cut(std::uint64_t at);  ///< what holds `at` becomes two, of which one begins there
  void add(std::uint64_t start, BarMapping mapping, Released& released);
  void erase(std::uint64_t start, std::uint64_t end, Released& released);
  /// In a forked child: what madvise() kept from it.
  void erase_not_forked(Released& released);

  /// The program has something else there now.
  void forget(std::uint64_t start, std::uint64_t size);

 private:
  void measure() noexcept;
  std::mutex mutex_;
  Mappings mappings_;
  std::atomic<std::uint64_t> lowest_ = UINT64_MAX, highest_ = 0;
};

}  // namespace vmux::preload
