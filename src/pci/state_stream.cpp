// SPDX-License-Identifier: BSD-3-Clause
#include "pci/state_stream.hpp"

#include <algorithm>
#include <utility>

#include "base/logf.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::pci {

Result<void> StateStream::enter(MigrationState to) {
  const bool was_loading = std::exchange(is_loading_, to == MigrationState::resuming);
  const auto image = std::exchange(image_, {});
  position_ = 0;
  if (was_loading) {
    if (auto loaded = function_.load(image); !loaded) {
      logf(LogLevel::error, "{}: {}", function_.name(), loaded.error());
      return fail(Errc::invalid_argument, "the saved state cannot be used");
    }
  }
  if (to == MigrationState::running) {
    function_.resume();
  } else {
    function_.pause();
  }
  if (to == MigrationState::stop_copy) image_ = function_.save();
  return {};
}

Result<std::size_t> StateStream::save(std::span<std::byte> into) {
  const std::size_t count = std::min(image_.size() - position_, into.size());
  std::copy_n(image_.begin() + static_cast<std::ptrdiff_t>(position_), count, into.begin());
  position_ += count;
  return count;
}

Result<void> StateStream::load(std::span<const std::byte> from) {
  if (from.size() > Saved::kMostBytes - image_.size()) {
    return fail(Errc::invalid_argument, "the saved state is larger than any this program writes");
  }
  image_.insert(image_.end(), from.begin(), from.end());
  return {};
}

void StateStream::keep(Saved& into) const {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(image_.data());
  into.image.assign(bytes, bytes + image_.size());
  into.position = static_cast<std::uint32_t>(position_);
  into.is_loading = is_loading_;
}

bool StateStream::go_on(const Saved& from) {
  if (from.position > from.image.size()) return false;
  const auto* const bytes = reinterpret_cast<const std::byte*>(from.image.data());
  image_.assign(bytes, bytes + from.image.size());
  position_ = from.position;
  is_loading_ = from.is_loading;
  return true;
}

}  // namespace vmux::pci
