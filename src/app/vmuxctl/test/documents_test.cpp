// SPDX-License-Identifier: BSD-3-Clause
// What is written for people about this program says what the program does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "app/vmuxctl/commands.hpp"
#include "app/vmuxctl/host/commands.hpp"
#include "base/text/text.hpp"
#include "host/describe/description.hpp"

namespace vmux::app {
namespace {

using testing::HasSubstr;

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream{VMUX_SOURCE_DIR "/" + path}.rdbuf();
  return text.str();
}

/// With the lines in force that are there to be taken: "#count = 4", but not "# Pages of 1G".
std::string in_force(const std::string& text) {
  std::string out;
  for (const std::string_view line : split(text, '\n')) {
    std::string taken{line};
    const std::size_t mark = taken.find_first_not_of(' ');
    const bool is_prose = taken.size() > mark + 2 && taken[mark + 1] == ' ' && taken[mark + 2] != ' ';
    if (mark != std::string::npos && taken[mark] == '#' && !is_prose) taken.erase(mark, 1);
    out += taken + '\n';
  }
  return out;
}

TEST(Examples, OfAHostSayTheSameInBothForms) {
  const std::string toml = content_of("dist/vmux-host.toml"), yaml = content_of("dist/vmux-host.yaml");
  const auto read = [](const std::string& text, host::FileFormat format) {
    const auto description = host::parse_description(text, "example", format);
    return description ? host::to_toml(*description) : description.error().text;
  };
  EXPECT_THAT(read(toml, host::FileFormat::toml), HasSubstr("count = 1024"));
  EXPECT_EQ(read(yaml, host::FileFormat::yaml), read(toml, host::FileFormat::toml));
  EXPECT_THAT(read(in_force(toml), host::FileFormat::toml), HasSubstr("52:54:00:00:10:00"));
  EXPECT_EQ(read(in_force(yaml), host::FileFormat::yaml), read(in_force(toml), host::FileFormat::toml));
}

/// As it is read: without the marks of troff.
std::string manual(const std::string& page) {
  std::string text;
  for (const char c : content_of("docs/man/" + page))
    if (c != '\\') text += c;
  return text;
}

TEST(Manual, HasEveryCommandAndOption) {
  const std::string page = manual("vmuxctl.1");
  for (const Command& command : commands()) {
    EXPECT_THAT(page, HasSubstr(command.name));
    for (const Argument& argument : command.arguments)
      EXPECT_THAT(page, HasSubstr(argument.option)) << command.name;
  }
  for (const char* option :
       {"--json", "--rpc", "--timeout", "--wait", "--color", "--columns", "--filter", "--no-headings"})
    EXPECT_THAT(page, HasSubstr(option));
}

TEST(Manual, OfTheHostHasEveryCommand) {
  const std::string page = manual("vmuxctl-host.8");
  for (const HostCommand& command : host_commands())
    EXPECT_THAT(page, HasSubstr(std::string{".B "} + command.name)) << command.name;
}

}  // namespace
}  // namespace vmux::app
