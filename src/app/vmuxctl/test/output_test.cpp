// SPDX-License-Identifier: BSD-3-Clause
#include "app/output.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>

namespace vmux::app {
namespace {

struct Close {
  void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
};
using File = std::unique_ptr<std::FILE, Close>;

File open_file(const char* path) { return File{std::fopen(path, "w+")}; }
File scratch() { return File{std::tmpfile()}; }
std::string content_of(std::FILE* file) {
  std::rewind(file);
  std::string text(4096, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  return text;
}

constexpr const char* kFull = "vmuxctl: cannot write the output: No space left on device\n";

TEST(Output, ThatArrivesKeepsTheStatus) {
  const File out = scratch(), err = scratch();
  EXPECT_EQ(print_and_finish("vmuxctl", "found\n", 1, out.get(), err.get()), 1);
  EXPECT_EQ(content_of(out.get()), "found\n");
  EXPECT_EQ(content_of(err.get()), "");
}

TEST(Output, OnAFullDiskFailsAndSaysSo) {
  const File out = open_file("/dev/full"), err = scratch();
  ASSERT_NE(out, nullptr);
  EXPECT_EQ(print_and_finish("vmuxctl", "found\n", 0, out.get(), err.get()), 1);
  EXPECT_EQ(content_of(err.get()), kFull);
}

TEST(Output, ThatIsNotBufferedFailsToo) {
  const File out = open_file("/dev/full"), err = scratch();
  ASSERT_EQ(std::setvbuf(out.get(), nullptr, _IONBF, 0), 0);
  EXPECT_EQ(print_and_finish("vmuxctl", "found\n", 0, out.get(), err.get()), 1);
  EXPECT_EQ(content_of(err.get()), kFull);
}

TEST(Output, OnAFullDiskKeepsTheWorseStatus) {
  const File out = open_file("/dev/full"), err = scratch();
  EXPECT_EQ(print_and_finish("vmuxctl", "{}\n", 2, out.get(), err.get()), 2);
  EXPECT_EQ(content_of(err.get()), kFull);
}

TEST(Output, ThatFailedLongBeforeTheEndFails) {
  const File out = open_file("/dev/full"), err = scratch();
  const std::string much(1 << 16, 'x');
  EXPECT_LT(std::fputs(much.c_str(), out.get()) + std::fflush(out.get()), 0);
  EXPECT_EQ(finish("vfu-info", 0, out.get(), err.get()), 1);
}

TEST(Output, OfNothingHasNothingToLose) {
  const File out = open_file("/dev/full"), err = scratch();
  EXPECT_EQ(print_and_finish("vmuxctl", "", 0, out.get(), err.get()), 0);
}

}  // namespace
}  // namespace vmux::app
