// SPDX-License-Identifier: BSD-3-Clause
#include "preload/process/shared_lock.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "vmux/base/assert.hpp"

namespace vmux::preload {

SharedLock::SharedLock() noexcept {
  void* page = ::mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  VMUX_ASSERT(page != MAP_FAILED);
  mutex_ = static_cast<pthread_mutex_t*>(page);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(mutex_, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

SharedLock::~SharedLock() { munmap(mutex_, sizeof(pthread_mutex_t)); }  // other processes may still use theirs

void SharedLock::lock() noexcept {
  if (pthread_mutex_lock(mutex_) == EOWNERDEAD) pthread_mutex_consistent(mutex_);
}

void SharedLock::unlock() noexcept { pthread_mutex_unlock(mutex_); }

}  // namespace vmux::preload
