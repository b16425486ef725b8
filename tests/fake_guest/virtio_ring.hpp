// SPDX-License-Identifier: BSD-3-Clause
// A driver's side of a virtqueue, split or packed: a second reading of the specification's chapters 2.7 and 2.8. It
// knows nothing of src/virtio.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <vector>

namespace vmux::fake_guest {

struct VirtioPart {
  std::uint64_t at = 0;
  std::uint32_t length = 0;
  bool is_for_device = false;  ///< the device writes to it
};

struct VirtioUsed {
  std::uint32_t token = 0, length = 0;
};

/// Where a ring is: addresses as the device sees them.
struct VirtioLayout {
  bool is_packed = false;
  std::uint16_t size = 0;
  std::uint64_t descriptors = 0, driver = 0, device = 0;
};

class VirtioRing {
 public:
  /// `memory` begins at the device's address `base`.
  VirtioRing(std::span<std::byte> memory, std::uint64_t base, const VirtioLayout& layout)
      : memory_(memory), base_(base), layout_(layout) {
    for (unsigned i = 0; i < layout.size; ++i)
      free_.push_back(static_cast<std::uint16_t>(layout.size - 1 - i));
  }

  /// Makes a chain available when publish() is called. `table`: where its descriptors go instead of the ring.
  void add(const std::vector<VirtioPart>& parts, std::uint32_t token, std::uint64_t table = 0) {
    layout_.is_packed ? add_packed(parts, token, table) : add_split(parts, token, table);
  }
  void publish() {
    if (layout_.is_packed) {
      if (!staged_) return;
      std::atomic_thread_fence(std::memory_order_release);
      put<std::uint16_t>(*staged_ + 14, staged_flags_);
      staged_.reset();
    } else {
      std::atomic_thread_fence(std::memory_order_release);
      put<std::uint16_t>(layout_.driver + 2, avail_);
    }
  }
  void post(const std::vector<VirtioPart>& parts, std::uint32_t token, std::uint64_t table = 0) {
    add(parts, token, table);
    publish();
  }
  [[nodiscard]] std::optional<VirtioUsed> take_used() { return layout_.is_packed ? used_packed() : used_split(); }
  [[nodiscard]] std::size_t free() const { return free_.size(); }

  /// No interrupt until the next want_interrupt().
  void refuse_interrupts(bool has_event_idx) {
    if (layout_.is_packed) return put<std::uint16_t>(layout_.driver + 2, 1);
    if (has_event_idx) return put<std::uint16_t>(used_event_at(), static_cast<std::uint16_t>(used_ - 1));
    put<std::uint16_t>(layout_.driver, 1);
  }
  /// One when `after` more chains (packed: descriptors) than now have been used.
  void want_interrupt(bool has_event_idx, std::uint16_t after = 1) {
    if (!has_event_idx) return put<std::uint16_t>(layout_.driver + (layout_.is_packed ? 2 : 0), 0);
    if (!layout_.is_packed) return put<std::uint16_t>(used_event_at(), static_cast<std::uint16_t>(used_ + after - 1));
    unsigned place = used_ + after - 1u;
    bool wrap = used_wrap_;
    if (place >= layout_.size) {
      place -= layout_.size;
      wrap = !wrap;
    }
    put<std::uint16_t>(layout_.driver, static_cast<std::uint16_t>(place | (wrap ? 0x8000u : 0u)));
    put<std::uint16_t>(layout_.driver + 2, 2);
  }
  /// Whether the device wants to hear of what has just been published. `count`: chains of that.
  [[nodiscard]] bool wants_kick(bool has_event_idx, std::uint16_t count = 1) const {
    if (layout_.is_packed) return get<std::uint16_t>(layout_.device + 2) == 0;
    if (!has_event_idx) return (get<std::uint16_t>(layout_.device) & 1) == 0;
    const auto event = get<std::uint16_t>(layout_.device + 4 + 8ull * layout_.size);
    return static_cast<std::uint16_t>(avail_ - event - 1) < count;
  }

  template <class T>
  [[nodiscard]] T get(std::uint64_t at) const {
    T value;
    std::memcpy(&value, memory_.data() + (at - base_), sizeof value);
    return value;
  }
  template <class T>
  void put(std::uint64_t at, T value) {
    std::memcpy(memory_.data() + (at - base_), &value, sizeof value);
  }
  [[nodiscard]] const VirtioLayout& layout() const { return layout_; }
  [[nodiscard]] std::uint16_t used_index() const { return used_; }

 private:
  static constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

  [[nodiscard]] std::uint64_t used_event_at() const { return layout_.driver + 4 + 2ull * layout_.size; }
  void write_descriptor(std::uint64_t at, std::uint64_t address, std::uint32_t length, std::uint16_t third,
                        std::uint16_t fourth) {
    put(at, address);
    put(at + 8, length);
    put(at + 12, third);
    put(at + 14, fourth);
  }
  static std::uint16_t write_flag(const VirtioPart& part) { return part.is_for_device ? kWrite : 0; }

  void add_split(const std::vector<VirtioPart>& parts, std::uint32_t token, std::uint64_t table) {
    std::vector<std::uint16_t> taken;
    for (std::size_t i = 0; i < (table != 0 ? 1 : parts.size()); ++i) {
      taken.push_back(free_.back());
      free_.pop_back();
    }
    if (table != 0) {
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool last = i + 1 == parts.size();
        write_descriptor(table + 16 * i, parts[i].at, parts[i].length,
                         static_cast<std::uint16_t>(write_flag(parts[i]) | (last ? 0 : kNext)),
                         static_cast<std::uint16_t>(last ? 0 : i + 1));
      }
      write_descriptor(layout_.descriptors + 16ull * taken[0], table, static_cast<std::uint32_t>(16 * parts.size()),
                       kIndirect, 0);
    } else {
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool last = i + 1 == parts.size();
        write_descriptor(layout_.descriptors + 16ull * taken[i], parts[i].at, parts[i].length,
                         static_cast<std::uint16_t>(write_flag(parts[i]) | (last ? 0 : kNext)),
                         last ? std::uint16_t{0} : taken[i + 1]);
      }
    }
    put<std::uint16_t>(layout_.driver + 4 + 2ull * (avail_ % layout_.size), taken[0]);
    ++avail_;
    owners_[taken[0]] = {token, taken};
  }

  std::optional<VirtioUsed> used_split() {
    if (get<std::uint16_t>(layout_.device + 2) == used_) return std::nullopt;
    std::atomic_thread_fence(std::memory_order_acquire);
    const std::uint64_t at = layout_.device + 4 + 8ull * (used_ % layout_.size);
    ++used_;
    return give_back(get<std::uint32_t>(at), get<std::uint32_t>(at + 4));
  }

  void add_packed(const std::vector<VirtioPart>& parts, std::uint32_t token, std::uint64_t table) {
    const std::uint16_t id = free_.back();
    free_.pop_back();
    const std::size_t count = table != 0 ? 1 : parts.size();
    if (table != 0) {
      for (std::size_t i = 0; i < parts.size(); ++i)
        write_descriptor(table + 16 * i, parts[i].at, parts[i].length, 0, write_flag(parts[i]));
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t at = layout_.descriptors + 16ull * avail_;
      auto flags = static_cast<std::uint16_t>(avail_wrap_ ? 0x80 : 0x8000);
      if (table != 0) {
        flags = static_cast<std::uint16_t>(flags | kIndirect);
        put(at, table);
        put(at + 8, static_cast<std::uint32_t>(16 * parts.size()));
      } else {
        flags = static_cast<std::uint16_t>(flags | write_flag(parts[i]) | (i + 1 < count ? kNext : 0));
        put(at, parts[i].at);
        put(at + 8, parts[i].length);
      }
      put(at + 12, id);
      if (!staged_) {  // the first one's flags are written last
        staged_ = at;
        staged_flags_ = flags;
      } else {
        put(at + 14, flags);
      }
      if (++avail_ == layout_.size) {
        avail_ = 0;
        avail_wrap_ = !avail_wrap_;
      }
    }
    owners_[id] = {token, std::vector<std::uint16_t>(count, id)};
  }

  std::optional<VirtioUsed> used_packed() {
    const std::uint64_t at = layout_.descriptors + 16ull * used_;
    const auto flags = get<std::uint16_t>(at + 14);
    if (((flags & 0x80) != 0) != used_wrap_ || ((flags & 0x8000) != 0) != used_wrap_) return std::nullopt;
    std::atomic_thread_fence(std::memory_order_acquire);
    const auto id = get<std::uint16_t>(at + 12);
    used_ = static_cast<std::uint16_t>(used_ + owners_.at(id).taken.size());
    if (used_ >= layout_.size) {
      used_ = static_cast<std::uint16_t>(used_ - layout_.size);
      used_wrap_ = !used_wrap_;
    }
    return give_back(id, get<std::uint32_t>(at + 8));
  }

  VirtioUsed give_back(std::uint32_t id, std::uint32_t length) {
    const auto owner = owners_.extract(static_cast<std::uint16_t>(id));
    if (layout_.is_packed) {
      free_.push_back(static_cast<std::uint16_t>(id));
    } else {
      for (const std::uint16_t descriptor : owner.mapped().taken)
        free_.push_back(descriptor);
    }
    return {owner.mapped().token, length};
  }

  struct Owner {
    std::uint32_t token = 0;
    std::vector<std::uint16_t> taken;
  };
  std::span<std::byte> memory_;
  std::uint64_t base_;
  VirtioLayout layout_;
  std::vector<std::uint16_t> free_;
  std::map<std::uint16_t, Owner> owners_;
  std::uint16_t avail_ = 0, used_ = 0;
  bool avail_wrap_ = true, used_wrap_ = true;
  std::optional<std::uint64_t> staged_;
  std::uint16_t staged_flags_ = 0;
};

}  // namespace vmux::fake_guest
