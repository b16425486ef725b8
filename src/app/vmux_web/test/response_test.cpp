// SPDX-License-Identifier: BSD-3-Clause
// What is answered to whom, without a server.
#include "app/vmux_web/response.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "app/vmux_web/page.hpp"

namespace vmux::app {
namespace {

using testing::HasSubstr;
using testing::Not;

class ASite : public testing::Test {
 protected:
  ASite() {
    snapshot_.is_up = true;
    snapshot_.ports = Json::array({{{"name", "</script><b>\"'&"}}});
  }
  Response get(std::string_view path, std::string_view host = "localhost", std::string_view method = "GET") {
    return site_.answer({.method = method, .path = path, .host = host, .if_none_match = {}});
  }
  static std::string header(const Response& response, std::string_view name) {
    for (const auto& [key, value] : response.headers)
      if (key == name) return value;
    return "";
  }
  Snapshot snapshot_;
  unsigned looks_ = 0;
  Site site_{AllowedHosts{{"vmux.example"}},
             [](void* of, bool) -> const Snapshot& {
               ++static_cast<ASite*>(of)->looks_;
               return static_cast<ASite*>(of)->snapshot_;
             },
             this};
};

TEST_F(ASite, ServesItsFiles) {
  EXPECT_THAT(get("/").body, HasSubstr("<!DOCTYPE html>"));
  EXPECT_EQ(get("/").type, "text/html; charset=utf-8");
  EXPECT_EQ(get("/page.js").type, "text/javascript; charset=utf-8");
  EXPECT_EQ(get("/style.css").type, "text/css; charset=utf-8");
  EXPECT_EQ(get("/nothing").status, 404u);
  EXPECT_EQ(get("/../etc/passwd").status, 404u);
  EXPECT_EQ(looks_, 0u);
}

TEST_F(ASite, SaysThatAFileIsAsBefore) {
  const std::string tag = header(get("/page.js"), "ETag");
  const Response again =
      site_.answer({.method = "GET", .path = "/page.js", .host = "localhost", .if_none_match = std::string_view{tag}});
  EXPECT_EQ(again.status, 304u);
  EXPECT_EQ(again.body, "");
}

TEST_F(ASite, ToldOfAnotherHostLooksAtNothing) {
  for (const char* path : {"/", "/metrics", "/api/state", "/nothing"}) {
    EXPECT_EQ(get(path, "evil.example").status, 421u) << path;
    EXPECT_EQ(site_.answer({.method = "GET", .path = path, .host = {}, .if_none_match = {}}).status, 400u) << path;
  }
  EXPECT_EQ(looks_, 0u);
  EXPECT_EQ(get("/metrics", "vmux.example:443").status, 200u);
}

TEST_F(ASite, ChangesNothing) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"}) {
    const Response response = get("/api/state", "localhost", method);
    EXPECT_EQ(response.status, 405u) << method;
    EXPECT_EQ(header(response, "Allow"), "GET, HEAD");
  }
  EXPECT_EQ(get("/", "localhost", "HEAD").status, 200u);
}

TEST_F(ASite, GivesTheStateAsDataAndNotAsAPage) {
  const Response response = get("/api/state");
  EXPECT_EQ(response.type, "application/json");
  EXPECT_EQ(header(response, "Cache-Control"), "no-store");
  EXPECT_EQ(Json::parse(response.body)["ports"][0]["name"], "</script><b>\"'&");
}

TEST_F(ASite, CountsItsAnswers) {
  static_cast<void>(get("/", "evil.example"));
  static_cast<void>(get("/"));
  EXPECT_THAT(get("/metrics").body, HasSubstr("vmux_web_responses_total{code=\"421\"} 1\n"));
  EXPECT_THAT(get("/metrics").body, HasSubstr("vmux_web_responses_total{code=\"200\"} 2\n"));
}

TEST(PageFiles, HaveNothingThatTheirPolicyForbids) {
  const auto files = page_files();
  ASSERT_GE(files.size(), 6u);
  for (const PageFile& file : files) {
    EXPECT_FALSE(file.type.empty()) << file.path;
    if (file.path.ends_with(".html")) {
      EXPECT_THAT(std::string{file.content}, Not(testing::ContainsRegex("<style|style=|onclick|onload|javascript:")));
      EXPECT_THAT(std::string{file.content}, Not(testing::ContainsRegex("(src|href)=\"(http|//)")));
    }
    if (file.path.ends_with(".js")) {
      EXPECT_THAT(
          std::string{file.content},
          Not(testing::ContainsRegex("innerHTML|outerHTML|insertAdjacentHTML|document.write|eval\\(|new Function")));
    }
  }
}

TEST(Policy, TakesScriptsFromHereAlone) {
  const auto found = std::find_if(std::begin(kHeaders), std::end(kHeaders), [](const auto& one) {
    return std::string_view{one.first} == "Content-Security-Policy";
  });
  ASSERT_NE(found, std::end(kHeaders));
  EXPECT_THAT(found->second, HasSubstr("default-src 'none'; script-src 'self'; "));
  EXPECT_THAT(found->second, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(found->second, Not(HasSubstr("unsafe")));
}

TEST(StateForThePage, HasTheYoungestOfALongMacTable) {
  Snapshot snapshot;
  Json table = Json::array();
  for (std::size_t i = 0; i < kMostMacs + 5; ++i)
    table.push_back({{"mac", std::to_string(i)}, {"age_s", kMostMacs + 5 - i}});
  snapshot.switches = Json::array({{{"name", "s"}, {"mac_table", table}}});
  const Json shown = to_json(snapshot)["switches"][0];
  EXPECT_EQ(shown["mac_count"], kMostMacs + 5);
  ASSERT_EQ(shown["mac_table"].size(), kMostMacs);
  EXPECT_EQ(shown["mac_table"][0]["age_s"], 1);
}

}  // namespace
}  // namespace vmux::app
