// SPDX-License-Identifier: BSD-3-Clause
#include "backend/null/null_port.hpp"

#include <gtest/gtest.h>

#include <array>

namespace vmux::backend {
namespace {

TEST(NullPort, SwallowsEverythingAndSendsNothing) {
  const auto poller = *runtime::Poller::create();
  const auto port = *NullPort::create({}, *poller);
  std::array<packet::FrameView, 5> frames{};
  EXPECT_EQ(port->deliver(frames).taken, 5u);
  EXPECT_EQ(port->take(frames), 0u);
  EXPECT_TRUE(port->is_ready());
  EXPECT_FALSE(port->needs_polling());
}

}  // namespace
}  // namespace vmux::backend
