// SPDX-License-Identifier: BSD-3-Clause
// What a saved e1000 holds: all that its guest could tell the difference by, as plain values, and nothing else. Not in
// it: the link and the station address, which the daemon gives; the client's memory and interrupts; the model's own
// statistics; how its poller looks for doorbells.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "device/e1000/descriptors.hpp"
#include "device/e1000/registers.hpp"
#include "device/e1000/rx/fifo.hpp"
#include "device/e1000/state.hpp"

namespace vmux::device::e1000 {

/// What came of a frame to be sent before its last descriptor did; without bytes it is one that is too long.
struct SavedHeldFrame {
  std::vector<std::uint8_t> bytes;
  std::uint8_t options = 0, css = 0, cso = 0;
  std::uint16_t vlan_tci = 0;
  bool is_segmented = false, is_legacy = false, has_vlan = false;
  static void describe(auto& fields, auto& self) {
    fields.list("bytes", self.bytes, kMaxSuperFrame);
    fields("options", self.options);
    fields("css", self.css);
    fields("cso", self.cso);
    fields("vlan_tci", self.vlan_tci);
    fields("is_segmented", self.is_segmented);
    fields("is_legacy", self.is_legacy);
    fields("has_vlan", self.has_vlan);
  }
};

/// A delayed interrupt cause: when it is told, and how long its absolute timer could have run from its first event.
struct SavedDelay {
  std::uint64_t due_ns = 0, longest_ns = 0;
  static void describe(auto& fields, auto& self) {
    fields("due_ns", self.due_ns);
    fields("longest_ns", self.longest_ns);
  }
};

struct SavedState {
  using HeldFrame = SavedHeldFrame;
  using Delay = SavedDelay;

  static constexpr std::string_view kSection = "e1000";
  static constexpr std::uint16_t kVersion = 1;
  static constexpr std::size_t kMaxRegisters = kRegisterEnd / 4;

  /// A register that holds something else than a reset leaves in it.
  struct RegisterValue {
    std::uint32_t at = 0, value = 0;
    static void describe(auto& fields, auto& self) {
      fields("at", self.at);
      fields("value", self.value);
    }
  };
  /// A frame that was received and waits for descriptors; of the first, what has not found any yet.
  struct FifoFrame {
    std::vector<std::uint8_t> bytes;
    std::uint16_t special = 0;
    std::uint8_t status = 0, errors = 0;
    static void describe(auto& fields, auto& self) {
      fields.list("bytes", self.bytes, kMaxLongFrame + kFcs);
      fields("special", self.special);
      fields("status", self.status);
      fields("errors", self.errors);
    }
  };

  MacAddress station{};  // of the daemon: to be the same at both ends
  bool link_up = false;  // as the guest saw it

  std::vector<RegisterValue> registers;
  Nvm nvm;
  Phy phy;
  std::uint32_t io_address = 0;

  TxContext checksum_context, segment_context;
  std::uint16_t tx_head = 0;
  Fault tx_fault = Fault::none;
  std::uint8_t tx_short_ring = 0;
  std::optional<std::uint16_t> lap_tail;  // a tail beyond the ring, and what is left of the round that it is good for
  std::uint32_t lap_left = 0, unreported = 0;
  std::optional<HeldFrame> held;

  std::uint16_t rx_head = 0, rx_published_head = 0;
  Fault rx_fault = Fault::none;
  std::uint8_t rx_short_ring = 0;
  bool rx_has_pending = false;  // stored and not yet told
  std::uint32_t rx_causes = 0;  // to be raised with it
  std::vector<FifoFrame> fifo;

  std::uint32_t icr = 0, ims = 0;
  bool is_asserted = false;        // the INTx line
  bool is_answered = false;        // see kReportDelayAnswered
  std::uint64_t line_rest_ns = 0;  // until the longest ITR would let the line rise again
  std::optional<Delay> tx_delay, rx_delay;

  static void describe(auto& fields, auto& self) {
    fields("station", self.station);
    fields("link_up", self.link_up);
    fields.list("registers", self.registers, kMaxRegisters);
    describe_nvm(fields, self.nvm);
    fields("phy", self.phy.registers);
    fields("io_address", self.io_address);

    describe_context(fields, self.checksum_context);
    describe_context(fields, self.segment_context);
    fields("tx_head", self.tx_head);
    fields.one_of("tx_fault", self.tx_fault, Fault::buffer_unmapped);
    fields("tx_short_ring", self.tx_short_ring);
    fields("lap_tail", self.lap_tail);
    fields("lap_left", self.lap_left);
    fields("unreported", self.unreported);
    fields("held", self.held);

    fields("rx_head", self.rx_head);
    fields("rx_published_head", self.rx_published_head);
    fields.one_of("rx_fault", self.rx_fault, Fault::buffer_unmapped);
    fields("rx_short_ring", self.rx_short_ring);
    fields("rx_has_pending", self.rx_has_pending);
    fields("rx_causes", self.rx_causes);
    fields.list("fifo", self.fifo, RxFifo::kEntries);

    fields("icr", self.icr);
    fields("ims", self.ims);
    fields("is_asserted", self.is_asserted);
    fields("is_answered", self.is_answered);
    fields("line_rest_ns", self.line_rest_ns);
    fields("tx_delay", self.tx_delay);
    fields("rx_delay", self.rx_delay);
  }

 private:
  static void describe_nvm(auto& fields, auto& nvm) {
    fields("nvm.words", nvm.words);
    fields("nvm.eecd", nvm.eecd);
    fields("nvm.shift_in", nvm.shift_in);
    fields("nvm.bits_in", nvm.bits_in);
    fields("nvm.bits_out", nvm.bits_out);
    fields("nvm.out", nvm.out);
    fields("nvm.data_out", nvm.data_out);
    fields("nvm.write_enabled", nvm.write_enabled);
  }
  static void describe_context(auto& fields, auto& context) {
    fields("context.ipcss", context.ipcss);
    fields("context.ipcso", context.ipcso);
    fields("context.tucss", context.tucss);
    fields("context.tucso", context.tucso);
    fields("context.ipcse", context.ipcse);
    fields("context.tucse", context.tucse);
    fields("context.mss", context.mss);
    fields("context.hdrlen", context.hdrlen);
    fields("context.tucmd", context.tucmd);
  }
};

/// What of a state cannot be, in words that follow its section's name; nullptr when all of it can. Registers may hold
/// any value: a guest may write any into pages that it has mapped.
[[nodiscard]] const char* problem_of(const SavedState& saved) noexcept;

}  // namespace vmux::device::e1000
