// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>
#include <stdlib.h>

#include "host/machine/machine.hpp"

namespace vmux::host {
namespace {

TEST(Run, GivesAProgramALanguageWhoseWordsCanBeRead) {
  ::setenv("LC_ALL", "de_DE.UTF-8", 1);
  ::setenv("LANGUAGE", "de", 1);
  const Ran ran = Machine{}.run({"sh", "-c", "echo \"$LC_ALL$LANGUAGE\"; test -n \"$PATH\""});
  ::unsetenv("LC_ALL");
  ::unsetenv("LANGUAGE");
  EXPECT_EQ(ran.out, "C\n");
  EXPECT_EQ(ran.status, 0) << "the rest of the environment is there";
}

TEST(Run, TellsOfAProgramThatIsNotThere) { EXPECT_EQ(Machine{}.run({"no-such-program-here"}).status, 127); }

}  // namespace
}  // namespace vmux::host
