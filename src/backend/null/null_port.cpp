// SPDX-License-Identifier: BSD-3-Clause
#include "backend/null/null_port.hpp"

namespace vmux::backend {

Result<std::unique_ptr<NullPort>> NullPort::create(const NullOptions&, runtime::Poller&) {
  return std::unique_ptr<NullPort>(new NullPort());
}

std::size_t NullPort::take(std::span<packet::FrameView>) noexcept { return 0; }

void NullPort::finish(std::span<const port::FrameResult>) noexcept {}

port::Delivery NullPort::deliver(std::span<const packet::FrameView> frames) noexcept {
  return {.taken = frames.size()};
}

// Everything: nothing needs finishing for a receiver that looks at nothing.
packet::Accepts NullPort::accepts() const noexcept {
  return {.checksum = true, .gso_tcp4 = true, .gso_tcp6 = true, .gso_udp = true, .vlan = true, .max_frame = 1u << 20};
}

}  // namespace vmux::backend
