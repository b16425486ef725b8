// SPDX-License-Identifier: BSD-3-Clause
#include "device/e810/firmware/nvm.hpp"

#include <array>
#include <cstring>
#include <memory>

#include "vmux/base/le.hpp"
#include "wire/ice_aq.hpp"

namespace vmux::device::e810::nvm {
namespace {

constexpr std::uint16_t kSector = 4096;  // bytes
constexpr std::size_t kWord = 2;

/// Words of the Shadow RAM.
namespace word {
constexpr std::size_t control = 0x00, version = 0x18, eetrack_low = 0x2d, eetrack_high = 0x2e, checksum = 0x3f,
                      pfa = 0x40, nvm_pointer = 0x42, nvm_size = 0x43, orom_pointer = 0x44, orom_size = 0x45,
                      netlist_pointer = 0x46, netlist_size = 0x47;
}
constexpr std::uint16_t kValid = 1 << 6;       // of the control word: bits 7:6 are 01, and first banks are the active
constexpr std::uint16_t kInSectors = 1 << 15;  // of a pointer
constexpr std::uint16_t kVersion = 0x3020;     // 3.20
constexpr std::uint32_t kEetrack = 0x8000'0001;
constexpr std::size_t kPfaAt = 0x4000;  // word

/// Each bank is there twice, one behind the other. Sectors.
struct Bank {
  std::uint16_t first, size;
};
constexpr Bank kNvm{0x10, 0x12}, kOrom{0x34, 1}, kNetlist{0x36, 1};
static_assert((kNetlist.first + 2u * kNetlist.size) * kSector <= kFlashSize);

// In front of the NVM bank's copy of the Shadow RAM there is the header by which its signature is checked.
constexpr std::uint16_t kCssHeaderLength = 0x00a1;  // units of four bytes, without what goes before
constexpr std::size_t kCssHeader = 352;             // words

/// The version of the option ROM, at a multiple of 512 bytes.
struct Civd {
  std::array<char, 4> signature;
  std::uint8_t checksum;
  Le<std::uint32_t> version;
  std::uint8_t name_length;
  std::array<Le<std::uint16_t>, 32> name;
};
static_assert(sizeof(Civd) == 74);
constexpr std::uint32_t kOromVersion = 1u << 24 | 3429u << 8 | 0;  // 1.3429.0

using Flash = std::array<std::byte, kFlashSize>;

std::uint16_t get(const Flash& flash, std::size_t word) noexcept {
  Le<std::uint16_t> value;
  std::memcpy(&value, flash.data() + word * kWord, sizeof value);
  return value;
}
void put(Flash& flash, std::size_t word, std::uint16_t value) noexcept {
  const Le<std::uint16_t> wire = value;
  std::memcpy(flash.data() + word * kWord, &wire, sizeof wire);
}
constexpr std::size_t word_of(Bank bank, unsigned copy) noexcept {
  return (bank.first + std::size_t{copy} * bank.size) * kSector / kWord;
}

std::uint16_t shadow_ram_sum(const Flash& flash) noexcept {
  unsigned sum = 0;
  for (std::size_t at = 0; at < kShadowRamSize / kWord; ++at)
    sum += get(flash, at);
  return static_cast<std::uint16_t>(sum);
}

void put_pointer(Flash& flash, std::size_t pointer, std::size_t size, Bank bank) noexcept {
  put(flash, pointer, kInSectors | bank.first);
  put(flash, size, bank.size);
}

void put_shadow_ram(Flash& flash) noexcept {
  put(flash, word::control, kValid);
  put(flash, word::version, kVersion);
  put(flash, word::eetrack_low, kEetrack & 0xffff);
  put(flash, word::eetrack_high, kEetrack >> 16);
  put(flash, word::pfa, kPfaAt);
  put(flash, kPfaAt, 2);  // words of the area: its length and nothing else
  put_pointer(flash, word::nvm_pointer, word::nvm_size, kNvm);
  put_pointer(flash, word::orom_pointer, word::orom_size, kOrom);
  put_pointer(flash, word::netlist_pointer, word::netlist_size, kNetlist);
  put(flash, word::checksum, static_cast<std::uint16_t>(wire::ice::kChecksumRight - shadow_ram_sum(flash)));
}

// Drivers look at the inactive copy as well.
void put_nvm(Flash& flash, unsigned copy) noexcept {
  const std::size_t at = word_of(kNvm, copy);
  put(flash, at + 2, kCssHeaderLength);
  put(flash, at + 3, 0);
  std::memcpy(flash.data() + (at + kCssHeader) * kWord, flash.data(), kShadowRamSize);
}
static_assert(kCssHeader * kWord + kShadowRamSize <= std::size_t{kNvm.size} * kSector);

void put_orom(Flash& flash, unsigned copy) noexcept {
  Civd civd{{'$', 'C', 'I', 'V'}, 0, kOromVersion, 0, {}};
  unsigned sum = 0;
  for (const std::byte byte : std::as_bytes(std::span{&civd, 1}))
    sum += std::to_integer<unsigned>(byte);
  civd.checksum = static_cast<std::uint8_t>(0x100 - (sum & 0xff));
  std::memcpy(flash.data() + word_of(kOrom, copy) * kWord, &civd, sizeof civd);
}

void put_netlist(Flash& flash, unsigned copy) noexcept {
  const std::size_t at = word_of(kNetlist, copy);
  put(flash, at, 0x011b);    // the type of this area
  put(flash, at + 2, 0x30);  // its length: no node, and the block that names it
  put(flash, at + 3, 0);
  put(flash, at + 6, 1);  // major version of the block, low half
}

std::unique_ptr<const Flash> make() {
  auto flash = std::make_unique<Flash>();
  flash->fill(std::byte{0});
  put_shadow_ram(*flash);
  for (const unsigned copy : {0u, 1u}) {
    put_nvm(*flash, copy);
    put_orom(*flash, copy);
    put_netlist(*flash, copy);
  }
  return flash;
}

const Flash& image() noexcept {
  static const std::unique_ptr<const Flash> flash = make();
  return *flash;
}

}  // namespace

std::span<const std::byte> flash() noexcept { return image(); }

bool is_checksum_right() noexcept { return shadow_ram_sum(image()) == wire::ice::kChecksumRight; }

}  // namespace vmux::device::e810::nvm
