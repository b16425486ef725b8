// SPDX-License-Identifier: BSD-3-Clause
// Words that people mistype. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmux {

/// That of `known` which `word` was probably meant to be: a few letters off (one for each three), or its beginning.
/// Case, '_' and '-' do not count. nullopt: none is close, or several are equally.
[[nodiscard]] std::optional<std::string> closest(std::string_view word, const std::vector<std::string>& known);

/// "; did you mean 'socket'?", or nothing: for the end of a sentence.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

/// Those of `known` that begin with `word`; a word that is one of them is that one alone.
[[nodiscard]] std::vector<std::string> beginning_with(std::string_view word, const std::vector<std::string>& known);

}  // namespace vmux
