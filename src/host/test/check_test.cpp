// SPDX-License-Identifier: BSD-3-Clause
#include "host/check/check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "host/fake_machine.hpp"

namespace vmux::host {
namespace {

using testing::HasSubstr;

class Checks : public testing::Test {
 protected:
  Checks() { fake::make_good_host(machine_); }
  /// The worst finding of one check.
  Finding worst_of(const std::string& name, const CheckRequest& request = {}) {
    Finding found{name, Verdict::unknown, "nothing", ""};
    bool is_first = true;
    const auto findings = check(machine_, request);
    for (const Finding& each : *findings) {
      if (each.check != name || (!is_first && each.verdict <= found.verdict)) continue;
      found = each;
      is_first = false;
    }
    return found;
  }
  fake::FakeMachine machine_;
};

TEST_F(Checks, FindNothingBadOnAGoodHost) {
  const auto findings = check(machine_, {});
  ASSERT_TRUE(findings);
  for (const Finding& each : *findings)
    EXPECT_NE(each.verdict, Verdict::bad) << each.check << ": " << each.found;
  EXPECT_NE(worst(*findings), Verdict::bad);
}

TEST_F(Checks, EveryThingThatIsNotGoodHasAMend) {
  fake::FakeMachine bare;
  const auto findings = check(bare, {});
  ASSERT_TRUE(findings);
  for (const Finding& each : *findings)
    EXPECT_TRUE(each.verdict == Verdict::good || each.verdict == Verdict::unknown || !each.mend.empty()) << each.check;
}

TEST_F(Checks, ProcessorWithoutVirtualization) {
  machine_.put("/proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : fpu\n");
  EXPECT_EQ(worst_of("cpu virtualization").verdict, Verdict::bad);
  EXPECT_THAT(worst_of("cpu virtualization").found, HasSubstr("AMD-V"));
}

TEST_F(Checks, KvmOfAnotherUser) {
  machine_.inaccessible["/dev/kvm"] = EACCES;
  EXPECT_EQ(worst_of("kvm").verdict, Verdict::bad);
  EXPECT_THAT(worst_of("kvm").mend, HasSubstr("usermod -aG kvm"));
}

TEST_F(Checks, KvmThatMakesNoVm) {
  machine_.kvm_error = EBUSY;
  EXPECT_EQ(worst_of("kvm").verdict, Verdict::bad);
  EXPECT_THAT(worst_of("kvm").found, HasSubstr("makes no VM: Device or resource busy"));
  EXPECT_THAT(worst_of("kvm").mend, HasSubstr("other hypervisor"));
}

TEST_F(Checks, KvmOfAProcessorThatCannotRunOrdinaryGuests) {
  machine_.put("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : fpu hypervisor\n");
  EXPECT_EQ(worst_of("cpu virtualization").verdict, Verdict::bad);
  EXPECT_EQ(worst_of("kvm").verdict, Verdict::bad);
}

TEST_F(Checks, KvmThatWorks) { EXPECT_EQ(worst_of("kvm").verdict, Verdict::good); }

TEST_F(Checks, IommuThatTheKernelLeavesAlone) {
  machine_.take("/sys/kernel/iommu_groups");
  machine_.put("/sys/firmware/acpi/tables/DMAR", "");
  machine_.put("/etc/default/grub", "");
  machine_.put("/usr/sbin/update-grub", "");
  machine_.put("/proc/cmdline", "quiet\n");
  const Finding found = worst_of("iommu");
  EXPECT_EQ(found.verdict, Verdict::bad);
  EXPECT_EQ(found.mend,
            "add `intel_iommu=on iommu=pt` to GRUB_CMDLINE_LINUX in /etc/default/grub, then `update-grub` and reboot");
}

TEST_F(Checks, IommuThatTheFirmwareHides) {
  machine_.take("/sys/kernel/iommu_groups");
  machine_.put("/proc/cmdline", "quiet\n");
  EXPECT_THAT(worst_of("iommu").mend, HasSubstr("firmware's setup"));
}

TEST_F(Checks, IommuSwitchedOffByTheLastWord) {
  machine_.take("/sys/kernel/iommu_groups");
  machine_.put("/proc/cmdline", "intel_iommu=on intel_iommu=off\n");
  EXPECT_THAT(worst_of("iommu").found, HasSubstr("intel_iommu=off"));
}

struct SwitchCase {
  const char* line;
  const char* vendor;
  const char* found;
};
class IommuSwitches : public testing::TestWithParam<SwitchCase> {};
TEST_P(IommuSwitches, AreReadAsTheKernelReadsThem) {
  fake::FakeMachine machine;
  fake::make_good_host(machine);
  machine.take("/sys/kernel/iommu_groups");
  machine.take("/sys/class/iommu");
  const bool is_amd = GetParam().vendor == std::string{"AMD"};
  machine.put(is_amd ? "/sys/firmware/acpi/tables/IVRS" : "/sys/firmware/acpi/tables/DMAR", "");
  machine.put("/proc/cmdline", GetParam().line);
  const auto findings = check(machine, {});
  const auto found =
      std::find_if(findings->begin(), findings->end(), [](const Finding& f) { return f.check == "iommu"; });
  EXPECT_THAT(found->found, HasSubstr(GetParam().found)) << GetParam().line;
  EXPECT_EQ(found->mend.find("amd_iommu=on iommu=pt"), std::string::npos);
}
constexpr const char* kUnused = "the kernel does not use it";
INSTANTIATE_TEST_SUITE_P(
    Lines, IommuSwitches,
    testing::Values(SwitchCase{"intel_iommu=igfx_off", "Intel", kUnused},
                    SwitchCase{"intel_iommu=on,sm_off", "Intel", kUnused},
                    SwitchCase{"intel_iommu=sp_off", "Intel", kUnused},
                    SwitchCase{"intel_iommu=on,off", "Intel", "switched off by intel_iommu=off"},
                    SwitchCase{"intel_iommu=off,sm_on", "Intel", "switched off by intel_iommu=off"},
                    SwitchCase{"intel_iommu=off intel_iommu=on", "Intel", kUnused},
                    SwitchCase{"intel-iommu=off", "Intel", "switched off by intel_iommu=off"},
                    SwitchCase{"\"intel_iommu=off\"", "Intel", "switched off by intel_iommu=off"},
                    SwitchCase{"init=/x -- intel_iommu=off", "Intel", kUnused},
                    SwitchCase{"note=\"no intel_iommu=off here\"", "Intel", kUnused},
                    SwitchCase{"iommu=pt,off", "Intel", "switched off by iommu=off"},
                    SwitchCase{"iommu=off iommu=force", "Intel", "switched off by iommu=off"},
                    SwitchCase{"iommu=noforce", "Intel", kUnused}, SwitchCase{"amd_iommu=off", "Intel", kUnused},
                    SwitchCase{"amd_iommu=off", "AMD", "switched off by amd_iommu=off"},
                    SwitchCase{"amd_iommu=fullflush,off", "AMD", "switched off by amd_iommu=off"},
                    SwitchCase{"intel_iommu=off", "AMD", kUnused}, SwitchCase{"amd_iommu=on", "AMD", kUnused}));

TEST_F(Checks, IommuOfAmdIsNotSwitchedOnByAWord) {
  machine_.take("/sys/kernel/iommu_groups");
  machine_.take("/sys/class/iommu");
  machine_.put("/sys/firmware/acpi/tables/IVRS", "");
  machine_.put("/proc/cmdline", "amd_iommu=on\n");
  const Finding found = worst_of("iommu");
  EXPECT_EQ(found.verdict, Verdict::bad);
  EXPECT_THAT(found.mend, HasSubstr("dmesg | grep AMD-Vi"));
  EXPECT_THAT(found.mend, HasSubstr("amd_iommu=on means nothing"));
}

TEST_F(Checks, GroupsOfTheNoIommuModeProtectNothing) {
  machine_.take("/sys/kernel/iommu_groups");
  machine_.take("/sys/class/iommu");
  machine_.put("/proc/cmdline", "quiet\n");
  machine_.put("/sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
  machine_.put("/dev/vfio/noiommu-0", "");
  machine_.put_link("/sys/kernel/iommu_groups/0/devices/0000:02:00.0", "/sys/devices/pci0000:00/0000:02:00.0");
  machine_.put_link("/sys/devices/pci0000:00/0000:02:00.0/iommu_group", "/sys/kernel/iommu_groups/0");
  EXPECT_EQ(worst_of("iommu").verdict, Verdict::bad);
  EXPECT_THAT(worst_of("iommu groups").found, HasSubstr("no-IOMMU mode (0): their devices can write anywhere"));
  EXPECT_EQ(worst_of("iommu mode").verdict, Verdict::unknown);
  EXPECT_EQ(worst_of("vfio access").verdict, Verdict::bad);
}

TEST_F(Checks, OneGroupOfTheNoIommuModeAmongOthersIsNamed) {
  machine_.put("/sys/kernel/iommu_groups/77/name", "vfio-noiommu\n");
  EXPECT_EQ(worst_of("iommu").verdict, Verdict::good);
  EXPECT_EQ(worst_of("iommu groups").verdict, Verdict::bad);
  EXPECT_THAT(worst_of("iommu groups").found, HasSubstr("(77)"));
}

TEST_F(Checks, IommuModes) {
  EXPECT_THAT(worst_of("iommu mode").found, testing::StartsWith("lazy"));
  machine_.put("/sys/kernel/iommu_groups/13/type", "DMA\n");
  EXPECT_THAT(worst_of("iommu mode").mend, HasSubstr("iommu.strict=0"));
}

TEST_F(Checks, CardThatSharesItsGroup) {
  machine_.add_function("0000:02:00.1", {.driver = "e1000e", .group = 14});
  const Finding found = worst_of("iommu groups");
  EXPECT_EQ(found.verdict, Verdict::warn);
  EXPECT_THAT(found.found, HasSubstr("shares group 14"));
}

TEST_F(Checks, InterruptsThatAreNotRemapped) {
  machine_.put("/proc/interrupts", "  24:  0  0  PCI-MSI 1048576-edge  ens1\n");
  EXPECT_EQ(worst_of("interrupt remapping").verdict, Verdict::bad);
  machine_.put("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
  EXPECT_EQ(worst_of("interrupt remapping").verdict, Verdict::warn);
}

TEST_F(Checks, PostedInterruptsByTheCapabilityRegister) {
  EXPECT_EQ(worst_of("posted interrupts").verdict, Verdict::good);
  machine_.put("/sys/class/iommu/dmar1/intel-iommu/cap", "c1de008cee690462\n");  // bit 59 clear
  EXPECT_EQ(worst_of("posted interrupts").verdict, Verdict::warn);
}

std::string config_with_acs(unsigned char control) {
  std::string config(4096, '\0');
  config[0x34] = 0x40;
  config.replace(0x40, 3, std::string{"\x10\x00\x42", 3});       // PCI Express, version 2, root port
  config.replace(0x100, 4, std::string{"\x01\x00\x01\x15", 4});  // AER, version 1, next at 0x150
  config.replace(0x150, 8, std::string{"\x0d\x00\x01\x00\x1f\x00", 6} + static_cast<char>(control) + '\0');
  return config;
}

TEST_F(Checks, AcsOfThePortAboveACard) {
  machine_.put("/sys/bus/pci/devices/0000:00:02.0/config", config_with_acs(0x1d));
  EXPECT_EQ(worst_of("acs").verdict, Verdict::good);
  machine_.put("/sys/bus/pci/devices/0000:00:02.0/config", config_with_acs(0x00));
  EXPECT_THAT(worst_of("acs").found, HasSubstr("not switched on"));
  machine_.put("/sys/bus/pci/devices/0000:00:02.0/config",
               config_with_acs(0).substr(0, 0x100) + std::string(256, '\0'));
  EXPECT_THAT(worst_of("acs").found, HasSubstr("has no ACS"));
  machine_.put("/sys/bus/pci/devices/0000:00:02.0/config", std::string(256, '\0'));
  EXPECT_THAT(worst_of("acs").found, HasSubstr("conventional PCI"));
}

TEST_F(Checks, AcsIsHiddenFromOrdinaryUsers) { EXPECT_EQ(worst_of("acs").verdict, Verdict::unknown); }

TEST_F(Checks, HugepagesPerNodeAndSize) {
  machine_.add_node(0, "0-3", {{2048, 512}, {1048576, 2}});
  EXPECT_EQ(worst_of("hugepages").found, "node 0: 2 of 1G (2 free), 512 of 2M (512 free)");
}

TEST_F(Checks, NoHugepages) {
  machine_.add_node(0, "0-3", {{2048, 0}});
  EXPECT_EQ(worst_of("hugepages").verdict, Verdict::warn);
}

TEST_F(Checks, MemlockOfAnOrdinaryUser) {
  EXPECT_EQ(worst_of("memlock").verdict, Verdict::good);
  machine_.put("/proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n");
  EXPECT_EQ(worst_of("memlock").verdict, Verdict::bad);
  EXPECT_THAT(worst_of("memlock").found, HasSubstr("8 MiB"));
}

struct LimitCase {
  const char* soft_and_hard;
  Verdict verdict;
  const char* found;
};
class OpenFiles : public testing::TestWithParam<LimitCase> {};
TEST_P(OpenFiles, AreEnoughForSomePorts) {
  fake::FakeMachine machine;
  fake::make_good_host(machine);
  machine.put("/proc/self/limits", std::string{"Max open files            "} + GetParam().soft_and_hard + " files\n");
  const auto findings = check(machine, {});
  const auto found =
      std::find_if(findings->begin(), findings->end(), [](const Finding& f) { return f.check == "open files"; });
  EXPECT_EQ(found->verdict, GetParam().verdict);
  EXPECT_THAT(found->found, HasSubstr(GetParam().found));
}
INSTANTIATE_TEST_SUITE_P(Limits, OpenFiles,
                         testing::Values(LimitCase{"1024 524288", Verdict::good, "room for 8192 ports"},
                                         LimitCase{"1024 unlimited", Verdict::good, "unlimited (vmux raises 1024"},
                                         LimitCase{"1024 1024", Verdict::warn, "room for 16 ports"},
                                         LimitCase{"16 16", Verdict::bad, "room for 0 ports"}));

TEST_F(Checks, ModulesThatAreMissing) {
  machine_.take("/sys/module/vfio_pci");
  EXPECT_EQ(worst_of("vfio modules").verdict, Verdict::bad);
  machine_.put("/proc/sys/kernel/osrelease", "6.1.0\n");
  machine_.put("/lib/modules/6.1.0/modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko: x\n");
  EXPECT_EQ(worst_of("vfio modules").verdict, Verdict::warn);
}

TEST_F(Checks, OptionsThatTakeProtectionAway) {
  machine_.put("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
  EXPECT_EQ(worst_of("vfio options").verdict, Verdict::warn);
}

TEST_F(Checks, GroupOfAnotherUser) {
  machine_.put("/dev/vfio/14", "");
  machine_.inaccessible["/dev/vfio/14"] = EACCES;
  EXPECT_THAT(worst_of("vfio access").mend, HasSubstr("/dev/vfio/14"));
}

TEST_F(Checks, CpusThatAreNotSetAside) {
  EXPECT_EQ(worst_of("isolated cpus", {"", CpuSet{2, 3}}).verdict, Verdict::good);
  const Finding found = worst_of("isolated cpus", {"", CpuSet{1, 2}});
  EXPECT_EQ(found.verdict, Verdict::warn);
  EXPECT_THAT(found.mend, HasSubstr("domain,1-7"));
}

TEST_F(Checks, DeepIdleStates) {
  for (const char* state : {"state0", "state1"}) {
    const std::string path = std::string{"/sys/devices/system/cpu/cpu0/cpuidle/"} + state;
    machine_.put(path + "/name", state == std::string{"state0"} ? "C1\n" : "C6\n");
    machine_.put(path + "/latency", state == std::string{"state0"} ? "2\n" : "133\n");
    machine_.put(path + "/disable", "0\n");
  }
  EXPECT_THAT(worst_of("c-states").found, HasSubstr("C6 (133 us"));
  machine_.put("/sys/devices/system/cpu/cpu0/cpuidle/state1/disable", "1\n");
  EXPECT_EQ(worst_of("c-states").verdict, Verdict::good);
}

TEST_F(Checks, GovernorThatSaves) {
  machine_.put("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
  machine_.put("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance\n");
  EXPECT_THAT(worst_of("governor").mend, HasSubstr("cpupower -c 1 frequency-set -g performance"));
}

TEST_F(Checks, CpusThatShareACore) {
  machine_.put("/sys/devices/system/cpu/smt/active", "1\n");
  machine_.put("/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2,6\n");
  machine_.put("/sys/devices/system/cpu/cpu6/topology/thread_siblings_list", "2,6\n");
  EXPECT_EQ(worst_of("smt", {"", CpuSet{2, 6}}).verdict, Verdict::warn);
  EXPECT_EQ(worst_of("smt", {"", CpuSet{2, 3}}).verdict, Verdict::good);
}

TEST_F(Checks, CpusFarFromTheCard) {
  EXPECT_EQ(worst_of("nic numa", {"ens2", CpuSet{4, 5}}).verdict, Verdict::good);
  const Finding found = worst_of("nic numa", {"ens2", CpuSet{3, 4}});
  EXPECT_EQ(found.verdict, Verdict::warn);
  EXPECT_THAT(found.found, HasSubstr("CPUs 3 are not"));
  EXPECT_THAT(found.mend, HasSubstr("use CPUs of 4-7"));
}

TEST_F(Checks, CardInANarrowSlot) {
  const std::string path = "/sys/bus/pci/devices/0000:02:00.0/";
  machine_.put(path + "current_link_width", "4\n");
  machine_.put(path + "max_link_width", "8\n");
  machine_.put(path + "current_link_speed", "8.0 GT/s PCIe\n");
  machine_.put(path + "max_link_speed", "8.0 GT/s PCIe\n");
  EXPECT_EQ(worst_of("nic link", {"ens2", std::nullopt}).verdict, Verdict::warn);
}

TEST_F(Checks, QemuThatIsTooOld) {
  machine_.programs["qemu-system-x86_64 --version"] = {0, "QEMU emulator version 7.2.13 (Debian)\n"};
  machine_.programs["qemu-system-x86_64 -device help"] = {0, "name \"vfio-pci\", bus PCI\n"};
  EXPECT_EQ(worst_of("vmm").verdict, Verdict::bad);
  EXPECT_THAT(worst_of("vmm").found, HasSubstr("QEMU 7.2.13"));
  machine_.programs["cloud-hypervisor --version"] = {0, "cloud-hypervisor v41.0\n"};
  machine_.programs["cloud-hypervisor --help"] = {0, "  --user-device <user-device>...\n"};
  EXPECT_EQ(worst_of("vmm").verdict, Verdict::warn);
}

TEST_F(Checks, AskedAboutWhatIsNotThere) {
  EXPECT_EQ(check(machine_, {"ens9", std::nullopt}).error().code, Errc::not_found);
  EXPECT_EQ(check(machine_, {"", CpuSet{64}}).error().code, Errc::not_found);
}

}  // namespace
}  // namespace vmux::host
