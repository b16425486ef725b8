// SPDX-License-Identifier: BSD-3-Clause
// A mutex that holds between a process and those forked from it: they share a device's socket, and a request with its
// reply must not be torn apart. A holder that died has left a whole message or a broken stream; the next one finds out.
#pragma once

#include <pthread.h>

namespace vmux::preload {

class SharedLock {
 public:
  SharedLock() noexcept;
  ~SharedLock();
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;
  void lock() noexcept;
  void unlock() noexcept;

 private:
  pthread_mutex_t* mutex_;  // in memory that fork() shares
};

}  // namespace vmux::preload
