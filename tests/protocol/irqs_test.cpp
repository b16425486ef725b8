// SPDX-License-Identifier: BSD-3-Clause
// VFIO_USER_DEVICE_SET_IRQS
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>

#include "protocol/rig.hpp"

namespace vmux::protocol_test {
namespace {

constexpr unsigned kIntx = 0, kMsix = 2, kErr = 3, kReq = 4;
constexpr unsigned kNone = 1, kBool = 2, kEventfd = 4, kMask = 8, kUnmask = 16, kTrigger = 32;

/// Sixteen eventfds, and their numbers.
struct Events {
  explicit Events(unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      numbers.push_back(owned.emplace_back(new_eventfd()).get());
  }
  std::uint64_t count(std::size_t index) { return drain_eventfd(numbers[index]); }
  std::vector<UniqueFd> owned;
  std::vector<int> numbers;
};

void enable_bus_master(Rig& rig) { rig.ask(region_write(90, kConfig, 4, Bytes{}.u16(6))); }
void enable_msix(Rig& rig) {
  enable_bus_master(rig);
  const auto at = rig.ask(region_read(91, kConfig, 0, 256)).payload;
  std::uint64_t offset = at.number_at(16 + 0x34, 1);
  while (offset != 0 && at.number_at(16 + offset, 1) != 0x11)
    offset = at.number_at(16 + offset + 1, 1);
  ASSERT_NE(offset, 0u);
  rig.ask(region_write(92, kConfig, offset + 2, Bytes{}.u16(0x8000)));
}

TEST(SetIrqs, WiresSixteenVectorsWithOneMessage) {
  Rig rig{Profile::cloud_hypervisor};
  Events events{16};
  EXPECT_TRUE(is_success(rig.ask(set_irqs(2, kMsix, kEventfd | kTrigger, 0, 16), events.numbers), 2, kSetIrqs, 0));
  enable_msix(rig);
  EXPECT_TRUE(rig.function->interrupts().trigger(15));
  EXPECT_EQ(events.count(15), 1u);
  EXPECT_EQ(events.count(14), 0u);
}

TEST(SetIrqs, EnablesMsixWithoutDescriptorsAsQemuDoes) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_success(rig.ask(set_irqs(2, kMsix, kEventfd | kTrigger, 0, 1)), 2, kSetIrqs, 0));
}

TEST(SetIrqs, ReplacesALiveSink) {
  Rig rig{Profile::qemu};
  Events events{2};
  rig.ask(set_irqs(2, kMsix, kEventfd | kTrigger, 0, 1), {events.numbers[0]});
  rig.ask(set_irqs(3, kMsix, kEventfd | kTrigger, 0, 1), {events.numbers[1]});
  enable_msix(rig);
  rig.function->interrupts().trigger(0);
  EXPECT_EQ(events.count(0), 0u);
  EXPECT_EQ(events.count(1), 1u);
}

TEST(SetIrqs, DisablesWhatWasNeverEnabled) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_success(rig.ask(set_irqs(2, kMsix, kNone | kTrigger, 0, 0)), 2, kSetIrqs, 0));
  EXPECT_TRUE(is_success(rig.ask(set_irqs(3, kIntx, kNone | kTrigger, 0, 0)), 3, kSetIrqs, 0));
  EXPECT_TRUE(is_success(rig.ask(set_irqs(4, 1, kNone | kTrigger, 0, 0)), 4, kSetIrqs, 0));
}

TEST(SetIrqs, TriggersByMessage) {
  Rig rig{Profile::qemu};
  Events events{2};
  rig.ask(set_irqs(2, kMsix, kEventfd | kTrigger, 0, 2), events.numbers);
  enable_msix(rig);
  EXPECT_TRUE(is_success(rig.ask(set_irqs(3, kMsix, kBool | kTrigger, 0, 2, Bytes{}.u8(0).u8(1))), 3, kSetIrqs, 0));
  EXPECT_EQ(events.count(0), 0u);
  EXPECT_EQ(events.count(1), 1u);
}

TEST(SetIrqs, WiresErrAndReq) {
  Rig rig{Profile::qemu};
  Events events{2};
  EXPECT_TRUE(is_success(rig.ask(set_irqs(2, kErr, kEventfd | kTrigger, 0, 1), {events.numbers[0]}), 2, kSetIrqs, 0));
  EXPECT_TRUE(is_success(rig.ask(set_irqs(3, kReq, kEventfd | kTrigger, 0, 1), {events.numbers[1]}), 3, kSetIrqs, 0));
  rig.function->interrupts().signal_error();
  rig.function->interrupts().request_release();
  EXPECT_EQ(events.count(0), 1u);
  EXPECT_EQ(events.count(1), 1u);
}

TEST(SetIrqs, IntxIsUnmaskedByMessage) {
  Rig rig{Profile::qemu};
  Events events{1};
  rig.ask(set_irqs(2, kIntx, kEventfd | kTrigger, 0, 1), events.numbers);
  rig.function->interrupts().set_level(true);
  EXPECT_EQ(events.count(0), 1u);
  EXPECT_TRUE(is_success(rig.ask(set_irqs(3, kIntx, kNone | kUnmask, 0, 1)), 3, kSetIrqs, 0));
  EXPECT_EQ(events.count(0), 1u);  // still asserted
  rig.function->interrupts().set_level(false);
}

TEST(SetIrqs, IntxIsUnmaskedThroughAnEventfd) {
  Rig rig{Profile::qemu};
  Events events{2};
  rig.ask(set_irqs(2, kIntx, kEventfd | kTrigger, 0, 1), {events.numbers[0]});
  EXPECT_TRUE(is_success(rig.ask(set_irqs(3, kIntx, kEventfd | kUnmask, 0, 1), {events.numbers[1]}), 3, kSetIrqs, 0));
  rig.function->interrupts().set_level(true);
  EXPECT_EQ(events.count(0), 1u);
  rig.settle();
  EXPECT_EQ(events.count(0), 0u);  // masked by itself
  signal_eventfd(events.numbers[1]);
  rig.settle();
  EXPECT_EQ(events.count(0), 1u);
  rig.function->interrupts().set_level(false);
}

TEST(SetIrqs, ReplacedUnmaskEventfdIsTheOneWatched) {
  Rig rig{Profile::qemu};
  Events events{3};
  rig.ask(set_irqs(2, kIntx, kEventfd | kTrigger, 0, 1), {events.numbers[0]});
  rig.ask(set_irqs(3, kIntx, kEventfd | kUnmask, 0, 1), {events.numbers[1]});
  rig.ask(set_irqs(4, kIntx, kEventfd | kUnmask, 0, 1), {events.numbers[2]});
  rig.function->interrupts().set_level(true);
  EXPECT_EQ(events.count(0), 1u);
  signal_eventfd(events.numbers[1]);
  rig.settle();
  EXPECT_EQ(events.count(0), 0u);
  signal_eventfd(events.numbers[2]);
  rig.settle();
  EXPECT_EQ(events.count(0), 1u);
  rig.function->interrupts().set_level(false);
}

/// Ends a call that blocks, after a second, and tells of it.
class Rescue {
 public:
  Rescue() {
    struct sigaction action {};
    action.sa_handler = [](int) { fired_ = 1; };  // without SA_RESTART: the call fails with EINTR
    ::sigaction(SIGALRM, &action, nullptr);
    ::alarm(1);
  }
  ~Rescue() { ::alarm(0); }
  [[nodiscard]] bool was_needed() const { return fired_ != 0; }

 private:
  static inline volatile std::sig_atomic_t fired_ = 0;
};

// O_NONBLOCK belongs to what client and server share: the one can take it away from the other at any time.
TEST(SetIrqs, ClientThatMakesItsEventfdsBlockStopsNobody) {
  Rig rig{Profile::qemu};
  Events events{2};
  rig.ask(set_irqs(2, kIntx, kEventfd | kTrigger, 0, 1), {events.numbers[0]});
  rig.ask(set_irqs(3, kIntx, kEventfd | kUnmask, 0, 1), {events.numbers[1]});
  for (const int fd : events.numbers)
    ASSERT_EQ(::fcntl(fd, F_SETFL, 0), 0);
#if !defined(__SANITIZE_THREAD__)  // see signal_peer_eventfd()
  const std::uint64_t full = ~0ull - 1;
  ASSERT_EQ(::write(events.numbers[0], &full, sizeof full), static_cast<ssize_t>(sizeof full));
#endif
  const Rescue rescue;
  rig.function->interrupts().set_level(true);
  signal_eventfd(events.numbers[1]);
  rig.settle();
  EXPECT_FALSE(rescue.was_needed());
  EXPECT_GT(events.count(0), 0u);
  rig.function->interrupts().set_level(false);
}

// Such a one is readable for as many rounds as it was once told to be.
TEST(SetIrqs, UnmaskEventfdInSemaphoreModeIsNoWorkForEver) {
  Rig rig{Profile::qemu};
  Events events{1};
  const UniqueFd semaphore{::eventfd(1u << 30, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC)};
  rig.ask(set_irqs(2, kIntx, kEventfd | kTrigger, 0, 1), {events.numbers[0]});
  rig.ask(set_irqs(3, kIntx, kEventfd | kUnmask, 0, 1), {semaphore.get()});
  for (int i = 0; i < 100; ++i)
    rig.poller->run_once();
  EXPECT_FALSE(rig.poller->run_once());
  rig.function->interrupts().set_level(true);
  EXPECT_EQ(events.count(0), 1u);
  signal_eventfd(semaphore.get());
  rig.settle();
  EXPECT_EQ(events.count(0), 1u);
  rig.function->interrupts().set_level(false);
}

TEST(SetIrqs, RefusesUnknownKind) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, 5, kNone | kTrigger, 0, 0)), EINVAL));
}

TEST(SetIrqs, RefusesVectorsBeyondTheLast) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kNone | kTrigger, kVectors, 1)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kNone | kTrigger, 1, kVectors)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kNone | kTrigger, 2, ~0u)), EINVAL));
}

TEST(SetIrqs, RefusesFlagsThatContradictThemselves) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kNone | kBool | kTrigger, 0, 1)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kNone | kMask | kTrigger, 0, 1)), ENOTTY));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kNone, 0, 1)), ENOTTY));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kTrigger, 0, 1)), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kNone | kTrigger | 64, 0, 1)), EINVAL));
}

TEST(SetIrqs, RefusesBooleansThatAreTooFewOrTooMany) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kBool | kTrigger, 0, 2, Bytes{}.u8(1))), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kBool | kTrigger, 0, 1, Bytes{}.u8(1).u8(1))), EINVAL));
}

TEST(SetIrqs, RefusesShortMessageAndSmallArgsz) {
  Rig rig{Profile::qemu};
  EXPECT_TRUE(is_error(rig.ask(message(2, kSetIrqs, Bytes{}.u32(20).zeroes(15))), EINVAL));
  EXPECT_TRUE(
      is_error(rig.ask(message(2, kSetIrqs, Bytes{}.u32(19).u32(kNone | kTrigger).u32(kMsix).u32(0).u32(0))), EINVAL));
}

TEST(SetIrqs, ClosesSurplusDescriptors) {
  Rig rig{Profile::qemu};
  Events events{3};
  const auto before = open_fds();
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kMsix, kEventfd | kTrigger, 0, 2), events.numbers), EINVAL));
  EXPECT_TRUE(is_error(rig.ask(set_irqs(3, kMsix, kNone | kTrigger, 0, 2), events.numbers), EINVAL));
  EXPECT_EQ(open_fds(), before);
}

TEST(SetIrqs, RefusesWhatIsNoEventfd) {
  Rig rig{Profile::qemu};
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd one{ends[0]}, other{ends[1]};
  const auto before = open_fds();
  EXPECT_TRUE(is_error(rig.ask(set_irqs(2, kIntx, kEventfd | kUnmask, 0, 1), {one.get()}), EINVAL));
  EXPECT_EQ(open_fds(), before);
}

TEST(SetIrqs, ErrorForCloudHypervisorHasTheSizeItReads) {
  Rig rig{Profile::cloud_hypervisor};
  EXPECT_EQ(rig.ask(set_irqs(2, 5, kNone | kTrigger, 0, 0)).size, 16u);
}

TEST(SetIrqs, DisconnectClosesEverySink) {
  Rig rig{Profile::qemu};
  Events events{18};
  const auto before = open_fds();
  rig.ask(set_irqs(2, kMsix, kEventfd | kTrigger, 0, 16), {events.numbers.begin(), events.numbers.begin() + 16});
  rig.ask(set_irqs(3, kIntx, kEventfd | kTrigger, 0, 1), {events.numbers[16]});
  rig.ask(set_irqs(4, kIntx, kEventfd | kUnmask, 0, 1), {events.numbers[17]});
  rig.hang_up();
  EXPECT_LE(open_fds(), before - 2 + kVectors + 4);  // vectors may keep a descriptor of their own, see Interrupts
  rig.connect();
  rig.greet(Profile::qemu);
  rig.function->interrupts().set_level(true);
  EXPECT_EQ(events.count(16), 0u);
  rig.function->interrupts().set_level(false);
}

}  // namespace
}  // namespace vmux::protocol_test
