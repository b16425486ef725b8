// SPDX-License-Identifier: BSD-3-Clause
// VFIO_USER_VERSION
#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

std::string json_of(const Reply& reply) { return {reply.payload.begin() + 4, reply.payload.end() - 1}; }
Bytes version(unsigned major, unsigned minor, std::string_view json = {}) {
  Bytes payload;
  payload.u16(major).u16(minor).text(json);
  if (!json.empty()) payload.u8(0);
  return message(9, kVersion, payload);
}

TEST(Version, AnswersQemuInAFormThatQemuTakes) {
  Rig rig;
  const auto reply = rig.ask(qemu_version());
  EXPECT_EQ(reply.flags, kReply);
  EXPECT_EQ(reply.payload.number_at(0, 4), 0u);  // 0.0
  EXPECT_LT(reply.size, 200u);
  EXPECT_LE(reply.size, qemu_version().size());
  EXPECT_EQ(reply.payload.back(), 0);
  EXPECT_EQ(json_of(reply), R"({"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":65535,)"
                            R"("pgsizes":4096,"write_multiple":true}})");
  EXPECT_TRUE(reply.fds.empty());
  EXPECT_EQ(rig.device.attachments, 1);
}

TEST(Version, AnswersCloudHypervisorWithCapabilities) {
  Rig rig;
  const auto reply = rig.ask(cloud_hypervisor_version());
  EXPECT_EQ(reply.flags, kReply);
  EXPECT_EQ(reply.payload.number_at(0, 4), 0u);
  EXPECT_NE(json_of(reply).find("\"capabilities\""), std::string::npos);
  EXPECT_EQ(json_of(reply).find("write_multiple"), std::string::npos);  // was not proposed
}

TEST(Version, NeedsNoVersionData) {
  Rig rig;
  EXPECT_EQ(rig.ask(version(0, 0)).flags, kReply);
}

TEST(Version, NeedsNoCapabilities) {
  Rig rig;
  EXPECT_EQ(rig.ask(version(0, 7, "{}")).flags, kReply);
}

TEST(Version, RefusesAnotherMajorAndCloses) {
  Rig rig;
  EXPECT_EQ(rig.ask(version(1, 0, "{}")).flags, kReply | kError);
  EXPECT_TRUE(rig.is_closed());
  EXPECT_EQ(rig.device.attachments, 0);
}

TEST(Version, RefusesAShortMessageAndCloses) {
  Rig rig;
  EXPECT_TRUE(is_error(rig.ask(message(1, kVersion, Bytes{}.u16(0))), EINVAL));
  EXPECT_TRUE(rig.is_closed());
}

TEST(Version, RefusesALongMessageAndCloses) {
  Rig rig;
  EXPECT_TRUE(is_error(rig.ask(version(0, 0, std::string(5000, ' '))), EINVAL));
  EXPECT_TRUE(rig.is_closed());
}

TEST(Version, RefusesWhatIsNoJson) {
  Rig rig;
  EXPECT_TRUE(is_error(rig.ask(version(0, 0, "{\"capabilities\":")), EINVAL));
  EXPECT_TRUE(rig.is_closed());
}

TEST(Version, RefusesJsonThatIsNoObject) {
  Rig rig;
  EXPECT_TRUE(is_error(rig.ask(version(0, 0, "[1]")), EINVAL));
}

TEST(Version, RefusesCapabilityOfTheWrongType) {
  Rig rig;
  EXPECT_TRUE(is_error(rig.ask(version(0, 0, R"({"capabilities":{"max_msg_fds":"many"}})")), EINVAL));
}

TEST(Version, RefusesDataWithoutItsNul) {
  Rig rig;
  EXPECT_TRUE(is_error(rig.ask(message(1, kVersion, Bytes{}.u32(0).text("{}"))), EINVAL));
}

TEST(Version, RefusesToBeAskedTwiceAndStays) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(qemu_version()), EINVAL));
  EXPECT_TRUE(is_success(rig.ask(message(3, kReset)), 3, kReset, 0));
}

TEST(Version, MustComeFirst) {
  Rig rig;
  EXPECT_TRUE(is_error(rig.ask(message(1, kGetInfo, Bytes{}.u32(16).zeroes(12))), EINVAL));
  EXPECT_TRUE(rig.is_closed());
}

// A front end of vhost-user waits for an answer to its GET_FEATURES, which is shorter than our header.
TEST(Version, IsNotWaitedForFromWhoSpeaksVhostUser) {
  Rig rig;
  rig.send(Bytes{}.u32(1).u32(1).u32(0));
  EXPECT_TRUE(rig.is_closed());
  EXPECT_EQ(rig.server->stats().strangers, 1u);
}

TEST(Version, IsWaitedForWhereNothingSpeaksAgainstIt) {
  Rig rig;
  const Bytes whole = qemu_version();
  Bytes head, tail;
  head.assign(whole.begin(), whole.begin() + 12);
  tail.assign(whole.begin() + 12, whole.end());
  rig.send(head);
  rig.settle();
  EXPECT_EQ(rig.ask(tail).flags, kReply);
  EXPECT_EQ(rig.server->stats().strangers, 0u);
}

TEST(Version, ClosesSurplusDescriptors) {
  Rig rig;
  const auto before = open_fds();
  const auto event = new_eventfd();
  rig.send(qemu_version(), {event.get(), event.get()});
  rig.settle();
  EXPECT_EQ(open_fds(), before + 1 - 1);  // one eventfd of ours, and the server's end of the socket is closed
}

TEST(Version, SurvivesAPeerThatLeaves) {
  Rig rig;
  const auto before = open_fds();
  rig.send(qemu_version());
  rig.hang_up();
  EXPECT_EQ(open_fds(), before - 2);
  EXPECT_EQ(rig.device.attachments, 0);
}

}  // namespace
}  // namespace vmux::protocol_test
