// SPDX-License-Identifier: BSD-3-Clause
#include "preload/process/trace.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "preload/process/settings.hpp"

namespace vmux::preload {

void write_line(std::string_view line) noexcept {
  // One write per line, so that lines of threads and processes do not mix; the raw call, because write() is ours.
  std::array<char, 512> text;
  constexpr std::string_view name = "vmux-vfio: ";
  const std::size_t fits = std::min(line.size(), text.size() - name.size() - 1);
  std::memcpy(text.data(), name.data(), name.size());
  std::memcpy(text.data() + name.size(), line.data(), fits);
  text[name.size() + fits] = '\n';
  const int before = errno;
  (void)syscall(SYS_write, STDERR_FILENO, text.data(), name.size() + fits + 1);
  errno = before;
}

bool is_tracing() noexcept { return settings().trace; }

std::string result_text(long result) {
  if (result >= 0) return fmt::format("= {}", result);
  const char* name = strerrorname_np(static_cast<int>(-result));
  return fmt::format("= -1 {}", name == nullptr ? "E?" : name);
}

}  // namespace vmux::preload
