// SPDX-License-Identifier: BSD-3-Clause
// A function's image in pieces, as VFIO's migration moves it.
//
// The stream is one or two images of state/format.hpp. The last is what the function was when it stopped. Before it,
// when the client began in PRE_COPY, comes a preview: the function while it still ran, so that a destination on which
// it cannot go on says so before the guest has stopped. A preview is marked, so that nobody takes it for the state of
// a stream that ended early.
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

  [[nodiscard]] bool supports_pre_copy() const noexcept override { return true; }
  [[nodiscard]] bool supports_p2p() const noexcept override { return true; }
  Result<void> enter(MigrationState to) override;
  Result<std::size_t> save(std::span<std::byte> into) override;
  /// An image is loaded, or a preview tried, when its last byte has come: the error is that of the write that had it.
  Result<void> load(std::span<const std::byte> from) override;

  /// A migration that is under way, for whoever goes on with it.
  struct Saved {
    static constexpr std::string_view kSection = "pci.stream";
    static constexpr std::uint16_t kVersion = 2;
    static constexpr std::size_t kMostBytes = std::size_t{4} << 20;  ///< no state of a device is larger
    std::vector<std::uint8_t> image;
    std::uint32_t position = 0;
    bool is_loading = false;
    bool is_paused = false;  ///< so it stays
    bool is_loaded = false;  ///< since version 2; the image had not been looked at before that
    static void describe(auto& fields, auto& self) {
      fields.list("image", self.image, 2 * kMostBytes);
      fields("position", self.position);
      fields("is_loading", self.is_loading);
      fields("is_paused", self.is_paused);
      fields("is_loaded", self.is_loaded);
    }
  };
  void keep(Saved& into) const;
  /// False: there is no such place in the image.
  [[nodiscard]] bool go_on(const Saved& from);
  [[nodiscard]] bool is_loading() const noexcept { return is_loading_; }

 private:
  Result<void> take_images();
  Result<void> take(std::span<const std::byte> image);

  Function& function_;
  std::vector<std::byte> image_;  // of a save what was taken, of a load what has come of an image and is not whole
  std::size_t position_ = 0;      // of the next byte that save() gives
  bool is_loading_ = false;
  bool is_loaded_ = false;  // the last image has come
};

}  // namespace vmux::pci
