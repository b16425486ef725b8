// SPDX-License-Identifier: BSD-3-Clause
// The client against a server that says what the test tells it to, in bytes written out by hand.
#include "vmux/vfio_user/client.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "vfio_user/test/scripted_server.hpp"

namespace vmux::vfio_user {
namespace {

TEST(Client, ProposesAVersionAndTakesTheServersLimits) {
  ScriptedServer server{
      {agree(R"({"capabilities":{"max_msg_fds":4,"max_data_xfer_size":4096,"write_multiple":true}})")}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->limits().max_fds, 4u);
  EXPECT_EQ((*client)->limits().max_transfer, 4096u);
  EXPECT_TRUE((*client)->limits().write_multiple);
  server.join();
  EXPECT_EQ(at<std::uint16_t>(server.requests[0], 2), kVersion);
  EXPECT_EQ(server.requests[0].back(), 0);  // the JSON ends with NUL
}

TEST(Client, RefusesAnotherMajorVersion) {
  ScriptedServer server{{[](const Bytes& request) { return reply_to(request, version_body(1, "{}")); }}};
  EXPECT_FALSE(Client::adopt(std::move(server.client_end)));
}

TEST(Client, RefusesAVersionThatIsNoJson) {
  ScriptedServer server{{agree("{\"capabilities\":")}};
  EXPECT_FALSE(Client::adopt(std::move(server.client_end)));
}

TEST(Client, ReadsARegister) {
  ScriptedServer server{{agree(), answer(region_reply(4, 4))}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  std::uint32_t value = 0;
  ASSERT_TRUE(read_register(**client, value));
  EXPECT_EQ(value, 0xa5a5a5a5u);
  server.join();
  EXPECT_EQ(at<std::uint16_t>(server.requests[1], 2), kRegionRead);
  EXPECT_EQ(at<std::uint64_t>(server.requests[1], 16), 8u);
  EXPECT_EQ(at<std::uint32_t>(server.requests[1], 28), 4u);
}

TEST(Client, TakesAReplyThatComesInPieces) {
  ScriptedServer server{{agree(), [](const Bytes& request) { return reply_to(request, region_reply(4, 4)); }}, 5};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  std::uint32_t value = 0;
  EXPECT_TRUE(read_register(**client, value));
  EXPECT_EQ(value, 0xa5a5a5a5u);
}

TEST(Client, TakesNoReplyThatIsTooShort) {
  ScriptedServer server{{agree(), answer(region_reply(4, 2))}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  std::uint32_t value = 0;
  EXPECT_FALSE(read_register(**client, value));
}

TEST(Client, TellsTheServersErrno) {
  ScriptedServer server{{agree(), [](const Bytes& request) {
                           return message(at<std::uint16_t>(request, 0), kReset, kReply | kError, EBUSY, {});
                         }}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  const auto done = (*client)->reset();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::system);
  EXPECT_EQ(done.error().sys, EBUSY);
}

TEST(Client, NoticesThatTheServerIsGone) {
  ScriptedServer server{{agree()}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  server.join();
  const auto done = (*client)->reset();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::disconnected);
}

TEST(Client, GivesUpOnASilentServer) {
  ScriptedServer server{{agree(), [](const Bytes&) { return Bytes{}; }, [](const Bytes&) { return Bytes{}; }}};
  auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kShort});
  ASSERT_TRUE(client);
  const auto done = (*client)->reset();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::timed_out);
  client->reset();
}

// The buffer of a call that has returned is not the client's any more.
TEST(Client, AReplyThatComesAfterItsCallCouldNotBeSentInTimeIsDropped) {
  ScriptedServer server{{agree()}, 65536, /*stays=*/true};
  auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kShort});
  ASSERT_TRUE(client);
  server.join();  // it reads nothing now, and this is more than a socket holds
  const std::vector<std::byte> much(1 << 20);
  EXPECT_FALSE((*client)->write_posted(pci::Region::bar0, RegionOffset{0}, much));
  std::uint32_t value = 7;
  EXPECT_FALSE(read_register(**client, value));

  std::thread late{[&server] {
    EXPECT_EQ(at<std::uint16_t>(server.receive(), 2), kRegionWrite);
    const Bytes read = server.receive();
    EXPECT_EQ(at<std::uint16_t>(read, 2), kRegionRead);
    EXPECT_TRUE(server.send(reply_to(read, region_reply(4, 4))));
    for (Bytes reset = server.receive(); !reset.empty(); reset = server.receive())
      EXPECT_TRUE(server.send(reply_to(reset)));
  }};
  while (!(*client)->reset()) {  // however long that thread takes to come
  }
  client->reset();
  late.join();
  EXPECT_EQ(value, 7u);
}

TEST(Client, WaitsForNothingAfterAPostedWrite) {
  ScriptedServer server{{agree(), [](const Bytes&) { return Bytes{}; }}};
  const auto client = Client::adopt(std::move(server.client_end));
  ASSERT_TRUE(client);
  const std::uint32_t value = 7;
  EXPECT_TRUE((*client)->write_posted(pci::Region::bar0, RegionOffset{8}, std::as_bytes(std::span{&value, 1})));
  server.join();
  EXPECT_EQ(at<std::uint16_t>(server.requests[1], 2), kRegionWrite);
  EXPECT_EQ(at<std::uint32_t>(server.requests[1], 8) & kNoReply, kNoReply);
}

Bytes io_fd(std::uint64_t offset, std::uint32_t fd_index) {
  Bytes part;
  part << offset << std::uint64_t{4} << fd_index << std::uint32_t{0} << std::uint32_t{1} << std::uint32_t{0}
       << std::uint64_t{7};
  return part;
}
Bytes io_fds(std::uint32_t argsz, std::uint32_t count, const Bytes& parts) {
  Bytes body;
  body << argsz << std::uint32_t{0} << std::uint32_t{2} << count;
  body.insert(body.end(), parts.begin(), parts.end());
  return body;
}

TEST(Client, FindsNoDescriptorsWhereThereAreNone) {
  ScriptedServer server{{agree(), answer(io_fds(16, 0, {}))}};
  const auto client = Client::adopt(std::move(server.client_end));
  const auto found = (*client)->region_io_fds(2);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->parts.empty());
}

TEST(Client, TakesNoListOfDescriptorsThatIsShortOrNamesWhatIsNotThere) {
  ScriptedServer server{
      {agree(), answer(io_fds(96, 2, io_fd(8, 0))), answer(io_fds(56, 1, io_fd(8, 0))), answer(io_fds(16, 1, {}))}};
  const auto client = Client::adopt(std::move(server.client_end));
  EXPECT_FALSE((*client)->region_io_fds(2));
  EXPECT_FALSE((*client)->region_io_fds(2));
  EXPECT_FALSE((*client)->region_io_fds(2));
}

/// What the client makes of this answer, which one descriptor comes with.
Result<IoFds> io_fds_from(const Bytes& answer) {
  TwinServer server;
  std::thread serving{[&] {
    server.agree(R"({"capabilities":{"max_msg_fds":4}})", false);
    server.send_with(server.twin.get(), reply_to(TwinServer::receive(server.socket), answer));
  }};
  const auto client = Client::adopt(std::move(server.client_end), {.timeout_ns = kShort});
  EXPECT_TRUE(client);
  auto found = client ? (*client)->region_io_fds(2) : Result<IoFds>{};
  serving.join();
  return found;
}

TEST(Client, TakesTheDescriptorsOfARegion) {
  const auto found = io_fds_from(io_fds(56, 1, io_fd(8, 0)));
  ASSERT_TRUE(found);
  ASSERT_EQ(found->parts.size(), 1u);
  EXPECT_EQ(found->parts[0].offset, 8u);
  EXPECT_EQ(found->parts[0].size, 4u);
  EXPECT_EQ(found->parts[0].flags, 1u);
  EXPECT_EQ(found->parts[0].value, 7u);
  EXPECT_FALSE(found->parts[0].is_ioregionfd);
  EXPECT_EQ(found->fds.size(), 1u);
}

TEST(Client, TakesDescriptionsThatHaveGrown) {
  Bytes parts = io_fd(8, 0);
  parts << std::uint64_t{0};
  for (const std::uint8_t byte : io_fd(16, 0))
    parts << byte;
  parts << std::uint64_t{0};
  parts[20] = 1;  // the type: an ioregionfd
  const auto found = io_fds_from(io_fds(112, 2, parts));
  ASSERT_TRUE(found);
  ASSERT_EQ(found->parts.size(), 2u);
  EXPECT_EQ(found->parts[1].offset, 16u);
  EXPECT_EQ(found->parts[1].value, 7u);
  EXPECT_TRUE(found->parts[0].is_ioregionfd);
  EXPECT_FALSE(found->parts[1].is_ioregionfd);
}

TEST(Client, TakesNoDescriptionThatIsCutOff) {
  EXPECT_FALSE(io_fds_from(io_fds(96, 2, io_fd(8, 0))));
  EXPECT_FALSE(io_fds_from(io_fds(48, 1, io_fd(8, 0))));
}

}  // namespace
}  // namespace vmux::vfio_user
