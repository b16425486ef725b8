// SPDX-License-Identifier: BSD-3-Clause
#include "capi/irqs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace vmux::capi {

bool Irqs::realize() noexcept {
  count_ = *std::max_element(counts.begin(), counts.end());
  vectors_.reset(new (std::nothrow) Vector[count_]);
  return vectors_ != nullptr;
}

Irqs::Vector* Irqs::find(std::uint32_t kind, std::uint32_t vector) const noexcept {
  if (kind == VFU_DEV_ERR_IRQ || kind == VFU_DEV_REQ_IRQ) {
    if (vector != 0) return nullptr;
    return kind == VFU_DEV_ERR_IRQ ? &error_ : &request_;
  }
  return vector < count_ ? &vectors_[vector] : nullptr;
}

bool Irqs::has(std::uint32_t kind, std::uint32_t vector) const noexcept { return find(kind, vector) != nullptr; }

bool Irqs::is_attached(std::uint32_t kind, std::uint32_t vector) const noexcept {
  const Vector* const found = find(kind, vector);
  return found != nullptr && found->is_attached.load(std::memory_order_relaxed);
}

int Irqs::trigger(std::uint32_t vector) noexcept {
  if (vector >= count_) return EINVAL;
  Vector& found = vectors_[vector];
  return found.is_attached.load(std::memory_order_acquire) ? signal(found) : ENOENT;
}

int Irqs::signal(Vector& vector) noexcept {
  const std::uint64_t one = 1;
  return ::write(vector.fd.get(), &one, sizeof one) == sizeof one ? 0 : errno;
}

int Irqs::signal(std::uint32_t kind, std::uint32_t vector) noexcept {
  Vector* const found = find(kind, vector);
  return found != nullptr && found->is_attached.load(std::memory_order_relaxed) ? signal(*found) : 0;
}

int Irqs::attach(std::uint32_t kind, std::uint32_t vector, UniqueFd fd) noexcept {
  Vector* const found = find(kind, vector);
  if (found == nullptr) return EINVAL;
  if (!found->fd) {
    found->fd = std::move(fd);
  } else if (::dup3(fd.get(), found->fd.get(), O_CLOEXEC) < 0) {
    return errno;
  }
  found->is_attached.store(true, std::memory_order_release);
  return 0;
}

void Irqs::detach(std::uint32_t kind, std::uint32_t vector) noexcept {
  if (Vector* const found = find(kind, vector); found != nullptr) detach(*found);
}

// The client's eventfd is let go, the number is not.
void Irqs::detach(Vector& vector) noexcept {
  if (!vector.is_attached.exchange(false, std::memory_order_acq_rel)) return;
  if (!nobody_) {
    if (auto made = make_eventfd()) nobody_ = std::move(*made);
  }
  if (nobody_) static_cast<void>(::dup3(nobody_.get(), vector.fd.get(), O_CLOEXEC));
}

void Irqs::detach_all() noexcept {
  for (std::uint32_t i = 0; i < count_; ++i)
    detach(vectors_[i]);
  detach(error_);
  detach(request_);
}

}  // namespace vmux::capi
