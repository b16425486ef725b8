// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/doctor_methods.hpp"

#include <cmath>
#include <memory>

#include "base/text/format.hpp"
#include "control/look/checks.hpp"
#include "control/look/doctor.hpp"

namespace vmux::control {
namespace {

constexpr std::uint64_t kSecond_ns = 1'000'000'000;

struct DoctorParams {
  std::optional<std::string> port;
  std::uint64_t seconds = 1;
};

Outcome<DoctorParams> params_of(const Controller& controller, const Json& object) {
  constexpr std::uint64_t kMostSeconds = Doctor::kLongest_ns / kSecond_ns;
  Params params{object};
  DoctorParams read;
  read.port = params.name("name");
  read.seconds = params.number("over_s", 0, kMostSeconds).value_or(1);
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  if (read.port && controller.inventory().find<PortSpec>(*read.port) == nullptr)
    return refuse(ProblemKind::not_found, "name", fmt::format("there is no port named {}", *read.port));
  return read;
}

Json shown(const Finding& finding) {
  Json object{{"finding", finding.check->name}, {"severity", to_text(finding.check->severity)}, {"kind", finding.kind}};
  if (!finding.name.empty()) object["name"] = finding.name;
  object["text"] = finding.text;
  object["advice"] = finding.advice;
  return object;
}

}  // namespace

void add_doctor_method(Methods& methods, Controller& controller) {
  const auto doctor = std::make_shared<Doctor>(controller);
  const auto answer = [&controller, doctor](const Json& object) -> Outcome<Json> {
    const auto params = params_of(controller, object);
    if (!params) return tl::unexpected<Problem>(params.error());
    const Facts facts = doctor->look(params->port, params->seconds * kSecond_ns);
    Json findings = Json::array();
    for (const Finding& finding : examine(facts))
      findings.push_back(shown(finding));
    return Json{{"findings", std::move(findings)},
                {"looked_at",
                 {{"ports", facts.ports.size()},
                  {"uplinks", facts.uplinks.size()},
                  {"pollers", facts.pollers.size()},
                  {"checks", checks().size()}}},
                {"seconds", std::round(facts.seconds * 1000) / 1000}};
  };
  const auto wait = [&controller, doctor](const Json& object) -> Wait {
    const auto params = params_of(controller, object);
    if (!params || params->seconds == 0) return {};
    doctor->begin();
    return {params->seconds * kSecond_ns, [] { return false; }};
  };
  methods.add("doctor", answer, {Role::read}, wait);
}

}  // namespace vmux::control
