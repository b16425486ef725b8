// SPDX-License-Identifier: BSD-3-Clause
// State into bytes. The same state gives the same bytes, whenever and wherever it is saved.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "vmux/base/strong.hpp"
#include "vmux/state/format.hpp"

namespace vmux::state {

/// The fields of one section on their way out: what describe() is given when a state is saved.
class FieldWriter {
 public:
  explicit FieldWriter(std::vector<std::byte>& into) noexcept : into_(into) {}

  /// Integers go lowest byte first, a bool as one byte, an array element by element, a described struct field by field.
  template <class T>
  void operator()(std::string_view name, const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      number<std::uint8_t>(value ? 1 : 0);
    } else if constexpr (std::unsigned_integral<T>) {
      number(value);
    } else {
      T::describe(*this, value);
    }
    static_cast<void>(name);
  }
  template <class Tag, std::unsigned_integral Rep>
  void operator()(std::string_view, const Strong<Tag, Rep>& value) {
    number(value.raw);
  }
  template <class T, std::size_t Count>
  void operator()(std::string_view name, const std::array<T, Count>& values) {
    for (const auto& value : values)
      (*this)(name, value);
  }
  /// An optional is a bool and, if that is true, its value.
  template <class T>
  void operator()(std::string_view name, const std::optional<T>& value) {
    (*this)(name, value.has_value());
    if (value) (*this)(name, *value);
  }
  /// An enumeration whose values run from 0 to `last`.
  template <class E>
  requires std::is_enum_v<E>
  void one_of(std::string_view, const E& value, E /*last*/) {
    number(static_cast<std::make_unsigned_t<std::underlying_type_t<E>>>(value));
  }
  /// As many elements as there are, at most `most`: more is a mistake of ours.
  template <class T>
  void list(std::string_view name, const std::vector<T>& values, std::size_t most) {
    count(values.size(), most);
    if constexpr (std::is_same_v<T, std::uint8_t>) return bytes({}, std::as_bytes(std::span{values}));
    for (const auto& value : values)
      (*this)(name, value);
  }
  void text(std::string_view, const std::string& value, std::size_t longest);
  /// Bytes of a size that both sides know.
  void bytes(std::string_view, std::span<const std::byte> value);

 private:
  template <std::unsigned_integral T>
  void number(T value) {
    const auto wire = std::bit_cast<std::array<std::byte, sizeof(T)>>(Le<T>{value});
    into_.insert(into_.end(), wire.begin(), wire.end());
  }
  void count(std::size_t size, std::size_t most);

  std::vector<std::byte>& into_;
};

/// Collects sections. For control state only: it allocates.
class Writer {
 public:
  Writer();
  /// Goes on behind the sections of an image that a Reader has opened.
  explicit Writer(std::vector<std::byte> image);

  /// Appends `value` as a section. Names are unique within an image; a second one of a name is a mistake of ours.
  template <Section T>
  void add(const T& value, Presence presence = Presence::essential) {
    const std::size_t at = begin(T::kSection, T::kVersion, presence);
    FieldWriter fields{image_};
    T::describe(fields, value);
    end(at);
  }
  /// The image; the writer is empty afterwards.
  [[nodiscard]] std::vector<std::byte> finish() &&;

 private:
  [[nodiscard]] std::size_t begin(std::string_view name, std::uint16_t version, Presence presence);
  void end(std::size_t at);

  std::vector<std::byte> image_;
  std::uint32_t sections_ = 0;
};

}  // namespace vmux::state
