// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/response.hpp"

#include <algorithm>

#include "app/vmux_web/metrics.hpp"
#include "app/vmux_web/page.hpp"

namespace vmux::app {
namespace {

Response refusal(unsigned status, std::string why) { return {.status = status, .body = std::move(why) + "\n"}; }

/// Of a file in this program: the same until another version serves it.
Response file(const PageFile& file, const Request& request) {
  const std::string tag = '"' + std::string{file.tag} + '"';
  Response response{.type = std::string{file.type}};
  response.headers = {{"ETag", tag}, {"Cache-Control", "no-cache"}};
  if (request.if_none_match == tag) {
    response.status = 304;
  } else {
    response.body = file.content;
  }
  return response;
}

Response fresh(std::string type, std::string body) {
  Response response{.type = std::move(type), .body = std::move(body)};
  response.headers = {{"Cache-Control", "no-store"}};
  return response;
}

}  // namespace

Response Site::route(const Request& request) {
  if (!request.host) return refusal(400, "a request without a host");
  if (!hosts_.has(*request.host)) return refusal(421, "not a host of this server: --allow-host NAME allows more");
  if (request.method != "GET" && request.method != "HEAD") {
    Response response = refusal(405, "nothing can be changed here");
    response.headers = {{"Allow", "GET, HEAD"}};
    return response;
  }
  if (request.path == "/metrics") return fresh(kMetricsType, metrics_text(look_(of_, /*for_people=*/false), answered_));
  if (request.path == "/api/state") {
    constexpr auto kReplace = Json::error_handler_t::replace;
    return fresh("application/json", to_json(look_(of_, /*for_people=*/true)).dump(-1, ' ', false, kReplace));
  }
  const auto pages = page_files();
  const std::string_view wanted = request.path == "/" ? "/index.html" : request.path;
  const auto found = std::find_if(pages.begin(), pages.end(), [&](const PageFile& one) { return one.path == wanted; });
  return found == pages.end() ? refusal(404, "no such page") : file(*found, request);
}

Response Site::answer(const Request& request) {
  Response response = route(request);
  ++answered_[response.status];
  return response;
}

}  // namespace vmux::app
