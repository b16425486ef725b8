// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/json_rpc.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace vmux::control {
namespace {

Methods sample() {
  Methods methods;
  methods.add("echo", [](const Json& params) -> Outcome<Json> { return params; });
  methods.add("missing", [](const Json&) -> Outcome<Json> {
    return refuse(ProblemKind::not_found, "name", "there is no such thing");
  });
  methods.add("defect", [](const Json&) -> Outcome<Json> { throw std::runtime_error("boom"); });
  return methods;
}

Json ask(const std::string& line) { return Json::parse(answer(line, sample())); }
Json code(const Json& response) { return response.at("error").at("code"); }

TEST(JsonRpc, AnswersWithResultAndId) {
  const Json response = ask(R"({"jsonrpc":"2.0","method":"echo","params":{"a":1},"id":"x"})");
  EXPECT_EQ(response, Json::parse(R"({"jsonrpc":"2.0","result":{"a":1},"id":"x"})"));
}

TEST(JsonRpc, TellsAProblemWithItsKindAndField) {
  const Json response = ask(R"({"jsonrpc":"2.0","method":"missing","id":1})");
  EXPECT_EQ(code(response), rpc_code::not_found);
  EXPECT_EQ(response["error"]["message"], "name: there is no such thing");
  EXPECT_EQ(response["error"]["data"]["kind"], "not_found");
  EXPECT_EQ(problem_of(response["error"]).field, "name");
  EXPECT_EQ(problem_of(response["error"]).kind, ProblemKind::not_found);
}

struct Case {
  const char* line;
  int code;
};
class BadRequest : public testing::TestWithParam<Case> {};
TEST_P(BadRequest, GetsTheCodeOfTheSpecification) {
  const Json response = ask(GetParam().line);
  EXPECT_EQ(code(response), GetParam().code);
  EXPECT_EQ(response["jsonrpc"], "2.0");
}
INSTANTIATE_TEST_SUITE_P(
    Codes, BadRequest,
    testing::Values(Case{"nonsense", rpc_code::parse_error}, Case{R"({"jsonrpc":"2.0",)", rpc_code::parse_error},
                    Case{"{} {}", rpc_code::parse_error}, Case{"\xff\xfe", rpc_code::parse_error},
                    Case{"7", rpc_code::invalid_request}, Case{"[]", rpc_code::invalid_request},
                    Case{"{}", rpc_code::invalid_request},
                    Case{R"({"jsonrpc":"1.0","method":"echo","id":1})", rpc_code::invalid_request},
                    Case{R"({"jsonrpc":"2.0","method":1,"id":1})", rpc_code::invalid_request},
                    Case{R"({"jsonrpc":"2.0","method":"echo","params":3,"id":1})", rpc_code::invalid_request},
                    Case{R"({"jsonrpc":"2.0","method":"echo","id":{}})", rpc_code::invalid_request},
                    Case{R"({"jsonrpc":"2.0","method":"nothing","id":1})", rpc_code::method_not_found},
                    Case{R"({"jsonrpc":"2.0","method":"defect","id":1})", rpc_code::host}));

TEST(JsonRpc, RefusesDeepNestingWithoutRecursion) {
  EXPECT_EQ(code(ask(std::string(kMaxRequest, '['))), rpc_code::parse_error);
}

TEST(JsonRpc, DoesNotCountBracketsInsideText) {
  const std::string text(100, '[');
  EXPECT_EQ(ask(R"({"jsonrpc":"2.0","method":"echo","params":["\")" + text + R"("],"id":1})").count("result"), 1u);
}

TEST(JsonRpc, SaysNothingToANotification) {
  EXPECT_EQ(answer(R"({"jsonrpc":"2.0","method":"echo"})", sample()), "");
  EXPECT_EQ(answer(R"({"jsonrpc":"2.0","method":"nothing"})", sample()), "");
  EXPECT_EQ(answer(R"([{"jsonrpc":"2.0","method":"echo"}])", sample()), "");
}

TEST(JsonRpc, AnswersABatchInOrderAndLeavesNotificationsOut) {
  const Json responses = ask(R"([{"jsonrpc":"2.0","method":"echo","id":1},{"jsonrpc":"2.0","method":"echo"},
                                 5,{"jsonrpc":"2.0","method":"nothing","id":2}])");
  ASSERT_EQ(responses.size(), 3u);
  EXPECT_EQ(responses[0]["id"], 1);
  EXPECT_EQ(code(responses[1]), rpc_code::invalid_request);
  EXPECT_EQ(code(responses[2]), rpc_code::method_not_found);
}

TEST(JsonRpc, TakesAnEmptyArrayForNoParameters) {
  EXPECT_EQ(ask(R"({"jsonrpc":"2.0","method":"echo","params":[],"id":1})")["result"], Json::object());
}

TEST(ToLine, IsAsciiWhateverIsInIt) {
  EXPECT_EQ(to_line(Json{{"path", "/\u00fc\u009b2J\u202e\x7f\n\x1b"}}),
            R"({"path":"/\u00fc\u009b2J\u202e\u007f\n\u001b"})");
  EXPECT_EQ(to_line(Json("\xff")), R"("\ufffd")");
}

}  // namespace
}  // namespace vmux::control
