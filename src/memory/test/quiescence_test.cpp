// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "memory/test/test_support.hpp"

namespace vmux::memory {
namespace {

using namespace test;

/// Hands tables over by hand, as a poller's mailbox would.
class ManualObserver final : public Observer {
 public:
  void adopt(std::shared_ptr<const Table> table, std::uint64_t generation) noexcept override {
    table_ = std::move(table);
    generation_ = generation;
  }
  std::shared_ptr<const Table> table_;
  std::uint64_t generation_ = 0;
};

TEST(Quiescence, UnmapWaitsForTheSlowestObserver) {
  File file{kPage};
  AddressSpace space;
  ManualObserver fast, slow;
  space.attach(fast);
  space.attach(slow);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  bool is_quiet = false;
  ASSERT_TRUE(space.unmap(Iova{0}, ByteCount{kPage}, [&] { is_quiet = true; }));
  space.adopted(fast, fast.generation_);
  EXPECT_FALSE(is_quiet);
  space.adopted(slow, slow.generation_ - 1);
  EXPECT_FALSE(is_quiet);
  space.adopted(slow, slow.generation_);
  EXPECT_TRUE(is_quiet);
}

TEST(Quiescence, CallbacksComeInOrder) {
  File file{2 * kPage};
  AddressSpace space;
  ManualObserver observer;
  space.attach(observer);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  ASSERT_TRUE(space.map(range(kPage, kPage, file.fd())));
  std::string order;
  ASSERT_TRUE(space.unmap(Iova{0}, ByteCount{kPage}, [&] { order += 'a'; }));
  ASSERT_TRUE(space.unmap(Iova{kPage}, ByteCount{kPage}, [&] { order += 'b'; }));
  space.adopted(observer, observer.generation_);
  EXPECT_EQ(order, "ab");
}

TEST(Quiescence, UnmapOfNothingIsNotQuietBeforeWhatWasUnmappedEarlier) {
  File file{kPage};
  AddressSpace space;
  ManualObserver observer;
  space.attach(observer);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  std::string order;
  ASSERT_TRUE(space.unmap(Iova{0}, ByteCount{kPage}, [&] { order += 'a'; }));
  ASSERT_TRUE(space.unmap(Iova{0}, ByteCount{kPage}, [&] { order += 'b'; }));
  EXPECT_EQ(order, "");
  space.adopted(observer, observer.generation_);
  EXPECT_EQ(order, "ab");
}

TEST(Quiescence, DetachedObserverIsNotWaitedFor) {
  File file{kPage};
  AddressSpace space;
  ManualObserver observer;
  space.attach(observer);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  bool is_quiet = false;
  space.unmap_all([&] { is_quiet = true; });
  EXPECT_FALSE(is_quiet);
  space.detach(observer);
  EXPECT_TRUE(is_quiet);
}

TEST(Quiescence, NewObserverHasNothingOldToLetGo) {
  File file{kPage};
  AddressSpace space;
  ManualObserver old_one, new_one;
  space.attach(old_one);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  bool is_quiet = false;
  space.unmap_all([&] { is_quiet = true; });
  space.attach(new_one);
  space.adopted(old_one, old_one.generation_);
  EXPECT_TRUE(is_quiet);
}

/// Adopts on the spot, as an observer whose readers share the home thread may.
class ImmediateObserver final : public Observer {
 public:
  explicit ImmediateObserver(AddressSpace& space) : space_(space) {}
  void adopt(std::shared_ptr<const Table>, std::uint64_t generation) noexcept override {
    space_.adopted(*this, generation);
  }

 private:
  AddressSpace& space_;
};

TEST(Quiescence, ObserverMayAdoptFromInsideTheCall) {
  File file{kPage};
  AddressSpace space;
  ImmediateObserver observer{space};
  space.attach(observer);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  bool is_quiet = false;
  ASSERT_TRUE(space.unmap(Iova{0}, ByteCount{kPage}, [&] { is_quiet = true; }));
  EXPECT_TRUE(is_quiet);
  space.detach(observer);
}

/// A reader on a thread of its own that writes all the time.
class Worker final : public Observer {
 public:
  void adopt(std::shared_ptr<const Table> table, std::uint64_t generation) noexcept override {
    const std::lock_guard lock{mutex_};
    next_ = std::move(table);
    posted_ = generation;
  }
  void run() {
    GuestMemory memory;
    for (std::uint64_t mine = 0; !is_stopped_.load(std::memory_order_acquire);) {
      {
        const std::lock_guard lock{mutex_};
        if (posted_ != mine) {
          memory.adopt(next_);
          mine = posted_;
        }
      }
      adopted_.store(mine, std::memory_order_release);
      if (memory.store(Iova{0}, std::uint64_t{0xff})) writes_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  std::mutex mutex_;
  std::shared_ptr<const Table> next_;
  std::uint64_t posted_ = 0;
  std::atomic<std::uint64_t> adopted_{0}, writes_{0};
  std::atomic<bool> is_stopped_{false};
};

TEST(Quiescence, NobodyWritesAfterTheCallback) {
  File file{kPage};
  AddressSpace space;
  Worker worker;
  space.attach(worker);
  std::thread thread{[&] { worker.run(); }};
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
    const std::uint64_t writes = worker.writes_.load();
    while (worker.writes_.load() == writes)
      std::this_thread::yield();
    bool is_quiet = false;
    ASSERT_TRUE(space.unmap(Iova{0}, ByteCount{kPage}, [&] { is_quiet = true; }));
    while (!is_quiet)
      space.adopted(worker, worker.adopted_.load(std::memory_order_acquire));
    file.put(0, 0);
    std::this_thread::yield();
    ASSERT_EQ(file.get(0), 0) << "written after the unmap was answered";
  }
  worker.is_stopped_ = true;
  thread.join();
  space.detach(worker);
}

}  // namespace
}  // namespace vmux::memory
