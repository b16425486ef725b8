// SPDX-License-Identifier: BSD-3-Clause
// Memory of the program that a server reaches by DMA_READ and DMA_WRITE, because it has no descriptor.
#pragma once

#include <cstdint>
#include <map>

#include "preload/dma/dma_space.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::preload {

/// Guarded by its device's lock, which is held within the client's calls as well.
class MessageMemory final : public vfio_user::DmaTarget {
 public:
  void add(const DmaPiece& piece) { pieces_[piece.iova] = piece; }
  void remove(std::uint64_t iova) { pieces_.erase(iova); }
  void clear() { pieces_.clear(); }

  bool read(Iova from, std::span<std::byte> into) noexcept override;
  bool write(Iova to, std::span<const std::byte> from) noexcept override;

 private:
  /// Where it lies in the process, or nullptr when the range is not wholly there with that access.
  [[nodiscard]] std::byte* find(Iova at, std::size_t size, bool writable) const noexcept;
  std::map<std::uint64_t, DmaPiece> pieces_;
};

}  // namespace vmux::preload
