// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/state_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vmux::app {
namespace {

using control::Json;
using control::Outcome;

class StateFile : public testing::Test {
 protected:
  StateFile() {
    std::filesystem::create_directory(directory_);
    call_.file = directory_ / "state";
  }
  ~StateFile() override { std::filesystem::remove_all(directory_); }
  void uses(const char* name) {
    for (const Command& command : commands()) {
      if (command.group == "port" && command.name == name) call_.command = &command;
    }
  }
  [[nodiscard]] std::string content() const {
    std::ostringstream text;
    text << std::ifstream{call_.file}.rdbuf();
    return text.str();
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{directory_}, {}));
  }
  static Outcome<Json> write(int file, std::string_view text) {
    EXPECT_EQ(::pwrite(file, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return Json{{"name", "vm0"}, {"bytes", text.size()}};
  }

  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("vmux-state-file-" + std::to_string(::getpid()));
  Call call_;
};

TEST_F(StateFile, OfASaveIsWrittenWholeForItsOwnerOnly) {
  uses("save");
  std::ofstream{call_.file} << "an older and longer state";
  const auto done = with_file(call_, [](int file) { return write(file, "state"); });
  ASSERT_TRUE(done);
  EXPECT_EQ((*done)["file"], call_.file);
  EXPECT_EQ(content(), "state");
  struct stat status {};
  ASSERT_EQ(::stat(call_.file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(StateFile, StaysWhatItWasWhenTheDaemonRefuses) {
  uses("save");
  std::ofstream{call_.file} << "older";
  const auto done = with_file(
      call_, [](int) -> Outcome<Json> { return control::refuse(control::ProblemKind::not_supported, "", "no"); });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().text, "no");
  EXPECT_EQ(content(), "older");
  EXPECT_EQ(files(), 1u);
}

TEST_F(StateFile, ThatCannotBeWrittenIsToldByName) {
  uses("save");
  call_.file = directory_ / "absent" / "state";
  const auto done = with_file(call_, [](int file) { return write(file, "state"); });
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().text.find(call_.file), std::string::npos) << done.error().text;
}

TEST_F(StateFile, OfARestoreGoesAlong) {
  uses("restore");
  std::ofstream{call_.file} << "state";
  const auto done = with_file(call_, [](int file) -> Outcome<Json> {
    std::string text(64, '\0');
    text.resize(static_cast<std::size_t>(::pread(file, text.data(), text.size(), 0)));
    return Json{{"text", text}};
  });
  ASSERT_TRUE(done);
  EXPECT_EQ((*done)["text"], "state");
}

TEST_F(StateFile, ThatIsAbsentOrTooLargeIsNotSent) {
  uses("restore");
  bool is_asked = false;
  const auto ask = [&](int) -> Outcome<Json> {
    is_asked = true;
    return Json();
  };
  EXPECT_FALSE(with_file(call_, ask));
  std::ofstream{call_.file} << std::string((4 << 20) + 1, 'x');
  const auto large = with_file(call_, ask);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().text, call_.file + " is larger than any saved state");
  EXPECT_FALSE(is_asked);
}

TEST_F(StateFile, NoneIsUsedByOtherCommands) {
  uses("show");
  ASSERT_TRUE(with_file(call_, [](int file) -> Outcome<Json> {
    EXPECT_EQ(file, -1);
    return Json::object();
  }));
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace vmux::app
