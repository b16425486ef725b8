// SPDX-License-Identifier: BSD-3-Clause
// Bytes back into state. The bytes are somebody else's: every length is checked, nothing is allocated by their word
// alone, nothing throws.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/state/format.hpp"

namespace vmux::state {

/// The fields of one section on their way in: what describe() is given when a state is loaded. After the first problem
/// nothing more is stored. A field that an older version did not have keeps the value that it has.
class FieldReader {
 public:
  FieldReader(std::span<const std::byte> bytes, bool is_older) noexcept : rest_(bytes), is_older_(is_older) {}

  template <class T>
  void operator()(std::string_view name, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t raw = value ? 1 : 0;
      number(name, raw);
      if (raw > 1) return refuse(name, "is neither true nor false");
      value = raw != 0;
    } else if constexpr (std::unsigned_integral<T>) {
      number(name, value);
    } else {
      T::describe(*this, value);
    }
  }
  template <class Tag, std::unsigned_integral Rep>
  void operator()(std::string_view name, Strong<Tag, Rep>& value) {
    number(name, value.raw);
  }
  template <class T, std::size_t Count>
  void operator()(std::string_view name, std::array<T, Count>& values) {
    for (auto& value : values)
      (*this)(name, value);
  }
  template <class T>
  void operator()(std::string_view name, std::optional<T>& value) {
    bool is_there = value.has_value();
    (*this)(name, is_there);
    if (!is_there || why_ != nullptr) return value.reset();
    if (!value) value.emplace();
    (*this)(name, *value);
  }
  template <class E>
  requires std::is_enum_v<E>
  void one_of(std::string_view name, E& value, E last) {
    using Raw = std::make_unsigned_t<std::underlying_type_t<E>>;
    auto raw = static_cast<Raw>(value);
    number(name, raw);
    if (raw > static_cast<Raw>(last)) return refuse(name, "has a value that this version does not know");
    value = static_cast<E>(raw);
  }
  template <class T>
  void list(std::string_view name, std::vector<T>& values, std::size_t most) {
    std::uint32_t count = static_cast<std::uint32_t>(values.size());
    if (!may_begin(name, sizeof count)) return;
    number(name, count);
    if (count > most) return refuse(name, "is longer than this version's table");
    if (count > rest_.size()) return refuse(name, "is longer than its section");  // each element has a byte at least
    values.assign(count, T{});
    if constexpr (std::is_same_v<T, std::uint8_t>) return bytes(name, std::as_writable_bytes(std::span{values}));
    for (auto& value : values) {
      if (why_ != nullptr) return;
      (*this)(name, value);
    }
  }
  void text(std::string_view name, std::string& value, std::size_t longest);
  void bytes(std::string_view name, std::span<std::byte> value);

  /// For describe() to say that a value cannot be: an index beyond its table, say. `why` is static text.
  void refuse(std::string_view name, const char* why) noexcept;

  [[nodiscard]] const char* why() const noexcept { return why_; }
  [[nodiscard]] std::string_view where() const noexcept { return where_; }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

 private:
  template <std::unsigned_integral T>
  void number(std::string_view name, T& value) {
    if (!may_begin(name, sizeof value)) return;
    Le<T> wire;
    std::memcpy(&wire, rest_.data(), sizeof wire);
    rest_ = rest_.subspan(sizeof wire);
    value = wire;
  }
  /// True when `size` bytes are there to be read. An older section may end before any field.
  [[nodiscard]] bool may_begin(std::string_view name, std::size_t size) noexcept;

  std::span<const std::byte> rest_;
  bool is_older_;
  const char* why_ = nullptr;
  std::string_view where_;
};

/// An image whose header, sizes and checksums are right. It borrows the bytes.
class Reader {
 public:
  /// What is wrong with an image that cannot be used, in words for people.
  using Complaint = std::string;

  [[nodiscard]] static tl::expected<Reader, Complaint> open(std::span<const std::byte> image);

  [[nodiscard]] bool has(std::string_view name) const noexcept { return find(name) != nullptr; }
  /// Loads the section that `into` names. On a complaint `into` may be half loaded: load into a copy and take that over
  /// when all is well.
  template <Section T>
  [[nodiscard]] tl::expected<void, Complaint> load(T& into) {
    auto* const found = find(T::kSection);
    if (found == nullptr) return tl::unexpected(complain(T::kSection, "is missing"));
    FieldReader fields{found->bytes, found->version < T::kVersion};
    T::describe(fields, into);
    if (fields.why() != nullptr) return tl::unexpected(complain(T::kSection, fields.why(), fields.where()));
    // A newer version has appended fields, which older ones do without.
    if (found->version <= T::kVersion && fields.left() != 0) {
      return tl::unexpected(complain(T::kSection, "is longer than its version says"));
    }
    found->is_read = true;
    return {};
  }
  /// After the last load(): complains when an essential section was not asked for.
  [[nodiscard]] tl::expected<void, Complaint> finish() const;

 private:
  struct Entry {
    std::string_view name;
    std::uint16_t version;
    bool is_essential;
    std::span<const std::byte> bytes;
    bool is_read = false;
  };
  [[nodiscard]] const Entry* find(std::string_view name) const noexcept;
  [[nodiscard]] Entry* find(std::string_view name) noexcept {
    return const_cast<Entry*>(std::as_const(*this).find(name));
  }
  [[nodiscard]] static Complaint complain(std::string_view section, const char* why, std::string_view field = {});

  std::vector<Entry> entries_;
};

}  // namespace vmux::state
