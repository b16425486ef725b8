// SPDX-License-Identifier: BSD-3-Clause
#include "preload/vfio/device/irq_rules.hpp"

#include <gtest/gtest.h>

#include <cerrno>

namespace vmux::preload {
namespace {

constexpr std::uint32_t kNone = VFIO_IRQ_SET_DATA_NONE, kBool = VFIO_IRQ_SET_DATA_BOOL,
                        kEventfd = VFIO_IRQ_SET_DATA_EVENTFD, kMask = VFIO_IRQ_SET_ACTION_MASK,
                        kUnmask = VFIO_IRQ_SET_ACTION_UNMASK, kTrigger = VFIO_IRQ_SET_ACTION_TRIGGER;
constexpr std::uint32_t kIntx = 0, kMsi = 1, kMsix = 2, kErr = 3, kReq = 4;

class Rules : public testing::Test {
 protected:
  int ask(std::uint32_t index, std::uint32_t flags, std::uint32_t start = 0, std::uint32_t count = 1,
          std::int32_t first = 7) {
    vfio_irq_set request{};
    request.flags = flags;
    request.index = index;
    request.start = start;
    request.count = count;
    const int error = rules_.check(request, is_fixed_);
    if (error == 0) rules_.follow(request, first);
    return -error;
  }

  IrqRules rules_;
  bool is_fixed_ = true;
};

TEST_F(Rules, OneKindAtATime) {
  EXPECT_EQ(ask(kMsi, kEventfd | kTrigger), 0);
  EXPECT_EQ(ask(kIntx, kEventfd | kTrigger), EINVAL);
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger), EINVAL);
  EXPECT_EQ(ask(kErr, kEventfd | kTrigger), 0);
  EXPECT_EQ(ask(kMsi, kNone | kTrigger, 0, 0), 0);
  EXPECT_EQ(ask(kIntx, kEventfd | kTrigger), 0);
}

TEST_F(Rules, WhatIsOffIsNeitherDisabledNorTriggered) {
  EXPECT_EQ(ask(kIntx, kNone | kTrigger, 0, 0), EINVAL);
  EXPECT_EQ(ask(kMsix, kNone | kTrigger, 0, 0), EINVAL);
  EXPECT_EQ(ask(kMsix, kBool | kTrigger), EINVAL);
  EXPECT_EQ(ask(kErr, kNone | kTrigger), EINVAL);
  EXPECT_EQ(ask(kReq, kBool | kTrigger), 0);
}

TEST_F(Rules, DescriptorsOfNoVectorsNeedVectors) {
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger, 0, 0), ERANGE);
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger, 1, 0), EINVAL);
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger), 0);
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger, 0, 0), 0);
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger, 1, 0), EINVAL);
}

TEST_F(Rules, OnlyIntxIsMaskedAndOnlyWhileItIsOn) {
  EXPECT_EQ(ask(kMsix, kNone | kMask), ENOTTY);
  EXPECT_EQ(ask(kReq, kNone | kUnmask), ENOTTY);
  EXPECT_EQ(ask(kIntx, kNone | kMask), EINVAL);
  EXPECT_EQ(ask(kIntx, kEventfd | kTrigger), 0);
  EXPECT_EQ(ask(kIntx, kNone | kMask), 0);
  EXPECT_EQ(ask(kIntx, kEventfd | kMask), ENOTTY);
  EXPECT_EQ(ask(kIntx, kEventfd | kUnmask), 0);
  EXPECT_EQ(ask(kIntx, kNone | kUnmask, 0, 0), EINVAL);
}

TEST_F(Rules, VectorsAreAddedOnlyWhereTheDeviceTakesThem) {
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger, 0, 2), 0);
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger, 2, 1), EINVAL);
  EXPECT_EQ(ask(kMsix, kNone | kTrigger, 2, 1), EINVAL);
  is_fixed_ = false;
  EXPECT_EQ(ask(kMsix, kEventfd | kTrigger, 2, 1), 0);
  EXPECT_EQ(ask(kMsix, kNone | kTrigger, 2, 1), 0);
}

TEST_F(Rules, ErrAndReqAreOneEach) {
  EXPECT_EQ(ask(kErr, kEventfd | kTrigger, 0, 0), EINVAL);
  EXPECT_EQ(ask(kErr, kEventfd | kTrigger), 0);
  EXPECT_EQ(ask(kReq, kNone | kTrigger), EINVAL);
  EXPECT_EQ(ask(kErr, kNone | kTrigger), 0);
  EXPECT_EQ(ask(kErr, kEventfd | kTrigger, 0, 1, -1), 0);
  EXPECT_EQ(ask(kErr, kNone | kTrigger, 0, 0), EINVAL);
}

}  // namespace
}  // namespace vmux::preload
