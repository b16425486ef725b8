// SPDX-License-Identifier: BSD-3-Clause
// vhost-user: the header, messages in pieces and in bursts, and those that make no sense.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/vhost_rig.hpp"

namespace vmux::vhost_protocol_test {
namespace {

struct Malformed {
  const char* what;
  Bytes bytes;
  unsigned fds = 0;
};

/// A header of this request that says it has `size` bytes.
Bytes header_only(unsigned request, unsigned flags, unsigned size) { return Bytes{}.u32(request).u32(flags).u32(size); }

std::vector<Malformed> malformed_messages() {
  std::vector<Malformed> all{
      {"version 0", header_only(kGetFeatures, 0, 0)},
      {"version 2", header_only(kGetFeatures, 2, 0)},
      {"version 3", header_only(kGetFeatures, 3, 0)},
      {"a reply to nothing", header_only(kGetFeatures, kVersion | kReply, 0)},
      {"longer than any", header_only(kSetMemTable, kVersion, 4097)},
      {"as long as can be said", header_only(kSetMemTable, kVersion, ~0u)},
      {"request 0", message(0)},
      {"a request that is not known", message(4711)},
      {"an answer where a descriptor was not asked for", message(kGetFeatures), 1},
      {"the in-band kick, which is not offered", ring_state(35, 0, 0)},
      {"postcopy, which is not offered", message(28)},
      {"GET_INFLIGHT_FD, which is not offered", message(31, Bytes{}.zeroes(24))},
      {"IOTLB_MSG, which is not offered", message(22, Bytes{}.zeroes(32))},
      {"SET_BACKEND_REQ_FD, which is not offered", message(21), 1},
      {"GET_CONFIG, which is not offered", message(24, Bytes{}.u32(0).u32(8).u32(0).zeroes(8))},
      {"protocol features that are not offered", number(kSetProtocol, 1ull << 5)},
      {"a table of nine regions", message(kSetMemTable, Bytes{}.u32(9).u32(0).zeroes(8 * 32))},
      {"a table with fewer regions than it says", message(kSetMemTable, Bytes{}.u32(2).u32(0).zeroes(32)), 2},
      {"a table with more regions than it says", message(kSetMemTable, Bytes{}.u32(1).u32(0).zeroes(64)), 1},
      {"a table with too few descriptors", both_regions(), 1},
      {"a table with too many descriptors", both_regions(), 3},
      {"a region without descriptor", message(kAddRegion, Bytes{}.u64(0).append(region(0, 4096, 0, 0)))},
      {"a log without descriptor", message(kSetLogBase, Bytes{}.u64(4096).u64(0))},
      {"a ring of size 0", ring_state(kSetNum, 0, 0)},
      {"a ring larger than any", ring_state(kSetNum, 0, 32769)},
      {"neither enabled nor not", ring_state(kSetEnable, 0, 2)},
      {"a kick without descriptor", number(kSetKick, 0)},
      {"a kick with none and one", number(kSetKick, 0x100), 1},
      {"a kick with unknown flags", number(kSetKick, 0x200), 1},
      {"a kick with two descriptors", number(kSetKick, 0), 2},
  };
  // A ring that there is not: the first is the control queue, which is the front end's.
  for (const unsigned index : {8u, 255u, 0x80000000u}) {
    for (const unsigned request : {kSetNum, kSetBase, kGetBase, kSetEnable})
      all.push_back({"no such ring", ring_state(request, index, 1)});
    all.push_back({"no such ring's addresses", ring_addresses(index)});
    if (index > 255) continue;
    for (const unsigned request : {kSetKick, kSetCall, kSetErr})
      all.push_back({"no such ring's descriptor", number(request, index), 1});
  }
  // Payloads of a byte less and a byte more than the request has.
  for (const unsigned request :
       {kSetFeatures, kSetProtocol, kSetNum, kSetBase, kGetBase, kSetKick, kSetCall, kSetErr, kSetEnable, kSetStatus}) {
    all.push_back({"too short", message(request, Bytes{}.zeroes(7))});
    all.push_back({"too long", message(request, Bytes{}.zeroes(9))});
  }
  for (const unsigned request : {kGetFeatures, kSetOwner, kGetProtocol, kGetQueueNum, kGetSlots, kGetStatus})
    all.push_back({"with a payload", message(request, Bytes{}.zeroes(1))});
  for (const unsigned request : {kSetAddr, kRemRegion}) {
    all.push_back({"too short", message(request, Bytes{}.zeroes(39))});
    all.push_back({"too long", message(request, Bytes{}.zeroes(41))});
  }
  return all;
}

TEST(VhostStream, EndsTheSessionForEachMessageThatMakesNoSense) {
  for (const Malformed& malformed : malformed_messages()) {
    SCOPED_TRACE(malformed.what);
    SCOPED_TRACE(malformed.bytes.number_at(0, 4));
    Rig rig;
    rig.greet();
    const auto fd = new_eventfd();
    const std::size_t before = open_fds();
    rig.send(malformed.bytes, std::vector<int>(malformed.fds, fd.get()));
    EXPECT_TRUE(rig.is_closed());
    EXPECT_LE(open_fds(), before);
    rig.connect();
    EXPECT_EQ(rig.ask(message(kGetFeatures)).request, kGetFeatures);  // the next is served
  }
}

TEST(VhostStream, KnowsWhoSpeaksVfioUser) {
  Rig rig;
  rig.send(Bytes{}.u16(7).u16(1).u32(24).u32(0).u32(0).u32(0).text("{}").u16(0));  // VERSION
  EXPECT_TRUE(rig.is_closed());
  EXPECT_EQ(rig.server->stats().strangers, 1u);
}

TEST(VhostStream, ReadsMessagesInPieces) {
  Rig rig;
  for (const auto byte : number(kSetProtocol, kAck)) {
    rig.send(Bytes{}.u8(byte));
    rig.settle();
  }
  for (const auto byte : number(kSetFeatures, kVersion1, kNeedReply)) {
    rig.send(Bytes{}.u8(byte));
    rig.settle();
  }
  const auto reply = rig.receive();
  ASSERT_TRUE(reply);
  EXPECT_TRUE(is_number(*reply, kSetFeatures, 0));
  EXPECT_EQ(rig.device.accepted, kVersion1);
}

TEST(VhostStream, TakesDescriptorsThatComeWithTheHeaderOfAMessageInPieces) {
  Rig rig;
  rig.greet();
  const auto call = new_eventfd();
  const Bytes whole = number(kSetCall, 3);
  rig.send(Bytes{}.append(whole), {});  // stays apart: without a descriptor this one ends the session
  EXPECT_TRUE(rig.is_closed());
  rig.connect();
  rig.greet();
  Bytes head, tail;
  head.assign(whole.begin(), whole.begin() + 12);
  tail.assign(whole.begin() + 12, whole.end());
  rig.send(head, {call.get()});
  rig.settle();
  rig.send(tail);
  EXPECT_FALSE(rig.is_closed());
}

TEST(VhostStream, AnswersABurstInOrder) {
  Rig rig;
  Bytes burst;
  for (unsigned i = 0; i < 1000; ++i)
    burst.append(message(i % 2 == 0 ? kGetFeatures : kGetProtocol));
  rig.send(burst);
  rig.settle();
  for (unsigned i = 0; i < 1000; ++i) {
    const auto reply = rig.receive();
    ASSERT_TRUE(reply) << i;
    EXPECT_EQ(reply->request, i % 2 == 0 ? kGetFeatures : kGetProtocol);
  }
}

TEST(VhostStream, StopsReadingFromOneThatDoesNotReadAndGoesOnLater) {
  Rig rig;
  constexpr unsigned kMany = 200000;
  const Bytes question = message(kGetFeatures);
  unsigned asked = 0, answered = 0;
  // Until both sides' buffers are full: what does not fit is not taken by the kernel either.
  ::fcntl(rig.raw(), F_SETFL, O_NONBLOCK);
  while (asked < kMany && ::send(rig.raw(), question.data(), question.size(), MSG_NOSIGNAL) == 12) {
    ++asked;
    rig.poller->run_once();
  }
  EXPECT_LT(asked, kMany);
  EXPECT_LT(rig.server->stats().requests, asked);
  while (answered < asked) {
    const auto reply = rig.receive();
    if (!reply) {
      rig.settle();
      continue;
    }
    ++answered;
  }
  EXPECT_EQ(rig.server->stats().requests, asked);
}

TEST(VhostStream, ClosesSurplusDescriptors) {
  Rig rig;
  rig.greet();
  const auto fd = new_eventfd();
  const std::size_t before = open_fds();
  rig.send(both_regions(), std::vector<int>(20, fd.get()));  // more than fit: the kernel says so
  EXPECT_TRUE(rig.is_closed());
  EXPECT_LE(open_fds(), before);
}

TEST(VhostStream, ServesWhatCameBeforeTheHangUp) {
  Rig rig;
  rig.greet();
  rig.send(number(kSetFeatures, kVersion1 | kEventIdx | kProtocolFeatures));
  rig.hang_up();
  EXPECT_EQ(rig.device.accepted, kVersion1 | kEventIdx);
  EXPECT_EQ(rig.device.heard.back(), "gone");
}

}  // namespace
}  // namespace vmux::vhost_protocol_test
