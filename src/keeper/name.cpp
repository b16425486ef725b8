// SPDX-License-Identifier: BSD-3-Clause
#include "keeper/name.hpp"

#include <sys/prctl.h>

#include <cerrno>
#include <cstring>

namespace vmux::keeper {

// The C library keeps a pointer to the first word of the command line, which the kernel shows as it stands there now.
void show_name(const char* name, const char* word) noexcept {
  ::prctl(PR_SET_NAME, name);
  char* const first = ::program_invocation_name;
  const std::size_t room = std::strlen(first);
  for (std::size_t i = 0; i < room; ++i)
    first[i] = i < std::strlen(word) ? word[i] : '\0';
}

}  // namespace vmux::keeper
