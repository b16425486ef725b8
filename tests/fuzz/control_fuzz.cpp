// SPDX-License-Identifier: BSD-3-Clause
// What people and programs write: a configuration file, a line of JSON-RPC, the parameters of one call, and the values
// of flags. Nothing is created: calls go to an inventory, which has the rules and none of the machine.
//
// Input: a byte that says which, then text.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "control/config/configuration.hpp"
#include "control/model/inventory.hpp"
#include "control/model/spec/kinds.hpp"
#include "control/model/spec/values.hpp"
#include "control/rpc/json_rpc.hpp"
#include "control/test/fake_catalogue.hpp"
#include "fuzz/input.hpp"
#include "vmux/base/assert.hpp"

namespace vmux::fuzz {
namespace {

using namespace control;

// A specification that was read is written such that it is read as the same.
template <class Spec>
void check_round_trip(const Outcome<Spec>& spec, Outcome<Spec> (*read)(const Json&)) {
  if (!spec) {
    VMUX_ASSERT(!text_of(spec.error()).empty());
    return;
  }
  const Json written = to_json(*spec);
  const auto again = read(written);
  VMUX_ASSERT(again && to_json(*again) == written);
}

void parameters(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return;
  check_round_trip(spec_of<SwitchSpec>(json), &spec_of<SwitchSpec>);
  check_round_trip(spec_of<UplinkSpec>(json), &spec_of<UplinkSpec>);
  check_round_trip(spec_of<PortSpec>(json), &spec_of<PortSpec>);
  static_cast<void>(name_only(json));
  DaemonSpec daemon;
  static_cast<void>(apply_daemon(json, daemon));
  static_cast<void>(apply_pollers(json, daemon.pollers));
}

template <class Spec>
Methods::Handler add_to(Inventory& inventory, Outcome<Spec> (*read)(const Json&)) {
  return [&inventory, read](const Json& params) -> Outcome<Json> {
    auto spec = read(params);
    if (!spec) return tl::unexpected<Problem>(spec.error());
    const auto added = inventory.add(std::move(*spec));
    if (!added) return tl::unexpected<Problem>(added.error());
    return to_json(*added);
  };
}

// Every line gets one answer of JSON, or none if it asked for none; what was added obeys the rules of names.
void requests(std::string_view text) {
  Inventory inventory{fake::kCatalogue, {}};
  Methods methods;
  methods.add("switch.add", add_to<SwitchSpec>(inventory, &spec_of<SwitchSpec>));
  methods.add("uplink.add", add_to<UplinkSpec>(inventory, &spec_of<UplinkSpec>));
  methods.add("port.add", add_to<PortSpec>(inventory, &spec_of<PortSpec>));
  methods.add("port.remove", [&inventory](const Json& params) -> Outcome<Json> {
    const auto name = name_only(params);
    if (!name) return tl::unexpected<Problem>(name.error());
    inventory.remove<PortSpec>(*name);
    return Json{};
  });
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::string said = answer(line, methods);
    if (said.empty()) continue;
    VMUX_ASSERT(said.find('\n') == std::string::npos);
    const Json json = Json::parse(said, nullptr, /*allow_exceptions=*/false);
    VMUX_ASSERT(!json.is_discarded());
    if (json.is_object() && json.contains("error")) static_cast<void>(problem_of(json["error"]));
    VMUX_ASSERT(said.find("a defect in vMux") == std::string::npos);
  }
  for (const PortSpec& port : inventory.all<PortSpec>())
    VMUX_ASSERT(is_name(port.name) && inventory.find<SwitchSpec>(port.switch_name) != nullptr);
}

void file(std::string_view text) {
  Configuration configuration;
  const auto read = parse_configuration(text, "fuzz.toml", configuration);
  if (!read) {
    VMUX_ASSERT(text_of(read.error()).find("fuzz.toml") != std::string::npos);
    return;
  }
  DaemonSpec daemon = configuration.daemon;
  static_cast<void>(settle(daemon));
  const auto rehearsed = rehearse(configuration, fake::kCatalogue);
  if (!rehearsed) VMUX_ASSERT(!rehearsed.error().step->where.empty());
}

template <class T>
void check_value(const Parsed<T>& value, Parsed<T> (*parse)(std::string_view)) {
  if (!value) {
    VMUX_ASSERT(!value.error().empty());
    return;
  }
  const auto again = parse(to_text(*value));
  VMUX_ASSERT(again && *again == *value);
}

void values(std::string_view text) {
  check_value(parse_mac(text), &parse_mac);
  check_value(parse_vlan_list(text), &parse_vlan_list);
  check_value(parse_cpu_list(text), &parse_cpu_list);
  static_cast<void>(parse_log_level(text));
  static_cast<void>(parse_number(text, 1'000'000));
  if (const auto address = parse_pci_address(text)) VMUX_ASSERT(parse_pci_address(address->text()) == address);
}

constexpr std::array kReaders{&file, &requests, &parameters, &values};

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux::fuzz;
  Input input{data, size};
  const std::uint8_t which = input.u8();
  kReaders[which % kReaders.size()](text_of(input.all()));
  return 0;
}
