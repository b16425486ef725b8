// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "ipc/packet.hpp"
#include "keeper/messages.hpp"
#include "keeper/segment.hpp"
#include "keeper/twin.hpp"
#include "vmux/base/mapping.hpp"

namespace vmux::keeper {
namespace {

ino_t inode_of(int fd) {
  struct stat status {};
  EXPECT_EQ(::fstat(fd, &status), 0);
  return status.st_ino;
}

/// A process with a twin that opens a file, says its number and inode, and is killed.
class Dead {
 public:
  Dead() {
    auto pair = *ipc::packet_pair();
    socket = std::move(pair.ours);
    int says[2];
    EXPECT_EQ(::pipe(says), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (!start_twin(pair.theirs.get())) ::_exit(1);
      const UniqueFd file = *make_memfd("kept", 4096);
      const std::array<std::uint64_t, 2> words{static_cast<std::uint64_t>(file.get()), inode_of(file.get())};
      if (::write(says[1], words.data(), sizeof words) != sizeof words) ::_exit(1);
      for (;;)
        ::pause();
    }
    ::close(says[1]);
    std::array<std::uint64_t, 2> words{};
    EXPECT_EQ(::read(says[0], words.data(), sizeof words), static_cast<ssize_t>(sizeof words));
    ::close(says[0]);
    number = static_cast<int>(words[0]);
    inode = words[1];
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  ~Dead() { dismiss_twin(socket.get()); }

  UniqueFd socket;
  int number = -1;
  ino_t inode = 0;
};

TEST(Twin, HasWhatAProcessHadThatIsDead) {
  const Dead dead;
  const auto found = fetch_from_twin(dead.socket.get(), {dead.number, 9999, dead.number});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(inode_of(found->at(dead.number).get()), dead.inode);
}

TEST(Twin, AnswersMoreThanFitIntoAMessage) {
  const Dead dead;
  std::vector<int> numbers(1000, 9999);
  numbers.back() = dead.number;
  const auto found = fetch_from_twin(dead.socket.get(), numbers);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size(), 1u);
}

// Whoever asked before may have died before it read the answer.
TEST(Twin, AnAnswerToSomebodyElseIsPassedOver) {
  const Dead dead;
  const std::array<std::int32_t, 2> question{-77, 9999};
  ASSERT_TRUE(ipc::send_packet(dead.socket.get(), std::as_bytes(std::span{question})));
  const auto found = fetch_from_twin(dead.socket.get(), {dead.number});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size(), 1u);
}

TEST(Segment, ShowsThatAllThreadsOfAProcessHaveDied) {
  const auto segment = Segment::create();
  ASSERT_TRUE(segment);
  int says[2];
  ASSERT_EQ(::pipe(says), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto own = Segment::adopt(UniqueFd{::dup(segment->fd())});
    if (!own || own->begin_thread("control") == nullptr) ::_exit(1);
    std::thread other{[&] {
      static_cast<void>(own->begin_thread("poller0"));
      static_cast<void>(::write(says[1], "x", 1));
      for (;;)
        ::pause();
    }};
    other.join();
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(says[0], &byte, 1), 1);
  std::atomic<bool> is_seen{false};
  std::thread watch{[&] {
    segment->wait_for_death();
    is_seen = true;
  }};
  EXPECT_STREQ(segment->thread(0).name, "control");
  EXPECT_STREQ(segment->thread(1).name, "poller0");
  EXPECT_FALSE(is_seen);
  ::kill(pid, SIGKILL);
  watch.join();
  EXPECT_TRUE(is_seen);
  ::waitpid(pid, nullptr, 0);
  ::close(says[0]);
  ::close(says[1]);
}

TEST(Segment, AThreadThatEndsInPeaceLeavesItsPlaceToAnother) {
  auto segment = *Segment::create();
  ThreadSigns* const signs = segment.begin_thread("a name that is far too long");
  ASSERT_NE(signs, nullptr);
  EXPECT_STREQ(signs->name, "a name that is ");
  Segment::end_thread(*signs);
  EXPECT_EQ(segment.begin_thread("next"), signs);
  Segment::end_thread(*signs);
}

/// A process whose control thread has begun and shows a mark, until it is killed.
pid_t begin_marked(const Segment& segment, std::uint32_t mark) {
  int says[2];
  EXPECT_EQ(::pipe(says), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto own = Segment::adopt(UniqueFd{::dup(segment.fd())});
    ThreadSigns* const signs = own ? own->begin_thread("control") : nullptr;
    if (signs == nullptr) ::_exit(1);
    signs->life.burst = mark;
    static_cast<void>(::write(says[1], "x", 1));
    for (;;)
      ::pause();
  }
  char byte = 0;
  EXPECT_EQ(::read(says[0], &byte, 1), 1);
  ::close(says[0]);
  ::close(says[1]);
  return pid;
}

TEST(Segment, TellsWhetherItsProcessLivesAndWhatItWasAboutToTouch) {
  const auto segment = *Segment::create();
  EXPECT_FALSE(segment.is_alive());
  EXPECT_TRUE(segment.marks().empty());
  const pid_t pid = begin_marked(segment, 7);
  EXPECT_TRUE(segment.is_alive());
  ::kill(pid, SIGKILL);
  segment.wait_for_death();
  EXPECT_FALSE(segment.is_alive());
  EXPECT_EQ(segment.marks(), std::vector<std::uint32_t>{7});
  ::waitpid(pid, nullptr, 0);
}

TEST(Segment, OfAThreadThatEndedInPeaceHasNoMark) {
  auto segment = *Segment::create();
  ThreadSigns* const signs = segment.begin_thread("poller0");
  signs->life.burst = 7;
  EXPECT_EQ(segment.marks(), std::vector<std::uint32_t>{7});
  Segment::end_thread(*signs);
  EXPECT_TRUE(segment.marks().empty());
}

TEST(Messages, ComeAsTheyWereSent) {
  const auto pair = *ipc::packet_pair();
  const UniqueFd file = *make_memfd("sent", 4096);
  ASSERT_TRUE(send_message(pair.ours.get(), Say::upgrade, 3, "a program", {file.get()}));
  const auto message = receive_message(pair.theirs.get(), true);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->say, Say::upgrade);
  EXPECT_EQ(message->value, 3u);
  EXPECT_EQ(message->text, "a program");
  ASSERT_EQ(message->fds.size(), 1u);
  EXPECT_EQ(inode_of(message->fds[0].get()), inode_of(file.get()));
}

TEST(Messages, ThatCannotBeAreErrors) {
  auto pair = *ipc::packet_pair();
  EXPECT_EQ(receive_message(pair.theirs.get(), false).error().sys, EAGAIN);
  const std::array<std::byte, 3> half{};
  ASSERT_TRUE(ipc::send_packet(pair.ours.get(), half));
  EXPECT_EQ(receive_message(pair.theirs.get(), true).error().code, Errc::protocol);
  const std::array<std::uint32_t, 2> newer{9999, 0};
  ASSERT_TRUE(ipc::send_packet(pair.ours.get(), std::as_bytes(std::span{newer})));
  EXPECT_EQ(receive_message(pair.theirs.get(), true).error().code, Errc::protocol);
  pair.ours.reset();
  EXPECT_EQ(receive_message(pair.theirs.get(), true).error().code, Errc::disconnected);
}

}  // namespace
}  // namespace vmux::keeper
