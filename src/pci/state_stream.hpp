// SPDX-License-Identifier: BSD-3-Clause
// A function's image in pieces, as VFIO's migration moves it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmux/pci/device.hpp"

namespace vmux::pci {

class Function;

class StateStream final : public Migratable {
 public:
  explicit StateStream(Function& function) noexcept : function_(function) {}

  Result<void> enter(MigrationState to) override;
  Result<std::size_t> save(std::span<std::byte> into) override;
  Result<void> load(std::span<const std::byte> from) override;

  /// A migration that is under way, for whoever goes on with it.
  struct Saved {
    static constexpr std::string_view kSection = "pci.stream";
    static constexpr std::uint16_t kVersion = 1;
    static constexpr std::size_t kMostBytes = std::size_t{4} << 20;  ///< no state of a device is larger
    std::vector<std::uint8_t> image;
    std::uint32_t position = 0;
    bool is_loading = false;
    bool is_paused = false;  ///< so it stays
    static void describe(auto& fields, auto& self) {
      fields.list("image", self.image, kMostBytes);
      fields("position", self.position);
      fields("is_loading", self.is_loading);
      fields("is_paused", self.is_paused);
    }
  };
  void keep(Saved& into) const;
  /// False: there is no such place in the image.
  [[nodiscard]] bool go_on(const Saved& from);

 private:
  Function& function_;
  std::vector<std::byte> image_;  // of a save what was taken, of a load what has come so far
  std::size_t position_ = 0;      // of the next byte that save() gives
  bool is_loading_ = false;
};

}  // namespace vmux::pci
