// SPDX-License-Identifier: BSD-3-Clause
// For tests and benchmarks of the queues alone: guest memory, and the two halves of a driver that fill rings in it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include "vmux/base/assert.hpp"
#include "vmux/memory/address_space.hpp"

namespace vmux::intel::test {

using Bytes = std::vector<std::uint8_t>;

/// Guest memory from IOVA kBase on, in one range or several.
class Memory {
 public:
  static constexpr std::uint64_t kBase = 0x1'0000'0000;

  explicit Memory(std::uint64_t size, std::uint64_t range = 0) : size_(size) {
    const int fd = ::memfd_create("guest", MFD_CLOEXEC);
    VMUX_ASSERT(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(size)) == 0);
    host_ = static_cast<std::uint8_t*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    VMUX_ASSERT(host_ != MAP_FAILED);
    if (range == 0) range = size;
    for (std::uint64_t at = 0; at < size; at += range) {
      memory::MapRequest request{Iova{kBase + at}, ByteCount{range}, memory::Access::read_write, UniqueFd{::dup(fd)},
                                 at};
      VMUX_ASSERT(space_.map(std::move(request)).has_value());
    }
    ::close(fd);
  }
  ~Memory() { ::munmap(host_, size_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  [[nodiscard]] memory::AddressSpace& space() noexcept { return space_; }
  [[nodiscard]] std::uint8_t* at(std::uint64_t iova) noexcept { return host_ + (iova - kBase); }
  void put64(std::uint64_t iova, std::uint64_t value) noexcept { std::memcpy(at(iova), &value, sizeof value); }
  [[nodiscard]] std::uint64_t get64(std::uint64_t iova) noexcept {
    std::uint64_t value;
    std::memcpy(&value, at(iova), sizeof value);
    return value;
  }
  void put(std::uint64_t iova, std::span<const std::uint8_t> bytes) noexcept {
    std::memcpy(at(iova), bytes.data(), bytes.size());
  }
  [[nodiscard]] Bytes get(std::uint64_t iova, std::size_t size) { return {at(iova), at(iova) + size}; }

 private:
  std::uint64_t size_;
  std::uint8_t* host_ = nullptr;
  memory::AddressSpace space_;
};

inline constexpr std::uint64_t kTxRing = Memory::kBase + 0x1000, kRxRing = Memory::kBase + 0x10000,
                               kHeadWriteBack = Memory::kBase + 0x800, kBuffers = Memory::kBase + 0x40000,
                               kBufferStep = 0x4000;
[[nodiscard]] constexpr std::uint64_t buffer(std::uint64_t index) noexcept { return kBuffers + index * kBufferStep; }

// Words of transmit descriptors, from Linux' iavf_type.h: a second reading.
[[nodiscard]] constexpr std::uint64_t data_word(std::uint64_t cmd, std::uint64_t size, std::uint64_t offsets = 0,
                                                std::uint64_t tag = 0) noexcept {
  return 0x0 | cmd << 4 | offsets << 16 | size << 34 | tag << 48;
}
[[nodiscard]] constexpr std::uint64_t offsets(std::uint64_t mac, std::uint64_t ip, std::uint64_t l4) noexcept {
  return mac / 2 | ip / 4 << 7 | l4 / 4 << 14;
}
[[nodiscard]] constexpr std::uint64_t context_word(std::uint64_t cmd, std::uint64_t tso_length,
                                                   std::uint64_t mss) noexcept {
  return 0x1 | cmd << 4 | tso_length << 30 | mss << 50;
}
inline constexpr std::uint64_t kEop = 0x1, kRs = 0x2, kInsertTag1 = 0x8, kIpv6 = 0x20, kIpv4 = 0x40, kIpv4Sum = 0x60,
                               kTcp = 0x100, kSctp = 0x200, kUdp = 0x300;
inline constexpr std::uint64_t kDone = 0xf;

}  // namespace vmux::intel::test
