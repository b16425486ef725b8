// SPDX-License-Identifier: BSD-3-Clause
// pthread_cancel() on a thread that serves a context: it ends where that thread sleeps, and nowhere else.
#pragma once

#include <pthread.h>

namespace vmux::capi {

/// Not cancelled while it lives, if that is `wanted`. An object of SleepsHere inside allows it again.
class NoCancel {
 public:
  explicit NoCancel(bool wanted) noexcept : wanted_(wanted) {
    if (wanted_) ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_);
  }
  ~NoCancel() {
    if (wanted_) ::pthread_setcancelstate(before_, nullptr);
  }
  NoCancel(const NoCancel&) = delete;
  NoCancel& operator=(const NoCancel&) = delete;
  [[nodiscard]] int before() const noexcept { return before_; }

 private:
  bool wanted_;
  int before_ = PTHREAD_CANCEL_DISABLE;
};

/// Nothing that it lives in may be noexcept: to cancel a thread is to unwind its stack.
class SleepsHere {
 public:
  explicit SleepsHere(int state) noexcept { ::pthread_setcancelstate(state, &inside_); }
  ~SleepsHere() { ::pthread_setcancelstate(inside_, nullptr); }
  SleepsHere(const SleepsHere&) = delete;
  SleepsHere& operator=(const SleepsHere&) = delete;

 private:
  int inside_ = PTHREAD_CANCEL_DISABLE;
};

}  // namespace vmux::capi
