// SPDX-License-Identifier: BSD-3-Clause
// VFIO_USER_DEVICE_FEATURE, VFIO_USER_MIG_DATA_READ, VFIO_USER_MIG_DATA_WRITE
#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

constexpr unsigned kGet = 1 << 16, kSet = 1 << 17, kProbe = 1 << 18;
constexpr unsigned kMigration = 1, kDeviceState = 2, kLoggingStart = 6, kLoggingStop = 7, kLoggingReport = 8;
enum : unsigned { kStateError, kStop, kRunning, kStopCopy, kResuming, kRunningP2p, kPreCopy, kPreCopyP2p };
using S = pci::MigrationState;

Bytes feature(unsigned id, unsigned flags, const Bytes& data = {}, unsigned argsz = 4096) {
  return message(id, kDeviceFeature, Bytes{}.u32(argsz).u32(flags).append(data));
}
Bytes to_state(unsigned id, unsigned state) { return feature(id, kSet | kDeviceState, Bytes{}.u32(state).u32(0)); }
Bytes mig_read(unsigned id, unsigned size) { return message(id, kMigDataRead, Bytes{}.u32(8 + size).u32(size)); }
Bytes mig_write(unsigned id, const Bytes& data) {
  return message(id, kMigDataWrite, Bytes{}.u32(8).u32(data.size()).append(data));
}
unsigned state_of(Rig& rig) {
  return static_cast<unsigned>(rig.ask(feature(77, kGet | kDeviceState)).payload.number_at(8, 4));
}

TEST(Feature, UnknownOneIsRefusedAndTheConnectionStays) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(feature(2, kProbe | 99)), ENOTTY));
  EXPECT_TRUE(is_error(rig.ask(feature(3, kGet | 0)), ENOTTY));
  EXPECT_TRUE(is_success(rig.ask(message(4, kReset)), 4, kReset, 0));
}

TEST(Feature, ProbeEchoesTheRequest) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(feature(2, kProbe | kGet | kSet | kDeviceState, {}, 8));
  ASSERT_TRUE(is_success(reply, 2, kDeviceFeature, 8));
  EXPECT_EQ(reply.payload.number_at(4, 4), kProbe | kGet | kSet | kDeviceState);
}

TEST(Feature, ProbeFailsWhenAMethodIsMissing) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(feature(2, kProbe | kSet | kMigration)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(feature(2, kProbe | kGet | kLoggingStart)), EINVAL));
}

TEST(Feature, NeedsExactlyOneOfGetAndSet) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(feature(2, kMigration)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(feature(2, kGet | kSet | kDeviceState)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(feature(2, (1u << 19) | kGet | kDeviceState)), EINVAL));
}

TEST(Feature, RefusesShortMessageAndSmallArgsz) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(2, kDeviceFeature, Bytes{}.u32(8))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(feature(2, kGet | kMigration, {}, 7)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(feature(2, kGet | kMigration, {}, 15)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(feature(2, kSet | kDeviceState, Bytes{}.u32(1))), EINVAL));
}

TEST(Feature, ClosesSurplusDescriptor) {
  Rig rig{Profile::qemu};
  const auto event = new_eventfd();
  const auto before = open_fds();
  EXPECT_TRUE(is_error(rig.ask(feature(2, kGet | kMigration), {event.get()}), EINVAL));
  EXPECT_EQ(open_fds(), before);
}

TEST(Migration, TellsWhatTheDeviceCan) {
  Rig rig{Profile::qemu};
  const auto reply = rig.ask(feature(2, kGet | kMigration));
  ASSERT_TRUE(is_success(reply, 2, kDeviceFeature, 16));
  EXPECT_EQ(reply.payload.number_at(0, 4), 16u);
  EXPECT_EQ(reply.payload.number_at(8, 8), 5u);  // STOP_COPY | PRE_COPY
}

TEST(Migration, DeviceThatDoesNotMigrateSaysSo) {
  Rig rig{Profile::qemu};
  rig.device.migrates = false;
  EXPECT_TRUE(is_error(rig.ask(feature(2, kGet | kMigration)), ENOTTY));
  EXPECT_TRUE(is_error(rig.ask(feature(2, kGet | kDeviceState)), ENOTTY));
  EXPECT_EQ(rig.ask(mig_read(3, 4)).flags, kReply | kError);
}

TEST(Migration, StartsRunning) {
  Rig rig{Profile::qemu};
  EXPECT_EQ(state_of(rig), kRunning);
}

TEST(Migration, WalksTheShortestWay) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_success(rig.ask(to_state(2, kStopCopy)), 2, kDeviceFeature, 16));
  EXPECT_EQ(rig.device.entered, (std::vector{S::stop, S::stop_copy}));
  EXPECT_EQ(state_of(rig), kStopCopy);
  rig.ask(to_state(3, kRunning));
  EXPECT_EQ(rig.device.entered, (std::vector{S::stop, S::stop_copy, S::stop, S::running}));
}

TEST(Migration, PreCopyLeadsStraightToStopCopy) {
  Rig rig{Profile::qemu};
  rig.ask(to_state(2, kPreCopy));
  rig.ask(to_state(3, kStopCopy));
  EXPECT_EQ(rig.device.entered, (std::vector{S::pre_copy, S::stop_copy}));
}

TEST(Migration, PreCopyIsLeftThroughRunning) {
  Rig rig{Profile::qemu};
  rig.ask(to_state(2, kPreCopy));
  rig.ask(to_state(3, kStop));
  EXPECT_EQ(rig.device.entered, (std::vector{S::pre_copy, S::running, S::stop}));
}

TEST(Migration, RefusesTheWayFromStopCopyToPreCopy) {
  Rig rig{Profile::qemu};
  rig.ask(to_state(2, kStopCopy));
  EXPECT_TRUE(is_error(rig.ask(to_state(3, kPreCopy)), EINVAL));
  EXPECT_EQ(state_of(rig), kStopCopy);
}

TEST(Migration, RefusesStatesThatDoNotExistHere) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(to_state(2, kStateError)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(to_state(3, kRunningP2p)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(to_state(4, 8)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(to_state(5, ~0u)), EINVAL));
  rig.device.pre_copies = false;
  EXPECT_TRUE(is_error(rig.ask(to_state(6, kPreCopy)), EINVAL));
  EXPECT_TRUE(rig.device.entered.empty());
}

TEST(Migration, P2pStatesLieBetweenRunningAndStop) {
  Rig rig{Profile::qemu};
  rig.device.has_p2p = true;
  EXPECT_EQ(rig.ask(feature(2, kGet | kMigration)).payload.number_at(8, 8), 7u);  // and P2P
  rig.ask(to_state(2, kRunningP2p));
  rig.ask(to_state(3, kStop));
  rig.ask(to_state(4, kRunningP2p));
  rig.ask(to_state(5, kPreCopyP2p));
  EXPECT_TRUE(is_success(rig.ask(mig_read(6, 8)), 6, kMigDataRead, 8));
  rig.ask(to_state(7, kStopCopy));
  EXPECT_TRUE(is_error(rig.ask(to_state(8, kPreCopyP2p)), EINVAL));
  EXPECT_EQ(rig.device.entered, (std::vector{S::running_p2p, S::stop, S::running_p2p, S::pre_copy_p2p, S::stop_copy}));
}

TEST(Migration, P2pStateIsLeftForPreCopyAndBack) {
  Rig rig{Profile::qemu};
  rig.device.has_p2p = true;
  rig.ask(to_state(2, kPreCopy));
  rig.ask(to_state(3, kPreCopyP2p));
  rig.ask(to_state(4, kPreCopy));
  rig.ask(to_state(5, kRunningP2p));
  EXPECT_EQ(rig.device.entered, (std::vector{S::pre_copy, S::pre_copy_p2p, S::pre_copy, S::running, S::running_p2p}));
  EXPECT_EQ(state_of(rig), kRunningP2p);
}

TEST(Migration, RefusalOfTheDeviceLeavesItWhereItCameTo) {
  Rig rig{Profile::qemu};
  rig.device.refuses = S::stop_copy;
  EXPECT_TRUE(is_error(rig.ask(to_state(2, kStopCopy)), EBUSY));
  EXPECT_EQ(state_of(rig), kStop);
}

TEST(Migration, BadStateEndsInErrorAndResetLeadsOut) {
  Rig rig{Profile::qemu};
  rig.ask(to_state(2, kResuming));
  rig.device.refuses = S::stop;
  EXPECT_TRUE(is_error(rig.ask(to_state(3, kRunning)), EBUSY));
  EXPECT_EQ(state_of(rig), kStateError);
  EXPECT_TRUE(is_error(rig.ask(to_state(4, kRunning)), EINVAL));
  rig.ask(message(5, kReset));
  EXPECT_EQ(state_of(rig), kRunning);
}

TEST(MigData, IsReadAsAStream) {
  Rig rig{Profile::qemu};
  rig.device.saved.text("0123456789ab");
  rig.ask(to_state(2, kStopCopy));
  const auto first = rig.ask(mig_read(3, 8));
  ASSERT_TRUE(is_success(first, 3, kMigDataRead, 16));
  EXPECT_EQ(first.payload.number_at(0, 4), 16u);
  EXPECT_EQ(first.payload.number_at(4, 4), 8u);
  const auto second = rig.ask(mig_read(4, 8));
  ASSERT_TRUE(is_success(second, 4, kMigDataRead, 12));
  EXPECT_EQ(second.payload.number_at(4, 4), 4u);
  EXPECT_EQ(rig.ask(mig_read(5, 8)).payload.number_at(4, 4), 0u);
}

TEST(MigData, IsReadInSavingStatesOnly) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(mig_read(3, 8)), EINVAL));
  rig.ask(to_state(2, kPreCopy));
  EXPECT_TRUE(is_success(rig.ask(mig_read(3, 8)), 3, kMigDataRead, 8));
}

TEST(MigData, ReadRefusesBadSizes) {
  Rig rig{Profile::qemu};
  rig.ask(to_state(2, kStopCopy));
  EXPECT_TRUE(is_error(rig.ask(message(3, kMigDataRead, Bytes{}.u32(8))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(3, kMigDataRead, Bytes{}.u32(15).u32(8))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(mig_read(3, (1 << 20) + 1)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(3, kMigDataRead, Bytes{}.u32(16).u32(8).u32(0))), EINVAL));
}

TEST(MigData, IsWrittenWhileResumingOnly) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(mig_write(3, Bytes{}.text("abc"))), EINVAL));
  rig.ask(to_state(2, kResuming));
  EXPECT_TRUE(is_success(rig.ask(mig_write(3, Bytes{}.text("abc"))), 3, kMigDataWrite, 0));
  EXPECT_EQ(rig.device.loaded, Bytes{}.text("abc"));
}

TEST(MigData, WriteRefusesDataThatDoesNotFitItsSize) {
  Rig rig{Profile::qemu};
  rig.ask(to_state(2, kResuming));
  EXPECT_TRUE(is_error(rig.ask(message(3, kMigDataWrite, Bytes{}.u32(8).u32(4).u16(0))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(message(3, kMigDataWrite, Bytes{}.u32(8).u32(1).u16(0))), EINVAL));
  EXPECT_TRUE(rig.device.loaded.empty());
}

Bytes logging_start(std::uint64_t page_size) {
  return feature(5, kSet | kLoggingStart, Bytes{}.u64(page_size).u32(0).u32(0));
}
Bytes logging_report(std::uint64_t iova, std::uint64_t length, std::uint64_t page_size, unsigned argsz = 4096) {
  return feature(6, kGet | kLoggingReport, Bytes{}.u64(iova).u64(length).u64(page_size), argsz);
}

/// Sixteen pages at 0, of which the device writes number 3.
struct LoggingRig : Rig {
  LoggingRig() : Rig(Profile::qemu) {
    ask(dma_map(2, 0, 16 * 4096), {file.get()});
    function->memory().attach(reader);
  }
  ~LoggingRig() { function->memory().detach(reader); }
  void write_page_three() { ASSERT_TRUE(reader.store(Iova{3 * 4096 + 5}, char{1})); }
  UniqueFd file = new_memfd(16 * 4096);
  memory::GuestMemory reader;
};

TEST(DmaLogging, ReportsWhatTheDeviceWroteOnce) {
  LoggingRig rig;
  EXPECT_TRUE(is_success(rig.ask(logging_start(4096)), 5, kDeviceFeature, 24));
  rig.write_page_three();
  const auto reply = rig.ask(logging_report(0, 16 * 4096, 4096));
  ASSERT_TRUE(is_success(reply, 6, kDeviceFeature, 8 + 24 + 8));
  EXPECT_EQ(reply.payload.number_at(0, 4), 40u);
  EXPECT_EQ(reply.payload.number_at(32, 8), 8u);
  EXPECT_EQ(rig.ask(logging_report(0, 16 * 4096, 4096)).payload.number_at(32, 8), 0u);
}

TEST(DmaLogging, ReportsInSmallerAndLargerPages) {
  LoggingRig rig;
  rig.ask(logging_start(4096));
  rig.write_page_three();
  EXPECT_EQ(rig.ask(logging_report(0, 16 * 4096, 1024)).payload.number_at(32, 8), 0xf000u);
  rig.write_page_three();
  EXPECT_EQ(rig.ask(logging_report(0, 16 * 4096, 8192)).payload.number_at(32, 8), 2u);
}

TEST(DmaLogging, AnswersWithThePageSizeItSelects) {
  LoggingRig rig;
  EXPECT_EQ(rig.ask(logging_start(100)).payload.number_at(8, 8), 4096u);
}

TEST(DmaLogging, StopsAndThenRefusesReports) {
  LoggingRig rig;
  rig.ask(logging_start(4096));
  EXPECT_TRUE(is_success(rig.ask(feature(7, kSet | kLoggingStop)), 7, kDeviceFeature, 8));
  EXPECT_TRUE(is_error(rig.ask(logging_report(0, 4096, 4096)), EINVAL));
}

TEST(DmaLogging, RefusesSenselessReports) {
  LoggingRig rig;
  rig.ask(logging_start(4096));
  EXPECT_TRUE(is_error(rig.ask(logging_report(0, 4096, 3000)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(logging_report(0, 4096, 0)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(logging_report(0, 0, 4096)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(logging_report(~0ull & ~4095ull, 8192, 4096)), EOVERFLOW));
  EXPECT_TRUE(is_error(rig.ask(logging_report(0, ~0ull, 4096)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(logging_report(0, 4096, 4096, 39)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(feature(6, kGet | kLoggingReport, Bytes{}.u64(0))), EINVAL));
}

TEST(DmaLogging, TakesRangesOfPagesInAnyOrder) {
  LoggingRig rig;
  EXPECT_TRUE(is_success(rig.ask(feature(5, kSet | kLoggingStart,
                                         Bytes{}.u64(4096).u32(2).u32(0).u64(8 * 4096).u64(8 * 4096).u64(0).u64(4096))),
                         5, kDeviceFeature, 24 + 32));
}

TEST(DmaLogging, RefusesRangesThatAreNoPagesOrAreThereTwice) {
  LoggingRig rig;
  const auto start = [&](std::initializer_list<std::uint64_t> words) {
    auto data = Bytes{}.u64(4096).u32(static_cast<unsigned>(words.size() / 2)).u32(0);
    for (const std::uint64_t word : words)
      data.u64(word);
    return rig.ask(feature(5, kSet | kLoggingStart, data));
  };
  EXPECT_TRUE(is_error(start({0, 100}), EINVAL));
  EXPECT_TRUE(is_error(start({100, 4096}), EINVAL));
  EXPECT_TRUE(is_error(start({4096, 0}), EINVAL));
  EXPECT_TRUE(is_error(start({~0ull & ~4095ull, 8192}), EOVERFLOW));
  EXPECT_TRUE(is_error(start({4096, 8192, 0, 8192}), EINVAL));
  EXPECT_TRUE(is_success(start({4096, 8192, 0, 4096}), 5, kDeviceFeature, 24 + 32));
}

TEST(DmaLogging, RefusesMoreRangesThanTheMessageHas) {
  LoggingRig rig;
  EXPECT_TRUE(is_error(rig.ask(feature(5, kSet | kLoggingStart, Bytes{}.u64(4096).u32(1).u32(0))), EINVAL));
}

TEST(Feature, SurvivesAPeerThatLeavesInTheMiddleOfAMigration) {
  Rig rig{Profile::qemu};
  rig.ask(to_state(2, kStopCopy));
  rig.hang_up();
  rig.connect();
  rig.greet(Profile::qemu);
  EXPECT_EQ(state_of(rig), kRunning);
}

}  // namespace
}  // namespace vmux::protocol_test
