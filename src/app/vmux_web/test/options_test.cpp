// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace vmux::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ListenAt, IsAnAddressInDigitsOrAPath) {
  const auto tcp = parse_listen("127.0.0.1:9640");
  ASSERT_TRUE(tcp);
  EXPECT_EQ(std::get<TcpAddress>(*tcp).host, "127.0.0.1");
  EXPECT_EQ(std::get<TcpAddress>(*tcp).port, 9640);
  const auto six = parse_listen("[fd00::1]:0");
  ASSERT_TRUE(six);
  EXPECT_EQ(std::get<TcpAddress>(*six).host, "fd00::1");
  EXPECT_TRUE(std::get<TcpAddress>(*six).is_ipv6);
  const auto path = parse_listen("unix:/run/vmux-web/http.sock");
  ASSERT_TRUE(path);
  EXPECT_EQ(std::get<SocketPath>(*path).path, "/run/vmux-web/http.sock");
}

class NoAddress : public testing::TestWithParam<const char*> {};
TEST_P(NoAddress, IsRefused) { EXPECT_FALSE(parse_listen(GetParam())); }
INSTANTIATE_TEST_SUITE_P(Rows, NoAddress,
                         testing::Values("", "9640", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                                         "::1:80", "[::1]", "[127.0.0.1]:80", "localhost:80", "unix:", "[]:80", ":80"));

TEST(WebOptions, ServeThisMachineAloneUnlessTold) {
  const auto options = parse_web({"--rpc", "/tmp/r"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->rpc, "/tmp/r");
  EXPECT_EQ(std::get<TcpAddress>(options->listen).host, "127.0.0.1");
  EXPECT_EQ(std::get<TcpAddress>(options->listen).port, 9640);
}

TEST(WebOptions, AllowTheHostsThatAreNamedAndTheAddressItself) {
  const auto options = parse_web({"--listen", "192.0.2.7:80", "--allow-host", "VMux.example", "--allow-host=b"});
  ASSERT_TRUE(options) << options.error().err;
  EXPECT_THAT(options->allowed_hosts, ElementsAre("vmux.example", "b", "192.0.2.7"));
  EXPECT_THAT(parse_web({"--listen", "0.0.0.0:80"})->allowed_hosts, ElementsAre());
  EXPECT_THAT(parse_web({"--listen", "[fd00::1]:80"})->allowed_hosts, ElementsAre("[fd00::1]"));
  EXPECT_THAT(parse_web({"--listen", "[FD00:0::1]:80"})->allowed_hosts, ElementsAre("[fd00::1]"));
}

TEST(WebOptions, HaveTheModeOfASocket) {
  const auto options = parse_web({"--listen", "unix:/tmp/a", "--socket-mode", "0600"});
  ASSERT_TRUE(options);
  EXPECT_EQ(std::get<SocketPath>(options->listen).mode, 0600u);
}

TEST(WebOptions, SayWhatIsWrong) {
  EXPECT_THAT(parse_web({"--listen", "x"}).error().err, HasSubstr("--listen: expected an address in digits"));
  EXPECT_THAT(parse_web({"--socket-mode", "9"}).error().err, HasSubstr("--socket-mode: expected octal"));
  EXPECT_THAT(parse_web({"--allow-host", "a:80"}).error().err, HasSubstr("a host name without a port"));
  EXPECT_EQ(parse_web({"--frob"}).error().status, kUsageError);
}

TEST(ManPage, HasEveryOption) {
  std::ostringstream page;
  page << std::ifstream{VMUX_SOURCE_DIR "/docs/man/vmux-web.8"}.rdbuf();
  std::string text = page.str();
  for (std::size_t at = 0; (at = text.find("\\-", at)) != std::string::npos;)
    text.erase(at, 1);
  const std::string help = parse_web({"--help"}).error().out;
  std::size_t options = 0;
  for (std::size_t at = 0; (at = help.find("--", at)) != std::string::npos; ++options) {
    const std::size_t end = help.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at);
    EXPECT_THAT(text, HasSubstr(help.substr(at, end - at)));
    at = end;
  }
  EXPECT_GE(options, 6u);
}

}  // namespace
}  // namespace vmux::app
