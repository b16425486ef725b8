// SPDX-License-Identifier: BSD-3-Clause
// A client on a socket, the session, a physical function and a kernel in memory: what the client hears when the kernel
// refuses.
#include <gtest/gtest.h>
#include <unistd.h>

#include "kvfio/test/fake_kernel.hpp"
#include "passthrough/physical_function.hpp"
#include "vmux/vfio_user/client.hpp"
#include "vmux/vfio_user/server.hpp"

namespace vmux {
namespace {

class APassedThroughFunction : public testing::Test {
 protected:
  void SetUp() override {
    kernel_.cards["a"].set<std::uint16_t>(4, 0x0006);
    ASSERT_TRUE(poller_->start());
    poller_->call([this] {
      function_ = *passthrough::PhysicalFunction::create("vm", "a", *groups_.get(7, *poller_), *poller_);
      server_ = *vfio_user::Server::create(*poller_, *function_, {.path = path_});
    });
    connect();
  }
  void TearDown() override {
    poller_->call([this] {
      server_.reset();
      function_.reset();
    });
  }
  void connect() { client_ = *vfio_user::Client::connect(path_); }
  Result<void> map() { return client_->dma_map(Iova{0}, kSize, memory::Access::read_write, file_.get(), 0); }

  static constexpr ByteCount kSize{0x10000};
  std::string path_ = testing::TempDir() + "passthrough-" + std::to_string(::getpid()) + ".sock";
  UniqueFd file_ = *make_memfd("vm", kSize.raw);
  kvfio::fake::TestKernel kernel_;
  kvfio::Groups groups_{kernel_};
  std::unique_ptr<runtime::Poller> poller_ = *runtime::Poller::create();
  std::unique_ptr<passthrough::PhysicalFunction> function_;
  std::unique_ptr<vfio_user::Server> server_;
  std::unique_ptr<vfio_user::Client> client_;
};

TEST_F(APassedThroughFunction, AnswersAMapThatTheKernelRefusesWithItsErrno) {
  poller_->call([this] { kernel_.can_pin = false; });
  const auto refused = map();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().as_errno(), ENOMEM);
  poller_->call([this] { kernel_.can_pin = true; });
  EXPECT_TRUE(map()) << "the connection lives on";
}

TEST_F(APassedThroughFunction, AnswersAnUnmapThatTheKernelRefusesWithItsErrnoAndHangsUp) {
  ASSERT_TRUE(map());
  poller_->call([this] { kernel_.can_unpin = false; });
  const auto refused = client_->dma_unmap(Iova{0}, kSize);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().as_errno(), EFAULT);
  EXPECT_FALSE(map());
  connect();
  EXPECT_TRUE(map()) << "the IOMMU is empty for the next client";
  poller_->call([this] { EXPECT_EQ(kernel_.cards["a"].get<std::uint16_t>(4), 0x0002); });
}

TEST_F(APassedThroughFunction, AnswersAnUnmapOfEverythingThatTheKernelRefusesWithItsErrno) {
  ASSERT_TRUE(map());
  poller_->call([this] { kernel_.can_unpin = false; });
  const auto refused = client_->dma_unmap_all();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().as_errno(), EFAULT);
}

}  // namespace
}  // namespace vmux
