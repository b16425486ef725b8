// SPDX-License-Identifier: BSD-3-Clause
#include "host/describe/description.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/fake_machine.hpp"

namespace vmux::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kFile = R"(
[[hugepages]]
count = 256
size = "2M"
node = 1

[[nic]]
device = "ens1"
vfs = 2
vf_driver = "vfio-pci"
  [[nic.vf]]
  index = 0
  mac = "52:54:00:00:10:00"
  vlan = 10
  trust = true
  [[nic.vf]]
  index = 1
  spoofchk = false
  driver = "igbvf"

[[nic]]
device = "0000:02:00.0"
driver = "vfio-pci"

[cpus]
isolated = "4-7"
)";

/// The same in YAML.
constexpr const char* kYaml = R"(# two cards
hugepages:
  - {count: 256, size: 2M, node: 1}
nic:
  - device: ens1
    vfs: 2
    vf_driver: vfio-pci
    vf:
      - index: 0
        mac: 52:54:00:00:10:00
        vlan: 10
        trust: yes
      - index: 1
        spoofchk: false
        driver: igbvf
  - device: "0000:02:00.0"
    driver: vfio-pci
cpus:
  isolated: 4-7
)";

class Descriptions : public testing::Test {
 protected:
  Descriptions() {
    fake::make_good_host(machine_);
    machine_.add_driver("igbvf");
  }
  Outcome<Report> run(const std::string& text, const Options& options = {}, FileFormat format = FileFormat::toml) {
    const auto description = parse_description(text, "host", format);
    if (!description) return tl::unexpected<Failure>(description.error());
    auto session = Session::open(machine_, options);
    return session->finish(apply(*session, *description));
  }
  std::string driver(const char* name) { return machine_.link(std::string{kPciDevices} + name + "/driver"); }
  Description now() { return *describe(machine_, *Journal::load(machine_, "/var/lib/vmux/host.journal")); }
  fake::FakeMachine machine_;
};

TEST_F(Descriptions, AreAppliedAsAWhole) {
  const auto report = run(kFile);
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(machine_.text("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"), "256");
  EXPECT_EQ(driver("0000:01:10.0"), "vfio-pci");
  EXPECT_EQ(driver("0000:01:10.2"), "igbvf");
  EXPECT_EQ(driver("0000:02:00.0"), "vfio-pci");
  EXPECT_EQ(machine_.net.all_vfs["ens1"][0].vlan, 10);
  EXPECT_FALSE(*machine_.net.all_vfs["ens1"][1].checks_spoofing);
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr("isolcpus=managed_irq,domain,4-7 nohz_full=4-7")));
}

TEST_F(Descriptions, AppliedTwiceDoNothingTheSecondTime) {
  ASSERT_TRUE(run(kFile));
  EXPECT_THAT(run(kFile)->actions, IsEmpty());
}

TEST_F(Descriptions, RehearsedChangeNothing) {
  const auto report = run(kFile, {.is_rehearsal = true});
  ASSERT_TRUE(report);
  EXPECT_GT(report->actions.size(), 8u);
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Descriptions, AreRestoredAsAWhole) {
  const std::string before = to_toml(now());
  ASSERT_TRUE(run(kFile));
  ASSERT_TRUE(Session::open(machine_, {})->restore({}));
  EXPECT_EQ(to_toml(now()), before);
}

TEST_F(Descriptions, FailingInTheMiddleLeaveNothing) {
  const std::string before = to_toml(now());
  machine_.net.all_addresses = {{"ens2", "10.0.0.1/24", false}};
  const auto report = run(kFile);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("ens2 carries 10.0.0.1/24"));
  EXPECT_EQ(to_toml(now()), before);
}

/// What is found out before anything changes.
struct Mistake {
  const char* text;
  const char* expected;
};
class MistakenDescription : public Descriptions, public testing::WithParamInterface<Mistake> {};
TEST_P(MistakenDescription, IsToldWithItsLineAndChangesNothing) {
  const auto report = run(std::string{"[[hugepages]]\ncount = 16\nsize = \"2M\"\nnode = 1\n"} + GetParam().text);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::invalid_argument);
  EXPECT_THAT(report.error().text, HasSubstr(GetParam().expected));
  EXPECT_THAT(machine_.written, IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(
    Files, MistakenDescription,
    testing::Values(
        Mistake{"[[nic]]\ndevice = \"0000:0l:00.0\"", "host:6: [[nic]]: device: '0000:0l:00.0' is neither"},
        Mistake{"[[nic]]\ndevice = \"0000:07:00.0\"", "host:6: [[nic]]: device: there is no PCI function"},
        Mistake{"[[nic]]\ndevice = \"ens1\"\ndriver = \"igc\"",
                "host:7: [[nic]]: driver: this kernel has no driver igc"},
        Mistake{"[[nic]]\ndevice = \"ens1\"\nvfs = 2\nvf_driver = \"vfio\"",
                "host:8: [[nic]]: vf_driver: this kernel has no driver vfio"},
        Mistake{"[[nic]]\ndevice = \"ens1\"\nvfs = 2\n[[nic.vf]]\nindex = 1\ndriver = \"nosuch\"",
                "host:10: [[nic.vf]]: driver: this kernel has no driver nosuch"},
        Mistake{"[[nic]]\ndevice = \"ens1\"\nvfs = 8",
                "host:7: [[nic]]: vfs: 0000:01:00.0 has 7 virtual functions at most"},
        Mistake{"[[nic]]\ndevice = \"ens1\"\n[[nic.vf]]\nindex = 0\nvlan = 1",
                "0000:01:00.0 has no virtual functions now"},
        Mistake{"[[nic]]\ndevice = \"ens1\"\nirq_cpus = \"3,9\"", "host:7: [[nic]]: irq_cpus: not all of the CPUs"},
        Mistake{"[[hugepages]]\ncount = 1\nsize = \"1G\"", "host:5: [[hugepages]]: there are no huge pages of 1G"},
        Mistake{"[[hugepages]]\ncount = 1\nnode = 7", "host:5: [[hugepages]]: there are no huge pages of 2M on node 7"},
        Mistake{"[[hugepages]]\ncount = 8",
                "host:5: [[hugepages]]: the pages of 2048 KiB of node1 are counted in line 2"},
        Mistake{"[[nic]]\ndevice = \"ens1\"\n[[nic]]\ndevice = \"01:00.0\"",
                "host:8: [[nic]]: device: 0000:01:00.0 is described in line 6 already"}));

TEST_F(Descriptions, OfACardInUseChangeNothing) {
  machine_.net.all_addresses = {{"ens2", "10.0.0.1/24", false}};
  const auto report = run(kFile);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::busy);
  EXPECT_THAT(report.error().text, HasSubstr("host:23: [[nic]]: driver: 0000:02:00.0 is in use"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Descriptions, NameACardByAnInterfaceThatGoesWithItsDriver) {
  const char* const file = "[[nic]]\ndevice = \"ens2\"\ndriver = \"vfio-pci\"\n";
  ASSERT_TRUE(run(file));
  EXPECT_THAT(run(file)->actions, IsEmpty());
}

TEST_F(Descriptions, GiveACardItsDriverBackAndMakeVfs) {
  ASSERT_TRUE(run("[[nic]]\ndevice = \"01:00.0\"\ndriver = \"vfio-pci\"\n"));
  const char* const file =
      "[[nic]]\ndevice = \"01:00.0\"\ndriver = \"igb\"\nvfs = 1\n[[nic.vf]]\nindex = 0\nmac = \"52:54:00:00:00:01\"\n"
      "[[nic]]\ndevice = \"0000:01:10.0\"\ndriver = \"vfio-pci\"\n";
  const auto report = run(file);
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(driver("0000:01:10.0"), "vfio-pci");
  EXPECT_EQ(machine_.net.all_vfs["ens1"][0].mac, "52:54:00:00:00:01");
  EXPECT_THAT(run(file)->actions, IsEmpty());
}

TEST_F(Descriptions, SavedAndAppliedElsewhereMakeTheSame) {
  ASSERT_TRUE(run(kFile));
  const std::string saved = to_toml(now());
  ASSERT_TRUE(Session::open(machine_, {})->restore({}));
  const auto report = run(saved);
  ASSERT_TRUE(report) << report.error().text << saved;
  EXPECT_EQ(to_toml(now()), saved);
}

TEST_F(Descriptions, InYamlMakeWhatTheyMakeInToml) {
  ASSERT_TRUE(run(kFile));
  const auto report = run(kYaml, {}, FileFormat::yaml);
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_THAT(report->actions, IsEmpty());
  ASSERT_TRUE(Session::open(machine_, {})->restore({}));
  EXPECT_FALSE(run(kYaml, {}, FileFormat::yaml)->actions.empty());
  EXPECT_THAT(run(kFile)->actions, IsEmpty());
}

TEST_F(Descriptions, SavedInYamlAreTheSameAsInToml) {
  ASSERT_TRUE(run(kFile));
  const std::string toml = to_toml(now()), yaml = to_yaml(now());
  const auto read = parse_description(yaml, "saved.yaml", FileFormat::yaml);
  ASSERT_TRUE(read) << read.error().text << yaml;
  EXPECT_EQ(to_toml(*read), toml);
}

TEST(DescriptionFormat, GoesByTheNameOfTheFile) {
  EXPECT_EQ(format_of("/etc/vmux/host.yaml"), FileFormat::yaml);
  EXPECT_EQ(format_of("h.yml"), FileFormat::yaml);
  EXPECT_EQ(format_of("/etc/vmux/host.toml"), FileFormat::toml);
  EXPECT_EQ(format_of("yaml"), FileFormat::toml);
  EXPECT_EQ(format_of("-"), FileFormat::toml);
}

TEST(DescriptionInYaml, MayBeEmpty) {
  for (const char* text : {"", "# nothing\n", "---\n"})
    EXPECT_TRUE(parse_description(text, "h.yaml", FileFormat::yaml));
}

TEST_F(Descriptions, SaveMountsThatThisToolkitMade) {
  ASSERT_TRUE(run("[[hugepages]]\ncount = 4\nnode = 0\nmount = true\n"));
  EXPECT_THAT(to_toml(now()), HasSubstr("mount = true"));
  EXPECT_THAT(to_yaml(now()), HasSubstr("mount: true"));
  EXPECT_THAT(run("[[hugepages]]\ncount = 4\nnode = 0\nmount = true\n")->actions, IsEmpty());
}

TEST_F(Descriptions, SaveInterruptsThatThisToolkitPlaced) {
  machine_.put("/sys/bus/pci/devices/0000:02:00.0/msi_irqs/30", "msix\n");
  machine_.put("/proc/irq/30/smp_affinity_list", "0-7\n");
  EXPECT_THAT(to_toml(now()), testing::Not(HasSubstr("irq_cpus")));
  ASSERT_TRUE(run("[[nic]]\ndevice = \"ens2\"\nirq_cpus = \"5\"\n"));
  EXPECT_EQ(machine_.text("/proc/irq/30/smp_affinity_list"), "5");
  EXPECT_THAT(to_toml(now()), HasSubstr("irq_cpus = \"5\""));
}

TEST(DescriptionInYaml, TakesAddressesThatYaml11CallsNumbersOfBase60) {
  const auto read =
      parse_description("nic:\n- device: 0000:01:00.0\n  vfs: 0x1\n  vf: [{index: 0, mac: 52:54:00:12:34:56}]",
                        "h.yaml", FileFormat::yaml);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->nics[0].device, "0000:01:00.0");
  EXPECT_EQ(read->nics[0].vfs, 1u);
  EXPECT_EQ(read->nics[0].entries.at(0).settings.mac, "52:54:00:12:34:56");
}

struct BadFile {
  const char* text;
  const char* expected;
};
class BadDescription : public testing::TestWithParam<BadFile> {};
TEST_P(BadDescription, IsToldWithItsLine) {
  const auto description = parse_description(GetParam().text, "h.toml", FileFormat::toml);
  ASSERT_FALSE(description);
  EXPECT_EQ(description.error().code, Errc::invalid_argument);
  EXPECT_THAT(description.error().text, HasSubstr(GetParam().expected));
}
INSTANTIATE_TEST_SUITE_P(
    Files, BadDescription,
    testing::Values(
        BadFile{"\n[nic", "h.toml:2: "}, BadFile{"\n\u00e9 = 1", "h.toml:2: a character that is not ASCII"},
        BadFile{"x = 1", "h.toml:1: the file: 'x' is not known here"},
        BadFile{"[nic]\ndevice = \"a\"", "expected [[nic]]"},
        BadFile{"[[nic]]\nvfs = 1", "h.toml:1: [[nic]]: device is required"},
        BadFile{"[[nic]]\ndevice = \"a\"\nvfs = -1", "h.toml:3: [[nic]]: vfs: expected a number"},
        BadFile{"[[nic]]\ndevice = \"a\"\nspeed = 1", "h.toml:3: [[nic]]: 'speed' is not known here"},
        BadFile{"[[nic]]\ndevice = \"a\"\nvfs = 1\n[[nic.vf]]\nindex = 1",
                "with 1 virtual functions there is no number 1"},
        BadFile{"[[nic]]\ndevice = \"a\"\n[[nic.vf]]\nindex = 1\n[[nic.vf]]\nindex = 1", "here twice"},
        BadFile{"[[nic]]\ndevice = \"a\"\n[[nic.vf]]\nmac = \"01:00:5e:00:00:01\"",
                "h.toml:4: [[nic.vf]]: mac: expected a unicast"},
        BadFile{"[[nic]]\ndevice = \"a\"\n[[nic.vf]]\nvlan = 1", "index is required"},
        BadFile{"[[nic]]\ndevice = \"a\"\ndriver = \"vfio-pci\"\nvfs = 2",
                "h.toml:4: [[nic]]: vfs: with the driver vfio-pci it makes no virtual functions"},
        BadFile{"[[nic]]\ndevice = \"a\"\ndriver = \"none\"\n[[nic.vf]]\nindex = 0",
                "[[nic]]: vf: with the driver none"},
        BadFile{"[[nic]]\ndevice = \"a\"\nvf_driver = \"vfio-pci\"", "h.toml:3: [[nic]]: vf_driver: it goes with vfs"},
        BadFile{"[[nic]]\ndevice = \"a\"\nvfs = 0\nvf_driver = \"vfio-pci\"",
                "h.toml:4: [[nic]]: vf_driver: with vfs = 0"},
        BadFile{"[[nic]]\ndevice = \"a\"\nup = false", "h.toml:3: [[nic]]: up: it is about the link of"},
        BadFile{"[[nic]]\ndevice = \"a\"\n[[nic.vf]]\nindex = 0\nqos = 3",
                "h.toml:5: [[nic.vf]]: qos: a priority needs"},
        BadFile{"[[nic]]\ndevice = \"a\"\n[[nic.vf]]\nindex = 0\nmac = \"52:54:00:00:00:01\"\n[[nic]]\n"
                "device = \"b\"\n[[nic.vf]]\nindex = 0\nmac = \"52:54:00:00:00:01\"",
                "h.toml:10: [[nic.vf]]: mac: 52:54:00:00:00:01 is in line 5 already"},
        BadFile{"[[nic]]\ndevice = \"a\"\nvf_drivr = \"x\"", "'vf_drivr' is not known here; did you mean 'vf_driver'?"},
        BadFile{"[[nics]]\ndevice = \"a\"", "h.toml:1: the file: 'nics' is not known here; did you mean 'nic'?"},
        BadFile{"[[nic]]\ndevice = \"a\"\nvfs = 010", "h.toml:3: "},
        BadFile{"[[hugepages]]\nsize = \"2M\"", "count is required"},
        BadFile{"[[hugepages]]\ncount = 1\nsize = \"2\"", "expected a size"},
        BadFile{"[cpus]\nisolated = \"x\"", "expected a CPU list"}));

class BadYaml : public testing::TestWithParam<BadFile> {};
TEST_P(BadYaml, IsToldWithItsLine) {
  const auto description = parse_description(GetParam().text, "h.yaml", FileFormat::yaml);
  ASSERT_FALSE(description);
  EXPECT_EQ(description.error().code, Errc::invalid_argument);
  EXPECT_THAT(description.error().text, HasSubstr(GetParam().expected));
}
INSTANTIATE_TEST_SUITE_P(
    Files, BadYaml,
    testing::Values(
        BadFile{"nic:\n  - [", "h.yaml:"}, BadFile{"x: 1", "h.yaml:1: the file: 'x' is not known here"},
        BadFile{"- 1", "h.yaml:1: expected a table the file"}, BadFile{"7", "h.yaml:1: expected a table"},
        BadFile{"nic:\n  device: a", "h.yaml:1: expected nic, a list of tables"},
        BadFile{"hugepage:\n  - count: 1", "h.yaml:1: the file: 'hugepage' is not known here; did you mean"},
        BadFile{"nic:", "expected nic, a list of tables"},
        BadFile{"nic:\n- vfs: 1", "h.yaml:2: nic: device is required"},
        BadFile{"nic:\n- device: a\n  vfs: many", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: \"2\"", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: 010", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: 0o10", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: 1_0", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: 1e1", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: +1", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: 1:30", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  vfs: ~", "h.yaml:3: nic: vfs: expected a number"},
        BadFile{"nic:\n- device: a\n  driver: no", "h.yaml:3: nic: driver: expected a text (in quotes"},
        BadFile{"nic:\n- device: a\n  driver: 82576", "h.yaml:3: nic: driver: expected a text"},
        BadFile{"nic:\n- device: a\n  driver: ~", "h.yaml:3: nic: driver: expected a text"},
        BadFile{"nic:\n- device: a\n  up: \"yes\"", "h.yaml:3: nic: up: expected true or false"},
        BadFile{"nic:\n- device: a\n  up: 1", "h.yaml:3: nic: up: expected true or false"},
        BadFile{"nic:\n- device: a\n  irq_cpus: 010", "h.yaml:3: nic: irq_cpus: expected a CPU list"},
        BadFile{"nic:\n- device: a\n  irq_cpus: 1,1", "h.yaml:3: nic: irq_cpus: expected each CPU once"},
        BadFile{"hugepages:\n- {count: 0100}", "h.yaml:2: hugepages: count: expected a number"},
        BadFile{"nic:\n- device: a\n  device: b", "h.yaml:3: 'device' is here twice"},
        BadFile{"nic:\n- device: a\n  vf:\n  - {mac: 01:00:5e:00:00:01}", "h.yaml:4: nic.vf: mac: expected a unicast"},
        BadFile{"nic:\n- device: a\n  vf:\n  - {index: 0, link: on}", "nic.vf: link: expected \"auto\""},
        BadFile{"nic: &a\n- device: a\n  vf: *a", "h.yaml:2: nested too deep"},
        BadFile{"cpus: {}\n---\ncpus: {}", "a second document"}, BadFile{"cpus: *x", "h.yaml:1: "},
        BadFile{"hugepages:\n- size: 2M", "h.yaml:2: hugepages: count is required"}));

}  // namespace
}  // namespace vmux::host
