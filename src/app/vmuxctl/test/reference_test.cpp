// SPDX-License-Identifier: BSD-3-Clause
// Every option of every kind of object is taken by calls, files and the command line alike, and stands in the pages
// that people read; so do the daemon's own settings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "app/vmuxctl/cli.hpp"
#include "base/text/format.hpp"
#include "control/config/configuration.hpp"
#include "control/model/inventory_kinds.hpp"
#include "control/model/spec/kinds.hpp"
#include "control/rpc/method_text.hpp"
#include "rigs/document.hpp"

namespace vmux::app {
namespace {

using control::Form;
using control::Json;
using control::KindText;
using control::OptionText;

/// A value of an option: as a word of a command line, in a file, and as both are understood.
struct Sample {
  std::string word, toml;
  Json json;
};

Sample sample_of(const OptionText& option) {
  const auto quoted = [](const std::string& text) { return Sample{text, '"' + text + '"', text}; };
  switch (option.form) {
    case Form::text:
    case Form::name:
      return quoted(option.name == std::string_view{"log_format"} ? "json" : "a1");
    case Form::path:
      return quoted("/tmp/a1");
    case Form::number: {  // bits 2 to 15 are good in every mask
      const std::string number = std::to_string(std::max<std::uint64_t>(option.min, 4));
      return {number, number, Json::parse(number)};
    }
    case Form::flag:  // another than holds without
      if (std::string_view{option.fallback} == "false") return {"true", "true", true};
      return {"false", "false", false};
    case Form::mac:
      return quoted("02:00:00:00:00:07");
    case Form::doorbell:
      return quoted("poll");
    case Form::link:
      return quoted("down");
    case Form::user:
    case Form::group:
      return quoted("107");
    case Form::mode:
      return {"0640", "0o640", "0640"};
    case Form::vlans:
      return quoted("7,10-20");
    case Form::static_macs:
      return quoted("02:00:00:00:00:07,02:00:00:00:00:08@9");
    case Form::mirror:
      return quoted("a1:in");
    case Form::limit:
      return quoted("1G,200kpps,burst=512K");
    case Form::addresses:
      return quoted("10.0.0.5,fd00::5");
    case Form::mac_match:
      return quoted("02:00:00:00:00:00/ff:ff:ff:00:00:00");
    case Form::prefix:
      return quoted("10.0.0.0/8");
    case Form::l4_ports:
      return quoted("1000-1999");
    case Form::ethertype:
      return quoted("0x8863");
    case Form::protocol:
      return quoted("tcp");
    case Form::rule_action:
      return quoted("drop");
    case Form::way:
      return quoted("out");
    case Form::translations:
      return quoted("10:100,20-29:200");
    case Form::services:
      return quoted("0:7,10-20:100,200");
    case Form::cpus:
      return quoted("0");
    case Form::members:
      return quoted("user:107");
    case Form::log_level:
      return quoted("debug");
    case Form::calls:
      return {"[]", "[]", Json::array()};
  }
  return {};
}

/// An option of a kind, with those that must be there.
struct Case {
  KindText kind;
  const OptionText* option;
  [[nodiscard]] std::vector<const OptionText*> given() const {
    std::vector<const OptionText*> all;
    for (const OptionText* each : kind.options) {
      const bool goes_with_it =
          (option->name == std::string_view{"native"} && each->name == std::string_view{"trunk"}) ||
          (option->name == std::string_view{"fair_share"} && each->name == std::string_view{"limit_out"}) ||
          (option->form == Form::l4_ports && each->form == Form::protocol) ||
          (option->name == std::string_view{"mark"} && each->form == Form::way) ||
          (option->name == std::string_view{"addresses"} && each->name == std::string_view{"anti_spoof"});
      if (each->fallback == nullptr || each == option || goes_with_it) all.push_back(each);
    }
    return all;
  }
};
void PrintTo(const Case& each, std::ostream* out) { *out << each.kind.name << '.' << each.option->name; }

std::vector<Case> every_option() {
  std::vector<Case> all;
  for (const KindText& kind : control::object_kinds()) {
    for (const OptionText* option : kind.options)
      all.push_back({kind, option});
  }
  return all;
}

class EveryOption : public testing::TestWithParam<Case> {};

TEST_P(EveryOption, IsOneAndTheSameOnTheCommandLineInAFileAndInACall) {
  const Case& each = GetParam();
  std::vector<std::string> words{each.kind.name, "add"};
  std::string file = fmt::format("[[{}]]\n", each.kind.name);
  Json wanted = Json::object();
  for (const OptionText* option : each.given()) {
    const Sample sample = sample_of(*option);
    if (option->name != std::string_view{"name"}) words.push_back(control::flags_of(*option));
    words.push_back(sample.word);
    file += fmt::format("{} = {}\n", option->name, sample.toml);
    wanted[option->name] = sample.json;
  }
  const auto call = parse_call(words);
  ASSERT_TRUE(call) << call.error().err;
  control::Configuration configuration;
  ASSERT_TRUE(control::parse_configuration(file, "x.toml", configuration));
  ASSERT_EQ(configuration.steps.size(), 1u);
  const control::Step& step = configuration.steps.front();
  EXPECT_EQ(call->command->method, step.method);
  control::for_each_kind([&]<class Spec>() {
    if (each.kind.name != std::string_view{control::kind_of<Spec>().name}) return;
    const auto called = control::spec_of<Spec>(wanted), typed = control::spec_of<Spec>(call->params),
               written = control::spec_of<Spec>(step.params);
    ASSERT_TRUE(called && typed && written);
    EXPECT_EQ(control::to_json(*called)[each.option->name], wanted[each.option->name]);
    EXPECT_EQ(control::to_json(*typed), control::to_json(*called));
    EXPECT_EQ(control::to_json(*written), control::to_json(*called));
  });
}

TEST_P(EveryOption, IsRefusedByItsNameWhereItIsNoneOfItsForm) {
  const Case& each = GetParam();
  Json params = Json::object();
  for (const OptionText* option : each.given())
    params[option->name] = sample_of(*option).json;
  params[each.option->name] = Json::array({1.5});
  control::for_each_kind([&]<class Spec>() {
    if (each.kind.name != std::string_view{control::kind_of<Spec>().name}) return;
    const auto spec = control::spec_of<Spec>(params);
    ASSERT_FALSE(spec);
    EXPECT_EQ(spec.error().field, each.option->name);
  });
}
INSTANTIATE_TEST_SUITE_P(All, EveryOption, testing::ValuesIn(every_option()));

TEST(Options, OfTheDaemonAreTakenByItsFile) {
  for (const KindText& table : control::setting_tables()) {
    for (const OptionText* option : table.options) {
      control::Configuration configuration;
      const auto read = control::parse_configuration(
          fmt::format("[{}]\n{} = {}\n", table.name, option->name, sample_of(*option).toml), "x.toml", configuration);
      EXPECT_TRUE(read) << option->name << ": " << read.error().text;
    }
  }
}

// --- the pages ---

std::string how_written(const OptionText& option) {
  switch (option.form) {
    case Form::text:
      return "text";
    case Form::name:
      return "name";
    case Form::path:
      return "path";
    case Form::number:
      return fmt::format("{} to {}", option.min, option.max);
    case Form::flag:
      return "`true`, `false`";
    case Form::mac:
      return "MAC address";
    case Form::doorbell:
      return "`poll`, `trap`";
    case Form::link:
      return "`up`, `down`";
    case Form::user:
      return "user";
    case Form::group:
      return "group";
    case Form::mode:
      return "permissions";
    case Form::vlans:
      return "VLANs";
    case Form::static_macs:
      return "MAC addresses";
    case Form::mirror:
      return "name, `:in`, `:out` or `:both`";
    case Form::limit:
      return "bit/s, frames/s, bytes";
    case Form::addresses:
      return "IP addresses";
    case Form::mac_match:
      return "MAC address, mask";
    case Form::prefix:
      return "IP address or prefix";
    case Form::l4_ports:
      return "ports";
    case Form::ethertype:
      return "`ip`, `ipv6`, `arp`, `lldp` or number";
    case Form::protocol:
      return "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6` or number";
    case Form::rule_action:
      return "`allow`, `drop`, `count`";
    case Form::way:
      return "`in`, `out`";
    case Form::translations:
      return "VLANs and VLANs";
    case Form::services:
      return "VLANs and VLANs";
    case Form::cpus:
      return "CPUs";
    case Form::members:
      return "users, groups";
    case Form::log_level:
      return "level";
    case Form::calls:
      return "calls";
  }
  return {};
}

std::string fallback_of(const OptionText& option) {
  return option.fallback == nullptr ? "required" : *option.fallback == '\0' ? "none" : option.fallback;
}

std::string markdown(const KindText& table) {
  std::string text = "| key | written | default | meaning |\n|---|---|---|---|\n";
  for (const OptionText* option : table.options) {
    const char* const when = option->change == control::Change::reload ? " (SIGHUP reads it again)"
                             : option->change == control::Change::live ? " (at run time, too)"
                                                                       : "";
    const char* const who = option->role == control::Role::admin ? " (admins)" : "";
    text += fmt::format("| `{}` | {} | {} | {}{}{} |\n", option->name, how_written(*option), fallback_of(*option),
                        option->help, when, who);
  }
  return text;
}

std::string troff(std::string text) {
  for (std::size_t at = 0; (at = text.find('-', at)) != std::string::npos; at += 2)
    text.insert(at, "\\");
  return text;
}

std::string keys_in_troff(const KindText& table) {
  std::string text;
  for (const OptionText* option : table.options) {
    text += fmt::format(".TP\n.B {}\n{} ({}).\n", option->name, troff(option->help), troff(fallback_of(*option)));
  }
  return text;
}

std::string flags_in_troff(const KindText& table) {
  std::string text;
  for (const OptionText* option : table.options) {
    if (option->name == std::string_view{"name"}) continue;
    std::string flags = troff(control::flags_of(*option));
    if (const std::size_t comma = flags.find(','); comma != std::string::npos) flags.replace(comma, 1, ",\\ ");
    const std::string type = option->type;
    text += ".TP\n" + (type.empty() ? ".B " + flags : ".BI " + flags + "\\  " + type) + '\n';
    text += fmt::format("{} ({}).\n", troff(option->help), troff(fallback_of(*option)));
  }
  return text;
}

TEST(Reference, HasEveryKeyOfTheFile) {
  std::vector<KindText> tables = control::setting_tables();
  for (const KindText& kind : control::object_kinds())
    tables.push_back(kind);
  for (const KindText& table : tables) {
    test::expect_section("docs/configuration.md", table.name, markdown(table));
    test::expect_section("docs/man/vmux.toml.5", table.name, keys_in_troff(table));
  }
}

TEST(Reference, HasEveryOptionOfTheCommandLines) {
  for (const KindText& table : control::setting_tables())
    test::expect_section("docs/man/vmux.8", table.name, flags_in_troff(table));
  for (const KindText& kind : control::object_kinds())
    test::expect_section("docs/man/vmuxctl.1", kind.name, flags_in_troff(kind));
}

TEST(Reference, HasEveryParameterOfTheCalls) {
  std::string text;
  for (const control::MethodText& method : control::method_texts()) {
    std::vector<std::string> names;
    for (const OptionText& param : method.params)
      names.push_back(fmt::format("`{}`{}", param.name, param.fallback == nullptr ? "" : "?"));
    if (!names.empty()) text += fmt::format("| `{}` | {} |\n", method.name, fmt::join(names, ", "));
  }
  test::expect_section("docs/rpc.md", "parameters", "| method | parameters |\n|---|---|\n" + text);
}

}  // namespace
}  // namespace vmux::app
