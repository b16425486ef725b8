// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "intel/queue_config.hpp"

namespace vmux::intel {

/// For a log line.
[[nodiscard]] constexpr const char* text_of(Fault fault) noexcept {
  constexpr const char* kTexts[] = {
      "none",
      "descriptor ring outside guest memory",
      "tail beyond the ring",
      "buffer outside guest memory",
      "descriptor that makes no sense",
      "frame that is too long",
  };
  return kTexts[static_cast<unsigned>(fault)];
}

}  // namespace vmux::intel
