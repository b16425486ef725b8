// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/host_check.hpp"

#include <gtest/gtest.h>

namespace vmux::app {
namespace {

struct HostRow {
  const char* header;
  std::optional<std::string> host;
};
class HostOfAHeader : public testing::TestWithParam<HostRow> {};
TEST_P(HostOfAHeader, IsItsNameInLowerCase) { EXPECT_EQ(host_of(GetParam().header), GetParam().host); }
INSTANTIATE_TEST_SUITE_P(
    Rows, HostOfAHeader,
    testing::Values(HostRow{"localhost", "localhost"}, HostRow{"LocalHost:9640", "localhost"},
                    HostRow{"127.0.0.1:80", "127.0.0.1"}, HostRow{"[::1]", "[::1]"},
                    HostRow{"[FD00::1]:9640", "[fd00::1]"}, HostRow{"a_b.example:", "a_b.example"},
                    HostRow{"", std::nullopt}, HostRow{":80", std::nullopt}, HostRow{"[::1", std::nullopt},
                    HostRow{"[::1]x", std::nullopt}, HostRow{"[]", std::nullopt},
                    HostRow{"[evil.example]", std::nullopt}, HostRow{"localhost:http", std::nullopt},
                    HostRow{"localhost:123456", std::nullopt}, HostRow{"localhost:80:80", std::nullopt},
                    HostRow{"user@localhost", std::nullopt}, HostRow{"localhost/", std::nullopt},
                    HostRow{"local host", std::nullopt}, HostRow{"evil.example, localhost", std::nullopt}));

TEST(HostOfAHeader, HasNoMoreThanANameHas) {
  EXPECT_TRUE(host_of(std::string(255, 'a')));
  EXPECT_FALSE(host_of(std::string(256, 'a')));
}

TEST(AllowedHosts, AreThoseOfThisMachineAndWhatIsNamed) {
  const AllowedHosts hosts{{"vmux.example"}};
  for (const char* good : {"localhost", "127.0.0.1:9640", "[::1]:9640", "vmux.example", "VMUX.example:443"})
    EXPECT_TRUE(hosts.has(good)) << good;
  for (const char* bad : {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "vmux.example.", "", "0"})
    EXPECT_FALSE(hosts.has(bad)) << bad;
}

}  // namespace
}  // namespace vmux::app
