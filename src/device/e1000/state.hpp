// SPDX-License-Identifier: BSD-3-Clause
// Register storage and what the parts share: plain values. What is saved of a card: saved_state.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/mac.hpp"
#include "device/e1000/descriptors.hpp"
#include "device/e1000/registers.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::device::e1000 {

/// Why a queue stopped (D8): the part's DMA ends there with a master abort, and nothing else stops one
/// (docs/notes/e1000-edges.md). It runs again after a device reset or when its enable bit rises.
enum class Fault : std::uint8_t {
  none,
  ring_unmapped,    ///< the descriptor ring lies outside guest memory
  buffer_unmapped,  ///< a buffer lies outside guest memory
};

/// A transmit context (3.3.5): offsets for what is to be inserted into the frames that follow.
struct TxContext {
  std::uint8_t ipcss = 0, ipcso = 0, tucss = 0, tucso = 0;
  std::uint16_t ipcse = 0, tucse = 0, mss = 0;
  std::uint8_t hdrlen = 0, tucmd = 0;
};

/// Microwire EEPROM of 64 words (5.2, and the data sheets of 93C46 parts), as seen through EECD.
struct Nvm {
  std::array<std::uint16_t, 64> words{};
  std::uint32_t eecd = 0;      ///< last written value
  std::uint32_t shift_in = 0;  ///< bits since the start bit
  std::uint8_t bits_in = 0;
  std::uint8_t bits_out = 0;  ///< 16 to 0: bits still to be read of `word`
  std::uint16_t out = 0;      ///< the word that is being read
  std::uint8_t data_out = 1;  ///< level of DO; high while idle means "ready"
  std::uint8_t write_enabled = 0;
};

struct Phy {
  std::array<std::uint16_t, 32> registers{};
};

struct State {
  std::uint32_t icr = 0, ims = 0;
  std::array<std::uint32_t, kRegisterEnd / 4> registers{};  ///< the ring pages excepted: see Registers
  Nvm nvm;
  Phy phy;
  std::uint8_t cable = 1;  ///< the port's link as the daemon wants it
  std::uint32_t io_address = 0;
  TxContext checksum_context, segment_context;  // 3.3.5: one of each is remembered
  std::uint16_t tx_head = 0, rx_head = 0;       ///< what the device goes by; TDH and RDH are what it has published
  Fault tx_fault = Fault::none, rx_fault = Fault::none;
  std::uint8_t tx_short_ring = 0, rx_short_ring = 0;  ///< see ring_length()
};
static_assert(std::is_trivially_copyable_v<State>);

/// The model's own statistics, beside those that the guest sees.
struct NicCounters {
  Counter tx_frames, tx_bytes, rx_frames, rx_bytes;
  Counter tx_guest_fault, rx_guest_fault;  ///< a queue was stopped
  Counter tx_unsupported;                  ///< checksums that have no place in their frame: sent without
  Counter tx_lost;                         ///< frames too long for the part, or that their segmentation context misfits
  Counter rx_filtered;                     ///< not for this station
  Counter rx_missed;                       ///< no descriptor and no room in the FIFO
  Counter rx_buffered;                     ///< waited in the FIFO
  Counter interrupts;                      ///< rising edges of INTx
  Counter interrupts_suppressed;           ///< causes that made none when they came
  Counter resets;
};

/// Register storage. The receive and transmit pages lie in memory that the guest may have mapped (poll mode) or in the
/// model's own (trap mode); either way they are read and written with ordered accesses only.
class Registers {
 public:
  explicit Registers(State& state) noexcept : state_(state) {}
  /// Where the ring pages (kRxPage to kRingPagesEnd) lie. Before any other call.
  void place_ring_pages(std::span<std::byte> ring_pages) noexcept { ring_pages_ = ring_pages; }

  [[nodiscard]] std::uint32_t get(std::uint32_t offset) const noexcept {
    if (is_ring_page(offset)) return memory::load_acquire32(ring_pages_, offset - kRxPage);
    return state_.registers[offset / 4];
  }
  void set(std::uint32_t offset, std::uint32_t value) noexcept {
    if (is_ring_page(offset)) return memory::store_release32(ring_pages_, offset - kRxPage, value);
    state_.registers[offset / 4] = value;
  }
  /// A statistic: sticks at its largest value (13.7).
  void count(std::uint32_t offset, std::uint32_t amount = 1) noexcept {
    std::uint32_t& value = state_.registers[offset / 4];
    value = value > ~amount ? ~0u : value + amount;
  }
  /// A 64-bit octet count in two registers.
  void count_octets(std::uint32_t low, std::uint64_t amount) noexcept {
    std::uint32_t& lo = state_.registers[low / 4];
    std::uint32_t& hi = state_.registers[low / 4 + 1];
    const std::uint64_t sum = ((std::uint64_t{hi} << 32) | lo) + amount;
    lo = static_cast<std::uint32_t>(sum);
    hi = static_cast<std::uint32_t>(sum >> 32);
  }
  /// All registers as a device reset leaves them.
  void reset() noexcept;

  [[nodiscard]] static constexpr bool is_ring_page(std::uint32_t offset) noexcept {
    return offset >= kRxPage && offset < kRingPagesEnd;
  }

 private:
  State& state_;
  std::span<std::byte> ring_pages_;  // kRxPage to kRingPagesEnd; belongs to the function or to the Nic
};

inline constexpr std::uint32_t kRingUnit = 128;  // bytes, 13.4.27

/// Descriptors of a ring (13.4.27, 13.4.39): the register takes whole units of eight. Teaching systems ask for less,
/// where the part has no ring and other models have one of a single descriptor: they get what they asked for. The
/// register cannot tell, so that number is kept as `short_ring` (a mapped register has it in its bits).
[[nodiscard]] constexpr std::uint32_t ring_length(std::uint32_t value, std::uint8_t short_ring) noexcept {
  const std::uint32_t whole = value & 0xf'ff80, rest = value % kRingUnit;
  if (whole != 0) return whole / kDescriptorSize;
  return rest != 0 ? rest / kDescriptorSize : short_ring;
}

/// Offset of the size-class statistic (PRC64 or PTC64 first) for a frame of `bytes` with FCS, 13.7.19.
[[nodiscard]] constexpr std::uint32_t size_class(std::uint32_t first, std::uint32_t bytes) noexcept {
  if (bytes <= 64) return first;
  if (bytes <= 127) return first + 4;
  if (bytes <= 255) return first + 8;
  if (bytes <= 511) return first + 12;
  if (bytes <= 1023) return first + 16;
  return first + 20;
}

inline constexpr std::uint32_t kFcs = 4;                      // bytes
inline constexpr std::uint32_t kMinFrame = 60;                // bytes without FCS
inline constexpr std::uint32_t kMaxFrame = 1518;              // bytes with a VLAN tag, without FCS (1522 on the wire)
inline constexpr std::uint32_t kMaxLongFrame = 16380;         // RCTL.LPE: 16384 with FCS, 13.4.22
inline constexpr std::uint32_t kMaxSuperFrame = 65'535 + 18;  // bytes of a frame that is to be segmented

}  // namespace vmux::device::e1000
