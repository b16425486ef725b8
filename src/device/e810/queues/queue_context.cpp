// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/queues/queue_context.hpp"

#include <cstring>

#include "vmux/base/le.hpp"

namespace vmux::device::e810 {
namespace {

/// Where a field lies: lowest bit and width, at most 57 bits.
struct Field {
  unsigned low, width;
};
namespace rx {
constexpr Field base{32, 57}, qlen{89, 13}, dbuf{102, 7}, dtype{114, 2}, dsize{116, 1}, crcstrip{117, 1},
    rxmax{174, 14};
}
namespace tx {
constexpr Field base{0, 57}, src_vsi{80, 10}, qlen{135, 13};
}

std::uint64_t get(std::span<const std::byte> context, Field field) noexcept {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < field.width; ++i) {
    const unsigned bit = field.low + i;
    value |= (std::to_integer<std::uint64_t>(context[bit / 8]) >> bit % 8 & 1) << i;
  }
  return value;
}

using RxBytes = std::array<std::byte, kRxContextWords * 4>;

RxBytes bytes_of(const std::array<std::uint32_t, kRxContextWords>& context) noexcept {
  RxBytes bytes;
  for (std::size_t i = 0; i < context.size(); ++i) {
    const Le<std::uint32_t> word = context[i];
    std::memcpy(bytes.data() + i * sizeof word, &word, sizeof word);
  }
  return bytes;
}

}  // namespace

intel::RxQueueConfig rx_config_of(const std::array<std::uint32_t, kRxContextWords>& context,
                                  std::uint8_t rxdid) noexcept {
  const RxBytes bytes = bytes_of(context);
  intel::RxQueueConfig config;
  config.ring = Iova{get(bytes, rx::base) * 128};
  config.length = static_cast<std::uint16_t>(get(bytes, rx::qlen));
  config.buffer_size = static_cast<std::uint16_t>(get(bytes, rx::dbuf) * 128);
  config.max_frame = static_cast<std::uint32_t>(get(bytes, rx::rxmax));
  config.wide = get(bytes, rx::dsize) != 0;
  config.rxdid = config.wide ? rxdid : intel::rxdid::legacy16;
  config.keep_crc = get(bytes, rx::crcstrip) == 0;
  return config;
}

bool wants_header_split(const std::array<std::uint32_t, kRxContextWords>& context) noexcept {
  return get(bytes_of(context), rx::dtype) != 0;
}

std::uint16_t vsi_of(std::span<const std::byte, kTxContextSize> context) noexcept {
  return static_cast<std::uint16_t>(get(context, tx::src_vsi));
}

intel::TxQueueConfig tx_config_of(std::span<const std::byte, kTxContextSize> context) noexcept {
  intel::TxQueueConfig config;
  config.ring = Iova{get(context, tx::base) * 128};
  config.length = static_cast<std::uint16_t>(get(context, tx::qlen));
  return config;
}

}  // namespace vmux::device::e810
