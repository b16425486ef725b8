// SPDX-License-Identifier: BSD-3-Clause
// crowd: VMs' cards that all have traffic, and what they see of whoever serves them. For bench/survive and for tests,
// which end that process meanwhile.
#pragma once

#include <string>

namespace vmux::bench {

struct CrowdOptions {
  std::string directory;       ///< of the sockets vm0.sock ..., and register.sock
  unsigned ports = 2;          ///< even: they send to each other in pairs
  unsigned memory_mib = 64;    ///< that all of them have together, touched by both sides
  unsigned interval_us = 100;  ///< between two frames of a port
};

/// Serves commands on the standard input, one a line, until its end; answers on the standard output, a line of JSON
/// each: `begin` (a window begins), `end` (waits until every port has heard of its peer once more, and tells what was
/// seen since), `poison` and `poison delivery` (the first port sends a frame that a server of tests/poison dies of, as
/// it takes or delivers it). The exit code.
[[nodiscard]] int run_crowd(const CrowdOptions& options);

}  // namespace vmux::bench
