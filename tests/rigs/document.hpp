// SPDX-License-Identifier: BSD-3-Clause
// For tests: sections of pages that are written from tables. A page has `begin: NAME` and `end: NAME` in comments of
// its own; what stands between is compared, or written where VMUX_WRITE_DOCUMENTS is set.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace vmux::test {

[[nodiscard]] inline std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream{path}.rdbuf();
  return text.str();
}

/// `text` is lines. `path` from the top of the sources.
inline void expect_section(const std::string& path, const std::string& name, const std::string& text) {
  const std::string file = VMUX_SOURCE_DIR "/" + path;
  const std::string page = content_of(file);
  const std::size_t begin = page.find('\n', page.find("begin: " + name + " "));
  const std::size_t mark = page.find("end: " + name + " ", begin);
  ASSERT_TRUE(begin != std::string::npos && mark != std::string::npos) << path << " has no section " << name;
  const std::size_t end = page.rfind('\n', mark) + 1;
  if (std::getenv("VMUX_WRITE_DOCUMENTS") != nullptr) {
    std::ofstream{file} << page.substr(0, begin + 1) << text << page.substr(end);
    return;
  }
  EXPECT_EQ(page.substr(begin + 1, end - begin - 1), text)
      << path << ", section " << name << ": VMUX_WRITE_DOCUMENTS=1 in this test's environment writes it";
}

}  // namespace vmux::test
