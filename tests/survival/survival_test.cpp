// SPDX-License-Identifier: BSD-3-Clause
// A server that is killed at every system call that it makes, and between any two instructions: each time another
// process goes on, and the client's view of the device is that of a server that nothing has happened to.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "device/e1000/registers.hpp"
#include "fake_guest/e810_guest.hpp"
#include "ipc/packet.hpp"
#include "keeper/twin.hpp"
#include "killers.hpp"
#include "rigs/migrating.hpp"
#include "vhost_scenario.hpp"
#include "victim.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::survival {
namespace {

namespace reg = device::e1000::reg;
using vfio_user::Client;

/// Every stop that is a multiple of this: all of them takes many minutes (VMUX_SURVIVAL_STRIDE=1).
unsigned stride() {
  const char* const text = std::getenv("VMUX_SURVIVAL_STRIDE");
  return text == nullptr ? 23 : static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}
/// What a client saw, a line for each step.
using View = std::vector<std::string>;

/// Requests whose answers tell whether any was done twice, or not at all. None is idempotent but those that give memory
/// and eventfds.
class Scenario {
 public:
  explicit Scenario(Client& client) : client_(client) {}

  View run() {
    std::uint16_t command = 0x0407;  // memory, I/O, bus master; INTx off
    note("config",
         client_.write(pci::Region::config, RegionOffset{4}, std::as_bytes(std::span{&command, 1})).has_value());
    const UniqueFd memory = *make_memfd("guest", 1 << 20);
    note("map", client_.dma_map(Iova{0}, ByteCount{1 << 20}, memory::Access::read_write, memory.get(), 0).has_value());
    note("map twice",
         client_.dma_map(Iova{0}, ByteCount{1 << 20}, memory::Access::read_write, memory.get(), 0).has_value());
    const UniqueFd event = *make_eventfd();
    const int fd = event.get();
    note("irq",
         client_.set_irqs(pci::Irq::intx, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {&fd, 1}).has_value());
    const auto region = client_.region_info(0);
    note("region", region ? region->size : 0);
    for (std::uint32_t round = 0; round < 2; ++round) {
      write(reg::ICS, 1u << round);       // sets a cause
      note("ICR", read(reg::ICR));        // and clears it
      note("ICR again", read(reg::ICR));  // so that it is not there any more
      eeprom(round);                      // a bit at a time: a clock too many is a wrong word
      mdic(round);
      posted(round);
      overlapping(round);
    }
    write(reg::CTRL, device::e1000::ctrl::rst::set(0u, 1));  // everything is as after a reset
    note("IMS after a reset", read(reg::IMS));
    note("unmap", client_.dma_unmap(Iova{0}, ByteCount{1 << 20}).has_value());
    note("map again",
         client_.dma_map(Iova{0x10'0000}, ByteCount{4096}, memory::Access::read, memory.get(), 4096).has_value());
    note("reset", client_.reset().has_value());
    return std::move(view_);
  }

 private:
  template <class T>
  void note(const char* what, T value) {
    view_.push_back(std::string{what} + " " + std::to_string(value));
  }
  std::uint32_t read(std::uint32_t at) {
    std::uint32_t value = 0xdead;
    const auto done = client_.read(pci::Region::bar0, RegionOffset{at}, std::as_writable_bytes(std::span{&value, 1}));
    return done ? value : 0xbad;
  }
  void write(std::uint32_t at, std::uint32_t value) {
    if (!client_.write(pci::Region::bar0, RegionOffset{at}, std::as_bytes(std::span{&value, 1})))
      note("write failed", at);
  }
  void clock(std::uint32_t wires) {
    write(reg::EECD, wires);
    write(reg::EECD, wires | 1);  // SK
    write(reg::EECD, wires);
  }
  /// Word `index` over the wires: a start bit, READ (10), the address, then 16 bits (5.2).
  void eeprom(std::uint32_t index) {
    constexpr std::uint32_t kCs = 2, kDi = 4, kDo = 8;
    write(reg::EECD, kCs);
    const std::uint32_t bits = 0b110u << 6 | index;
    for (int bit = 8; bit >= 0; --bit)
      clock(kCs | ((bits >> bit & 1) != 0 ? kDi : 0));
    std::uint32_t word = 0;
    for (int bit = 0; bit < 16; ++bit) {
      clock(kCs);
      word = word << 1 | ((read(reg::EECD) & kDo) != 0 ? 1 : 0);
    }
    write(reg::EECD, 0);
    note("EEPROM", word);
  }
  void mdic(std::uint32_t round) {
    write(reg::MDIC, 1u << 26 | 1u << 21 | 16u << 16 | (0x100 + round));  // write PHY register 16
    write(reg::MDIC, 2u << 26 | 1u << 21 | 16u << 16);                    // read it
    note("PHY", read(reg::MDIC) & 0xffff);
  }
  /// Several that nobody waits for, then one that somebody does.
  void posted(std::uint32_t round) {
    for (std::uint32_t i = 0; i < 3; ++i) {
      const std::uint32_t value = 1u << (4 + i);
      const std::uint32_t at = i == 1 ? reg::IMC : reg::IMS;
      if (!client_.write_posted(pci::Region::bar0, RegionOffset{at}, std::as_bytes(std::span{&value, 1})))
        note("lost", i);
    }
    note("IMS", read(reg::IMS) + round);
  }
  /// Requests under way at the same time: each clears what the one before it has set.
  void overlapping(std::uint32_t round) {
    const std::uint32_t cause = 1u << (2 + round % 2);
    std::uint32_t first = 0, second = 0;
    const auto set =
        client_.start_write(pci::Region::bar0, RegionOffset{reg::ICS}, std::as_bytes(std::span{&cause, 1}));
    const auto one =
        client_.start_read(pci::Region::bar0, RegionOffset{reg::ICR}, std::as_writable_bytes(std::span{&first, 1}));
    const auto two =
        client_.start_read(pci::Region::bar0, RegionOffset{reg::ICR}, std::as_writable_bytes(std::span{&second, 1}));
    const bool done = set && one && two && client_.finish(*set) && client_.finish(*one) && client_.finish(*two);
    note("overlapping", done);
    note("first", first);
    note("second", second);
  }

  Client& client_;
  View view_;
};

/// A driver of an E810, whose card has a firmware that counts: a command that was executed twice gets another number
/// the second time, or is refused; and one that is read again when its answer lies where it was makes no sense.
class E810Scenario {
 public:
  explicit E810Scenario(Client& client)
      : guest_(fake_guest::Card{std::make_unique<rigs::ClientWay>(client)}), client_(client) {}

  View run() {
    const char* const problem = guest_.probe();
    view_.emplace_back(problem == nullptr ? "probed" : problem);
    if (problem != nullptr) return std::move(view_);
    guest_.bring_up({.queues = 2});
    note("station", guest_.vsi());
    for (unsigned round = 0; round < 3; ++round) {
      call(0x0208, {1}, resource(3 + round));  // numbers of profiles
      call(0x0204, {}, {});                    // there is no such command
      call(0x0b03, {low(guest_.vsi()), 0x80, 1 | 2 << 2}, fake_guest::Bytes(2048, std::byte(round)));
      call(0x0b05, {low(guest_.vsi()), 0x80, 1 | 2 << 2}, fake_guest::Bytes(2048), false);
      note("leaves", guest_.remove_tx_queue(round % 2).retval);
      note("queue", guest_.add_tx_queue(round % 2).retval);
      note("again", guest_.add_tx_queue(round % 2).retval);
      for (int i = 0; i < 3; ++i)
        guest_.queue_command(0x0208, {1}, resource(2), true);
      guest_.ring_admin();  // three at a time
      while (guest_.read(kAtqh) != guest_.read(kAtqt)) {
      }
      cause();
    }
    note("reset", client_.reset().has_value());
    note("length of the queue", guest_.read(0x80200));
    return std::move(view_);
  }

 private:
  static constexpr std::uint32_t kAtqh = 0x80300, kAtqt = 0x80400, kOicr = 0x16ca00, kOicrCtl = 0x16ca80;
  static std::uint8_t low(unsigned value) { return static_cast<std::uint8_t>(value); }
  static fake_guest::Bytes resource(unsigned count) {
    fake_guest::Bytes buffer(4 + 2 * count);
    buffer[0] = std::byte{0x60};  // of a type that counts up
    buffer[2] = std::byte(count);
    return buffer;
  }
  template <class T>
  void note(const char* what, T value) {
    view_.push_back(std::string{what} + " " + std::to_string(value));
  }
  void call(std::uint16_t opcode, std::initializer_list<std::uint8_t> params, const fake_guest::Bytes& buffer,
            bool reads = true) {
    const auto answer = guest_.call(opcode, params, buffer, reads);
    std::string line = std::to_string(opcode) + ": " + std::to_string(answer.retval);
    for (const std::uint8_t each : answer.params)
      line += " " + std::to_string(each);
    for (const std::byte each : answer.buffer)
      line += " " + std::to_string(std::to_integer<unsigned>(each));
    view_.push_back(line);
  }
  /// One that a driver causes by itself, and that a look takes away.
  void cause() {
    const std::uint32_t vector = guest_.read(kOicrCtl) & 0x7ff;
    guest_.write(0x160000 + vector * 4, 1u << 2 | 3u << 3);
    note("OICR", guest_.read(kOicr));
    note("OICR again", guest_.read(kOicr));
  }

  fake_guest::E810Guest guest_;
  Client& client_;
  View view_;
};

/// What is served, and to whom.
struct Kind {
  const char *name, *model;
  View (*run)(UniqueFd connection);
  unsigned longest_life;  ///< stops: some times what it takes to go on
};
template <class S>
View over_vfio_user(UniqueFd connection) {
  auto client = Client::adopt(std::move(connection), {.timeout_ns = 10'000'000'000});
  return client ? S{**client}.run() : View{"no agreement on the version"};
}
template <bool kIsPacked>
View over_vhost_user(UniqueFd connection) {
  return VhostScenario{std::move(connection), kIsPacked}.run();
}
constexpr Kind kKinds[] = {
    {"e1000", "e1000", over_vfio_user<Scenario>, 500},
    {"e810", "e810", over_vfio_user<E810Scenario>, 1500},
    {"vhost_split", "vhost-user", over_vhost_user<false>, 500},
    {"vhost_packed", "vhost-user", over_vhost_user<true>, 500},
};

/// Everything of one run: the stage, the client on a thread, and one server after another.
class Trial {
 public:
  explicit Trial(const Kind& kind, const char* program = VMUX_VICTIM) : kind_(kind), program_(program) {
    stage_fd_ = *make_memfd("stage", sizeof(Stage));
    mapping_ = *Mapping::create(stage_fd_.get(), 0, sizeof(Stage), true);
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ours_ = UniqueFd{ends[0]};
    theirs_ = UniqueFd{ends[1]};
  }

  /// The client's view with servers that `killer` kills.
  View with(Killer& killer) {
    start();
    // The first descriptor that is closed here is the only other one of the connection's.
    theirs_.reset();
    std::thread client{[this] {
      view_ = kind_.run(std::move(ours_));
      is_over_ = true;
    }};
    while (!is_over_ || pid_ != 0) {
      follow(killer);
      if (deaths_ > kMostDeaths) break;
    }
    client.join();
    for (const Twin& twin : twins_)
      keeper::dismiss_twin(twin.socket.get());
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return std::move(view_);
  }
  [[nodiscard]] unsigned deaths() const noexcept { return deaths_; }
  /// A server found that it could not go on, or was killed by somebody else.
  [[nodiscard]] bool has_given_up() const noexcept { return has_given_up_; }

 private:
  static constexpr unsigned kMostDeaths = 1000;
  struct Twin {
    std::uint32_t number;
    UniqueFd socket;
  };
  Stage& stage() { return *reinterpret_cast<Stage*>(mapping_.data()); }

  void start() {
    auto twin = *ipc::packet_pair();
    const std::uint32_t number = ++last_, before = stage().serving.load();
    int source = -1;
    for (const Twin& each : twins_)
      if (each.number == before) source = each.socket.get();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      const int wanted[] = {stage_fd_.get(), theirs_ ? theirs_.get() : -1, twin.theirs.get(), source};
      int high[4];
      for (int i = 0; i < 4; ++i)
        high[i] = wanted[i] < 0 ? -1 : ::fcntl(wanted[i], F_DUPFD_CLOEXEC, 64);
      for (int i = 0; i < 4; ++i) {
        if (high[i] >= 0) ::dup2(high[i], kStageFd + i);
      }
      const std::string words[] = {std::to_string(number), std::to_string(before)};
      ::execl(program_, "survival-victim", kind_.model, words[0].c_str(), words[1].c_str(), nullptr);
      ::_exit(127);
    }
    twins_.push_back({number, std::move(twin.ours)});
    int status = 0;
    ::waitpid(pid_, &status, 0);  // it has become the victim
    EXPECT_TRUE(WIFSTOPPED(status));
    // The twin, its child, is nobody's business.
    ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  }
  void follow(Killer& killer) {
    int signal = 0, status = 0;
    for (;;) {
      // Before the first one serves there is nothing to go on with.
      const bool lives = stage().serving.load() == 0 || killer.lets_live(pid_);
      if (!lives) ::kill(pid_, SIGKILL);
      ::ptrace(static_cast<__ptrace_request>(lives ? killer.request() : PTRACE_CONT), pid_, nullptr, signal);
      if (::waitpid(pid_, &status, __WALL) != pid_) return;
      if (!WIFSTOPPED(status)) break;
      const int stop = WSTOPSIG(status);
      signal = stop == (SIGTRAP | 0x80) || stop == SIGTRAP ? 0 : stop;
    }
    pid_ = 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
      ++deaths_;
      if (!is_over_) start();  // else the client has what it wanted, and goes
      return;
    }
    has_given_up_ = status != 0;
    if (has_given_up_) is_over_ = true;
  }

  const Kind& kind_;
  const char* program_;
  bool has_given_up_ = false;
  UniqueFd stage_fd_, ours_, theirs_;
  Mapping mapping_;
  std::vector<Twin> twins_;
  View view_;
  std::atomic<bool> is_over_{false};
  pid_t pid_ = 0;
  std::uint32_t last_ = 0;
  unsigned deaths_ = 0;
};

class Survival : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(, Survival, testing::ValuesIn(kKinds), [](const auto& each) { return each.param.name; });

TEST_P(Survival, AtEverySystemCall) {
  const Kind& kind = GetParam();
  Nobody nobody;
  Trial undisturbed{kind};
  const View expected = undisturbed.with(nobody);
  ASSERT_GE(expected.size(), 25u);
  const unsigned stops = nobody.stops(), step = stride();
  ASSERT_GT(stops, 500u);
  ASSERT_TRUE(nobody.has_all_steps());
  unsigned deaths = 0;
  const auto chosen = nobody.chosen(step);
  for (const unsigned nth : chosen) {
    AtStop killer{nth};
    Trial run{kind};
    ASSERT_EQ(run.with(killer), expected) << "killed at stop " << nth;
    ASSERT_FALSE(run.has_given_up()) << "killed at stop " << nth;
    deaths += run.deaths();
  }
  EXPECT_GE(deaths, chosen.size() * 9 / 10) << "stops differ a little from run to run";
}

/// Where a request is served: between a system call that reads it and the next.
struct Middle {
  unsigned nth, steps;
};
Middle middle_of(std::mt19937& random, unsigned stops) {
  constexpr unsigned kInstructions = 6000;  // about what a request takes
  return {1 + static_cast<unsigned>(random()) % (stops - 1), 1 + static_cast<unsigned>(random()) % kInstructions};
}

TEST_P(Survival, BetweenInstructions) {
  const Kind& kind = GetParam();
  Nobody nobody;
  const View expected = Trial{kind}.with(nobody);
  std::mt19937 random{7};
  const unsigned runs = stride() == 1 ? 1000 : 20;
  unsigned deaths = 0;
  for (unsigned i = 0; i < runs; ++i) {
    const Middle middle = middle_of(random, nobody.stops());
    BehindStop killer{middle.nth, middle.steps};
    Trial run{kind};
    ASSERT_EQ(run.with(killer), expected) << middle.steps << " instructions behind stop " << middle.nth;
    ASSERT_FALSE(run.has_given_up()) << middle.steps << " instructions behind stop " << middle.nth;
    deaths += run.deaths();
  }
  EXPECT_GE(deaths, runs / 2);
}

TEST_P(Survival, AgainAndAgain) {
  const Kind& kind = GetParam();
  Nobody nobody;
  const View expected = Trial{kind}.with(nobody);
  unsigned deaths = 0;
  for (unsigned seed = 1; seed <= 10; ++seed) {
    AgainAndAgain killer{seed, kind.longest_life};
    Trial run{kind};
    ASSERT_EQ(run.with(killer), expected) << "seed " << seed;
    ASSERT_FALSE(run.has_given_up()) << "seed " << seed;
    deaths += run.deaths();
  }
  EXPECT_GT(deaths, 10u);
}

// --- servers with a mistake in their journal: would it be seen? ---

/// In how many runs at most a client sees what it should not; 0: in none.
template <class MakeKiller>
unsigned runs_until_seen(const char* program, unsigned most, MakeKiller&& make) {
  const Kind& kind = kKinds[0];
  Nobody nobody;
  const View expected = Trial{kind, program}.with(nobody);  // nobody dies: nothing is wrong with it
  EXPECT_EQ(expected, Trial{kind}.with(nobody));
  for (unsigned i = 1; i <= most; ++i) {
    auto killer = make(i, nobody);
    Trial run{kind, program};
    if (run.with(killer) != expected || run.has_given_up()) return i;
  }
  return 0;
}

// It says that it has read a request when it has, not before: what one who died had read is lost.
TEST(SurvivalOfMistakes, ACommitOutOfOrderIsSeen) {
  EXPECT_NE(runs_until_seen(VMUX_VICTIM_OUT_OF_ORDER, 200,
                            [&](unsigned i, const Nobody& nobody) { return AtStop{1 + i * 7 % nobody.stops()}; }),
            0u);
}

// What it takes is a death between two stores of one register access: one in some 300 is there.
TEST(SurvivalOfMistakes, AnUndoRecordThatIsSkippedIsSeen) {
  if (stride() != 1) GTEST_SKIP() << "it takes thousands of deaths to be sure: VMUX_SURVIVAL_STRIDE=1";
  std::mt19937 random{7};
  EXPECT_NE(runs_until_seen(VMUX_VICTIM_WITHOUT_UNDO, 5000,
                            [&](unsigned, const Nobody& nobody) {
                              const Middle middle = middle_of(random, nobody.stops());
                              return BehindStop{middle.nth, middle.steps};
                            }),
            0u);
}

}  // namespace
}  // namespace vmux::survival
