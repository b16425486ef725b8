// SPDX-License-Identifier: BSD-3-Clause
// What a guest sees of a physical function's configuration space: all that the kernel shows, without the capabilities
// that must not reach a guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::passthrough {

/// A row of the table of what is kept from guests.
struct HiddenCapability {
  bool is_extended;
  std::uint16_t id;
  const char* name;
  const char* why;
};
[[nodiscard]] std::span<const HiddenCapability> hidden_capabilities() noexcept;

struct MsixFacts {
  std::size_t control = 0;  ///< where the message control register is
  std::uint32_t vectors = 0;
  pci::Region table_bar{}, pba_bar{};
  std::uint64_t table_offset = 0, pba_offset = 0;
};

class ConfigView {
 public:
  ConfigView() = default;  ///< of nothing
  /// `bytes`: all of configuration space, as the kernel shows it.
  explicit ConfigView(std::span<const std::byte> bytes);

  /// Turns what was just read at `at` into what a guest sees.
  void filter(std::size_t at, std::span<std::byte> bytes) const noexcept;
  /// Calls `write(at, bytes)` for each run of bytes that a guest may write.
  void split(std::size_t at, std::span<const std::byte> bytes,
             const std::function<void(std::size_t, std::span<const std::byte>)>& write) const;

  [[nodiscard]] const std::optional<MsixFacts>& msix() const noexcept { return msix_; }
  [[nodiscard]] std::size_t express() const noexcept { return express_; }  ///< 0: none
  /// What was found and is not shown.
  [[nodiscard]] const std::vector<const HiddenCapability*>& hidden() const noexcept { return hidden_; }

 private:
  struct Capability {
    std::size_t at;
    std::uint16_t id;
    std::uint16_t next;
    const HiddenCapability* hidden;
  };
  void walk_standard(std::span<const std::byte> bytes);
  void walk_extended(std::span<const std::byte> bytes);
  void hide(const std::vector<Capability>& chain, std::size_t at, std::size_t limit);
  void set(std::size_t at, std::uint8_t value, std::uint8_t mask = 0xff);

  struct Patch {
    std::size_t at;
    std::uint8_t value, mask;  ///< of the bits in mask
  };
  struct Gap {
    std::size_t begin, end;  ///< reads as zero, cannot be written
  };
  std::vector<Patch> patches_;
  std::vector<Gap> gaps_;
  std::vector<const HiddenCapability*> hidden_;
  std::optional<MsixFacts> msix_;
  std::size_t express_ = 0;
};

}  // namespace vmux::passthrough
