// SPDX-License-Identifier: BSD-3-Clause
#include "base/descriptor_limit.hpp"

#include <sys/resource.h>

namespace vmux {

Result<DescriptorLimit> raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno("read the limit of file descriptors");
  const DescriptorLimit done{limit.rlim_cur, limit.rlim_max};
  limit.rlim_cur = limit.rlim_max;
  if (done.was != done.now && ::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return fail_errno("raise the limit of file descriptors");
  return done;
}

}  // namespace vmux
