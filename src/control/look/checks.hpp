// SPDX-License-Identifier: BSD-3-Clause
// Why a port is dead or slow: conditions with a name, each a row of a table, and what to do about them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "control/look/facts.hpp"

namespace vmux::control {

enum class Severity : unsigned char {
  note,     ///< it is as somebody wanted it, or costs something only
  warning,  ///< something is slow, or lost
  problem,  ///< it cannot work like this
};
[[nodiscard]] const char* to_text(Severity severity) noexcept;

struct CheckText {
  const char* name;  ///< "driver_down"
  Severity severity;
  const char* condition;  ///< when it is found, for the documentation
  const char* advice;     ///< a sentence without a full stop; NAME stands for the object's name
};

/// What is found there, as a sentence without a full stop; nullopt: nothing.
using Found = std::optional<std::string>;
using CheckPort = Found (*)(const Facts&, const PortFacts&);
using CheckUplink = Found (*)(const Facts&, const UplinkFacts&);
using CheckPoller = Found (*)(const Facts&, const PollerFacts&);
using CheckDaemon = Found (*)(const Facts&);

struct Check {
  CheckText text;
  std::variant<CheckPort, CheckUplink, CheckPoller, CheckDaemon> find;
};
[[nodiscard]] std::span<const Check> checks() noexcept;

struct Finding {
  const CheckText* check = nullptr;
  const char* kind = "";  ///< "port", "uplink", "poller" or "daemon"
  std::string name;       ///< of the object; of a poller its number
  std::string text, advice;
};
/// All that is found, the worst first.
[[nodiscard]] std::vector<Finding> examine(const Facts& facts);

}  // namespace vmux::control
