// SPDX-License-Identifier: BSD-3-Clause
// The files of page/, which the build puts into the program (cmake/VmuxEmbed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace vmux::app {

struct PageFile {
  std::string_view path;  ///< "/index.html"
  std::string_view type;  ///< of its content, for Content-Type
  std::string_view tag;   ///< another one when its content is another
  std::string_view content;
};
[[nodiscard]] std::span<const PageFile> page_files() noexcept;

}  // namespace vmux::app
