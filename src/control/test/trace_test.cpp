// SPDX-License-Identifier: BSD-3-Clause
// What passes between a client and a card, as it is traced; and what doctor and port.dma say of a client that is there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "control/test/live_control.hpp"
#include "control/trace/register_names.hpp"
#include "control/trace/trace_ring.hpp"
#include "vmux/vfio_user/client.hpp"
#include "wire/names.hpp"

namespace vmux::control {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

TEST(TraceRing, GivesRecordsInTheirOrderWithTheirTimes) {
  TraceRing ring{[] {}, 4};
  ring.record({.code = 1});
  ring.record({.code = 2});
  TraceRecord first, second, none;
  ASSERT_TRUE(ring.take(first) && ring.take(second));
  EXPECT_EQ(first.code, 1u);
  EXPECT_EQ(second.code, 2u);
  EXPECT_GT(first.time_ns, 0u);
  EXPECT_FALSE(ring.take(none));
}

TEST(TraceRing, CountsWhatFindsNoRoomAndGoesOn) {
  bool has_given_up = false;
  TraceRing ring{[&has_given_up] { has_given_up = true; }, 4};
  for (std::uint32_t i = 0; i < 7; ++i)
    ring.record({.code = i});
  EXPECT_EQ(ring.missed(), 3u);
  EXPECT_FALSE(has_given_up);  // somebody read a moment ago
  TraceRecord record;
  ASSERT_TRUE(ring.take(record));
  EXPECT_EQ(record.code, 0u);
  ring.record({.code = 7});
  EXPECT_EQ(ring.missed(), 3u);
}

TEST(TraceRing, EndsTheTracingWhenItIsFullAndNobodyReads) {
  bool has_given_up = false;
  TraceRing ring{[&has_given_up] { has_given_up = true; }, 2, /*patience_ns=*/0};
  ring.record({});
  ring.record({});
  EXPECT_FALSE(has_given_up);
  ring.record({});
  EXPECT_TRUE(has_given_up);
}

TEST(TraceRing, GoesOnWhenItsReaderComesWhileSomethingIsRecorded) {
  bool has_given_up = false;
  TraceRing ring{[&has_given_up] { has_given_up = true; }, 2};
  ring.note_reader(monotonic_ns() + 3'600'000'000'000ull);  // later than any record's time
  for (int i = 0; i < 3; ++i)
    ring.record({});
  EXPECT_EQ(ring.missed(), 1u);
  EXPECT_FALSE(has_given_up);
  EXPECT_FALSE(ring.is_abandoned());
}

/// A device whose tracer a test calls.
class TracedDevice final : public Device {
 public:
  [[nodiscard]] std::vector<port::Port*> lanes() override { return {}; }
  [[nodiscard]] bool is_ready() noexcept override { return true; }
  void report(CounterReport&) const override {}
  void set_tracer(Tracer* now) noexcept override { tracer = now; }
  [[nodiscard]] std::string trace_name(const TraceRecord&) const override { return "it"; }
  void record() {
    if (tracer != nullptr) tracer->record({});
  }
  Tracer* tracer = nullptr;
};

TEST(Traces, ThatHaveGivenUpAreOverForWhoeverReadsThem) {
  const auto poller = std::move(*runtime::Poller::create({}));
  ASSERT_TRUE(poller->start());
  EventRing events;
  TracedDevice device;
  Traces traces{events, {.records = 2, .patience_ns = 0}};
  const std::uint64_t id = traces.begin("vm0", 0, device, *poller).value().id;
  poller->call([&device] { device.record(); });
  EXPECT_FALSE(traces.list().at(0).is_over);
  poller->call([&device] {
    for (int i = 0; i < 2; ++i)
      device.record();
  });
  EXPECT_EQ(device.tracer, nullptr);
  EXPECT_TRUE(traces.list().at(0).is_over);
  const auto slice = traces.read(id, 0, 10).value();
  EXPECT_TRUE(slice.info.is_over);
  EXPECT_EQ(slice.info.missed, 1u);
  ASSERT_EQ(slice.lines.size(), 2u);
  EXPECT_EQ(slice.lines[0].name, "it");
  EXPECT_TRUE(traces.begin("vm0", 0, device, *poller));
}

TEST(Names, AreThoseOfTheSpecifications) {
  EXPECT_STREQ(wire::vfio_user_name(2), "VFIO_USER_DMA_MAP");
  EXPECT_STREQ(wire::vhost_user_name(5), "VHOST_USER_SET_MEM_TABLE");
  EXPECT_STREQ(wire::virtchnl_name(8), "VIRTCHNL_OP_ENABLE_QUEUES");
  EXPECT_STREQ(wire::virtio_net_control_name(0x0400), "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET");
  EXPECT_EQ(wire::vfio_user_name(14), nullptr);
  EXPECT_EQ(config_register_name(0x04), "Command");
  EXPECT_EQ(config_register_name(0x05), "Command");
  EXPECT_EQ(config_register_name(0x40), "");
  EXPECT_EQ(msix_table_name(0x38), "MSIX_TABLE[3].Message_Data");
  EXPECT_EQ(virtio_register_name(28), "queue_enable");
  EXPECT_EQ(virtio_register_name(6 * 4096), "NOTIFY[2]");
}

class Tracing : public test::LiveControl {
 protected:
  void SetUp() override {
    test::LiveControl::SetUp();
    ASSERT_TRUE(call("port.add", port("vm0")));
  }
  std::unique_ptr<vfio_user::Client> attach() { return std::move(*vfio_user::Client::connect(directory_ / "vm0")); }
  std::uint64_t start() { return call("trace.start", {{"name", "vm0"}}).value()["trace"]; }
  std::vector<std::string> read(std::uint64_t trace) {
    std::vector<std::string> lines;
    const Json result = call("trace.read", {{"trace", trace}}).value();
    for (const Json& record : result["records"]) {
      std::string line = record.value("what", "") + ' ' + record.value("name", "");
      if (record.contains("value")) line += ' ' + record.value("value", "");
      lines.push_back(std::move(line));
    }
    return lines;
  }
};

TEST_F(Tracing, HasMessagesAndRegistersByName) {
  const std::uint64_t trace = start();
  const auto client = attach();
  std::array<std::byte, 2> vendor{};
  ASSERT_TRUE(client->read(pci::Region::config, RegionOffset{0}, vendor));
  const std::array command{std::byte{6}, std::byte{0}};
  ASSERT_TRUE(client->write(pci::Region::config, RegionOffset{4}, command));
  EXPECT_FALSE(client->read(pci::Region::config, RegionOffset{1 << 20}, vendor));
  const auto lines = read(trace);
  EXPECT_THAT(lines, Contains("message VFIO_USER_VERSION"));
  EXPECT_THAT(lines, Contains("read Vendor_ID 0x1234"));
  EXPECT_THAT(lines, Contains("write Command 0x6"));
  EXPECT_THAT(lines, Contains("refused VFIO_USER_REGION_READ"));
  EXPECT_THAT(read(trace), IsEmpty());
}

TEST_F(Tracing, EndsWhenItIsToldTo) {
  const auto client = attach();
  const std::uint64_t trace = start();
  EXPECT_EQ(call("trace.list", Json::object()).value().size(), 1u);
  ASSERT_TRUE(call("trace.stop", {{"trace", trace}}));
  std::array<std::byte, 2> vendor{};
  ASSERT_TRUE(client->read(pci::Region::config, RegionOffset{0}, vendor));
  EXPECT_EQ(call("trace.read", {{"trace", trace}}).error().kind, ProblemKind::not_found);
  EXPECT_EQ(call("trace.list", Json::object()).value().size(), 0u);
}

TEST_F(Tracing, IsOfOneReaderAtATime) {
  const std::uint64_t trace = start();
  EXPECT_EQ(call("trace.start", {{"name", "vm0"}}).error().kind, ProblemKind::busy);
  EXPECT_EQ(call("trace.start", {{"name", "nobody"}}).error().kind, ProblemKind::not_found);
  EXPECT_EQ(controller_->traces().read(trace, 4711, 1).error().kind, ProblemKind::not_allowed);
}

TEST_F(Tracing, OutlivesItsPortUntilItIsRead) {
  const std::uint64_t trace = start();
  { const auto client = attach(); }
  ASSERT_TRUE(call("port.remove", {{"name", "vm0"}}));
  const Json rest = call("trace.read", {{"trace", trace}}).value();
  EXPECT_EQ(rest["over"], true);
  EXPECT_THAT(rest["records"], Not(IsEmpty()));
  ASSERT_TRUE(call("port.add", port("vm0")));
  EXPECT_GT(start(), trace);
}

// --- a client that is there ---

std::vector<std::string> names_of(const Json& result) {
  std::vector<std::string> names;
  for (const Json& each : result["findings"])
    names.push_back(each.value("finding", ""));
  return names;
}

TEST_F(Tracing, BesideItTheDoctorFindsAFunctionThatMayNotMasterTheBus) {
  const auto client = attach();
  EXPECT_THAT(names_of(call("doctor", {{"name", "vm0"}}).value()), ElementsAre("bus_master_off"));
  const std::array command{std::byte{6}, std::byte{0}};
  ASSERT_TRUE(client->write(pci::Region::config, RegionOffset{4}, command));
  EXPECT_THAT(names_of(call("doctor", {{"name", "vm0"}}).value()), IsEmpty());
}

TEST_F(Tracing, BesideItTheDoctorKnowsAClientOfTheOtherProtocol) {
  const UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (directory_ / "vm0").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  constexpr std::array<std::uint32_t, 3> kGetFeatures{1, 1, 0};  // of vhost-user
  ASSERT_EQ(::send(socket.get(), kGetFeatures.data(), sizeof kGetFeatures, 0), 12);
  char rest[64];
  while (::recv(socket.get(), rest, sizeof rest, 0) > 0)
    ;  // it is sent away at once, not when the time for VERSION is up
  const auto strangers = [this] {
    for (const auto& [name, value] : controller_->port_state("vm0").client) {
      if (name == "strangers") return value;
    }
    return std::uint64_t{0};
  };
  EXPECT_EQ(strangers(), 1u);
}

TEST_F(Tracing, BesideItMemoryIsShownWithItsClientAndItsFile) {
  const auto client = attach();
  const UniqueFd file{::memfd_create("ram", 0)};
  ASSERT_EQ(::ftruncate(file.get(), 1 << 20), 0);
  void* const mine = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  ASSERT_NE(mine, MAP_FAILED);
  ASSERT_TRUE(client->dma_map(Iova{0x100000}, ByteCount{1 << 20}, memory::Access::read_write, file.get(), 0));
  const Json dma = call("port.dma", {{"name", "vm0"}, {"translate", "0x123456"}}).value();
  EXPECT_EQ(dma["client"], ::getpid());
  ASSERT_EQ(dma["ranges"].size(), 1u);
  EXPECT_EQ(dma["ranges"][0]["start"], "0x100000");
  EXPECT_EQ(dma["ranges"][0]["end"], "0x1fffff");
  EXPECT_EQ(dma["translated"]["file_offset"], "0x23456");
  EXPECT_EQ(dma["translated"]["in_memory"], false);
  // The daemon in the same process has it mapped as shared; a VMM's process has what it has itself.
  EXPECT_EQ(dma["files"][0]["client_maps"], "shared");
  ::munmap(mine, 1 << 20);
}

}  // namespace
}  // namespace vmux::control
