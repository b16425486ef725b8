// SPDX-License-Identifier: BSD-3-Clause
#include "pci/state_stream.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/logf.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/state/format.hpp"

namespace vmux::pci {
namespace {

constexpr const char* kUnusable = "the saved state cannot be used";

bool is_pre_copy(MigrationState state) noexcept {
  return state == MigrationState::pre_copy || state == MigrationState::pre_copy_p2p;
}
bool runs_in(MigrationState state) noexcept {
  return state == MigrationState::running || state == MigrationState::pre_copy;
}

}  // namespace

// A device begins no transfer in the P2P states, which for a model of ours is to be paused.
Result<void> StateStream::enter(MigrationState to) {
  if (is_loading_ && to != MigrationState::resuming) {
    is_loading_ = false;
    const auto done = take_images();
    const bool is_whole = std::exchange(image_, {}).empty() && std::exchange(is_loaded_, false);
    if (!done) return done;
    if (!is_whole) {
      logf(LogLevel::error, "{}: the saved state that its client has written is cut short", function_.name());
      return fail(Errc::invalid_argument, kUnusable);
    }
  }
  runs_in(to) ? function_.resume() : function_.pause();
  if (to == MigrationState::stop_copy) {
    // What is left of the preview comes first: the stream goes on where it was.
    image_.erase(image_.begin(),
                 image_.begin() + static_cast<std::ptrdiff_t>(position_ == 0 ? image_.size() : position_));
    const auto last = function_.save();
    image_.insert(image_.end(), last.begin(), last.end());
    position_ = 0;
  } else if (!is_pre_copy(to)) {
    image_.clear();
    position_ = 0;
  } else if (image_.empty()) {
    image_ = function_.save_running(Function::Purpose::preview);
  }
  is_loading_ = to == MigrationState::resuming;
  is_loaded_ = false;
  return {};
}

Result<std::size_t> StateStream::save(std::span<std::byte> into) {
  const std::size_t count = std::min(image_.size() - position_, into.size());
  std::copy_n(image_.begin() + static_cast<std::ptrdiff_t>(position_), count, into.begin());
  position_ += count;
  return count;
}

Result<void> StateStream::load(std::span<const std::byte> from) {
  if (from.size() > 2 * Saved::kMostBytes - image_.size()) {
    return fail(Errc::invalid_argument, "the saved state is larger than any this program writes");
  }
  image_.insert(image_.end(), from.begin(), from.end());
  return take_images();
}

/// Those that are whole.
Result<void> StateStream::take_images() {
  state::ImageHeader header;
  while (image_.size() >= sizeof header) {
    std::memcpy(&header, image_.data(), sizeof header);
    const bool is_image = header.magic == state::ImageHeader::kMagic && header.size >= sizeof header;
    if (!is_image || header.size > Saved::kMostBytes || is_loaded_) {
      logf(LogLevel::error, "{}: what its client has written {}", function_.name(),
           is_loaded_  ? "goes on behind its last image"
           : !is_image ? "is no saved state"
                       : "is larger than any state that this program writes");
      return fail(Errc::invalid_argument, kUnusable);
    }
    if (image_.size() < header.size) return {};
    const auto end = image_.begin() + static_cast<std::ptrdiff_t>(std::uint32_t{header.size});
    const std::vector<std::byte> whole{image_.begin(), end};
    image_.erase(image_.begin(), end);
    if (auto taken = take(whole); !taken) return taken;
  }
  return {};
}

Result<void> StateStream::take(std::span<const std::byte> image) {
  const bool is_preview = Function::is_preview(image);
  const auto loaded = is_preview ? function_.try_load(image) : function_.load(image);
  if (!loaded) {
    logf(LogLevel::error, "{}: {}", function_.name(), loaded.error());
    return fail(Errc::invalid_argument, kUnusable);
  }
  is_loaded_ = !is_preview;
  return {};
}

void StateStream::keep(Saved& into) const {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(image_.data());
  into.image.assign(bytes, bytes + image_.size());
  into.position = static_cast<std::uint32_t>(position_);
  into.is_loading = is_loading_;
  into.is_loaded = is_loaded_;
}

bool StateStream::go_on(const Saved& from) {
  if (from.position > from.image.size()) return false;
  const auto* const bytes = reinterpret_cast<const std::byte*>(from.image.data());
  image_.assign(bytes, bytes + from.image.size());
  position_ = from.position;
  is_loading_ = from.is_loading;
  is_loaded_ = from.is_loaded;
  return true;
}

}  // namespace vmux::pci
