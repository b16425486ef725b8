// SPDX-License-Identifier: BSD-3-Clause
// Loads a kernel that takes over when this one panics (kexec_file_load(2); kexec-tools does the same and more).
//
//     kexec KERNEL INITRD COMMAND-LINE
// Exit status: 0, or the number of the step that failed.
#include "standalone.hpp"

void run(long argc, const char* const* argv) {
  constexpr long kOnCrash = 2;  // KEXEC_FILE_ON_CRASH, linux/kexec.h
  if (argc != 4) leave(1);
  const long kernel = must(2, call(kOpen, at(argv[1])));
  const long initrd = must(3, call(kOpen, at(argv[2])));
  must(4, call(kKexecFileLoad, kernel, initrd, static_cast<long>(length_of(argv[3]) + 1), at(argv[3]), kOnCrash));
  leave(0);
}
