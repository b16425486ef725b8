// SPDX-License-Identifier: BSD-3-Clause
// Migration through DEVICE_FEATURE, in the order in which QEMU's hw/vfio/migration.c asks (version 2 of the protocol,
// Linux 5.18 and later). Numbers and structs are linux/vfio.h's; Debian 12's copy has most of them.
#include <algorithm>
#include <vector>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

constexpr std::uint32_t kGet = VFIO_DEVICE_FEATURE_GET, kSet = VFIO_DEVICE_FEATURE_SET,
                        kProbe = VFIO_DEVICE_FEATURE_PROBE;
constexpr std::uint32_t kError = 0, kStop = 1, kRunning = 2, kStopCopy = 3, kResuming = 4, kRunningP2p = 5,
                        kPreCopy = 6;
constexpr const char* kOther = "0000:40:00.1";

template <class T>
int feature(const Opened& it, std::uint32_t flags, T& data) {
  struct {
    std::uint32_t argsz, flags;
    T data;
  } request{sizeof request, flags, data};
  const int error = errno_of(ioctl(it.device, VFIO_DEVICE_FEATURE, &request));
  data = request.data;
  return error;
}
int probe_feature(const Opened& it, std::uint32_t flags) {
  vfio_device_feature head{sizeof head, flags | kProbe};
  return errno_of(ioctl(it.device, VFIO_DEVICE_FEATURE, &head));
}

struct State {
  std::uint32_t device_state;
  std::int32_t data_fd;
};
std::uint32_t state_of(const Opened& it) {
  State state{77, 77};
  EXPECT_EQ(feature(it, kGet | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, state), 0);
  EXPECT_EQ(state.data_fd, -1);
  return state.device_state;
}
int go(const Opened& it, std::uint32_t state) {
  State request{state, 77};
  const int error = feature(it, kSet | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, request);
  EXPECT_TRUE(error != 0 || request.data_fd == -1);
  return error;
}
/// The same where a stream of data comes with the state.
Fd go_with_stream(const Opened& it, std::uint32_t state) {
  State request{state, 77};
  EXPECT_EQ(feature(it, kSet | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, request), 0) << strerror(errno);
  EXPECT_GE(request.data_fd, 0);
  return Fd{request.data_fd};
}

std::vector<std::uint8_t> drain(int stream) {
  std::vector<std::uint8_t> all;
  std::uint8_t piece[3];  // smaller than the state, so that it takes several
  for (ssize_t got = 1; got > 0;) {
    got = read(stream, piece, sizeof piece);
    EXPECT_GE(got, 0) << strerror(errno);
    all.insert(all.end(), piece, piece + std::max<ssize_t>(got, 0));
  }
  return all;
}

TEST(Migration, DeviceSaysWhatItCan) {
  const Opened it;
  EXPECT_EQ(probe_feature(it, kGet | VFIO_DEVICE_FEATURE_MIGRATION), 0);
  EXPECT_EQ(probe_feature(it, kSet | kGet | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), 0);
  EXPECT_EQ(probe_feature(it, kSet | VFIO_DEVICE_FEATURE_MIGRATION), EINVAL);
  std::uint64_t flags = 0;
  ASSERT_EQ(feature(it, kGet | VFIO_DEVICE_FEATURE_MIGRATION, flags), 0);
  EXPECT_EQ(flags, std::uint64_t{VFIO_MIGRATION_STOP_COPY} | 4u);  // VFIO_MIGRATION_PRE_COPY
  EXPECT_EQ(state_of(it), kRunning);
}
TEST(Migration, StateMovesFromOneServerToAnother) {
  const Opened source, target{kOther};
  source.write<std::uint64_t>(probe::kScratch, 1);
  Fd stream = go_with_stream(source, kPreCopy);
  EXPECT_EQ(drain(stream).size(), probe::kStateSize);  // what there is to copy while it runs
  source.write<std::uint64_t>(probe::kScratch, 0x1122334455667788);
  ASSERT_EQ(go(source, kStopCopy), 0);  // the stream goes on
  const auto saved = drain(stream);
  ASSERT_EQ(saved.size(), probe::kStateSize);
  ASSERT_EQ(go(source, kStop), 0);
  std::uint8_t byte = 0;
  EXPECT_NE(errno_of(read(stream, &byte, 1)), 0);
  stream.reset();

  Fd incoming = go_with_stream(target, kResuming);
  EXPECT_EQ(write(incoming, saved.data(), 5), 5);
  EXPECT_EQ(write(incoming, saved.data() + 5, 3), 3);
  ASSERT_EQ(go(target, kRunning), 0);
  EXPECT_NE(errno_of(write(incoming, &byte, 1)), 0);
  incoming.reset();
  EXPECT_EQ(target.read<std::uint64_t>(probe::kScratch), 0x1122334455667788u);
}
TEST(Migration, CancelledMigrationRunsOn) {
  const Opened it;
  it.write<std::uint64_t>(probe::kScratch, 9);
  const Fd stream = go_with_stream(it, kPreCopy);
  ASSERT_EQ(go(it, kRunning), 0);
  EXPECT_EQ(state_of(it), kRunning);
  EXPECT_EQ(it.read<std::uint64_t>(probe::kScratch), 9u);
}
TEST(Migration, WaysThatDoNotExistAreRefusedAsTheKernelDoes) {
  const Opened it;
  EXPECT_EQ(go(it, kError), EINVAL);
  EXPECT_EQ(go(it, kRunningP2p), EINVAL);  // not offered
  EXPECT_EQ(go(it, 8), EINVAL);
  const Fd stream = go_with_stream(it, kStopCopy);
  EXPECT_EQ(go(it, kPreCopy), EINVAL);
  EXPECT_EQ(state_of(it), kStopCopy);
  std::uint32_t half = kStop;
  EXPECT_EQ(feature(it, kSet | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, half), EINVAL);  // too little data
  State nothing{};
  EXPECT_EQ(feature(it, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, nothing), EINVAL);  // neither set nor get
  ASSERT_EQ(go(it, kRunning), 0);
}
TEST(Migration, StreamIsAStream) {
  const Opened it;
  const Fd stream = go_with_stream(it, kStopCopy);
  std::uint8_t byte = 0;
  EXPECT_EQ(errno_of(pread(stream, &byte, 1, 0)), ESPIPE);
  EXPECT_EQ(errno_of(lseek(stream, 0, SEEK_SET)), ESPIPE);
  EXPECT_EQ(errno_of(ioctl(stream, VFIO_DEVICE_RESET)), ENOTTY);
  ASSERT_EQ(go(it, kRunning), 0);
}
TEST(Migration, ResetEndsIt) {
  const Opened it;
  const Fd stream = go_with_stream(it, kStopCopy);
  ASSERT_EQ(ioctl(it.device, VFIO_DEVICE_RESET), 0);
  EXPECT_EQ(state_of(it), kRunning);
}

}  // namespace
}  // namespace vmux::tests
