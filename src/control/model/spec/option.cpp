// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/spec/option.hpp"

#include <algorithm>

#include "base/text/format.hpp"

namespace vmux::control {

std::string flags_of(const OptionText& option) {
  if (option.flags != nullptr) return option.flags;
  std::string name = option.name;
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

std::string help_of(const OptionText& option) {
  const bool has_fallback = option.fallback != nullptr && *option.fallback != '\0';
  return has_fallback ? fmt::format("{} (default: {})", option.help, option.fallback) : option.help;
}

namespace {

struct Same {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return a == b;
  }
  bool operator()(const Account& a, const Account& b) const { return a.id == b.id; }
  bool operator()(const Members& a, const Members& b) const { return to_text(a) == to_text(b); }
  template <class A, class B>
  bool operator()(const A&, const B&) const {
    return false;
  }
};

}  // namespace

bool is_same(const std::optional<Value>& a, const std::optional<Value>& b) {
  return a && b ? std::visit(Same{}, *a, *b) : a.has_value() == b.has_value();
}

}  // namespace vmux::control
