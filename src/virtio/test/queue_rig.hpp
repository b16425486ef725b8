// SPDX-License-Identifier: BSD-3-Clause
// A queue with guest memory, and a driver on the other side of it.
#pragma once

#include <memory>
#include <vector>

#include "fake_guest/virtio_ring.hpp"
#include "virtio/queue.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/memory/address_space.hpp"

namespace vmux::virtio::test {

struct Kind {
  bool is_packed = false, has_event_idx = false;
};

class QueueRig {
 public:
  static constexpr std::uint64_t kBase = 0x1'0000'0000, kSize = 1 << 20;
  static constexpr std::uint64_t kDescriptors = kBase, kDriver = kBase + 0x8000, kDevice = kBase + 0xa000,
                                 kTables = kBase + 0x1'0000, kBuffers = kBase + 0x4'0000;

  explicit QueueRig(Kind kind, std::uint16_t size = 8) : kind_(kind) {
    auto fd = make_memfd("rings", kSize);
    VMUX_ASSERT(fd.has_value());
    auto mapping = Mapping::create(fd->get(), 0, kSize, true);
    VMUX_ASSERT(mapping.has_value());
    memory_ = std::move(*mapping);
    memory::MapRequest request{Iova{kBase}, ByteCount{kSize}, memory::Access::read_write, std::move(*fd), 0};
    VMUX_ASSERT(space_.map(std::move(request)).has_value());
    space_.attach(queue.memory());
    setup.descriptors = Iova{kDescriptors};
    setup.driver = Iova{kDriver};
    setup.device = Iova{kDevice};
    setup.size = size;
    setup.is_packed = kind.is_packed;
    setup.has_event_idx = kind.has_event_idx;
    setup.has_indirect = true;
    start_over();
  }

  void start_over() {
    VMUX_ASSERT(can_be(setup));
    driver = std::make_unique<fake_guest::VirtioRing>(
        memory_.bytes(), kBase, fake_guest::VirtioLayout{kind_.is_packed, setup.size, kDescriptors, kDriver, kDevice});
    queue.start(setup, {});
  }
  /// A chain of one buffer to read.
  void post(std::uint32_t token, std::uint32_t length = 100) {
    driver->post({{kBuffers + 0x1000ull * token, length, false}}, token);
  }
  std::size_t waiting() { return queue.ready(Queue::kMaxReady).size(); }
  /// Uses the oldest chains; the tokens that the driver got back.
  std::vector<std::uint32_t> use(const std::vector<std::uint32_t>& written) {
    EXPECT_TRUE(queue.use(written));
    std::vector<std::uint32_t> tokens;
    while (const auto used = driver->take_used())
      tokens.push_back(used->token);
    return tokens;
  }
  memory::AddressSpace& space() { return space_; }

  QueueSetup setup;
  Queue queue;
  std::unique_ptr<fake_guest::VirtioRing> driver;

 private:
  Kind kind_;
  Mapping memory_;
  memory::AddressSpace space_;
};

}  // namespace vmux::virtio::test
