// SPDX-License-Identifier: BSD-3-Clause
#include "base/text/words.hpp"

#include <algorithm>
#include <cctype>

namespace vmux {
namespace {

constexpr std::size_t kLongest = 64;  // longer ones were not mistyped

std::string plain(std::string_view word) {
  std::string out{word};
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return out;
}

/// Letters that were left out, added, replaced or swapped with their neighbour: optimal string alignment.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before_last = last;
    last = row;
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> closest(std::string_view word, const std::vector<std::string>& known) {
  if (word.empty() || word.size() > kLongest) return std::nullopt;
  const std::string typed = plain(word);
  std::size_t best = std::max<std::size_t>(1, typed.size() / 3) + 1;
  const std::string* found = nullptr;
  for (const std::string& one : known) {
    const std::string candidate = plain(one);
    // What was not typed to its end is close, but less so than what was mistyped by a letter.
    const bool is_start = typed.size() >= 3 && candidate.rfind(typed, 0) == 0;
    const std::size_t off =
        is_start ? std::min<std::size_t>(1, candidate.size() - typed.size()) : distance(typed, candidate);
    if (off > best || off >= candidate.size()) continue;
    found = off == best ? nullptr : &one;  // of two that are as close, neither
    best = off;
  }
  const std::size_t allowed = std::max<std::size_t>(1, typed.size() / 3);
  return found == nullptr || best > allowed ? std::nullopt : std::optional{*found};
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const auto found = closest(word, known);
  return found ? "; did you mean '" + *found + "'?" : "";
}

std::vector<std::string> beginning_with(std::string_view word, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), word) != known.end()) return {std::string{word}};
  std::vector<std::string> found;
  std::copy_if(known.begin(), known.end(), std::back_inserter(found),
               [word](const std::string& one) { return one.compare(0, word.size(), word) == 0; });
  return found;
}

}  // namespace vmux
