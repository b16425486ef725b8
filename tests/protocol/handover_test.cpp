// SPDX-License-Identifier: BSD-3-Clause
// A session that goes on in another object: at any byte of any message, with everything that the client has given.
#include "protocol/handover_rig.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace vmux::protocol_test {
namespace {

struct Step {
  const char* what;
  Bytes bytes;
  std::vector<int> fds;
};

/// Every kind of message, with what comes of it to be seen in a later reply.
class Script {
 public:
  Script() {
    add("version", qemu_version());
    add("info", message(2, kGetInfo, Bytes{}.u32(16).zeroes(12)));
    for (unsigned region = 0; region < 9; ++region)
      add("region info", message(10 + region, kGetRegionInfo, Bytes{}.u32(96).u32(0).u32(region).zeroes(20)));
    for (unsigned irq = 0; irq < 5; ++irq)
      add("irq info", message(20 + irq, kGetIrqInfo, Bytes{}.u32(16).u32(0).u32(irq).u32(0)));
    add("map", dma_map(30, 0, 0x10000), {memory_.get()});
    add("map by message", dma_map(31, 0x100000, 0x1000));
    add("bus master", region_write(32, kConfig, 4, Bytes{}.u16(7)));
    add("irqs", set_irqs(33, kMsix, kEventfd | kTrigger, 0, 2), {first_.get(), second_.get()});
    add("intx", set_irqs(34, kIntx, kEventfd | kTrigger, 0, 1), {third_.get()});
    add("unmask", set_irqs(35, kIntx, kEventfd | kUnmask, 0, 1), {fourth_.get()});
    add("mask", set_irqs(36, kMsix, kNone | kMask, 1, 1));
    add("write", region_write(40, kBar2, 0, Bytes{}.u32(0x01020304)));
    add("read", region_read(41, kBar2, 0, 4));
    add("write without reply", region_write(42, kBar2, 0, Bytes{}.u32(0x11111111), kNoReply));
    add("read again", region_read(43, kBar2, 0, 8));
    add("several writes",
        message(44, kWriteMulti, Bytes{}.u64(2).append(one(kBar2, 4, 0x0203)).append(one(kBar2, 0, 9))));
    add("read config", region_read(45, kConfig, 0, 256));
    add("io fds", message(46, kGetRegionIoFds, Bytes{}.u32(128).u32(0).u32(kBar2).u32(0)));
    add("unknown", message(47, 99, Bytes{}.zeroes(5)));
    add("log", feature(48, 6 | 0x20000, Bytes{}.u64(4096).u32(0).u32(0)));
    add("stop and copy", feature(49, 2 | 0x20000, Bytes{}.u32(3).u32(~0u)));
    add("data", message(50, kMigDataRead, Bytes{}.u32(1024).u32(100)));
    add("more data", message(51, kMigDataRead, Bytes{}.u32(1024).u32(50)));
    add("run", feature(52, 2 | 0x20000, Bytes{}.u32(2).u32(~0u)));
    add("unmap", dma_unmap(53, 0x100000, 0x1000));
    add("read at last", region_read(54, kBar2, 0, 8));
    add("reset", message(55, kReset));
    add("read after reset", region_read(56, kBar2, 0, 8));
  }

  [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }
  [[nodiscard]] std::size_t size() const {
    std::size_t all = 0;
    for (const Step& step : steps_)
      all += step.bytes.size();
    return all;
  }
  /// All that the client hears when `at` is told of each place in the stream before its byte is sent.
  Bytes play(HandoverRig& rig, const std::function<void(std::size_t)>& at) const {
    Bytes heard;
    std::size_t position = 0;
    for (const Step& step : steps_) {
      // Descriptors go with the first byte.
      std::size_t sent = 0;
      for (std::size_t i = 0; i < step.bytes.size(); ++i, ++position) {
        if (!at_is_due(at, position)) continue;
        if (i != sent) rig.send(part(step.bytes, sent, i), sent == 0 ? step.fds : std::vector<int>{});
        sent = i;
        rig.settle();
        at(position);
      }
      rig.send(part(step.bytes, sent, step.bytes.size()), sent == 0 ? step.fds : std::vector<int>{});
      heard.append(rig.take());
    }
    return heard;
  }
  std::function<bool(std::size_t)> is_due = [](std::size_t) { return true; };

 private:
  [[nodiscard]] bool at_is_due(const std::function<void(std::size_t)>& at, std::size_t position) const {
    return at && is_due(position);
  }
  static Bytes part(const Bytes& bytes, std::size_t from, std::size_t to) {
    Bytes some;
    some.assign(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(to));
    return some;
  }
  static Bytes one(unsigned region, unsigned offset, std::uint64_t value) {
    return Bytes{}.u64(offset).u32(region).u32(8).u64(value);
  }
  void add(const char* what, Bytes bytes, std::vector<int> fds = {}) {
    steps_.push_back({what, std::move(bytes), std::move(fds)});
  }

  std::vector<Step> steps_;
  UniqueFd memory_ = new_memfd(0x10000);
  UniqueFd first_ = new_eventfd(), second_ = new_eventfd(), third_ = new_eventfd(), fourth_ = new_eventfd();
};

TEST(HandoverStream, AtAnyByteOfAnyMessageTheClientHearsTheSame) {
  Script script;
  HandoverRig plain;
  const Bytes expected = script.play(plain, {});
  ASSERT_GT(expected.size(), 1000u);
  for (std::size_t at = 0; at < script.size(); ++at) {
    HandoverRig rig;
    script.is_due = [at](std::size_t position) { return position == at; };
    const Bytes heard = script.play(rig, [&](std::size_t) { rig.hand_over(); });
    ASSERT_EQ(heard, expected) << "handed over before byte " << at;
    ASSERT_EQ(rig.fds.size(), plain.fds.size()) << at;
    ASSERT_EQ(rig.served->device.attachments, 1) << at;
  }
}

TEST(HandoverStream, BeforeEveryByteTheClientHearsTheSame) {
  Script script;
  HandoverRig plain;
  const Bytes expected = script.play(plain, {});
  HandoverRig rig;
  std::size_t before = 0, most = 0;
  const Bytes heard = script.play(rig, [&](std::size_t) {
    rig.hand_over();
    if (before == 0) before = open_fds();
    most = std::max(most, open_fds());
  });
  EXPECT_EQ(heard, expected);
  EXPECT_LT(most, before + 64);  // what the script gives, and no more with each time
}

// Replies that do not fit the socket are cut anywhere, and so is what is read of them.
TEST(HandoverStream, InTheMiddleOfLongRepliesNothingIsLostOrTwice) {
  HandoverRig rig;
  rig.ask(qemu_version());
  Bytes heard;
  for (unsigned id = 0; id < 20; ++id)
    rig.ask(region_write(100, kBar0, 0x1000 + id * 4, Bytes{}.u32(id * 0x01010101u)));
  for (unsigned id = 0; id < 20; ++id)
    rig.send(region_read(id, kBar0, 0x1000, 4096));
  unsigned rounds = 0;
  do {
    rig.settle();
    rig.hand_over();
    rig.settle();
    const Bytes some = rig.read_on(rig.peer.get(), 777);
    if (some.empty()) break;
    heard.append(some);
  } while (++rounds < 1000);
  ASSERT_EQ(heard.size(), 20u * (16 + 16 + 4096));
  for (unsigned id = 0; id < 20; ++id) {
    EXPECT_EQ(heard.number_at(id * 4128ul, 2), id);
    EXPECT_EQ(heard.number_at(id * 4128ul + 4, 4), 4128u);
    EXPECT_EQ(heard.number_at(id * 4128ul + 32 + 19 * 4, 4), 19u * 0x01010101u);
  }
}

TEST(HandoverStream, DescriptorsOfHalfAMessageComeAlong) {
  const auto map = dma_map(4, 0, 4096);
  Bytes head, tail;
  head.assign(map.begin(), map.begin() + 20);
  tail.assign(map.begin() + 20, map.end());
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto file = new_memfd(4096);
  rig.send(head, {file.get()});
  rig.settle();
  rig.hand_over();
  const auto reply = rig.ask(tail);
  EXPECT_EQ(reply.number_at(12, 4), 0u);
  EXPECT_NE(rig.served->function->memory().windows().at(0).host, nullptr);
}

TEST(HandoverStream, ClientIsNotHungUpOnWhileNobodyServesIt) {
  HandoverRig rig;
  rig.ask(qemu_version());
  const auto suspended = rig.suspend();
  rig.send(region_write(3, kBar2, 0, Bytes{}.u32(5)));
  rig.send(region_read(4, kBar2, 0, 4));
  EXPECT_TRUE(rig.read_on(rig.peer.get()).empty());
  EXPECT_FALSE(rig.has_ended);
  rig.resume(suspended);
  const Bytes heard = rig.take();
  ASSERT_EQ(heard.size(), 32u + 36u);
  EXPECT_EQ(heard.number_at(0, 2), 3u);
  EXPECT_EQ(heard.number_at(64, 4), 5u);
}

}  // namespace
}  // namespace vmux::protocol_test
