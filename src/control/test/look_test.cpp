// SPDX-License-Identifier: BSD-3-Clause
// Facts as the kernel's files, configuration space and a client's memory tell them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text/format.hpp"
#include "control/look/client_maps.hpp"
#include "control/look/doctor.hpp"
#include "control/look/facts.hpp"
#include "control/look/memory_map.hpp"
#include "control/test/live_control.hpp"

namespace vmux::control {
namespace {

namespace fs = std::filesystem;

class KernelFiles : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(sys_); }
  void TearDown() override { fs::remove_all(sys_); }
  void put(const std::string& path, const std::string& content) {
    fs::create_directories((sys_ / path).parent_path());
    std::ofstream{sys_ / path} << content << '\n';
  }
  fs::path sys_ = fs::temp_directory_path() / fmt::format("vmux-look-{}", ::getpid());
};

TEST_F(KernelFiles, TellTheNodeOfACpu) {
  put("devices/system/cpu/cpu3/node1/x", "");
  put("devices/system/cpu/cpu3/nodes", "");
  EXPECT_EQ(node_of_cpu(3, sys_), 1u);
  EXPECT_EQ(node_of_cpu(4, sys_), std::nullopt);
}

TEST_F(KernelFiles, TellTheGroupOfAFunctionWithoutItsBridges) {
  for (const char* address : {"0000:01:00.0", "0000:01:00.1", "0000:00:01.0"}) {
    put(fmt::format("bus/pci/devices/{}/class", address), address[9] == '1' ? "0x060400" : "0x020000");
    put(fmt::format("bus/pci/devices/0000:01:00.0/iommu_group/devices/{}", address), "");
  }
  put("bus/pci/devices/0000:00:01.0/class", "0x060400");
  put("bus/pci/devices/0000:01:00.0/numa_node", "1");
  const FunctionFacts facts = function_facts("0000:01:00.0", sys_);
  EXPECT_THAT(facts.group_mates, testing::ElementsAre("0000:01:00.1"));
  EXPECT_EQ(facts.node, 1u);
  put("bus/pci/devices/0000:01:00.0/numa_node", "-1");
  EXPECT_EQ(function_facts("0000:01:00.0", sys_).node, std::nullopt);
}

TEST_F(KernelFiles, TellWhetherThereAreHugepages) {
  EXPECT_FALSE(has_hugepages(sys_));
  put("kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
  EXPECT_FALSE(has_hugepages(sys_));
  put("kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "2");
  EXPECT_TRUE(has_hugepages(sys_));
}

std::array<std::byte, 256> config_space(std::uint8_t command, std::uint8_t power_control) {
  std::array<std::byte, 256> config{};
  config[0] = std::byte{0x86};
  config[1] = std::byte{0x80};
  config[4] = std::byte{command};
  config[0x34] = std::byte{0x50};  // capabilities: MSI-X, then power management
  config[0x50] = std::byte{0x11};
  config[0x51] = std::byte{0x60};
  config[0x60] = std::byte{0x01};
  config[0x64] = std::byte{power_control};
  return config;
}

TEST(ConfigFacts, SayWhetherAFunctionMayMasterTheBusAndSleeps) {
  const auto off = config_facts(config_space(0x02, 3)), on = config_facts(config_space(0x06, 0));
  ASSERT_TRUE(off && on);
  EXPECT_FALSE(off->is_bus_master);
  EXPECT_TRUE(off->has_memory_space);
  EXPECT_EQ(off->power_state, 3u);
  EXPECT_TRUE(on->is_bus_master);
  EXPECT_EQ(on->power_state, 0u);
  EXPECT_FALSE(on->is_all_ones);
}

TEST(ConfigFacts, SayThatNobodyAnswers) {
  std::array<std::byte, 256> ones;
  ones.fill(std::byte{0xff});
  EXPECT_TRUE(config_facts(ones)->is_all_ones);
  EXPECT_FALSE(config_facts(std::span{ones}.first(0)).has_value());
}

TEST(ConfigFacts, OfAListInACircleComeToAnEnd) {
  auto config = config_space(0x06, 3);
  config[0x51] = std::byte{0x50};
  EXPECT_EQ(config_facts(config)->power_state, 0u);
}

TEST(Sharing, IsReadFromTheMappingsOfAClient) {
  MemoryFile shared, own, gone, other_device;
  shared.device = own.device = gone.device = makedev(0, 1);
  other_device.device = makedev(8, 1);
  shared.inode = 100;
  own.inode = other_device.inode = 200;
  gone.inode = 300;
  const Mappings maps{
      "7f0000000000-7f0000001000 rw-s 00000000 00:01 100  /memfd:ram (deleted)\n"
      "7f0000001000-7f0000002000 r--p 00000000 00:01 100  /memfd:ram (deleted)\n"
      "7f0000002000-7f0000003000 rw-p 00000000 00:01 200  /memfd:ram (deleted)\n"
      "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0    [stack]\n"
      "no line of that form\n",
      true};
  EXPECT_EQ(maps.of(shared), Sharing::shared);
  EXPECT_EQ(maps.of(own), Sharing::private_);
  EXPECT_EQ(maps.of(gone), Sharing::none);
  EXPECT_EQ(maps.of(other_device), Sharing::none);
  EXPECT_EQ(maps.of(MemoryFile{}), Sharing::unknown);  // a file that is no memory is asked nothing
}

TEST(Sharing, OfMappingsThatAreKnownInPartIsWhatTheRestCannotChange) {
  MemoryFile shared, own, gone;
  shared.inode = 100;
  own.inode = 200;
  gone.inode = 300;
  const Mappings maps{"0-1 rw-s 0 00:00 100 x\n1-2 rw-p 0 00:00 200 y", false};
  EXPECT_EQ(maps.of(shared), Sharing::shared);
  EXPECT_EQ(maps.of(own), Sharing::unknown);
  EXPECT_EQ(maps.of(gone), Sharing::unknown);
}

MemoryFile some_file() {
  MemoryFile file;
  file.inode = 100;
  return file;
}

TEST(Sharing, IsUnknownOfAProcessThatCannotBeAsked) {
  EXPECT_THAT(ClientMaps{}.sharing_of({some_file()}, 0), testing::ElementsAre(Sharing::unknown));
  EXPECT_THAT(ClientMaps{"/nonexistent"}.sharing_of({some_file()}, 1), testing::ElementsAre(Sharing::unknown));
}

class ClientsFiles : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(proc_ / "1");
    fs::create_directories(proc_ / "2");
  }
  void TearDown() override { fs::remove_all(proc_); }
  const fs::path proc_ = fs::temp_directory_path() / fmt::format("vmux-proc-{}", ::getpid());
};

TEST_F(ClientsFiles, AreReadOnceACallAndNoFurtherThanTheirBound) {
  std::ofstream{proc_ / "1/maps"} << "0-1 rw-s 0 00:00 100 x\n";
  std::ofstream{proc_ / "2/maps"} << std::string(Mappings::kMostBytes, '\n') << "0-1 rw-s 0 00:00 100 x\n";
  ClientMaps clients{proc_, std::chrono::hours{1}};
  EXPECT_THAT(clients.sharing_of({some_file()}, 1), testing::ElementsAre(Sharing::shared));
  fs::remove(proc_ / "1/maps");
  EXPECT_THAT(clients.sharing_of({some_file()}, 1), testing::ElementsAre(Sharing::shared));
  EXPECT_THAT(clients.sharing_of({some_file()}, 2), testing::ElementsAre(Sharing::unknown));
}

TEST_F(ClientsFiles, ThatAreNeverReadAreUnknownAndHoldUpNobody) {
  const fs::path never = proc_ / "1/maps";
  ASSERT_EQ(::mkfifo(never.c_str(), 0600), 0);
  std::ofstream{proc_ / "2/maps"} << "0-1 rw-s 0 00:00 100 x\n";
  EXPECT_THAT((ClientMaps{proc_, std::chrono::milliseconds{10}}.sharing_of({some_file()}, 1)),
              testing::ElementsAre(Sharing::unknown));
  // One thread waits for it, and no second one is begun.
  const auto of_another = [&] { return ClientMaps{proc_, std::chrono::hours{1}}.sharing_of({some_file()}, 2).front(); };
  EXPECT_EQ(of_another(), Sharing::unknown);
  { const UniqueFd writer{::open(never.c_str(), O_WRONLY | O_CLOEXEC)}; }
  while (of_another() != Sharing::shared)
    ::usleep(1000);
}

class AMemoryMap : public testing::Test {
 protected:
  static constexpr std::uint64_t kSize = 64 << 10;
  UniqueFd file_{::memfd_create("look", 0)};
  memory::AddressSpace space_;
  void SetUp() override {
    ASSERT_EQ(::ftruncate(file_.get(), kSize), 0);
    ASSERT_EQ(::pwrite(file_.get(), "x", 1, 0x3000), 1);
    ASSERT_TRUE(space_.map(
        {Iova{0x10000}, ByteCount{0x8000}, memory::Access::read_write, UniqueFd{::dup(file_.get())}, 0x2000}));
    ASSERT_TRUE(space_.map({Iova{0x40000}, ByteCount{0x1000}, memory::Access::read, {}, 0}));
  }
};

TEST_F(AMemoryMap, HasRangesAndTheFilesBehindThem) {
  const MemoryMap map = memory_map_of(space_.table());
  ASSERT_EQ(map.ranges.size(), 2u);
  EXPECT_EQ(map.ranges[0].file_offset, 0x2000u);
  EXPECT_EQ(map.ranges[0].file, 0u);
  EXPECT_EQ(map.ranges[1].host, nullptr);
  EXPECT_FALSE(map.ranges[1].file.has_value());
  ASSERT_EQ(map.files.size(), 1u);
  EXPECT_STREQ(map.files[0].kind, "tmpfs");
  struct stat status {};
  ::fstat(file_.get(), &status);
  EXPECT_EQ(map.files[0].inode, status.st_ino);
  EXPECT_THAT(ClientMaps{}.sharing_of(map.files, ::getpid()), testing::ElementsAre(Sharing::shared));
}

TEST_F(AMemoryMap, FindsTheRangeOfAnAddress) {
  const MemoryMap map = memory_map_of(space_.table());
  EXPECT_EQ(map.find(0xffff), nullptr);
  EXPECT_EQ(map.find(0x10000), &map.ranges[0]);
  EXPECT_EQ(map.find(0x17fff), &map.ranges[0]);
  EXPECT_EQ(map.find(0x18000), nullptr);
  EXPECT_EQ(map.find(0x40fff), &map.ranges[1]);
  EXPECT_EQ(map.find(~0ull), nullptr);
}

TEST_F(AMemoryMap, ShowsWhatItShowedWhenItsClientHasTakenThatBack) {
  const MemoryMap map = memory_map_of(space_.table());
  space_.unmap_all([] {});
  EXPECT_EQ(map.ranges.size(), 2u);
  EXPECT_TRUE(place_of(map, map.ranges[0], 0x1000)->is_there);  // mapped still
}

TEST_F(AMemoryMap, SaysWhetherAPageIsInMemoryAndAllocatesNone) {
  const MemoryMap map = memory_map_of(space_.table());
  EXPECT_TRUE(place_of(map, map.ranges[0], 0x1000)->is_there);
  EXPECT_FALSE(place_of(map, map.ranges[0], 0x5000)->is_there);
  struct stat status {};
  ::fstat(file_.get(), &status);
  EXPECT_EQ(status.st_blocks * 512, 4096);
}

TEST_F(AMemoryMap, OfAFileThatBecameShorterIsSafeToAskOf) {
  const MemoryMap map = memory_map_of(space_.table());
  ASSERT_EQ(::ftruncate(file_.get(), 0), 0);
  EXPECT_FALSE(place_of(map, map.ranges[0], 0x1000)->is_there);
}

TEST(AMemoryMapOfAnotherFile, HasNoPlacesAndNoSharing) {
  memory::AddressSpace space;
  UniqueFd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  if (::fcntl(file.get(), F_GET_SEALS) >= 0) GTEST_SKIP() << "this program is in memory itself";
  ASSERT_TRUE(space.map({Iova{0x10000}, ByteCount{0x1000}, memory::Access::read, std::move(file), 0}));
  const MemoryMap map = memory_map_of(space.table());
  ASSERT_EQ(map.files.size(), 1u);
  EXPECT_STREQ(map.files[0].kind, "file");
  EXPECT_EQ(place_of(map, map.ranges[0], 0), std::nullopt);
  EXPECT_THAT(ClientMaps{}.sharing_of(map.files, ::getpid()), testing::ElementsAre(Sharing::unknown));
}

// --- the calls ---

class LookCalls : public test::LiveControl {};

TEST_F(LookCalls, OfMemoryNeedAnAddressThatIsOne) {
  ASSERT_TRUE(call("port.add", port("vm0")));
  const auto odd = call("port.dma", {{"name", "vm0"}, {"translate", "yes"}});
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().field, "translate");
  EXPECT_EQ(call("port.dma", {{"name", "vm0"}, {"physical", true}}).error().field, "physical");
  const auto none = call("port.dma", {{"name", "vm0"}, {"translate", "0x1000"}});
  ASSERT_TRUE(none);
  EXPECT_TRUE((*none)["translated"]["range"].is_null());
  EXPECT_EQ((*none)["connected"], false);
}

TEST_F(LookCalls, ForPlacesInThisMachineAreForAdmins) {
  EXPECT_EQ(methods_.role_for("port.dma", {{"name", "vm0"}, {"translate", "0"}}), Role::read);
  EXPECT_EQ(methods_.role_for("port.dma", {{"name", "vm0"}, {"translate", "0"}, {"physical", true}}), Role::admin);
  EXPECT_EQ(methods_.role_for("doctor", Json::object()), Role::read);
}

TEST_F(LookCalls, OfTheDoctorAreOfOnePortOrOfAll) {
  ASSERT_TRUE(call("port.add", port("vm0")));
  ASSERT_TRUE(call("port.add", port("vm1")));
  const auto about = [this](const Json& params) {
    std::vector<std::string> names;
    const Json result = call("doctor", params).value();
    for (const Json& each : result["findings"])
      names.push_back(each.value("finding", "") + ' ' + each.value("name", ""));
    return names;
  };
  EXPECT_THAT(about(Json::object()), testing::IsSupersetOf({"no_client vm0", "no_client vm1"}));
  EXPECT_THAT(about({{"name", "vm1"}}), testing::ElementsAre("no_client vm1"));
  EXPECT_EQ(call("doctor", {{"name", "nobody"}}).error().kind, ProblemKind::not_found);
}

TEST_F(LookCalls, OfTheDoctorWaitForASecondLook) {
  ASSERT_TRUE(call("port.add", port("vm0")));
  EXPECT_EQ(call("doctor", Json::object()).value()["seconds"], 0);
  EXPECT_EQ(methods_.wait_of("doctor", {{"over_s", 2}}).ns, 2'000'000'000u);
  EXPECT_EQ(methods_.wait_of("doctor", {{"over_s", 0}}).ns, 0u);
  EXPECT_EQ(methods_.wait_of("doctor", {{"name", "nobody"}}).ns, 0u);
}

TEST_F(LookCalls, OfTheDoctorHaveEachTheirOwnFirstLook) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const std::uint64_t start = 100 * kSecond;
  Doctor doctor{*controller_};
  EXPECT_EQ(doctor.look({}, kSecond, start).seconds, 0);
  doctor.begin(start);
  doctor.begin(start + 9 * kSecond);  // of somebody else
  EXPECT_EQ(doctor.look({}, 10 * kSecond, start + 10 * kSecond).seconds, 10);
  EXPECT_EQ(doctor.look({}, kSecond, start + 10 * kSecond).seconds, 1);
  EXPECT_EQ(doctor.look({}, 20 * kSecond, start + 10 * kSecond).seconds, 10);  // none is that old
  EXPECT_EQ(doctor.look({}, 0, start + 70 * kSecond).seconds, 0);              // both are stale
}

TEST_F(LookCalls, OfTheDoctorShareFirstLooksThatAreCloseToEachOther) {
  Doctor doctor{*controller_};
  const std::uint64_t start = 100'000'000'000, later = start + 10'000'000;
  doctor.begin(start);
  doctor.begin(later);
  EXPECT_EQ(doctor.look({}, 0, later).seconds, 0.01);
}

}  // namespace
}  // namespace vmux::control
