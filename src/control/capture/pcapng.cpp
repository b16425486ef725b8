// SPDX-License-Identifier: BSD-3-Clause
#include "control/capture/pcapng.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "vmux/base/le.hpp"

namespace vmux::control::pcapng {
namespace {

constexpr std::uint32_t kSection = 0x0a0d'0d0a, kInterface = 1, kStatistics = 5, kPacket = 6;  // 11.1
constexpr std::uint32_t kByteOrder = 0x1a2b'3c4d;
constexpr std::uint16_t kEthernet = 1;  // LINKTYPE_ETHERNET
constexpr std::uint8_t kNanoseconds = 9;
constexpr std::uint32_t kInbound = 1, kOutbound = 2;  // epb_flags, 4.3.1

// Codes of options: 3.5, and those of each block.
namespace option {
constexpr std::uint16_t end = 0, comment = 1;
constexpr std::uint16_t shb_userappl = 4;
constexpr std::uint16_t if_name = 2, if_description = 3, if_tsresol = 9, if_filter = 11;
constexpr std::uint16_t epb_flags = 2, epb_dropcount = 4, epb_queue = 6;
constexpr std::uint16_t isb_starttime = 2, isb_endtime = 3, isb_ifrecv = 4, isb_ifdrop = 5, isb_filteraccept = 6,
                        isb_usrdeliv = 8;
}  // namespace option

void put(Bytes& to, const void* from, std::size_t size) {
  const auto* const bytes = static_cast<const std::byte*>(from);
  to.insert(to.end(), bytes, bytes + size);
}
template <std::unsigned_integral T>
void put(Bytes& to, T value) {
  const Le<T> wire = value;
  put(to, &wire, sizeof wire);
}
void pad(Bytes& to) { to.resize((to.size() + 3) & ~std::size_t{3}); }

// A block with its length in front and behind: whole when the object is gone. `to` holds nothing but whole blocks.
class Block {
 public:
  Block(Bytes& to, std::uint32_t type) : to_(to), begin_(to.size()) {
    put(to_, type);
    put(to_, std::uint32_t{0});
  }
  ~Block() {
    if (has_options_) option_bytes(option::end, {});
    const Le<std::uint32_t> length = static_cast<std::uint32_t>(to_.size() - begin_ + 4);
    put(to_, &length, sizeof length);
    std::memcpy(to_.data() + begin_ + 4, &length, sizeof length);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// 4.3: the high half of a time comes first.
  void time(std::uint64_t ns) {
    put(to_, static_cast<std::uint32_t>(ns >> 32));
    put(to_, static_cast<std::uint32_t>(ns));
  }
  void option_text(std::uint16_t code, std::string_view text) {
    if (!text.empty()) option_bytes(code, std::as_bytes(std::span{text}));
  }
  template <std::unsigned_integral T>
  void option_number(std::uint16_t code, T value) {
    const Le<T> wire = value;
    option_bytes(code, std::as_bytes(std::span{&wire, 1}));
  }
  void option_time(std::uint16_t code, std::uint64_t ns) {
    const std::array<Le<std::uint32_t>, 2> halves{static_cast<std::uint32_t>(ns >> 32), static_cast<std::uint32_t>(ns)};
    option_bytes(code, std::as_bytes(std::span{halves}));
  }

 private:
  void option_bytes(std::uint16_t code, std::span<const std::byte> value) {
    const std::size_t size = std::min<std::size_t>(value.size(), 0xffff);
    has_options_ = code != option::end;
    put(to_, code);
    put(to_, static_cast<std::uint16_t>(size));
    put(to_, value.data(), size);
    pad(to_);
  }
  Bytes& to_;
  const std::size_t begin_;
  bool has_options_ = false;
};

}  // namespace

void append_section(Bytes& to, std::string_view application) {
  Block block{to, kSection};
  put(to, kByteOrder);
  put(to, std::uint16_t{1});  // version 1.0
  put(to, std::uint16_t{0});
  put(to, ~std::uint64_t{0});  // how long the section is: not known
  block.option_text(option::shb_userappl, application);
}

void append(Bytes& to, const Interface& interface) {
  Block block{to, kInterface};
  put(to, kEthernet);
  put(to, std::uint16_t{0});
  put(to, interface.snaplen);
  block.option_text(option::if_name, interface.name);
  block.option_text(option::if_description, interface.description);
  block.option_number(option::if_tsresol, kNanoseconds);
  if (!interface.filter.empty()) block.option_text(option::if_filter, std::string(1, '\0') + interface.filter);
}

void append(Bytes& to, const Packet& packet) {
  Block block{to, kPacket};
  put(to, packet.interface);
  block.time(packet.time_ns);
  put(to, static_cast<std::uint32_t>(packet.bytes.size()));
  put(to, packet.length);
  put(to, packet.bytes.data(), packet.bytes.size());
  pad(to);
  block.option_text(option::comment, packet.comment);
  block.option_number(option::epb_flags, packet.is_outbound ? kOutbound : kInbound);
  if (packet.missed != 0) block.option_number(option::epb_dropcount, packet.missed);
  if (packet.queue) block.option_number(option::epb_queue, *packet.queue);
}

void append(Bytes& to, const Statistics& statistics) {
  Block block{to, kStatistics};
  put(to, statistics.interface);
  block.time(statistics.time_ns);
  block.option_text(option::comment, statistics.comment);
  block.option_time(option::isb_starttime, statistics.begin_ns);
  if (statistics.end_ns) block.option_time(option::isb_endtime, *statistics.end_ns);
  block.option_number(option::isb_ifrecv, statistics.received);
  block.option_number(option::isb_ifdrop, statistics.dropped);
  block.option_number(option::isb_filteraccept, statistics.accepted);
  block.option_number(option::isb_usrdeliv, statistics.delivered);
}

}  // namespace vmux::control::pcapng
