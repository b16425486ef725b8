// SPDX-License-Identifier: BSD-3-Clause
#include "device/e1000/board/nvm.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint16_t kChecksum = 0xbaba;
constexpr unsigned kChecksumWord = 0x3f;
constexpr unsigned kCommandBits = 2 + 6;  // opcode and address, behind the start bit

struct Word {
  unsigned at;
  std::uint16_t value;
};
constexpr Word kFactory[] = {
    {0x03, 0x0000}, {0x04, 0xffff},  // compatibility; default LED behaviour
    {0x08, 0xa78a}, {0x09, 0x0101},  // board number
    {0x0a, 0x640a},                  // initialization control 1: subsystem and device ids are valid
    {0x0b, 0x001e}, {0x0c, 0x8086},  // subsystem id and vendor
    {0x0d, 0x100e}, {0x0e, 0x8086},  // device and vendor
    {0x0f, 0x3040},                  // initialization control 2: pause in both directions
    {0x20, 0x0000}, {0x24, 0x0000},  // no wake-up by default
};

/// One command with its address (and data) is complete: does what 93C46 data sheets say.
void execute(Nvm& nvm, std::uint32_t opcode, std::uint32_t address, std::uint16_t data) noexcept {
  switch (opcode) {
    case 2:  // READ: a dummy 0 bit, then the word
      nvm.out = nvm.words[address];
      nvm.bits_out = 16;
      nvm.data_out = 0;
      return;
    case 1:  // WRITE
      if (nvm.write_enabled != 0) nvm.words[address] = data;
      break;
    case 3:  // ERASE
      if (nvm.write_enabled != 0) nvm.words[address] = 0xffff;
      break;
    default:  // the top two address bits tell: EWDS 00, WRAL 01, ERAL 10, EWEN 11
      if ((address >> 4) == 3) nvm.write_enabled = 1;
      if ((address >> 4) == 0) nvm.write_enabled = 0;
  }
  nvm.data_out = 1;  // ready at once
}

void shift_in(Nvm& nvm, bool bit) noexcept {
  if (nvm.bits_in == 0 && !bit) return;  // waits for the start bit
  nvm.shift_in = (nvm.shift_in << 1) | (bit ? 1u : 0u);
  ++nvm.bits_in;
  if (nvm.bits_in < 1 + kCommandBits) return;
  const bool is_write = ((nvm.shift_in >> (nvm.bits_in - 3)) & 3) == 1;
  const unsigned wanted = 1 + kCommandBits + (is_write ? 16 : 0);
  if (nvm.bits_in < wanted) return;
  const std::uint32_t command = is_write ? nvm.shift_in >> 16 : nvm.shift_in;
  nvm.bits_in = 0;
  execute(nvm, (command >> 6) & 3, command & 0x3f, static_cast<std::uint16_t>(nvm.shift_in));
}

}  // namespace

void program_nvm(Nvm& nvm, const MacAddress& mac) noexcept {
  nvm = Nvm{};
  nvm.words.fill(0xffff);
  for (const Word& word : kFactory)
    nvm.words[word.at] = word.value;
  program_station(nvm, mac);
}

void program_station(Nvm& nvm, const MacAddress& mac) noexcept {
  for (unsigned i = 0; i < 3; ++i) {
    nvm.words[i] = static_cast<std::uint16_t>(mac[2 * i] | (mac[2 * i + 1] << 8));
  }
  std::uint16_t sum = 0;
  for (unsigned i = 0; i < kChecksumWord; ++i)
    sum = static_cast<std::uint16_t>(sum + nvm.words[i]);
  nvm.words[kChecksumWord] = static_cast<std::uint16_t>(kChecksum - sum);
}

MacAddress mac_of(const Nvm& nvm) noexcept {
  MacAddress mac{};
  for (unsigned i = 0; i < 3; ++i) {
    mac[2 * i] = static_cast<std::uint8_t>(nvm.words[i]);
    mac[2 * i + 1] = static_cast<std::uint8_t>(nvm.words[i] >> 8);
  }
  return mac;
}

std::uint32_t eerd_read(const Nvm& nvm, std::uint32_t written) noexcept {
  if (!eerd::start::is_set(written)) return written & ~0xffff'0000u;
  const std::uint32_t address = eerd::addr::get(written);
  const std::uint16_t word = address < nvm.words.size() ? nvm.words[address] : std::uint16_t{0xffff};
  return eerd::data::set(eerd::done::set(eerd::addr::set(0u, address), 1), word);
}

void eecd_write(Nvm& nvm, std::uint32_t value) noexcept {
  const std::uint32_t before = nvm.eecd;
  nvm.eecd = value & 0x0000'0077;  // SK, CS, DI, FWE, REQ; the rest are the part's or the arbiter's
  if (!eecd::cs::is_set(value)) {
    nvm.bits_in = nvm.bits_out = 0;
    nvm.shift_in = 0;
    nvm.data_out = 1;
    return;
  }
  const bool rising = eecd::sk::is_set(value) && !eecd::sk::is_set(before);
  if (!rising || !eecd::cs::is_set(before)) return;
  if (nvm.bits_out > 0) {
    --nvm.bits_out;
    nvm.data_out = static_cast<std::uint8_t>((nvm.out >> nvm.bits_out) & 1);
    return;
  }
  shift_in(nvm, eecd::di::is_set(value));
}

std::uint32_t eecd_read(const Nvm& nvm) noexcept {
  std::uint32_t value = eecd::pres::set(nvm.eecd, 1);  // SIZE clear: 64 words
  if (eecd::req::is_set(nvm.eecd)) value = eecd::gnt::set(value, 1);
  return eecd::dout::set(value, nvm.data_out);
}

}  // namespace vmux::device::e1000
