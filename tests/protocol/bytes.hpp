// SPDX-License-Identifier: BSD-3-Clause
// Messages byte by byte: a second reading of the specification, that includes nothing of the codec.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace vmux::protocol_test {

/// Little-endian bytes, appended one field after the other.
class Bytes : public std::vector<std::uint8_t> {
 public:
  Bytes& number(std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
      push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return *this;
  }
  Bytes& u8(std::uint64_t value) { return number(value, 1); }
  Bytes& u16(std::uint64_t value) { return number(value, 2); }
  Bytes& u32(std::uint64_t value) { return number(value, 4); }
  Bytes& u64(std::uint64_t value) { return number(value, 8); }
  Bytes& text(std::string_view characters) {
    insert(end(), characters.begin(), characters.end());
    return *this;
  }
  Bytes& zeroes(std::size_t count) {
    insert(end(), count, 0);
    return *this;
  }
  Bytes& append(const Bytes& other) {
    insert(end(), other.begin(), other.end());
    return *this;
  }
  [[nodiscard]] std::uint64_t number_at(std::size_t at, unsigned size) const {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size && at + i < this->size(); ++i)
      value |= std::uint64_t{(*this)[at + i]} << (8 * i);
    return value;
  }
};

// Commands by number, flags by bit.
inline constexpr unsigned kVersion = 1, kDmaMap = 2, kDmaUnmap = 3, kGetInfo = 4, kGetRegionInfo = 5,
                          kGetRegionIoFds = 6, kGetIrqInfo = 7, kSetIrqs = 8, kRegionRead = 9, kRegionWrite = 10,
                          kDmaRead = 11, kDmaWrite = 12, kReset = 13, kDirtyPages = 14, kWriteMulti = 15,
                          kDeviceFeature = 16, kMigDataRead = 17, kMigDataWrite = 18;
inline constexpr unsigned kReply = 1, kNoReply = 0x10, kError = 0x20;

inline Bytes message(unsigned id, unsigned command, const Bytes& payload = {}, unsigned flags = 0) {
  return Bytes{}.u16(id).u16(command).u32(16 + payload.size()).u32(flags).u32(0).append(payload);
}

inline Bytes qemu_version() {
  return message(1, kVersion,
                 Bytes{}
                     .u16(0)
                     .u16(0)
                     .text(R"({"capabilities": {"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, )"
                           R"("write_multiple": true, "max_dma_maps": 65535, "max_msg_fds": 16, "pgsizes": 4096, )"
                           R"("max_data_xfer_size": 1048576}})")
                     .u8(0));
}
inline Bytes cloud_hypervisor_version() {
  return message(
      0, kVersion,
      Bytes{}
          .u16(0)
          .u16(1)
          .text(R"({"capabilities":{"max_msg_fds":1,"max_data_xfer_size":1048576,"migration":{"pgsize":4096}}})")
          .u8(0));
}

/// Of a client that wants the server's requests on a socket of their own.
inline Bytes twin_version(unsigned flags = 0) {
  return message(
      1, kVersion,
      Bytes{}.u16(0).u16(0).text(R"({"capabilities":{"max_msg_fds":4,"twin_socket":{"supported":true}}})").u8(0),
      flags);
}

inline Bytes dma_map(unsigned id, std::uint64_t address, std::uint64_t size, std::uint64_t offset = 0,
                     unsigned flags = 3) {
  return message(id, kDmaMap, Bytes{}.u32(32).u32(flags).u64(offset).u64(address).u64(size));
}
inline Bytes dma_unmap(unsigned id, std::uint64_t address, std::uint64_t size, unsigned flags = 0) {
  return message(id, kDmaUnmap, Bytes{}.u32(24).u32(flags).u64(address).u64(size));
}
inline Bytes region_read(unsigned id, unsigned region, std::uint64_t offset, unsigned count) {
  return message(id, kRegionRead, Bytes{}.u64(offset).u32(region).u32(count));
}
inline Bytes region_write(unsigned id, unsigned region, std::uint64_t offset, const Bytes& data, unsigned flags = 0) {
  return message(id, kRegionWrite, Bytes{}.u64(offset).u32(region).u32(data.size()).append(data), flags);
}
inline Bytes set_irqs(unsigned id, unsigned index, unsigned flags, unsigned start, unsigned count,
                      const Bytes& data = {}) {
  return message(id, kSetIrqs, Bytes{}.u32(20 + data.size()).u32(flags).u32(index).u32(start).u32(count).append(data));
}

}  // namespace vmux::protocol_test
