// SPDX-License-Identifier: BSD-3-Clause
// Tables of counters: a counter is a member of a struct and a row of that struct's table, from which statistics,
// metrics and documentation come. None of them names it elsewhere.
#pragma once

#include <cstdint>

namespace vmux {

/// How a counter moves: what reads it decides by that whether it may ask for its rate.
enum class CounterKind : unsigned char {
  total,  ///< only goes up, from the start of what is counted
  now,    ///< as it is at the moment, or has been at most
};

/// What whoever reads a counter is told.
struct CounterText {
  const char* name;  ///< "rx.missed"
  const char* unit;  ///< what is counted: "frames", "bytes", "nanoseconds"
  const char* help;  ///< half a sentence
  CounterKind kind = CounterKind::total;
};

/// A row of the table of `Counters`, which is a struct of them or whatever else knows their values.
template <class Counters>
struct CounterRow {
  CounterText text;
  std::uint64_t (*get)(const Counters& counters) noexcept;
};

namespace detail {

template <class>
struct MemberOf;
template <class Class, class Type>
struct MemberOf<Type Class::*> {
  using ClassType = Class;
};

}  // namespace detail

/// For a row of a struct: one of its members, a Counter or a plain number, divided where it is kept in a smaller unit.
template <auto Member, std::uint64_t Divisor = 1>
[[nodiscard]] std::uint64_t count_of(const typename detail::MemberOf<decltype(Member)>::ClassType& counters) noexcept {
  if constexpr (requires { (counters.*Member).get(); }) {
    return (counters.*Member).get() / Divisor;
  } else {
    return (counters.*Member) / Divisor;
  }
}

}  // namespace vmux
