// SPDX-License-Identifier: BSD-3-Clause
// Commands settle: whatever was done before, and wherever the function came from, a command that runs again changes
// nothing and says so; and restore makes everything as it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/fake_machine.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kPf = "0000:01:00.0";
const std::string kPath = std::string{kPciDevices} + kPf;

/// Where a function may have come from before anybody called this toolkit.
struct Start {
  const char* name;
  void (*make)(fake::FakeMachine&);
};

void put_driver(fake::FakeMachine& machine, const char* driver, const char* override) {
  const auto write = [&](const std::string& path, const std::string& value) {
    EXPECT_TRUE(machine.write(path, value)) << path;
  };
  write(kPath + "/driver/unbind", kPf);
  if (*driver != '\0') {
    write(kPath + "/driver_override", driver);
    write("/sys/bus/pci/drivers_probe", kPf);
  }
  write(kPath + "/driver_override", override);
}

const Start kStarts[] = {
    {"own driver", [](fake::FakeMachine&) {}},
    {"interface down", [](fake::FakeMachine& m) { m.put("/sys/class/net/ens1/flags", "0x1002\n"); }},
    {"vfio-pci from boot", [](fake::FakeMachine& m) { put_driver(m, "vfio-pci", "vfio-pci"); }},
    {"vfio-pci by its ids", [](fake::FakeMachine& m) { put_driver(m, "vfio-pci", ""); }},
    {"uio from boot", [](fake::FakeMachine& m) { put_driver(m, "uio_pci_generic", "uio_pci_generic"); }},
    {"override left behind",
     [](fake::FakeMachine& m) { EXPECT_TRUE(m.write(kPath + "/driver_override", "vfio-pci")); }},
    {"override of nobody", [](fake::FakeMachine& m) { EXPECT_TRUE(m.write(kPath + "/driver_override", "nosuch")); }},
    {"no driver", [](fake::FakeMachine& m) { put_driver(m, "", ""); }},
    {"no driver, override", [](fake::FakeMachine& m) { put_driver(m, "", "vfio-pci"); }},
    {"nobody wants it",
     [](fake::FakeMachine& m) {
       put_driver(m, "", "");
       m.prefer(kPf, "");
     }},
    {"own driver by override", [](fake::FakeMachine& m) { EXPECT_TRUE(m.write(kPath + "/driver_override", "igb")); }},
    {"two VFs",
     [](fake::FakeMachine& m) {
       EXPECT_TRUE(m.write(kPath + "/sriov_numvfs", "2"));
       m.net.all_vfs["ens1"][1].mac = "52:54:00:00:00:99";
       m.net.all_vfs["ens1"][0].vlan = 9;
     }},
};

struct Command {
  const char* name;
  Outcome<> (*work)(Session&);  // null: restore
};

const Command kCommands[] = {
    {"bind", [](Session& s) { return bind(s, {kPf}); }},
    {"bind ens1", [](Session& s) { return bind(s, {"ens1"}); }},
    {"bind --driver igb",
     [](Session& s) {
       return bind(s, {kPf, "igb"});
     }},
    {"bind --driver uio",
     [](Session& s) {
       return bind(s, {"enp1s0f0np0", "uio_pci_generic"});
     }},
    {"bind --driver none",
     [](Session& s) {
       return bind(s, {kPf, "none"});
     }},
    {"unbind", [](Session& s) { return unbind(s, kPf); }},
    {"unbind ens1", [](Session& s) { return unbind(s, "ens1"); }},
    {"vfs 2", [](Session& s) { return set_vfs(s, {.physical = kPf, .count = 2}); }},
    {"vfs 3 --mac --driver",
     [](Session& s) {
       return set_vfs(s, {kPf, 3, {{0, {{.mac = "52:54:00:00:00:01", .vlan = 7}, "vfio-pci"}}}});
     }},
    {"vfs 0", [](Session& s) { return set_vfs(s, {.physical = kPf, .count = 0}); }},
    {"restore", nullptr},
};

/// What the commands may have changed, as text.
std::string state_of(fake::FakeMachine& machine) {
  std::string text;
  const auto show = [&](const std::string& name) {
    const std::string path = kPciDevices + name;
    text += name + " " + machine.link(path + "/driver") + " " + machine.text(path + "/driver_override") + "\n";
  };
  show(kPf);
  text += machine.text(kPath + "/sriov_numvfs") + " " + machine.text(kPath + "/sriov_drivers_autoprobe") + " " +
          machine.text("/sys/class/net/ens1/flags") + "\n";
  for (const PciAddress vf : virtual_functions(machine, *parse_pci_address(kPf)))
    show(vf.text());
  if (!machine.exists(kPath + "/virtfn0")) return text;
  for (const VfSettings& vf : machine.net.all_vfs["ens1"])
    text += vf.mac.value_or("") + " " + std::to_string(vf.vlan.value_or(0)) + "\n";
  return text;
}

class Settling : public testing::Test {
 protected:
  struct Ran {
    bool is_ok;
    std::vector<std::string> actions;
    std::string error;
  };

  static Ran run(fake::FakeMachine& machine, const Command& command) {
    auto session = Session::open(machine, {});
    if (!session) return {false, {}, session.error().text};
    const auto report = command.work == nullptr ? session->restore({}) : session->finish(command.work(*session));
    if (!report) return {false, {}, report.error().text};
    return {true, report->actions, ""};
  }

  static std::unique_ptr<fake::FakeMachine> make(const Start& start) {
    auto machine = std::make_unique<fake::FakeMachine>();
    fake::make_good_host(*machine);
    machine->add_driver("igbvf");
    machine->add_driver("uio_pci_generic");
    machine->net.all_links = {{"ens1", {"enp1s0f0np0"}}};
    start.make(*machine);
    return machine;
  }

  /// All of `commands`, the last twice; then restore.
  static void expect_settled(const Start& start, const std::vector<const Command*>& commands) {
    std::string story = start.name;
    for (const Command* command : commands)
      story += std::string{"; "} + command->name;
    const auto machine = make(start);
    const std::string before = state_of(*machine);
    Ran first{};
    for (const Command* command : commands)
      first = run(*machine, *command);
    const std::string after = state_of(*machine);
    const Ran second = run(*machine, *commands.back());
    ASSERT_EQ(second.is_ok, first.is_ok) << story << "\n" << first.error << "\n" << second.error;
    ASSERT_THAT(second.actions, IsEmpty()) << story;
    ASSERT_EQ(state_of(*machine), after) << story << "\n" << second.error;
    const Ran restored = run(*machine, {"restore", nullptr});
    ASSERT_TRUE(restored.is_ok) << story << "\n" << restored.error;
    ASSERT_EQ(state_of(*machine), before) << story;
  }
};

TEST_F(Settling, AfterAnyTwoCommandsFromAnyStart) {
  for (const Start& start : kStarts) {
    for (const Command& first : kCommands) {
      for (const Command& second : kCommands)
        ASSERT_NO_FATAL_FAILURE(expect_settled(start, {&first, &second}));
    }
  }
}

TEST_F(Settling, AfterAnyThreeCommands) {
  const Start& start = kStarts[2];  // of all the one from which the memory and the goal of unbind differ
  for (const Command& first : kCommands) {
    for (const Command& second : kCommands) {
      for (const Command& third : kCommands)
        ASSERT_NO_FATAL_FAILURE(expect_settled(start, {&first, &second, &third}));
    }
  }
}

TEST_F(Settling, UnbindNeverLeadsAwayFromTheHost) {
  for (const Start& start : kStarts) {
    for (const Command& first : kCommands) {
      const auto machine = make(start);
      static_cast<void>(run(*machine, first));
      if (!run(*machine, {"unbind", [](Session& s) { return unbind(s, kPf); }}).is_ok) continue;
      const std::string driver = machine->link(kPath + "/driver");
      EXPECT_TRUE(driver == "igb" || driver.empty()) << start.name << "; " << first.name << ": " << driver;
    }
  }
}

TEST_F(Settling, UnbindSaysWhoTakesItAgainByItsIds) {
  const auto machine = make(kStarts[3]);
  machine->prefer(kPf, "vfio-pci");
  const std::string before = state_of(*machine);
  const Ran ran = run(*machine, kCommands[5]);
  EXPECT_FALSE(ran.is_ok);
  EXPECT_THAT(ran.error, HasSubstr("gives 0000:01:00.0 to vfio-pci again"));
  EXPECT_EQ(state_of(*machine), before);
}

}  // namespace
}  // namespace vmux::host
