// SPDX-License-Identifier: BSD-3-Clause
// Which pages of a fake guest's memory its processor, that is the test's own thread, writes: as KVM's log has it. The
// pages are read-only until they are written to; the card has a mapping of its own, which this does not touch.
#pragma once

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vmux::rigs {

/// One at a time.
class CpuLog {
 public:
  static constexpr std::size_t kPage = 4096;

  explicit CpuLog(std::span<std::byte> memory);
  ~CpuLog();  ///< all of it may be written again
  CpuLog(const CpuLog&) = delete;
  CpuLog& operator=(const CpuLog&) = delete;

  /// For each page whether it was written since the last call.
  [[nodiscard]] std::vector<bool> take();

 private:
  static void on_fault(int signal, siginfo_t* info, void* context);
  void protect(std::size_t page, std::size_t pages, int how) noexcept;

  static CpuLog* current_;
  std::span<std::byte> memory_;
  std::vector<std::uint8_t> written_;  // of a page, by the signal's handler
  struct sigaction before_ {};
};

}  // namespace vmux::rigs
